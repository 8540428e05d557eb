//! Nodes that are ready and still watched while the next are begun. One that falls back stops the run.

use std::time::Duration;

use tokio::time::Instant;

use super::{RollError, Rolling};
use crate::{
    cluster::Followed,
    door::Door,
    event::Voice,
    plan::Roll,
    resource::{Kind, ObjectRef},
    step::StepError,
};

/// The nodes that are watched, in the order in which they got ready.
pub(super) struct Watching {
    /// How long each is.
    pub time: Duration,
    /// How many may be while the next are begun.
    most: usize,
    nodes: Vec<Watched>,
}

struct Watched {
    node: String,
    until: Instant,
    /// The nodes that were begun since it was ready.
    since: Vec<String>,
}

impl Watching {
    pub fn of(roll: &Roll) -> Self {
        Self { time: Duration::from_secs(roll.stable_for_seconds), most: roll.watching, nodes: Vec::new() }
    }

    /// Whether the next nodes may be begun while others are watched.
    pub fn overlaps(&self) -> bool {
        self.most > 0
    }

    pub fn add(&mut self, nodes: &[String], left: Duration) {
        let until = Instant::now() + left;
        let watched = |node: &String| Watched { node: node.clone(), until, since: Vec::new() };
        if left > Duration::ZERO {
            self.nodes.extend(nodes.iter().map(watched));
        }
    }

    pub fn begun(&mut self, nodes: &[String]) {
        self.nodes.iter_mut().for_each(|watched| watched.since.extend_from_slice(nodes));
    }

    fn drop_past(&mut self) {
        let now = Instant::now();
        self.nodes.retain(|watched| watched.until > now);
    }

    /// When so few are left that the next may be begun, if they may not be now.
    fn shut_until(&self, most: usize) -> Option<Instant> {
        let mut ends: Vec<Instant> = self.nodes.iter().map(|watched| watched.until).collect();
        ends.sort_unstable();
        ends.len().checked_sub(most + 1).map(|index| ends[index])
    }
}

impl Rolling<'_> {
    /// Goes on watching what a runner before us had replaced a short while ago, apart from those that are waited for.
    pub(super) fn watch_again(&mut self, waited_for: &[String]) {
        let now = jiff::Timestamp::now();
        let left = |pod: &Followed| {
            let age = now.duration_since(pod.ready_since?).unsigned_abs();
            self.watching.time.checked_sub(age)
        };
        let pods = self.feed.pods().values().filter(|pod| self.is_done(&pod.node) && !waited_for.contains(&pod.node));
        let again: Vec<_> = pods.filter_map(|pod| Some((pod.node.clone(), left(pod)?))).collect();
        again.into_iter().for_each(|(node, left)| self.watching.add(&[node], left));
    }

    /// Waits until so few nodes are watched that the next may be begun; if there are none, until all were watched to the end.
    pub(super) async fn wait_for_watched(
        &mut self,
        next: usize,
        door: &mut Door,
        voice: &Voice,
    ) -> Result<(), StepError> {
        let most = if next == 0 { 0 } else { self.watching.most };
        loop {
            self.check_watched(door, voice).await?;
            let Some(until) = self.watching.shut_until(most) else { return Ok(()) };
            self.news(until, door).await?;
        }
    }

    /// Stops where a node is not ready any more that is still watched. One that went away is left out, and one that got an old pod
    /// again is taken again.
    pub(super) async fn check_watched(&mut self, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
        self.watching.drop_past();
        while let Some(at) = self.watching.nodes.iter().position(|watched| !self.is_done(&watched.node)) {
            let Watched { node, since, .. } = self.watching.nodes.remove(at);
            if self.has_old_pod(&node) {
                continue;
            }
            if door.cluster.get(&ObjectRef::cluster(Kind::Node, &node)).await?.is_some() {
                let trouble = self.trouble(&node);
                return Err(RollError::FellBack { node, trouble, since }.into());
            }
            self.leave_out(&node, door, voice)?;
        }
        Ok(())
    }
}
