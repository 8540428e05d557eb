//! The life of a pod and of a node, as a kubelet makes it: what comes next, from the object as it is and the fault of its node.

use std::time::Duration;

use serde_json::{Value, json};

use crate::nodes::{Fault, ready_condition};

/// How long the containers of a pod need to become ready.
const STARTS_IN: Duration = Duration::from_millis(60);

/// What a kubelet does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Says of its node whether it works itself.
    Report { is_lost: bool },
    /// Says that all containers run and are ready.
    Start,
    /// Says what is wrong with the first container.
    Fail(Fault),
    /// Looks whether a calico-node that is ready would still be, since a Typha came or went.
    Review,
    /// Removes a pod that was deleted: its containers have ended.
    End,
}

/// A node says whether its kubelet works. Who is lost says it once.
pub fn next_of_node(node: &Value, fault: Option<Fault>) -> Option<(Duration, Act)> {
    let is_lost = fault == Some(Fault::KubeletLost);
    let is_said = ready_condition(node) == Some(if is_lost { "False" } else { "True" });
    (!is_said).then_some((Duration::ZERO, Act::Report { is_lost }))
}

/// A pod that ended never runs again. Pods that were ready before stay so; only new ones suffer from a fault.
pub fn next_of_pod(pod: &Value, fault: Option<Fault>) -> Option<(Duration, Act)> {
    if fault == Some(Fault::KubeletLost) {
        return None;
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        return Some((Duration::ZERO, Act::End));
    }
    let has_ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if has_ended || ready_condition(pod) == Some("True") {
        return None;
    }
    match fault {
        None | Some(Fault::Unschedulable | Fault::KubeletLost) => Some((STARTS_IN, Act::Start)),
        Some(fault) => {
            let is_told = !pod["status"]["containerStatuses"].is_null();
            (!is_told).then_some((Duration::ZERO, Act::Fail(fault)))
        }
    }
}

/// The patch of a pod whose first container runs and is not ready, for this reason.
pub fn not_ready(pod: &Value, why: &str) -> Value {
    let mut patch = unwell(pod, Fault::NeverReady);
    patch["status"]["message"] = json!(format!("Readiness probe failed: {why}"));
    patch
}

/// The patch of a node that says whether its kubelet works.
pub fn report(node: &Value, is_lost: bool) -> Value {
    let (status, reason, message) = match is_lost {
        true => ("False", "KubeletNotReady", "container runtime is down"),
        false => ("True", "KubeletReady", "kubelet is posting ready status"),
    };
    let ready = json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": now(), "lastTransitionTime": now(),
    });
    patch(node, json!({"conditions": [ready]}))
}

/// The patch of a pod all of whose containers run and are ready.
pub fn running(pod: &Value) -> Value {
    let conditions = ["Initialized", "Ready", "ContainersReady"]
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": now()}));
    let statuses: Vec<Value> = containers(pod).map(|container| container_status(container, &well())).collect();
    patch(pod, status("Running", &conditions, &statuses))
}

/// The patch of a pod whose first container is unwell; the others run.
pub fn unwell(pod: &Value, fault: Fault) -> Value {
    let first = match fault {
        Fault::ImagePull => waiting("ImagePullBackOff", &format!("Back-off pulling image \"{}\"", image(pod))),
        Fault::CrashLoop => crashed(pod),
        Fault::NeverReady | Fault::Unschedulable | Fault::KubeletLost => {
            json!({"started": true, "restartCount": 0, "state": {"running": {"startedAt": now()}}})
        }
    };
    let name = containers(pod).next().map(|container| container["name"].clone()).unwrap_or_default();
    let message = format!("containers with unready status: [{}]", name.as_str().unwrap_or_default());
    let not_ready = |kind: &str| json!({"type": kind, "status": "False", "reason": "ContainersNotReady", "message": message, "lastTransitionTime": now()});
    let initialized = json!({"type": "Initialized", "status": "True", "lastTransitionTime": now()});
    let states = std::iter::once(first).chain(std::iter::repeat(well()));
    let statuses: Vec<Value> =
        containers(pod).zip(states).map(|(container, state)| container_status(container, &state)).collect();
    let phase = if fault == Fault::ImagePull { "Pending" } else { "Running" };
    patch(pod, status(phase, &[initialized, not_ready("Ready"), not_ready("ContainersReady")], &statuses))
}

/// It holds the uid, so that an object that took the name of another is left alone.
fn patch(object: &Value, status: Value) -> Value {
    json!({"metadata": {"uid": uid(object)}, "status": status})
}

fn status(phase: &str, conditions: &[Value], statuses: &[Value]) -> Value {
    json!({
        "phase": phase, "conditions": conditions, "containerStatuses": statuses, "message": null,
        "hostIP": "10.0.0.1", "podIP": "10.0.0.1", "startTime": now(),
    })
}

fn container_status(container: &Value, state: &Value) -> Value {
    let mut status = json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": false});
    for (key, value) in state.as_object().into_iter().flatten() {
        status[key] = value.clone();
    }
    status
}

fn well() -> Value {
    json!({"ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": now()}}})
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"started": false, "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}})
}

/// It ended with an error again and again, and is started ever more seldom.
fn crashed(pod: &Value) -> Value {
    let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let container = containers(pod).next().map(|container| name(&container["name"])).unwrap_or_default();
    let message =
        format!("back-off 1m20s restarting failed container={container} pod={}", name(&pod["metadata"]["name"]));
    let mut state = waiting("CrashLoopBackOff", &message);
    state["restartCount"] = json!(4);
    state["lastState"] =
        json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": now(), "finishedAt": now()}});
    state
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["containers"].as_array().into_iter().flatten()
}

fn image(pod: &Value) -> String {
    containers(pod).next().and_then(|container| container["image"].as_str()).unwrap_or_default().to_owned()
}

/// The time to the second, as kubelets write it.
fn now() -> String {
    jiff::Timestamp::now().strftime("%FT%TZ").to_string()
}

pub fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}
