//! A run that someone wants to go on with: from the cluster's record, or from the files of this machine if the record was deleted.

use std::{collections::BTreeSet, path::Path};

use jiff::Timestamp;

use super::start::{Home, StartError, check_open, first_state, is_same_etcd};
use crate::{
    backup::{LINES, read_manifest},
    cluster::Cluster,
    door::{BackupPlace, Record, RecordError, RunPhase, RunState, runs},
    inventory::Inventory,
    journal::{ActionKind, Entry, News, Progress},
    observe::cluster_uid,
    plan::{Plan, Purpose, Sealed},
    resource::ObjectRef,
    step::backup_directory,
};

/// A run as it was found, before anybody is asked whether it shall go on.
pub struct Found {
    pub state: RunState,
    pub sealed: Sealed,
    /// Else nothing of it is in the cluster any more, and this is what the runner on this machine wrote down.
    pub is_recorded: bool,
}

/// Looks for a run that can go on in the cluster, then on this machine.
pub async fn find(home: &Home, cluster: &Cluster, run: &str) -> Result<Found, StartError> {
    let found = match Record::open(cluster, run).await {
        Ok(record) => {
            check_open(&record.state)?;
            Found { sealed: record.plan().await?, state: record.state, is_recorded: true }
        }
        Err(missing @ RecordError::Missing { .. }) => {
            let (state, sealed) = kept(home, run)?.ok_or(missing)?;
            check_alone(cluster, &state).await?;
            check_open(&state)?;
            Found { state, sealed, is_recorded: false }
        }
        Err(other) => return Err(other.into()),
    };
    check_plan(&found.state, &found.sealed)?;
    if cluster_uid(cluster).await? == found.state.cluster && is_same_etcd(cluster, &found.sealed) {
        return Ok(found);
    }
    Err(StartError::OtherCluster { run: run.to_owned() })
}

pub(super) fn check_plan(state: &RunState, sealed: &Sealed) -> Result<(), RecordError> {
    if sealed.digest == state.plan {
        return Ok(());
    }
    let what = "its plan has another digest than the record".to_owned();
    Err(RecordError::Damaged { run: state.run.clone(), what })
}

impl Found {
    /// The record as it is now; one that was deleted is put back. Only the holder of the lock may do so.
    pub(super) async fn record(&self, home: &Home, cluster: &Cluster) -> Result<Record, StartError> {
        if self.is_recorded {
            return Ok(Record::open(cluster, &self.state.run).await?);
        }
        check_alone(cluster, &self.state).await?;
        let directory = home.directory(&self.state.run);
        let (plan, lines) = (directory.join("plan.json"), directory.join(LINES));
        let lines = self.sealed.plan.lines().next().map(|_| lines.as_path());
        Ok(Record::create(cluster, self.state.clone(), &plan, lines, &home.faults).await?)
    }
}

/// Runs of this cluster that this machine did not bring to their end, and that the cluster has no record of.
pub async fn unrecorded(home: &Home, cluster: &Cluster) -> Result<Vec<String>, StartError> {
    let recorded: BTreeSet<String> = runs(cluster).await?.into_iter().map(|state| state.run).collect();
    let uid = cluster_uid(cluster).await?;
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
    let directory = home.directory(run);
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
    Ok(Some((RunState { backup: backup_in(&directory), taken_down, ..state }, sealed)))
}

pub(super) fn backup_in(directory: &Path) -> Option<BackupPlace> {
    let place = backup_directory(directory);
    let digest = read_manifest(&place).ok()?.digest();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Some(BackupPlace { host, path: place.display().to_string(), digest })
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

/// Refuses to put a run back beside another that was begun or took it back meanwhile.
async fn check_alone(cluster: &Cluster, state: &RunState) -> Result<(), StartError> {
    let began = |state: &RunState| state.started.parse::<Timestamp>().ok();
    for other in runs(cluster).await? {
        let run = state.run.clone();
        match &other.purpose {
            Purpose::Rollback { run: taken } if *taken == run => {
                return Err(StartError::RolledBack { run, by: other.run });
            }
            _ if !other.phase.is_over() => return Err(StartError::Unfinished { run: other.run }),
            _ if began(&other) > began(state) => return Err(StartError::Overtaken { run, by: other.run }),
            _ => {}
        }
    }
    Ok(())
}
