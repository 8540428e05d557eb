//! How long a roll takes, from its parameters alone.

use std::collections::VecDeque;

use super::Roll;

impl Roll {
    /// The seconds that so many nodes take if each is ready in its usual time; windows and pauses come on top. Nothing is known where
    /// nobody measured how long a node takes.
    pub fn estimate(&self, workers: usize, control_plane: usize) -> Option<u64> {
        let usually = self.usually_ready_seconds?;
        let batches = self.batches(workers, control_plane);
        let (mut now, mut watched, last) = (0, VecDeque::new(), batches.len().saturating_sub(1));
        for (number, size) in batches.into_iter().enumerate() {
            watched.retain(|until| *until > now);
            while watched.len() > self.watching {
                now = watched.pop_front().unwrap_or(now);
            }
            now += usually;
            if number == 0 || number == last || self.watching == 0 {
                now += self.stable_for_seconds;
            } else {
                watched.extend(std::iter::repeat_n(now + self.stable_for_seconds, size));
            }
        }
        Some(now)
    }

    /// How many nodes are replaced at once: the canary, batches of workers, and the control plane one by one.
    fn batches(&self, workers: usize, control_plane: usize) -> Vec<usize> {
        let size = self.batch.max(1);
        let (canary, rest) = (workers.min(1), workers.saturating_sub(1));
        let full = std::iter::repeat_n(size, rest / size);
        let part = Some(rest % size).filter(|part| *part > 0);
        let alone = std::iter::repeat_n(1, control_plane);
        Some(canary).filter(|one| *one > 0).into_iter().chain(full).chain(part).chain(alone).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        plan::{Order, Roll},
        resource::{Kind, ObjectRef},
    };

    fn roll(batch: usize, stable_for_seconds: u64, watching: usize) -> Roll {
        Roll {
            daemon_set: ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node"),
            selector: String::new(),
            image: String::new(),
            batch,
            ready_within_seconds: 600,
            stable_for_seconds,
            watching,
            usually_ready_seconds: Some(20),
            order: Order::CanaryFirst,
            then: None,
            probe: None,
        }
    }

    fn minutes(roll: &Roll, nodes: usize) -> u64 {
        roll.estimate(nodes, 0).unwrap() / 60
    }

    #[test]
    fn a_thousand_nodes_take_hours_and_not_days_where_watches_overlap() {
        assert_eq!(minutes(&roll(1, 90, 0), 1000), 1833);
        assert_eq!(minutes(&roll(1, 90, 10), 1000), 336);
        assert_eq!(minutes(&roll(5, 45, 10), 1000), 74);
    }

    #[test]
    fn no_more_are_watched_than_may_be() {
        assert_eq!(minutes(&roll(5, 90, 10), 1000), 125);
        assert_eq!(minutes(&roll(5, 90, 100), 1000), 70);
    }

    #[test]
    fn the_control_plane_goes_one_by_one_and_nothing_is_known_of_what_nobody_measured() {
        assert_eq!(roll(5, 0, 10).estimate(6, 3), Some(20 * (1 + 1 + 3)));
        assert_eq!(Roll { usually_ready_seconds: None, ..roll(5, 0, 10) }.estimate(6, 3), None);
    }
}
