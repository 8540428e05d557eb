//! Simulated nodes and their faults.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, Kubernetes};
use crate::error::{Result, Trying};
use crate::kubelets::Rule;
use crate::parallel::for_each;
use crate::wait::{Seen, wait_until};

const NODES: &str = "/api/v1/nodes";
const CPUS: &str = "8";
// Less than any calico-node asks for.
const TOO_FEW_CPUS: &str = "10m";

/// What is wrong with a node. Pods that were ready before stay ready; only new ones suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// New pods run, but never pass their readiness probe.
    NeverReady,
    /// New pods cannot pull the image of their first container.
    ImagePull,
    /// The first container of new pods ends with an error again and again.
    CrashLoop,
    /// The node has no room for new pods. Kubernetes 1.8 does not even create the pods of a DaemonSet then.
    Unschedulable,
    /// The kubelet reports itself not ready, starts no pod and ends none.
    KubeletLost,
}

/// The nodes of a control plane.
pub struct Nodes<'a> {
    plane: &'a ControlPlane,
}

impl ControlPlane {
    /// Adds ready nodes; the first node of a cluster belongs to the control plane.
    pub fn add_nodes(&self, names: &[&str]) -> Result<()> {
        let present = self.api().list(NODES).trying(|| "list the nodes".to_owned())?.len();
        let nodes: Vec<Value> = names
            .iter()
            .enumerate()
            .map(|(offset, name)| node(self.kubernetes(), name, present + offset, present + offset == 0))
            .collect();
        self.create_nodes(&nodes)
    }

    /// Adds nodes named `node-1` to `node-COUNT`; `node-1` belongs to the control plane.
    pub fn add_node_count(&self, count: usize) -> Result<()> {
        let names: Vec<String> = (1..=count).map(|number| format!("node-{number}")).collect();
        self.add_nodes(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Adds one more node to the control plane.
    pub fn add_control_plane_node(&self, name: &str) -> Result<()> {
        let present = self.api().list(NODES).trying(|| "list the nodes".to_owned())?.len();
        self.create_nodes(&[node(self.kubernetes(), name, present, true)])
    }

    /// Takes a node away. Its pods stay until the garbage collector of pods comes, most of a minute.
    pub fn remove_node(&self, name: &str) -> Result<()> {
        self.api().delete(&format!("{NODES}/{name}")).trying(|| format!("delete node `{name}`")).map(drop)
    }

    /// The nodes, to break and to repair.
    pub fn nodes(&self) -> Nodes<'_> {
        Nodes { plane: self }
    }

    /// Lets the simulated nodes break a rule of Calico while something is tried.
    pub fn without<T>(&self, rule: Rule, try_it: impl FnOnce() -> T) -> T {
        self.kubelets.switch(rule, false);
        let outcome = try_it();
        self.kubelets.switch(rule, true);
        outcome
    }

    /// The nodes that enforce no policy, though they are Ready.
    pub fn nodes_with_dropped_policies(&self) -> BTreeSet<String> {
        self.kubelets.dropped()
    }

    /// The same for any time since the cluster was taken back to a moment.
    pub fn nodes_that_ever_dropped_policies(&self) -> BTreeSet<String> {
        self.kubelets.ever_dropped()
    }

    fn create_nodes(&self, nodes: &[Value]) -> Result<()> {
        for_each(nodes, |node| {
            let name = text(node, "name");
            self.api().create(NODES, node).trying(|| format!("create node `{name}`")).map(drop)
        })?;
        wait_until("the new nodes to take pods", || {
            let nodes = self.api().list(NODES).trying(|| "list the nodes".to_owned())?;
            Ok(match nodes.iter().find(|node| is_marked_not_ready(node)) {
                Some(node) => Seen::NotYet(format!("`{}` is marked not ready", text(node, "name"))),
                None => Seen::Yes(()),
            })
        })
    }
}

impl Nodes<'_> {
    /// Gives the node a fault; one it had before is replaced.
    pub fn fail(&self, node: &str, fault: Fault) -> Result<()> {
        self.enact(node, Some(fault))
    }

    /// Takes the fault away; pods that were stuck get ready.
    pub fn repair(&self, node: &str) -> Result<()> {
        self.enact(node, None)
    }

    fn enact(&self, node: &str, fault: Option<Fault>) -> Result<()> {
        let mut faults = self.plane.kubelets.faults();
        let before = match fault {
            Some(fault) => faults.insert(node.to_owned(), fault),
            None => faults.remove(node),
        };
        let changes = |to: Fault| (before == Some(to)) != (fault == Some(to));
        if changes(Fault::Unschedulable) {
            self.set_cpus(node, if fault == Some(Fault::Unschedulable) { TOO_FEW_CPUS } else { CPUS })?;
        }
        self.plane.kubelets.set_faults(faults);
        if changes(Fault::KubeletLost) {
            self.wait_for_report(node, if fault == Some(Fault::KubeletLost) { "False" } else { "True" })?;
        }
        Ok(())
    }

    fn set_cpus(&self, node: &str, cpus: &str) -> Result<()> {
        let patch = json!({"status": {"allocatable": {"cpu": cpus}, "capacity": {"cpu": cpus}}});
        let path = format!("{NODES}/{node}/status");
        self.plane.api().merge_patch(&path, &patch).trying(|| format!("change the size of node `{node}`")).map(drop)
    }

    fn wait_for_report(&self, node: &str, status: &str) -> Result<()> {
        wait_until(&format!("node `{node}` to report Ready={status}"), || {
            let live = self.plane.api().get(&format!("{NODES}/{node}")).trying(|| format!("read node `{node}`"))?;
            Ok(if ready_condition(&live) == Some(status) { Seen::Yes(()) } else { Seen::NotYet("another".to_owned()) })
        })
    }
}

/// The status of the condition Ready of a node or a pod.
pub fn ready_condition(object: &Value) -> Option<&str> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == "Ready")?["status"].as_str()
}

fn is_marked_not_ready(node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array().map(Vec::as_slice).unwrap_or_default();
    ready_condition(node) != Some("True") || taints.iter().any(|taint| taint["key"] == "node.kubernetes.io/not-ready")
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

fn node(kubernetes: Kubernetes, name: &str, number: usize, is_control_plane: bool) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": name, "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
    });
    let mut spec = json!({"podCIDR": format!("10.48.{}.0/24", number % 256)});
    if is_control_plane {
        let role = control_plane_role(kubernetes);
        labels[role] = json!("");
        spec["taints"] = json!([{"key": role, "effect": "NoSchedule"}]);
    }
    let room = json!({"cpu": CPUS, "memory": "16Gi", "pods": "110"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {
            "capacity": room, "allocatable": room,
            "addresses": [
                {"type": "InternalIP", "address": format!("10.0.{}.{}", 1 + number / 200, 1 + number % 200)},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
            "nodeInfo": node_info(kubernetes, number),
        },
    })
}

fn node_info(kubernetes: Kubernetes, number: usize) -> Value {
    json!({
        "architecture": "amd64", "operatingSystem": "linux", "osImage": "simulated", "kernelVersion": "4.14.0",
        "containerRuntimeVersion": "docker://1.12.6", "kubeProxyVersion": kubernetes.version(),
        // Without a version, 1.8 removes deleted pods without any grace period.
        "kubeletVersion": kubernetes.version(),
        "machineID": format!("{number:032x}"), "systemUUID": format!("{number:032x}"), "bootID": "",
    })
}

fn control_plane_role(kubernetes: Kubernetes) -> &'static str {
    match kubernetes {
        Kubernetes::V1_34 => "node-role.kubernetes.io/control-plane",
        Kubernetes::V1_8 => "node-role.kubernetes.io/master",
    }
}
