//! What a rollback loses of the new store, and what it has to ask for because of how far the run had come.

use super::{
    Desired, ObjectChange, Plan,
    left::difference_line,
    rollback::{Back, reads_old_data},
    way::{Part, Place},
};
use crate::check::{Finding, Severity};

/// The finding of a rollback after which nothing reads what others wrote since.
const IN_USE: &str = "CU-P023";

/// What a rollback asks for before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Nothing that runs is touched: what the run created goes, and what it removed comes back.
    NotNeeded,
    Yes,
    /// The name of the run that is taken back: the new store is in use, and a `y` is typed too easily for a loss.
    Name,
}

/// Answers what the plan of a rollback asks for.
pub fn consent(plan: &Plan) -> Consent {
    if plan.findings.iter().any(|finding| finding.id == IN_USE) {
        return Consent::Name;
    }
    let is_roll = plan.steps.iter().any(|step| matches!(step.desired, Desired::Roll(_)));
    if is_roll || plan.changes().any(is_of_what_runs) { Consent::Yes } else { Consent::NotNeeded }
}

fn is_of_what_runs(change: &ObjectChange) -> bool {
    let is_run = match Part::of(change.object.kind) {
        Part::Nodes | Part::Controllers | Part::Rights => true,
        Part::Definition | Part::Data | Part::Policy => false,
    };
    is_run && change.after.is_some()
}

impl Back<'_> {
    /// What others did to the new store since, if the nodes go back to a release that does not read it.
    pub fn loss(&self) -> Option<Finding> {
        let plan = self.aftermath.plan;
        self.daemon_set().filter(|_| reads_old_data(plan))?;
        let changed = self.of(Part::Data, Place::Foreign).filter(|way| way.object.kind.is_custom());
        let mut lost: Vec<Vec<String>> = changed
            .map(|way| way.foreign_fields().iter().map(|one| difference_line(way.object, one)).collect())
            .collect();
        lost.extend(self.new_data().map(|stored| vec![format!("{}: the run did not make it", stored.object)]));
        lost.extend(self.deleted_copies().map(|way| vec![format!("{}: deleted since", way.object)]));
        let title = format!(
            "{} objects of the new store are not as the run left them; {} reads none of it",
            lost.len(),
            plan.from
        );
        let finding = Finding::new(IN_USE, Severity::Advisory, title).evidence(lost.iter().flatten().cloned());
        let why =
            "what was changed stays, but nothing reads it once the nodes are back, and what was deleted counts again";
        let now = format!(
            "write it into the old data first; or go back without it: rollback --confirm {}",
            self.aftermath.run
        );
        (!lost.is_empty()).then(|| finding.why(why).now(now))
    }
}
