//! What can be odd about a cluster, each by itself.

use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, Kubernetes};
use crate::error::{Result, Trying};
use crate::fixture;
use crate::wait::{Seen, wait_until};

/// Why a third party resource cannot simply become a custom resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Upstream's migration loses it without a word.
    Dropped,
    /// Calico 2.5 refuses it.
    Rejected,
    /// Nothing of its kind can be listed any more by the programs of its time.
    Invalid,
    /// Two objects claim one name, with different content.
    Conflict,
}

impl Block {
    /// All reasons.
    pub const ALL: [Block; 4] = [Block::Dropped, Block::Rejected, Block::Invalid, Block::Conflict];

    fn file(self) -> &'static str {
        match self {
            Block::Dropped => "dropped",
            Block::Rejected => "rejected",
            Block::Invalid => "invalid",
            Block::Conflict => "conflict",
        }
    }
}

/// Adds an object that stands in the way of the migration of third party resources.
pub fn blocking_object(plane: &ControlPlane, block: Block) -> Result<()> {
    lay_out(plane, block.file())
}

/// Adds a setting in a namespace where Calico never looks.
pub fn ignored_object(plane: &ControlPlane) -> Result<()> {
    lay_out(plane, "ignored")
}

/// Adds the namespace `half-typed`, whose annotation about isolation is not JSON.
pub fn broken_annotation(plane: &ControlPlane) -> Result<()> {
    lay_out(plane, "broken-annotation")
}

/// Adds the namespace `half-gone`, which is isolated, was deleted, and cannot go.
pub fn terminating_namespace(plane: &ControlPlane) -> Result<()> {
    lay_out(plane, "terminating-namespace")?;
    let path = "/api/v1/namespaces/half-gone";
    plane.api().delete(path).trying(|| "delete namespace `half-gone`".to_owned())?;
    wait_until("namespace `half-gone` to be on its way out", || {
        let namespace = plane.api().get(path).trying(|| "read namespace `half-gone`".to_owned())?;
        let phase = &namespace["status"]["phase"];
        Ok(if phase == "Terminating" { Seen::Yes(()) } else { Seen::NotYet(phase.to_string()) })
    })
}

/// Adds a second Calico: the DaemonSet `canal`.
pub fn second_install(plane: &ControlPlane) -> Result<()> {
    lay_out(plane, "second-install")
}

/// Adds the marks of an installation by Calico's operator.
pub fn operator_install(plane: &ControlPlane) -> Result<()> {
    lay_out(plane, "operator-install")
}

/// Gives calico-node an image whose tag belongs to no release.
pub fn unknown_image_tag(plane: &ControlPlane) -> Result<()> {
    let path = calico_node_path(plane);
    let mut calico_node = plane.api().get(path).trying(|| "read DaemonSet `calico-node`".to_owned())?;
    calico_node["spec"]["template"]["spec"]["containers"][0]["image"] =
        json!("registry.corp.example:5000/calico/node:v9.9.9-corp.1");
    plane.api().replace(path, &calico_node).trying(|| "change the image of calico-node".to_owned())?;
    plane.wait_for_calico()
}

/// Takes Calico away, but not what it kept.
pub fn no_calico(plane: &ControlPlane) -> Result<()> {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    let paths = [
        calico_node_path(plane).to_owned(),
        "/api/v1/namespaces/kube-system/configmaps/calico-config".to_owned(),
        "/api/v1/namespaces/kube-system/serviceaccounts/calico-node".to_owned(),
        format!("{RBAC}/clusterrolebindings/calico-node"),
        format!("{RBAC}/clusterroles/calico-node"),
    ];
    for path in &paths {
        plane.api().delete_if_present(path).trying(|| format!("delete `{path}`"))?;
    }
    wait_until("the pods of calico-node to be gone", || {
        let left = plane.pods("k8s-app=calico-node")?.len();
        Ok(if left == 0 { Seen::Yes(()) } else { Seen::NotYet(format!("{left} left")) })
    })
}

/// The path of the DaemonSet `calico-node` in the best version that the API server has.
pub fn calico_node_path(plane: &ControlPlane) -> &'static str {
    match plane.kubernetes() {
        Kubernetes::V1_34 => "/apis/apps/v1/namespaces/kube-system/daemonsets/calico-node",
        Kubernetes::V1_8 => "/apis/extensions/v1beta1/namespaces/kube-system/daemonsets/calico-node",
    }
}

fn lay_out(plane: &ControlPlane, file: &str) -> Result<()> {
    let objects: Vec<Value> = fixture::read(&format!("variations/{file}.yaml"))?;
    plane.create_all(&objects)
}
