//! What to tell of Jobs that do not begin, or do not end well.

use super::{NAMESPACE, named};
use crate::{
    cli::failure::Failure,
    cluster::{ClusterError, PodEnd},
    resource::ObjectRef,
};

pub fn no_account(object: &ObjectRef) -> Failure {
    Failure::new(3, "CU-E070", "what the pods of a Job need is not there")
        .evidence([format!("{object} is missing")])
        .why("without it there would be no pod, or one that may do nothing; nothing was changed")
        .now("calico-upgrader install rbac --mode run | kubectl apply -f -")
}

pub fn other_job(name: &str, theirs: &[String], ours: &[String]) -> Failure {
    Failure::new(8, "CU-E071", format!("Job `{name}` is there, and does something else"))
        .evidence([format!("it does:  {}", theirs.join(" ")), format!("asked for: {}", ours.join(" "))])
        .why("two Jobs would wait for each other's lock; nothing was changed")
        .now(format!("calico-upgrader status --watch; or end it: kubectl delete {}", named(name)))
}

pub fn stays(name: &str) -> Failure {
    Failure::new(4, "CU-E072", format!("Job `{name}` is over, and does not go away"))
        .why("another of that name cannot be made; nothing else was changed")
        .now(format!("kubectl get {} -o yaml", named(name)))
}

/// A pod that was never started leaves nothing half done. Its Job is removed, or an upgrade would begin whenever its image appears.
pub fn not_started(name: &str, pod: Option<&str>, trouble: &str, is_removed: bool) -> Failure {
    let what = match pod {
        Some(pod) => format!("pod `{pod}` of Job `{name}` did not start in time"),
        None => format!("Job `{name}` got no pod in time"),
    };
    let why = match is_removed {
        true => "nothing was changed, and the Job is removed: it would begin by itself once it could",
        false => "an earlier pod ran, so the Job stays and goes on by itself once it can",
    };
    let now = match is_removed {
        true => "an image that the nodes can pull, or room for a pod; then the same command again".to_owned(),
        false => format!("kubectl -n {NAMESPACE} describe pods -l job-name={name}; then the same command again"),
    };
    Failure::new(4, "CU-E073", what).evidence([trouble.to_owned()]).why(why).now(now)
}

/// The program in the last pod ended so; its own words say why.
pub fn ended(name: &str, pod: &str, end: &PodEnd, run: Option<&str>, heard: bool) -> Failure {
    let words = end.words.lines().filter(|line| !heard && !line.trim().is_empty() && !line.starts_with('{'));
    let now = run.map_or("calico-upgrader status".to_owned(), |run| format!("calico-upgrader status {run}"));
    Failure::new(end.exit, "CU-R020", format!("the program in pod `{pod}` of Job `{name}` ended with {}", end.exit))
        .evidence(words.map(str::to_owned))
        .why("what was done is recorded; the same command again goes on from there")
        .now(now)
}

/// No pod told how its program ended.
pub fn failed(name: &str, why: &str) -> Failure {
    Failure::new(4, "CU-R021", format!("Job `{name}` failed, and no pod tells how"))
        .evidence([why.to_owned()])
        .why("what was done is recorded; the same command again goes on from there")
        .now(format!("kubectl describe {}", named(name)))
}

pub fn removed(name: &str, run: Option<&str>) -> Failure {
    let now = run.map_or("the same command again".to_owned(), |run| format!("calico-upgrader resume {run}"));
    Failure::new(143, "CU-R022", format!("Job `{name}` was removed while it was followed"))
        .why("its pod ends after the change in hand, which is recorded; no node is half done by it for good")
        .now(format!("calico-upgrader status, then {now}"))
}

pub fn away(name: &str, error: &ClusterError) -> Failure {
    Failure::new(15, "CU-E015", error.to_string())
        .evidence(crate::cli::failure::causes(error))
        .why(format!("Job `{name}` goes on without being followed, or stopped where it can go on"))
        .now("the same command again follows it")
}
