//! Manifests that the operator gives, as upstream published them: those of Calico v3, of which the program has no files of its own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Manifest, ReadError, images::node_image_of, manifest::kind_of, read::parse_all};
use crate::{
    resource::{Document, Kind, ObjectRef, definition},
    version::Version,
};

/// The first major version of which the program has no manifests.
const SUPPLIED_SINCE: u64 = 3;

/// Answers whether the manifests of a release come from the operator.
pub fn is_supplied(release: Version) -> bool {
    release.major >= SUPPLIED_SINCE
}

/// The manifests of the release to go to and of the one that is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supplied {
    pub new: Shipped,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Shipped>,
}

/// What one release ships.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    pub release: Version,
    pub objects: Vec<(ObjectRef, Document)>,
}

/// The text is no manifest that can be applied.
#[derive(Debug, thiserror::Error)]
pub enum ShippedError {
    #[error(transparent)]
    Yaml(#[from] ReadError),
    #[error("it holds {kind} {name}, which this version cannot apply")]
    Kind { kind: String, name: String },
    #[error("it keeps Calico's data in etcd, and this version upgrades Calico v3 on the Kubernetes datastore alone")]
    Etcd,
    #[error("it holds something that is no object of Kubernetes: it has no kind")]
    NoKind,
    #[error("it holds {0} twice")]
    Twice(ObjectRef),
    #[error("no DaemonSet in it has a container calico-node, so it is no manifest of Calico")]
    NoNode,
    #[error("image {0} of calico-node has no tag of a release, like v3.31.7")]
    Tag(String),
}

impl Supplied {
    /// The objects of the new release, and of the old one what a merge compares: no definitions, which people do not edit.
    pub fn new(new: Shipped, old: Option<Shipped>) -> Self {
        let is_merged = |(object, _): &(ObjectRef, Document)| object.kind != Kind::CustomResourceDefinition;
        let merged = |old: Shipped| Shipped { objects: old.objects.into_iter().filter(is_merged).collect(), ..old };
        Self { new, old: old.map(merged) }
    }

    /// All that were given.
    pub fn manifests(&self) -> Vec<Manifest> {
        [Some(&self.new), self.old.as_ref()].into_iter().flatten().map(Shipped::manifest).collect()
    }

    /// The manifest of the installed release, if it was given.
    pub fn base(&self, installed: Version) -> Option<Manifest> {
        let old = [self.old.as_ref(), Some(&self.new)].into_iter().flatten();
        old.into_iter().find(|shipped| shipped.release == installed).map(Shipped::manifest)
    }
}

impl Shipped {
    pub fn manifest(&self) -> Manifest {
        Manifest { objects: self.objects.clone(), ..Manifest::default() }
    }
}

/// Reads a manifest of several documents.
///
/// # Errors
/// It is no YAML, holds an object that cannot be applied, or no calico-node of a release.
pub fn read_shipped(text: &str) -> Result<Shipped, ShippedError> {
    let bodies: Vec<Value> = parse_all(text)?;
    if bodies.iter().any(|body| body["kind"] == "Secret" && body["metadata"]["name"] == "calico-etcd-secrets") {
        return Err(ShippedError::Etcd);
    }
    let objects: Vec<_> = bodies.into_iter().filter(|body| !body.is_null()).map(object).collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    if let Some((twice, _)) = objects.iter().find(|(object, _)| !seen.insert(object)) {
        return Err(ShippedError::Twice(twice.clone()));
    }
    Ok(Shipped { release: release(&objects)?, objects })
}

fn object(mut body: Value) -> Result<(ObjectRef, Document), ShippedError> {
    let text = |key: &str| body["metadata"][key].as_str().map(str::to_owned);
    let name = text("name").unwrap_or_default();
    let said = body["kind"].as_str().ok_or(ShippedError::NoKind)?;
    let kind = kind_of(&body).ok_or_else(|| ShippedError::Kind { kind: said.to_owned(), name: name.clone() })?;
    let reference = ObjectRef { kind, namespace: text("namespace").filter(|_| kind.is_namespaced()), name };
    if kind == Kind::CustomResourceDefinition {
        body["spec"] = definition(&body["spec"]);
    }
    Ok((reference, Document::new(body)))
}

fn release(objects: &[(ObjectRef, Document)]) -> Result<Version, ShippedError> {
    let daemon_sets = objects.iter().filter(|(object, _)| object.kind == Kind::DaemonSet);
    let image =
        daemon_sets.into_iter().find_map(|(_, document)| node_image_of(document)).ok_or(ShippedError::NoNode)?;
    let tag = image.rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default();
    known_tag(tag).ok_or(ShippedError::Tag(image))
}

/// The release of Calico v3 that ships calico/node with this tag: the tag itself, to the letter. Others are builds of others.
pub(super) fn release_of_tag(tag: &str) -> Option<Version> {
    known_tag(tag).filter(|release| release.major == SUPPLIED_SINCE)
}

fn known_tag(tag: &str) -> Option<Version> {
    tag.parse::<Version>().ok().filter(|release| release.to_string() == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tag_of_a_release_is_one() {
        assert_eq!(release_of_tag("v3.31.7"), Some(Version::new(3, 31, 7)));
        for tag in ["v3.31.7-corp.1", "3.31.7", "v9.9.9", "v2.6.12", "latest", ""] {
            assert_eq!(release_of_tag(tag), None, "{tag}");
        }
    }
}
