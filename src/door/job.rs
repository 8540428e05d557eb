//! What a Job of ours is given, and the Job itself: a sealed plan in parts, as the run record keeps it, and whether a paused run may go on.

use super::{
    Faults, RunPhase,
    parts::{packed, plan_of, put_parts},
    record::{NAMESPACE, Record, RecordError},
};
use crate::{
    cluster::{Cluster, ClusterError, Mode, Owned, Precondition},
    plan::Sealed,
    resource::{Digest, Document, Kind, Live, ObjectRef},
};

/// Hands a plan to whoever runs it in the cluster. Its parts are those of a run that was never recorded, so `complete` sweeps what is
/// left of them. A plan that was handed over before is the same one: its name is its digest.
///
/// # Errors
/// A part cannot be written.
pub async fn hand_over(cluster: &Cluster, sealed: &Sealed) -> Result<(), RecordError> {
    let name = sealed.digest.short();
    let mut text = Vec::new();
    sealed.write(&mut text).expect("memory can be written to");
    put_parts(cluster, &name, "plan", packed(text.as_slice()), &Faults::default()).await.map(drop)
}

/// Reads a plan that was handed over, and checks its seal and its digest.
///
/// # Errors
/// It is not there, or is not the plan that was meant.
pub async fn handed_over(cluster: &Cluster, digest: &str) -> Result<Sealed, RecordError> {
    let name = short(digest);
    let damaged = |what: &str| RecordError::Damaged { run: name.to_owned(), what: what.to_owned() };
    let parts = parts_of(cluster, name).await?.len();
    if parts == 0 {
        return Err(damaged("the plan that was handed over is not there"));
    }
    let sealed = plan_of(cluster, name, parts).await?;
    if sealed.digest.text() == digest { Ok(sealed) } else { Err(damaged("the plan is another than was handed over")) }
}

/// Takes away the parts of a plan that was handed over: the run has its own by now, or never began.
pub async fn clear_handed_over(cluster: &Cluster, digest: &Digest) -> Result<(), ClusterError> {
    for part in parts_of(cluster, &digest.short()).await? {
        remove(cluster, Kind::Secret, &part).await?;
    }
    Ok(())
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

async fn parts_of(cluster: &Cluster, name: &str) -> Result<Vec<Live>, ClusterError> {
    let selector = format!("calico-upgrader/part=plan,calico-upgrader/run={name}");
    cluster.list_selected(Kind::Secret, Some(NAMESPACE), &selector).await
}

/// Starts a Job in our namespace.
///
/// # Errors
/// `AlreadyExists`: somebody was faster.
pub async fn start_job(cluster: &Cluster, job: Document) -> Result<Live, ClusterError> {
    let name = job.value()["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let reference = ObjectRef::namespaced(Kind::Job, NAMESPACE, name);
    cluster.store(&reference, &job, &Precondition::Absent, Mode::Real).await
}

/// Removes a Job with its pods, if it is still the one that was read.
pub async fn remove_job(cluster: &Cluster, live: &Live) -> Result<(), ClusterError> {
    remove(cluster, Kind::Job, live).await
}

/// The status of a Job changes all the time, so the uid alone tells that it is the same.
async fn remove(cluster: &Cluster, kind: Kind, live: &Live) -> Result<(), ClusterError> {
    let reference = ObjectRef::namespaced(kind, NAMESPACE, &live.name);
    match cluster.delete(&reference, &live.uid, "", Owned::Deleted, Mode::Real).await {
        Ok(()) | Err(ClusterError::NotFound { .. } | ClusterError::Conflict { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}

/// Lets a run that a person paused go on: whoever goes on by itself leaves it alone else.
pub async fn end_pause(cluster: &Cluster, run: &str) -> Result<(), RecordError> {
    let mut record = Record::open(cluster, run).await?;
    let why = "someone asked a Job to go on".to_owned();
    record
        .update(|state| {
            if let RunPhase::Stopped { exit: 11, .. } = state.phase {
                state.phase = RunPhase::Stopped { exit: 0, why: why.clone() };
            }
        })
        .await
}
