//! What bringing images to all nodes costs a bare client: a DaemonSet comes, runs once on each node, and goes.

use std::time::{Duration, Instant};

use harness::ControlPlane;
use serde_json::{Value, json};

use crate::measure::{Result, wait_for};

const NAME: &str = "bare-pull";
const DAEMON_SETS: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets";
const PODS: &str = "/api/v1/namespaces/kube-system/pods?limit=1&labelSelector=part%3Dbare-pull";
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);
/// The server goes through all pods for this one; to ask it all the time would slow down what is waited for.
const BETWEEN_LISTS: Duration = Duration::from_millis(25);

/// Gives the seconds from the making of the DaemonSet until its last pod is gone.
pub fn pull_bare(plane: &ControlPlane, nodes: usize) -> Result<f64> {
    let started = Instant::now();
    let path = format!("{DAEMON_SETS}/{NAME}");
    plane.api().create(DAEMON_SETS, &idle_daemon_set())?;
    wait_for("a ready pod on each node", BETWEEN_LOOKS, || {
        Ok(plane.api().get(&path)?["status"]["numberReady"].as_u64() == Some(nodes as u64))
    })?;
    plane.api().delete(&path)?;
    wait_for("the end of the pods", BETWEEN_LISTS, || Ok(plane.api().list(PODS)?.is_empty()))?;
    Ok(started.elapsed().as_secs_f64())
}

fn idle_daemon_set() -> Value {
    let labels = json!({"part": NAME});
    let containers = json!([{"name": "pull", "image": "registry.example/one:1", "command": ["sleep", "86400"]}]);
    let pod = json!({
        "hostNetwork": true, "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}], "containers": containers,
    });
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": "kube-system", "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    })
}
