//! Which API group, version and path serves each kind on this server.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cluster, ClusterError};
use crate::resource::{Kind, ObjectRef};

/// The API versions that this server has for our kinds.
#[derive(Default)]
pub(super) struct Served(BTreeMap<Kind, Resource>);

/// Where one kind is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
}

impl Resource {
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    fn prefix(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }

    /// The path of a kind's objects, of all namespaces or of one.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) => format!("{}/namespaces/{namespace}/{}", self.prefix(), self.plural),
            None => format!("{}/{}", self.prefix(), self.plural),
        }
    }

    pub fn object(&self, reference: &ObjectRef) -> String {
        format!("{}/{}", self.collection(reference.namespace.as_deref()), reference.name)
    }
}

impl Served {
    /// Asks plainly for `/apis` and each group version: a server of 1.8 answers 406 to the aggregated form.
    pub async fn discover(cluster: &Cluster) -> Result<Self, ClusterError> {
        let mut lists = BTreeMap::new();
        let group_versions = group_versions(cluster).await?;
        let mut served = BTreeMap::new();
        for kind in all_kinds() {
            for resource in candidates(kind) {
                let name = resource.api_version();
                if !group_versions.contains(&name) {
                    continue;
                }
                if !lists.contains_key(&name) {
                    lists.insert(name.clone(), plurals(cluster, &resource).await?);
                }
                if lists[&name].contains(resource.plural) {
                    served.insert(kind, resource);
                    break;
                }
            }
        }
        Ok(Self(served))
    }

    pub fn find(&self, kind: Kind) -> Result<&Resource, ClusterError> {
        self.0.get(&kind).ok_or(ClusterError::NotServed { kind })
    }
}

async fn group_versions(cluster: &Cluster) -> Result<BTreeSet<String>, ClusterError> {
    let groups = cluster.read("/apis").await?;
    let versions = groups["groups"].as_array().into_iter().flatten().flat_map(|group| group["versions"].as_array());
    let names = versions.flatten().filter_map(|version| version["groupVersion"].as_str()).map(str::to_owned);
    Ok(names.chain(["v1".to_owned()]).collect())
}

async fn plurals(cluster: &Cluster, resource: &Resource) -> Result<BTreeSet<String>, ClusterError> {
    match cluster.read(&resource.prefix()).await {
        Ok(list) => {
            let resources = list["resources"].as_array().into_iter().flatten();
            Ok(resources.filter_map(|one| one["name"].as_str()).map(str::to_owned).collect())
        }
        // The group of a CustomResourceDefinition that is just being deleted.
        Err(ClusterError::NotFound { .. }) => Ok(BTreeSet::new()),
        Err(other) => Err(other),
    }
}

/// The kinds that no definition of Calico's brings. That of the admin policies is of the network policy API (sigs.k8s.io/network-policy-api).
const PLAIN: [Kind; 21] = [
    Kind::Namespace,
    Kind::Node,
    Kind::Pod,
    Kind::ConfigMap,
    Kind::Secret,
    Kind::ServiceAccount,
    Kind::DaemonSet,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::ControllerRevision,
    Kind::NetworkPolicy,
    Kind::ClusterRole,
    Kind::ClusterRoleBinding,
    Kind::CustomResourceDefinition,
    Kind::Lease,
    Kind::Job,
    Kind::PriorityClass,
    Kind::PodDisruptionBudget,
    Kind::Service,
    Kind::AdminNetworkPolicy,
    Kind::BaselineAdminNetworkPolicy,
];

/// Every kind that an API server may have.
pub(super) fn all_kinds() -> impl Iterator<Item = Kind> {
    PLAIN.into_iter().chain(Kind::THIRD_PARTY).chain(Kind::CUSTOM).chain(Kind::V3)
}

/// Where a kind may be served, best first.
pub(super) fn candidates(kind: Kind) -> Vec<Resource> {
    let (places, plural): (&[(&str, &str)], _) = match kind {
        Kind::Namespace => (&[("", "v1")], "namespaces"),
        Kind::Node => (&[("", "v1")], "nodes"),
        Kind::Pod => (&[("", "v1")], "pods"),
        Kind::ConfigMap => (&[("", "v1")], "configmaps"),
        Kind::Secret => (&[("", "v1")], "secrets"),
        Kind::ServiceAccount => (&[("", "v1")], "serviceaccounts"),
        Kind::DaemonSet => (&[("apps", "v1"), ("apps", "v1beta2"), ("extensions", "v1beta1")], "daemonsets"),
        Kind::Deployment => {
            (&[("apps", "v1"), ("apps", "v1beta2"), ("apps", "v1beta1"), ("extensions", "v1beta1")], "deployments")
        }
        Kind::ReplicaSet => (&[("apps", "v1"), ("apps", "v1beta2"), ("extensions", "v1beta1")], "replicasets"),
        Kind::ControllerRevision => {
            (&[("apps", "v1"), ("apps", "v1beta2"), ("apps", "v1beta1")], "controllerrevisions")
        }
        Kind::NetworkPolicy => (&[("networking.k8s.io", "v1"), ("extensions", "v1beta1")], "networkpolicies"),
        Kind::ClusterRole => (&RBAC, "clusterroles"),
        Kind::ClusterRoleBinding => (&RBAC, "clusterrolebindings"),
        Kind::CustomResourceDefinition => {
            (&[("apiextensions.k8s.io", "v1"), ("apiextensions.k8s.io", "v1beta1")], "customresourcedefinitions")
        }
        Kind::Lease => (&[("coordination.k8s.io", "v1"), ("coordination.k8s.io", "v1beta1")], "leases"),
        Kind::Job => (&[("batch", "v1")], "jobs"),
        Kind::PriorityClass => (&[("scheduling.k8s.io", "v1")], "priorityclasses"),
        Kind::PodDisruptionBudget => (&[("policy", "v1"), ("policy", "v1beta1")], "poddisruptionbudgets"),
        Kind::Service => (&[("", "v1")], "services"),
        Kind::AdminNetworkPolicy => (&ADMIN, "adminnetworkpolicies"),
        Kind::BaselineAdminNetworkPolicy => (&ADMIN, "baselineadminnetworkpolicies"),
        Kind::ThirdPartyIpPool => (&THIRD_PARTY, "ippools"),
        Kind::ThirdPartyGlobalConfig => (&THIRD_PARTY, "globalconfigs"),
        Kind::ThirdPartyGlobalBgpConfig => (&THIRD_PARTY, "globalbgpconfigs"),
        Kind::ThirdPartyGlobalBgpPeer => (&THIRD_PARTY, "globalbgppeers"),
        Kind::SystemNetworkPolicy => (&[("alpha.projectcalico.org", "v1")], "systemnetworkpolicies"),
        Kind::IpPool => (&CUSTOM, "ippools"),
        Kind::BgpPeer => (&CUSTOM, "bgppeers"),
        Kind::GlobalFelixConfig => (&CUSTOM, "globalfelixconfigs"),
        Kind::GlobalBgpConfig => (&CUSTOM, "globalbgpconfigs"),
        Kind::GlobalNetworkPolicy => (&CUSTOM, "globalnetworkpolicies"),
        Kind::BgpConfiguration => (&CUSTOM, "bgpconfigurations"),
        Kind::BgpFilter => (&CUSTOM, "bgpfilters"),
        Kind::BlockAffinity => (&CUSTOM, "blockaffinities"),
        Kind::CalicoNodeStatus => (&CUSTOM, "caliconodestatuses"),
        Kind::ClusterInformation => (&CUSTOM, "clusterinformations"),
        Kind::FelixConfiguration => (&CUSTOM, "felixconfigurations"),
        Kind::GlobalNetworkSet => (&CUSTOM, "globalnetworksets"),
        Kind::HostEndpoint => (&CUSTOM, "hostendpoints"),
        Kind::IpamBlock => (&CUSTOM, "ipamblocks"),
        Kind::IpamConfig => (&CUSTOM, "ipamconfigs"),
        Kind::IpamHandle => (&CUSTOM, "ipamhandles"),
        Kind::IpReservation => (&CUSTOM, "ipreservations"),
        Kind::KubeControllersConfiguration => (&CUSTOM, "kubecontrollersconfigurations"),
        Kind::CalicoNetworkPolicy => (&CUSTOM, "networkpolicies"),
        Kind::NetworkSet => (&CUSTOM, "networksets"),
        Kind::StagedGlobalNetworkPolicy => (&CUSTOM, "stagedglobalnetworkpolicies"),
        Kind::StagedKubernetesNetworkPolicy => (&CUSTOM, "stagedkubernetesnetworkpolicies"),
        Kind::StagedNetworkPolicy => (&CUSTOM, "stagednetworkpolicies"),
        Kind::Tier => (&CUSTOM, "tiers"),
        // No API server has them: see `keys`.
        Kind::EtcdKey => (&[], ""),
    };
    places.iter().map(|&(group, version)| Resource { group, version, plural }).collect()
}

const RBAC: [(&str, &str); 2] = [("rbac.authorization.k8s.io", "v1"), ("rbac.authorization.k8s.io", "v1beta1")];
const ADMIN: [(&str, &str); 1] = [("policy.networking.k8s.io", "v1alpha1")];
const THIRD_PARTY: [(&str, &str); 1] = [("projectcalico.org", "v1")];
const CUSTOM: [(&str, &str); 1] = [("crd.projectcalico.org", "v1")];

impl Cluster {
    /// Answers whether this server has the kind at all; keys are served by etcd, where one is known.
    pub fn serves(&self, kind: Kind) -> bool {
        if kind == Kind::EtcdKey { self.etcd().is_some() } else { self.served.find(kind).is_ok() }
    }

    /// Names the definitions of the kinds that this server has.
    pub fn definitions(&self, kinds: impl IntoIterator<Item = Kind>) -> Vec<ObjectRef> {
        let served = kinds.into_iter().filter_map(|kind| self.served.find(kind).ok());
        let name = |resource: &Resource| format!("{}.{}", resource.plural, resource.group);
        served.map(|resource| ObjectRef::cluster(Kind::CustomResourceDefinition, name(resource))).collect()
    }

    /// Finds where a kind is served; a custom resource that came after we connected is where its definition put it.
    pub(super) fn place(&self, kind: Kind) -> Result<Resource, ClusterError> {
        match self.served.find(kind) {
            Ok(resource) => Ok(resource.clone()),
            Err(_) if kind.is_custom() => Ok(candidates(kind).remove(0)),
            Err(missing) => Err(missing),
        }
    }
}
