//! What a roll cost each of its nodes, in a form that a journal keeps.

use serde::{Deserialize, Serialize};

use super::{Ends, PairLoss};

/// Gaps that are kept of a node, the longest.
const KEPT: usize = 20;

/// What was lost between the nodes while one of them was replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLoss {
    /// Pairs that were watched.
    pub pairs: usize,
    pub sent: u64,
    pub lost: u64,
    pub longest_ms: u64,
    /// How finely the probes look: no gap is known better than to within this.
    pub resolution_ms: u64,
    /// The longest gaps, in their order in time.
    pub gaps: Vec<PairGap>,
    /// What a new pod on the node did, or why none was tried.
    pub new_pod: String,
    /// What was not seen, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// A gap, and between whom it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairGap {
    pub ends: Ends,
    /// Unix milliseconds, by the clock of the run.
    pub at: i64,
    pub ms: u64,
    pub lost: u64,
}

/// What was lost from before the roll until after it, over all pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeLoss {
    pub pairs: usize,
    pub sent: u64,
    pub lost: u64,
    pub longest_ms: u64,
    /// The pair with the longest gap, if any lost anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<Ends>,
}

impl NodeLoss {
    fn take(&mut self, loss: &PairLoss) {
        self.pairs += 1;
        self.sent += loss.sent();
        self.lost += loss.lost;
        self.longest_ms = self.longest_ms.max(loss.longest_ms);
        let gap = |gap: &super::SeenGap| PairGap { ends: loss.ends.clone(), at: gap.at, ms: gap.ms, lost: gap.lost };
        self.gaps.extend(loss.gaps.iter().map(gap));
    }

    fn settle(&mut self) {
        self.gaps.sort_by_key(|gap| std::cmp::Reverse(gap.ms));
        self.gaps.truncate(KEPT);
        self.gaps.sort_by_key(|gap| gap.at);
    }
}

impl WholeLoss {
    pub fn of(losses: &[PairLoss]) -> Self {
        let worst = losses.iter().filter(|loss| loss.lost > 0).max_by_key(|loss| loss.longest_ms);
        Self {
            pairs: losses.len(),
            sent: losses.iter().map(PairLoss::sent).sum(),
            lost: losses.iter().map(|loss| loss.lost).sum(),
            longest_ms: losses.iter().map(|loss| loss.longest_ms).max().unwrap_or_default(),
            worst: worst.map(|loss| loss.ends.clone()),
        }
    }
}

/// Splits what was lost among the nodes that were replaced together: to the node that a pair belongs to, else to the first.
pub fn losses_by_node(nodes: &[String], losses: &[PairLoss], resolution_ms: u64) -> Vec<(String, NodeLoss)> {
    let empty = NodeLoss { resolution_ms, ..NodeLoss::default() };
    let mut all: Vec<(String, NodeLoss)> = nodes.iter().map(|node| (node.clone(), empty.clone())).collect();
    for loss in losses.iter().filter(|loss| loss.sent() > 0) {
        let is_its = |node: &String| [&loss.ends.from, &loss.ends.to].contains(&node);
        let place = nodes.iter().position(is_its).unwrap_or_default();
        if let Some((_, node)) = all.get_mut(place) {
            node.take(loss);
        }
    }
    all.iter_mut().for_each(|(_, node)| node.settle());
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Net, SeenGap};

    fn loss(from: &str, to: &str, lost: u64, ms: u64) -> PairLoss {
        let ends = Ends { from: from.to_owned(), from_net: Net::Pod, to: to.to_owned(), to_net: Net::Host };
        let gaps = if lost > 0 { vec![SeenGap { at: 0, ms, lost }] } else { Vec::new() };
        PairLoss { ends, answered: 100, lost, longest_ms: ms, gaps }
    }

    #[test]
    fn a_pair_counts_for_the_node_that_it_belongs_to() {
        let nodes = ["a".to_owned(), "b".to_owned()];
        let losses = [loss("x", "b", 5, 1000), loss("a", "x", 0, 0), loss("x", "y", 1, 200)];
        let by_node = losses_by_node(&nodes, &losses, 200);
        assert_eq!(by_node.iter().map(|(_, node)| (node.pairs, node.lost)).collect::<Vec<_>>(), [(2, 1), (1, 5)]);
        assert_eq!(by_node[1].1.gaps[0].ends.to_string(), "x (pod) to b (host)");
        assert_eq!(WholeLoss::of(&losses).worst, Some(losses[0].ends.clone()));
    }

    #[test]
    fn a_pair_that_sent_nothing_was_not_watched() {
        let silent = PairLoss { answered: 0, ..loss("a", "b", 0, 0) };
        assert_eq!(losses_by_node(&["a".to_owned()], &[silent], 200)[0].1.pairs, 0);
    }
}
