//! When each node was cordoned, lost its pod, had a new one ready and was uncordoned, folded from the journal.
//!
//! A gap is the time from the instant the deletion of a pod was sent until a new pod was seen ready. Where the journal says
//! when that was, and one runner watched all the while, the gap is measured. Else it is an upper bound: the wait for the
//! node ended then, after the time for which a new pod must stay ready. Both say nothing about packets: `loss` does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    inventory::Inventory,
    journal::{Entry, News, Outcome},
    plan::Plan,
    probe::NodeLoss,
};

/// The nodes of a run over time. All times are milliseconds since the first entry of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    pub nodes: Vec<NodeSpan>,
    /// When nobody held the run: from the last word of one runner to the first of the next.
    pub pauses: Vec<(i64, i64)>,
    pub end_ms: i64,
}

/// One node over time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpan {
    pub node: String,
    pub is_control_plane: bool,
    pub moments: Vec<Moment>,
    /// The time without a ready calico-node.
    pub gap_ms: Option<i64>,
    /// Whether the gap is measured, or no longer than this.
    pub is_gap_measured: bool,
    pub state: NodeState,
    /// Cordoned by this run, and not uncordoned yet.
    pub is_cordoned: bool,
    /// What probes saw lost between the nodes while this one was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<NodeLoss>,
}

/// How far a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    #[default]
    Untouched,
    Begun,
    Replaced,
    /// It went away while its pod was replaced.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub what: What,
    pub at_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Cordoned,
    Deleted,
    Ready,
    Uncordoned,
    Gone,
}

impl NodeSpan {
    pub fn first(&self, what: What) -> Option<i64> {
        self.moments.iter().find(|moment| moment.what == what).map(|moment| moment.at_ms)
    }

    pub fn last(&self, what: What) -> Option<i64> {
        self.moments.iter().rfind(|moment| moment.what == what).map(|moment| moment.at_ms)
    }
}

/// What is known of a node while the journal is read.
#[derive(Default)]
struct Watched {
    span: NodeSpan,
    /// When the deletion was sent whose new pod is not ready yet.
    open_since: Option<i64>,
    /// Whether one runner watched since then.
    is_watched: bool,
    has_guess: bool,
}

/// What begins the name of a change that says something of a node.
const CORDON: &str = "cordon Node ";
const DELETE: &str = "delete Pod on ";
const UNCORDON: &str = "uncordon Node ";

/// An entry of the journal without the changes that say nothing of a node: there may be 100,000.
pub fn of_nodes(mut entry: Entry) -> Entry {
    let is_of_node = |label: &String| [CORDON, DELETE, UNCORDON].iter().any(|start| label.starts_with(start));
    match &mut entry.news {
        News::Intended { changes, .. } => keep(changes, |change| is_of_node(&change.label)),
        News::Settled { changes, .. } => keep(changes, |change| is_of_node(&change.label)),
        News::Started { .. }
        | News::Resumed { .. }
        | News::StepStarted { .. }
        | News::Waited { .. }
        | News::Ready { .. }
        | News::Gone { .. }
        | News::Skipped { .. }
        | News::Watching { .. }
        | News::Lost { .. }
        | News::Watched { .. }
        | News::Proven { .. }
        | News::Broken { .. }
        | News::StepDone { .. }
        | News::Stopped { .. }
        | News::Finished { .. } => {}
    }
    entry
}

/// Gives back the room of what goes: of 100,000 changes it is 17 MB.
fn keep<T>(all: &mut Vec<T>, is_kept: impl FnMut(&T) -> bool) {
    all.retain(is_kept);
    all.shrink_to_fit();
}

/// Folds the journal into the nodes over time.
pub fn timeline(plan: &Plan, entries: &[Entry], inventory: Option<&Inventory>) -> Timeline {
    let mut fold = Fold::new(plan, inventory);
    let start = entries.first().and_then(|entry| millis(&entry.at)).unwrap_or_default();
    for entry in entries {
        let at = millis(&entry.at).map_or(fold.now, |at| (at - start).max(fold.now));
        if matches!(entry.news, News::Resumed { .. }) && entry.seq > 1 {
            fold.pauses.push((fold.now, at));
        }
        fold.now = at;
        fold.take(&entry.news, start);
    }
    fold.end()
}

/// A time of the journal in milliseconds.
pub fn millis(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

struct Fold {
    nodes: BTreeMap<String, Watched>,
    /// The order of the cluster, for nodes that nothing happened to.
    order: Vec<String>,
    /// What was sent and has no outcome yet, with the time of sending.
    sent: BTreeMap<String, i64>,
    stable_ms: i64,
    pauses: Vec<(i64, i64)>,
    now: i64,
}

impl Fold {
    fn new(plan: &Plan, inventory: Option<&Inventory>) -> Self {
        let roll = plan.roll();
        let stable_seconds = roll.map(|roll| roll.stable_for_seconds);
        // A plan that replaces no node has nothing to tell of them.
        let of_cluster = inventory.filter(|_| roll.is_some());
        let of_cluster = of_cluster.map(|inventory| inventory.nodes.as_slice()).unwrap_or_default();
        let with_pod = of_cluster.iter().filter(|node| node.pod.is_some());
        let watched = |is_control_plane, node: &str| Watched {
            span: NodeSpan { node: node.to_owned(), is_control_plane, ..NodeSpan::default() },
            ..Watched::default()
        };
        Self {
            nodes: with_pod.map(|node| (node.name.clone(), watched(node.is_control_plane, &node.name))).collect(),
            order: of_cluster.iter().map(|node| node.name.clone()).collect(),
            sent: BTreeMap::new(),
            stable_ms: i64::try_from(stable_seconds.unwrap_or_default() * 1000).unwrap_or_default(),
            pauses: Vec::new(),
            now: 0,
        }
    }

    fn take(&mut self, news: &News, start: i64) {
        match news {
            News::Intended { changes, .. } => {
                self.sent.extend(changes.iter().map(|change| (change.label.clone(), self.now)));
            }
            News::Settled { changes, .. } => {
                for change in changes {
                    let sent = self.sent.remove(&change.label).unwrap_or(self.now);
                    if change.outcome != Outcome::NotApplied {
                        self.changed(&change.label, sent);
                    }
                }
            }
            News::Ready { node, seen, .. } => {
                let at = millis(seen).map_or(self.now, |seen| (seen - start).clamp(0, self.now));
                self.ready(node, at, true);
            }
            News::Waited { what, .. } => {
                if let Some(node) = what.strip_prefix("calico-node on ") {
                    self.ready(node, self.now - self.stable_ms, false);
                }
            }
            News::Gone { node, .. } => self.gone(node),
            News::Resumed { .. } => self.resumed(),
            News::StepDone { .. } => self.rolled(),
            News::Lost { node, loss, .. } => self.node(node).span.loss = Some(loss.clone()),
            News::Started { .. }
            | News::Skipped { .. }
            | News::Watching { .. }
            | News::Watched { .. }
            | News::StepStarted { .. }
            | News::Proven { .. }
            | News::Broken { .. }
            | News::Stopped { .. }
            | News::Finished { .. } => {}
        }
    }

    /// What was sent and never answered may have happened: a deletion counts from the instant it was sent.
    fn resumed(&mut self) {
        for (label, sent) in std::mem::take(&mut self.sent) {
            if label.starts_with(DELETE) {
                self.changed(&label, sent);
            }
        }
        self.nodes.values_mut().for_each(|node| node.is_watched = false);
    }

    fn changed(&mut self, label: &str, sent: i64) {
        if let Some(node) = label.strip_prefix(CORDON) {
            let now = self.now;
            let node = self.node(node);
            node.span.is_cordoned = true;
            node.note(What::Cordoned, now);
        } else if let Some(node) = label.strip_prefix(DELETE) {
            let node = self.node(node);
            node.note(What::Deleted, sent);
            node.open_since.get_or_insert(sent);
            (node.is_watched, node.span.state) = (true, NodeState::Begun);
        } else if let Some(node) = label.strip_prefix(UNCORDON) {
            self.ready(node, sent - self.stable_ms, false);
            let now = self.now;
            let node = self.node(node);
            node.span.is_cordoned = false;
            node.note(What::Uncordoned, now);
        }
    }

    /// Closes the gap of a node whose pod is open.
    fn ready(&mut self, node: &str, at: i64, is_seen: bool) {
        let node = self.node(node);
        let Some(since) = node.open_since.take() else { return };
        let at = at.max(since);
        node.note(What::Ready, at);
        node.span.state = NodeState::Replaced;
        node.span.gap_ms = Some(node.span.gap_ms.unwrap_or_default() + at - since);
        node.has_guess |= !(is_seen && node.is_watched);
        node.span.is_gap_measured = !node.has_guess;
    }

    /// Nobody waits for a node that is not there, and its cordon went with it.
    fn gone(&mut self, node: &str) {
        let now = self.now;
        let node = self.node(node);
        node.note(What::Gone, now);
        (node.open_since, node.span.is_cordoned) = (None, false);
        if node.span.state != NodeState::Replaced {
            node.span.state = NodeState::Gone;
        }
    }

    /// A roll is done once each node that is there has its new pod and is free: others went while nobody looked.
    fn rolled(&mut self) {
        let is_open = |node: &&Watched| node.open_since.is_some() || node.span.is_cordoned;
        let open: Vec<String> = self.nodes.values().filter(is_open).map(|node| node.span.node.clone()).collect();
        open.iter().for_each(|node| self.gone(node));
    }

    fn node(&mut self, name: &str) -> &mut Watched {
        let node = self.nodes.entry(name.to_owned()).or_default();
        node.span.node = name.to_owned();
        node
    }

    fn end(self) -> Timeline {
        let place = |node: &NodeSpan| self.order.iter().position(|name| *name == node.node);
        let mut nodes: Vec<NodeSpan> = self.nodes.into_values().map(|node| node.span).collect();
        nodes.sort_by_cached_key(|node| {
            (node.moments.first().map_or(i64::MAX, |first| first.at_ms), place(node), node.node.clone())
        });
        Timeline { nodes, pauses: self.pauses, end_ms: self.now }
    }
}

impl Watched {
    fn note(&mut self, what: What, at_ms: i64) {
        self.span.moments.push(Moment { what, at_ms });
    }
}
