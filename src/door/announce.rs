//! Events of Kubernetes on the objects that a run touches, for people who look at them. Nothing depends on them.

use serde_json::json;

use crate::{
    cluster::{Cluster, ClusterError},
    resource::{Kind, ObjectRef},
};

/// What is told of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub about: ObjectRef,
    /// One word for machines.
    pub reason: &'static str,
    pub message: String,
    pub is_warning: bool,
}

/// So many characters are told: an Event may hold 1024 bytes of a message, and a character may take four.
const MESSAGE_LIMIT: usize = 256;

/// Tells something of an object. One that is gone has nobody to tell.
pub async fn announce(cluster: &Cluster, notice: &Notice) -> Result<(), ClusterError> {
    let ObjectRef { kind, namespace, name } = &notice.about;
    let Some(uid) = uid_of(cluster, &notice.about).await? else { return Ok(()) };
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    // An Event of an object without a namespace lies in `default`.
    let home = namespace.as_deref().unwrap_or("default");
    let mut involved =
        json!({"apiVersion": cluster.api_version(*kind)?, "kind": kind.name(), "name": name, "uid": uid});
    if namespace.is_some() {
        involved["namespace"] = json!(home);
    }
    let message: String = notice.message.chars().take(MESSAGE_LIMIT).collect();
    let event = json!({"apiVersion": "v1", "kind": "Event", "involvedObject": involved, "count": 1,
        "metadata": {"generateName": "calico-upgrader-", "namespace": home},
        "reason": notice.reason, "message": message, "type": if notice.is_warning { "Warning" } else { "Normal" },
        "firstTimestamp": now, "lastTimestamp": now, "source": {"component": "calico-upgrader"},
        "reportingComponent": "calico-upgrader", "reportingInstance": "calico-upgrader"});
    cluster.post_event(home, &event).await
}

/// `kubectl describe node` looks for Events by the name of the node in place of its uid, as the kubelet writes them.
async fn uid_of(cluster: &Cluster, about: &ObjectRef) -> Result<Option<String>, ClusterError> {
    if about.kind == Kind::Node {
        return Ok(Some(about.name.clone()));
    }
    Ok(cluster.get(about).await?.map(|live| live.uid))
}
