//! Waiting for controllers: the old pods to be gone to the last one, the new one to be ready.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Claim, Step, StepError};
use crate::{
    cluster::{Cluster, ClusterError, Followed},
    door::Door,
    event::Voice,
    journal::News,
    plan::Controllers,
    resource::{Kind, ObjectRef, selector_of},
};

/// Waits until no pod is left that the selector picks; one that is about to go may still write.
pub(super) async fn until_gone(
    step: &Step<'_>,
    namespace: &str,
    selector: &str,
    within_seconds: u64,
    door: &mut Door,
    voice: &Voice,
) -> Result<(), StepError> {
    let cluster = door.cluster.clone();
    let reached = async || Ok(cluster.list_selected(Kind::Pod, Some(namespace), selector).await?.is_empty());
    let what = format!("the pods with {selector} to be gone");
    wait(step, what, within_seconds, reached, door, voice).await
}

/// Waits until the pods of an object are as many as wanted, new, and ready.
pub(super) async fn until_ready(
    step: &Step<'_>,
    object: &ObjectRef,
    within_seconds: u64,
    door: &mut Door,
    voice: &Voice,
) -> Result<(), StepError> {
    let cluster = door.cluster.clone();
    let reached = async || Ok(cluster.get_raw(object).await?.is_some_and(|body| is_ready(object.kind, &body)));
    let waited = wait(step, format!("{object} to be ready"), within_seconds, reached, door, voice).await;
    match waited {
        Err(StepError::NotYet { what, waited }) => {
            let what = format!("{what} ({})", trouble(&cluster, object).await?);
            Err(StepError::NotYet { what, waited })
        }
        other => other,
    }
}

/// What keeps the pods of an object from being ready.
async fn trouble(cluster: &Cluster, object: &ObjectRef) -> Result<String, ClusterError> {
    let body = cluster.get_raw(object).await?.unwrap_or_default();
    let pods = pods(cluster, object.namespace.as_deref().unwrap_or_default(), &selector_of(&body)).await?;
    let known = pods.iter().filter_map(|pod| Some(format!("{}: {}", pod.name, pod.trouble.as_ref()?)));
    Ok(known.reduce(|all, one| format!("{all}, {one}")).unwrap_or_else(|| "no pod says why".to_owned()))
}

async fn wait(
    step: &Step<'_>,
    what: String,
    within_seconds: u64,
    reached: impl AsyncFn() -> Result<bool, ClusterError>,
    door: &mut Door,
    voice: &Voice,
) -> Result<(), StepError> {
    let started = Instant::now();
    step.wait_within(Duration::from_secs(within_seconds), door, what.clone(), reached, voice).await?;
    let (step, seconds) = (step.planned.name.clone(), started.elapsed().as_secs());
    Ok(door.note(News::Waited { step, what, seconds })?)
}

/// Answers whether the controller of an object has seen its newest form, and all its pods are of it and ready.
fn is_ready(kind: Kind, body: &Value) -> bool {
    let count = |path: &str| body.pointer(path).and_then(Value::as_i64);
    let wanted = count("/spec/replicas").unwrap_or(1);
    // Servers leave a count of 0 out: while the pods of the old template go, a Deployment has no updatedReplicas. A ReplicaSet never
    // has: all its pods are of its one template.
    let updated =
        count(if kind == Kind::ReplicaSet { "/status/replicas" } else { "/status/updatedReplicas" }).unwrap_or(0);
    let is_seen = count("/status/observedGeneration") >= count("/metadata/generation");
    let of_any_form = count("/status/replicas").unwrap_or(0);
    is_seen && updated == wanted && of_any_form == wanted && count("/status/readyReplicas").unwrap_or(0) == wanted
}

async fn pods(cluster: &Cluster, namespace: &str, selector: &str) -> Result<Vec<Followed>, ClusterError> {
    Ok(cluster.follow_pods(namespace, selector).await?.pods().values().cloned().collect())
}

/// One claim: exactly one controller runs, and it is the one of the release.
pub(super) async fn one_runs(cluster: &Cluster, controllers: &Controllers) -> Result<Claim, ClusterError> {
    let namespace = controllers.object.namespace.as_deref().unwrap_or_default();
    let now = pods(cluster, namespace, &controllers.selector).await?;
    let mut before = Vec::new();
    for selector in &controllers.stopped {
        before.extend(pods(cluster, namespace, selector).await?);
    }
    let is_new = |pod: &Followed| pod.is_ready && !pod.is_terminating && pod.images.contains(&controllers.image);
    let mut facts: Vec<String> = now.iter().map(|pod| format!("{} runs {}", pod.name, pod.images.join(", "))).collect();
    facts.extend(before.iter().map(|pod| format!("{} is still there", pod.name)));
    let holds = before.is_empty() && now.len() == 1 && now.iter().all(is_new);
    Ok(Claim { text: format!("one controller runs, with {}", controllers.image), holds, facts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployment_is_ready_only_with_its_newest_form() {
        let deployment = |generation: i64, status: Value| {
            let body = json!({"metadata": {"generation": generation}, "spec": {"replicas": 1}, "status": status});
            is_ready(Kind::Deployment, &body)
        };
        let whole = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1});
        assert!(deployment(2, whole.clone()));
        assert!(!deployment(3, whole.clone()), "its newest change was not seen");
        for (key, value) in [("replicas", 2), ("updatedReplicas", 0), ("readyReplicas", 0)] {
            let mut status = whole.clone();
            status[key] = json!(value);
            assert!(!deployment(2, status), "{key} {value}");
        }
        assert!(!deployment(1, json!({})));
        let old_pods_go = json!({"observedGeneration": 3, "replicas": 1, "readyReplicas": 1});
        assert!(!deployment(3, old_pods_go), "the one that is ready is of the old template");
    }
}
