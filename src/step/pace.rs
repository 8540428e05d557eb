//! How long the next nodes may take, from those that are done.

use std::time::Duration;

use crate::plan::Roll;

/// How many of the newest nodes are remembered.
const REMEMBERED: usize = 100;

/// Nodes done before, by the seconds that each took.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Vec<u64>);

impl Pace {
    pub fn of(seconds: &[u64]) -> Self {
        Self(seconds.to_vec())
    }

    pub fn note(&mut self, seconds: u64) {
        self.0.push(seconds);
        let past = self.0.len().saturating_sub(REMEMBERED);
        self.0.drain(..past);
    }

    pub fn seconds(&self) -> &[u64] {
        &self.0
    }

    /// What 95 of 100 nodes stayed within so far; as long as a node may take at all while none is done.
    pub fn expected(&self, roll: &Roll) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * 95).div_ceil(100);
        let longest = roll.ready_within_seconds + roll.stable_for_seconds;
        let seconds = rank.checked_sub(1).map_or(longest, |index| sorted[index].max(roll.stable_for_seconds));
        Duration::from_secs(seconds)
    }
}

/// How long the next node of a run may take, from the seconds that its nodes took so far.
pub fn expected_for_a_node(done: &[u64], roll: &Roll) -> Duration {
    Pace::of(done).expected(roll)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        plan::Order,
        resource::{Kind, ObjectRef},
    };

    fn roll() -> Roll {
        Roll {
            daemon_set: ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node"),
            selector: String::new(),
            image: String::new(),
            batch: 1,
            ready_within_seconds: 600,
            stable_for_seconds: 90,
            watching: 0,
            usually_ready_seconds: None,
            order: Order::CanaryFirst,
            then: None,
            probe: None,
        }
    }

    #[test]
    fn a_node_is_given_its_whole_time_until_one_is_done() {
        assert_eq!(Pace::default().expected(&roll()).as_secs(), 690);
        assert_eq!(expected_for_a_node(&[120], &roll()).as_secs(), 120);
    }

    #[test]
    fn one_slow_node_in_twenty_does_not_count_and_none_is_faster_than_it_must_stay_ready() {
        let mut pace = Pace::of(&[100; 19]);
        pace.note(500);
        assert_eq!(pace.expected(&roll()).as_secs(), 100);
        pace.note(500);
        assert_eq!(pace.expected(&roll()).as_secs(), 500);
        assert_eq!(Pace::of(&[3]).expected(&roll()).as_secs(), 90);
    }

    #[test]
    fn only_the_newest_nodes_are_remembered() {
        let mut pace = Pace::of(&[500; 100]);
        (0..100).for_each(|_| pace.note(100));
        assert_eq!(pace.seconds(), [100; 100]);
    }
}
