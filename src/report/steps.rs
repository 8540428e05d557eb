//! What became of each step of a plan, folded from the journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    change::{ChangeGroup, change_groups},
    timeline::millis,
};
use crate::{
    journal::{Entry, News, Progress},
    plan::{ObjectChange, Plan, PlannedStep, Undo},
    resource::masked_text,
    step::Claim,
};

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    pub name: String,
    pub phase: String,
    pub summary: String,
    pub undo: Undo,
    pub status: StepStatus,
    /// How long runners were at it; unknown if that is in another journal.
    pub seconds: Option<u64>,
    /// What was claimed when the step was last taken.
    pub claims: Vec<Claim>,
    pub changes: Vec<ChangeGroup>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    Done,
    /// Begun, and not at its end.
    Begun,
    NotReached,
}

/// What a step's entries add up to.
#[derive(Default)]
struct Taken {
    claims: Vec<Claim>,
    worked_ms: i64,
    begun_at: Option<i64>,
    was_begun: bool,
}

pub fn step_reports(
    plan: &Plan,
    entries: &[Entry],
    progress: &Progress,
    keys: &BTreeMap<String, ObjectChange>,
) -> Vec<StepReport> {
    plan.steps.iter().map(|step| step_report(step, entries, progress, keys)).collect()
}

fn step_report(
    step: &PlannedStep,
    entries: &[Entry],
    progress: &Progress,
    keys: &BTreeMap<String, ObjectChange>,
) -> StepReport {
    let taken = taken(&step.name, entries);
    let is_done = progress.steps_done.contains(&step.name);
    let is_in_hand = taken.was_begun || progress.step.as_ref() == Some(&step.name);
    let status = match (is_done, is_in_hand) {
        (true, _) => StepStatus::Done,
        (false, true) => StepStatus::Begun,
        (false, false) => StepStatus::NotReached,
    };
    StepReport {
        name: step.name.clone(),
        phase: step.phase.clone(),
        summary: step.summary.clone(),
        undo: step.undo,
        status,
        seconds: taken.was_begun.then(|| u64::try_from(taken.worked_ms / 1000).unwrap_or_default()),
        claims: taken.claims,
        changes: change_groups(step, keys),
    }
}

fn taken(name: &str, entries: &[Entry]) -> Taken {
    let mut taken = Taken::default();
    let mut before = 0;
    for entry in entries {
        let at = millis(&entry.at).unwrap_or(before);
        match &entry.news {
            News::StepStarted { step } if step == name => {
                // What was claimed before counts no more: it is looked at again.
                taken.claims.clear();
                (taken.begun_at, taken.was_begun) = (Some(at), true);
            }
            News::Proven { step, claim, facts } if step == name => taken.claim(claim, true, facts),
            News::Broken { step, claim, facts } if step == name => taken.claim(claim, false, facts),
            News::StepDone { step } if step == name => taken.rest(at),
            News::Stopped { .. } => taken.rest(at),
            News::Resumed { .. } => taken.rest(before),
            News::Started { .. }
            | News::StepStarted { .. }
            | News::Intended { .. }
            | News::Settled { .. }
            | News::Waited { .. }
            | News::Ready { .. }
            | News::Gone { .. }
            | News::Skipped { .. }
            | News::Watching { .. }
            | News::Lost { .. }
            | News::Watched { .. }
            | News::Proven { .. }
            | News::Broken { .. }
            | News::StepDone { .. }
            | News::Finished { .. } => {}
        }
        before = at;
    }
    taken.rest(before);
    taken
}

impl Taken {
    fn claim(&mut self, text: &str, holds: bool, facts: &[String]) {
        let facts = facts.iter().map(|fact| masked_text(fact)).collect();
        self.claims.push(Claim { text: masked_text(text), holds, facts });
    }

    /// Nobody is at the step any more.
    fn rest(&mut self, at: i64) {
        self.worked_ms += self.begun_at.take().map_or(0, |begun| (at - begun).max(0));
    }
}
