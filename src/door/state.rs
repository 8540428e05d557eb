use serde::{Deserialize, Serialize};

use crate::{
    plan::Purpose,
    resource::{Digest, ObjectRef},
};

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    pub run: String,
    #[serde(default)]
    pub purpose: Purpose,
    pub plan: Digest,
    pub plan_chunks: usize,
    /// Parts of the lines of a backup that the plan names; most plans name none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub line_chunks: usize,
    pub cluster: String,
    pub from: String,
    pub to: String,
    pub epoch: u64,
    pub holder: String,
    pub phase: RunPhase,
    pub steps_done: Vec<String>,
    pub step: Option<String>,
    /// Batches that the holder may have sent.
    pub reserved: u64,
    /// Batches whose outcome is known.
    pub confirmed: u64,
    /// The newest entry of the holder's journal.
    pub chain: String,
    pub backup: Option<BackupPlace>,
    pub is_pause_wanted: bool,
    /// Whether nothing may be changed before someone approved the plan.
    #[serde(default)]
    pub needs_approval: bool,
    /// How long the newest nodes took.
    #[serde(default)]
    pub node_seconds: Vec<u64>,
    /// Objects that were deleted to be made anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_down: Vec<ObjectRef>,
    pub nodes_done: usize,
    pub nodes: usize,
    pub started: String,
    pub updated: String,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Where the verified backup lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupPlace {
    pub host: String,
    pub path: String,
    pub digest: Digest,
}

/// What a run is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunPhase {
    Running,
    Stopped {
        exit: u8,
        why: String,
    },
    Finished {
        exit: u8,
    },
    /// The operator gave it up for a new plan.
    Abandoned,
    /// Another run takes it back, or did.
    RolledBack {
        by: String,
    },
}

impl RunState {
    /// A run that has a name and a plan and has done nothing yet.
    pub fn begun(run: &str, purpose: Purpose, plan: Digest) -> Self {
        let now = jiff::Timestamp::now().to_string();
        Self {
            run: run.to_owned(),
            purpose,
            plan,
            plan_chunks: 0,
            line_chunks: 0,
            cluster: String::new(),
            from: String::new(),
            to: String::new(),
            epoch: 1,
            holder: String::new(),
            phase: RunPhase::Running,
            steps_done: Vec::new(),
            step: None,
            reserved: 0,
            confirmed: 0,
            chain: String::new(),
            backup: None,
            is_pause_wanted: false,
            needs_approval: false,
            node_seconds: Vec::new(),
            taken_down: Vec::new(),
            nodes_done: 0,
            nodes: 0,
            started: now.clone(),
            updated: now,
        }
    }
}

impl RunPhase {
    /// Answers whether nobody will go on with the run.
    pub fn is_over(&self) -> bool {
        match self {
            RunPhase::Running | RunPhase::Stopped { .. } => false,
            RunPhase::Finished { .. } | RunPhase::Abandoned | RunPhase::RolledBack { .. } => true,
        }
    }
}
