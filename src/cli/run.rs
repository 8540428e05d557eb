use std::{borrow::Cow, path::Path};

use super::{
    Ended,
    arguments::{Pods, ReportFormat, RightsFor, Run},
    dry_run,
    failure::Failure,
    gates, jobs,
    listen::listeners,
    plan, progress, scheduled,
    session::Session,
    terminal,
};
use crate::{
    cluster::Cluster,
    door::{self, Door, Stop},
    engine::{self, Course, Ending, Home, Until},
    event::{Event, Voice},
    inventory::Inventory,
    observe,
    plan::{ObjectChange, Plan, Purpose, Sealed},
    report, runbook,
};

pub async fn run(session: &Session, arguments: &Run) -> Ended {
    if arguments.as_job {
        return jobs::run_as_job(session, arguments).await;
    }
    match arguments.scheduled || arguments.or_resume {
        true => scheduled::run(session, arguments).await,
        false => run_now(session, arguments).await,
    }
}

/// Plans, asks and runs, or runs a saved plan.
pub async fn run_now(session: &Session, arguments: &Run) -> Ended {
    let mut home = session.home(&arguments.lease.lease_duration, arguments.abandon.clone())?;
    home.gate = gates::read(&arguments.gates)?;
    let saved = read_saved(arguments)?;
    let cluster = session.connect_with_data().await?;
    let saved = match &arguments.handed_over {
        Some(digest) => Some(door::handed_over(&cluster, digest).await?),
        None => saved,
    };
    may_start_jobs(&cluster, arguments.pods.job_steps).await?;
    if arguments.trial.dry_run.is_none() {
        gates::check_now(&home, &cluster).await?;
    }
    let (sealed, inventory) = match saved {
        Some(saved) => confirm_unchanged(session, &cluster, saved).await?,
        None => plan::make(session, &cluster, &arguments.planning).await?,
    };
    if let Some(mode) = arguments.trial.dry_run {
        return dry_run::dry_run(session, &cluster, &sealed, mode).await;
    }
    gates::check_length(&home, &sealed.plan, &[])?;
    gates::check_probes(&home, &sealed.plan)?;
    plan::show(session, &sealed, &inventory);
    if sealed.plan.is_empty() {
        return Ok(0);
    }
    check_phase(&sealed, arguments.until.as_deref())?;
    may(&inventory.rights_missing, Some(RightsFor::Run))?;
    may(&observe::missing_for(&cluster, &sealed.plan).await?, Some(RightsFor::Run))?;
    // Where someone else approves, the run begins so that there is something to approve, and waits at once.
    let is_decided = arguments.consent.yes || sealed.plan.request.needs_approval;
    approve(is_decided, &format!("Run this plan on {}?", sealed.plan.cluster.server))?;
    let way = Way::new(&home, "run", arguments.until.as_deref(), &arguments.pods);
    begin(session, &way, &cluster, sealed, &inventory).await
}

/// Reads the plan that was named, which takes no further choices.
pub fn read_saved(arguments: &Run) -> Result<Option<Sealed>, Failure> {
    let saved = arguments.plan.as_deref().map(read_plan).transpose()?;
    match saved.as_ref().and_then(|_| arguments.planning.first_flag()) {
        Some(flag) => {
            let what = format!("a saved plan runs as it was reviewed: {flag} can only be given to `plan`");
            Err(Failure::usage(what))
        }
        None => Ok(saved),
    }
}

/// Steps that are to be Jobs need the rights for them before anything begins.
pub async fn may_start_jobs(cluster: &Cluster, has_jobs: bool) -> Result<(), Failure> {
    if has_jobs { jobs::check_ground(cluster).await } else { Ok(()) }
}

/// Reads a saved plan and checks its seal.
pub fn read_plan(path: &Path) -> Result<Sealed, Failure> {
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
    let inventory = session.look(cluster, &catalogue, saved.plan.request.supplied.as_ref()).await?;
    check_cluster(&inventory.cluster.uid, &inventory.cluster.server, &saved)?;
    let mut again = crate::plan::make(&inventory, &catalogue, &saved.plan.runbook, &saved.plan.request)?;
    // A pod reaches the same API server by another address.
    again.cluster.server.clone_from(&saved.plan.cluster.server);
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

/// A plan is of one cluster, whatever its address.
pub fn check_cluster(uid: &str, server: &str, saved: &Sealed) -> Result<(), Failure> {
    if uid == saved.plan.cluster.uid {
        return Ok(());
    }
    Err(Failure::new(13, "CU-E013", "the plan is of another cluster")
        .evidence([format!("plan: {}; here: {server}", saved.plan.cluster.server)])
        .why("nothing was changed")
        .now("check the context"))
}

pub fn check_phase(sealed: &Sealed, until: Option<&str>) -> Result<(), Failure> {
    let Some(until) = until else { return Ok(()) };
    let mut phases: Vec<&str> = sealed.plan.steps.iter().map(|step| step.phase.as_str()).collect();
    phases.dedup();
    if phases.iter().any(|phase| phase.eq_ignore_ascii_case(until)) {
        return Ok(());
    }
    Err(Failure::usage(format!("the plan has no phase `{until}`; it has: {}", phases.join(", "))))
}

/// Refuses to begin what would stop midway for want of a right. What people alone do has no account that is printed.
pub fn may(missing: &[String], account: Option<RightsFor>) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    let printed = account.map_or("none is printed for it".to_owned(), printed_by);
    let failure = Failure::new(15, "CU-C006", format!("{} rights that a run needs are missing", missing.len()));
    let now = format!("use an account that may do the above; {printed}");
    Err(failure.evidence(missing.iter().cloned()).why("it would stop midway; nothing was changed").now(now))
}

fn printed_by(account: RightsFor) -> String {
    let of_etcd = if account == RightsFor::AsJob { "" } else { ", for etcd with --datastore etcdv2" };
    format!("calico-upgrader install rbac --mode {} prints one{of_etcd}", account.name())
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

/// How a runner goes on: from where, how far, and what pods do for it.
pub struct Way<'a> {
    pub home: &'a Home,
    /// How this program was called.
    pub verb: &'a str,
    pub course: Course,
    pub pods: &'a Pods,
}

impl<'a> Way<'a> {
    pub fn new(home: &'a Home, verb: &'a str, until: Option<&str>, pods: &'a Pods) -> Self {
        let others = if pods.job_steps { jobs::STEPS.map(str::to_owned).to_vec() } else { Vec::new() };
        Self { home, verb, course: Course { until: until.map(|phase| Until::Phase(phase.to_owned())), others }, pods }
    }
}

async fn begin(session: &Session, way: &Way<'_>, cluster: &Cluster, sealed: Sealed, inventory: &Inventory) -> Ended {
    let started = start(session, way.home, cluster, &sealed, inventory, None).await?;
    drive(session, &sealed, started, way).await
}

/// Takes all steps of a plan here, without a stop between them.
pub async fn drive_to_the_end(session: &Session, home: &Home, sealed: &Sealed, started: Started) -> Ended {
    drive(session, sealed, started, &Way::new(home, "", None, &Pods::default())).await
}

/// A run that has begun and has taken no step yet.
pub struct Started {
    pub door: Door,
    pub voice: Voice,
    pub progress: progress::Screen,
}

/// Begins a run; `lines` is the backup that the plan names lines of.
pub async fn start(
    session: &Session,
    home: &Home,
    cluster: &Cluster,
    sealed: &Sealed,
    inventory: &Inventory,
    lines: Option<&Path>,
) -> Result<Started, Failure> {
    let progress = progress::Screen::start(&session.global, listeners(session, cluster, &sealed.plan, None).await?)?;
    let voice = progress.voice();
    let (switch, stop) = Stop::new();
    tokio::spawn(progress::stop_on_signals(switch, progress::AFTER_THIS_CHANGE));
    match engine::begin(home, cluster, sealed, inventory, lines, stop, &voice).await {
        Ok(door) => Ok(Started { door, voice, progress }),
        Err(error) => {
            drop(voice);
            progress.end().await;
            Err(error.into())
        }
    }
}

/// Takes the steps, then tells the end and writes the report.
pub async fn drive(session: &Session, sealed: &Sealed, started: Started, way: &Way<'_>) -> Ended {
    let Started { door, voice, progress } = started;
    let (directory, run) = (door.files.directory().to_owned(), door.state().run.clone());
    let ended = take_steps(session, sealed, door, way, &voice).await;
    let held = match &ended {
        Ok(Ending::Held(hold)) => gates::held(hold, &run),
        Ok(_) | Err(_) => None,
    };
    if let Some(failure) = ended.as_ref().err().or(held.as_ref()) {
        voice.tell(Event::Failed { run: run.clone(), exit: failure.exit, code: failure.code.to_owned() });
    }
    drop(voice);
    progress.end().await;
    write_report(session, sealed, &directory);
    terminal::chatter_line(&format!(
        "Kept in    {} (plan.json, journal.jsonl, backup/, report.html)",
        directory.display()
    ));
    match ended {
        Ok(Ending::Finished) => {
            tell_end(&sealed.plan, &run);
            Ok(0)
        }
        // Whoever hands over goes on after it; else a person was asked to.
        Ok(Ending::AsFarAsNamed | Ending::HandedOver { .. }) => Ok(0),
        Ok(Ending::Held(hold)) => held.map_or_else(|| Ok(stopped(&run, hold.exit())), Err),
        Ok(Ending::Interrupted { exit }) => Ok(stopped(&run, exit)),
        Err(failure) => Err(failure),
    }
}

/// Takes the steps. Those that are for Jobs are waited for, and the run is taken up again after each.
async fn take_steps(
    session: &Session,
    sealed: &Sealed,
    mut door: Door,
    way: &Way<'_>,
    voice: &Voice,
) -> Result<Ending, Failure> {
    let (cluster, stop, run) = (door.cluster.clone(), door.stop.clone(), door.state().run.clone());
    loop {
        door.own_node = session.own_node();
        let step = match engine::run(&sealed.plan, &way.course, door, voice).await? {
            Ending::HandedOver { step } => step,
            ended => return Ok(ended),
        };
        match jobs::take_step(way, &cluster, &run, &step, &stop, voice).await? {
            0 => {
                let found = engine::find(way.home, &cluster, &run).await?;
                door = engine::go_on(way.home, &cluster, found, stop.clone(), voice).await?.1;
            }
            exit => return Ok(Ending::Interrupted { exit }),
        }
    }
}

fn stopped(run: &str, exit: u8) -> u8 {
    terminal::chatter_line(&format!("Stopped. Next: calico-upgrader resume {run}"));
    exit
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
    plan.findings.iter().filter(|finding| finding.is_for_after()).for_each(|finding| {
        terminal::chatter_line(&report::clean(&format!("Then       {} ({})", finding.now, finding.id)));
    });
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

fn write_report(session: &Session, sealed: &Sealed, directory: &Path) {
    let formats =
        [("report.txt", ReportFormat::Text), ("report.json", ReportFormat::Json), ("report.html", ReportFormat::Html)];
    let written = || -> Result<(), Failure> {
        let account = report::run_report(&super::report::remains_of(Cow::Borrowed(sealed), directory)?);
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
