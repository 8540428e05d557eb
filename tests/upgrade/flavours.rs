//! Upgrades of the other manifests: etcd, its form for kubeadm, and canal; and that two controllers never run at once.

use std::{collections::BTreeMap, fs};

use calico_upgrader::{
    inventory::Edition,
    resource::{Document, Kind, ObjectRef},
    runbook,
};
use harness::{Flavour, Kubernetes, Release, Size, State, WornIn};
use serde_json::{Value, json};

use crate::{
    lab::{lab, upgrade},
    tier::{slice, versions},
};

/// The password and the keys in the secrets of every worn-in cluster.
const SECRET: &str = "canary-never-print-me";
pub const REGISTRY: &str = "registry.corp.example:5000/calico";

pub fn small(release: Release, flavour: Flavour) -> WornIn {
    WornIn { release, flavour, size: Size::Small }
}

#[test]
fn every_flavour_reaches_v2_6_12_the_same_on_both_kubernetes_versions() {
    // With the number of settings that the fixture says were edited.
    let clusters = [
        (small(Release::V2_0_2, Flavour::Etcd), 16),
        (small(Release::V2_1_5, Flavour::Etcd), 16),
        (small(Release::V2_2_1, Flavour::Etcd), 16),
        (small(Release::V2_3_0, Flavour::Etcd), 16),
        (small(Release::V2_4_1, Flavour::Etcd), 19),
        (small(Release::V2_5_1, Flavour::Etcd), 16),
        (small(Release::V2_5_1, Flavour::Kubeadm), 16),
        (small(Release::V2_2_1, Flavour::Canal), 13),
        (small(Release::V2_3_0, Flavour::Canal), 13),
        (small(Release::V2_4_1, Flavour::Canal), 13),
        (small(Release::V2_5_1, Flavour::Canal), 13),
        (small(Release::V2_5_1, Flavour::CanalEtcd), 21),
    ];
    for (cluster, edited) in slice("flavours", &clusters, 4) {
        let ends = Kubernetes::ALL.map(|kubernetes| upgrade_one(kubernetes, cluster, edited));
        assert_eq!(ends[0], ends[1], "{} {}", cluster.release.name(), cluster.flavour.name());
    }
}

#[test]
fn the_oldest_release_of_every_flavour_reaches_v2_6_12_too() {
    for (kubernetes, release, flavour, edited) in [
        (Kubernetes::V1_8, Release::V2_0_2, Flavour::Kubeadm, 16),
        (Kubernetes::V1_34, Release::V2_1_5, Flavour::Kubeadm, 16),
        (Kubernetes::V1_34, Release::V2_2_1, Flavour::CanalEtcd, 21),
    ] {
        upgrade_one(kubernetes, small(release, flavour), edited);
    }
}

/// Upgrades a cluster, holds what must be true of every one, and answers what Calico is then.
fn upgrade_one(kubernetes: Kubernetes, cluster: WornIn, edited: usize) -> BTreeMap<String, Value> {
    let lab = lab(kubernetes, cluster);
    let ran = lab.tool(&upgrade("run")).exits(0);
    assert!(!ran.words.contains(SECRET) && !ran.data.contains(SECRET));
    lab.run_files().iter().for_each(|(path, text)| assert!(!text.contains(SECRET), "a secret is in {path}"));
    let plan: Value =
        serde_json::from_str(&fs::read_to_string(lab.run_directory().join("plan.json")).unwrap()).unwrap();
    assert_eq!(plan["plan"]["kept"].as_array().unwrap().len(), edited, "{:#}", plan["plan"]["kept"]);
    let (before, after) = (lab.start().state(), lab.cluster_state().unwrap());
    let is_ours_to_leave = |key: &str| key.contains("calico-etcd") || key.starts_with("projectcalico.org/");
    for (key, object) in before.iter().filter(|(key, _)| is_ours_to_leave(key)) {
        assert_eq!(after.get(key), Some(object), "{key} was touched");
    }
    match cluster.flavour {
        Flavour::Canal => canal_is_kept(before, &after, "canal", "kube-flannel"),
        Flavour::CanalEtcd => {
            canal_is_kept(before, &after, "canal-node", "flannel");
            controllers_are_as_shipped(&after, None);
        }
        Flavour::Etcd | Flavour::Kubeadm => controllers_are_as_shipped(&after, Some("calico-kube-controllers")),
        Flavour::Networking | Flavour::PolicyOnly => panic!("they have tests of their own"),
    }
    node_edits_are_kept(&after, cluster.flavour);
    data_is_copied(before, &after);
    policies_mean_the_same(before, &after, cluster);
    lab.tool(&["plan", "--to", "v2.6", "--allow-untested", "--detailed-exitcode"]).exits(0).says("Nothing to do");
    lab.tool(&["verify"]).exits(0);
    calico_of(&after)
}

/// What the old release kept in Kubernetes is there for the new one as well.
fn data_is_copied(before: &State, after: &State) {
    let count = |state: &State, start: &str| state.keys().filter(|key| key.starts_with(start)).count();
    for (old, new) in [("ippools", "ippools"), ("globalconfigs", "globalfelixconfigs")] {
        let of_old = count(before, &format!("projectcalico.org/{old}/"));
        if of_old > 0 {
            assert_eq!(count(after, &format!("crd.projectcalico.org/{new}/")), of_old, "{old}");
        }
    }
}

/// Where an annotation decided, isolated namespaces deny by a policy now, and the others have none that could wake up.
fn policies_mean_the_same(before: &State, after: &State, cluster: WornIn) {
    let policy = |namespace: &str, name: &str| format!("networking.k8s.io/networkpolicies/{namespace}/{name}");
    let is_converted = match (cluster.flavour, cluster.release) {
        (Flavour::Canal, release) => matches!(release, Release::V2_2_1),
        (_, Release::V2_0_2 | Release::V2_1_5 | Release::V2_2_1 | Release::V2_3_0) => true,
        (_, Release::V2_4_1 | Release::V2_5_1) => false,
    };
    assert!(after.contains_key(&policy("payments", "default-deny")));
    assert_eq!(after.get(&policy("payments", "allow-web")), before.get(&policy("payments", "allow-web")));
    let shop = |state: &State| state.keys().filter(|key| key.contains("/networkpolicies/shop/")).count();
    assert_eq!(shop(after), if is_converted { 0 } else { shop(before) }, "a dormant policy woke up, or one is lost");
}

/// Everything of Calico's, as both Kubernetes versions show it alike.
fn calico_of(state: &State) -> BTreeMap<String, Value> {
    let is_whole = |key: &str| key.contains("/networkpolicies/") || key.starts_with("/configmaps/kube-system/ca");
    let whole = state.iter().filter(|(key, _)| is_whole(key));
    let part = |object: &Value| json!({"spec": object["spec"], "data": object["data"]});
    let mut parts: BTreeMap<String, Value> = whole.map(|(key, object)| (key.clone(), part(object))).collect();
    for (key, workload) in state.iter().filter(|(key, _)| key.contains("/daemonsets/") || key.contains("/deployments/"))
    {
        for mut container in containers(workload) {
            let name = format!("{} {}", key.rsplit('/').next().unwrap(), container["name"]);
            container["env"].as_array_mut().unwrap().sort_by_key(|one| one["name"].to_string());
            parts.insert(name, container);
        }
    }
    parts
}

fn workload<'a>(state: &'a State, plural: &str, name: &str) -> &'a Value {
    let end = format!("/{plural}/kube-system/{name}");
    state.iter().find(|(key, _)| key.ends_with(&end)).unwrap_or_else(|| panic!("{end} is not there")).1
}

fn containers(workload: &Value) -> Vec<Value> {
    workload["spec"]["template"]["spec"]["containers"].as_array().unwrap().clone()
}

fn container(workload: &Value, name: &str) -> Value {
    containers(workload).into_iter().find(|container| container["name"] == name).unwrap()
}

fn environment(container: &Value, name: &str) -> Option<Value> {
    container["env"].as_array().unwrap().iter().find(|one| one["name"] == name).map(|one| one["value"].clone())
}

fn node_edits_are_kept(state: &State, flavour: Flavour) {
    let (name, config, cni) = match flavour {
        Flavour::Canal => ("canal", "canal-config", "install-cni"),
        Flavour::CanalEtcd => ("canal-node", "canal-config", "install-calico-cni"),
        _ => ("calico-node", "calico-config", "install-cni"),
    };
    let daemon_set = workload(state, "daemonsets", name);
    let node = container(daemon_set, "calico-node");
    assert_eq!(node["image"], format!("{REGISTRY}/node:v2.6.12"));
    assert_eq!(container(daemon_set, cni)["image"], format!("{REGISTRY}/cni:v1.11.8"));
    assert_eq!(environment(&node, "FELIX_PROMETHEUSMETRICSENABLED"), Some(json!("true")));
    assert_eq!(node["resources"], json!({"requests": {"cpu": "400m"}, "limits": {"memory": "512Mi"}}));
    assert_eq!(daemon_set["metadata"]["annotations"]["corp.example/owner"], "network-team");
    let pod = &daemon_set["spec"]["template"]["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry-corp"}]));
    let edge = json!({"key": "dedicated", "operator": "Equal", "value": "edge", "effect": "NoSchedule"});
    assert!(pod["tolerations"].as_array().unwrap().contains(&edge));
    let data = &workload(state, "configmaps", config)["data"];
    let cni: Value = serde_json::from_str(data["cni_network_config"].as_str().unwrap()).unwrap();
    let calico = match flavour {
        Flavour::Canal => &cni["plugins"][0],
        Flavour::CanalEtcd => &cni["plugins"][0]["delegate"],
        _ => &cni,
    };
    assert_eq!(calico["mtu"], 1450);
    if config == "canal-config" {
        assert_eq!(environment(&node, "FELIX_IPTABLESREFRESHINTERVAL"), Some(json!("90")));
        assert_eq!(cni["plugins"][1]["type"], "portmap");
        return;
    }
    assert_eq!(environment(&node, "FELIX_IPINIPMTU"), Some(json!("1430")));
    assert_eq!(environment(&node, "CALICO_IPV4POOL_CIDR"), Some(json!("10.48.0.0/16")));
    let names = ["etcd_endpoints", "etcd_ca", "etcd_cert", "etcd_key", "calico_backend"];
    names
        .iter()
        .for_each(|name| assert_ne!(data[name], json!("http://127.0.0.1:2379"), "{name} is not the cluster's own"));
}

/// What people changed of the old controller is in the new one, and the old one is there without pods.
fn controllers_are_as_shipped(state: &State, account: Option<&str>) {
    let new = workload(state, "deployments", "calico-kube-controllers");
    assert_eq!((&new["spec"]["replicas"], &new["spec"]["strategy"]), (&json!(1), &json!({"type": "Recreate"})));
    let one = container(new, "calico-kube-controllers");
    assert_eq!(one["image"], format!("{REGISTRY}/kube-controllers:v1.0.5"));
    assert_eq!(environment(&one, "ENABLED_CONTROLLERS"), Some(json!("policy,profile,workloadendpoint,node")));
    assert_eq!(environment(&one, "LOG_LEVEL"), Some(json!("warning")));
    assert_eq!(one["resources"], json!({"limits": {"memory": "256Mi"}}));
    let pod = &new["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"].as_str(), account);
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry-corp"}]));
    let old = workload(state, "deployments", "calico-policy-controller");
    assert_eq!(old["spec"]["replicas"], 0);
    assert!(container(old, "calico-policy-controller")["image"].as_str().unwrap().contains("kube-policy-controller:"));
}

/// Flannel is not upgraded: its container, its network and its interface are what they were, to the byte.
fn canal_is_kept(before: &State, after: &State, daemon_set: &str, name: &str) {
    let flannel = |state| container(workload(state, "daemonsets", daemon_set), name).to_string();
    assert_eq!(flannel(before), flannel(after));
    let config = |state, key: &str| workload(state, "configmaps", "canal-config")["data"][key].clone();
    for key in ["net-conf.json", "canal_iface", "masquerade", "etcd_endpoints", "etcd_ca"] {
        assert_eq!(config(before, key), config(after, key), "{key}");
    }
}

#[test]
fn certificates_for_etcd_are_kept_and_reach_the_new_controllers() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_4_1, Flavour::Etcd));
    lab.tool(&upgrade("run")).exits(0);
    let after = lab.cluster_state().unwrap();
    let secret = "/secrets/kube-system/calico-etcd-secrets";
    assert_eq!(after.get(secret), lab.start().state().get(secret));
    assert_eq!(workload(&after, "configmaps", "calico-config")["data"]["etcd_ca"], "/calico-secrets/etcd-ca");
    let pod = &workload(&after, "deployments", "calico-kube-controllers")["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], "calico-etcd-secrets");
    assert_eq!(pod["containers"][0]["volumeMounts"][0]["mountPath"], "/calico-secrets");
}

#[test]
fn what_upstream_tested_on_etcd_needs_no_flag_and_the_rest_names_its_row() {
    for release in [Release::V2_4_1, Release::V2_5_1] {
        let lab = lab(Kubernetes::V1_8, small(release, Flavour::Etcd));
        lab.tool(&["plan", "--to", "v2.6", "--detailed-exitcode"]).exits(2).says("every key of Calico's");
        lab.tool(&["plan", "--to", "v2.6.5"]).exits(16).says("k8s-policy-no-match");
    }
    let lab = lab(Kubernetes::V1_8, small(Release::V2_3_0, Flavour::Etcd));
    let refused = lab.tool(&["plan", "--to", "v2.6"]).exits(16);
    refused.says("CU-P003").says("missing: Calico v2.3 · etcd · Kubernetes v1.8");
}

#[test]
fn policies_below_v2_4_on_etcd_are_converted() {
    let lab = lab(Kubernetes::V1_8, small(Release::V2_3_0, Flavour::Etcd));
    lab.tool(&upgrade("run")).exits(0);
    let after = lab.cluster_state().unwrap();
    assert!(after.contains_key("networking.k8s.io/networkpolicies/payments/default-deny"));
    assert!(!after.contains_key("networking.k8s.io/networkpolicies/shop/allow-web"), "a dormant policy woke up");
}

#[test]
fn an_etcd_in_the_cluster_is_shown_and_left_alone() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1, Flavour::Kubeadm));
    lab.tool(&["discover"])
        .exits(0)
        .says("DaemonSet kube-system/calico-etcd, which is left alone")
        .says("datastore etcd");
    let pods = lab.pods("k8s-app=calico-etcd").unwrap();
    lab.tool(&upgrade("run")).exits(0);
    assert_eq!(lab.pods("k8s-app=calico-etcd").unwrap(), pods, "a pod of etcd was touched");
}

/// The body of an object of a release, as it is sent to a server.
fn sent(kubernetes: Kubernetes, object: &ObjectRef, document: &Document) -> Value {
    let mut body = document.value();
    let of_workloads = if kubernetes == Kubernetes::V1_8 { "extensions/v1beta1" } else { "apps/v1" };
    body["apiVersion"] = json!(match object.kind {
        Kind::DaemonSet | Kind::Deployment => of_workloads,
        Kind::ClusterRole | Kind::ClusterRoleBinding => "rbac.authorization.k8s.io/v1",
        _ => "v1",
    });
    body["kind"] = json!(object.kind.name());
    if object.name.starts_with("canal") && object.kind == Kind::DaemonSet {
        // It is in no file of ours, because it is not upgraded.
        let flannel = json!({"name": "kube-flannel", "image": "quay.io/coreos/flannel:v0.9.1"});
        body["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(flannel);
    }
    body
}

/// What is known of a release must be exactly what a server makes of it, or defaults would pass for settings of people.
#[test]
fn of_a_release_that_nobody_edited_nothing_counts_as_edited() {
    let catalogue = runbook::catalogue();
    let plan = ["plan", "--to", "v2.6", "--allow-untested", "--ignore", "CU-C008=pods are still coming", "-o", "json"];
    let mut definitions = small(Release::V2_4_1, Flavour::Canal).objects().unwrap();
    definitions.retain(|object| object["kind"] == "CustomResourceDefinition");
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1, Flavour::Etcd));
        for line in &catalogue.lines {
            for edition in [Edition::EtcdNetworking, Edition::EtcdKubeadm, Edition::Canal, Edition::EtcdCanal] {
                let Some(manifest) = runbook::base(&catalogue, line.latest, edition) else { continue };
                let objects = manifest.objects.iter().map(|(object, document)| sent(kubernetes, object, document));
                lab.empty();
                lab.create_all(&objects.chain(definitions.clone()).collect::<Vec<_>>()).unwrap();
                let kept = lab.tool(&plan).exits(0).json()["plan"]["kept"].clone();
                assert_eq!(kept, json!([]), "{} {} on {}", line.latest, edition.name(), kubernetes.version());
            }
        }
    }
}

#[test]
fn a_cni_file_of_a_new_name_is_told_of() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1, Flavour::Canal));
    lab.tool(&["check", "CU-C017"]).exits(0).says("10-calico.conf").says("10-calico.conflist");
    let advice = "on each node: rm /etc/cni/net.d/10-calico.conf";
    let words = lab.tool(&upgrade("run")).exits(0).says("CU-C017").says(advice).words;
    let end = words.split("runs on every node").nth(1).unwrap();
    assert!(end.contains(advice), "what is left to do is not told at the end: {end}");
}
