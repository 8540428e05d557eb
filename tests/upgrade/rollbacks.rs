//! Taking a run back, from wherever it is: the cluster is then what it was at the start, object by object.

use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command},
};

use harness::{Fault, Flavour, Kubernetes, Release, Size, State, WornIn, differences};
use serde_json::{Value, json};

use crate::{
    etcd::values,
    interruptions::at_a_node,
    kills::kill_at,
    lab::{Lab, Ran, lab, small, upgrade},
    tier::versions,
};

pub const BACK: [&str; 2] = ["rollback", "--yes"];

/// Where the cluster differs from its start, once it is at rest. Our own records and the definitions may stay.
pub fn since_start(lab: &Lab) -> Vec<String> {
    let is_allowed = |line: &String| {
        let is_definition = line.starts_with("new: apiextensions.k8s.io/") && line.contains("crd.projectcalico.org");
        line.contains("calico-upgrader") || is_definition
    };
    let now = lab.snapshot().unwrap();
    differences(lab.start().state(), now.state()).into_iter().filter(|line| !is_allowed(line)).collect()
}

#[track_caller]
pub fn is_as_at_the_start(lab: &Lab, after: &str) {
    assert_eq!(since_start(lab), Vec::<String>::new(), "after {after}");
}

pub fn newest_run(lab: &Lab) -> String {
    lab.tool(&["status", "-o", "json"]).exits(0).json()["run"].as_str().unwrap().to_owned()
}

#[test]
fn a_finished_run_goes_back_to_its_start() {
    for (kubernetes, release) in [
        (Kubernetes::V1_8, Release::V2_2_1),
        (Kubernetes::V1_34, Release::V2_2_1),
        (Kubernetes::V1_34, Release::V2_5_1),
    ] {
        let lab = lab(kubernetes, small(release));
        lab.tool(&upgrade("run")).exits(0);
        assert_ne!(since_start(&lab), Vec::<String>::new(), "the upgrade changed nothing");
        let run = newest_run(&lab);
        lab.tool(&BACK).exits(0).says(&format!("Run {run} is taken back"));
        is_as_at_the_start(&lab, &format!("a rollback to {}", release.name()));
        lab.tool(&["verify"]).exits(0);
        lab.tool(&["status"]).exits(0).says(&format!("rollback of run {run}"));
        lab.tool(&["resume", &run, "--yes"]).exits(6).says("CU-E017").says(&newest_run(&lab));
        lab.tool(&BACK).exits(0).says("nothing of it is left to take back");
    }
}

#[test]
fn an_upgrade_on_etcd_goes_back_with_its_controllers_and_its_keys() {
    for (kubernetes, release, flavour) in
        [(Kubernetes::V1_8, Release::V2_3_0, Flavour::Etcd), (Kubernetes::V1_34, Release::V2_5_1, Flavour::Kubeadm)]
    {
        let lab = lab(kubernetes, WornIn { flavour, ..small(release) });
        let keys = values(lab.etcd());
        lab.tool(&upgrade("run")).exits(0);
        assert_ne!(values(lab.etcd()), keys, "the leftover of the old controller is still there");
        lab.tool(&BACK).exits(0);
        is_as_at_the_start_on_etcd(&lab, "a rollback", &keys);
        lab.tool(&["verify"]).exits(0);
    }
}

#[test]
fn a_completion_on_etcd_removes_the_controller_that_was_kept_for_the_way_back() {
    let lab = lab(Kubernetes::V1_34, WornIn { flavour: Flavour::Etcd, ..small(Release::V2_4_1) });
    lab.tool(&upgrade("run")).exits(0);
    assert!(old_controller(&lab.cluster_state().unwrap()).is_some());
    lab.tool(&["complete", "--confirm", &newest_run(&lab)]).exits(0);
    assert!(old_controller(&lab.cluster_state().unwrap()).is_none());
    lab.tool(&["verify"]).exits(0);
    lab.tool(&BACK).exits(3).says("CU-E018");
    lab.tool(&["plan", "--to", "v2.6", "--allow-untested", "--detailed-exitcode"]).exits(0);
}

/// What the old controller shall do, if there was one under this name.
fn old_controller(state: &State) -> Option<[Value; 2]> {
    let found = state.iter().find(|(key, _)| key.ends_with("/deployments/kube-system/calico-policy-controller"))?;
    Some([found.1["spec"]["replicas"].clone(), found.1["spec"]["template"].clone()])
}

#[track_caller]
pub fn is_as_at_the_start_on_etcd(lab: &Lab, after: &str, keys: &BTreeMap<String, String>) {
    // A pod of a Deployment has a new name each time, and servers of 1.8 write defaults into the Deployment.
    let left = since_start(lab).into_iter().filter(|line| !line.contains("calico-policy-controller"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new(), "after {after}");
    let now = old_controller(&lab.cluster_state().unwrap());
    assert_eq!(now, old_controller(lab.start().state()), "after {after}");
    assert_eq!(values(lab.etcd()), *keys, "after {after}");
}

#[test]
fn a_worn_in_cluster_goes_back_with_all_that_people_made() {
    let lab = lab(Kubernetes::V1_34, WornIn { size: Size::Full, ..small(Release::V2_4_1) });
    lab.tool(&upgrade("run")).exits(0);
    lab.tool(&BACK).exits(0);
    is_as_at_the_start(&lab, "a rollback of everything");
    lab.tool(&upgrade("run")).exits(0);
}

#[test]
fn a_rollback_is_shown_and_changes_nothing_until_it_is_approved() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&["rollback"]).exits(0).says("No upgrade was ever recorded");
    lab.tool(&upgrade("run")).exits(0);
    let before = lab.resource_versions().unwrap();
    let promised = lab.tool(&["rollback", "--dry-run", "-o", "json"]).exits(0).json();
    lab.tool(&["rollback"]).exits(10).says("Nodes back").says("CustomResourceDefinitions").says("--yes");
    assert!(lab.resource_versions().unwrap() == before, "a rollback that was not approved changed something");
    lab.tool(&BACK).exits(0);
    assert_eq!(journalled(&lab, &newest_run(&lab)), changes_of(&promised));
}

fn changes_of(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|change| change["change"].as_str().unwrap().to_owned()).collect()
}

fn journalled(lab: &Lab, run: &str) -> Vec<String> {
    let text = fs::read_to_string(lab.state().join("runs").join(run).join("journal.jsonl")).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line.split('\t').next().unwrap()).unwrap());
    let intended = entries.filter(|entry| entry["kind"] == "intended");
    intended
        .flat_map(|entry| entry["changes"].as_array().unwrap().clone())
        .map(|one| one["label"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_node_that_never_gets_ready_goes_back_first_and_a_rollback_that_cannot_go_on_calls_for_a_person() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.nodes().fail("node-2", Fault::NeverReady).unwrap();
    lab.tool(&[upgrade("run"), vec!["--ready-within", "15s"]].concat()).exits(4);
    let run = newest_run(&lab);
    lab.tool(&BACK).exits(7).says("CU-R007").says("node-2").says("calico-upgrader resume");
    lab.tool(&["status"]).exits(0).says("stopped with exit 7").says(&format!("rollback of run {run}"));
    lab.nodes().repair("node-2").unwrap();
    lab.tool(&["resume", "--yes"]).exits(0);
    is_as_at_the_start(&lab, "a stop at node-2");
}

/// Starts the program with a node that does not get ready, and waits until it is at that node.
fn hang_at_node_2(lab: &Lab, arguments: &[&str]) -> Child {
    lab.nodes().fail("node-2", Fault::NeverReady).unwrap();
    at_a_node(lab, "node-2", lab.command(arguments))
}

#[test]
fn a_rollback_is_paused_like_a_run() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.tool(&upgrade("run")).exits(0);
    let hung = hang_at_node_2(&lab, &BACK);
    lab.tool(&["pause"]).exits(0).says("exits with 11");
    lab.nodes().repair("node-2").unwrap();
    Ran::end_of(hung).exits(11).says("calico-upgrader resume");
    lab.tool(&["status"]).exits(0).says("stopped with exit 11");
    lab.tool(&["resume", "--yes"]).exits(0);
    is_as_at_the_start(&lab, "a pause");
}

#[test]
fn a_runner_that_wakes_up_after_its_run_was_taken_back_cannot_write() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let sleeper = hang_at_node_2(&lab, &upgrade("run"));
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &sleeper.id().to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    lab.nodes().repair("node-2").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    Ran::of(lab.command_in(elsewhere.path(), &BACK)).exits(0);
    signal("-CONT");
    Ran::end_of(sleeper).exits(8);
    is_as_at_the_start(&lab, "a runner that woke up");
}

#[test]
fn what_others_changed_since_is_left_and_named_and_what_the_nodes_need_blocks() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&upgrade("run")).exits(0);
    let pools = "/apis/crd.projectcalico.org/v1/ippools";
    let pool = lab.api().list(pools).unwrap().remove(0)["metadata"]["name"].as_str().unwrap().to_owned();
    lab.api().merge_patch(&format!("{pools}/{pool}"), &json!({"spec": {"disabled": true}})).unwrap();
    let config = "/api/v1/namespaces/kube-system/configmaps/calico-config";
    lab.api().merge_patch(config, &json!({"data": {"surprise": "yes"}})).unwrap();
    lab.tool(&BACK).exits(13).says("CU-P021").says("data.surprise");
    lab.api().merge_patch(config, &json!({"data": {"surprise": null}})).unwrap();
    lab.tool(&["rollback", "--confirm", &newest_run(&lab)]).exits(0).says(&format!("Left       IPPool {pool}"));
    assert_eq!(since_start(&lab), [format!("new: crd.projectcalico.org/ippools//{pool}")]);
}

#[test]
fn only_what_came_after_the_named_step_goes_back() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&upgrade("run")).exits(0);
    for step in ["apply-manifests", "no-such-step"] {
        let words = "it can to: back-up, pull-images, convert-policies, copy-resources, roll-nodes";
        lab.tool(&["rollback", "--yes", "--to", step]).exits(64).says(words);
    }
    lab.tool(&["rollback", "--yes", "--to", "copy-resources"]).exits(0);
    let kinds = ["crd.projectcalico.org/", "networking.k8s.io/networkpolicies/"];
    let is_kept = |line: &String| kinds.iter().any(|kind| line.contains(kind));
    let since = since_start(&lab);
    assert!(!since.is_empty() && since.iter().all(is_kept), "{since:#?}");
    lab.tool(&upgrade("run")).exits(0);
}

#[test]
fn after_a_completion_there_is_no_way_back() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_2_1));
        lab.tool(&["complete"]).exits(0).says("nothing to complete");
        lab.tool(&[upgrade("run"), vec!["--until", "copy data"]].concat()).exits(0);
        lab.tool(&["complete"]).exits(3).says("CU-E009");
        lab.tool(&upgrade("resume")).exits(0);
        let run = newest_run(&lab);
        let before = lab.snapshot().unwrap();
        lab.tool(&["complete", "--dry-run"]).exits(0);
        lab.tool(&["complete", "--confirm", "another"]).exits(10).says(&format!("--confirm {run}"));
        assert_eq!(differences(before.state(), &lab.cluster_state().unwrap()), Vec::<String>::new());
        lab.tool(&["complete", "--confirm", &run]).exits(0).says("kept of the old release is gone");
        let gone = differences(before.state(), lab.snapshot().unwrap().state());
        let gone: Vec<_> = gone.into_iter().filter(|line| !line.contains("calico-upgrader")).collect();
        let is_old_data = |line: &String| line.starts_with("gone: projectcalico.org/");
        assert!(!gone.is_empty() && gone.iter().all(is_old_data), "{gone:#?}");
        lab.tool(&BACK).exits(3).says("CU-E018").says("calico-upgrader restore");
        lab.tool(&["complete"]).exits(0).says("nothing to remove");
    }
}

#[test]
fn parts_of_a_plan_that_was_never_recorded_are_swept_up() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    kill_at(&lab, &upgrade("run"), "record/plan-0:acked");
    lab.tool(&upgrade("run")).exits(0);
    let parts = || lab.cluster_state().unwrap().keys().filter(|key| key.ends_with("-plan-0")).count();
    assert_eq!(parts(), 2);
    let run = newest_run(&lab);
    lab.tool(&["complete", "--confirm", &run]).exits(0).says("Secrets of runs that never began");
    assert_eq!(parts(), 2, "one of the upgrade, one of the completion");
    lab.tool(&["verify", &run]).exits(0);
    lab.tool(&["complete"]).exits(0).says("nothing to remove");
}
