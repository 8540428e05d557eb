//! Taints of nodes, and whether new pods of a DaemonSet come to a node in spite of them.
//!
//! A taint that came after the pod does not end it, unless its effect says so: the pod runs on, and once it is deleted no new one comes.
//! Sources: <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/#concepts> and
//! <https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/#taints-and-tolerations>.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A taint that keeps new pods away from a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: String,
}

/// Kubernetes puts these on a node for the state it is in, a cordon among them. The pods of DaemonSets tolerate them.
const OF_CONDITIONS: [&str; 2] = ["node.kubernetes.io/", "node.alpha.kubernetes.io/"];

impl Taint {
    /// The taints of a node that people and their tools put on it, and that keep new pods away.
    pub fn all_of(node: &Value) -> Vec<Self> {
        let taints = node["spec"]["taints"].as_array();
        taints.into_iter().flatten().map(Self::read).filter(Self::keeps_pods_away).collect()
    }

    fn read(taint: &Value) -> Self {
        Self { key: text(taint, "key"), value: text(taint, "value"), effect: text(taint, "effect") }
    }

    fn keeps_pods_away(&self) -> bool {
        let is_of_condition = OF_CONDITIONS.iter().any(|prefix| self.key.starts_with(prefix));
        ["NoSchedule", "NoExecute"].contains(&self.effect.as_str()) && !is_of_condition
    }

    /// The first of a node's taints that keeps pods of this workload's template away.
    pub fn first_not_tolerated<'t>(taints: &'t [Self], workload: &Value) -> Option<&'t Self> {
        taints.iter().find(|taint| !taint.is_tolerated_by(workload))
    }

    /// The command that takes it away.
    pub fn removal(&self, node: &str) -> String {
        format!("kubectl taint nodes {node} {self}-")
    }

    fn is_tolerated_by(&self, workload: &Value) -> bool {
        let tolerations = workload["spec"]["template"]["spec"]["tolerations"].as_array();
        tolerations.into_iter().flatten().any(|toleration| self.is_met_by(toleration))
    }

    fn is_met_by(&self, toleration: &Value) -> bool {
        let (key, effect) = (text(toleration, "key"), text(toleration, "effect"));
        let is_value = match text(toleration, "operator").as_str() {
            "Exists" => key.is_empty() || key == self.key,
            "" | "Equal" => key == self.key && text(toleration, "value") == self.value,
            _ => false,
        };
        is_value && (effect.is_empty() || effect == self.effect)
    }
}

/// As `kubectl taint` takes it.
impl fmt::Display for Taint {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.value.is_empty() { String::new() } else { format!("={}", self.value) };
        write!(to, "{}{value}:{}", self.key, self.effect)
    }
}

fn text(object: &Value, key: &str) -> String {
    object[key].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tolerates(toleration: &Value, taint: &Value) -> bool {
        let workload = json!({"spec": {"template": {"spec": {"tolerations": [toleration]}}}});
        Taint::read(taint).is_tolerated_by(&workload)
    }

    #[test]
    fn a_toleration_meets_a_taint_by_key_value_and_effect_as_far_as_it_names_them() {
        let taint = json!({"key": "dedicated", "value": "edge", "effect": "NoSchedule"});
        for (toleration, is_met) in [
            (json!({"operator": "Exists"}), true),
            (json!({"operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"key": "dedicated", "operator": "Exists"}), true),
            (json!({"key": "other", "operator": "Exists"}), false),
            (json!({"key": "dedicated", "value": "edge"}), true),
            (json!({"key": "dedicated", "operator": "Equal", "value": "edge", "effect": "NoSchedule"}), true),
            (json!({"key": "dedicated", "operator": "Equal", "value": "core"}), false),
            (json!({"key": "dedicated"}), false),
            (json!({"value": "edge"}), false),
        ] {
            assert_eq!(tolerates(&toleration, &taint), is_met, "{toleration}");
        }
    }

    #[test]
    fn only_what_people_put_on_a_node_to_keep_pods_away_counts() {
        let taint = |key: &str, effect: &str| json!({"key": key, "effect": effect});
        let node = json!({"spec": {"taints": [
            taint("node.kubernetes.io/unschedulable", "NoSchedule"), taint("node.alpha.kubernetes.io/notReady", "NoExecute"),
            taint("soft", "PreferNoSchedule"), taint("hard", "NoExecute"),
        ]}});
        let all: Vec<String> = Taint::all_of(&node).iter().map(Taint::to_string).collect();
        assert_eq!(all, ["hard:NoExecute"]);
        assert_eq!(Taint::all_of(&json!({"spec": {}})), []);
    }
}
