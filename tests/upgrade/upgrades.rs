//! Whole upgrades: every release and flavour on both Kubernetes versions, and what a dry run promises.

use std::collections::BTreeMap;

use harness::{Flavour, Kubernetes, Release, Size, WornIn, differences};
use serde_json::{Value, json};

use crate::{
    lab::{Lab, lab, small, upgrade},
    tier::slice,
};

/// The password in the pull secret of every worn-in cluster.
const SECRET: &str = "canary-never-print-me";
const RELEASES: [Release; 3] = [Release::V2_2_1, Release::V2_4_1, Release::V2_5_1];
const FLAVOURS: [Flavour; 2] = [Flavour::Networking, Flavour::PolicyOnly];

#[test]
fn every_worn_in_cluster_reaches_v2_6_12_the_same_on_both_kubernetes_versions() {
    let clusters = RELEASES.map(|release| FLAVOURS.map(|flavour| WornIn { release, flavour, size: Size::Full }));
    for cluster in slice("clusters", clusters.as_flattened(), 3) {
        let ends = Kubernetes::ALL.map(|kubernetes| upgrade_one(kubernetes, cluster, &[]));
        assert_eq!(ends[0], ends[1], "{} {}", cluster.release.name(), cluster.flavour.name());
    }
}

#[test]
fn releases_that_differ_in_little_reach_v2_6_12_too() {
    // Its range was another one than that of every other release, so people and the new release both changed it.
    let range = "DaemonSet/calico-node:spec.template.spec.containers[calico-node].env[CALICO_IPV4POOL_CIDR].value";
    for (kubernetes, release, flavour, decided) in [
        (Kubernetes::V1_34, Release::V2_3_0, Flavour::Networking, vec![]),
        (Kubernetes::V1_8, Release::V2_1_5, Flavour::PolicyOnly, vec!["--keep", range]),
        (Kubernetes::V1_34, Release::V2_0_2, Flavour::PolicyOnly, vec![]),
    ] {
        upgrade_one(kubernetes, WornIn { release, flavour, size: Size::Small }, &decided);
    }
}

/// Upgrades a cluster, holds what must be true of every one, and answers what Calico is then.
fn upgrade_one(kubernetes: Kubernetes, cluster: WornIn, decided: &[&str]) -> BTreeMap<String, Value> {
    let lab = lab(kubernetes, cluster);
    let ran = lab.tool(&[upgrade("run").as_slice(), decided].concat()).exits(0);
    assert!(!ran.words.contains(SECRET) && !ran.data.contains(SECRET));
    lab.run_files().iter().for_each(|(path, text)| assert!(!text.contains(SECRET), "a secret is in {path}"));
    let (before, after) = (lab.start().state(), lab.cluster_state().unwrap());
    for (key, object) in before.iter().filter(|(key, _)| is_old_data(key)) {
        assert_eq!(after.get(key), Some(object), "{key} was touched");
    }
    hand_edits_are_kept(&after, cluster.flavour);
    let second = lab.tool(&["plan", "--to", "v2.6", "--allow-untested", "--detailed-exitcode"]).exits(0);
    second.says("Nothing to do");
    lab.tool(&["verify"]).exits(0);
    calico_of(&after)
}

fn is_old_data(key: &str) -> bool {
    key.starts_with("projectcalico.org/") || key.starts_with("alpha.projectcalico.org/")
}

/// Everything of Calico's, as both Kubernetes versions show it alike.
fn calico_of(state: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let kinds =
        ["crd.projectcalico.org/", "networking.k8s.io/networkpolicies/", "/configmaps/kube-system/calico-config"];
    let whole = state.iter().filter(|(key, _)| kinds.iter().any(|kind| key.starts_with(kind)));
    let mut parts: BTreeMap<String, Value> = whole.map(|(key, object)| (key.clone(), object["spec"].clone())).collect();
    let daemon_set = daemon_set(state);
    for container in ["calico-node", "install-cni"] {
        let mut body = container_of(daemon_set, container).clone();
        body["env"].as_array_mut().unwrap().sort_by_key(|one| one["name"].to_string());
        parts.insert(format!("container {container}"), body);
    }
    let config = &state["/configmaps/kube-system/calico-config"]["data"]["cni_network_config"];
    parts.insert("cni".to_owned(), serde_json::from_str(config.as_str().unwrap()).unwrap());
    parts
}

fn daemon_set(state: &BTreeMap<String, Value>) -> &Value {
    let found = state.iter().find(|(key, _)| key.ends_with("/daemonsets/kube-system/calico-node"));
    found.expect("the DaemonSet is there").1
}

fn container_of<'a>(daemon_set: &'a Value, name: &str) -> &'a Value {
    let containers = daemon_set["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    containers.iter().find(|container| container["name"] == name).unwrap()
}

fn hand_edits_are_kept(state: &BTreeMap<String, Value>, flavour: Flavour) {
    let daemon_set = daemon_set(state);
    let pod = &daemon_set["spec"]["template"]["spec"];
    let node = container_of(daemon_set, "calico-node");
    let environment = |name: &str| {
        node["env"].as_array().unwrap().iter().find(|one| one["name"] == name).map(|one| one["value"].clone())
    };
    assert_eq!(node["image"], "registry.corp.example:5000/calico/node:v2.6.12");
    assert_eq!(container_of(daemon_set, "install-cni")["image"], "registry.corp.example:5000/calico/cni:v1.11.8");
    assert_eq!(environment("CALICO_IPV4POOL_CIDR"), Some(json!("10.48.0.0/16")));
    assert_eq!(environment("FELIX_IPINIPMTU"), Some(json!("1430")));
    assert_eq!(environment("FELIX_PROMETHEUSMETRICSENABLED"), Some(json!("true")));
    assert_eq!(
        environment("CLUSTER_TYPE"),
        Some(json!(if flavour == Flavour::Networking { "k8s,bgp" } else { "k8s" }))
    );
    assert_eq!(node["resources"], json!({"requests": {"cpu": "400m"}, "limits": {"memory": "512Mi"}}));
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry-corp"}]));
    let edge = json!({"key": "dedicated", "operator": "Equal", "value": "edge", "effect": "NoSchedule"});
    assert!(pod["tolerations"].as_array().unwrap().contains(&edge));
    assert_eq!(daemon_set["metadata"]["annotations"]["corp.example/owner"], "network-team");
    let config = state["/configmaps/kube-system/calico-config"]["data"]["cni_network_config"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(config).unwrap()["mtu"], 1450);
}

#[test]
fn isolated_namespaces_stay_isolated_and_dormant_policies_never_wake() {
    let lab = lab(Kubernetes::V1_8, WornIn { size: Size::Full, ..small(Release::V2_2_1) });
    lab.tool(&upgrade("run")).exits(0);
    let after = lab.cluster_state().unwrap();
    let namespaces = lab.api().list("/api/v1/namespaces").unwrap();
    for namespace in &namespaces {
        let name = namespace["metadata"]["name"].as_str().unwrap();
        let policies = after.keys().filter(|key| key.contains(&format!("/networkpolicies/{name}/"))).count();
        let is_isolated = !namespace["metadata"]["annotations"]["net.beta.kubernetes.io/network-policy"].is_null();
        let default_deny = after.get(&format!("networking.k8s.io/networkpolicies/{name}/default-deny"));
        assert_eq!(default_deny.is_some(), is_isolated, "{name}");
        assert!(is_isolated || policies == 0, "{name} has {policies} policies");
        assert!(default_deny.is_none_or(|policy| policy["spec"]["podSelector"] == json!({})));
    }
}

#[test]
fn a_dry_run_changes_nothing_and_names_exactly_what_the_run_does() {
    for (kubernetes, release) in [
        (Kubernetes::V1_34, Release::V2_2_1),
        (Kubernetes::V1_34, Release::V2_4_1),
        (Kubernetes::V1_8, Release::V2_2_1),
    ] {
        let lab = lab(kubernetes, small(release));
        let before = lab.resource_versions().unwrap();
        let promised = promised_changes(&lab);
        assert!(lab.resource_versions().unwrap() == before, "a dry run changed something");
        lab.tool(&upgrade("run")).exits(0);
        assert_eq!(lab.journalled_changes(), promised);
    }
}

fn promised_changes(lab: &Lab) -> Vec<String> {
    let dry = [upgrade("run"), vec!["--dry-run", "-o", "json"]].concat();
    let list = lab.tool(&dry).exits(0).json();
    list.as_array().unwrap().iter().map(|change| change["change"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_saved_plan_runs_as_it_was_reviewed_or_not_at_all() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let file = lab.state().join("up.plan");
    let file = file.to_str().unwrap();
    lab.tool(&["plan", "--to", "v2.6", "--allow-untested", "--out", file, "--detailed-exitcode"]).exits(2);
    lab.tool(&["run", "--dry-run", file]).exits(0).says("none made; the API server tried them");
    let path = "/api/v1/namespaces/kube-system/configmaps/calico-config";
    lab.api().merge_patch(path, &json!({"metadata": {"labels": {"someone": "was-here"}}})).unwrap();
    lab.tool(&["run", file, "--yes"]).exits(13).says("was-here");
    lab.api().merge_patch(path, &json!({"metadata": {"labels": {"someone": null}}})).unwrap();
    lab.tool(&["run", file, "--yes"]).exits(0);
    assert_ne!(differences(lab.start().state(), &lab.cluster_state().unwrap()), Vec::<String>::new());
}
