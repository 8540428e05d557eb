//! Follows a Job to its end.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{NAMESPACE, outcome, relay::Relay};
use crate::{
    cli::{
        Ended,
        failure::Failure,
        install::{final_exits, has_pod_failure_policies},
        status,
    },
    cluster::{Cluster, ClusterError, JobEnd, JobPod, JobState},
    door::{self, RunState, Stop},
    event::{Event, Voice},
    resource::Live,
};

/// How often a Job is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long an API server that does not answer is waited for.
const AWAY_LIMIT: Duration = Duration::from_secs(600);

/// Whoever follows a Job, and what was seen of it so far.
pub struct Follower<'a> {
    cluster: &'a Cluster,
    job: Live,
    start_within: Duration,
    voice: Voice,
    stop: Stop,
    relay: Option<Relay>,
    /// Pods whose end was told.
    told: BTreeSet<String>,
    last: Option<JobPod>,
    has_run: bool,
    has_log: bool,
    waits: Option<(Instant, String)>,
    away: Option<Instant>,
    state: Option<RunState>,
}

/// A Job with its pods, and the newest run.
type Look = Option<(JobState, Vec<JobPod>, Option<RunState>)>;

impl<'a> Follower<'a> {
    pub fn new(cluster: &'a Cluster, job: Live, start_within: Duration, voice: Voice, stop: Stop) -> Self {
        Self {
            cluster,
            job,
            start_within,
            voice,
            stop,
            relay: None,
            told: BTreeSet::new(),
            last: None,
            has_run: false,
            has_log: false,
            waits: None,
            away: None,
            state: None,
        }
    }

    /// Follows until the Job ends, or until someone asks to leave. Answers the run that its pods took, and how that ended.
    pub async fn follow(mut self) -> (Option<String>, Ended) {
        let ended = loop {
            let (cluster, name, uid) = (self.cluster.clone(), self.job.name.clone(), self.job.uid.clone());
            let mut stop = self.stop.clone();
            let seen = tokio::select! {
                exit = stop.wait() => break Ok(self.leave(exit)),
                seen = look(&cluster, &name, &uid) => seen,
            };
            match self.take(seen).await {
                Ok(Some(exit)) => break Ok(exit),
                Ok(None) => {}
                Err(failure) => break Err(failure),
            }
            tokio::select! {
                exit = stop.wait() => break Ok(self.leave(exit)),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        };
        (self.state.map(|state| state.run), ended)
    }

    fn say(&self, line: impl Into<String>) {
        self.voice.tell(Event::Said { line: line.into() });
    }

    fn run(&self) -> Option<&str> {
        self.state.as_ref().map(|state| state.run.as_str())
    }

    /// The run that the pods of the Job took, also where it was removed before it was looked at with that run.
    async fn run_of_job(&self) -> Option<String> {
        if let Some(run) = self.run() {
            return Some(run.to_owned());
        }
        let newest = door::runs(self.cluster).await.ok()?.pop()?;
        newest.holder.starts_with(&format!("{}-", self.job.name)).then_some(newest.run)
    }

    fn leave(&self, exit: u8) -> u8 {
        let run = self.run().unwrap_or_default();
        self.say(format!("Job {} goes on by itself.", self.job.name));
        self.say(format!("Watch      calico-upgrader status {run} --watch"));
        self.say(format!("Pause      calico-upgrader pause {run}"));
        self.say("Go on      the same command again, which follows the Job, or starts the next one after a pause");
        exit
    }

    async fn take(&mut self, seen: Result<Look, ClusterError>) -> Result<Option<u8>, Failure> {
        let (job, pods, newest) = match seen {
            Ok(Some(look)) => look,
            Ok(None) => return Err(outcome::removed(&self.job.name, self.run_of_job().await.as_deref())),
            Err(error) if error.is_worth_a_retry() => return self.bear_with(&error).map(|()| None),
            Err(error) => return Err(error.into()),
        };
        if self.away.take().is_some() {
            self.say("The API server answers again.");
        }
        self.listen(&pods);
        self.note_state(newest, &pods);
        self.note_ends(&pods).await;
        match job.end {
            Some(JobEnd::Complete) => Ok(Some(0)),
            Some(JobEnd::Failed { why }) => Err(self.failure(&why)),
            None if self.is_for_people() => {
                door::remove_job(self.cluster, &self.job).await?;
                self.say("The Job is removed: this Kubernetes would make another pod, which would end the same way.");
                Err(self.failure(""))
            }
            None => self.wait_for_start(pods.last()).await.map(|()| None),
        }
    }

    fn bear_with(&mut self, error: &ClusterError) -> Result<(), Failure> {
        if self.away.is_none() {
            self.say(format!("{error}; the Job goes on by itself, looking again"));
        }
        let since = *self.away.get_or_insert_with(Instant::now);
        if since.elapsed() < AWAY_LIMIT { Ok(()) } else { Err(outcome::away(&self.job.name, error)) }
    }

    /// Shows what the newest pod that runs, or ran, writes.
    fn listen(&mut self, pods: &[JobPod]) {
        let Some(pod) = pods.iter().rev().find(|pod| pod.has_run) else { return };
        self.has_run = true;
        if self.relay.as_ref().is_none_or(|relay| relay.pod != pod.name) && !self.told.contains(&pod.name) {
            self.say(format!("Pod        {} on {}", pod.name, pod.node));
            self.relay = Some(Relay::start(self.cluster, &pod.name, &self.voice));
        }
        self.has_log |= self.relay.as_ref().is_some_and(Relay::is_heard);
    }

    /// Where no log is given, the run record is shown with each change.
    fn note_state(&mut self, newest: Option<RunState>, pods: &[JobPod]) {
        let is_ours = |state: &RunState| pods.iter().any(|pod| state.holder.starts_with(&format!("{}@", pod.name)));
        let Some(state) = newest.filter(is_ours) else { return };
        if !self.has_log && self.state.as_ref() != Some(&state) {
            status::describe(&state).lines().for_each(|line| self.say(line));
        }
        self.state = Some(state);
    }

    async fn note_ends(&mut self, pods: &[JobPod]) {
        for pod in pods {
            let Some(end) = pod.end.as_ref().filter(|_| !self.told.contains(&pod.name)) else { continue };
            if let Some(relay) = self.relay.as_mut().filter(|relay| relay.pod == pod.name) {
                relay.drain().await;
                self.has_log |= relay.is_heard();
            }
            self.say(format!("Pod        {} ended with {}", pod.name, end.exit));
            self.told.insert(pod.name.clone());
            self.last = Some(pod.clone());
        }
    }

    /// Before pods had a failure policy, a Job makes another pod whatever the last one ended with.
    fn is_for_people(&self) -> bool {
        let exit = self.last.as_ref().and_then(|pod| Some(pod.end.as_ref()?.exit));
        !has_pod_failure_policies(self.cluster.kubernetes) && exit.is_some_and(|exit| final_exits().contains(&exit))
    }

    fn failure(&self, why: &str) -> Failure {
        let last = self.last.as_ref().and_then(|pod| Some((pod, pod.end.as_ref()?)));
        match last {
            Some((pod, end)) if end.exit != 0 => {
                outcome::ended(&self.job.name, &pod.name, end, self.run(), self.has_log)
            }
            Some(_) | None => outcome::failed(&self.job.name, why),
        }
    }

    /// Says why the newest pod does not start, and gives up after a time.
    async fn wait_for_start(&mut self, newest: Option<&JobPod>) -> Result<(), Failure> {
        let trouble = match newest {
            // Between two pods a Job takes its time.
            Some(pod) if pod.has_run || pod.end.is_some() => {
                self.waits = None;
                return Ok(());
            }
            Some(pod) => pod.trouble.clone().unwrap_or_else(|| "it is not placed, or its image is pulled".to_owned()),
            None if self.has_run => return Ok(()),
            None => "no pod was made".to_owned(),
        };
        let (since, told) = self.waits.take().unwrap_or((Instant::now(), String::new()));
        if told != trouble && newest.is_some_and(|pod| pod.trouble.is_some()) {
            self.say(format!("Pod        {}: {trouble}", newest.map_or("", |pod| &pod.name)));
        }
        self.waits = Some((since, trouble.clone()));
        if since.elapsed() <= self.start_within {
            return Ok(());
        }
        if !self.has_run {
            door::remove_job(self.cluster, &self.job).await?;
        }
        let pod = newest.map(|pod| pod.name.as_str());
        Err(outcome::not_started(&self.job.name, pod, &trouble, !self.has_run))
    }
}

async fn look(cluster: &Cluster, name: &str, uid: &str) -> Result<Look, ClusterError> {
    let Some(job) = cluster.job(NAMESPACE, name).await?.filter(|job| job.live.uid == uid) else { return Ok(None) };
    let pods = cluster.job_pods(NAMESPACE, uid).await?;
    let newest = match door::runs(cluster).await {
        Ok(mut runs) => runs.pop(),
        Err(door::RecordError::Cluster(error)) => return Err(error),
        Err(_) => None,
    };
    Ok(Some((job, pods, newest)))
}
