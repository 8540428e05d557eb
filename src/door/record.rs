//! The run record: the cluster's copy of how far a run is, and of the plan, so that any machine can go on.
//!
//! A Secret, since a plan holds objects as they were. Every change of it is a compare-and-swap on its resourceVersion, so a
//! runner that lost the run learns it before its next write.

use std::{collections::BTreeMap, fs::File, path::Path, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{
    Faults, FileError, Phase, RunFiles, RunState,
    parts::{packed, part_of, plan_of, put_parts},
};
use crate::{
    cluster::{Cluster, ClusterError, Mode, Precondition},
    plan::Sealed,
    resource::{Document, Kind, Live, ObjectRef},
};

/// The tool's own namespace.
pub const NAMESPACE: &str = "calico-upgrader";

/// How often a write of the record is tried.
pub(super) const TRIES: u32 = 5;

/// The run record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("cannot read or write the run record")]
    Cluster(#[from] ClusterError),
    #[error("run `{run}` has another holder now: {holder} (epoch {epoch})")]
    Lost { run: String, holder: String, epoch: u64 },
    #[error("the run record of `{run}` is damaged: {what}")]
    Damaged { run: String, what: String },
    #[error("the cluster has no record of run `{run}`")]
    Missing { run: String },
    #[error(transparent)]
    File(#[from] FileError),
}

/// The record of one run, as we last wrote it.
pub struct Record {
    cluster: Cluster,
    live: Live,
    /// What others wrote beside it, like an approval.
    pub(super) annotations: Map<String, Value>,
    pub state: RunState,
}

impl Record {
    /// Writes the plan and the lines that it names, from their files, then the record that makes the run known.
    pub async fn create(
        cluster: &Cluster,
        mut state: RunState,
        plan: &Path,
        lines: Option<&Path>,
        faults: &Faults,
    ) -> Result<Self, RecordError> {
        let open = |path: &Path| File::open(path).map_err(|source| FileError { path: path.to_owned(), source });
        // Packed as it goes, since the plan of a large restore takes megabytes.
        state.plan_chunks = put_parts(cluster, &state.run, "plan", packed(open(plan)?), faults).await?;
        if let Some(path) = lines {
            state.line_chunks = put_parts(cluster, &state.run, "lines", open(path)?, faults).await?;
        }
        faults.at("record/create", Phase::Pre);
        let live = put_record(cluster, &state, &Value::Null, &Precondition::Absent).await?;
        faults.at("record/create", Phase::Acked);
        Ok(Self { cluster: cluster.clone(), live, annotations: Map::new(), state })
    }

    /// Reads the record of a run.
    pub async fn open(cluster: &Cluster, run: &str) -> Result<Self, RecordError> {
        let live = cluster.get(&record_of(run)).await?.ok_or_else(|| RecordError::Missing { run: run.to_owned() })?;
        let state = from_secret(run, &live, "record")?;
        let annotations = live.document.value()["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        Ok(Self { cluster: cluster.clone(), live, annotations, state })
    }

    /// Reads the plan that the record keeps, and checks its seal.
    pub async fn plan(&self) -> Result<Sealed, RecordError> {
        plan_of(&self.cluster, &self.state.run, self.state.plan_chunks).await
    }

    /// Writes the lines that the plan names into a file of the run.
    pub async fn fetch_lines(&self, files: &RunFiles, name: &str, faults: &Faults) -> Result<(), RecordError> {
        let mut file = files.receive(name)?;
        for index in 0..self.state.line_chunks {
            file.write(&part_of(&self.cluster, &self.state.run, "lines", index).await?)?;
        }
        Ok(file.finish(faults)?)
    }

    /// Changes the record if nobody else has it; a wish to pause that came meanwhile is taken over.
    pub async fn update(&mut self, change: impl Fn(&mut RunState)) -> Result<(), RecordError> {
        let mut tries = 0;
        loop {
            let mut wanted = self.state.clone();
            change(&mut wanted);
            wanted.updated = jiff::Timestamp::now().to_string();
            let annotations = Value::Object(self.annotations.clone());
            match put_record(&self.cluster, &wanted, &annotations, &self.precondition()).await {
                Ok(live) => {
                    (self.live, self.state) = (live, wanted);
                    return Ok(());
                }
                Err(error) => self.catch_up_after(error, tries).await?,
            }
            if self.state == wanted {
                return Ok(());
            }
            tries += 1;
        }
    }

    /// After a refused or unanswered write, reads what the record says now.
    async fn catch_up_after(&mut self, error: ClusterError, tries: u32) -> Result<(), RecordError> {
        if matches!(error, ClusterError::NotFound { .. }) {
            return Err(RecordError::Missing { run: self.state.run.clone() });
        }
        let is_conflict = matches!(error, ClusterError::Conflict { .. });
        // A full store is not emptied in seconds; whether this write was made, the next runner sees.
        let is_hopeless = matches!(error, ClusterError::StoreFull { .. });
        if tries >= TRIES || is_hopeless || !(is_conflict || error.leaves_the_outcome_open()) {
            return Err(error.into());
        }
        if !is_conflict {
            tokio::time::sleep(Duration::from_secs(1 << tries)).await;
        }
        self.catch_up().await
    }

    /// Reads what another process wrote; refuses if that was a new holder.
    async fn catch_up(&mut self) -> Result<(), RecordError> {
        let theirs = Self::open(&self.cluster, &self.state.run).await?;
        // The epoch alone does not tell where a record was deleted and written anew by a machine that knew less.
        if (theirs.state.epoch, &theirs.state.holder) != (self.state.epoch, &self.state.holder) {
            let RunState { run, holder, epoch, .. } = theirs.state;
            return Err(RecordError::Lost { run, holder, epoch });
        }
        (self.live, self.annotations, self.state) = (theirs.live, theirs.annotations, theirs.state);
        Ok(())
    }

    pub(super) fn precondition(&self) -> Precondition {
        unchanged(&self.live)
    }
}

fn unchanged(live: &Live) -> Precondition {
    Precondition::Unchanged { uid: live.uid.clone(), resource_version: live.resource_version.clone() }
}

/// Lists the states of all runs that the cluster has records of, newest change last.
pub async fn runs(cluster: &Cluster) -> Result<Vec<RunState>, RecordError> {
    let secrets = cluster.list_selected(Kind::Secret, Some(NAMESPACE), "calico-upgrader/part=record").await?;
    let read = |live: &Live| match from_secret::<RunState>(&live.name, live, "record") {
        Ok(state) => Some(state),
        Err(error) => {
            // One damaged record must not hide the others.
            tracing::warn!(%error, "a run record is left out");
            None
        }
    };
    let mut states: Vec<RunState> = secrets.iter().filter_map(read).collect();
    states.sort_by(|one, other| one.updated.cmp(&other.updated));
    Ok(states)
}

/// Lists the parts of plans, and of lines, whose run was never recorded: its runner died in between.
pub async fn orphans(cluster: &Cluster) -> Result<Vec<Live>, RecordError> {
    let list = async |part: &str| {
        cluster.list_selected(Kind::Secret, Some(NAMESPACE), &format!("calico-upgrader/part={part}")).await
    };
    // Parts are written before their record, so only the holder of the lock can tell for sure.
    let (mut parts, lines, records) = (list("plan").await?, list("lines").await?, list("record").await?);
    parts.extend(lines);
    let run = |live: &Live| live.document.value()["metadata"]["labels"]["calico-upgrader/run"].clone();
    let recorded: Vec<Value> = records.iter().map(run).collect();
    parts.retain(|part| !recorded.contains(&run(part)));
    Ok(parts)
}

/// Wishes for a pause; the runner sees it before its next change.
pub async fn ask_to_pause(cluster: &Cluster, run: &str) -> Result<(), RecordError> {
    let mut record = Record::open(cluster, run).await?;
    record.update(|state| state.is_pause_wanted = true).await
}

/// Makes the tool's own namespace if it is not there.
pub async fn ensure_namespace(cluster: &Cluster, faults: &Faults) -> Result<(), ClusterError> {
    let reference = ObjectRef::cluster(Kind::Namespace, NAMESPACE);
    if cluster.get(&reference).await?.is_some() {
        return Ok(());
    }
    faults.at("record/namespace", Phase::Pre);
    let document = Document::new(json!({"metadata": {"name": NAMESPACE}}));
    let made = cluster.store(&reference, &document, &Precondition::Absent, Mode::Real).await;
    faults.at("record/namespace", Phase::Acked);
    match made {
        Ok(_) | Err(ClusterError::AlreadyExists { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}

/// Writes the record of a run as a whole, with what others wrote beside it.
pub(super) async fn put_record(
    cluster: &Cluster,
    state: &RunState,
    annotations: &Value,
    precondition: &Precondition,
) -> Result<Live, ClusterError> {
    let (name, body) = (record_name(&state.run), to_bytes(state));
    put_secret(cluster, &name, &state.run, ("record", &body), annotations, precondition).await
}

pub(super) async fn put_secret(
    cluster: &Cluster,
    name: &str,
    run: &str,
    (part, bytes): (&str, &[u8]),
    annotations: &Value,
    precondition: &Precondition,
) -> Result<Live, ClusterError> {
    let data = BTreeMap::from([(part, base64::encode(bytes))]);
    let labels =
        json!({"app.kubernetes.io/name": "calico-upgrader", "calico-upgrader/run": run, "calico-upgrader/part": part});
    let mut body =
        json!({"metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}, "type": "Opaque", "data": data});
    if !annotations.is_null() {
        body["metadata"]["annotations"] = annotations.clone();
    }
    let reference = ObjectRef::namespaced(Kind::Secret, NAMESPACE, name);
    cluster.store(&reference, &Document::new(body), precondition, Mode::Real).await
}

fn to_bytes(state: &RunState) -> Vec<u8> {
    serde_json::to_vec(state).expect("a run state is plain data")
}

fn from_secret<T: DeserializeOwned>(run: &str, live: &Live, key: &str) -> Result<T, RecordError> {
    let bytes = bytes_of(run, live, key)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| RecordError::Damaged { run: run.to_owned(), what: error.to_string() })
}

pub(super) fn bytes_of(run: &str, live: &Live, key: &str) -> Result<Vec<u8>, RecordError> {
    let document = live.document.value();
    let text = document["data"].get(key).and_then(Value::as_str);
    let bytes = text.and_then(base64::decode);
    bytes.ok_or_else(|| RecordError::Damaged { run: run.to_owned(), what: format!("`{key}` is missing or not base64") })
}

/// Names the object that holds the record of a run.
pub fn record_of(run: &str) -> ObjectRef {
    ObjectRef::namespaced(Kind::Secret, NAMESPACE, record_name(run))
}

fn record_name(run: &str) -> String {
    format!("calico-upgrader-run-{run}")
}

/// Base64 as Secrets hold it.
mod base64 {
    use ::base64::{Engine, engine::general_purpose::STANDARD};

    pub fn encode(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }

    pub fn decode(text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text).ok()
    }
}
