use serde_json::Value;

use crate::{
    cluster::{Applied, Cluster, ClusterError, Mode, Owned, Precondition},
    journal::{ActionKind, Intent, Outcome},
    resource::{Difference, Digest, Document, Kind, Live, ObjectRef, differences},
};

/// How often a change is sent when its answers get lost and the object is found as it was.
const SENDS: u32 = 4;

/// One change of one object, with what must hold for it to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The name of the write boundary: the same in every run of the same plan.
    pub label: String,
    pub object: ObjectRef,
    pub action: Action,
}

/// What is done to an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// The object must not be there.
    Create { after: Document },
    /// The object must be the one that was read.
    Replace { before: Box<Live>, after: Document },
    /// Some fields of the object that was read; `null` takes a field away.
    Patch { before: Box<Live>, patch: Value },
    /// The object must be the one that was read. What it owns goes with it.
    Delete { before: Box<Live> },
    /// The same, but what it owns stays, and belongs to nobody.
    DeleteAlone { before: Box<Live> },
    /// A pod is known by its uid alone: its status changes all the time.
    DeletePod { uid: String },
}

/// The object is neither as it was when the plan was made nor as it shall be: someone else changed it.
#[derive(Debug, thiserror::Error)]
#[error("`{object}` was {did} by someone else")]
pub struct Drift {
    pub object: ObjectRef,
    /// Made, changed or deleted.
    pub did: &'static str,
    /// What others did to it, against what it was.
    pub since: Vec<Difference>,
    /// What we want of it, against what it is.
    pub wanted: Vec<Difference>,
}

/// Why one change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error(transparent)]
    Drift(#[from] Box<Drift>),
    #[error("{} refused to {verb} `{object}`", store_of(object))]
    Refused { verb: &'static str, object: ObjectRef, source: ClusterError },
    #[error("`{object}` was stored otherwise than it was sent")]
    StoredOtherwise { object: ObjectRef, differences: Vec<Difference> },
}

fn store_of(object: &ObjectRef) -> &'static str {
    if object.kind == Kind::EtcdKey { "etcd" } else { "the API server" }
}

impl Change {
    /// What the journal says of the change before it is sent.
    pub fn intent(&self) -> Intent {
        let digest = |document: &Document| Some(document.digest());
        let (action, before, after) = match &self.action {
            Action::Create { after } => (ActionKind::Create, None, digest(after)),
            Action::Replace { before, after } => (ActionKind::Replace, digest(&before.document), digest(after)),
            Action::Patch { before, patch } => {
                (ActionKind::Patch, digest(&before.document), Some(Digest::of(patch.to_string().as_bytes())))
            }
            Action::Delete { before } | Action::DeleteAlone { before } => {
                (ActionKind::Delete, digest(&before.document), None)
            }
            Action::DeletePod { .. } => (ActionKind::Delete, None, None),
        };
        Intent { label: self.label.clone(), object: self.object.clone(), action, before, after }
    }

    /// Has the server try the change without making it.
    pub async fn try_out(&self, cluster: &Cluster) -> Result<(), ChangeError> {
        self.send(cluster, Mode::Tried).await.map(drop).map_err(|source| self.refused(source))
    }

    /// Makes the change and reads back what is stored.
    pub(super) async fn make(mut self, cluster: &Cluster) -> Result<(Outcome, Option<String>), ChangeError> {
        let mut sends = 1;
        loop {
            let error = match self.send(cluster, Mode::Real).await {
                Ok(Applied::Stored(live)) => {
                    self.compare_stored(&live)?;
                    return Ok((Outcome::Applied, Some(live.uid)));
                }
                Ok(Applied::Deleted) => return Ok((Outcome::Applied, None)),
                Err(error) => error,
            };
            let is_race = matches!(
                error,
                ClusterError::Conflict { .. } | ClusterError::AlreadyExists { .. } | ClusterError::NotFound { .. }
            );
            if !is_race && !error.leaves_the_outcome_open() {
                return Err(self.refused(error));
            }
            if self.is_found_done(cluster).await? {
                return Ok((Outcome::FoundDone, None));
            }
            if sends == SENDS || matches!(error, ClusterError::StoreFull { .. }) {
                return Err(self.refused(error));
            }
            sends += 1;
        }
    }

    async fn send(&self, cluster: &Cluster, mode: Mode) -> Result<Applied, ClusterError> {
        let object = &self.object;
        match &self.action {
            Action::Create { after } => {
                cluster.store(object, after, &Precondition::Absent, mode).await.map(Box::new).map(Applied::Stored)
            }
            Action::Replace { before, after } => {
                let (uid, resource_version) = (before.uid.clone(), before.resource_version.clone());
                let unchanged = Precondition::Unchanged { uid, resource_version };
                cluster.store(object, after, &unchanged, mode).await.map(Box::new).map(Applied::Stored)
            }
            Action::Patch { before, patch } => {
                let merged = cluster.merge(object, patch.clone(), &before.uid, &before.resource_version, mode).await;
                merged.map(Box::new).map(Applied::Stored)
            }
            Action::Delete { before } => self.delete(cluster, before, Owned::Deleted, mode).await,
            Action::DeleteAlone { before } => self.delete(cluster, before, Owned::Kept, mode).await,
            Action::DeletePod { uid } => {
                cluster.delete(object, uid, "", Owned::Deleted, mode).await.map(|()| Applied::Deleted)
            }
        }
    }

    async fn delete(
        &self,
        cluster: &Cluster,
        before: &Live,
        owned: Owned,
        mode: Mode,
    ) -> Result<Applied, ClusterError> {
        let deleted = cluster.delete(&self.object, &before.uid, &before.resource_version, owned, mode).await;
        deleted.map(|()| Applied::Deleted)
    }

    /// A webhook may have changed what we sent.
    fn compare_stored(&self, live: &Live) -> Result<(), ChangeError> {
        let found = match &self.action {
            Action::Create { after } | Action::Replace { after, .. } => not_as_sent(&self.object, after, live),
            Action::Patch { patch, .. } => unmerged(patch, &live.document.value()),
            Action::Delete { .. } | Action::DeleteAlone { .. } | Action::DeletePod { .. } => Vec::new(),
        };
        if found.is_empty() {
            return Ok(());
        }
        Err(ChangeError::StoredOtherwise { object: self.object.clone(), differences: found })
    }

    /// Looks at the object after a race or a lost answer: done already, as it was, or changed by others.
    async fn is_found_done(&mut self, cluster: &Cluster) -> Result<bool, ChangeError> {
        let live = cluster.get(&self.object).await.map_err(|source| self.refused(source))?;
        match (&mut self.action, live) {
            (Action::Create { .. }, None) => Ok(false),
            (Action::Create { after } | Action::Replace { after, .. }, Some(live))
                if not_as_sent(&self.object, after, &live).is_empty() =>
            {
                Ok(true)
            }
            (Action::Delete { .. } | Action::DeleteAlone { .. }, None) => Ok(true),
            // It goes as soon as what it owns is let go of.
            (Action::DeleteAlone { before }, Some(live)) if live.uid == before.uid && live.is_terminating => Ok(true),
            (Action::DeletePod { uid }, live) => Ok(live.is_none_or(|live| live.uid != *uid || live.is_terminating)),
            (Action::Patch { patch, .. }, Some(live)) if unmerged(patch, &live.document.value()).is_empty() => Ok(true),
            // A patch is for this very object: where it is gone, or another bears its name, nothing is left to patch.
            (Action::Patch { before, .. }, live) if live.as_ref().is_none_or(|live| live.uid != before.uid) => Ok(true),
            // Only the resourceVersion moved: a status, or a heartbeat.
            (Action::Patch { before, .. }, Some(live)) => {
                **before = live;
                Ok(false)
            }
            (
                Action::Replace { before, .. } | Action::Delete { before } | Action::DeleteAlone { before },
                Some(live),
            ) if before.uid == live.uid && before.document == live.document => {
                **before = live;
                Ok(false)
            }
            (_, live) => Err(self.drift(live).into()),
        }
    }

    fn drift(&self, live: Option<Live>) -> Box<Drift> {
        let found = live.map(|live| live.document.value()).unwrap_or_default();
        let (before, after) = match &self.action {
            Action::Create { after } => (Value::Null, after.value()),
            Action::Replace { before, after } => (before.document.value(), after.value()),
            Action::Patch { before, .. } | Action::Delete { before } | Action::DeleteAlone { before } => {
                (before.document.value(), Value::Null)
            }
            Action::DeletePod { .. } => (Value::Null, Value::Null),
        };
        Box::new(Drift::between(&self.object, &before, &after, &found))
    }

    fn refused(&self, source: ClusterError) -> ChangeError {
        ChangeError::Refused { verb: self.intent().action.name(), object: self.object.clone(), source }
    }
}

impl Drift {
    /// Tells the three ways apart: as it was, as it is, as it shall be.
    pub fn between(object: &ObjectRef, before: &Value, after: &Value, found: &Value) -> Self {
        let did = match (before.is_null(), found.is_null()) {
            (_, true) => "deleted",
            (true, false) => "made",
            (false, false) => "changed",
        };
        Self { object: object.clone(), did, since: differences(before, found), wanted: differences(after, found) }
    }
}

/// Where an object is not as it was sent. What a cluster adds to a pod, like priorities and volumes, is its own business.
fn not_as_sent(object: &ObjectRef, sent: &Document, live: &Live) -> Vec<Difference> {
    let mut found = differences(&sent.value(), &live.document.value());
    found.retain(|one| object.kind != Kind::Pod || one.wanted.is_some());
    found
}

/// Lists the fields of a merge patch that the body does not show.
fn unmerged(patch: &Value, body: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    collect_unmerged("", patch, Some(body), &mut all);
    all
}

fn collect_unmerged(path: &str, patch: &Value, body: Option<&Value>, all: &mut Vec<Difference>) {
    let Value::Object(fields) = patch else {
        let wanted = (!patch.is_null()).then(|| patch.clone());
        if wanted.as_ref() != body.filter(|found| !found.is_null()) {
            all.push(Difference { path: path.to_owned(), wanted, found: body.cloned() });
        }
        return;
    };
    for (key, value) in fields {
        let deeper = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        collect_unmerged(&deeper, value, body.and_then(|body| body.get(key)), all);
    }
}
