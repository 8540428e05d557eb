//! Objects of a cluster as the program sees them: a kind without its API group, a name, and a body without what the server sets.
//!
//! Which API group and version serves a kind is known to `cluster` alone.

mod definition;
mod difference;
mod document;
mod masked;
mod selector;
mod taint;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use definition::{definition, is_whole_definition};
pub use difference::{Difference, differences};
pub use document::{Digest, Document, Generation, Live};
pub use masked::{HIDDEN, masked, masked_field, masked_text};
pub use selector::{expressions, picks, picks_node, selector_of};
pub use taint::Taint;

/// The kinds of objects that the program reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    Namespace,
    Node,
    Pod,
    ConfigMap,
    Secret,
    ServiceAccount,
    DaemonSet,
    Deployment,
    ReplicaSet,
    ControllerRevision,
    NetworkPolicy,
    ClusterRole,
    ClusterRoleBinding,
    CustomResourceDefinition,
    Lease,
    Job,
    PriorityClass,
    PodDisruptionBudget,
    Service,
    AdminNetworkPolicy,
    BaselineAdminNetworkPolicy,
    /// ThirdPartyResource `IpPool` of Calico before v2.5.
    ThirdPartyIpPool,
    /// ThirdPartyResource `GlobalConfig` of Calico before v2.5.
    ThirdPartyGlobalConfig,
    /// ThirdPartyResource `GlobalBgpConfig` of Calico v2.4.
    ThirdPartyGlobalBgpConfig,
    /// ThirdPartyResource `GlobalBgpPeer` of Calico v2.4.
    ThirdPartyGlobalBgpPeer,
    /// ThirdPartyResource `SystemNetworkPolicy` of Calico v2.3 and v2.4.
    SystemNetworkPolicy,
    IpPool,
    BgpPeer,
    GlobalFelixConfig,
    GlobalBgpConfig,
    GlobalNetworkPolicy,
    BgpConfiguration,
    BgpFilter,
    BlockAffinity,
    CalicoNodeStatus,
    ClusterInformation,
    FelixConfiguration,
    GlobalNetworkSet,
    HostEndpoint,
    IpamBlock,
    IpamConfig,
    IpamHandle,
    IpReservation,
    KubeControllersConfiguration,
    CalicoNetworkPolicy,
    NetworkSet,
    StagedGlobalNetworkPolicy,
    StagedKubernetesNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
    /// A key of Calico's own etcd; its name is the whole path of the key.
    EtcdKey,
}

impl Kind {
    /// The ThirdPartyResources that held Calico's data before v2.5.
    pub const THIRD_PARTY: [Kind; 5] = [
        Kind::ThirdPartyIpPool,
        Kind::ThirdPartyGlobalConfig,
        Kind::ThirdPartyGlobalBgpConfig,
        Kind::ThirdPartyGlobalBgpPeer,
        Kind::SystemNetworkPolicy,
    ];

    /// The custom resources that hold Calico's data in v2.5 and v2.6.
    pub const CUSTOM: [Kind; 5] =
        [Kind::IpPool, Kind::BgpPeer, Kind::GlobalFelixConfig, Kind::GlobalBgpConfig, Kind::GlobalNetworkPolicy];

    /// The custom resources that hold Calico's data from v3 on, besides those of v2.6 that go by the same name.
    pub const V3: [Kind; 19] = [
        Kind::BgpConfiguration,
        Kind::BgpFilter,
        Kind::BlockAffinity,
        Kind::CalicoNodeStatus,
        Kind::ClusterInformation,
        Kind::FelixConfiguration,
        Kind::GlobalNetworkSet,
        Kind::HostEndpoint,
        Kind::IpamBlock,
        Kind::IpamConfig,
        Kind::IpamHandle,
        Kind::IpReservation,
        Kind::KubeControllersConfiguration,
        Kind::CalicoNetworkPolicy,
        Kind::NetworkSet,
        Kind::StagedGlobalNetworkPolicy,
        Kind::StagedKubernetesNetworkPolicy,
        Kind::StagedNetworkPolicy,
        Kind::Tier,
    ];

    /// Answers whether a definition brings the kind.
    pub fn is_custom(self) -> bool {
        Kind::CUSTOM.contains(&self) || Kind::V3.contains(&self)
    }

    /// Answers the kind's name as `kubectl` prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Namespace => "Namespace",
            Kind::Node => "Node",
            Kind::Pod => "Pod",
            Kind::ConfigMap => "ConfigMap",
            Kind::Secret => "Secret",
            Kind::ServiceAccount => "ServiceAccount",
            Kind::DaemonSet => "DaemonSet",
            Kind::Deployment => "Deployment",
            Kind::ReplicaSet => "ReplicaSet",
            Kind::ControllerRevision => "ControllerRevision",
            Kind::NetworkPolicy => "NetworkPolicy",
            Kind::ClusterRole => "ClusterRole",
            Kind::ClusterRoleBinding => "ClusterRoleBinding",
            Kind::CustomResourceDefinition => "CustomResourceDefinition",
            Kind::Lease => "Lease",
            Kind::Job => "Job",
            Kind::PriorityClass => "PriorityClass",
            Kind::PodDisruptionBudget => "PodDisruptionBudget",
            Kind::Service => "Service",
            Kind::AdminNetworkPolicy => "AdminNetworkPolicy",
            Kind::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
            Kind::ThirdPartyIpPool => "IpPool",
            Kind::ThirdPartyGlobalConfig => "GlobalConfig",
            Kind::ThirdPartyGlobalBgpConfig => "GlobalBgpConfig",
            Kind::ThirdPartyGlobalBgpPeer => "GlobalBgpPeer",
            Kind::SystemNetworkPolicy => "SystemNetworkPolicy",
            Kind::IpPool => "IPPool",
            Kind::BgpPeer => "BGPPeer",
            Kind::GlobalFelixConfig => "GlobalFelixConfig",
            Kind::GlobalBgpConfig => "GlobalBGPConfig",
            Kind::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            Kind::BgpConfiguration => "BGPConfiguration",
            Kind::BgpFilter => "BGPFilter",
            Kind::BlockAffinity => "BlockAffinity",
            Kind::CalicoNodeStatus => "CalicoNodeStatus",
            Kind::ClusterInformation => "ClusterInformation",
            Kind::FelixConfiguration => "FelixConfiguration",
            Kind::GlobalNetworkSet => "GlobalNetworkSet",
            Kind::HostEndpoint => "HostEndpoint",
            Kind::IpamBlock => "IPAMBlock",
            Kind::IpamConfig => "IPAMConfig",
            Kind::IpamHandle => "IPAMHandle",
            Kind::IpReservation => "IPReservation",
            Kind::KubeControllersConfiguration => "KubeControllersConfiguration",
            Kind::CalicoNetworkPolicy => "NetworkPolicy",
            Kind::NetworkSet => "NetworkSet",
            Kind::StagedGlobalNetworkPolicy => "StagedGlobalNetworkPolicy",
            Kind::StagedKubernetesNetworkPolicy => "StagedKubernetesNetworkPolicy",
            Kind::StagedNetworkPolicy => "StagedNetworkPolicy",
            Kind::Tier => "Tier",
            Kind::EtcdKey => "EtcdKey",
        }
    }

    /// Answers whether objects of this kind live in a namespace.
    pub const fn is_namespaced(self) -> bool {
        match self {
            Kind::Pod
            | Kind::ConfigMap
            | Kind::Secret
            | Kind::ServiceAccount
            | Kind::DaemonSet
            | Kind::Deployment
            | Kind::ReplicaSet
            | Kind::ControllerRevision
            | Kind::NetworkPolicy
            | Kind::Lease
            | Kind::Job
            | Kind::ThirdPartyIpPool
            | Kind::ThirdPartyGlobalConfig
            | Kind::ThirdPartyGlobalBgpConfig
            | Kind::ThirdPartyGlobalBgpPeer
            | Kind::PodDisruptionBudget
            | Kind::Service
            | Kind::CalicoNetworkPolicy
            | Kind::NetworkSet
            | Kind::StagedKubernetesNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::SystemNetworkPolicy => true,
            Kind::Namespace
            | Kind::Node
            | Kind::ClusterRole
            | Kind::ClusterRoleBinding
            | Kind::CustomResourceDefinition
            | Kind::PriorityClass
            | Kind::AdminNetworkPolicy
            | Kind::BaselineAdminNetworkPolicy
            | Kind::IpPool
            | Kind::BgpPeer
            | Kind::GlobalFelixConfig
            | Kind::GlobalBgpConfig
            | Kind::GlobalNetworkPolicy
            | Kind::BgpConfiguration
            | Kind::BgpFilter
            | Kind::BlockAffinity
            | Kind::CalicoNodeStatus
            | Kind::ClusterInformation
            | Kind::FelixConfiguration
            | Kind::GlobalNetworkSet
            | Kind::HostEndpoint
            | Kind::IpamBlock
            | Kind::IpamConfig
            | Kind::IpamHandle
            | Kind::IpReservation
            | Kind::KubeControllersConfiguration
            | Kind::StagedGlobalNetworkPolicy
            | Kind::Tier
            | Kind::EtcdKey => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Names one object of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
}

impl ObjectRef {
    /// Names an object that lives in a namespace.
    pub fn namespaced(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: Some(namespace.into()), name: name.into() }
    }

    /// Names an object of the whole cluster.
    pub fn cluster(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, namespace: None, name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(formatter, "{} {}/{}", self.kind, namespace, self.name),
            None => write!(formatter, "{} {}", self.kind, self.name),
        }
    }
}
