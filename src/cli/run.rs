use std::path::Path;

use super::{
    Ended,
    arguments::{ReportFormat, Resume, Run},
    dry_run,
    failure::Failure,
    plan, progress, resume,
    session::Session,
    terminal,
};
use crate::{
    cluster::Cluster,
    door::{Door, RunPhase, RunState, Stop},
    engine::{self, Ending, Home},
    event::Voice,
    inventory::Inventory,
    observe,
    plan::{ObjectChange, Plan, Purpose, Sealed},
    report, runbook,
};

pub async fn run(session: &Session, arguments: &Run) -> Ended {
    let home = session.home(&arguments.lease.lease_duration, arguments.abandon.clone())?;
    let saved = arguments.plan.as_deref().map(read_plan).transpose()?;
    if let Some(flag) = saved.as_ref().and_then(|_| arguments.planning.first_flag()) {
        return Err(Failure::usage(format!(
            "a saved plan runs as it was reviewed: {flag} can only be given to `plan`"
        )));
    }
    let cluster = session.connect_with_data().await?;
    if let Some(resume) = takes_up(&cluster, arguments).await? {
        return resume::resume(session, &resume).await;
    }
    let (sealed, inventory) = match saved {
        Some(saved) => confirm_unchanged(session, &cluster, saved).await?,
        None => plan::make(session, &cluster, &arguments.planning).await?,
    };
    if let Some(mode) = arguments.dry_run {
        return dry_run::dry_run(session, &cluster, &sealed, mode).await;
    }
    plan::show(session, &sealed, &inventory);
    if sealed.plan.is_empty() {
        return Ok(0);
    }
    check_phase(&sealed, arguments.until.as_deref())?;
    may_run(&inventory)?;
    may(&observe::missing_to_give(&cluster, &sealed.plan).await?)?;
    approve(arguments.yes, &format!("Run this plan on {}?", sealed.plan.cluster.server))?;
    begin(session, home, &cluster, sealed, &inventory, arguments.until.as_deref()).await
}

/// What to go on with instead of beginning: an upgrade that is not over. One that a person paused waits for a person.
async fn takes_up(cluster: &Cluster, arguments: &Run) -> Result<Option<Resume>, Failure> {
    if !arguments.or_resume {
        return Ok(None);
    }
    let unfinished = engine::newest_unfinished(cluster).await?.filter(|state| state.purpose == Purpose::Upgrade);
    let Some(RunState { run, phase, .. }) = unfinished else { return Ok(None) };
    match phase {
        RunPhase::Stopped { exit: engine::PAUSED, why } if why == engine::ASKED_TO_PAUSE => {
            Err(Failure::new(engine::PAUSED, "CU-E030", format!("run `{run}` was paused by a person"))
                .why("only a person lets it go on; nothing was changed")
                .now(format!("calico-upgrader resume {run}")))
        }
        RunPhase::Running | RunPhase::Stopped { .. } => {
            let Run { yes, until, lease, .. } = arguments;
            Ok(Some(Resume { run: Some(run), yes: *yes, until: until.clone(), lease: lease.clone() }))
        }
        RunPhase::Finished { .. } | RunPhase::Abandoned | RunPhase::RolledBack { .. } => Ok(None),
    }
}

/// Reads a saved plan and checks its seal.
fn read_plan(path: &Path) -> Result<Sealed, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::bad_file(path.display(), error.to_string()))?;
    let sealed = Sealed::read(&text).map_err(|error| {
        Failure::bad_file(path.display(), error.to_string()).now("make it again: calico-upgrader plan --out FILE")
    })?;
    match sealed.plan.purpose {
        Purpose::Upgrade => Ok(sealed),
        Purpose::Rollback { .. } | Purpose::Completion { .. } | Purpose::Restore { .. } => {
            Err(Failure::bad_file(path.display(), "it is no plan of an upgrade").now("calico-upgrader plan --out FILE"))
        }
    }
}

/// Plans again with the choices of the saved plan: the same plan must come out, or the cluster has changed since.
async fn confirm_unchanged(
    session: &Session,
    cluster: &Cluster,
    saved: Sealed,
) -> Result<(Sealed, Inventory), Failure> {
    let catalogue = runbook::catalogue();
    let inventory = session.look(cluster, &catalogue, None).await?;
    if inventory.cluster.uid != saved.plan.cluster.uid {
        let failure = Failure::new(13, "CU-E013", "the plan is of another cluster");
        return Err(failure
            .evidence([format!("plan: {}; here: {}", saved.plan.cluster.server, inventory.cluster.server)])
            .why("nothing was changed")
            .now("check the context"));
    }
    let again = crate::plan::make(&inventory, &catalogue, &saved.plan.runbook, &saved.plan.request)?;
    if again == saved.plan {
        return Ok((saved, inventory));
    }
    let lines = |sealed: &crate::plan::Plan| format!("{:#}", serde_json::to_value(sealed).unwrap_or_default());
    let (then, now) = (lines(&saved.plan), lines(&again));
    let diff = similar::TextDiff::from_lines(&then, &now);
    let changed = diff.iter_all_changes().filter(|change| change.tag() != similar::ChangeTag::Equal);
    let shown = changed.take(20).map(|change| format!("{}{}", change.tag(), change.value().trim_end()));
    Err(Failure::new(13, "CU-E011", "the cluster changed since the plan was made")
        .evidence(shown)
        .why("what was reviewed is no longer what would run; nothing was changed")
        .now(format!("calico-upgrader plan --to {} --out FILE, and review it again", saved.plan.to)))
}

fn check_phase(sealed: &Sealed, until: Option<&str>) -> Result<(), Failure> {
    let Some(until) = until else { return Ok(()) };
    let mut phases: Vec<&str> = sealed.plan.steps.iter().map(|step| step.phase.as_str()).collect();
    phases.dedup();
    if phases.iter().any(|phase| phase.eq_ignore_ascii_case(until)) {
        return Ok(());
    }
    Err(Failure::usage(format!("the plan has no phase `{until}`; it has: {}", phases.join(", "))))
}

pub fn may_run(inventory: &Inventory) -> Result<(), Failure> {
    may(&inventory.rights_missing)
}

/// Refuses to begin what would stop midway for want of a right.
pub fn may(missing: &[String]) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(15, "CU-C006", format!("{} rights that a run needs are missing", missing.len()));
    Err(failure
        .evidence(missing.iter().cloned())
        .why("a run would stop midway; nothing was changed")
        .now("use an account that may do the above"))
}

pub fn approve(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let refused = |what: &str| Failure::new(10, "CU-E012", what).why("nothing was changed");
    if !terminal::is_interactive() {
        return Err(
            refused("there is no terminal to ask on, and --yes was not given").now("review the plan, then add --yes")
        );
    }
    if terminal::confirm(question) { Ok(()) } else { Err(refused("the run was not approved")) }
}

pub async fn begin(
    session: &Session,
    home: Home,
    cluster: &Cluster,
    sealed: Sealed,
    inventory: &Inventory,
    until: Option<&str>,
) -> Ended {
    let Started { door, voice, progress } = start(session, &home, cluster, &sealed, inventory).await?;
    drive(session, &sealed, door, until, voice, progress).await
}

/// A run that has begun and has taken no step yet.
pub struct Started {
    pub door: Door,
    pub voice: Voice,
    pub progress: progress::Screen,
}

pub async fn start(
    session: &Session,
    home: &Home,
    cluster: &Cluster,
    sealed: &Sealed,
    inventory: &Inventory,
) -> Result<Started, Failure> {
    let progress = progress::Screen::start(&session.global)?;
    let voice = progress.voice();
    let (switch, stop) = Stop::new();
    tokio::spawn(progress::stop_on_signals(switch));
    match engine::begin(home, cluster, sealed, inventory, stop, &voice).await {
        Ok(door) => Ok(Started { door, voice, progress }),
        Err(error) => {
            drop(voice);
            progress.end().await;
            Err(error.into())
        }
    }
}

/// Takes the steps, then tells the end and writes the report.
pub async fn drive(
    session: &Session,
    sealed: &Sealed,
    mut door: Door,
    until: Option<&str>,
    voice: Voice,
    progress: progress::Screen,
) -> Ended {
    door.own_node = session.own_node();
    let (directory, run) = (door.files.directory().to_owned(), door.state().run.clone());
    let ended = engine::run(&sealed.plan, until, door, &voice).await;
    drop(voice);
    progress.end().await;
    write_report(session, &directory);
    terminal::chatter_line(&format!(
        "Kept in    {} (plan.json, journal.jsonl, backup/, report.html)",
        directory.display()
    ));
    match ended {
        Ok(Ending::Finished) => {
            tell_end(&sealed.plan, &run);
            Ok(0)
        }
        Ok(Ending::AfterPhase) => Ok(0),
        Ok(Ending::Paused { exit }) => {
            terminal::chatter_line(&format!("Stopped. Next: calico-upgrader resume {run}"));
            Ok(exit)
        }
        Err(error) => Err(error.into()),
    }
}

/// What holds now, what is left, and what comes next.
fn tell_end(plan: &Plan, run: &str) {
    let line = match &plan.purpose {
        Purpose::Upgrade => format!("Calico {} runs on every node. ", plan.to),
        Purpose::Rollback { run } => format!("Run {run} is taken back: Calico {} runs on every node. ", plan.to),
        Purpose::Completion { run } => format!("Run {run} is complete: what it had kept of the old release is gone. "),
        Purpose::Restore { .. } => super::restore::finished(plan),
    };
    terminal::chatter(&format!("{line}Next: calico-upgrader verify {run}\n"));
    if matches!(plan.purpose, Purpose::Rollback { .. }) {
        let created: Vec<&ObjectChange> = plan.changes().filter(|change| change.verb() == "create").collect();
        created.iter().for_each(|change| {
            terminal::chatter_line(&report::clean(&format!("New uid    {} was created again", change.object)));
        });
        plan.omitted.iter().for_each(|one| {
            terminal::chatter_line(&report::clean(&format!("Left       {} ({})", one.name, one.why)));
        });
    }
}

fn write_report(session: &Session, directory: &Path) {
    let formats =
        [("report.txt", ReportFormat::Text), ("report.json", ReportFormat::Json), ("report.html", ReportFormat::Html)];
    let written = || -> Result<(), Failure> {
        let account = report::run_report(&super::report::remains(directory)?);
        let files = crate::door::RunFiles::open(directory)?;
        for (name, format) in formats {
            files.write(name, super::report::render(format, &account).as_bytes(), &session.faults())?;
        }
        Ok(())
    };
    if let Err(failure) = written() {
        terminal::chatter_line(&format!("The report could not be written: {}", failure.what));
    }
}
