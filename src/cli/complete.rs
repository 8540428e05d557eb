use super::{
    Ended,
    arguments::Complete,
    consent, dry_run,
    failure::Failure,
    plan::show,
    rollback::Past,
    run::{drive_to_the_end, may, start},
    session::Session,
    terminal,
};
use crate::{
    cluster::Cluster,
    door::{self, RunPhase},
    engine::StartError,
    inventory::Inventory,
    observe,
    plan::{FinishedRun, Plan, Sealed, complete as plan_completion},
    runbook, step,
};

pub async fn complete(session: &Session, arguments: &Complete) -> Ended {
    let home = session.home(&arguments.lease.lease_duration, None)?;
    let cluster = session.connect_with_data().await?;
    observe::may_look_back(&cluster).await?;
    let Some(past) = Past::find(&cluster, arguments.run.as_deref()).await? else {
        terminal::chatter_line("No upgrade was ever recorded on this cluster: nothing to complete.");
        return Ok(0);
    };
    check_finished(&past)?;
    let (plan, inventory) = plan(session, &cluster, &past).await?;
    let sealed = Sealed::new(plan);
    for left in &sealed.plan.omitted {
        terminal::chatter_line(&format!("Left       {} ({})", left.name, left.why));
    }
    if sealed.plan.is_empty() {
        terminal::chatter_line(&format!("Run {}: there is nothing to remove.", past.state.run));
        return Ok(0);
    }
    check_in_force(&cluster, &past.plan).await?;
    if let Some(mode) = arguments.trial.dry_run {
        return dry_run::dry_run(session, &cluster, &sealed, mode).await;
    }
    show(session, &sealed, &inventory);
    may(&observe::missing_for(&cluster, &sealed.plan).await?, None)?;
    consent::to_complete(arguments.confirm.as_deref(), &past.state.run)?;
    let started = start(session, &home, &cluster, &sealed, &inventory, None).await?;
    drive_to_the_end(session, &home, &sealed, started).await
}

async fn plan(session: &Session, cluster: &Cluster, past: &Past) -> Result<(Plan, Inventory), Failure> {
    let inventory = session.look(cluster, &runbook::catalogue(), None).await?;
    let orphans = door::orphans(cluster).await?.len();
    let finished = FinishedRun { run: &past.state.run, plan: &past.plan, inventory: &inventory, orphans };
    Ok((plan_completion(&finished), inventory))
}

/// Old data may go only after a run that came to its end and was not taken back.
fn check_finished(past: &Past) -> Result<(), Failure> {
    let run = past.state.run.clone();
    match &past.state.phase {
        RunPhase::Finished { .. } => Ok(()),
        RunPhase::Running | RunPhase::Stopped { .. } => Err(StartError::Unfinished { run }.into()),
        RunPhase::RolledBack { by } => Err(StartError::RolledBack { run, by: by.clone() }.into()),
        RunPhase::Abandoned => Err(Failure::new(3, "CU-E019", format!("run `{run}` was given up"))
            .why("what it did not finish may still need the old data; nothing was changed")
            .now("calico-upgrader status")),
    }
}

/// The new release must be in force now, whatever was true when the run ended.
async fn check_in_force(cluster: &Cluster, plan: &Plan) -> Result<(), Failure> {
    let Some(verify) = plan.verification() else { return Ok(()) };
    let claim = step::nodes_run_the_release(cluster, verify).await?;
    if claim.holds {
        return Ok(());
    }
    Err(Failure::new(5, "CU-E020", format!("it does not hold that {}", claim.text))
        .evidence(claim.facts)
        .why("a node that runs another release may need the old data; nothing was changed")
        .now("calico-upgrader verify"))
}
