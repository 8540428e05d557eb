//! A run that someone wants to go on with: from the cluster's record, or from the files of this machine if the record was deleted.

use std::collections::BTreeSet;

use super::start::{Home, StartError, first_state};
use crate::{
    backup::LINES,
    cluster::Cluster,
    door::{Record, RecordError, RunPhase, RunState, runs},
    inventory::Inventory,
    journal::{ActionKind, Entry, News, Progress},
    plan::{Plan, Purpose, Sealed},
    resource::ObjectRef,
};

/// Where a run was found.
pub enum Found {
    Recorded(Box<Record>),
    /// Nothing of it is in the cluster any more; this is what the runner on this machine wrote down.
    Kept(Box<(RunState, Sealed)>),
}

impl Found {
    /// Looks in the cluster, then on this machine.
    pub async fn look(home: &Home, cluster: &Cluster, run: &str) -> Result<Self, StartError> {
        match Record::open(cluster, run).await {
            Ok(record) => Ok(Found::Recorded(Box::new(record))),
            Err(missing @ RecordError::Missing { .. }) => match kept(home, run)? {
                Some((state, sealed)) => {
                    check_alone(cluster, run).await?;
                    Ok(Found::Kept(Box::new((state, sealed))))
                }
                None => Err(missing.into()),
            },
            Err(other) => Err(other.into()),
        }
    }

    pub fn state(&self) -> &RunState {
        match self {
            Found::Recorded(record) => &record.state,
            Found::Kept(kept) => &kept.0,
        }
    }

    pub fn is_recorded(&self) -> bool {
        matches!(self, Found::Recorded(_))
    }

    pub async fn plan(&self) -> Result<Sealed, RecordError> {
        match self {
            Found::Recorded(record) => record.plan().await,
            Found::Kept(kept) => Ok(kept.1.clone()),
        }
    }

    /// The record with its plan; one that was deleted is put back. Only the holder of the lock may do so.
    pub(super) async fn recorded(self, home: &Home, cluster: &Cluster) -> Result<(Record, Sealed), RecordError> {
        match self {
            Found::Recorded(record) => {
                let sealed = record.plan().await?;
                Ok((*record, sealed))
            }
            Found::Kept(kept) => {
                let (state, sealed) = *kept;
                let lines = home.state.join("runs").join(&state.run).join(LINES);
                let lines = sealed.plan.lines().next().map(|_| lines.as_path());
                Ok((Record::create(cluster, state, &sealed, lines, &home.faults).await?, sealed))
            }
        }
    }
}

/// Runs of this cluster that this machine did not bring to their end, and that the cluster has no record of.
pub async fn unrecorded(home: &Home, cluster: &Cluster) -> Result<Vec<String>, StartError> {
    let recorded: BTreeSet<String> = runs(cluster).await?.into_iter().map(|state| state.run).collect();
    let uid = crate::observe::cluster_uid(cluster).await?;
    let Ok(directories) = std::fs::read_dir(home.state.join("runs")) else { return Ok(Vec::new()) };
    let names = directories.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let is_open = |run: &String| match kept(home, run) {
        Ok(Some((state, _))) => state.cluster == uid && !state.phase.is_over(),
        Ok(None) | Err(_) => false,
    };
    Ok(names.filter(|run| !recorded.contains(run) && is_open(run)).collect())
}

/// What the files of this machine say of a run; nothing if it was never run here.
fn kept(home: &Home, run: &str) -> Result<Option<(RunState, Sealed)>, StartError> {
    let directory = home.state.join("runs").join(run);
    let (journal, plan) = (directory.join("journal.jsonl"), directory.join("plan.json"));
    if !journal.exists() || !plan.exists() {
        return Ok(None);
    }
    let (entries, _) = crate::journal::read(&journal)?;
    let progress = Progress::of(&entries).map_err(|source| StartError::History { run: run.to_owned(), source })?;
    let sealed = Sealed::read_from(|| std::fs::File::open(&plan))
        .map_err(|error| RecordError::Damaged { run: run.to_owned(), what: format!("plan.json: {error}") })?;
    let nodes = std::fs::read(directory.join("inventory.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Inventory>(&bytes).ok())
        .map_or(0, |inventory| inventory.nodes.len());
    let state = state_of(first_state(home, &sealed, run, nodes), &progress, &entries);
    let taken_down = taken_down(&sealed.plan, &entries);
    Ok(Some((RunState { taken_down, ..state }, sealed)))
}

fn state_of(first: RunState, progress: &Progress, entries: &[Entry]) -> RunState {
    let ready = |entry: &Entry| match &entry.news {
        News::Ready { node, .. } => Some(node.clone()),
        _ => None,
    };
    let nodes_done: BTreeSet<String> = entries.iter().filter_map(ready).collect();
    RunState {
        epoch: progress.epoch,
        phase: phase_of(progress),
        steps_done: progress.steps_done.clone(),
        step: progress.step.clone(),
        reserved: progress.batches,
        confirmed: progress.batches,
        nodes_done: nodes_done.len(),
        started: entries.first().map_or(first.started, |entry| entry.at.clone()),
        ..first
    }
}

/// The objects that the run deleted to make them anew.
fn taken_down(plan: &Plan, entries: &[Entry]) -> Vec<ObjectRef> {
    let intents = entries.iter().flat_map(|entry| match &entry.news {
        News::Intended { changes, .. } => changes.as_slice(),
        _ => &[],
    });
    let deleted: BTreeSet<&ObjectRef> =
        intents.filter(|intent| intent.action == ActionKind::Delete).map(|intent| &intent.object).collect();
    let anew = plan.changes().filter(|change| change.recreated_for().is_some()).map(|change| &change.object);
    anew.filter(|object| deleted.contains(object)).cloned().collect()
}

fn phase_of(progress: &Progress) -> RunPhase {
    match (&progress.finished, &progress.stopped) {
        (Some(exit), _) => RunPhase::Finished { exit: *exit },
        (None, Some((exit, why))) => RunPhase::Stopped { exit: *exit, why: why.clone() },
        (None, None) => RunPhase::Running,
    }
}

/// Refuses to put a run back beside another that was begun or taken back meanwhile.
async fn check_alone(cluster: &Cluster, run: &str) -> Result<(), StartError> {
    for other in runs(cluster).await? {
        match other.purpose {
            Purpose::Rollback { run: taken } if taken == run => {
                return Err(StartError::RolledBack { run: taken, by: other.run });
            }
            _ if !other.phase.is_over() => return Err(StartError::Unfinished { run: other.run }),
            _ => {}
        }
    }
    Ok(())
}
