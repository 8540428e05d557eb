//! What a workload of Calico runs, by its images, whatever the registry.

use serde_json::Value;

use crate::resource::Document;

/// Splits an image into its repository, with the registry, and its tag; a digest is left out.
pub fn split_image(image: &str) -> (&str, &str) {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image, ""),
    }
}

/// The image of calico-node in a DaemonSet.
pub fn node_image_of(daemon_set: &Document) -> Option<String> {
    let body = daemon_set.value();
    calico_node(containers(&body))?["image"].as_str().map(str::to_owned)
}

/// Answers whether a workload runs Calico's controllers, and not Typha.
pub fn runs_controllers(workload: &Document) -> bool {
    containers(&workload.value()).iter().filter_map(|container| container["image"].as_str()).any(is_controllers_image)
}

/// Answers whether a workload runs Typha.
pub fn runs_typha(workload: &Document) -> bool {
    let body = workload.value();
    let mut images = containers(&body).iter().filter_map(|container| container["image"].as_str());
    images.any(|image| name_of(image) == "typha")
}

pub(super) fn containers(workload: &Value) -> &[Value] {
    workload.pointer("/spec/template/spec/containers").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(super) fn calico_node(containers: &[Value]) -> Option<&Value> {
    containers.iter().find(|container| container["name"] == "calico-node")
}

/// Answers whether an image is Calico's controllers, of today's name or of that before v2.6.
fn is_controllers_image(image: &str) -> bool {
    ["kube-policy-controller", "kube-controllers"].contains(&name_of(image))
}

/// The last part of an image's repository.
fn name_of(image: &str) -> &str {
    split_image(image).0.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_known_by_their_image_in_any_registry() {
        for image in [
            "quay.io/calico/kube-policy-controller:v0.7.0",
            "corp:5000/kube-controllers@sha256:1f",
            "calico/kube-controllers",
        ] {
            assert!(is_controllers_image(image), "{image}");
        }
        for image in ["quay.io/calico/node:v2.6.12", "calico/kube-controllers-extra:v1"] {
            assert!(!is_controllers_image(image), "{image}");
        }
    }
}
