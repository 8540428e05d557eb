//! What steps before this one made of objects must still be so: whoever puts an object back would undo the run under its feet.
//!
//! What a step replaced must be as it left it, what it created must be there, and what it deleted must not. What it created may
//! change as soon as the new Calico works with it; and a key of etcd may go with the host or the pod that it is about.

use std::collections::BTreeMap;

use super::{State, Step, StepError, lines, state_of};
use crate::{
    cluster::{Cluster, ClusterError},
    door::{Door, Drift},
    event::Voice,
    observe::read_each,
    plan::{ObjectChange, Plan, PlannedStep},
    resource::{Document, Kind, Live, ObjectRef},
};

/// Stops if an object is no longer as the steps before the named one left it.
pub(super) async fn check(cluster: &Cluster, plan: &Plan, step: &str) -> Result<(), StepError> {
    let changes: Vec<&ObjectChange> = earlier(plan, step).flat_map(last_changes).collect();
    match put_back(cluster, plan, &changes).await? {
        Some((change, live)) => Err(drift(change, live.as_ref()).into()),
        None => Ok(()),
    }
}

/// Finds a change that somebody undid, and what is there instead; what goes with its namespace was undone by nobody.
async fn put_back<'p>(
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
    for change in changes.iter().filter(is_lost) {
        if found.contains_key(&change.object) || has_namespace(cluster, &change.object).await? {
            return Ok(Some((change, found.remove(&change.object).flatten())));
        }
    }
    Ok(None)
}

async fn has_namespace(cluster: &Cluster, object: &ObjectRef) -> Result<bool, ClusterError> {
    let Some(name) = &object.namespace else { return Ok(true) };
    let namespace = cluster.get(&ObjectRef::cluster(Kind::Namespace, name)).await?;
    Ok(namespace.is_some_and(|live| !live.is_terminating))
}

/// Takes earlier steps once more whose objects were put back while nobody ran: a runner that goes on starts with this.
pub(super) async fn restore(step: &Step<'_>, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    for planned in earlier(step.plan, &step.planned.name) {
        let changes: Vec<&ObjectChange> = last_changes(planned).collect();
        let is_put_back = put_back(&door.cluster, step.plan, &changes).await?.is_some();
        if is_put_back || !lines::are_held(&door.cluster, planned).await? {
            tracing::warn!(step = planned.name, "objects were put back since; the step is taken once more");
            Box::pin(Step { plan: step.plan, planned }.take_units(door, voice)).await?;
        }
    }
    Ok(())
}

fn earlier<'p>(plan: &'p Plan, step: &str) -> impl Iterator<Item = &'p PlannedStep> {
    plan.steps.iter().take_while(move |planned| planned.name != step)
}

/// The last change that a step makes of each object.
fn last_changes(planned: &PlannedStep) -> impl Iterator<Item = &ObjectChange> {
    let last: BTreeMap<&ObjectRef, &ObjectChange> = planned.changes().map(|change| (&change.object, change)).collect();
    last.into_values()
}

fn is_held(plan: &Plan, change: &ObjectChange, live: Option<&Live>) -> bool {
    let is_done = || match state_of(plan, change, live) {
        State::Done => true,
        State::Before | State::Earlier | State::Foreign => false,
    };
    match (&change.before, &change.after, live) {
        (None, Some(_), Some(_)) => true,
        (None, Some(_), None) if change.object.kind == Kind::EtcdKey => true,
        (_, None, Some(live)) if live.is_terminating => true,
        (_, Some(_), None) | (Some(_), Some(_), Some(_)) | (_, None, _) => is_done(),
    }
}

/// What was made is what others changed since.
fn drift(change: &ObjectChange, live: Option<&Live>) -> Box<Drift> {
    let made = change.after.as_ref().map(Document::value).unwrap_or_default();
    let found = live.map(|live| live.document.value()).unwrap_or_default();
    Box::new(Drift::between(&change.object, &made, &made, &found))
}
