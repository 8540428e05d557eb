//! Traces: one for each run, sent as OTLP (http/protobuf). Only builds with the feature `otel` have them.
//!
//! The events of a run open and close its spans. A trace is named by the cluster and the run, so a runner that takes a run up adds to the same
//! trace. Spans wait in a queue that is bounded; whoever takes them too slowly, or not at all, loses some, and the run goes on as ever.

#[cfg(feature = "otel")]
mod ids;
#[cfg(feature = "otel")]
mod recorder;
#[cfg(feature = "otel")]
mod send;
#[cfg(feature = "otel")]
mod span;

use crate::{
    door::{RunPhase, RunState},
    plan::{Plan, Purpose},
    web::Client,
};

/// Sends what becomes of one run as spans.
pub struct TracesListener {
    pub client: Client,
    /// What the program is, for those who get traces of several: names and values.
    pub resource: Vec<(String, String)>,
    pub about: About,
}

/// What is known of a run before it tells anything.
#[derive(Clone, Debug)]
pub struct About {
    pub cluster: String,
    pub purpose: &'static str,
    /// The run that this one takes back or completes.
    pub of: Option<String>,
    pub from: String,
    pub to: String,
    pub before: Before,
}

/// What became of the runner before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    /// There was none.
    Nobody,
    /// It stopped in order, so its spans are told.
    Stopped,
    /// It was cut off, and could not tell its spans. The run began at this time.
    CutOff { started: String },
}

impl About {
    /// `found` is the run's record, if it is taken up.
    pub fn run(plan: &Plan, found: Option<&RunState>) -> Self {
        let (purpose, of) = match &plan.purpose {
            Purpose::Upgrade => ("upgrade", None),
            Purpose::Rollback { run } => ("rollback", Some(run.clone())),
            Purpose::Completion { run } => ("completion", Some(run.clone())),
            Purpose::Restore { .. } => ("restore", None),
        };
        let before = match found.map(|state| (&state.phase, &state.started)) {
            None => Before::Nobody,
            Some((RunPhase::Running, started)) => Before::CutOff { started: started.clone() },
            Some(_) => Before::Stopped,
        };
        let (from, to) = (plan.from.to_string(), plan.to.to_string());
        Self { cluster: plan.cluster.uid.clone(), purpose, of, from, to, before }
    }
}
