//! Writes. Only the door may call them: a test reads the sources and holds that.

use serde_json::{Value, json};

use super::{Cluster, ClusterError, adapt};
use crate::{
    resource::{Document, Kind, Live, ObjectRef},
    version::Version,
};

/// What must hold in the cluster at the instant of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    Absent,
    Unchanged { uid: String, resource_version: String },
}

/// Whether a write is meant, or only tried by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Real,
    Tried,
}

/// What becomes of the objects that an object owns when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owned {
    Deleted,
    /// They stay, and belong to nobody; only when all are let go of is the object gone.
    Kept,
}

/// What a write left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    Stored(Box<Live>),
    Deleted,
}

impl Cluster {
    /// Answers whether the server can try a write without making it.
    ///
    /// A server that does not know `dryRun` ignores it and writes, so this goes by version: on by default since Kubernetes
    /// v1.13, stable since v1.18 (Kubernetes documentation, API concepts, "Dry-run").
    pub fn can_try_writes(&self) -> bool {
        self.kubernetes >= Version::new(1, 18, 0)
    }

    /// Writes a body: creates the object, or replaces exactly the one that was read.
    pub(crate) async fn store(
        &self,
        reference: &ObjectRef,
        document: &Document,
        precondition: &Precondition,
        mode: Mode,
    ) -> Result<Live, ClusterError> {
        if reference.kind == Kind::EtcdKey {
            return self.store_key(&reference.name, document, precondition, mode).await;
        }
        let place = self.place(reference.kind)?;
        let mut body = adapt::to_served(reference.kind, &place, document);
        let (method, path) = match precondition {
            Precondition::Absent => (http::Method::POST, place.collection(reference.namespace.as_deref())),
            Precondition::Unchanged { uid, resource_version } => {
                body["metadata"]["uid"] = json!(uid);
                body["metadata"]["resourceVersion"] = json!(resource_version);
                (http::Method::PUT, place.object(reference))
            }
        };
        let answer = self.send(method, &with_mode(path.clone(), mode), Some(&body)).await?;
        self.stored(reference, &path, answer, mode)
    }

    /// What was only tried has no resourceVersion, and with a create no lasting uid.
    fn stored(&self, reference: &ObjectRef, path: &str, mut answer: Value, mode: Mode) -> Result<Live, ClusterError> {
        if mode == Mode::Tried {
            for key in ["uid", "resourceVersion"] {
                answer["metadata"][key] = json!("tried");
            }
        }
        self.live(reference.kind, path, answer)
    }

    /// Changes some fields of exactly the object that was read.
    pub(crate) async fn merge(
        &self,
        reference: &ObjectRef,
        mut patch: Value,
        uid: &str,
        resource_version: &str,
        mode: Mode,
    ) -> Result<Live, ClusterError> {
        if reference.kind == Kind::EtcdKey {
            return Err(ClusterError::NoFields { key: reference.name.clone() });
        }
        let path = self.place(reference.kind)?.object(reference);
        patch["metadata"]["uid"] = json!(uid);
        patch["metadata"]["resourceVersion"] = json!(resource_version);
        let answer = self.send(http::Method::PATCH, &with_mode(path.clone(), mode), Some(&patch)).await?;
        self.stored(reference, &path, answer, mode)
    }

    /// Deletes exactly the object that was read. Servers before v1.14 compare the uid only.
    pub(crate) async fn delete(
        &self,
        reference: &ObjectRef,
        uid: &str,
        resource_version: &str,
        owned: Owned,
        mode: Mode,
    ) -> Result<(), ClusterError> {
        if reference.kind == Kind::EtcdKey {
            return self.delete_key(&reference.name, resource_version, mode).await;
        }
        let path = self.place(reference.kind)?.object(reference);
        let mut preconditions = json!({"uid": uid});
        if self.kubernetes >= Version::new(1, 14, 0) && !resource_version.is_empty() {
            preconditions["resourceVersion"] = json!(resource_version);
        }
        let policy = match owned {
            Owned::Deleted => "Background",
            Owned::Kept => "Orphan",
        };
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy,
            "preconditions": preconditions});
        // The server reads the options from the body or from the query, and with a body the query counts for nothing.
        if mode == Mode::Tried {
            options["dryRun"] = json!(["All"]);
        }
        self.send(http::Method::DELETE, &path, Some(&options)).await.map(drop)
    }
}

fn with_mode(path: String, mode: Mode) -> String {
    match mode {
        Mode::Real => path,
        Mode::Tried => format!("{path}?dryRun=All"),
    }
}
