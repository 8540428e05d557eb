//! The Job and the CronJob that run the program in the cluster.

use serde_json::{Value, json};

use super::{rbac, retries, templates};
use crate::{
    cli::{
        arguments::{InstallManifests, JobMode, Place},
        failure::Failure,
    },
    observe::Mode,
    version::Version,
};

/// The objects of a call.
pub fn objects(arguments: &InstallManifests, kubernetes: Version) -> Result<Vec<Value>, Failure> {
    let mut all = templates::ground(kubernetes);
    let job = job(arguments, kubernetes)?;
    all.push(match &arguments.schedule {
        Some(schedule) => cron_job(arguments, schedule, job, kubernetes),
        None => job,
    });
    Ok(all)
}

/// Refuses flags that do not go together.
pub fn check(arguments: &InstallManifests) -> Result<(), Failure> {
    let wrong = |what: &str| Err(Failure::usage(what));
    match (arguments.mode, &arguments.schedule) {
        (JobMode::CronJob, None) => return wrong("a CronJob needs --schedule, like --schedule \"0 22 * * 2,3\""),
        (JobMode::CronJob, Some(schedule)) => super::schedule::check(schedule)?,
        (JobMode::Job | JobMode::Plan | JobMode::Rollback, Some(_)) => {
            return wrong("--schedule is for --mode cronjob alone");
        }
        (JobMode::Job | JobMode::Plan | JobMode::Rollback, None) => {}
    }
    match (arguments.mode, &arguments.window) {
        (JobMode::Plan, Some(_)) => wrong("a plan changes nothing, so it needs no --window"),
        (JobMode::Rollback, Some(_)) => wrong("a way back waits for no --window"),
        (JobMode::Job | JobMode::CronJob, Some(_)) | (_, None) => Ok(()),
    }
}

/// Whose rights the pod has.
pub fn mode(arguments: &InstallManifests) -> Mode {
    match arguments.mode {
        JobMode::Job | JobMode::CronJob => Mode::Run,
        JobMode::Plan => Mode::Plan,
        JobMode::Rollback => Mode::Rollback,
    }
}

fn job(arguments: &InstallManifests, kubernetes: Version) -> Result<Value, Failure> {
    let mode = mode(arguments);
    let name = match arguments.mode {
        JobMode::Job | JobMode::CronJob => NAME,
        JobMode::Plan | JobMode::Rollback => rbac::account(mode),
    };
    let (image, place, words) = (&arguments.image, &arguments.place, words(arguments));
    let probes = [("CALICO_UPGRADER_PROBE_IMAGE", image.as_str())];
    let variables = if arguments.probes { &probes[..] } else { &[] };
    Template { name, mode, image, place, words, variables }.job(kubernetes)
}

/// The Job of a run.
pub const NAME: &str = "calico-upgrader";

/// What a Job of ours is made of, whoever makes it.
pub struct Template<'a> {
    pub name: &'a str,
    pub mode: Mode,
    pub image: &'a str,
    pub place: &'a Place,
    /// What the program is called with.
    pub words: Vec<String>,
    /// Further variables of the container.
    pub variables: &'a [(&'a str, &'a str)],
}

impl Template<'_> {
    /// The Job, for a release of Kubernetes.
    pub fn job(&self, kubernetes: Version) -> Result<Value, Failure> {
        let [mut job] = templates::objects("job.yaml");
        job["metadata"]["name"] = json!(self.name);
        job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"] = json!(retries::final_exits());
        let pod = &mut job["spec"]["template"]["spec"];
        pod["serviceAccountName"] = json!(rbac::account(self.mode));
        if let Some(claim) = &self.place.volume_claim {
            pod["volumes"][0] = json!({"name": "state", "persistentVolumeClaim": {"claimName": claim}});
        }
        let container = &mut pod["containers"][0];
        (container["image"], container["args"]) = (json!(self.image), json!(self.words));
        let env = container["env"].as_array_mut().expect("the file has variables");
        let address = self.place.api_server.as_deref().map(host_and_port).transpose()?;
        let address =
            address.map(|(host, port)| [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)]);
        let variables = address.into_iter().flatten().chain(self.variables.iter().copied());
        env.extend(variables.map(|(name, value)| json!({"name": name, "value": value})));
        templates::fit_job(&mut job, kubernetes);
        Ok(job)
    }
}

/// What the pod calls the program with. A pod that follows another goes on with its run.
fn words(arguments: &InstallManifests) -> Vec<String> {
    let own: &[&str] = match arguments.mode {
        JobMode::Job => &["run", "--yes", "--or-resume"],
        JobMode::CronJob => &["run", "--yes", "--scheduled"],
        JobMode::Plan => &["plan"],
        JobMode::Rollback => &["rollback", "--yes", "--or-resume"],
    };
    let window = arguments.window.iter().flat_map(|window| ["--window".to_owned(), window.clone()]);
    own.iter().map(|word| (*word).to_owned()).chain(window).chain(arguments.flags.iter().cloned()).collect()
}

fn host_and_port(address: &str) -> Result<(&str, &str), Failure> {
    let wrong = || Failure::usage(format!("`--api-server {address}` is no address: write it like 10.0.0.1:6443"));
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_good = !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0);
    is_good.then_some((host, port)).ok_or_else(wrong)
}

fn cron_job(arguments: &InstallManifests, schedule: &str, job: Value, kubernetes: Version) -> Value {
    let [mut cron_job] = templates::objects("cron-job.yaml");
    cron_job["apiVersion"] = json!(templates::cron_job_version(kubernetes));
    cron_job["spec"]["schedule"] = json!(schedule);
    cron_job["spec"]["jobTemplate"] = json!({"metadata": {"labels": job["metadata"]["labels"]}, "spec": job["spec"]});
    // Schedule and window in two time zones would miss each other twice a year.
    let zone = arguments.window.as_deref().and_then(|window| window.split_whitespace().last());
    if let Some(zone) = zone.filter(|zone| zone.contains('/') && templates::has_time_zones(kubernetes)) {
        cron_job["spec"]["timeZone"] = json!(zone);
    }
    cron_job
}
