//! The new images come to every node before anything else is changed: a node is without calico-node only for as long as a pod
//! takes to start, within the time for which BIRD keeps its routes, and an image that cannot be pulled stops the run before
//! it has begun.
//!
//! A DaemonSet of ours runs the images idly on the host's network, with what lets the pods of calico-node be placed and
//! pulled. Source of the 90 s: Calico docs v2.6, getting-started/kubernetes/upgrade/upgrade@4b281b28ed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Draft, manifests::daemon_set_change, seconds};
use crate::{
    plan::{Desired, PlanError, Pull, make::Materials},
    resource::{Document, Kind, ObjectRef},
    runbook::Parameters,
};

pub const NAME: &str = "calico-upgrader-pull";
const SELECTOR: &str = "calico-upgrader/part=pull";

/// How long all nodes together may take by default.
const PULL_WITHIN: u64 = 900;

/// What decides where a pod may run and from where it may pull.
const TAKEN_OVER: [&str; 4] = ["affinity", "imagePullSecrets", "nodeSelector", "tolerations"];

pub fn pull_images(materials: &Materials<'_>, parameters: &Parameters) -> Result<Draft, PlanError> {
    if materials.request.is_pull_left_out {
        return Ok(Draft::nothing("--no-pull: each node pulls while it has no calico-node"));
    }
    let Some(change) = daemon_set_change(materials) else { return Ok(Draft::nothing("no image is new")) };
    let pod = |document: Option<Document>| document.map(|document| document.value()).unwrap_or_default();
    let (old, new) = (images(&pod(change.before)), pod(change.after));
    let mut seen: BTreeSet<String> = old.into_iter().map(|(_, image)| image).collect();
    let images: Vec<(String, String)> =
        images(&new).into_iter().filter(|(_, image)| seen.insert(image.clone())).collect();
    if images.is_empty() {
        return Ok(Draft::nothing("no image is new"));
    }
    let pull = Pull {
        daemon_set: ObjectRef { name: NAME.to_owned(), ..change.object.clone() },
        document: idle_daemon_set(&change.object, &new, &images),
        selector: SELECTOR.to_owned(),
        within_seconds: materials
            .request
            .pull_within_seconds
            .map_or_else(|| seconds("pull_within", parameters.pull_within.as_deref(), PULL_WITHIN), Ok)?,
    };
    let summary = format!("{} new images on {} nodes", images.len(), materials.inventory.nodes.len());
    Ok(Draft { desired: Some(Desired::Pull(pull)), summary, ..Draft::default() })
}

/// The containers of a DaemonSet's pods, by name, with their images.
fn images(daemon_set: &Value) -> Vec<(String, String)> {
    let pod = &daemon_set["spec"]["template"]["spec"];
    let lists = ["initContainers", "containers"].into_iter().flat_map(|key| pod[key].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    lists.map(|container| (text(&container["name"]), text(&container["image"]))).collect()
}

fn idle_daemon_set(object: &ObjectRef, daemon_set: &Value, images: &[(String, String)]) -> Document {
    debug_assert_eq!(object.kind, Kind::DaemonSet);
    let idle = |(name, image): &(String, String)| json!({"name": name, "image": image, "command": ["sleep", "86400"]});
    let containers: Vec<Value> = images.iter().map(idle).collect();
    let mut pod = json!({"hostNetwork": true, "terminationGracePeriodSeconds": 0, "containers": containers});
    for field in TAKEN_OVER {
        if let Some(value) = daemon_set["spec"]["template"]["spec"].get(field) {
            pod[field] = value.clone();
        }
    }
    let labels = json!({"app.kubernetes.io/name": "calico-upgrader", "calico-upgrader/part": "pull"});
    Document::new(json!({
        "metadata": {"name": NAME, "namespace": object.namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "OnDelete"},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }))
}
