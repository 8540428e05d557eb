use std::path::Path;

use super::{
    Ended,
    arguments::{DryRun, Run},
    failure::Failure,
    plan, progress,
    session::Session,
    terminal,
};
use crate::{
    cluster::Cluster,
    door::{Door, Stop},
    engine::{self, Ending, Home},
    event::Voice,
    inventory::Inventory,
    journal::{self, Progress},
    plan::{Desired, Sealed, Stage},
    report,
    resource::Kind,
    runbook, step,
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
    let (sealed, inventory) = match saved {
        Some(saved) => confirm_unchanged(session, &cluster, saved).await?,
        None => plan::make(session, &cluster, &arguments.planning).await?,
    };
    if let Some(mode) = arguments.dry_run {
        return dry_run(session, &cluster, &sealed, mode).await;
    }
    plan::show(session, &sealed, &inventory);
    if sealed.plan.is_empty() {
        return Ok(0);
    }
    check_phase(&sealed, arguments.until.as_deref())?;
    may_run(&inventory)?;
    approve(arguments.yes, &format!("Run this plan on {}?", sealed.plan.cluster.server))?;
    begin(session, home, &cluster, sealed, &inventory, arguments.until.as_deref()).await
}

/// Reads a saved plan and checks its seal.
fn read_plan(path: &Path) -> Result<Sealed, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::bad_file(path.display(), error.to_string()))?;
    Sealed::read(&text).map_err(|error| {
        Failure::bad_file(path.display(), error.to_string()).now("make it again: calico-upgrader plan --out FILE")
    })
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

/// Lists every change; the server tries those that it can already.
async fn dry_run(session: &Session, cluster: &Cluster, sealed: &Sealed, mode: DryRun) -> Ended {
    let mut moves = Vec::new();
    let is_tried = mode == DryRun::Server && cluster.can_try_writes();
    for planned in &sealed.plan.steps {
        let stages = match &planned.desired {
            Desired::Objects { stages } => stages.as_slice(),
            Desired::BackUp | Desired::Roll(_) | Desired::Verify(_) => &[],
        };
        for stage in stages {
            if let Stage::Changes(changes) = stage {
                for change in step::pending(cluster, &sealed.plan, changes).await.map_err(unforeseen)? {
                    // Objects of a definition that is only to be created, and a second change of one object, cannot be tried yet.
                    let can_be_tried =
                        !Kind::CUSTOM.contains(&change.object.kind) || cluster.serves(change.object.kind);
                    if is_tried && can_be_tried {
                        change.try_out(cluster).await.map_err(|error| Failure::unexpected(&error))?;
                    }
                    moves.push((planned.name.clone(), change.label));
                }
            }
        }
        if let Desired::Roll(roll) = &planned.desired {
            moves.extend(
                step::planned_moves(cluster, roll).await?.into_iter().map(|label| (planned.name.clone(), label)),
            );
            moves.extend(roll.then.iter().map(|change| (planned.name.clone(), format!("replace {}", change.object))));
        }
    }
    let list: Vec<_> = moves.iter().map(|(step, change)| serde_json::json!({"step": step, "change": change})).collect();
    terminal::show(session.global.output, &list, || {
        let rows = moves.iter().map(|(step, change)| vec![step.clone(), change.clone()]).collect();
        report::table(&["STEP", "CHANGE"], rows, terminal::width()) + "\n" + &report::planned_changes(&sealed.plan)
    });
    let tried = match (is_tried, mode) {
        (true, _) => "the API server tried them",
        (false, DryRun::Client) => "skipped trying them (--dry-run=client)",
        (false, DryRun::Server) => "skipped trying them (this API server has no dry run)",
    };
    terminal::chatter_line(&format!("{} changes, none made; {tried}. Plan {}", moves.len(), sealed.digest.short()));
    Ok(0)
}

fn unforeseen(error: step::StepError) -> Failure {
    Failure::unexpected(&error)
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

fn may_run(inventory: &Inventory) -> Result<(), Failure> {
    let missing = &inventory.rights_missing;
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

async fn begin(
    session: &Session,
    home: Home,
    cluster: &Cluster,
    sealed: Sealed,
    inventory: &Inventory,
    until: Option<&str>,
) -> Ended {
    let progress = progress::Screen::start(&session.global)?;
    let voice = progress.voice();
    let (switch, stop) = Stop::new();
    tokio::spawn(progress::stop_on_signals(switch));
    let door = match engine::begin(&home, cluster, &sealed, inventory, stop, &voice).await {
        Ok(door) => door,
        Err(error) => {
            drop(voice);
            progress.end().await;
            return Err(error.into());
        }
    };
    drive(session, &sealed, door, until, voice, progress).await
}

/// Takes the steps, then tells the end and writes the report.
pub async fn drive(
    session: &Session,
    sealed: &Sealed,
    door: Door,
    until: Option<&str>,
    voice: Voice,
    progress: progress::Screen,
) -> Ended {
    let (directory, run) = (door.files.directory().to_owned(), door.state().run.clone());
    let ended = engine::run(&sealed.plan, until, door, &voice).await;
    drop(voice);
    progress.end().await;
    write_report(session, sealed, &directory);
    terminal::chatter_line(&format!(
        "Kept in    {} (plan.json, journal.jsonl, backup/, report.txt)",
        directory.display()
    ));
    match ended {
        Ok(Ending::Finished) => {
            terminal::chatter_line(&format!(
                "Calico {} runs on every node. Next: calico-upgrader verify {run}",
                sealed.plan.to
            ));
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

fn write_report(session: &Session, sealed: &Sealed, directory: &Path) {
    let written = || -> Result<(), Box<dyn std::error::Error>> {
        let (entries, _) = journal::read(&directory.join("journal.jsonl"))?;
        let account = report::run_report(sealed, &entries, &Progress::of(&entries)?);
        let files = crate::door::RunFiles::open(directory)?;
        files.write("report.txt", report::run_text(&account).as_bytes(), &session.faults())?;
        files.write("report.json", format!("{:#}\n", serde_json::to_value(&account)?).as_bytes(), &session.faults())?;
        Ok(())
    };
    if let Err(error) = written() {
        terminal::chatter_line(&format!("The report could not be written: {error}"));
    }
}
