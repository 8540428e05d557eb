//! The door: the one place from which anything is changed, in the cluster or on disk.
//!
//! A batch of changes goes through it so: reserve the batch in the run record (whoever lost the run stops here), write the
//! intents to the journal and make them durable, send each with its precondition, read back what is stored, write down the
//! outcomes. A test kills the program at each of these points. Outcomes become durable with the next intents: one that is
//! lost with the power is looked up again, so it is not worth a sync of its own.

mod alerts;
mod announce;
mod approval;
mod change;
mod faults;
mod files;
mod gate;
mod job;
mod lease;
mod parts;
mod record;
mod state;
mod stop;

use futures::StreamExt;

pub use alerts::{Alarm, AlertGate};
pub use announce::{Notice, announce};
pub use approval::approve;
pub use change::{Action, Change, ChangeError, Drift};
pub use faults::{Faults, Phase};
pub use files::{FileError, Receiving, RunFiles};
pub use gate::{Beginning, Gate, Hold};
pub use job::{clear_handed_over, end_pause, hand_over, handed_over, remove_job, start_job};
pub use lease::{Holder, Lease, LeaseError, NAME as LOCK_NAME, current_holder};
pub use stop::Stop;

pub use record::{NAMESPACE, Record, RecordError, ask_to_pause, ensure_namespace, orphans, record_of, runs};
pub use state::{BackupPlace, RunPhase, RunState};

use crate::{
    cluster::{Cluster, ClusterError},
    journal::{Journal, JournalError, News, Outcome, Settled},
};

/// Changes that may go out together without a new reservation.
pub const BATCH: usize = 256;

/// Requests of one batch that are under way at once.
const IN_FLIGHT: usize = 24;

/// The way to every change of one run.
pub struct Door {
    pub cluster: Cluster,
    pub files: RunFiles,
    pub faults: Faults,
    pub stop: Stop,
    /// The node that we run on ourselves, which is replaced last; none outside of the cluster.
    pub own_node: Option<String>,
    gate: Gate,
    journal: Journal,
    record: Record,
    lease: Lease,
    batch: u64,
    is_midway: bool,
}

/// Why a change did not go through.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    #[error("the lock of the cluster could not be kept")]
    LeaseLost,
    #[error(transparent)]
    Held(#[from] Hold),
    #[error("a signal asked to stop")]
    Interrupted { exit: u8 },
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl DoorError {
    /// What the cluster, or the etcd of Calico's data, refused, if that is what it is about.
    pub fn refusal(&self) -> Option<&ClusterError> {
        match self {
            DoorError::Record(RecordError::Cluster(source))
            | DoorError::Change(ChangeError::Refused { source, .. }) => Some(source),
            DoorError::LeaseLost
            | DoorError::Held(_)
            | DoorError::Interrupted { .. }
            | DoorError::Record(
                RecordError::Lost { .. }
                | RecordError::Damaged { .. }
                | RecordError::Missing { .. }
                | RecordError::File(_),
            )
            | DoorError::Journal(_)
            | DoorError::File(_)
            | DoorError::Change(ChangeError::Drift(_) | ChangeError::StoredOtherwise { .. }) => None,
        }
    }
}

impl Door {
    /// Opens the door for a runner that holds the lock, the journal and the record.
    pub fn new(
        cluster: Cluster,
        files: RunFiles,
        faults: Faults,
        stop: Stop,
        journal: Journal,
        record: Record,
        lease: Lease,
    ) -> Self {
        let batch = record.state.reserved;
        let gate = Gate::default();
        Self { cluster, files, faults, stop, own_node: None, gate, journal, record, lease, batch, is_midway: false }
    }

    /// Asks this gate from now on.
    pub fn heeding(self, gate: Gate) -> Self {
        Self { gate, ..self }
    }

    /// Keeps the gate open while something is half done that must not stay so, like a node that is cordoned.
    pub fn hold_pause(&mut self, is_midway: bool) {
        self.is_midway = is_midway;
    }

    pub fn state(&self) -> &RunState {
        &self.record.state
    }

    /// Makes the changes of one batch, which must not depend on each other, and answers what became of them.
    ///
    /// # Errors
    /// The first change that was not made, after the outcomes of all are in the journal.
    pub async fn apply(
        &mut self,
        step: &str,
        changes: Vec<Change>,
        note: impl Fn(&mut RunState),
    ) -> Result<Vec<Settled>, DoorError> {
        if self.batch == self.record.state.reserved {
            self.reserve(step, 1, note).await?;
        }
        self.check_safe()?;
        self.batch += 1;
        let batch = self.batch;
        let intents = changes.iter().map(Change::intent).collect();
        self.journal.append(News::Intended { step: step.to_owned(), batch, changes: intents })?;
        let (settled, failure) = self.send_all(step, changes).await;
        self.journal.append_unsynced(News::Settled { batch, changes: settled.clone() })?;
        self.die_unsynced(&format!("{step}/batch-{batch}"));
        self.faults.at(&format!("{step}/batch-{batch}"), Phase::Logged);
        failure.map_or(Ok(settled), |error| Err(error.into()))
    }

    /// Claims the next batches in the run record: whoever lost the run, or shall not go on now, learns it here.
    pub async fn reserve(&mut self, step: &str, batches: u64, note: impl Fn(&mut RunState)) -> Result<(), DoorError> {
        self.check_safe()?;
        let (done, next, chain) = (self.batch, self.batch + batches, self.journal.chain().to_owned());
        self.faults.at(&format!("{step}/reserve-{next}"), Phase::Pre);
        self.record
            .update(|state| {
                (state.confirmed, state.reserved) = (done, next);
                state.step = Some(step.to_owned());
                state.chain.clone_from(&chain);
                note(state);
            })
            .await?;
        self.faults.at(&format!("{step}/reserve-{next}"), Phase::Acked);
        if self.is_midway { Ok(()) } else { Ok(self.may_begin(Beginning::Changes).await.map(drop)?) }
    }

    fn check_safe(&self) -> Result<(), DoorError> {
        if let Some(exit) = self.stop.asked() {
            return Err(DoorError::Interrupted { exit });
        }
        if self.lease.is_safe() { Ok(()) } else { Err(self.refusal().unwrap_or(DoorError::LeaseLost)) }
    }

    /// Tells during a wait why the next change would be refused for good. A renewal of the lock that only got no answer is
    /// no reason: it is tried again.
    pub fn check_hope(&self) -> Result<(), DoorError> {
        if self.lease.is_lost() {
            return Err(DoorError::LeaseLost);
        }
        self.refusal().map_or(Ok(()), Err)
    }

    fn refusal(&self) -> Option<DoorError> {
        self.lease.refusal().map(|error| DoorError::Record(error.into()))
    }

    async fn send_all(&self, step: &str, changes: Vec<Change>) -> (Vec<Settled>, Option<ChangeError>) {
        let mut failure = None;
        let sent = futures::stream::iter(changes.into_iter().map(|change| self.send(step, change)));
        let results: Vec<_> = sent.buffered(IN_FLIGHT).collect().await;
        let settled = results.into_iter().map(|(label, result)| match result {
            Ok((outcome, uid)) => Settled { label, outcome, uid },
            Err(error) => {
                failure.get_or_insert(error);
                Settled { label, outcome: Outcome::NotApplied, uid: None }
            }
        });
        (settled.collect(), failure)
    }

    async fn send(&self, step: &str, change: Change) -> (String, Result<(Outcome, Option<String>), ChangeError>) {
        let (label, boundary) = (change.label.clone(), format!("{step}/{}", change.label));
        self.faults.at(&boundary, Phase::Pre);
        let made = change.make(&self.cluster).await;
        self.faults.at(&boundary, Phase::Sent);
        (label, made)
    }

    #[cfg(feature = "faults")]
    fn die_unsynced(&mut self, boundary: &str) {
        if self.faults.is_set(boundary, Phase::LoggedUnsynced) {
            self.journal.lose_unsynced();
        }
        self.faults.at(boundary, Phase::LoggedUnsynced);
    }

    #[cfg(not(feature = "faults"))]
    fn die_unsynced(&mut self, _boundary: &str) {}

    /// Writes down what happened without changing the cluster.
    pub fn note(&mut self, news: News) -> Result<(), DoorError> {
        Ok(self.journal.append_unsynced(news)?)
    }

    /// Writes a file of the run.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), DoorError> {
        Ok(self.files.write(name, bytes, &self.faults)?)
    }

    /// Records that a step is done, here and in the cluster.
    pub async fn finish_step(&mut self, step: &str, backup: Option<BackupPlace>) -> Result<(), DoorError> {
        self.journal.append(News::StepDone { step: step.to_owned() })?;
        self.faults.at(&format!("{step}/done"), Phase::Logged);
        let (chain, batch) = (self.journal.chain().to_owned(), self.batch);
        self.record
            .update(|state| {
                if !state.steps_done.iter().any(|done| done == step) {
                    state.steps_done.push(step.to_owned());
                }
                (state.step, state.confirmed) = (None, batch);
                state.chain.clone_from(&chain);
                state.backup = backup.clone().or_else(|| state.backup.take());
            })
            .await?;
        self.faults.at(&format!("{step}/done"), Phase::Acked);
        Ok(())
    }

    /// Records that the run stops where it can go on, as far as disk and cluster still allow; then gives the lock back.
    ///
    /// # Errors
    /// What could not be recorded; of a run that another runner has by now that is all that matters.
    pub async fn stop(mut self, exit: u8, why: &str) -> Result<(), DoorError> {
        let noted = self.journal.append(News::Stopped { exit, why: why.to_owned() });
        let phase = RunPhase::Stopped { exit, why: why.to_owned() };
        let recorded = self.record_phase(phase).await;
        let released = self.release().await;
        recorded.and(noted.map_err(DoorError::from)).and(released)
    }

    /// Records that the run is over, then gives the lock back.
    ///
    /// The cluster's record comes first: it decides what can be resumed.
    pub async fn finish(mut self, exit: u8) -> Result<(), DoorError> {
        self.record_phase(RunPhase::Finished { exit }).await?;
        self.journal.append(News::Finished { exit })?;
        self.faults.at("run/finished", Phase::Logged);
        self.release().await
    }

    async fn record_phase(&mut self, phase: RunPhase) -> Result<(), DoorError> {
        let chain = self.journal.chain().to_owned();
        self.record
            .update(|state| {
                state.phase = phase.clone();
                state.chain.clone_from(&chain);
                state.is_pause_wanted = false;
            })
            .await?;
        self.faults.at("run/closed", Phase::Acked);
        Ok(())
    }

    async fn release(self) -> Result<(), DoorError> {
        Ok(self.lease.release().await.map_err(RecordError::from)?)
    }
}
