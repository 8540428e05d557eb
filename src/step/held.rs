//! What steps before this one made of objects must still be so: whoever puts an object back would undo the run under its feet.
//!
//! What a step replaced must be as it left it, what it created must be there, and what it deleted must not. What it created may
//! change as soon as the new Calico works with it; and a key of etcd may go with the host or the pod that it is about.

use std::collections::BTreeMap;

use super::{State, Step, StepError, state_of};
use crate::{
    cluster::{Cluster, ClusterError},
    door::{Door, Drift},
    event::Voice,
    observe::read_all,
    plan::{ObjectChange, Plan, PlannedStep},
    resource::{Document, Kind, Live, ObjectRef},
};

/// Stops if an object is no longer as the steps before the named one left it.
pub(super) async fn check(cluster: &Cluster, plan: &Plan, step: &str) -> Result<(), StepError> {
    let changes: Vec<&ObjectChange> = earlier(plan, step).flat_map(last_changes).collect();
    let objects: Vec<ObjectRef> = changes.iter().map(|change| change.object.clone()).collect();
    let live = read_all(cluster, &objects).await?;
    match put_back(cluster, plan, &changes, &live).await? {
        Some(change) => Err(drift(change, live.get(&change.object)).into()),
        None => Ok(()),
    }
}

/// Finds a change that somebody undid; what goes with its namespace was undone by nobody.
async fn put_back<'p>(
    cluster: &Cluster,
    plan: &Plan,
    changes: &[&'p ObjectChange],
    live: &BTreeMap<ObjectRef, Live>,
) -> Result<Option<&'p ObjectChange>, ClusterError> {
    for change in changes {
        let found = live.get(&change.object);
        let is_held = is_held(plan, change, found);
        if !is_held && (found.is_some() || has_namespace(cluster, &change.object).await?) {
            return Ok(Some(change));
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
        let objects: Vec<ObjectRef> = changes.iter().map(|change| change.object.clone()).collect();
        let live = read_all(&door.cluster, &objects).await?;
        if put_back(&door.cluster, step.plan, &changes, &live).await?.is_some() {
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
