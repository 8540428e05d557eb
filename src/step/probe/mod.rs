//! Watches packets between the nodes while they are replaced: starts probes before the first, asks them after each, and removes them
//! after the last.
//!
//! Two DaemonSets of ours run `calico-upgrader probe` on every node (`crate::probe` says how they know each other). What they count is
//! read from their logs, which needs no right but that, and no way into the network that is looked at. They keep their
//! counts from the start on, so a runner that takes up a killed run reads the whole; it finds them by their labels, which
//! name the run. Probes of another run go first.
//!
//! What cannot be watched never stops a run that did not ask for it: it says `skipped`, and why. With `--gate-loss` it does, before
//! the first node: a gate that cannot be looked at must not be open. Pairs that lose packets before the first node are named and
//! left out, since a policy may close them. A probe on the host's network does not go through a new route of a pod, so a node is
//! checked with a new pod as well.

mod objects;
mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{Step, StepError};
use crate::{
    cluster::PodFeed,
    door::{Door, DoorError, NAMESPACE, Stop},
    event::{Event, Voice},
    journal::News,
    plan::{PROBES, Probing, Purpose, Roll},
    probe::{Account, Budget, Ends, NEIGHBOURS, Net, NodeLoss, PairLoss, Ring, WholeLoss, losses_by_node, seen_since},
};

use objects::Made;
pub(super) use objects::remove_all;

/// What the probes watch, in words.
const WATCHED: &str = "packets between nodes";

/// How long probes may take until they are worth a look: their image may have to be pulled.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// If every probe runs for this long and none can be read, none ever will.
const READABLE_WITHIN: Duration = Duration::from_secs(12);

/// How many packets of each pair say whether it is sound.
const BASELINE: u64 = 20;

/// How long the newest counts are waited for after a node.
const FRESH_WITHIN: Duration = Duration::from_secs(30);

const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why a roll stopped over what its probes saw. The nodes that were not reached run as before.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("packets between nodes cannot be watched: {why}")]
    Blind { why: String },
    #[error("more was lost while `{node}` was replaced than {budget}")]
    OverBudget { node: String, budget: Budget, pairs: Vec<String> },
    #[error("a new pod on `{node}` did not work: {why}")]
    NewPod { node: String, why: String },
}

/// Which probe: its node, and its network.
type Place = (String, Net);

/// The probes of a roll.
pub(super) struct Probes {
    step: String,
    run: String,
    image: String,
    ring: Ring,
    feed: PodFeed,
    budget: Option<Budget>,
    /// A way back goes on whatever a new pod does: it is what mends that.
    stops_for_new_pods: bool,
    /// What each probe had counted when it was last looked at.
    before: BTreeMap<Place, Account>,
    /// Pairs that lost nothing worth a word before the first node.
    sound: BTreeSet<Ends>,
    stop: Stop,
}

/// Starts the probes and waits until they see each other. `is_needed` is not so where no node is left to replace: then those of a
/// runner before us are taken up, and none are started.
pub(super) async fn start(
    step: &Step<'_>,
    roll: &Roll,
    is_needed: bool,
    door: &mut Door,
    voice: &Voice,
) -> Result<Option<Probes>, StepError> {
    let Some(probe) = &roll.probe else {
        objects::sweep(step, door, voice).await?;
        return if is_needed { skipped(step, "no --probe-image", door, voice) } else { Ok(None) };
    };
    let (run, image) = (door.state().run.clone(), probe.image.clone());
    let probing = Probing { probe, namespace: NAMESPACE, run: &run };
    let ring = match objects::ensure(step, &probing, is_needed, door, voice).await? {
        Made::Ring(ring) => ring,
        Made::Nothing => return Ok(None),
        Made::Refused(why) => {
            remove_all(step, door, voice).await?;
            return skipped(step, &why, door, voice);
        }
    };
    let feed = door.cluster.follow_pods(NAMESPACE, PROBES).await?;
    let mut probes = Probes {
        step: step.planned.name.clone(),
        run: run.clone(),
        image,
        ring,
        feed,
        budget: door.loss_budget(),
        stops_for_new_pods: step.plan.purpose == Purpose::Upgrade,
        before: BTreeMap::new(),
        sound: BTreeSet::new(),
        stop: door.stop.clone(),
    };
    match probes.see(door, voice).await? {
        None => Ok(Some(probes)),
        Some(why) => {
            remove_all(step, door, voice).await?;
            skipped(step, &why, door, voice)
        }
    }
}

/// Says what is not watched; refuses to go on if someone relies on it.
fn skipped(step: &Step<'_>, why: &str, door: &mut Door, voice: &Voice) -> Result<Option<Probes>, StepError> {
    let (what, why) = (WATCHED.to_owned(), why.to_owned());
    if door.loss_budget().is_some() {
        return Err(ProbeError::Blind { why }.into());
    }
    voice.tell(Event::Skipped { what: what.clone(), why: why.clone() });
    door.note(News::Skipped { step: step.planned.name.clone(), what, why })?;
    Ok(None)
}

impl Probes {
    /// Waits until each probe has sent enough to each neighbour. Answers why that cannot be, if so.
    async fn see(&mut self, door: &mut Door, voice: &Voice) -> Result<Option<String>, StepError> {
        let limit_seconds = READY_WITHIN.as_secs();
        let what = format!("{} probes to see each other", 2 * self.ring.len());
        voice.tell(Event::WaitStarted { step: self.step.clone(), what: what.clone(), limit_seconds });
        let seen = self.until_seen(door, voice).await?;
        voice.tell(Event::WaitDone { step: self.step.clone(), what });
        Ok(seen)
    }

    async fn until_seen(&mut self, door: &mut Door, voice: &Voice) -> Result<Option<String>, StepError> {
        let (started, mut first) = (Instant::now(), BTreeMap::new());
        let (mut running_since, mut is_second) = (None, false);
        let mut trouble = String::new();
        loop {
            let places = self.places(|_| true);
            let (read, unread) = self.read(&places, door).await?;
            trouble = unread.into_iter().next().map_or(trouble, |(_, why)| why);
            for (place, account) in &read {
                first.entry(place.clone()).or_insert_with(|| account.clone());
            }
            let is_enough = self.has_baseline(&first, &read);
            // What was sent to probes that had not come yet was lost: whoever lost something is looked at once more.
            if is_enough && !is_second && !seen_by(&first, &read).all(|loss| is_sound(&loss)) {
                is_second = true;
                first.clone_from(&read);
                continue;
            }
            let (elapsed, is_running) = (started.elapsed(), self.all_run(&places));
            let since = running_since.get_or_insert_with(Instant::now);
            if !is_running {
                *since = Instant::now();
            }
            if is_enough || elapsed >= READY_WITHIN || (read.is_empty() && since.elapsed() >= READABLE_WITHIN) {
                self.before = read;
                return self.settle_baseline(&first, trouble, door, voice);
            }
            self.pause().await?;
        }
    }

    /// Every probe of every node of the ring has sent enough since it was first seen to each of its neighbours.
    fn has_baseline(&self, first: &BTreeMap<Place, Account>, now: &BTreeMap<Place, Account>) -> bool {
        let pairs = 2 * NEIGHBOURS.min(self.ring.len().saturating_sub(1));
        let is_enough = |place: &Place| {
            let Some((first, now)) = first.get(place).zip(now.get(place)) else { return false };
            let seen = seen_since(Some(first), now, 0);
            seen.len() == pairs && seen.iter().all(|loss| loss.sent() >= BASELINE)
        };
        self.places(|_| true).iter().all(is_enough)
    }

    /// Learns which pairs are sound. Answers why nothing can be watched, if so.
    fn settle_baseline(
        &mut self,
        first: &BTreeMap<Place, Account>,
        trouble: String,
        door: &mut Door,
        voice: &Voice,
    ) -> Result<Option<String>, StepError> {
        let seen = seen_by(first, &self.before);
        let (sound, unsound): (Vec<PairLoss>, Vec<PairLoss>) = seen.partition(is_sound);
        self.sound = sound.into_iter().map(|loss| loss.ends).collect();
        if self.sound.is_empty() {
            let why = if trouble.is_empty() { "no probe is answered by a neighbour".to_owned() } else { trouble };
            return Ok(Some(why));
        }
        let blind: Vec<&str> = self.ring.nodes().filter(|node| !self.is_seen(node)).collect();
        if self.budget.is_some() && !blind.is_empty() {
            return Ok(Some(format!("no pair of {} is sound", blind.join(", "))));
        }
        let left_out = unsound.iter().map(|loss| loss.ends.to_string()).collect::<Vec<_>>();
        let unseen = blind.iter().map(|node| format!("{node} (no probe of it is answered)"));
        let left_out: Vec<String> = left_out.into_iter().chain(unseen).collect();
        let pairs = self.sound.len();
        voice.tell(Event::Watching { pairs, left_out: left_out.clone() });
        door.note(News::Watching { step: self.step.clone(), pairs, left_out })?;
        Ok(None)
    }

    fn is_seen(&self, node: &str) -> bool {
        self.sound.iter().any(|ends| ends.from == node || ends.to == node)
    }

    /// The probes of the nodes that are meant.
    fn places(&self, is_meant: impl Fn(&str) -> bool) -> Vec<Place> {
        let nodes = self.ring.nodes().filter(|node| is_meant(node));
        nodes.flat_map(|node| Net::ALL.map(|net| (node.to_owned(), net))).collect()
    }

    /// Asks what was lost while nodes were replaced, checks them with new pods, and keeps it in the journal.
    ///
    /// # Errors
    /// More was lost than may be, a new pod does not work, or a budget cannot be looked at.
    pub async fn look_at(
        &mut self,
        nodes: &[String],
        since: Since,
        door: &mut Door,
        voice: &Voice,
    ) -> Result<(), StepError> {
        let (losses, unread) = self.losses(nodes, since, door).await?;
        let mut trouble = None;
        for (node, mut loss) in losses_by_node(nodes, &losses, crate::probe::INTERVAL_MS) {
            loss.skipped.clone_from(&unread);
            match self.try_new_pod(&node, door).await? {
                Ok(words) => loss.new_pod = words,
                Err(why) => {
                    loss.new_pod = format!("failed: {why}");
                    trouble.get_or_insert(ProbeError::NewPod { node: node.clone(), why });
                }
            }
            if loss.pairs == 0 && self.budget.is_some() {
                let why = format!("no pair of {node} could be read after it was replaced ({})", unread.join("; "));
                trouble.get_or_insert(ProbeError::Blind { why });
            }
            self.tell(node, loss, door, voice)?;
        }
        let over = self.over_budget(nodes, &losses);
        match over.or(trouble.filter(|one| self.stops_for_new_pods || !matches!(one, ProbeError::NewPod { .. }))) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn tell(&self, node: String, loss: NodeLoss, door: &mut Door, voice: &Voice) -> Result<(), DoorError> {
        voice.tell(Event::Lost { node: node.clone(), loss: loss.clone() });
        door.note(News::Lost { step: self.step.clone(), node, loss })
    }

    /// The pairs that lost more than they may, if any did.
    fn over_budget(&self, nodes: &[String], losses: &[PairLoss]) -> Option<ProbeError> {
        let budget = self.budget?;
        let over: Vec<&PairLoss> = losses.iter().filter(|loss| !budget.allows(loss)).collect();
        let first = over.first()?;
        let is_its = |node: &&String| [&first.ends.from, &first.ends.to].contains(node);
        let node = nodes.iter().find(is_its).or(nodes.first())?.clone();
        let words = |loss: &&PairLoss| {
            let (ends, lost, sent) = (&loss.ends, loss.lost, loss.sent());
            format!("{ends}: {lost} of {sent} packets lost, the longest gap {} ms", loss.longest_ms)
        };
        Some(ProbeError::OverBudget { node, budget, pairs: over.iter().map(words).collect() })
    }

    /// What the probes that have to do with the nodes counted since they were last looked at.
    async fn losses(
        &mut self,
        nodes: &[String],
        since: Since,
        door: &Door,
    ) -> Result<(Vec<PairLoss>, Vec<String>), StepError> {
        let mut meant: BTreeSet<&str> = nodes.iter().map(String::as_str).collect();
        meant.extend(nodes.iter().flat_map(|node| self.ring.senders(node, NEIGHBOURS)));
        let meant: BTreeSet<String> = meant.into_iter().map(str::to_owned).collect();
        let places = self.places(|node| meant.contains(node));
        let (read, unread) = self.read_fresh(&places, door).await?;
        let now = jiff::Timestamp::now().as_millisecond();
        let mut losses = Vec::new();
        for (place, account) in read {
            let before = self.before.get(&place).filter(|_| since == Since::LastLook);
            let seen = seen_since(before, &account, now).into_iter();
            let is_meant = |loss: &PairLoss| since == Since::LastLook || loss.ends.is_of(nodes);
            losses.extend(seen.filter(|loss| self.sound.contains(&loss.ends) && is_meant(loss)));
            self.before.insert(place, account);
        }
        let words = |((node, net), why): (Place, String)| format!("the probe of {node} ({}): {why}", net.name());
        Ok((losses, unread.into_iter().map(words).collect()))
    }

    /// Counts it all up from the start of the probes, and takes them away.
    pub async fn finish(mut self, step: &Step<'_>, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
        let places = self.places(|_| true);
        let (read, _) = self.read_fresh(&places, door).await?;
        let now = jiff::Timestamp::now().as_millisecond();
        let all = read.values().flat_map(|account| seen_since(None, account, now));
        let losses: Vec<PairLoss> = all.filter(|loss| self.sound.contains(&loss.ends)).collect();
        let whole = WholeLoss::of(&losses);
        let text = serde_json::to_vec_pretty(&losses).expect("counts are plain data");
        door.write_file("loss.json", &text)?;
        voice.tell(Event::Watched { whole: whole.clone() });
        door.note(News::Watched { step: self.step.clone(), whole })?;
        remove_all(step, door, voice).await
    }

    async fn pause(&self) -> Result<(), DoorError> {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => Ok(()),
            exit = stop.wait() => Err(DoorError::Interrupted { exit }),
        }
    }
}

/// From when on losses count for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    LastLook,
    /// A runner before us replaced it, and what had been counted by then died with it.
    TheBeginning,
}

/// What each pair lost between two looks at all probes.
fn seen_by<'a>(
    first: &'a BTreeMap<Place, Account>,
    now: &'a BTreeMap<Place, Account>,
) -> impl Iterator<Item = PairLoss> + 'a {
    now.iter().flat_map(|(place, now)| seen_since(first.get(place), now, 0))
}

/// At most a tenth is lost before anything is touched: a pair that policies close is none to watch.
fn is_sound(loss: &PairLoss) -> bool {
    loss.answered > 0 && loss.lost * 10 <= loss.sent()
}
