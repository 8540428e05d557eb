use super::{Ended, arguments::Approve, failure::Failure, run::read_plan, session::Session, terminal};
use crate::{
    cluster::Cluster,
    door::{self, Record, RunState},
    engine::StartError,
    observe,
};

/// Approves the plan of a run; a plan file is approved for the run that waits with exactly this plan.
pub async fn approve(session: &Session, arguments: &Approve) -> Ended {
    let cluster = session.connect().await?;
    let is_file = std::path::Path::new(&arguments.what).is_file();
    let state =
        if is_file { of_plan(&cluster, &arguments.what).await? } else { of_run(&cluster, &arguments.what).await? };
    if state.phase.is_over() {
        return Err(StartError::Finished { run: state.run }.into());
    }
    let state = door::approve(&cluster, &state.run, &state.plan, &session.holder()).await?;
    terminal::chatter_line(&format!(
        "Plan {} of run {} is approved. Next: calico-upgrader resume {}",
        state.plan.short(),
        state.run,
        state.run
    ));
    Ok(0)
}

async fn of_run(cluster: &Cluster, run: &str) -> Result<RunState, Failure> {
    let state = Record::open(cluster, run).await?.state;
    if observe::cluster_uid(cluster).await? != state.cluster {
        return Err(StartError::OtherCluster { run: run.to_owned() }.into());
    }
    Ok(state)
}

/// What was reviewed is what is approved: the run must have this plan and no other.
async fn of_plan(cluster: &Cluster, path: &str) -> Result<RunState, Failure> {
    let sealed = read_plan(path.as_ref())?;
    let runs = door::runs(cluster).await?;
    let waiting = runs.into_iter().rev().find(|state| state.plan == sealed.digest && !state.phase.is_over());
    waiting.ok_or_else(|| {
        Failure::new(65, "CU-E067", format!("no unfinished run has plan {}", sealed.digest.short()))
            .why("an approval is written on the run that waits for it; nothing was changed")
            .now(format!("calico-upgrader run {path}, which waits; or approve a run by its name"))
    })
}
