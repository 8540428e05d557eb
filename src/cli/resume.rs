use super::{
    Ended,
    arguments::Resume,
    failure::Failure,
    gates, jobs,
    listen::listeners,
    progress,
    run::{Started, Way, approve, check_phase, drive, may_start_jobs},
    session::Session,
    terminal,
};
use crate::{
    cluster::Cluster,
    door,
    engine::{self, Found, Until},
};

pub async fn resume(session: &Session, arguments: &Resume) -> Ended {
    let mut home = session.home(&arguments.lease.lease_duration, None)?;
    home.gate = gates::read(&arguments.gates)?;
    let cluster = session.connect_with_data().await?;
    let Some(run) = find(&cluster, arguments.run.as_deref()).await? else {
        terminal::chatter_line("No run of this cluster is unfinished: nothing to resume.");
        for run in engine::unrecorded(&home, &cluster).await? {
            terminal::chatter_line(&format!(
                "This machine has files of run {run}, whose record is gone: calico-upgrader resume {run}"
            ));
        }
        return Ok(0);
    };
    gates::check_now(&home, &cluster).await?;
    let found = engine::find(&home, &cluster, &run).await?;
    check_phase(&found.sealed, arguments.until.as_deref())?;
    may_start_jobs(&cluster, arguments.pods.job_steps).await?;
    gates::check_length(&home, &found.sealed.plan, &found.state.node_seconds)?;
    gates::check_probes(&home, &found.sealed.plan)?;
    if !found.is_recorded {
        terminal::chatter_line("Someone deleted the run record. It is put back from the files of this machine:");
    }
    terminal::chatter(&super::status::describe(&found.state));
    approve(arguments.consent.yes, "Go on?")?;
    let mut way = Way::new(&home, "resume", arguments.until.as_deref(), &arguments.pods);
    if let Some(step) = &arguments.only_step {
        way.course.until = Some(Until::Step(step.clone()));
    }
    go_on(session, &cluster, found, &way).await
}

async fn go_on(session: &Session, cluster: &Cluster, found: Found, way: &Way<'_>) -> Ended {
    let listeners = listeners(session, cluster, &found.sealed.plan, Some(&found.state)).await?;
    let progress = progress::Screen::start(&session.global, listeners)?;
    let voice = progress.voice();
    let (switch, stop) = door::Stop::new();
    tokio::spawn(progress::stop_on_signals(switch, progress::AFTER_THIS_CHANGE));
    let not_taken_up = match jobs::join_step(way, cluster, &found.state.run, &stop, &voice).await {
        Ok(0) => match engine::go_on(way.home, cluster, found, stop, &voice).await {
            Ok((sealed, door)) => {
                return drive(session, &sealed, Started { door, voice, progress }, way).await;
            }
            Err(error) => Err(error.into()),
        },
        left_or_failed => left_or_failed,
    };
    drop(voice);
    progress.end().await;
    not_taken_up
}

async fn find(cluster: &Cluster, named: Option<&str>) -> Result<Option<String>, Failure> {
    match named {
        Some(run) => Ok(Some(run.to_owned())),
        None => Ok(engine::newest_unfinished(cluster).await?.map(|state| state.run)),
    }
}
