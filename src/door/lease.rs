//! The lock of a cluster: one runner at a time.
//!
//! A Lease (before Kubernetes v1.14: a ConfigMap) says who runs; it is renewed in the background. It only tells whether the
//! holder lives: what keeps a cut-off runner from writing is the run record's compare-and-swap. A dead holder's lease is taken
//! over when it stayed unchanged for its full time by our own clock, or at once when the operating system proves the
//! death: the holder's name is in a local file whose `flock` only a living process can hold.

use std::{
    fs::File,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::record::NAMESPACE;
use crate::{
    cluster::{Cluster, ClusterError, Mode, Precondition},
    resource::{Document, Kind, Live, ObjectRef},
};

/// The name of the lock object.
pub const NAME: &str = "calico-upgrader";

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("{holder} runs an upgrade of this cluster (its lease was last renewed {renewed})")]
    Held { holder: String, renewed: String },
    #[error("cannot read or write the lock of the cluster")]
    Cluster(#[from] ClusterError),
}

/// The lock, held and renewed until it is released or dropped.
pub struct Lease {
    cluster: Cluster,
    holder: String,
    renewal: tokio::task::JoinHandle<()>,
    health: Arc<Health>,
    /// The local lock, held as long as the cluster's.
    _local: File,
}

struct Health {
    is_lost: AtomicBool,
    /// Milliseconds of the boot clock at the last good renewal, taken before it was sent.
    renewed_at: AtomicU64,
    duration: Duration,
    /// Why the last renewal was refused, where the store of the API server is full: then nobody else took the lock.
    refusal: Mutex<Option<ClusterError>>,
}

impl Lease {
    /// Takes the lock, waiting long enough to see that a silent holder is dead.
    ///
    /// `dead` are the names of earlier holders whose death the local lock proves.
    pub async fn acquire(
        cluster: &Cluster,
        holder: &str,
        dead: &[String],
        local: File,
        duration: Duration,
    ) -> Result<Self, LeaseError> {
        let (live, sent_at) = take(cluster, holder, dead, duration).await?;
        let health = Arc::new(Health {
            is_lost: AtomicBool::new(false),
            renewed_at: AtomicU64::new(sent_at),
            duration,
            refusal: Mutex::default(),
        });
        let renewal = tokio::spawn(keep_renewing(cluster.clone(), holder.to_owned(), live, Arc::clone(&health)));
        Ok(Self { cluster: cluster.clone(), holder: holder.to_owned(), renewal, health, _local: local })
    }

    /// Answers whether nobody else can have taken the lock yet.
    pub fn is_safe(&self) -> bool {
        let age = Duration::from_millis(boot_milliseconds() - self.health.renewed_at.load(Ordering::SeqCst));
        !self.is_lost() && age < self.health.duration * 2 / 3
    }

    /// Answers whether the lock is another's by now, or nobody's.
    pub fn is_lost(&self) -> bool {
        self.health.is_lost.load(Ordering::SeqCst)
    }

    /// Takes out why the lock could not be renewed, if a full store is why.
    pub fn refusal(&self) -> Option<ClusterError> {
        self.health.refusal.lock().expect("nothing panics while it holds the refusal").take()
    }

    /// Gives the lock back, if it is still ours.
    pub async fn release(self) -> Result<(), ClusterError> {
        self.renewal.abort();
        let reference = lock_reference(&self.cluster);
        let Some(live) = self.cluster.get(&reference).await? else { return Ok(()) };
        if holder_of(&live) != self.holder {
            return Ok(());
        }
        let body = lock_body(&self.cluster, "", self.health.duration);
        match self.cluster.store(&reference, &body, &unchanged(&live), Mode::Real).await {
            Ok(_) | Err(ClusterError::Conflict { .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }
}

impl Health {
    fn note(&self, refusal: Option<ClusterError>) {
        *self.refusal.lock().expect("nothing panics while it holds the refusal") = refusal;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Who holds the cluster's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub name: String,
    /// The time that the holder wrote, by its own clock.
    pub renewed: String,
    /// After this long without a renewal others may take the lock.
    pub duration: Duration,
}

/// Answers who holds the cluster's lock now.
pub async fn current_holder(cluster: &Cluster) -> Result<Option<Holder>, ClusterError> {
    let live = cluster.get(&lock_reference(cluster)).await?;
    let holder = |live: Live| Holder { name: holder_of(&live), renewed: renewed(&live), duration: duration_of(&live) };
    Ok(live.map(holder).filter(|holder| !holder.name.is_empty()))
}

/// Takes the lock object, and answers when that was sent, by the boot clock.
async fn take(cluster: &Cluster, holder: &str, dead: &[String], duration: Duration) -> Result<(Live, u64), LeaseError> {
    let reference = lock_reference(cluster);
    let body = lock_body(cluster, holder, duration);
    loop {
        let precondition = match cluster.get(&reference).await? {
            None => Precondition::Absent,
            Some(live) if holder_of(&live).is_empty() || dead.contains(&holder_of(&live)) => unchanged(&live),
            Some(live) if expires(cluster, &reference, &live).await? => unchanged(&live),
            Some(_) => continue,
        };
        let sent_at = boot_milliseconds();
        match cluster.store(&reference, &body, &precondition, Mode::Real).await {
            Ok(live) => return Ok((live, sent_at)),
            Err(ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. }) => refuse_if_held(cluster).await?,
            Err(other) => return Err(other.into()),
        }
    }
}

/// Looks at a lease for its full time and answers whether it stayed as it was. A sign of life is a refusal, unless it is that the
/// holder let go.
async fn expires(cluster: &Cluster, reference: &ObjectRef, first: &Live) -> Result<bool, LeaseError> {
    let duration = duration_of(first);
    let started = tokio::time::Instant::now();
    while started.elapsed() < duration {
        tokio::time::sleep(Duration::from_millis(500).min(duration / 4)).await;
        match cluster.get(reference).await? {
            Some(live) if live.resource_version == first.resource_version => {}
            _ => return refuse_if_held(cluster).await.map(|()| false),
        }
    }
    Ok(true)
}

async fn refuse_if_held(cluster: &Cluster) -> Result<(), LeaseError> {
    match current_holder(cluster).await? {
        Some(holder) => Err(LeaseError::Held { holder: holder.name, renewed: holder.renewed }),
        None => Ok(()),
    }
}

async fn keep_renewing(cluster: Cluster, holder: String, mut live: Live, health: Arc<Health>) {
    let reference = lock_reference(&cluster);
    loop {
        tokio::time::sleep(health.duration / 3).await;
        let sent_at = boot_milliseconds();
        let body = lock_body(&cluster, &holder, health.duration);
        match cluster.store(&reference, &body, &unchanged(&live), Mode::Real).await {
            Ok(renewed) => {
                live = renewed;
                health.renewed_at.store(sent_at, Ordering::SeqCst);
                health.note(None);
            }
            // The server may have stored a renewal whose answer was lost.
            Err(ClusterError::Conflict { .. } | ClusterError::NotFound { .. }) => match cluster.get(&reference).await {
                Ok(Some(theirs)) if theirs.uid == live.uid && holder_of(&theirs) == holder => live = theirs,
                Ok(_) => return health.is_lost.store(true, Ordering::SeqCst),
                Err(_) => {}
            },
            Err(error) => {
                tracing::warn!(%error, "the lease was not renewed");
                health.note(matches!(error, ClusterError::StoreFull { .. }).then_some(error));
            }
        }
    }
}

fn unchanged(live: &Live) -> Precondition {
    Precondition::Unchanged { uid: live.uid.clone(), resource_version: live.resource_version.clone() }
}

fn lock_reference(cluster: &Cluster) -> ObjectRef {
    let kind = if cluster.serves(Kind::Lease) { Kind::Lease } else { Kind::ConfigMap };
    ObjectRef::namespaced(kind, NAMESPACE, NAME)
}

fn lock_body(cluster: &Cluster, holder: &str, duration: Duration) -> Document {
    let seconds = duration.as_secs().max(1);
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let metadata = json!({"name": NAME, "namespace": NAMESPACE});
    let mut fields = json!({"leaseDurationSeconds": seconds, "renewTime": now});
    if !holder.is_empty() {
        fields["holderIdentity"] = json!(holder);
    }
    if cluster.serves(Kind::Lease) {
        return Document::new(json!({"metadata": metadata, "spec": fields}));
    }
    fields["leaseDurationSeconds"] = json!(seconds.to_string());
    Document::new(json!({"metadata": metadata, "data": fields}))
}

fn field(live: &Live, key: &str) -> Value {
    let document = live.document.value();
    let holder = document.get("spec").or(document.get("data"));
    holder.and_then(|fields| fields.get(key)).cloned().unwrap_or_default()
}

fn holder_of(live: &Live) -> String {
    field(live, "holderIdentity").as_str().unwrap_or_default().to_owned()
}

fn renewed(live: &Live) -> String {
    field(live, "renewTime").as_str().unwrap_or("at an unknown time").to_owned()
}

fn duration_of(live: &Live) -> Duration {
    let value = field(live, "leaseDurationSeconds");
    let seconds = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15).clamp(1, 600))
}

/// A clock that goes on while the machine sleeps, and that nobody can set.
fn boot_milliseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000
}
