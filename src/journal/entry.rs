use serde::{Deserialize, Serialize};

use crate::{
    probe::{NodeLoss, WholeLoss},
    resource::{Digest, ObjectRef},
};

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: u64,
    /// The number of the runner that wrote it; it grows with each takeover.
    pub epoch: u64,
    /// Wall clock, for people only: no decision uses it.
    pub at: String,
    /// The hash of the line before; empty in the first.
    pub prev: String,
    #[serde(flatten)]
    pub news: News,
}

/// What an entry tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum News {
    Started {
        run: String,
        plan: Digest,
        cluster: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        holder: String,
    },
    /// A runner took up the run; intents without an outcome are open questions that it answers by looking again.
    Resumed {
        holder: String,
        /// The steps that were done by then, as this journal and the run record know together.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        after: Vec<String>,
    },
    StepStarted {
        step: String,
    },
    Intended {
        step: String,
        batch: u64,
        changes: Vec<Intent>,
    },
    Settled {
        batch: u64,
        changes: Vec<Settled>,
    },
    Waited {
        step: String,
        what: String,
        seconds: u64,
    },
    /// A new pod was seen ready at this time, for the account alone.
    Ready {
        step: String,
        node: String,
        seen: String,
    },
    /// A node that was cordoned went away, and nothing more is done for it.
    Gone {
        step: String,
        node: String,
    },
    /// Something that the run would have looked at, and could not.
    Skipped {
        step: String,
        what: String,
        why: String,
    },
    /// Probes watch so many pairs of nodes from now on; others lost packets before anything was touched.
    Watching {
        step: String,
        pairs: usize,
        left_out: Vec<String>,
    },
    /// What was lost between the nodes while this one was replaced.
    Lost {
        step: String,
        node: String,
        loss: NodeLoss,
    },
    /// What was lost from before the first node until after the last.
    Watched {
        step: String,
        whole: WholeLoss,
    },
    Proven {
        step: String,
        claim: String,
        facts: Vec<String>,
    },
    /// A claim that does not hold.
    Broken {
        step: String,
        claim: String,
        facts: Vec<String>,
    },
    StepDone {
        step: String,
    },
    /// The run stopped where it can go on.
    Stopped {
        exit: u8,
        why: String,
    },
    Finished {
        exit: u8,
    },
}

/// One change that is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The name of the write boundary, the same in every run of the same plan.
    pub label: String,
    pub object: ObjectRef,
    pub action: ActionKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Digest>,
}

/// How an object is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    Create,
    Replace,
    Patch,
    Delete,
}

impl ActionKind {
    pub const fn name(self) -> &'static str {
        match self {
            ActionKind::Create => "create",
            ActionKind::Replace => "replace",
            ActionKind::Patch => "patch",
            ActionKind::Delete => "delete",
        }
    }
}

/// What became of one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    pub label: String,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Sent, and read back as wanted.
    Applied,
    /// Found as wanted after an answer that did not reach us.
    FoundDone,
    /// Not sent, or refused: the object is as it was.
    NotApplied,
}
