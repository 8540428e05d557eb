//! Namespaces full of network policies, as Calico 2.2 heeds them: those of every second namespace sleep.

use harness::{ControlPlane, HarnessError, Seen, wait_until};
use serde_json::{Value, json};

use crate::measure::Result;

/// Makes the namespaces and policies, and waits until the controllers are at rest.
pub fn lay_out(plane: &ControlPlane, namespaces: usize, policies_of_each: usize) -> Result<()> {
    let objects: Vec<Value> =
        (0..namespaces).flat_map(|number| namespace_with_policies(number, policies_of_each)).collect();
    plane.create_all(&objects)?;
    // The controllers write into every new namespace; while they do, they take the processor.
    wait_until("the controllers to be through with the namespaces", || {
        let path = "/api/v1/configmaps?fieldSelector=metadata.name%3Dkube-root-ca.crt";
        let found =
            plane.api().list(path).map_err(|source| HarnessError::Api { action: format!("list `{path}`"), source })?;
        Ok(if found.len() > namespaces { Seen::Yes(()) } else { Seen::NotYet(format!("{} done", found.len())) })
    })?;
    Ok(())
}

pub fn name(number: usize) -> String {
    format!("team-{number:04}")
}

/// Calico 2.2 heeds the policies of a namespace only where an annotation says so.
pub fn is_isolated(number: usize) -> bool {
    number.is_multiple_of(2)
}

fn namespace_with_policies(number: usize, policies_of_each: usize) -> Vec<Value> {
    let name = name(number);
    let isolation = json!({"net.beta.kubernetes.io/network-policy": "{\"ingress\":{\"isolation\":\"DefaultDeny\"}}"});
    let annotations = if is_isolated(number) { isolation } else { json!({}) };
    let metadata = json!({"name": name, "labels": {"team": name}, "annotations": annotations});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
    let policies = (0..policies_of_each).map(|policy| network_policy(&name, policy));
    std::iter::once(namespace).chain(policies).collect()
}

pub fn network_policy(namespace: &str, number: usize) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": format!("allow-{number}"), "namespace": namespace, "labels": {"team": namespace}},
        "spec": {
            "podSelector": {"matchLabels": {"app": format!("service-{number}"), "tier": "backend"}},
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [
                    {"podSelector": {"matchLabels": {"app": format!("client-{number}")}}},
                    {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}},
                ],
                "ports": [{"protocol": "TCP", "port": 8080}, {"protocol": "TCP", "port": 9090}],
            }],
        },
    })
}
