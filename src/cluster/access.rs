use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Cluster, ClusterError};
use crate::resource::Kind;

/// What a right allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

/// One right that a run needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Right {
    pub verb: Verb,
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl Verb {
    pub const fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb.name(), self.kind)?;
        match &self.namespace {
            Some(namespace) => write!(formatter, " in {namespace}"),
            None => Ok(()),
        }
    }
}

impl Cluster {
    /// Asks the server whether we hold a right (SelfSubjectAccessReview, served since Kubernetes v1.6).
    pub async fn may(&self, right: &Right) -> Result<bool, ClusterError> {
        // The v2 API of etcd has nobody to ask: it refuses the write itself, and names the key.
        if right.kind == Kind::EtcdKey {
            return Ok(true);
        }
        let place = self.place(right.kind)?;
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {
            "resourceAttributes": {"verb": right.verb.name(), "group": place.group, "resource": place.plural,
                "namespace": right.namespace.as_deref().unwrap_or_default()}}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        // A review is a POST that stores nothing.
        let answer = self.send(http::Method::POST, path, Some(&review)).await?;
        Ok(answer["status"]["allowed"] == true)
    }
}
