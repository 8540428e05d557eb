//! What the environment of calico-node says of an install: how nodes get their network, and whom they ask for Calico's data.

use std::fmt;

use serde_json::Value;

use super::images::{calico_node, containers};
use crate::inventory::{Fact, Flavour};

/// What tells kinds of manifests apart whose DaemonSet has the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    pub flavour: Fact<Flavour>,
    /// The Service of Typha; without one each node asks the API server itself.
    pub typha: Option<String>,
}

impl Wiring {
    /// Reads a DaemonSet; `config` are the values that its environment may come from. `None` if it has no calico-node.
    pub fn of(daemon_set: &Value, config: &Value) -> Option<Self> {
        let containers = containers(daemon_set);
        let node = calico_node(containers)?;
        let typha = environment(node, "FELIX_TYPHAK8SSERVICENAME", config).filter(|name| !["", "none"].contains(name));
        Some(Self { flavour: flavour_of(containers, node, config), typha: typha.map(str::to_owned) })
    }
}

impl fmt::Display for Wiring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flavour = self.flavour.known().map_or("of an unknown flavour", |flavour| flavour.name());
        match &self.typha {
            Some(typha) => write!(formatter, "{flavour}, with Typha ({typha})"),
            None => write!(formatter, "{flavour}, without Typha"),
        }
    }
}

/// What Calico does for the nodes that run these containers.
pub fn flavour_of(containers: &[Value], node: &Value, config: &Value) -> Fact<Flavour> {
    // Canal on etcd names the container without `kube-`.
    let is_flannel = |container: &Value| ["kube-flannel", "flannel"].iter().any(|name| container["name"] == *name);
    if containers.iter().any(is_flannel) {
        return Fact::Known(Flavour::Canal);
    }
    // The variable of v2.0 for kubeadm; the release's own value of the newer one would switch BGP on.
    if let Some(off @ "false") = environment(node, "CALICO_NETWORKING", config) {
        return Fact::unknown(format!("CALICO_NETWORKING is `{off}`, which no release after v2.0 knows"));
    }
    match environment(node, "CALICO_NETWORKING_BACKEND", config) {
        Some("none") => Fact::Known(Flavour::PolicyOnly),
        // v3.7 brought `vxlan`.
        Some("bird" | "vxlan" | "") | None => Fact::Known(Flavour::Networking),
        Some(other) => Fact::unknown(format!("CALICO_NETWORKING_BACKEND is `{other}`")),
    }
}

/// The value of a variable, be it written out or in the ConfigMap.
pub fn environment<'a>(container: &'a Value, name: &str, config: &'a Value) -> Option<&'a str> {
    let found = container["env"].as_array()?.iter().find(|one| one["name"] == name)?;
    let key = found.pointer("/valueFrom/configMapKeyRef/key").and_then(Value::as_str);
    let value = found.get("value").or_else(|| config["data"].get(key?));
    value.and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn typha_is_used_only_where_a_service_is_named() {
        let env = json!([{"name": "CALICO_NETWORKING_BACKEND", "value": "none"},
            {"name": "FELIX_TYPHAK8SSERVICENAME", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "typha"}}}]);
        let body = json!({"spec": {"template": {"spec": {"containers": [{"name": "calico-node", "env": env}]}}}});
        for (name, words) in [("none", "policy-only, without Typha"), ("t", "policy-only, with Typha (t)")] {
            let wiring = Wiring::of(&body, &json!({"data": {"typha": name}})).unwrap();
            assert_eq!(wiring.to_string(), words);
        }
    }
}
