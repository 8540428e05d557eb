//! What runs Calico's controllers on etcd. They are known by their image, whatever people named them.

use serde_json::Value;

use super::{install::repository, reference};
use crate::{
    cluster::{Cluster, ClusterError},
    resource::{Kind, Live, ObjectRef},
};

/// Lists the Deployments, and the ReplicaSets that no Deployment owns, that run Calico's controllers.
pub(super) async fn find(cluster: &Cluster, namespace: &str) -> Result<Vec<ObjectRef>, ClusterError> {
    let mut found = Vec::new();
    for kind in [Kind::Deployment, Kind::ReplicaSet] {
        let listed = cluster.list(kind, Some(namespace)).await?;
        found.extend(
            listed.iter().filter(|live| stands_alone(live) && runs_controllers(live)).map(|live| reference(kind, live)),
        );
    }
    Ok(found)
}

fn stands_alone(live: &Live) -> bool {
    let body = live.document.value();
    body.pointer("/metadata/ownerReferences").and_then(Value::as_array).is_none_or(Vec::is_empty)
}

fn runs_controllers(live: &Live) -> bool {
    let body = live.document.value();
    let containers = body.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let images = containers.into_iter().flatten().filter_map(|container| container["image"].as_str());
    images.into_iter().any(is_controllers_image)
}

/// Answers whether an image is Calico's controllers, of today's name or of that before v2.6, whatever the registry.
fn is_controllers_image(image: &str) -> bool {
    let name = repository(image).rsplit('/').next().unwrap_or_default();
    ["kube-policy-controller", "kube-controllers"].contains(&name)
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
