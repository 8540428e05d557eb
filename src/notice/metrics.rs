//! Figures of a run for Prometheus.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    cluster::Cluster,
    event::Event,
    web::{Page, serve},
};

/// What Prometheus asks for by default (OpenMetrics 1.0.0, "Exposition across HTTP").
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Run {
    run: String,
    from: String,
    to: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Node {
    node: String,
}

/// The figures, and what they are counted from.
#[derive(Default)]
struct Figures {
    run: Family<Run, Gauge<i64, AtomicI64>>,
    steps: Family<State, Gauge<i64, AtomicI64>>,
    nodes: Family<State, Gauge<i64, AtomicI64>>,
    gap: Family<Node, Gauge<f64, AtomicU64>>,
    packet_gap: Family<Node, Gauge<f64, AtomicU64>>,
    stopped: Gauge<i64, AtomicI64>,
    last_success: Gauge<f64, AtomicU64>,
    /// When the pod of a node was about to be deleted.
    started: Mutex<BTreeMap<String, Timestamp>>,
    steps_done: Mutex<BTreeSet<String>>,
}

/// Serves the figures of one run while it goes on.
pub struct MetricsListener {
    figures: Arc<Figures>,
    cluster: Cluster,
}

impl MetricsListener {
    /// Begins with when an upgrade of this cluster last came to its end, if one ever did.
    pub fn new(cluster: Cluster, last_success: Option<Timestamp>) -> Self {
        let figures = Figures::default();
        if let Some(moment) = last_success {
            figures.last_success.set(seconds(moment));
        }
        Self { figures: Arc::new(figures), cluster }
    }

    /// Works until the events end.
    pub async fn listen(self, mut events: mpsc::UnboundedReceiver<Event>, listener: TcpListener) {
        let (figures, cluster) = (Arc::clone(&self.figures), self.cluster.clone());
        let make = Box::new(move || page(&figures, &cluster));
        let serving = serve(listener, Page { path: "/metrics", content_type: CONTENT_TYPE, make });
        let counting = async {
            while let Some(event) = events.recv().await {
                self.figures.count(&event, Timestamp::now());
            }
        };
        tokio::select! {
            () = serving => {}
            () = counting => {}
        }
    }
}

fn page(figures: &Figures, cluster: &Cluster) -> String {
    let mut registry = Registry::with_prefix("calico_upgrader");
    registry.register("run", "The run that goes on: always 1", figures.run.clone());
    registry.register("steps", "Steps of the run by state", figures.steps.clone());
    registry.register("nodes", "Nodes of the run by state", figures.nodes.clone());
    let gap = "From before the pod of a node was deleted until a new one was seen ready";
    registry.register_with_unit("node_gap", gap, Unit::Seconds, figures.gap.clone());
    let silent =
        "The longest time without an answer between two nodes while this one was replaced, as probes counted it";
    registry.register_with_unit("packet_gap", silent, Unit::Seconds, figures.packet_gap.clone());
    registry.register("stopped", "Whether the run stopped before its end", figures.stopped.clone());
    let success = "When an upgrade of this cluster last came to its end, as a Unix time; 0 if none did";
    registry.register_with_unit("last_success_timestamp", success, Unit::Seconds, figures.last_success.clone());
    for (name, help, value) in [
        ("api_requests", "Requests sent to the API server", cluster.requests()),
        ("api_retries", "Reads that were tried again because the API server was busy or away", cluster.retries()),
    ] {
        let counter = Counter::<u64, AtomicU64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string can be written to");
    text
}

impl Figures {
    fn count(&self, event: &Event, now: Timestamp) {
        match event {
            Event::RunStarted { run, from, to, steps, .. } => {
                self.begin(run, from, to);
                self.set_steps(0, steps.len());
            }
            Event::RunResumed { run, after, .. } => {
                self.begin(run, "", "");
                lock(&self.steps_done).extend(after.iter().cloned());
                self.set_steps(after.len(), after.len());
            }
            Event::StepDone { step, .. } => {
                let mut done = lock(&self.steps_done);
                done.insert(step.clone());
                let planned = of(&self.steps, "planned").get();
                self.set_steps(done.len(), usize::try_from(planned).unwrap_or_default());
            }
            Event::NodeStarted { node, done, of } => {
                lock(&self.started).insert(node.clone(), now);
                self.set_nodes(*done, *of);
            }
            Event::NodeReady { node, seen } => self.close_gap(node, *seen),
            Event::Lost { node, loss } => {
                let longest = loss.longest_ms as f64 / 1000.0;
                self.packet_gap.get_or_create(&Node { node: node.clone() }).set(longest);
            }
            Event::NodeDone { node, done, of, .. } | Event::NodeGone { node, done, of } => {
                lock(&self.started).remove(node);
                self.set_nodes(*done, *of);
            }
            Event::RunStopped { .. } => {
                self.stopped.set(1);
            }
            Event::RunFinished { .. } => {
                self.last_success.set(seconds(now));
            }
            Event::LockAwaited { .. }
            | Event::StepStarted { .. }
            | Event::StepProgress { .. }
            | Event::Changed { .. }
            | Event::WaitStarted { .. }
            | Event::WaitDone { .. }
            | Event::NodesTimed { .. }
            | Event::NodeWaiting { .. }
            | Event::NodeFound { .. }
            | Event::Failed { .. }
            | Event::Said { .. }
            | Event::Skipped { .. }
            | Event::Watching { .. }
            | Event::Watched { .. }
            | Event::Proven { .. } => {}
        }
    }

    fn begin(&self, run: &str, from: &str, to: &str) {
        let labels = Run { run: run.to_owned(), from: from.to_owned(), to: to.to_owned() };
        self.run.get_or_create(&labels).set(1);
    }

    fn set_steps(&self, done: usize, planned: usize) {
        set(&self.steps, "done", done);
        set(&self.steps, "planned", planned.max(done));
    }

    fn set_nodes(&self, done: usize, all: usize) {
        let in_hand = lock(&self.started).len();
        set(&self.nodes, "done", done);
        set(&self.nodes, "in_hand", in_hand);
        set(&self.nodes, "waiting", all.saturating_sub(done + in_hand));
    }

    fn close_gap(&self, node: &str, seen: Timestamp) {
        if let Some(started) = lock(&self.started).get(node) {
            let gap = seen.duration_since(*started).as_secs_f64();
            self.gap.get_or_create(&Node { node: node.to_owned() }).set(gap);
        }
    }
}

fn of(family: &Family<State, Gauge<i64, AtomicI64>>, state: &'static str) -> Gauge<i64, AtomicI64> {
    family.get_or_create(&State { state }).clone()
}

fn set(family: &Family<State, Gauge<i64, AtomicI64>>, state: &'static str, value: usize) {
    of(family, state).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn seconds(moment: Timestamp) -> f64 {
    moment.as_duration().as_secs_f64()
}

/// Figures stay as they are when a thread died over them.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
