//! What steps before this one made of objects must still be so: whoever puts an object back would undo the run under its feet.
//!
//! Only objects that were there before and still are matter here. What a step created may change as soon as the new Calico
//! works with it, and what it deleted is its own to delete again.

use std::collections::BTreeMap;

use super::{State, Step, StepError, state_of};
use crate::{
    cluster::Cluster,
    door::{Door, Drift},
    event::Voice,
    observe::read_each,
    plan::{ObjectChange, Plan, PlannedStep},
    resource::{Document, Live, ObjectRef},
};

/// Stops if an object is no longer as the steps before the named one left it.
pub(super) async fn check(cluster: &Cluster, plan: &Plan, step: &str) -> Result<(), StepError> {
    let changes: Vec<&ObjectChange> = earlier(plan, step).flat_map(last_changes).collect();
    match first_lost(cluster, plan, &changes).await? {
        Some((change, live)) => Err(drift(change, live.as_ref()).into()),
        None => Ok(()),
    }
}

/// The first object that is not as the run made it, and what is there instead.
async fn first_lost<'p>(
    cluster: &Cluster,
    plan: &Plan,
    changes: &[&'p ObjectChange],
) -> Result<Option<(&'p ObjectChange, Option<Live>)>, StepError> {
    let mut of_object: BTreeMap<&ObjectRef, Vec<&ObjectChange>> = BTreeMap::new();
    changes.iter().for_each(|change| of_object.entry(&change.object).or_default().push(change));
    // Compared as it is read: only what is not as it was made is kept.
    let lost = |object: &ObjectRef, live: Live| {
        let is_all_held =
            of_object.get(object).is_some_and(|all| all.iter().all(|one| is_held(plan, one, Some(&live))));
        (!is_all_held).then_some(live)
    };
    let mut found = read_each(cluster, changes.iter().map(|change| &change.object), lost).await?;
    let is_lost = |change: &&&ObjectChange| match found.get(&change.object) {
        Some(None) => false,
        Some(Some(live)) => !is_held(plan, change, Some(live)),
        None => !is_held(plan, change, None),
    };
    let first = changes.iter().find(is_lost).copied();
    Ok(first.map(|change| (change, found.remove(&change.object).flatten())))
}

/// Takes earlier steps once more whose objects were put back while nobody ran: a runner that goes on starts with this.
pub(super) async fn restore(step: &Step<'_>, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    for planned in earlier(step.plan, &step.planned.name) {
        let changes: Vec<&ObjectChange> = last_changes(planned).collect();
        if first_lost(&door.cluster, step.plan, &changes).await?.is_some() {
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
    let replaced = planned.changes().filter(|one| one.before.is_some() && one.after.is_some());
    let last: BTreeMap<&ObjectRef, &ObjectChange> = replaced.map(|change| (&change.object, change)).collect();
    last.into_values()
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
