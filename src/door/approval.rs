//! Approvals: who approved exactly which plan stands in annotations of the run record.

use serde_json::{Value, json};

use super::{
    Record, RecordError, RunPhase, RunState,
    record::{TRIES, put_record},
};
use crate::{
    cluster::{Cluster, ClusterError},
    resource::Digest,
};

/// The digest of the plan that was approved, whole.
const APPROVED_PLAN: &str = "calico-upgrader/approved-plan";
/// Who did, for people.
const APPROVED_BY: &str = "calico-upgrader/approved-by";

impl Record {
    /// The digest of the plan that someone approved for this run.
    pub(super) fn approved_plan(&self) -> Option<&str> {
        self.annotations.get(APPROVED_PLAN)?.as_str()
    }
}

/// Approves the plan of a run; whatever its runner writes meanwhile stays.
///
/// # Errors
/// The record cannot be read or written.
pub async fn approve(cluster: &Cluster, run: &str, plan: &Digest, who: &str) -> Result<RunState, RecordError> {
    let mut tries = 0;
    loop {
        let mut record = Record::open(cluster, run).await?;
        if let RunPhase::Stopped { exit: 10, .. } = record.state.phase {
            let why = format!("plan {} is approved by {who}", plan.short());
            record.state.phase = RunPhase::Stopped { exit: 0, why };
        }
        let mut annotations = record.annotations.clone();
        annotations.insert(APPROVED_PLAN.to_owned(), json!(plan.text()));
        annotations.insert(APPROVED_BY.to_owned(), json!(who));
        match put_record(cluster, &record.state, &Value::Object(annotations), &record.precondition()).await {
            Ok(_) => return Ok(record.state),
            Err(ClusterError::Conflict { .. }) if tries < TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}
