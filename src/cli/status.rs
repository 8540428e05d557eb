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
    door::{self, Record, RunPhase, RunState},
    plan::Purpose,
    report,
};

/// How often a watched run is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub async fn status(session: &Session, arguments: &Status) -> Ended {
    let cluster = session.connect().await?;
    let mut shown = None;
    loop {
        let Some(state) = newest(&cluster, arguments.run.as_deref()).await? else {
            terminal::chatter_line("No run was ever started on this cluster. Next: calico-upgrader plan");
            return Ok(0);
        };
        let is_running = state.phase == RunPhase::Running;
        if shown.as_ref() != Some(&state) {
            terminal::show(session.global.output, &state, || describe(&state) + &next(&state));
            tell_holder(&cluster, is_running).await?;
            shown = Some(state);
        }
        if !arguments.watch || !is_running {
            return Ok(0);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A run that says it is running may be dead: the lock tells.
async fn tell_holder(cluster: &Cluster, is_running: bool) -> Result<(), Failure> {
    match door::current_holder(cluster).await? {
        Some((holder, renewed)) => terminal::chatter_line(&format!(
            "Lock       {} · renewed {}",
            report::clean(&holder),
            report::clean(&to_second(&renewed))
        )),
        None if is_running => {
            terminal::chatter_line("Lock       free: the runner is gone. Next: calico-upgrader resume")
        }
        None => {}
    }
    Ok(())
}

/// What to do next with a run.
fn next(state: &RunState) -> String {
    let run = &state.run;
    let command = match &state.phase {
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

async fn newest(cluster: &Cluster, named: Option<&str>) -> Result<Option<RunState>, Failure> {
    match named {
        Some(run) => Ok(Some(Record::open(cluster, run).await?.state)),
        None => Ok(door::runs(cluster).await?.pop()),
    }
}

pub async fn pause(session: &Session, arguments: &OfRun) -> Ended {
    let cluster = session.connect().await?;
    let state = newest(&cluster, arguments.run.as_deref()).await?;
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
