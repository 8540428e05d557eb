//! Under which API group each kind is found: as a server tells it, or as servers of a version have it.

use std::collections::BTreeMap;

use super::{
    Cluster,
    served::{Resource, all_kinds, candidates},
};
use crate::{resource::Kind, version::Version};

/// Where kinds are found; a kind that is not served has no place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<Kind, Place>);

/// The API group and the name by which rules of RBAC know a kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub group: &'static str,
    pub plural: &'static str,
}

impl Places {
    /// Answers where servers of a version have the kinds; Calico's own kinds are where they would be.
    pub fn of(kubernetes: Version) -> Self {
        let best = |kind| candidates(kind).into_iter().find(|place| kubernetes >= served_since(kind, place));
        let found = all_kinds().filter_map(|kind| Some((kind, Place::of(&best(kind)?))));
        Self(found.collect())
    }

    pub fn find(&self, kind: Kind) -> Option<&Place> {
        self.0.get(&kind)
    }

    pub fn serves(&self, kind: Kind) -> bool {
        self.0.contains_key(&kind)
    }
}

impl Place {
    fn of(resource: &Resource) -> Self {
        Self { group: resource.group, plural: resource.plural }
    }
}

/// The first release of Kubernetes that serves a kind there by default (its API reference and changelogs).
fn served_since(kind: Kind, resource: &Resource) -> Version {
    let minor = match (resource.group, resource.version) {
        ("apps", "v1") => 9,
        ("apps", "v1beta2") => 8,
        ("apps", _) if kind == Kind::ControllerRevision => 7,
        ("apps", _) => 6,
        ("networking.k8s.io", _) => 7,
        ("rbac.authorization.k8s.io", "v1") => 8,
        ("rbac.authorization.k8s.io", _) => 6,
        ("apiextensions.k8s.io", "v1") => 16,
        ("apiextensions.k8s.io", _) => 7,
        ("coordination.k8s.io" | "scheduling.k8s.io", "v1") => 14,
        ("coordination.k8s.io", _) => 12,
        ("policy", "v1") => 21,
        ("policy", _) => 5,
        _ => 0,
    };
    Version::new(1, minor, 0)
}

impl Cluster {
    /// Answers where this server has the kinds; a custom resource that is yet to come is where its definition will put it.
    pub fn places(&self) -> Places {
        let found = all_kinds().filter_map(|kind| Some((kind, Place::of(&self.place(kind).ok()?))));
        Places(found.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_where_servers_of_their_time_had_them() {
        let group = |minor, kind| Places::of(Version::new(1, minor, 0)).find(kind).map(|place| place.group);
        assert_eq!(group(7, Kind::DaemonSet), Some("extensions"));
        assert_eq!(group(8, Kind::DaemonSet), Some("apps"));
        assert_eq!(group(6, Kind::NetworkPolicy), Some("extensions"));
        assert_eq!(group(34, Kind::NetworkPolicy), Some("networking.k8s.io"));
        assert_eq!((group(11, Kind::Lease), group(12, Kind::Lease)), (None, Some("coordination.k8s.io")));
        assert_eq!((group(6, Kind::CustomResourceDefinition), group(34, Kind::EtcdKey)), (None, None));
    }
}
