//! The Job and the CronJob that run the program in the cluster.

use serde_json::{Value, json};

use super::{rbac, retries, templates};
use crate::{
    cli::{
        arguments::{InstallManifests, JobMode},
        failure::Failure,
    },
    observe::Mode,
    version::Version,
};

/// The objects of a call.
pub fn objects(arguments: &InstallManifests, kubernetes: Version) -> Result<Vec<Value>, Failure> {
    check(arguments)?;
    let mut all = Vec::from(templates::objects::<1>("namespace.yaml"));
    if templates::has_priority_classes(kubernetes) {
        all.extend(templates::objects::<1>("priority-class.yaml"));
    }
    let job = job(arguments, kubernetes)?;
    all.push(match &arguments.schedule {
        Some(schedule) => cron_job(arguments, schedule, job, kubernetes),
        None => job,
    });
    Ok(all)
}

fn check(arguments: &InstallManifests) -> Result<(), Failure> {
    let wrong = |what: &str| Err(Failure::usage(what));
    match (arguments.mode, &arguments.schedule) {
        (JobMode::CronJob, None) => return wrong("a CronJob needs --schedule, like --schedule \"0 22 * * 2,3\""),
        (JobMode::CronJob, Some(schedule)) => super::schedule::check(schedule)?,
        (JobMode::Job | JobMode::Plan, Some(_)) => return wrong("--schedule is for --mode cronjob alone"),
        (JobMode::Job | JobMode::Plan, None) => {}
    }
    if arguments.mode == JobMode::Plan && arguments.window.is_some() {
        return wrong("a plan changes nothing, so it needs no --window");
    }
    Ok(())
}

fn mode(arguments: &InstallManifests) -> Mode {
    match arguments.mode {
        JobMode::Job | JobMode::CronJob => Mode::Run,
        JobMode::Plan => Mode::Plan,
    }
}

fn job(arguments: &InstallManifests, kubernetes: Version) -> Result<Value, Failure> {
    let [mut job] = templates::objects("job.yaml");
    job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"] = json!(retries::final_exits());
    let pod = &mut job["spec"]["template"]["spec"];
    pod["serviceAccountName"] = json!(rbac::account(mode(arguments)));
    if let Some(claim) = &arguments.volume_claim {
        pod["volumes"][0] = json!({"name": "state", "persistentVolumeClaim": {"claimName": claim}});
    }
    let container = &mut pod["containers"][0];
    container["image"] = json!(arguments.image);
    container["args"] = json!(words(arguments));
    if let Some(address) = &arguments.api_server {
        let (host, port) = host_and_port(address)?;
        let variables = [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)];
        let env = container["env"].as_array_mut().expect("the file has variables");
        env.extend(variables.map(|(name, value)| json!({"name": name, "value": value})));
    }
    if arguments.mode == JobMode::Plan {
        job["metadata"]["name"] = json!(rbac::account(Mode::Plan));
    }
    templates::fit_job(&mut job, kubernetes);
    Ok(job)
}

/// What the pod calls the program with. A pod that follows another goes on with its run.
fn words(arguments: &InstallManifests) -> Vec<String> {
    let own: &[&str] = match arguments.mode {
        JobMode::Job | JobMode::CronJob => &["run", "--yes", "--or-resume"],
        JobMode::Plan => &["plan"],
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
