use serde::{Deserialize, Serialize};

use crate::resource::ObjectRef;

/// A sign that somebody else's tool wrote an object and may write it again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    pub tool: Tool,
    pub object: ObjectRef,
    /// What was seen, such as `label k8s-addon=networking.projectcalico.org`.
    pub sign: String,
}

/// Tools that write objects of Calico.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    ArgoCd,
    Flux,
    AddonManager,
    Kops,
    Rke,
    /// RKE2 and k3s, which share the controller that applies charts and manifests.
    K3s,
    K0s,
    Microk8s,
    Kapp,
    Helm,
    Kubespray,
    Kubeadm,
}

impl Tool {
    /// All tools that are recognised.
    pub const ALL: [Tool; 12] = [
        Tool::ArgoCd,
        Tool::Flux,
        Tool::AddonManager,
        Tool::Kops,
        Tool::Rke,
        Tool::K3s,
        Tool::K0s,
        Tool::Microk8s,
        Tool::Kapp,
        Tool::Helm,
        Tool::Kubespray,
        Tool::Kubeadm,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Tool::ArgoCd => "Argo CD",
            Tool::Flux => "Flux",
            Tool::AddonManager => "the addon manager",
            Tool::Kops => "kOps",
            Tool::Rke => "RKE",
            Tool::K3s => "RKE2 or k3s",
            Tool::K0s => "k0s",
            Tool::Microk8s => "MicroK8s",
            Tool::Kapp => "kapp",
            Tool::Helm => "Helm",
            Tool::Kubespray => "Kubespray",
            Tool::Kubeadm => "kubeadm",
        }
    }
}
