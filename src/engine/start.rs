//! Begins a run, or takes up one that stopped: the local lock, the cluster's lock, the record, the journal.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    found::{Found, backup_in, check_plan},
    guard::{LocalGuard, new_run_name},
};
use crate::{
    backup::{BackupError, LINES, check_copy, copy_lines},
    cluster::Cluster,
    door::{
        Door, Faults, FileError, Gate, Lease, LeaseError, Record, RecordError, RunFiles, RunPhase, RunState, Stop,
        current_holder, ensure_namespace, runs,
    },
    event::{Event, Voice},
    inventory::Inventory,
    journal::{History, Journal, JournalError, News},
    observe::ObserveError,
    plan::{Purpose, Sealed},
};

/// Where runs are kept on this machine, and who we are.
#[derive(Clone, Debug)]
pub struct Home {
    pub state: PathBuf,
    /// The person and the machine, for others to see.
    pub holder: String,
    pub lease: Duration,
    pub faults: Faults,
    /// An unfinished run that the operator gives up: a new plan starts from what is there now.
    pub abandon: Option<String>,
    pub gate: Gate,
}

impl Home {
    /// Where the files of a run are kept.
    pub fn directory(&self, run: &str) -> PathBuf {
        self.state.join("runs").join(run)
    }
}

/// Why a run could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("another process on this machine runs an upgrade of this cluster ({holder})")]
    LocallyHeld { holder: String },
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the journal of run `{run}` cannot be believed")]
    History { run: String, source: History },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error("run `{run}` is not finished yet")]
    Unfinished { run: String },
    #[error("run `{run}` is finished")]
    Finished { run: String },
    #[error("run `{run}` was taken back by run `{by}`")]
    RolledBack { run: String, by: String },
    #[error("the journal of run `{run}` on this machine is of another plan, or says that the run is finished")]
    OtherPlan { run: String },
    #[error("run `{run}` belongs to another cluster")]
    OtherCluster { run: String },
    #[error("run `{run}` has no record any more, and run `{by}` began after it")]
    Overtaken { run: String, by: String },
}

/// The newest run that did not come to its end, if there is one.
pub async fn newest_unfinished(cluster: &Cluster) -> Result<Option<RunState>, RecordError> {
    Ok(runs(cluster).await?.into_iter().rev().find(|state| !state.phase.is_over()))
}

/// Begins a run: nothing of it is in the cluster before, and the plan is there before anything else.
///
/// `lines` is the backup that a plan names lines of: they are copied, and then it is needed no more.
pub async fn begin(
    home: &Home,
    cluster: &Cluster,
    sealed: &Sealed,
    inventory: &Inventory,
    lines: Option<&Path>,
    stop: Stop,
    voice: &Voice,
) -> Result<Door, StartError> {
    let guard = LocalGuard::take(home, &sealed.plan.cluster.uid)?;
    let run = new_run_name(&guard.token);
    let files = RunFiles::open(&home.directory(&run))?;
    // The files come first: where they cannot be written, the cluster is not touched at all.
    let begun = match first_files(home, &files, &run, sealed, inventory, lines) {
        Ok((journal, lines)) => {
            let held = claim(home, cluster, sealed, inventory, (&run, lines.as_deref()), guard, voice).await;
            held.map(|held| (journal, held))
        }
        Err(error) => Err(error),
    };
    match begun {
        Ok((journal, (lease, record))) => {
            let steps = sealed.plan.steps.iter().map(|step| step.name.clone()).collect();
            let (from, to) = (sealed.plan.from.to_string(), sealed.plan.to.to_string());
            voice.tell(Event::RunStarted { run, plan: sealed.digest.short(), from, to, steps });
            let door = Door::new(cluster.clone(), files, home.faults.clone(), stop, journal, record, lease);
            Ok(door.heeding(home.gate.clone()))
        }
        Err(error) => {
            files.discard();
            Err(error)
        }
    }
}

fn first_files(
    home: &Home,
    files: &RunFiles,
    run: &str,
    sealed: &Sealed,
    inventory: &Inventory,
    lines: Option<&Path>,
) -> Result<(Journal, Option<PathBuf>), StartError> {
    let lines = match lines.filter(|_| sealed.plan.lines().next().is_some()) {
        Some(backup) => Some(take_along(home, files, backup, sealed)?),
        None => None,
    };
    files.write_by("inventory.json", &home.faults, |file| Ok(serde_json::to_writer(file, inventory)?))?;
    files.write_by("plan.json", &home.faults, |file| sealed.write(file))?;
    let mut journal = Journal::create(&files.path("journal.jsonl"), 1)?;
    let (plan, cluster) = (sealed.digest.clone(), sealed.plan.cluster.uid.clone());
    let holder = home.holder.clone();
    journal.append(News::Started { run: run.to_owned(), plan, cluster, holder })?;
    Ok((journal, lines))
}

/// Copies the lines that the plan names: what was reviewed is what they say, or the run does not begin.
fn take_along(home: &Home, files: &RunFiles, backup: &Path, sealed: &Sealed) -> Result<PathBuf, StartError> {
    let mut file = files.receive(LINES)?;
    copy_lines(backup, sealed.plan.lines(), |part| Ok::<_, StartError>(file.write(part)?))?;
    file.finish(&home.faults)?;
    Ok(files.path(LINES))
}

/// Takes the cluster's lock, makes sure that no other run is half done, and makes this one known.
async fn claim(
    home: &Home,
    cluster: &Cluster,
    sealed: &Sealed,
    inventory: &Inventory,
    (run, lines): (&str, Option<&Path>),
    guard: LocalGuard,
    voice: &Voice,
) -> Result<(Lease, Record), StartError> {
    ensure_namespace(cluster, &home.faults).await.map_err(RecordError::from)?;
    let lease = take_lease(home, cluster, guard, voice).await?;
    let recorded = match close_earlier(home, cluster, &sealed.plan.purpose, run).await {
        Ok(()) => {
            let state = first_state(home, sealed, run, inventory.nodes.len());
            let plan = home.directory(run).join("plan.json");
            Record::create(cluster, state, &plan, lines, &home.faults).await.map_err(StartError::from)
        }
        Err(error) => Err(error),
    };
    match recorded {
        Ok(record) => Ok((lease, record)),
        Err(error) => {
            let _ = lease.release().await;
            Err(error)
        }
    }
}

/// A plan with keys goes on with the etcd that it was made for, whatever its addresses are now.
pub(super) fn is_same_etcd(cluster: &Cluster, sealed: &Sealed) -> bool {
    let planned = &sealed.plan.cluster.etcd;
    planned.is_none() || cluster.etcd().map(|etcd| &etcd.connection().cluster) == planned.as_ref()
}

/// Takes up a run that was found; the local journal goes on where this machine has it.
pub async fn go_on(
    home: &Home,
    cluster: &Cluster,
    found: Found,
    stop: Stop,
    voice: &Voice,
) -> Result<(Sealed, Door), StartError> {
    let guard = LocalGuard::take(home, &found.state.cluster)?;
    if !found.is_recorded {
        ensure_namespace(cluster, &home.faults).await.map_err(RecordError::from)?;
    }
    let lease = take_lease(home, cluster, guard, voice).await?;
    match take_up(home, cluster, &found).await {
        Ok((record, journal, files)) => {
            let (run, epoch, after) = (found.state.run, record.state.epoch, record.state.steps_done.clone());
            voice.tell(Event::RunResumed { run, epoch, after });
            let door = Door::new(cluster.clone(), files, home.faults.clone(), stop, journal, record, lease);
            Ok((found.sealed, door.heeding(home.gate.clone())))
        }
        Err(error) => {
            let _ = lease.release().await;
            Err(error)
        }
    }
}

/// Makes sure that the run can go on, and only then becomes its holder.
async fn take_up(home: &Home, cluster: &Cluster, found: &Found) -> Result<(Record, Journal, RunFiles), StartError> {
    let Found { state, sealed, .. } = found;
    // Read again: the runner before us may have written until the lease was ours.
    let mut record = found.record(home, cluster).await?;
    check_open(&record.state)?;
    check_plan(&record.state, sealed)?;
    let files = RunFiles::open(&home.directory(&state.run))?;
    make_sure_of_lines(home, &record, &files, sealed).await?;
    let epoch = record.state.epoch + 1;
    let mut journal = take_up_journal(home, &files, &record.state, epoch, sealed)?;
    // The runner before us may have died after a step was in its journal and before the record had it.
    let after = journal.progress().done_with(&record.state.steps_done);
    let is_behind = after != record.state.steps_done;
    let (holder, backup) = (home.holder.clone(), is_behind.then(|| backup_in(files.directory())).flatten());
    record
        .update(|state| {
            (state.epoch, state.holder, state.phase, state.is_pause_wanted) =
                (epoch, holder.clone(), RunPhase::Running, false);
            state.steps_done.clone_from(&after);
            state.backup = state.backup.take().or_else(|| backup.clone());
        })
        .await?;
    journal.append(News::Resumed { holder: home.holder.clone(), after })?;
    Ok((record, journal, files))
}

/// The lines that the plan names lie in the run's directory, or else come from the record.
async fn make_sure_of_lines(home: &Home, record: &Record, files: &RunFiles, sealed: &Sealed) -> Result<(), StartError> {
    if let Err(error) = check_copy(files.directory(), sealed.plan.lines()) {
        tracing::info!(%error, "the lines of the backup are taken from the record");
        record.fetch_lines(files, LINES, &home.faults).await?;
        check_copy(files.directory(), sealed.plan.lines())?;
    }
    Ok(())
}

pub(super) fn check_open(state: &RunState) -> Result<(), StartError> {
    let run = state.run.clone();
    match &state.phase {
        RunPhase::Running | RunPhase::Stopped { .. } => Ok(()),
        RunPhase::Finished { .. } | RunPhase::Abandoned => Err(StartError::Finished { run }),
        RunPhase::RolledBack { by } => Err(StartError::RolledBack { run, by: by.clone() }),
    }
}

/// Closes the runs that this one takes the place of; any other that is not over forbids it.
async fn close_earlier(home: &Home, cluster: &Cluster, purpose: &Purpose, run: &str) -> Result<(), StartError> {
    let (mut closed, mut open) = (Vec::new(), None);
    for earlier in runs(cluster).await? {
        match closed_as(home, purpose, &earlier, run) {
            Some(phase) => closed.push((earlier.run, phase)),
            None if earlier.phase.is_over() => {}
            None => open = Some(earlier.run),
        }
    }
    if let Some(run) = open {
        return Err(StartError::Unfinished { run });
    }
    for (run, phase) in closed {
        close(cluster, &run, phase).await?;
    }
    Ok(())
}

/// What becomes of an earlier run: a rollback takes the place of its run, and of an earlier rollback that did not come to its end.
fn closed_as(home: &Home, purpose: &Purpose, earlier: &RunState, by: &str) -> Option<RunPhase> {
    let is_open = !earlier.phase.is_over();
    match purpose {
        Purpose::Rollback { run } if *run == earlier.run => Some(RunPhase::RolledBack { by: by.to_owned() }),
        Purpose::Rollback { .. } if is_open && earlier.purpose == *purpose => Some(RunPhase::Abandoned),
        Purpose::Upgrade | Purpose::Rollback { .. } | Purpose::Completion { .. } | Purpose::Restore { .. } => {
            (is_open && home.abandon.as_ref() == Some(&earlier.run)).then_some(RunPhase::Abandoned)
        }
    }
}

/// Closes a run that nobody will go on with; its epoch grows, so that a runner of it could not write either.
async fn close(cluster: &Cluster, run: &str, phase: RunPhase) -> Result<(), RecordError> {
    let mut record = Record::open(cluster, run).await?;
    let epoch = record.state.epoch + 1;
    record.update(|state| (state.phase, state.epoch) = (phase.clone(), epoch)).await
}

async fn take_lease(home: &Home, cluster: &Cluster, guard: LocalGuard, voice: &Voice) -> Result<Lease, StartError> {
    let holder = current_holder(cluster).await.map_err(LeaseError::from)?;
    if holder.is_some_and(|holder| !guard.dead.contains(&holder.name)) {
        voice.tell(Event::LockAwaited { seconds: home.lease.as_secs() });
    }
    let lease = Lease::acquire(cluster, &guard.name, &guard.dead, guard.file, home.lease).await?;
    Ok(lease)
}

/// A run that was not begun yet, of a cluster with so many nodes.
pub(super) fn first_state(home: &Home, sealed: &Sealed, run: &str, nodes: usize) -> RunState {
    let plan = &sealed.plan;
    RunState {
        cluster: plan.cluster.uid.clone(),
        from: plan.from.to_string(),
        to: plan.to.to_string(),
        holder: home.holder.clone(),
        // A way back must not wait for anybody.
        needs_approval: plan.request.needs_approval && plan.purpose == Purpose::Upgrade,
        nodes: if plan.roll().is_some() { nodes } else { 0 },
        ..RunState::begun(run, plan.purpose.clone(), sealed.digest.clone())
    }
}

/// Opens the journal of this machine, or starts one where the run was on another.
fn take_up_journal(
    home: &Home,
    files: &RunFiles,
    state: &RunState,
    epoch: u64,
    sealed: &Sealed,
) -> Result<Journal, StartError> {
    let path = files.path("journal.jsonl");
    let run = || state.run.clone();
    let journal = match continued_journal(&path, state, epoch)? {
        Some(journal) => journal,
        None => {
            set_aside(&path, epoch)?;
            files.write_by("plan.json", &home.faults, |file| sealed.write(file))?;
            let mut journal = Journal::create(&path, epoch)?;
            let (plan, cluster) = (state.plan.clone(), state.cluster.clone());
            let holder = home.holder.clone();
            journal.append(News::Started { run: run(), plan, cluster, holder })?;
            journal
        }
    };
    Ok(journal)
}

/// The local journal, if it knows the newest entry that the cluster's record knows; else another machine was the last.
fn continued_journal(path: &Path, state: &RunState, epoch: u64) -> Result<Option<Journal>, StartError> {
    if !path.exists() {
        return Ok(None);
    }
    let (mut knows, mut is_empty) = (state.chain.is_empty(), true);
    let journal = Journal::go_on(path, epoch, |entry| {
        knows |= entry.prev == state.chain;
        is_empty = false;
    })?;
    let progress = journal.progress();
    if progress.plan.as_ref().is_some_and(|plan| *plan != state.plan) || progress.finished.is_some() {
        return Err(StartError::OtherPlan { run: state.run.clone() });
    }
    Ok((!is_empty && (knows || journal.chain() == state.chain)).then_some(journal))
}

/// Keeps an older journal beside the one that begins now.
fn set_aside(path: &Path, epoch: u64) -> Result<(), StartError> {
    let aside = path.with_extension(format!("before-{epoch}.jsonl"));
    match std::fs::rename(path, &aside) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(FileError { path: aside, source }.into()),
        _ => Ok(()),
    }
}
