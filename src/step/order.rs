//! The order in which nodes are replaced: workers by name, the canary first, the control plane last; or the other way round.
//! The node that we run on ourselves is the last of all.

use std::collections::BTreeSet;

use crate::{
    cluster::{Cluster, ClusterError, Followed},
    inventory::NodeFacts,
    observe::nodes,
    plan::{Order, Plan, Roll},
    resource::{Kind, differences, selector_of},
};

/// Nodes that are not like the others.
#[derive(Clone, Debug, Default)]
pub(super) struct Special {
    pub control_plane: BTreeSet<String>,
    /// The node that we run on ourselves.
    pub own: Option<String>,
}

/// Whose turn a node's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Worker,
    ControlPlane,
    /// Whatever becomes of us with our own node, all others are done by then.
    Own,
}

impl Special {
    fn turn_of(&self, node: &str) -> Turn {
        if self.own.as_deref() == Some(node) {
            Turn::Own
        } else if self.control_plane.contains(node) {
            Turn::ControlPlane
        } else {
            Turn::Worker
        }
    }
}

/// Picks the nodes to replace next: workers by name, then the control plane, or backwards; the two are never in one batch. Our
/// own node comes last, either way.
pub(super) fn next_batch<'p>(
    pods: impl Iterator<Item = &'p Followed>,
    revision: &str,
    special: &Special,
    order: Order,
    size: usize,
) -> Vec<(String, Followed)> {
    let old =
        pods.filter(|pod| pod.revision.as_deref() != Some(revision) && !pod.is_terminating && !pod.node.is_empty());
    let mut old: Vec<(Turn, String, Followed)> =
        old.map(|pod| (special.turn_of(&pod.node), pod.node.clone(), pod.clone())).collect();
    old.sort_by_cached_key(|(turn, node, _)| (*turn, natural(node)));
    match order {
        Order::CanaryFirst => {}
        Order::NewestFirst => old.reverse(),
    }
    old.sort_by_key(|(turn, _, _)| *turn == Turn::Own);
    let turn = old.first().map_or(Turn::Worker, |first| first.0);
    let size = match turn {
        Turn::Worker => size,
        Turn::ControlPlane | Turn::Own => 1,
    };
    let batch = old.into_iter().filter(|one| one.0 == turn).take(size);
    batch.map(|(_, node, pod)| (node, pod)).collect()
}

/// Orders names as people count: node-2 comes before node-10.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = vec![(String::new(), 0_u64)];
    let mut after_digit = false;
    for one in name.chars() {
        let digit = one.to_digit(10).map(u64::from);
        if after_digit && digit.is_none() {
            parts.push((String::new(), 0));
        }
        after_digit = digit.is_some();
        if let Some((text, number)) = parts.last_mut() {
            match digit {
                Some(digit) => *number = number.saturating_mul(10).saturating_add(digit),
                None => text.push(one),
            }
        }
    }
    parts
}

/// Names the changes that a roll would make now, in their order, for a dry run.
pub async fn planned_moves(cluster: &Cluster, plan: &Plan, roll: &Roll) -> Result<Vec<String>, ClusterError> {
    let nodes = nodes(cluster).await?;
    let special = Special { control_plane: names_of(&nodes, |node| node.is_control_plane), own: None };
    let cordoned = names_of(&nodes, |node| node.is_cordoned);
    // The pods as they are: one that is made anew picks them by other labels, which they do not have yet.
    let live = cluster.get(&roll.daemon_set).await?.map(|live| selector_of(&live.document.value()));
    let feed = cluster.follow_pods_of(&roll.daemon_set, live.as_deref().unwrap_or(&roll.selector)).await?;
    let revision = wanted_revision(cluster, plan, roll).await?;
    let is_new = |pod: &&Followed| pod.revision.is_some() && pod.revision == revision;
    let mut left: Vec<Followed> = feed.pods().values().cloned().collect();
    let mut moves = Vec::new();
    let mut size = if left.iter().any(|pod| is_new(&pod)) { roll.batch.max(1) } else { 1 };
    loop {
        let batch = next_batch(left.iter(), revision.as_deref().unwrap_or(""), &special, roll.order, size);
        if batch.is_empty() {
            return Ok(moves);
        }
        let free = || batch.iter().map(|(node, _)| node).filter(|node| !cordoned.contains(*node));
        moves.extend(free().map(|node| format!("cordon Node {node}")));
        moves.extend(batch.iter().map(|(node, _)| format!("delete Pod on {node}")));
        moves.extend(free().map(|node| format!("uncordon Node {node}")));
        left.retain(|pod| !batch.iter().any(|(_, taken)| taken.uid == pod.uid));
        size = roll.batch.max(1);
    }
}

/// The hash that pods of the wanted template carry, if the template was ever there.
async fn wanted_revision(cluster: &Cluster, plan: &Plan, roll: &Roll) -> Result<Option<String>, ClusterError> {
    let of_daemon_set = plan.changes().filter(|change| change.object == roll.daemon_set);
    let Some(wanted) = of_daemon_set.last().and_then(|change| change.after.as_ref()) else { return Ok(None) };
    let template = wanted.value()["spec"]["template"].take();
    let revisions = cluster.list_as(Kind::ControllerRevision, roll.daemon_set.namespace.as_deref(), |one| one).await?;
    let is_wanted = |one: &&serde_json::Value| {
        let mut kept = one["data"]["spec"]["template"].clone();
        // How the controller marks a template that it would put back whole.
        kept.as_object_mut().map(|kept| kept.remove("$patch"));
        differences(&template, &kept).is_empty()
    };
    let hash =
        |one: &serde_json::Value| one["metadata"]["labels"]["controller-revision-hash"].as_str().map(str::to_owned);
    Ok(revisions.iter().find(is_wanted).and_then(hash))
}

/// The names of the nodes of which something is so.
pub(super) fn names_of(nodes: &[NodeFacts], is_so: impl Fn(&NodeFacts) -> bool) -> BTreeSet<String> {
    nodes.iter().filter(|node| is_so(node)).map(|node| node.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(node: &str, revision: &str) -> Followed {
        Followed {
            name: format!("calico-node-{node}"),
            uid: node.to_owned(),
            node: node.to_owned(),
            revision: Some(revision.to_owned()),
            images: Vec::new(),
            is_ready: true,
            ready_since: None,
            is_terminating: false,
            has_run: true,
            trouble: None,
            daemon_set: None,
        }
    }

    #[test]
    fn nodes_are_taken_in_the_order_in_which_people_count() {
        let mut names = ["node-10", "node-2", "node-1b", "node-1", "a9", "node"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["a9", "node", "node-1", "node-1b", "node-2", "node-10"]);
    }

    #[test]
    fn the_control_plane_comes_last_and_never_with_workers() {
        assert_eq!(batches(Order::CanaryFirst, None), [vec!["b", "c"], vec!["a"]]);
    }

    #[test]
    fn a_roll_back_goes_the_other_way_round() {
        assert_eq!(batches(Order::NewestFirst, None), [vec!["a"], vec!["c", "b"]]);
    }

    #[test]
    fn the_node_of_our_own_pod_comes_last_and_alone_either_way() {
        assert_eq!(batches(Order::CanaryFirst, Some("b")), [vec!["c"], vec!["a"], vec!["b"]]);
        assert_eq!(batches(Order::NewestFirst, Some("b")), [vec!["a"], vec!["c"], vec!["b"]]);
        assert_eq!(batches(Order::NewestFirst, Some("a")), [vec!["c", "b"], vec!["a"]]);
    }

    fn batches(order: Order, own: Option<&str>) -> Vec<Vec<String>> {
        let special = Special { control_plane: BTreeSet::from(["a".to_owned()]), own: own.map(str::to_owned) };
        let mut pods = vec![pod("a", "old"), pod("b", "old"), pod("c", "old"), pod("d", "new")];
        let mut batches = Vec::new();
        loop {
            let batch: Vec<String> =
                next_batch(pods.iter(), "new", &special, order, 5).into_iter().map(|(node, _)| node).collect();
            if batch.is_empty() {
                return batches;
            }
            pods.retain(|pod| !batch.contains(&pod.node));
            batches.push(batch);
        }
    }
}
