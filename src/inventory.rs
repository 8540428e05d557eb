//! Everything that is known about a cluster at one moment. What is not known says why; nothing is guessed.

mod ask;
mod etcd;
mod field;
mod owner;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use ask::{Answering, Ask, FieldTest, Found, KubeProxy, Nodes, Objects, Place, Sight};
pub use etcd::EtcdFacts;
pub use field::{Path, Test};

use crate::{
    resource::{Digest, Document, Kind, ObjectRef, Taint},
    version::{Minor, Version},
};

pub use owner::{Owner, Tool};

/// A cluster as seen at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    pub cluster: ClusterFacts,
    pub installs: Vec<Install>,
    pub operator: Option<String>,
    pub nodes: Vec<NodeFacts>,
    pub namespaces: Vec<NamespaceFacts>,
    /// Calico's data before v2.5: ThirdPartyResources in kube-system and elsewhere.
    pub third_party: Vec<Stored>,
    /// Which ThirdPartyResources the server serves, whether or not it holds objects of them.
    pub third_party_served: Vec<Kind>,
    /// Calico's data from v2.5 on: custom resources.
    pub custom: Vec<Stored>,
    /// The live objects of the install that an upgrade may change.
    pub objects: Vec<Stored>,
    pub rights_missing: Vec<String>,
    /// Whose tools wrote the objects of the install, as far as they left a sign.
    #[serde(default)]
    pub owners: Vec<Owner>,
    /// The etcd of Calico's own data, if the install has one: what is in it, or why it could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<Fact<EtcdFacts>>,
    /// What the gates of the releases that are crossed asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sights: Vec<Sight>,
}

/// The cluster itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// The uid of namespace kube-system: it tells clusters apart whatever their address.
    pub uid: String,
    pub server: String,
    pub kubernetes: Version,
    pub has_leases: bool,
    /// Whether it has CustomResourceDefinitions at all: Kubernetes v1.6 has not.
    pub has_definitions: bool,
    pub can_try_writes: bool,
    /// The id of the etcd cluster of Calico's own data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<String>,
}

/// A fact, or why it is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fact<T> {
    Known(T),
    Unknown { why: String },
}

/// One Calico found in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    pub daemon_set: ObjectRef,
    /// The label selector of its pods.
    pub selector: String,
    pub config_map: Option<ObjectRef>,
    pub release: Fact<Version>,
    pub flavour: Fact<Flavour>,
    pub datastore: Fact<Datastore>,
    pub node_image: String,
    pub cni_image: Option<String>,
    /// Whether it came from the manifest for kubeadm, which has service accounts and an etcd of its own.
    #[serde(default)]
    pub is_kubeadm: bool,
    /// The etcd that runs in the cluster for Calico alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_etcd: Option<ObjectRef>,
    /// What runs Calico's controllers: Deployments, and ReplicaSets that stand alone. On etcd only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<ObjectRef>,
}

/// The file of a release that an install came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edition {
    Networking,
    PolicyOnly,
    Canal,
    EtcdNetworking,
    EtcdKubeadm,
    EtcdCanal,
}

/// What Calico does in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    Networking,
    PolicyOnly,
    Canal,
}

/// Where Calico keeps its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Datastore {
    #[default]
    Kubernetes,
    Etcd,
}

/// The annotation of a node that this program cordoned; its value is the run.
pub const CORDONED_BY: &str = "calico-upgrader/cordoned-by";

/// A node, and the calico-node pod on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFacts {
    pub name: String,
    pub is_ready: bool,
    pub is_cordoned: bool,
    pub is_control_plane: bool,
    /// The run of ours that cordoned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordoned_by: Option<String>,
    /// Those that keep new pods away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// For the plan alone, so they are kept nowhere.
    #[serde(skip)]
    pub labels: Map<String, Value>,
    pub pod: Option<PodFacts>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodFacts {
    pub name: String,
    pub image: String,
    pub is_ready: bool,
}

/// A namespace and its network policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceFacts {
    pub name: String,
    pub is_terminating: bool,
    /// The text of annotation `net.beta.kubernetes.io/network-policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    pub policies: Vec<Stored>,
}

/// An object as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub object: ObjectRef,
    pub document: Document,
}

impl<T> Fact<T> {
    pub fn unknown(why: impl Into<String>) -> Self {
        Fact::Unknown { why: why.into() }
    }

    pub fn known(&self) -> Option<&T> {
        match self {
            Fact::Known(value) => Some(value),
            Fact::Unknown { .. } => None,
        }
    }
}

impl<T: fmt::Display> fmt::Display for Fact<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Known(value) => value.fmt(formatter),
            Fact::Unknown { why } => write!(formatter, "unknown ({why})"),
        }
    }
}

impl Edition {
    pub const ALL: [Edition; 6] = [
        Edition::Networking,
        Edition::PolicyOnly,
        Edition::Canal,
        Edition::EtcdNetworking,
        Edition::EtcdKubeadm,
        Edition::EtcdCanal,
    ];

    /// Answers which file an install came from.
    pub const fn of(datastore: Datastore, flavour: Flavour, is_kubeadm: bool) -> Self {
        match (datastore, flavour) {
            (Datastore::Kubernetes, Flavour::Networking) => Edition::Networking,
            (Datastore::Kubernetes, Flavour::PolicyOnly) => Edition::PolicyOnly,
            (Datastore::Kubernetes, Flavour::Canal) => Edition::Canal,
            // Whether there is networking is a value in the ConfigMap here.
            (Datastore::Etcd, Flavour::Networking | Flavour::PolicyOnly) if is_kubeadm => Edition::EtcdKubeadm,
            (Datastore::Etcd, Flavour::Networking | Flavour::PolicyOnly) => Edition::EtcdNetworking,
            (Datastore::Etcd, Flavour::Canal) => Edition::EtcdCanal,
        }
    }

    /// The name of the file, without its ending.
    pub const fn name(self) -> &'static str {
        match self {
            Edition::Networking => "networking",
            Edition::PolicyOnly => "policy-only",
            Edition::Canal => "canal",
            Edition::EtcdNetworking => "etcd-networking",
            Edition::EtcdKubeadm => "etcd-kubeadm",
            Edition::EtcdCanal => "etcd-canal",
        }
    }

    pub const fn datastore(self) -> Datastore {
        match self {
            Edition::Networking | Edition::PolicyOnly | Edition::Canal => Datastore::Kubernetes,
            Edition::EtcdNetworking | Edition::EtcdKubeadm | Edition::EtcdCanal => Datastore::Etcd,
        }
    }

    /// The name that the file gives to the DaemonSet.
    pub const fn daemon_set(self) -> &'static str {
        match self {
            Edition::Networking | Edition::PolicyOnly | Edition::EtcdNetworking | Edition::EtcdKubeadm => "calico-node",
            Edition::Canal => "canal",
            Edition::EtcdCanal => "canal-node",
        }
    }
}

impl Install {
    /// Answers which file the install came from, as far as that is known.
    pub fn edition(&self) -> Option<Edition> {
        Some(Edition::of(*self.datastore.known()?, *self.flavour.known()?, self.is_kubeadm))
    }
}

impl Flavour {
    pub const fn name(self) -> &'static str {
        match self {
            Flavour::Networking => "networking",
            Flavour::PolicyOnly => "policy-only",
            Flavour::Canal => "canal",
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl Datastore {
    pub const fn name(self) -> &'static str {
        match self {
            Datastore::Kubernetes => "kubernetes",
            Datastore::Etcd => "etcd",
        }
    }
}

impl fmt::Display for Datastore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl Stored {
    pub fn digest(&self) -> Digest {
        self.document.digest()
    }
}

impl Inventory {
    /// Finds a live object of the install.
    pub fn object(&self, reference: &ObjectRef) -> Option<&Document> {
        self.objects.iter().find(|stored| stored.object == *reference).map(|stored| &stored.document)
    }

    /// What is in the etcd of Calico's own data, if it was asked and answered.
    pub fn known_etcd(&self) -> Option<&EtcdFacts> {
        self.etcd.as_ref().and_then(Fact::known)
    }

    /// The release line of the cluster's Kubernetes.
    pub fn kubernetes_line(&self) -> Minor {
        self.cluster.kubernetes.line()
    }
}
