//! Gives up the way back: the old data and the old controllers go for good, and what killed runs left behind.
//!
//! Only what is to the byte what the run had copied is removed. Old objects that changed or came since are named and stay,
//! since nobody has copied what they say.

use std::collections::BTreeMap;

use super::{
    Desired, ObjectChange, Omitted, Plan, PlannedStep, Purpose, Stage, Undo, Verify, steps::replicas, way::is_same,
};
use crate::{
    inventory::{Inventory, Stored},
    resource::{Digest, Kind, ObjectRef},
};

/// A finished run, and what there is now.
#[derive(Clone, Copy, Debug)]
pub struct FinishedRun<'a> {
    pub run: &'a str,
    pub plan: &'a Plan,
    pub inventory: &'a Inventory,
    /// How many parts of plans are kept for runs that were never recorded.
    pub orphans: usize,
}

/// Makes the plan that removes the old data of a finished run; it is empty if there is nothing to remove.
pub fn complete(finished: &FinishedRun<'_>) -> Plan {
    // The verification of the run knew each old object by its digest.
    let known = finished.plan.verification().into_iter().flat_map(|verify| &verify.third_party);
    let known: BTreeMap<&ObjectRef, &Digest> = known.map(|(object, digest)| (object, digest)).collect();
    let is_copied = |stored: &&Stored| known.get(&stored.object) == Some(&&stored.digest());
    let (copied, others): (Vec<&Stored>, Vec<&Stored>) = finished.inventory.third_party.iter().partition(is_copied);
    let purpose = Purpose::Completion { run: finished.run.to_owned() };
    Plan {
        steps: steps(finished, &copied),
        omitted: others.into_iter().map(left).collect(),
        ..finished.plan.follow_up(purpose, &finished.inventory.cluster)
    }
}

fn left(stored: &Stored) -> Omitted {
    let why = "it changed or came after the run had copied the old data".to_owned();
    Omitted { name: stored.object.to_string(), why }
}

fn steps(finished: &FinishedRun<'_>, copied: &[&Stored]) -> Vec<PlannedStep> {
    let changes = [removal(copied), controllers(finished), sweep(finished.orphans)];
    let changes: Vec<PlannedStep> = changes.into_iter().flatten().collect();
    if changes.is_empty() {
        return changes;
    }
    let summary = "every object that goes, and all of Calico's data".to_owned();
    let back_up = step("back-up", "Back up", summary, Undo::Nothing, Desired::BackUp);
    [back_up].into_iter().chain(changes).chain(proof(finished.plan)).collect()
}

fn removal(copied: &[&Stored]) -> Option<PlannedStep> {
    let remove = |stored: &&Stored| ObjectChange {
        object: stored.object.clone(),
        before: Some(stored.document.clone()),
        after: None,
        why: "the new Calico reads its copy".to_owned(),
    };
    let stages = vec![Stage::Changes(copied.iter().map(remove).collect())];
    let summary = format!("{} objects of old data are deleted; after that there is no rollback", copied.len());
    let desired = Desired::Objects { stages };
    (!copied.is_empty()).then(|| step("remove-old-data", "Remove old data", summary, Undo::FromBackup, desired))
}

/// The old controllers, which the run had stopped and kept; one that somebody changed since stays.
fn controllers(finished: &FinishedRun<'_>) -> Option<PlannedStep> {
    let is_kind = |kind: Kind| matches!(kind, Kind::Deployment | Kind::ReplicaSet);
    // One that ran none before was not stopped by the run.
    let ran = |change: &ObjectChange| change.before.as_ref().is_some_and(|before| replicas(before) != 0);
    let of_run = finished.plan.changes().filter(|change| is_kind(change.object.kind) && ran(change));
    let last: BTreeMap<&ObjectRef, &ObjectChange> = of_run.map(|change| (&change.object, change)).collect();
    let removal = |change: &&ObjectChange| {
        let live = finished.inventory.object(&change.object)?;
        let is_ours = replicas(live) == 0 && is_same(change.after.as_ref(), Some(live));
        let why = "the new controllers took its place".to_owned();
        is_ours.then(|| ObjectChange { object: change.object.clone(), before: Some(live.clone()), after: None, why })
    };
    let changes: Vec<ObjectChange> = last.values().filter_map(removal).collect();
    let summary = format!("{} old controllers are deleted; after that there is no rollback", changes.len());
    let is_needed = !changes.is_empty();
    let desired = Desired::Objects { stages: vec![Stage::Changes(changes)] };
    is_needed.then(|| step("remove-old-controllers", "Remove old controllers", summary, Undo::FromBackup, desired))
}

fn sweep(orphans: usize) -> Option<PlannedStep> {
    let summary = format!("{orphans} Secrets of runs that never began");
    let desired = Desired::Objects { stages: vec![Stage::NoOrphans] };
    (orphans > 0).then(|| step("remove-leftovers", "Clean up", summary, Undo::Nothing, desired))
}

/// The nodes must run the release of the run, whose data is the only one by then.
fn proof(plan: &Plan) -> Option<PlannedStep> {
    let verify =
        Verify { isolated: Vec::new(), opened: Vec::new(), third_party: Vec::new(), ..plan.verification()?.clone() };
    Some(step("verify", "Verify", "nodes and objects".to_owned(), Undo::Nothing, Desired::Verify(verify)))
}

fn step(name: &str, phase: &str, summary: String, undo: Undo, desired: Desired) -> PlannedStep {
    PlannedStep { name: name.to_owned(), phase: phase.to_owned(), summary, undo, desired }
}
