//! What steps before this one made of objects must still be so: whoever puts an object back would undo the run under its feet.
//!
//! Only objects that were there before and still are matter here. What a step created may change as soon as the new Calico
//! works with it, and what it deleted is its own to delete again.

use super::{State, Step, StepError, state_of};
use crate::{
    cluster::Cluster,
    door::{Door, Drift},
    event::Voice,
    observe::read_all,
    plan::{ObjectChange, Plan, PlannedStep},
    resource::{Document, Live, ObjectRef},
};

/// Stops if an object is no longer as the steps before the named one left it.
pub(super) async fn check(cluster: &Cluster, plan: &Plan, step: &str) -> Result<(), StepError> {
    let changes: Vec<&ObjectChange> = earlier(plan, step).flat_map(last_changes).collect();
    let objects: Vec<ObjectRef> = changes.iter().map(|change| change.object.clone()).collect();
    let live = read_all(cluster, &objects).await?;
    match changes.into_iter().find(|change| !is_held(plan, change, live.get(&change.object))) {
        Some(change) => Err(drift(change, live.get(&change.object)).into()),
        None => Ok(()),
    }
}

/// Takes earlier steps once more whose objects were put back while nobody ran: a runner that goes on starts with this.
pub(super) async fn restore(step: &Step<'_>, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    for planned in earlier(step.plan, &step.planned.name) {
        let changes: Vec<&ObjectChange> = last_changes(planned).collect();
        let objects: Vec<ObjectRef> = changes.iter().map(|change| change.object.clone()).collect();
        let live = read_all(&door.cluster, &objects).await?;
        if changes.iter().any(|change| !is_held(step.plan, change, live.get(&change.object))) {
            tracing::warn!(step = planned.name, "objects were put back since; the step is taken once more");
            Box::pin(Step { plan: step.plan, planned }.take_units(door, voice)).await?;
        }
    }
    Ok(())
}

fn earlier<'p>(plan: &'p Plan, step: &str) -> impl Iterator<Item = &'p PlannedStep> {
    plan.steps.iter().take_while(move |planned| planned.name != step)
}

/// The last change of each object that a step replaces.
fn last_changes(planned: &PlannedStep) -> impl Iterator<Item = &ObjectChange> {
    let all: Vec<&ObjectChange> = planned.changes().filter(|one| one.before.is_some() && one.after.is_some()).collect();
    let is_last = move |index: usize, object: &ObjectRef| !all[index + 1..].iter().any(|later| later.object == *object);
    let replaced = planned.changes().filter(|one| one.before.is_some() && one.after.is_some());
    replaced.enumerate().filter(move |(index, change)| is_last(*index, &change.object)).map(|(_, change)| change)
}

fn is_held(plan: &Plan, change: &ObjectChange, live: Option<&Live>) -> bool {
    match state_of(plan, change, live) {
        State::Done => true,
        State::Before | State::Earlier | State::Foreign => false,
    }
}

/// What was made is what others changed since.
fn drift(change: &ObjectChange, live: Option<&Live>) -> Box<Drift> {
    let made = change.after.as_ref().map(Document::value).unwrap_or_default();
    let found = live.map(|live| live.document.value()).unwrap_or_default();
    Box::new(Drift::between(&change.object, &made, &made, &found))
}
