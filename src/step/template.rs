//! The template of calico-node as the cluster knows it: that it does not roll by itself, and which pods were made from it.

use serde_json::Value;

use super::{RollError, StepError};
use crate::{cluster::Cluster, plan::Roll, resource::Kind};

/// Makes sure that no pod is replaced but by us.
pub(super) async fn check_frozen(cluster: &Cluster, roll: &Roll) -> Result<(), StepError> {
    let live = cluster.get(&roll.daemon_set).await?;
    let strategy = live.map(|live| live.document.value()["spec"]["updateStrategy"]["type"].clone()).unwrap_or_default();
    // extensions/v1beta1 has OnDelete where nothing is said.
    if strategy.is_null() || strategy == "OnDelete" {
        return Ok(());
    }
    let daemon_set = roll.daemon_set.clone();
    Err(RollError::NotFrozen { daemon_set, strategy: strategy.as_str().unwrap_or_default().to_owned() }.into())
}

/// The hash that pods of the newest template carry.
pub(super) async fn newest_revision(cluster: &Cluster, roll: &Roll) -> Result<String, StepError> {
    let namespace = roll.daemon_set.namespace.as_deref();
    let revisions = cluster.list_as(Kind::ControllerRevision, namespace, |revision| revision).await?;
    let uid = cluster.get(&roll.daemon_set).await?.map(|live| live.uid).unwrap_or_default();
    let is_ours = |one: &&Value| {
        one["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["uid"] == uid.as_str())
    };
    let newest = revisions.iter().filter(is_ours).max_by_key(|one| one["revision"].as_i64());
    let hash = newest.and_then(|one| one["metadata"]["labels"]["controller-revision-hash"].as_str());
    let none = || RollError::NoRevision { daemon_set: roll.daemon_set.clone() };
    Ok(hash.map(str::to_owned).ok_or_else(none)?)
}
