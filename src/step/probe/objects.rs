//! Makes and removes the objects of probes. What is there decides what is done, so a kill at any instant is only a reason to
//! look again.

use std::net::IpAddr;

use serde_json::Value;

use super::READY_WITHIN;
use crate::{
    cluster::{Cluster, ClusterError},
    door::{Action, Change, ChangeError, Door, DoorError, NAMESPACE},
    event::Voice,
    observe,
    plan::{NEW_PODS, PROBE_DAEMON_SETS, PROBE_NAME, PROBES, Probing, is_of_run},
    probe::Ring,
    resource::{Document, Kind, Live, ObjectRef},
    step::{Step, StepError, order::names_of},
};

/// Makes what is missing, after what another run left is gone. Answers the ring that the probes read.
pub(super) async fn ensure(
    step: &Step<'_>,
    probing: &Probing<'_>,
    is_needed: bool,
    door: &mut Door,
    voice: &Voice,
) -> Result<Made, StepError> {
    let found = found(&door.cluster).await?;
    let is_whole =
        found.len() == references().len() && found.iter().all(|live| is_of_run(&live.1.document, probing.run));
    if is_whole && let Some(ring) = ring_of(&found) {
        return Ok(Made::Ring(ring));
    }
    if !found.is_empty() {
        remove_all(step, door, voice).await?;
    }
    if !is_needed {
        return Ok(Made::Nothing);
    }
    let ring = ring(&door.cluster).await?;
    if ring.len() < 2 {
        return Ok(Made::Refused("fewer than two nodes are ready and have an address".to_owned()));
    }
    let changes = probing.objects(&ring).into_iter().map(|(object, document)| creation(object, document));
    match door.apply(&step.planned.name, changes.collect(), |_| {}).await {
        Ok(_) => Ok(Made::Ring(ring)),
        Err(error) => refusal(error).map(Made::Refused),
    }
}

/// What became of the wish for probes.
pub(super) enum Made {
    Ring(Ring),
    /// None are there, and none are needed.
    Nothing,
    /// The cluster does not want them.
    Refused(String),
}

/// Why the cluster does not want an object of ours, like a policy that lets no pod onto the host's network; other errors are errors.
pub(super) fn refusal(error: DoorError) -> Result<String, StepError> {
    let is_about_us = match &error {
        DoorError::Change(ChangeError::Refused { source, .. }) => {
            !source.leaves_the_outcome_open() && !matches!(source, ClusterError::StoreFull { .. })
        }
        DoorError::Change(ChangeError::StoredOtherwise { .. }) => true,
        _ => false,
    };
    if is_about_us { Ok(words_of(&error)) } else { Err(error.into()) }
}

/// An error with all that caused it.
pub(super) fn words_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let mut words = vec![error.to_string()];
    words.extend(causes.map(|cause| cause.to_string()));
    words.dedup();
    words.join(": ")
}

/// Removes what a run with probes left, for one that has none: to look for it needs no further right.
pub(super) async fn sweep(step: &Step<'_>, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    let sets = door.cluster.list_each(Kind::DaemonSet, |set| (set.namespace, set.name)).await?;
    let is_ours = |namespace: &Option<String>| namespace.as_deref() == Some(NAMESPACE);
    let is_left = sets.iter().any(|(place, name)| is_ours(place) && PROBE_DAEMON_SETS.contains(&name.as_str()));
    if is_left { remove_all(step, door, voice).await } else { Ok(()) }
}

/// Removes every probe of any run, and waits until their pods are gone: one that is still ending holds the port of its host.
pub(in crate::step) async fn remove_all(step: &Step<'_>, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    let sets = found(&door.cluster).await?.into_iter().map(|(object, live)| deletion(object, live));
    let pods = door.cluster.list_selected(Kind::Pod, Some(NAMESPACE), NEW_PODS).await?;
    let pods = pods.into_iter().map(|pod| {
        let object = ObjectRef::namespaced(Kind::Pod, NAMESPACE, &pod.name);
        Change { label: format!("delete {object}"), object, action: Action::DeletePod { uid: pod.uid } }
    });
    let changes: Vec<Change> = sets.chain(pods).collect();
    if changes.is_empty() {
        return Ok(());
    }
    door.apply(&step.planned.name, changes, |_| {}).await?;
    let are_gone = async || Ok(door.cluster.follow_pods(NAMESPACE, PROBES).await?.pods().is_empty());
    step.wait_within(READY_WITHIN, door, "the pods of the probes to go".to_owned(), are_gone, voice).await
}

fn references() -> Vec<ObjectRef> {
    let sets = PROBE_DAEMON_SETS.map(|name| ObjectRef::namespaced(Kind::DaemonSet, NAMESPACE, name));
    std::iter::once(ObjectRef::namespaced(Kind::ConfigMap, NAMESPACE, PROBE_NAME)).chain(sets).collect()
}

/// Those of the three that are there.
async fn found(cluster: &Cluster) -> Result<Vec<(ObjectRef, Live)>, ClusterError> {
    let mut found = Vec::new();
    for object in references() {
        found.extend(cluster.get(&object).await?.map(|live| (object, live)));
    }
    Ok(found)
}

fn ring_of(found: &[(ObjectRef, Live)]) -> Option<Ring> {
    let (_, ring) = found.iter().find(|(object, _)| object.kind == Kind::ConfigMap)?;
    Ring::read(ring.document.value()["data"]["ring"].as_str()?).ok()
}

/// The nodes that can run a probe now, with the addresses of their hosts.
async fn ring(cluster: &Cluster) -> Result<Ring, ClusterError> {
    let ready = names_of(&observe::nodes(cluster).await?, |node| node.is_ready);
    let nodes = cluster.list_as(Kind::Node, None, |node| address_of(&node)).await?;
    Ok(Ring::of(nodes.into_iter().flatten().filter(|(name, _)| ready.contains(name))))
}

fn address_of(node: &Value) -> Option<(String, IpAddr)> {
    let name = node["metadata"]["name"].as_str()?.to_owned();
    let mut addresses = node["status"]["addresses"].as_array()?.iter();
    let internal = addresses.find(|address| address["type"] == "InternalIP")?;
    Some((name, internal["address"].as_str()?.parse().ok()?))
}

fn creation(object: ObjectRef, document: Document) -> Change {
    Change { label: format!("create {object}"), object, action: Action::Create { after: document } }
}

fn deletion(object: ObjectRef, live: Live) -> Change {
    Change { label: format!("delete {object}"), object, action: Action::Delete { before: Box::new(live) } }
}
