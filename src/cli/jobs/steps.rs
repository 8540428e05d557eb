//! One step of a run as a Job of its own.

use super::{Asked, follow::Follower, outcome, replace, words};
use crate::{
    cli::{failure::Failure, install::NAME, run::Way},
    cluster::{Cluster, JobState},
    door::{self, NAMESPACE, Record, Stop},
    event::{Event, Voice},
};

/// The steps that can be Jobs of their own: policy conversion, and the copy of Calico's data.
pub const STEPS: [&str; 2] = ["convert-policies", "copy-resources"];

/// Has a Job take the step that comes next, and waits for its end. The lock of the cluster must be free.
///
/// Answers an exit code other than 0 if someone asked us to leave; the Job goes on then.
///
/// # Errors
/// The Job did not begin or did not end well, or the record does not say that the step is done.
pub async fn take_step(
    way: &Way<'_>,
    cluster: &Cluster,
    run: &str,
    step: &str,
    stop: &Stop,
    voice: &Voice,
) -> Result<u8, Failure> {
    let asked = Asked {
        name: format!("{NAME}-{step}"),
        words: words::of_step(way.verb, run, step)?,
        pods: way.pods,
        has_events: false,
    };
    let job = match cluster.job(NAMESPACE, &asked.name).await? {
        Some(job) if job.end.is_none() && is_of(&job, run) => job.live,
        Some(other) => {
            // Of another run, which is over, or of a try that failed.
            replace(cluster, &other.live).await?;
            asked.start(cluster).await?
        }
        None => asked.start(cluster).await?,
    };
    voice.tell(Event::Said { line: format!("Job        {NAMESPACE}/{} takes step {step}", asked.name) });
    let follower = Follower::new(cluster, job.clone(), asked.start_within()?, voice.clone(), stop.clone());
    let exit = follower.follow().await.1?;
    if exit != 0 {
        return Ok(exit);
    }
    if !Record::open(cluster, run).await?.state.steps_done.iter().any(|done| done == step) {
        return Err(outcome::failed(&asked.name, &format!("its pod ended with 0, and step {step} is not done")));
    }
    door::remove_job(cluster, &job).await?;
    Ok(0)
}

/// Waits for a Job that takes a step of the run already, whose pod may hold the lock. Answers as [`take_step`] does.
pub async fn join_step(way: &Way<'_>, cluster: &Cluster, run: &str, stop: &Stop, voice: &Voice) -> Result<u8, Failure> {
    for step in &way.course.others {
        let job = cluster.job(NAMESPACE, &format!("{NAME}-{step}")).await?;
        if job.is_some_and(|job| job.end.is_none() && is_of(&job, run)) {
            return take_step(way, cluster, run, step, stop, voice).await;
        }
    }
    Ok(0)
}

/// Answers whether a Job resumes that run.
fn is_of(job: &JobState, run: &str) -> bool {
    job.arguments.get(1).is_some_and(|named| named == run)
}
