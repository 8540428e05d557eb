//! Replaces calico-node node by node: canary first, then batches, the control plane last.
//!
//! A node is done when its pod was made from the new template and is Ready; it is watched for a while then. The canary is watched
//! alone, and so is the last batch; of the others some may still be watched while the next are begun. The DaemonSet does not roll by
//! itself (OnDelete), so whatever ends this program leaves the other nodes as they are. A cordon of ours carries our
//! annotation in the same write, so that whoever goes on knows which nodes to uncordon; others' cordons stay.

mod cordons;
mod error;
mod pods;
mod watching;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Step, StepError, held,
    order::{Special, names_of, next_batch},
    pace::Pace,
    probe::{self, Probes, Since},
    template::{frozen, newest_revision},
};
use crate::{
    cluster::{Cluster, Followed, PodFeed},
    door::{Action, Beginning, Change, Door, DoorError, Hold, Stop},
    event::{Event, Voice},
    inventory::NodeFacts,
    journal::News,
    observe,
    plan::{Plan, Roll},
    resource::{Kind, Live, ObjectRef},
    window::shown,
};
pub use error::RollError;
use watching::Watching;

/// How often a roll looks whether its nodes are still there, and whether others undo the run.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What a roll knows while it goes on.
struct Rolling<'a> {
    plan: &'a Plan,
    step: &'a str,
    run: String,
    roll: &'a Roll,
    /// As it was when the roll began.
    daemon_set: Live,
    revision: String,
    special: Special,
    feed: PodFeed,
    stop: Stop,
    /// The pods of nodes that went away, by name: they are listed for a while, and no longer count.
    gone: BTreeSet<String>,
    pace: Pace,
    /// How long nodes may take, as it was last told.
    told: Option<Duration>,
    /// When what earlier steps made was last seen to be so; the step itself began with that.
    held_at: Instant,
    /// When each new pod that is waited for was seen ready, for the account.
    ready: BTreeMap<String, jiff::Timestamp>,
    watching: Watching,
    /// What watches packets between the nodes, where something does.
    probes: Option<Probes>,
}

pub(super) async fn take(step: &Step<'_>, roll: &Roll, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    let cluster = door.cluster.clone();
    let daemon_set = frozen(&cluster, roll).await?;
    let nodes = observe::nodes(&cluster).await?;
    let mut rolling = Rolling {
        plan: step.plan,
        step: &step.planned.name,
        run: door.state().run.clone(),
        roll,
        revision: newest_revision(&cluster, &daemon_set, roll).await?,
        daemon_set,
        special: Special { control_plane: names_of(&nodes, |node| node.is_control_plane), own: door.own_node.clone() },
        feed: cluster.follow_pods_of(&roll.daemon_set, &roll.selector).await?,
        stop: door.stop.clone(),
        gone: BTreeSet::new(),
        pace: Pace::of(&door.state().node_seconds),
        told: None,
        held_at: Instant::now(),
        ready: BTreeMap::new(),
        watching: Watching::of(roll),
        probes: None,
    };
    door.hold_pause(true);
    let found = rolling.finish_started(&nodes, door, voice).await?;
    let is_needed = rolling.is_any_old() || !found.is_empty();
    rolling.probes = probe::start(step, roll, is_needed, door, voice).await?;
    rolling.look_at_loss(&found, Since::TheBeginning, door, voice).await?;
    rolling.roll_all(door, voice).await?;
    match rolling.probes.take() {
        Some(probes) => probes.finish(step, door, voice).await,
        None => Ok(()),
    }
}

impl Rolling<'_> {
    /// Waits for the nodes that a runner before us had started, uncordons them, and answers which they were.
    async fn finish_started(
        &mut self,
        nodes: &[NodeFacts],
        door: &mut Door,
        voice: &Voice,
    ) -> Result<Vec<String>, StepError> {
        let cordoned = names_of(nodes, |node| node.cordoned_by.as_deref() == Some(self.run.as_str()));
        let unready =
            self.feed.pods().values().filter(|pod| self.is_new(pod) && !pod.is_ready).map(|pod| pod.node.clone());
        let started: BTreeSet<String> = cordoned.into_iter().chain(unready).collect();
        let (rolled, waiting): (Vec<_>, Vec<_>) = started.into_iter().partition(|node| !self.has_old_pod(node));
        // Their pods were not deleted yet: they are taken with the others, and our cordon stays on them until then.
        tracing::debug!(?waiting, "cordoned by us, not replaced yet");
        self.watch_again(&rolled);
        if rolled.is_empty() {
            return Ok(rolled);
        }
        let found = self.wait_for(rolled, self.watching.time, door, voice).await?;
        self.free(&found, door, voice).await?;
        found.iter().cloned().for_each(|node| voice.tell(Event::NodeFound { node }));
        Ok(found)
    }

    /// Asks the probes what was lost meanwhile.
    async fn look_at_loss(
        &mut self,
        nodes: &[String],
        since: Since,
        door: &mut Door,
        voice: &Voice,
    ) -> Result<(), StepError> {
        match &mut self.probes {
            Some(probes) if !nodes.is_empty() => probes.look_at(nodes, since, door, voice).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Takes batch after batch. The cordons of one batch go in the same write as those of the next come.
    async fn roll_all(&mut self, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
        let (mut is_canary, mut done) = (self.done() == 0, Vec::new());
        let mut tried: BTreeMap<String, u32> = BTreeMap::new();
        loop {
            let size = if is_canary { 1 } else { self.roll.batch.max(1) };
            let was_next = self.next_batch(size).len();
            if let Err(stopped) = self.may_go_on(was_next, door, voice).await {
                self.free(&done, door, voice).await?;
                return Err(stopped);
            }
            let batch = self.next_batch(size);
            if batch.is_empty() {
                if was_next == 0 {
                    break self.free(&done, door, voice).await?;
                }
                continue;
            }
            for (node, _) in &batch {
                let tries = tried.entry(node.clone()).or_default();
                *tries += 1;
                if *tries > 3 {
                    return Err(RollError::NoEnd { node: node.clone() }.into());
                }
            }
            let is_watched_alone = is_canary || self.is_last(&batch);
            done = self.replace(batch, done, is_watched_alone, door, voice).await?;
            if let Err(loss) = self.look_at_loss(&done, Since::LastLook, door, voice).await {
                self.free(&done, door, voice).await?;
                return Err(loss);
            }
            // Where the canary went away, another node is the first.
            is_canary &= done.is_empty();
        }
        door.hold_pause(false);
        Ok(())
    }

    fn next_batch(&self, size: usize) -> Vec<(String, Followed)> {
        next_batch(self.feed.pods().values(), &self.revision, &self.special, self.roll.order, size)
    }

    /// Waits until the next nodes may be begun, and makes sure that what the steps before made is still so.
    async fn may_go_on(&mut self, next: usize, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
        self.wait_for_watched(next, door, voice).await?;
        if next > 0 { self.check_held(&door.cluster).await } else { Ok(()) }
    }

    /// Replaces the pods of a batch after those of the batch before; its nodes stay cordoned until the next one. Answers
    /// those that are still there.
    async fn replace(
        &mut self,
        batch: Vec<(String, Followed)>,
        before: Vec<String>,
        is_watched_alone: bool,
        door: &mut Door,
        voice: &Voice,
    ) -> Result<Vec<String>, StepError> {
        let (started, done, of) = (Instant::now(), self.done(), self.nodes());
        let nodes: Vec<String> = batch.iter().map(|(node, _)| node.clone()).collect();
        let cluster = door.cluster.clone();
        // One reservation for the cordons and the deletions that follow at once.
        let seconds = self.pace.seconds().to_vec();
        let reserved = door.reserve(self.step, 2, |state| {
            (state.nodes_done, state.nodes) = (done, of);
            state.node_seconds.clone_from(&seconds);
        });
        let (reserved, swap) = futures::join!(reserved, self.cordon_swap(&cluster, &before, &nodes));
        reserved?;
        let may_begin = self.may_begin(door, voice).await.map_err(|hold| DoorError::Held(hold).into());
        let swap = match may_begin.and(swap) {
            Ok(swap) => swap,
            Err(stopped) => {
                self.free(&before, door, voice).await?;
                return Err(stopped);
            }
        };
        for node in &nodes {
            voice.tell(Event::NodeStarted { node: node.clone(), done, of });
        }
        self.apply_cordons(swap, door, voice).await?;
        let deletions = batch.iter().map(|(node, pod)| self.deletion(node, pod)).collect();
        door.apply(self.step, deletions, |_| {}).await?;
        self.watching.begun(&nodes);
        let watched = if is_watched_alone || !self.watching.overlaps() { self.watching.time } else { Duration::ZERO };
        let ready = self.wait_for(nodes, watched, door, voice).await?;
        self.watching.add(&ready, self.watching.time - watched);
        let (seconds, done, of) = (started.elapsed().as_secs(), self.done(), self.nodes());
        if ready.is_empty() {
            // No cordon is left to take away, a write that would tell how far the roll is.
            door.reserve(self.step, 0, |state| (state.nodes_done, state.nodes) = (done, of)).await?;
            return Ok(ready);
        }
        self.pace.note(seconds + (self.watching.time - watched).as_secs());
        for node in &ready {
            door.note(News::Waited { step: self.step.to_owned(), what: format!("calico-node on {node}"), seconds })?;
            voice.tell(Event::NodeDone { node: node.clone(), seconds, done, of });
        }
        Ok(ready)
    }

    /// Asks whether there is time for the next nodes, and says so whenever that changes.
    async fn may_begin(&mut self, door: &Door, voice: &Voice) -> Result<(), Hold> {
        let within = self.pace.expected(self.roll);
        let until = door.may_begin(Beginning::Nodes { within }).await?;
        if let Some(until) = until.filter(|_| self.told != Some(within)) {
            self.told = Some(within);
            let known = self.pace.seconds().len();
            voice.tell(Event::NodesTimed { seconds: within.as_secs(), known, until: shown(&until) });
        }
        Ok(())
    }

    fn deletion(&self, node: &str, pod: &Followed) -> Change {
        let namespace = self.roll.daemon_set.namespace.clone().unwrap_or_default();
        let object = ObjectRef::namespaced(Kind::Pod, namespace, &pod.name);
        Change { label: format!("delete Pod on {node}"), object, action: Action::DeletePod { uid: pod.uid.clone() } }
    }

    /// Makes sure, now and then, that nobody puts back what the steps before this one made.
    async fn check_held(&mut self, cluster: &Cluster) -> Result<(), StepError> {
        if self.held_at.elapsed() < LOOK_AGAIN {
            return Ok(());
        }
        self.held_at = Instant::now();
        held::check(cluster, self.plan, self.step).await
    }

    /// Waits until every node of a batch has a new pod that is ready and stays so. Nodes that go away are left out; the
    /// others are answered.
    async fn wait_for(
        &mut self,
        mut nodes: Vec<String>,
        stable: Duration,
        door: &mut Door,
        voice: &Voice,
    ) -> Result<Vec<String>, StepError> {
        let limit = Duration::from_secs(self.roll.ready_within_seconds);
        let started = Instant::now();
        let (mut ready_since, mut looked, mut told) = (None, started, BTreeMap::new());
        loop {
            self.check_watched(door, voice).await?;
            let unready: Vec<String> = nodes.iter().filter(|node| !self.is_done(node)).cloned().collect();
            self.ready.retain(|node, _| !unready.contains(node));
            for node in nodes.iter().filter(|node| !unready.contains(node)) {
                self.ready.entry(node.clone()).or_insert_with(jiff::Timestamp::now);
            }
            if unready.is_empty() {
                let since = *ready_since.get_or_insert_with(Instant::now);
                if nodes.is_empty() || since.elapsed() >= stable {
                    self.note_ready(door, voice)?;
                    return Ok(nodes);
                }
                self.news(since + stable, door).await?;
                continue;
            }
            ready_since = None;
            self.tell_troubles(&unready, &mut told, voice);
            if started.elapsed() >= limit {
                let node = unready[0].clone();
                let trouble = self.trouble(&node);
                return Err(RollError::NotReady { node, waited: started.elapsed(), trouble }.into());
            }
            if looked.elapsed() >= LOOK_AGAIN {
                looked = Instant::now();
                self.check_held(&door.cluster).await?;
                self.drop_gone(&mut nodes, &unready, door, voice).await?;
                continue;
            }
            self.news((started + limit).min(looked + LOOK_AGAIN), door).await?;
        }
    }

    fn note_ready(&mut self, door: &mut Door, voice: &Voice) -> Result<(), DoorError> {
        for (node, seen) in std::mem::take(&mut self.ready) {
            voice.tell(Event::NodeReady { node: node.clone(), seen });
            door.note(News::Ready { step: self.step.to_owned(), node, seen: seen.to_string() })?;
        }
        Ok(())
    }

    /// Waits a while for news of the pods, or for a wish to stop; ends where no change could be made any more.
    async fn news(&mut self, until: Instant, door: &Door) -> Result<(), StepError> {
        door.check_hope()?;
        tokio::select! {
            news = self.feed.next(until.min(Instant::now() + LOOK_AGAIN)) => Ok(news.map(drop)?),
            exit = self.stop.wait() => Err(DoorError::Interrupted { exit }.into()),
        }
    }

    async fn drop_gone(
        &mut self,
        nodes: &mut Vec<String>,
        unready: &[String],
        door: &mut Door,
        voice: &Voice,
    ) -> Result<(), StepError> {
        for node in unready {
            if door.cluster.get(&ObjectRef::cluster(Kind::Node, node)).await?.is_some() {
                continue;
            }
            nodes.retain(|other| other != node);
            self.leave_out(node, door, voice)?;
        }
        Ok(())
    }

    fn leave_out(&mut self, node: &str, door: &mut Door, voice: &Voice) -> Result<(), DoorError> {
        let pods = self.feed.pods().values().filter(|pod| pod.node == node);
        self.gone.extend(pods.map(|pod| pod.name.clone()));
        door.note(News::Gone { step: self.step.to_owned(), node: node.to_owned() })?;
        voice.tell(Event::NodeGone { node: node.to_owned(), done: self.done(), of: self.nodes() });
        Ok(())
    }

    /// Tells what keeps a node, once for each reason; that a pod starts is no trouble.
    fn tell_troubles(&self, unready: &[String], told: &mut BTreeMap<String, String>, voice: &Voice) {
        for node in unready {
            let Some(why) = self.pod_on(node).and_then(|pod| pod.trouble.clone()) else { continue };
            if told.insert(node.clone(), why.clone()).as_ref() != Some(&why) {
                voice.tell(Event::NodeWaiting { node: node.clone(), why });
            }
        }
    }
}
