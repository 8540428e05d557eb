//! What runs before this one left behind: cordons of nodes, and parts of plans that belong to no run.

use serde_json::{Value, json};

use super::{Step, StepError};
use crate::{
    cluster::{Cluster, ClusterError},
    door::{self, Action, BATCH, Change, Door, RecordError},
    event::{Event, Voice},
    inventory::CORDONED_BY,
    observe,
    resource::{Kind, Live, ObjectRef},
};

/// Uncordons the nodes that one of the runs cordoned; cordons of others stay.
pub(super) async fn uncordon(
    step: &Step<'_>,
    runs: &[String],
    door: &mut Door,
    voice: &Voice,
) -> Result<(), StepError> {
    let mut changes = Vec::new();
    for node in cordoned(&door.cluster, runs).await? {
        let reference = ObjectRef::cluster(Kind::Node, node);
        let live = door.cluster.get(&reference).await?;
        // Read again: the cordon may have gone since the nodes were listed.
        changes
            .extend(live.filter(|live| is_cordoned_by(&live.document.value(), runs)).map(|live| free(reference, live)));
    }
    send(step, changes, door, voice).await
}

/// Names the nodes that would be uncordoned now, for a dry run.
pub async fn planned_uncordons(cluster: &Cluster, runs: &[String]) -> Result<Vec<String>, ClusterError> {
    Ok(cordoned(cluster, runs).await?.into_iter().map(|node| format!("uncordon Node {node}")).collect())
}

async fn cordoned(cluster: &Cluster, runs: &[String]) -> Result<Vec<String>, ClusterError> {
    let nodes = observe::nodes(cluster).await?;
    let is_ours = |node: &crate::inventory::NodeFacts| node.cordoned_by.as_ref().is_some_and(|run| runs.contains(run));
    Ok(nodes.into_iter().filter(is_ours).map(|node| node.name).collect())
}

fn is_cordoned_by(node: &Value, runs: &[String]) -> bool {
    node["metadata"]["annotations"][CORDONED_BY].as_str().is_some_and(|run| runs.iter().any(|one| one == run))
}

fn free(reference: ObjectRef, live: Live) -> Change {
    let patch = json!({"metadata": {"annotations": {CORDONED_BY: null}}, "spec": {"unschedulable": null}});
    let label = format!("uncordon Node {}", reference.name);
    Change { label, object: reference, action: Action::Patch { before: Box::new(live), patch } }
}

/// Deletes the parts of plans that belong to no run. The lock is ours, so none of them is of a run that just begins.
pub(super) async fn sweep(step: &Step<'_>, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    let orphans = door::orphans(&door.cluster).await.map_err(|error| match error {
        RecordError::Cluster(source) => StepError::Cluster(source),
        other @ (RecordError::Lost { .. }
        | RecordError::Damaged { .. }
        | RecordError::Missing { .. }
        | RecordError::File(_)) => StepError::Door(other.into()),
    })?;
    let remove = |live: Live| {
        let object = ObjectRef::namespaced(Kind::Secret, door::NAMESPACE, &live.name);
        Change { label: format!("delete {object}"), object, action: Action::Delete { before: Box::new(live) } }
    };
    send(step, orphans.into_iter().map(remove).collect(), door, voice).await
}

async fn send(step: &Step<'_>, changes: Vec<Change>, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    let name = &step.planned.name;
    for batch in changes.chunks(BATCH) {
        door.apply(name, batch.to_vec(), |_| {}).await?;
        for change in batch {
            let (verb, object) = (change.intent().action.name().to_owned(), change.object.to_string());
            voice.tell(Event::Changed { step: name.clone(), verb, object });
        }
    }
    Ok(())
}
