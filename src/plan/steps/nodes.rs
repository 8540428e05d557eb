//! Nodes that have a calico-node and would lose it, whatever the roll does.

use serde_json::Value;

use crate::{
    check::{BLOCKED, Finding, Severity, shorten},
    inventory::{Inventory, NodeFacts},
    plan::ObjectChange,
    resource::{Document, ObjectRef, Taint, picks_node},
};

/// What speaks against the wanted template of a DaemonSet: nodes to which a new pod does not come, and nodes from which the old one goes.
pub fn lost(inventory: &Inventory, daemon_set: &ObjectRef, changed: Option<&ObjectChange>) -> Vec<Finding> {
    let wanted = changed.and_then(|change| change.after.as_ref());
    let Some(next) = wanted.or_else(|| inventory.object(daemon_set)) else { return Vec::new() };
    let now = "label the nodes (kubectl label nodes), or take the selection out of the manifest: calico-upgrader diff";
    let not_picked = wanted.and_then(|wanted| not_picked(inventory, daemon_set, wanted)).map(|one| one.now(now));
    kept_away(inventory, daemon_set, &next.value()).into_iter().chain(not_picked).collect()
}

fn with_pods(inventory: &Inventory) -> impl Iterator<Item = &NodeFacts> {
    inventory.nodes.iter().filter(|node| node.pod.is_some())
}

/// A taint that came after the pod lets it run, and lets no new one in.
fn kept_away(inventory: &Inventory, daemon_set: &ObjectRef, next: &Value) -> Option<Finding> {
    let of_node = |node: &NodeFacts| {
        let taint = Taint::first_not_tolerated(&node.taints, next)?;
        Some(format!("{}: {}", node.name, taint.removal(&node.name)))
    };
    let lines: Vec<String> = with_pods(inventory).filter_map(of_node).collect();
    let title = format!("{} nodes have a taint that {daemon_set} does not tolerate", lines.len());
    let finding = Finding::new("CU-P006", Severity::Final { exit: BLOCKED }, title);
    let why =
        "their pods were there before the taint; once one is deleted no new one comes, and the node is without Calico";
    let now = "add the toleration to the DaemonSet, or take the taints away for the time of the run";
    (!lines.is_empty()).then(|| finding.evidence(shorten(lines)).why(why).now(now))
}

/// A controller ends the pods of nodes that the template does not pick, all at once, whatever the update strategy says.
pub fn not_picked(inventory: &Inventory, daemon_set: &ObjectRef, wanted: &Document) -> Option<Finding> {
    let wanted = wanted.value();
    let others = with_pods(inventory).filter(|node| !picks_node(&wanted, &node.name, &node.labels));
    let lines: Vec<String> = others.map(|node| node.name.clone()).collect();
    let pod = &wanted["spec"]["template"]["spec"];
    let selection = [("nodeSelector", &pod["nodeSelector"]), ("nodeAffinity", &pod["affinity"]["nodeAffinity"])];
    let shown =
        selection.iter().filter(|(_, part)| !part.is_null()).map(|(name, part)| format!("wanted {name}: {part}"));
    let title = format!("{daemon_set} would no longer be for {} nodes that it runs on", lines.len());
    let finding = Finding::new("CU-P007", Severity::Final { exit: BLOCKED }, title);
    let why = "its controller would end calico-node on all of them at once, as soon as the template changes";
    (!lines.is_empty()).then(|| finding.evidence(shown.chain(shorten(lines))).why(why))
}
