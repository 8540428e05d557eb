//! Jobs that the program starts itself: a whole run (`run --as-job`), or single steps of one (`--job-steps`).
//!
//! The Job is the one that `install manifests --mode job` prints, so its pods go on with what is there. A sealed plan goes along as Secrets
//! in the parts in which a run record keeps it, named by its digest: they are there before the Job, any number of pods can read them, and a
//! plan of any size fits, which a mounted Secret of 1 MiB would not let through. The pod holds the plan against the cluster as `run PLAN` does.
//!
//! Whoever follows a Job holds nothing: no lock, no epoch. What its pods write is shown as far as the server gives it, else the run record
//! is, and the exit code is that of the program in the last pod, from the pod's status. So the follower can be killed at any instant and
//! called again.
//!
//! A step as a Job is a pause and a resume. The runner stops before the step, as at the end of `--until`, and its lock is free then; a pod
//! resumes the run for that one step and stops after it; the runner takes the run up again, by the ordinary way with a new epoch. No third
//! state exists between the two, so a kill of either side at any instant is one that `resume` knows already, with Jobs or without.

mod follow;
mod outcome;
mod relay;
mod steps;
mod words;

use std::time::Duration;

use super::{
    Ended,
    arguments::{Output, Pods, RightsFor, Run},
    failure::Failure,
    install::{NAME, Template},
    progress,
    run::{approve, check_cluster, may, read_saved},
    session::{Session, seconds},
    terminal,
};
use crate::{
    cluster::{Cluster, JobState},
    door::{self, NAMESPACE, Record, RunPhase, RunState, Stop},
    engine::{self, StartError},
    notice::Listeners,
    observe::{self, ACCOUNT_OF_RUNS, Mode},
    plan::{Purpose, Sealed},
    resource::{Document, Kind, Live, ObjectRef},
};
use follow::Follower;

pub use steps::{STEPS, join_step, take_step};

/// A Job that is asked for.
struct Asked<'a> {
    name: String,
    words: Vec<String>,
    pods: &'a Pods,
    /// Whether its pods write events for programs, instead of lines for people.
    has_events: bool,
}

/// Events come as lines of JSON, and are shown here as those of a run on this machine.
const WRITES_EVENTS: [(&str, &str); 2] = [("CALICO_UPGRADER_EVENTS", "-"), ("CALICO_UPGRADER_PROGRESS", "none")];

impl Asked<'_> {
    fn job(&self, cluster: &Cluster) -> Result<Document, Failure> {
        let image = self.pods.image.as_deref().ok_or_else(|| Failure::usage("a Job needs --image NAME:TAG"))?;
        let variables: &[(&str, &str)] = if self.has_events { &WRITES_EVENTS } else { &[] };
        let (name, place, words) = (self.name.as_str(), &self.pods.place, self.words.clone());
        let template = Template { name, mode: Mode::Run, image, place, words, variables };
        Ok(Document::new(template.job(cluster.kubernetes)?))
    }

    /// Starts the Job; one of that name must be gone by then.
    async fn start(&self, cluster: &Cluster) -> Result<Live, Failure> {
        match door::start_job(cluster, self.job(cluster)?).await {
            Err(crate::cluster::ClusterError::AlreadyExists { .. }) => {
                Err(outcome::other_job(&self.name, &[], &self.words))
            }
            started => Ok(started?),
        }
    }

    fn start_within(&self) -> Result<Duration, Failure> {
        Ok(Duration::from_secs(seconds("--start-within", &self.pods.start_within)?))
    }
}

/// Starts a run as a Job, or finds it, and follows it to its end.
pub async fn run_as_job(session: &Session, arguments: &Run) -> Ended {
    super::gates::read(&arguments.gates)?;
    let saved = read_saved(arguments)?;
    let asked =
        Asked { name: NAME.to_owned(), words: words::of_run(saved.as_ref())?, pods: &arguments.pods, has_events: true };
    let start_within = asked.start_within()?;
    let cluster = session.connect().await?;
    check_ground(&cluster).await?;
    if let Some(sealed) = &saved {
        check_cluster(&observe::cluster_uid(&cluster).await?, &cluster.server, sealed)?;
    }
    let job = match cluster.job(NAMESPACE, NAME).await? {
        Some(job) if job.end.is_none() => found(&asked, job)?,
        over => begin(session, arguments, &cluster, &asked, saved.as_ref(), over).await?,
    };
    let screen = progress::Screen::start(&session.global, Listeners::default())?;
    let (switch, stop) = Stop::new();
    tokio::spawn(progress::stop_on_signals(switch, "Leaving; the Job goes on."));
    let follower = Follower::new(&cluster, job, start_within, screen.voice(), stop);
    let (run, ended) = follower.follow().await;
    screen.end().await;
    finish(session, &cluster, saved.as_ref(), run.as_deref(), ended).await
}

/// What is left behind once the Job is over: the parts of the plan go, and the Job stays to be looked at.
async fn finish(
    session: &Session,
    cluster: &Cluster,
    saved: Option<&Sealed>,
    run: Option<&str>,
    ended: Ended,
) -> Ended {
    // Pods that are to come need the plan; so they may where nobody answers.
    let job = match cluster.job(NAMESPACE, NAME).await {
        Ok(job) if job.as_ref().is_none_or(|job| job.end.is_some()) => job,
        Ok(_) | Err(_) => return ended,
    };
    match (saved, run) {
        (Some(sealed), _) => door::clear_handed_over(cluster, &sealed.digest).await?,
        (None, Some(run)) if session.global.output == Output::Json => {
            let sealed = Record::open(cluster, run).await?.plan().await?;
            terminal::data_by(|out| sealed.write(out));
        }
        (None, _) => {}
    }
    if job.is_some() {
        terminal::chatter_line(&format!("Left       Job {NAMESPACE}/{NAME} and the logs of its pods, to be looked at"));
    }
    ended
}

/// What must be there before a Job is: our rights, and the account that its pods have.
pub async fn check_ground(cluster: &Cluster) -> Result<(), Failure> {
    may(&observe::missing_for_jobs(cluster).await?, Some(RightsFor::AsJob))?;
    let needed = [
        ObjectRef::cluster(Kind::Namespace, NAMESPACE),
        ObjectRef::namespaced(Kind::ServiceAccount, NAMESPACE, ACCOUNT_OF_RUNS),
        ObjectRef::cluster(Kind::PriorityClass, NAME),
    ];
    for object in needed {
        if cluster.serves(object.kind) && cluster.get(&object).await?.is_none() {
            return Err(outcome::no_account(&object));
        }
    }
    Ok(())
}

/// A Job that is under way is followed, if it does what is asked.
fn found(asked: &Asked<'_>, job: JobState) -> Result<Live, Failure> {
    if job.arguments != asked.words {
        return Err(outcome::other_job(&asked.name, &job.arguments, &asked.words));
    }
    if asked.pods.image.as_ref().is_some_and(|image| *image != job.image) {
        terminal::chatter_line(&format!("Image      {} as the Job has it, which is under way", job.image));
    }
    terminal::chatter_line(&format!("Job        {} is under way; following it", asked.name));
    Ok(job.live)
}

/// Asks, hands the plan over and starts the Job in place of one that is over.
async fn begin(
    session: &Session,
    arguments: &Run,
    cluster: &Cluster,
    asked: &Asked<'_>,
    saved: Option<&Sealed>,
    over: Option<JobState>,
) -> Result<Live, Failure> {
    let open = engine::newest_unfinished(cluster).await?;
    check_open(open.as_ref(), saved)?;
    match saved {
        Some(sealed) if session.global.output == Output::Json => terminal::data_by(|out| sealed.write(out)),
        Some(sealed) => terminal::chatter_line(&format!(
            "Plan       {} · {}",
            sealed.digest.short(),
            sealed.plan.purpose.words(&sealed.plan.from.to_string(), &sealed.plan.to.to_string())
        )),
        None => terminal::chatter_line("Plan       made by the Job, where it runs"),
    }
    approve(arguments.consent.yes, &format!("Run this as a Job on {}?", cluster.server))?;
    if let Some(RunState { run, phase: RunPhase::Stopped { exit: 11, .. }, .. }) = &open {
        door::end_pause(cluster, run).await?;
    }
    if let Some(sealed) = saved {
        door::hand_over(cluster, sealed).await?;
    }
    if let Some(over) = over {
        replace(cluster, &over.live).await?;
    }
    let started = asked.start(cluster).await?;
    terminal::chatter_line(&format!("Job        {NAMESPACE}/{} is started", asked.name));
    Ok(started)
}

/// A run that is half done goes on in the Job, if it is an upgrade by that plan.
fn check_open(open: Option<&RunState>, saved: Option<&Sealed>) -> Result<(), Failure> {
    let Some(state) = open else { return Ok(()) };
    let is_meant = state.purpose == Purpose::Upgrade && saved.is_none_or(|sealed| sealed.digest == state.plan);
    let run = state.run.clone();
    if is_meant { Ok(()) } else { Err(StartError::Unfinished { run }.into()) }
}

/// Removes a Job that is over, and waits until its name is free.
async fn replace(cluster: &Cluster, live: &Live) -> Result<(), Failure> {
    const GONE_WITHIN: Duration = Duration::from_secs(60);
    door::remove_job(cluster, live).await?;
    let started = tokio::time::Instant::now();
    while cluster.job(NAMESPACE, &live.name).await?.is_some_and(|job| job.live.uid == live.uid) {
        if started.elapsed() > GONE_WITHIN {
            return Err(outcome::stays(&live.name));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// The name of a Job as commands take it.
fn named(name: &str) -> String {
    format!("-n {NAMESPACE} job/{name}")
}
