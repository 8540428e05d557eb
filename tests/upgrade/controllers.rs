//! The controllers on etcd: the old one is gone before the new one comes, whatever happens on the way.

use std::fs;

use harness::{Fault, Flavour, Kubernetes, Release, State, variation};
use serde_json::{Value, json};

use crate::{
    flavours::{REGISTRY, small},
    kills::Course,
    lab::{Lab, Ran, lab, upgrade},
    tier::versions,
};

const STEP: &str = "replace-controllers";

/// What the journal of the only run tells, in its order: changes by their labels, waits by what they waited for.
fn told(lab: &Lab) -> Vec<String> {
    let text = fs::read_to_string(lab.run_directory().join("journal.jsonl")).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line.split('\t').next().unwrap()).unwrap());
    let mut all = Vec::new();
    for entry in entries {
        let labels = entry["changes"].as_array().into_iter().flatten().filter(|_| entry["kind"] == "intended");
        all.extend(labels.filter_map(|change| change["label"].as_str().map(str::to_owned)));
        all.extend(entry["what"].as_str().map(|what| format!("waited for {what}")));
    }
    all
}

#[test]
fn the_old_controller_is_gone_before_the_new_one_comes_and_the_nodes_follow() {
    for (kubernetes, flavour, label) in [
        (Kubernetes::V1_8, Flavour::Etcd, "k8s-app=calico-policy"),
        (Kubernetes::V1_34, Flavour::Kubeadm, "k8s-app=calico-policy-controller"),
    ] {
        let lab = lab(kubernetes, small(Release::V2_5_1, flavour));
        lab.tool(&upgrade("run")).exits(0);
        let told = told(&lab);
        let order = [
            "create ServiceAccount kube-system/calico-kube-controllers".to_owned(),
            "create ClusterRole calico-kube-controllers".to_owned(),
            "replace Deployment kube-system/calico-policy-controller".to_owned(),
            format!("waited for the pods with {label} to be gone"),
            "create Deployment kube-system/calico-kube-controllers".to_owned(),
            "waited for Deployment kube-system/calico-kube-controllers to be ready".to_owned(),
            "replace DaemonSet kube-system/calico-node".to_owned(),
            "delete Pod on node-2".to_owned(),
        ];
        let place =
            |what: &String| told.iter().position(|one| one == what).unwrap_or_else(|| panic!("no {what} in {told:#?}"));
        assert!(order.iter().map(place).is_sorted(), "{told:#?}");
    }
}

#[test]
fn an_old_controller_that_does_not_go_stops_the_run_before_a_second_one_comes() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1, Flavour::Etcd));
    let pod = lab.pods("k8s-app=calico-policy").unwrap().remove(0);
    let node = pod["spec"]["nodeName"].as_str().unwrap().to_owned();
    lab.nodes().fail(&node, Fault::KubeletLost).unwrap();
    let run = [upgrade("run"), vec!["--ready-within", "15s", "--ignore", "CU-C007=a lost node is the point"]].concat();
    lab.tool(&run).exits(4).says("the pods with k8s-app=calico-policy to be gone").says("calico-upgrader resume");
    let new = "/apis/apps/v1/namespaces/kube-system/deployments/calico-kube-controllers";
    assert!(lab.api().get(new).is_err(), "the new controller came while the old one was there");
    lab.nodes().repair(&node).unwrap();
    lab.tool(&upgrade("resume")).exits(0);
    assert_eq!(lab.api().get(new).unwrap()["status"]["readyReplicas"], 1);
}

#[test]
fn a_new_controller_that_never_gets_ready_stops_the_run_with_its_reason() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1, Flavour::Etcd));
    let nodes = ["node-2", "node-3"];
    nodes.iter().for_each(|node| lab.nodes().fail(node, Fault::ImagePull).unwrap());
    let run = [upgrade("run"), vec!["--no-pull", "--ready-within", "15s"]].concat();
    lab.tool(&run).exits(4).says("calico-kube-controllers").says("ImagePullBackOff");
    let is_old = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap().ends_with("node:v2.5.1");
    assert!(lab.calico_pods().unwrap().values().flatten().all(is_old), "a node was touched");
    nodes.iter().for_each(|node| lab.nodes().repair(node).unwrap());
    lab.tool(&upgrade("resume")).exits(0);
}

/// A pod of a Deployment has a name of its own each time, and may be placed on another node.
fn upgraded(lab: &Lab) -> State {
    let mut state = lab.cluster_state().unwrap();
    state.retain(|key, _| {
        !key.contains("calico-upgrader") && !key.starts_with("/pods/kube-system/calico-kube-controllers-")
    });
    state
}

#[test]
fn killed_while_controllers_are_replaced_the_run_goes_on_to_the_same_end() {
    for kubernetes in versions() {
        let mut lab = lab(kubernetes, small(Release::V2_3_0, Flavour::Etcd));
        let (from, call) = (lab.moment(), upgrade("run"));
        let course = Course { call: &call, from: &from, within: STEP, look: upgraded };
        course.killed_and(&mut lab, 5, |_, lab| {
            course.go_on(lab);
            let told = told(lab);
            let place = |what: &str| told.iter().position(|one| one.starts_with(what)).unwrap();
            assert!(place("waited for the pods") < place("create Deployment"), "{told:#?}");
        });
    }
}

/// Lays out another runner of the controllers, with one pod.
fn add_controller(lab: &Lab, resource: &str, name: &str, label: &str) -> String {
    let labels = json!({"k8s-app": label});
    let container = json!({"name": name, "image": format!("{REGISTRY}/kube-policy-controller:v0.5.1")});
    let body = json!({"metadata": {"name": name}, "spec": {"replicas": 1, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}});
    let path = format!("/apis/apps/v1/namespaces/kube-system/{resource}");
    lab.api().create(&path, &body).unwrap();
    format!("{path}/{name}")
}

#[test]
fn a_replica_set_left_from_before_v2_stops_as_well() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1, Flavour::Etcd));
    let path = add_controller(&lab, "replicasets", "calico-policy-controller", "calico-policy-of-old");
    lab.tool(&upgrade("run")).exits(0);
    assert_eq!(lab.api().get(&path).unwrap()["spec"]["replicas"], 0);
    assert!(lab.pods("k8s-app=calico-policy-of-old").unwrap().is_empty());
}

#[test]
fn controllers_under_a_name_of_their_own_are_refused() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1, Flavour::Etcd));
    add_controller(&lab, "deployments", "corp-controllers", "corp-controllers");
    lab.tool(&upgrade("run")).exits(16).says("CU-C005").says("corp-controllers");
    variation::no_calico(&lab).unwrap();
    lab.tool(&upgrade("run")).exits(3).says("CU-C001");
}

#[test]
fn within_the_line_the_controllers_are_replaced_as_carefully() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1, Flavour::Etcd));
    let elsewhere = tempfile::tempdir().unwrap();
    let first = ["run", "--to", "v2.6.6", "--allow-untested", "--yes"];
    Ran::of(lab.command_in(elsewhere.path(), &first)).exits(0);
    lab.tool(&upgrade("run")).exits(0);
    let told = told(&lab);
    let controllers: Vec<&String> = told.iter().filter(|one| one.contains("kube-controllers")).collect();
    let replace = "replace Deployment kube-system/calico-kube-controllers";
    let gone = "waited for the pods with k8s-app=calico-kube-controllers to be gone";
    let ready = "waited for Deployment kube-system/calico-kube-controllers to be ready";
    assert_eq!(controllers, [replace, gone, replace, ready]);
}
