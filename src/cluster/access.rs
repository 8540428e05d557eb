use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Cluster, ClusterError};
use crate::{resource::Kind, version::Version};

/// The first release that goes by the verb `escalate` (Kubernetes documentation, "Using RBAC Authorization"). A role may hold it before, and gets
/// nothing by it.
const ESCALATE_SINCE: Version = Version::new(1, 12, 0);

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
    /// The one object that it is about; any object of the kind where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A part of the object that has a right of its own, like the log of a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
}

/// A right that a role gives to others: RBAC lets nobody write it into a role who does not hold it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Granted {
    pub verb: String,
    pub group: String,
    /// With its subresource, like `pods/status`.
    pub resource: String,
    /// The objects that it is limited to; all where there are none.
    pub names: Vec<String>,
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
        if let Some(part) = &self.part {
            write!(formatter, "/{part}")?;
        }
        if let Some(name) = &self.name {
            write!(formatter, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(formatter, " in {namespace}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Granted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(formatter, ".{}", self.group)?;
        }
        let limited = if self.names.is_empty() { String::new() } else { format!(" ({})", self.names.join(", ")) };
        write!(formatter, "{limited}, to be able to give it to Calico")
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
        let name = right.name.as_deref().unwrap_or_default();
        let namespace = right.namespace.as_deref().unwrap_or_default();
        let part = right.part.as_deref().unwrap_or_default();
        self.review(json!({"verb": right.verb.name(), "group": place.group, "resource": place.plural,
            "subresource": part, "namespace": namespace, "name": name}))
            .await
    }

    /// Asks the server whether we hold a right that a role gives; only then may it be written into the role (Kubernetes
    /// documentation, RBAC, "Privilege escalation prevention").
    pub async fn may_give(&self, granted: &Granted) -> Result<bool, ClusterError> {
        let (resource, subresource) = granted.resource.split_once('/').unwrap_or((&granted.resource, ""));
        let ask = |name: String| {
            self.review(json!({"verb": granted.verb, "group": granted.group, "resource": resource,
                "subresource": subresource, "name": name}))
        };
        let names = if granted.names.is_empty() { vec![String::new()] } else { granted.names.clone() };
        for name in names {
            if !ask(name).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Asks the server whether we may write into roles what we do not hold ourselves.
    pub async fn may_escalate(&self) -> Result<bool, ClusterError> {
        if self.kubernetes < ESCALATE_SINCE {
            return self.may_do_everything().await;
        }
        let place = self.place(Kind::ClusterRole)?;
        self.review(json!({"verb": "escalate", "group": place.group, "resource": place.plural})).await
    }

    /// Asks the server whether we may bind a role whose rights we do not hold.
    pub async fn may_bind(&self, role: &str) -> Result<bool, ClusterError> {
        let place = self.place(Kind::ClusterRole)?;
        self.review(json!({"verb": "bind", "group": place.group, "resource": place.plural, "name": role})).await
    }

    /// Asks the server whether we hold every right there is: only a rule with these stars says yes to them.
    pub async fn may_do_everything(&self) -> Result<bool, ClusterError> {
        self.review(json!({"verb": "*", "group": "*", "resource": "*"})).await
    }

    async fn review(&self, attributes: Value) -> Result<bool, ClusterError> {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        // A review is a POST that stores nothing.
        let answer = self.send(http::Method::POST, path, Some(&review)).await?;
        Ok(answer["status"]["allowed"] == true)
    }
}
