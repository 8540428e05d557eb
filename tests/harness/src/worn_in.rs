//! Clusters as they are after some years with Calico: odd data, and manifests that were edited by hand.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::control_plane::{ControlPlane, Kubernetes};
use crate::error::{Result, Trying};
use crate::fixture;
use crate::nodes::ready_condition;
use crate::parallel::for_each;
use crate::wait::{Seen, wait_until};

/// A release of Calico that the fixtures hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// From a manifest without rights and, on etcd, with a pool that a Job made.
    V2_0_2,
    /// From manifests without rights, but for the one for kubeadm.
    V2_1_5,
    /// Third party resources, and network policies that only count in annotated namespaces.
    V2_2_1,
    /// The same, but on the Kubernetes datastore every network policy counts.
    V2_3_0,
    /// Third party resources, and network policies of today.
    V2_4_1,
    /// Custom resources.
    V2_5_1,
}

/// What Calico does in the cluster, and where it keeps its data; not every release is there in every flavour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// It connects pods and enforces policy, with the Kubernetes datastore.
    Networking,
    /// It only enforces policy, with the Kubernetes datastore.
    PolicyOnly,
    /// It only enforces policy and flannel connects pods, with the Kubernetes datastore.
    Canal,
    /// The same with an etcd that is not in the cluster.
    CanalEtcd,
    /// It connects pods and enforces policy, with an etcd that is not in the cluster. No etcd runs here.
    Etcd,
    /// The same with the etcd that the manifest for kubeadm has. Its pod is simulated, too.
    Kubeadm,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Eight to thirteen objects of Calico and three namespaces.
    Small,
    /// Everything odd that is still legal: up to 77 objects of Calico and six namespaces.
    Full,
}

/// The cluster to lay out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WornIn {
    /// The release of Calico that it runs.
    pub release: Release,
    /// What Calico does in it.
    pub flavour: Flavour,
    /// How much there is in it.
    pub size: Size,
}

impl Release {
    /// All releases, oldest first.
    pub const ALL: [Release; 6] =
        [Release::V2_0_2, Release::V2_1_5, Release::V2_2_1, Release::V2_3_0, Release::V2_4_1, Release::V2_5_1];

    /// The release as its tag says it, for example `v2.2.1`.
    pub fn name(self) -> &'static str {
        match self {
            Release::V2_0_2 => "v2.0.2",
            Release::V2_1_5 => "v2.1.5",
            Release::V2_2_1 => "v2.2.1",
            Release::V2_3_0 => "v2.3.0",
            Release::V2_4_1 => "v2.4.1",
            Release::V2_5_1 => "v2.5.1",
        }
    }

    fn definitions(self) -> &'static [&'static str] {
        match self {
            Release::V2_0_2 | Release::V2_1_5 | Release::V2_2_1 | Release::V2_3_0 => &["third-party-v2.2"],
            Release::V2_4_1 => &["third-party-v2.2", "third-party-v2.4"],
            Release::V2_5_1 => &["custom-v2.5"],
        }
    }

    fn data(self) -> &'static [&'static str] {
        match self {
            Release::V2_0_2 | Release::V2_1_5 | Release::V2_2_1 | Release::V2_3_0 => &["v2.2"],
            Release::V2_4_1 => &["v2.2", "v2.4"],
            Release::V2_5_1 => &["v2.5"],
        }
    }

    fn obeys_every_network_policy(self, flavour: Flavour) -> bool {
        match self {
            Release::V2_0_2 | Release::V2_1_5 | Release::V2_2_1 => false,
            Release::V2_3_0 => !flavour.is_on_etcd(),
            Release::V2_4_1 | Release::V2_5_1 => true,
        }
    }

    fn keeps_peers_of_nodes(self) -> bool {
        match self {
            Release::V2_0_2 | Release::V2_1_5 | Release::V2_2_1 | Release::V2_3_0 => false,
            Release::V2_4_1 | Release::V2_5_1 => true,
        }
    }

    /// The strategy that somebody chose; both occur.
    fn update_strategy(self) -> Value {
        match self {
            Release::V2_0_2 | Release::V2_1_5 | Release::V2_2_1 | Release::V2_3_0 | Release::V2_4_1 => {
                json!({"type": "OnDelete"})
            }
            Release::V2_5_1 => json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}),
        }
    }
}

impl Flavour {
    /// All flavours.
    pub const ALL: [Flavour; 6] =
        [Flavour::Networking, Flavour::PolicyOnly, Flavour::Canal, Flavour::CanalEtcd, Flavour::Etcd, Flavour::Kubeadm];

    /// The flavour as the files name it.
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Networking => "networking",
            Flavour::PolicyOnly => "policy-only",
            Flavour::Canal => "canal",
            Flavour::CanalEtcd => "canal-etcd",
            Flavour::Etcd => "etcd",
            Flavour::Kubeadm => "kubeadm",
        }
    }

    fn is_on_etcd(self) -> bool {
        match self {
            Flavour::Networking | Flavour::PolicyOnly | Flavour::Canal => false,
            Flavour::CanalEtcd | Flavour::Etcd | Flavour::Kubeadm => true,
        }
    }
}

impl Size {
    /// Both sizes.
    pub const ALL: [Size; 2] = [Size::Small, Size::Full];

    /// The size as the files name it.
    pub fn name(self) -> &'static str {
        match self {
            Size::Small => "small",
            Size::Full => "full",
        }
    }
}

impl WornIn {
    /// Whether the fixtures hold this release in this flavour.
    pub fn is_there(self) -> bool {
        fixture::exists(&self.manifest())
    }

    fn manifest(self) -> String {
        format!("{}/{}.yaml", self.release.name(), self.flavour.name())
    }

    /// The objects of the cluster as the files hold them.
    pub fn objects(self) -> Result<Vec<Value>> {
        let mut objects = Vec::new();
        for file in self.files() {
            objects.extend(fixture::read(&file)?);
        }
        Ok(objects)
    }

    /// The objects in the versions that a Kubernetes has, with the strategy that somebody chose there.
    pub fn objects_on(self, kubernetes: Kubernetes) -> Result<Vec<Value>> {
        let mut objects = self.objects()?;
        for object in objects
            .iter_mut()
            .filter(|object| object["kind"] == "DaemonSet" && object["metadata"]["name"] != "calico-etcd")
        {
            match kubernetes {
                Kubernetes::V1_34 => object["spec"]["updateStrategy"] = self.release.update_strategy(),
                // The default of extensions/v1beta1 is OnDelete.
                Kubernetes::V1_8 => {}
            }
        }
        Ok(objects.iter().map(|object| fixture::fitted(kubernetes, object)).collect())
    }

    fn files(self) -> Vec<String> {
        let size = self.size.name();
        let mut files: Vec<String> = Vec::new();
        if !self.flavour.is_on_etcd() {
            files.extend(self.release.definitions().iter().map(|name| format!("definitions/{name}.yaml")));
            files.extend(self.release.data().iter().map(|name| format!("data/{name}-{size}.yaml")));
        }
        files.push(format!("namespaces/{size}.yaml"));
        if self.release.obeys_every_network_policy(self.flavour) {
            files.push(format!("namespaces/{size}-converted.yaml"));
        }
        files.push(self.manifest());
        files
    }
}

/// Lays out the cluster, and waits until each node has a ready pod of Calico. Add the nodes first.
pub fn worn_in(plane: &ControlPlane, cluster: &WornIn) -> Result<()> {
    plane.create_all(&cluster.objects_on(plane.kubernetes())?)?;
    annotate_nodes(plane, cluster)?;
    plane.wait_for_calico()?;
    if cluster.flavour.is_on_etcd() { plane.wait_for_controller() } else { Ok(()) }
}

impl ControlPlane {
    /// Waits until each node has exactly one pod of the DaemonSet `calico-node`, and that one ready.
    pub fn wait_for_calico(&self) -> Result<()> {
        wait_until("a ready pod of calico-node on each node", || {
            let pods = self.calico_pods()?;
            let nodes = self.api().list("/api/v1/nodes").trying(|| "list the nodes".to_owned())?;
            let names = nodes.iter().filter_map(|node| node["metadata"]["name"].as_str());
            let missing: Vec<&str> = names.filter(|node| !has_one_ready(&pods, node)).collect();
            Ok(if missing.is_empty() { Seen::Yes(()) } else { Seen::NotYet(format!("none on {missing:?}")) })
        })
    }

    /// Waits until one pod of Calico's controllers is ready.
    fn wait_for_controller(&self) -> Result<()> {
        wait_until("a ready pod of calico-policy-controller", || {
            let pods = self.pods("k8s-app in (calico-policy, calico-policy-controller)")?;
            let ready = pods.iter().filter(|pod| ready_condition(pod) == Some("True")).count();
            Ok(if ready == 1 { Seen::Yes(()) } else { Seen::NotYet(format!("{ready} ready")) })
        })
    }

    /// The pods in `kube-system` that a label selector picks.
    pub fn pods(&self, selector: &str) -> Result<Vec<Value>> {
        let escaped = selector.replace('=', "%3D").replace(' ', "%20");
        let path = format!("/api/v1/namespaces/kube-system/pods?labelSelector={escaped}");
        self.api().list(&path).trying(|| format!("list the pods with `{selector}`"))
    }

    /// The pods of the DaemonSet `calico-node` or, where there are none, of canal, by node.
    pub fn calico_pods(&self) -> Result<BTreeMap<String, Vec<Value>>> {
        let mut pods = self.pods("k8s-app=calico-node")?;
        if pods.is_empty() {
            pods = self.pods("k8s-app in (canal,canal-node)")?;
        }
        let mut by_node: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for pod in pods {
            let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
            by_node.entry(node).or_default().push(pod);
        }
        Ok(by_node)
    }
}

/// Whether the node has exactly one pod, which is ready and not about to go.
pub(crate) fn has_one_ready(pods: &BTreeMap<String, Vec<Value>>, node: &str) -> bool {
    match pods.get(node).map(Vec::as_slice) {
        Some([pod]) => ready_condition(pod) == Some("True") && pod["metadata"]["deletionTimestamp"].is_null(),
        Some(_) | None => false,
    }
}

/// Calico keeps the addresses of nodes, and peers of single nodes, in annotations; no upgrade has to touch them.
fn annotate_nodes(plane: &ControlPlane, cluster: &WornIn) -> Result<()> {
    match cluster.flavour {
        Flavour::Networking => {}
        // On etcd they are in etcd.
        Flavour::PolicyOnly | Flavour::Canal | Flavour::CanalEtcd | Flavour::Etcd | Flavour::Kubeadm => return Ok(()),
    }
    let nodes = plane.api().list("/api/v1/nodes").trying(|| "list the nodes".to_owned())?;
    for_each(&nodes, |node| {
        let address = node["status"]["addresses"][0]["address"].as_str().unwrap_or_default();
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        let mut annotations = json!({"projectcalico.org/IPv4Address": format!("{address}/24")});
        if cluster.release.keeps_peers_of_nodes() {
            annotations["peer.bgp.projectcalico.org/172-16-9-1"] =
                json!("{\"ip\":\"172.16.9.1\",\"as_num\":\"64520\"}");
        }
        let patch = json!({"metadata": {"annotations": annotations}});
        let path = format!("/api/v1/nodes/{name}");
        plane.api().merge_patch(&path, &patch).trying(|| format!("annotate node `{name}`")).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(release: Release, size: Size) -> std::collections::BTreeSet<String> {
        let objects = WornIn { release, flavour: Flavour::Networking, size }.objects().unwrap();
        let of_calico = |object: &&Value| object["apiVersion"].as_str().unwrap().contains("projectcalico.org");
        objects.iter().filter(of_calico).map(|object| object["kind"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn calico_2_2_keeps_nothing_but_pools_and_settings() {
        for size in Size::ALL {
            assert_eq!(kinds(Release::V2_2_1, size), ["GlobalConfig", "IpPool"].map(str::to_owned).into());
        }
    }

    #[test]
    fn a_full_cluster_of_calico_2_4_keeps_every_kind_of_third_party_resource() {
        let all = ["GlobalBgpConfig", "GlobalBgpPeer", "GlobalConfig", "IpPool", "SystemNetworkPolicy"];
        assert_eq!(kinds(Release::V2_4_1, Size::Full), all.map(str::to_owned).into());
    }
}
