use std::time::Duration;

use super::{
    Ended,
    arguments::{OfRun, Status},
    failure::Failure,
    session::Session,
    terminal,
};
use crate::{
    cluster::Cluster,
    door::{self, Holder, Record, RunPhase, RunState},
    journal::{self, Progress},
    plan::Purpose,
    report,
};

/// How often a watched run is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub async fn status(session: &Session, arguments: &Status) -> Ended {
    let cluster = session.connect().await?;
    let mut shown = None;
    loop {
        let Some(state) = newest(session, &cluster, arguments.run.as_deref()).await? else {
            terminal::chatter_line("No run was ever started on this cluster. Next: calico-upgrader plan");
            return Ok(0);
        };
        let is_running = state.phase == RunPhase::Running;
        let lock = if is_running {
            lock_of(door::current_holder(&cluster).await?, jiff::Timestamp::now())
        } else {
            Lock::Idle
        };
        if shown.as_ref() != Some(&(state.clone(), lock.is_silent())) {
            terminal::show(session.global.output, &state, || describe(&state) + &lock.words() + &next(&state, &lock));
            shown = Some((state, lock.is_silent()));
        }
        if !arguments.watch || !is_running {
            return Ok(0);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A run that says it is running may be dead: the lock tells.
enum Lock {
    /// Nobody needs it.
    Idle,
    Free,
    Held(String),
    /// Not renewed in time, as far as the clocks of two machines can be compared.
    Silent(String),
}

fn lock_of(holder: Option<Holder>, now: jiff::Timestamp) -> Lock {
    let Some(holder) = holder else { return Lock::Free };
    let age = holder.renewed.parse::<jiff::Timestamp>().map(|then| now.duration_since(then).as_secs().max(0));
    let Ok(age) = age else { return Lock::Held(format!("{} · renewed {}", holder.name, holder.renewed)) };
    let words = format!("{} · renewed {age} s ago", holder.name);
    let due = holder.duration.as_secs();
    if u64::try_from(age).is_ok_and(|age| age <= due) {
        return Lock::Held(words);
    }
    Lock::Silent(format!("{words}, and was due within {due} s: the runner is dead or cut off"))
}

impl Lock {
    fn is_silent(&self) -> bool {
        match self {
            Lock::Free | Lock::Silent(_) => true,
            Lock::Idle | Lock::Held(_) => false,
        }
    }

    fn words(&self) -> String {
        match self {
            Lock::Idle => String::new(),
            Lock::Free => "Lock       free: the runner is gone\n".to_owned(),
            Lock::Held(words) | Lock::Silent(words) => format!("Lock       {}\n", report::clean(words)),
        }
    }
}

/// What to do next with a run.
fn next(state: &RunState, lock: &Lock) -> String {
    let run = &state.run;
    let command = match &state.phase {
        RunPhase::Running if lock.is_silent() => format!("resume {run}"),
        RunPhase::Running => "status -w, or pause".to_owned(),
        RunPhase::Stopped { exit: 10, .. } => format!("approve {run}, then resume {run}"),
        RunPhase::Stopped { .. } => match &state.purpose {
            Purpose::Upgrade => format!("resume {run}, or rollback {run}"),
            Purpose::Rollback { .. } | Purpose::Completion { .. } | Purpose::Restore { .. } => format!("resume {run}"),
        },
        RunPhase::Abandoned => "plan".to_owned(),
        RunPhase::RolledBack { by } => format!("status {by}"),
        RunPhase::Finished { .. } => format!("verify {run}"),
    };
    format!("Next       calico-upgrader {command}\n")
}

/// A run in a few lines: how far it is and what is safe now.
pub fn describe(state: &RunState) -> String {
    let phase = match &state.phase {
        RunPhase::Running => "running".to_owned(),
        RunPhase::Stopped { exit, why } => format!("stopped with exit {exit}: {why}"),
        RunPhase::Abandoned => "given up for a new plan".to_owned(),
        RunPhase::RolledBack { by } => format!("taken back by run {by}"),
        RunPhase::Finished { exit } => format!("finished with exit {exit}"),
    };
    let backup = state
        .backup
        .as_ref()
        .map(|backup| format!("Backup     {} on {} ({})\n", backup.path, backup.host, backup.digest.short()));
    // A restore replaces no node, and a completion none.
    let nodes = match state.nodes {
        0 => String::new(),
        of => format!("Nodes      {} of {of} replaced\n", state.nodes_done),
    };
    report::clean(&format!(
        "Run        {} · {} · {phase}\nDone       {}\nIn step    {}\n{}{}Runner     {} (epoch {}) · record updated {}\n",
        state.run,
        state.purpose.words(&state.from, &state.to),
        if state.steps_done.is_empty() { "nothing yet".to_owned() } else { state.steps_done.join(", ") },
        state.step.as_deref().unwrap_or("–"),
        nodes,
        backup.unwrap_or_default(),
        state.holder,
        state.epoch,
        to_second(&state.updated),
    ))
}

/// A time as people read it.
fn to_second(time: &str) -> String {
    time.split_once('.').map_or(time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

async fn newest(session: &Session, cluster: &Cluster, named: Option<&str>) -> Result<Option<RunState>, Failure> {
    let state = match named {
        Some(run) => Some(Record::open(cluster, run).await?.state),
        None => door::runs(cluster).await?.pop(),
    };
    Ok(state.map(|state| RunState { phase: phase_of(session, &state), ..state }))
}

/// What a run is doing. Where no stop could be recorded, as in a full store, its journal has it, if the run was on this machine.
fn phase_of(session: &Session, state: &RunState) -> RunPhase {
    let journal = session.state().join("runs").join(&state.run).join("journal.jsonl");
    let progress = journal::read(&journal).ok().and_then(|(entries, _)| Progress::of(&entries).ok());
    match progress.filter(|progress| progress.epoch == state.epoch).and_then(|progress| progress.stopped) {
        Some((exit, why)) if state.phase == RunPhase::Running => RunPhase::Stopped { exit, why },
        Some(_) | None => state.phase.clone(),
    }
}

pub async fn pause(session: &Session, arguments: &OfRun) -> Ended {
    let cluster = session.connect().await?;
    let state = newest(session, &cluster, arguments.run.as_deref()).await?;
    let Some(state) = state.filter(|state| state.phase == RunPhase::Running) else {
        terminal::chatter_line("No run is under way: nothing to pause.");
        return Ok(0);
    };
    door::ask_to_pause(&cluster, &state.run).await?;
    terminal::chatter_line(&format!(
        "Run {} stops before its next change and exits with 11. Next: calico-upgrader resume {}",
        state.run, state.run
    ));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_overdue_says_that_the_run_can_be_resumed() {
        let holder = |renewed: &str| {
            let (name, renewed) = ("ana@laptop".to_owned(), renewed.to_owned());
            Some(Holder { name, renewed, duration: Duration::from_secs(15) })
        };
        let now: jiff::Timestamp = "2026-01-01T00:00:40Z".parse().unwrap();
        for (renewed, is_silent) in [("2026-01-01T00:00:25Z", false), ("2026-01-01T00:00:24Z", true)] {
            assert_eq!(lock_of(holder(renewed), now).is_silent(), is_silent, "{renewed}");
        }
        assert!(!lock_of(holder("2026-01-01T00:00:50Z"), now).is_silent(), "a clock that is ahead proves nothing");
        assert!(!lock_of(holder("some time"), now).is_silent());
        assert!(lock_of(None, now).is_silent());
    }
}
