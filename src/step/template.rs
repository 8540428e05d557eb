//! The template of calico-node as the cluster knows it: that it does not roll by itself, which pods were made from it, and which nodes would
//! take no other.

use serde_json::Value;

use super::{RollError, State, Step, StepError, state_of};
use crate::{
    cluster::Cluster,
    plan::Roll,
    resource::{Kind, Live, Taint},
};

/// Reads the DaemonSet, and makes sure that no pod of it is replaced but by us.
pub(super) async fn frozen(cluster: &Cluster, roll: &Roll) -> Result<Live, StepError> {
    let daemon_set = || roll.daemon_set.clone();
    let live = cluster.get(&roll.daemon_set).await?;
    let live = live.ok_or_else(|| RollError::NoRevision { daemon_set: daemon_set() })?;
    let strategy = live.document.value()["spec"]["updateStrategy"]["type"].clone();
    // extensions/v1beta1 has OnDelete where nothing is said.
    if strategy.is_null() || strategy == "OnDelete" {
        return Ok(live);
    }
    let strategy = strategy.as_str().unwrap_or_default().to_owned();
    Err(RollError::NotFrozen { daemon_set: daemon_set(), strategy }.into())
}

/// Answers whether a runner before us took the roll to its end: the last change of the DaemonSet, which lets it roll by itself again, is made,
/// and no pod is of an older template.
pub(super) async fn is_over(step: &Step<'_>, roll: &Roll, cluster: &Cluster) -> Result<bool, StepError> {
    let (Some(last), Some(live)) = (&roll.then, cluster.get(&roll.daemon_set).await?) else { return Ok(false) };
    if state_of(step.plan, last, Some(&live)) != State::Done {
        return Ok(false);
    }
    let revision = newest_revision(cluster, &live, roll).await?;
    let feed = cluster.follow_pods_of(&roll.daemon_set, &roll.selector).await?;
    Ok(feed.pods().values().all(|pod| pod.is_terminating || pod.revision.as_ref() == Some(&revision)))
}

/// Makes sure that a node takes a new pod once its old one is deleted.
pub(super) fn check_taints(node: &Live, daemon_set: &Live, roll: &Roll) -> Result<(), RollError> {
    let taints = Taint::all_of(&node.document.value());
    let Some(taint) = Taint::first_not_tolerated(&taints, &daemon_set.document.value()).cloned() else { return Ok(()) };
    Err(RollError::KeptAway { node: node.name.clone(), taint, daemon_set: roll.daemon_set.clone() })
}

/// The hash that pods of the newest template carry.
pub(super) async fn newest_revision(cluster: &Cluster, daemon_set: &Live, roll: &Roll) -> Result<String, StepError> {
    let namespace = roll.daemon_set.namespace.as_deref();
    let revisions = cluster.list_as(Kind::ControllerRevision, namespace, |revision| revision).await?;
    let is_ours = |one: &&Value| {
        one["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|owner| owner["uid"] == daemon_set.uid.as_str())
    };
    let newest = revisions.iter().filter(is_ours).max_by_key(|one| one["revision"].as_i64());
    let hash = newest.and_then(|one| one["metadata"]["labels"]["controller-revision-hash"].as_str());
    let none = || RollError::NoRevision { daemon_set: roll.daemon_set.clone() };
    Ok(hash.map(str::to_owned).ok_or_else(none)?)
}
