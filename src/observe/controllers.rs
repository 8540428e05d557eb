//! What runs Calico's controllers on etcd. They are known by their image, whatever people named them.

use serde_json::Value;

use super::reference;
use crate::{
    cluster::{Cluster, ClusterError},
    resource::{Kind, Live, ObjectRef},
    runbook::runs_controllers,
};

/// Lists the Deployments, and the ReplicaSets that no Deployment owns, that run Calico's controllers.
pub(super) async fn find(cluster: &Cluster, namespace: &str) -> Result<Vec<ObjectRef>, ClusterError> {
    let mut found = Vec::new();
    for kind in [Kind::Deployment, Kind::ReplicaSet] {
        let listed = cluster.list(kind, Some(namespace)).await?;
        found.extend(
            listed
                .iter()
                .filter(|live| stands_alone(live) && runs_controllers(&live.document))
                .map(|live| reference(kind, live)),
        );
    }
    Ok(found)
}

fn stands_alone(live: &Live) -> bool {
    let body = live.document.value();
    body.pointer("/metadata/ownerReferences").and_then(Value::as_array).is_none_or(Vec::is_empty)
}
