use serde::{Deserialize, Serialize};

use crate::probe::{NodeLoss, WholeLoss};

/// News of a run for the operator. Logs are for us, events are for people and their scripts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    RunStarted {
        run: String,
        plan: String,
        from: String,
        to: String,
        steps: Vec<String>,
    },
    RunResumed {
        run: String,
        epoch: u64,
        after: Vec<String>,
    },
    LockAwaited {
        seconds: u64,
    },
    StepStarted {
        step: String,
        phase: String,
        summary: String,
        changes: usize,
    },
    /// Some of a step's changes are made.
    StepProgress {
        step: String,
        done: usize,
        of: usize,
    },
    Changed {
        step: String,
        verb: String,
        object: String,
    },
    WaitStarted {
        step: String,
        what: String,
        limit_seconds: u64,
    },
    /// What was waited for is so.
    WaitDone {
        step: String,
        what: String,
    },
    /// A node is begun only if it can be done before the window ends; `known` nodes tell how long it takes.
    NodesTimed {
        seconds: u64,
        known: usize,
        until: String,
    },
    NodeStarted {
        node: String,
        done: usize,
        of: usize,
    },
    NodeWaiting {
        node: String,
        why: String,
    },
    /// A new pod was seen ready at this time, and stayed so.
    NodeReady {
        node: String,
        seen: jiff::Timestamp,
    },
    NodeDone {
        node: String,
        seconds: u64,
        done: usize,
        of: usize,
    },
    /// A runner before us replaced it; looked at again, it is ready.
    NodeFound {
        node: String,
    },
    NodeGone {
        node: String,
        done: usize,
        of: usize,
    },
    /// Something that the run would have looked at, and could not.
    Skipped {
        what: String,
        why: String,
    },
    /// Probes watch so many pairs of nodes; the others lost packets before anything was touched.
    Watching {
        pairs: usize,
        left_out: Vec<String>,
    },
    /// What was lost between the nodes while this one was replaced.
    Lost {
        node: String,
        loss: NodeLoss,
    },
    /// What was lost from before the first node until after the last.
    Watched {
        whole: WholeLoss,
    },
    Proven {
        step: String,
        claim: String,
    },
    StepDone {
        step: String,
        seconds: u64,
    },
    RunStopped {
        run: String,
        exit: u8,
        why: String,
        now: String,
    },
    /// The run ended with a message of this code, which `explain` knows.
    Failed {
        run: String,
        exit: u8,
        code: String,
    },
    /// A line of a program that works for the run elsewhere, and that is no event.
    Said {
        line: String,
    },
    /// `requests` are all that this process sent to the API server.
    RunFinished {
        run: String,
        exit: u8,
        requests: u64,
    },
}

/// Where events go: an unbounded channel, so that a slow terminal never slows a run.
#[derive(Clone, Debug)]
pub struct Voice(Option<tokio::sync::mpsc::UnboundedSender<Event>>);

impl Voice {
    pub fn new(sender: tokio::sync::mpsc::UnboundedSender<Event>) -> Self {
        Self(Some(sender))
    }

    /// Tells nobody.
    pub fn silent() -> Self {
        Self(None)
    }

    /// Tells an event; whether anyone listens never changes what is done.
    pub fn tell(&self, event: Event) {
        if let Some(sender) = &self.0 {
            let _ = sender.send(event);
        }
    }
}
