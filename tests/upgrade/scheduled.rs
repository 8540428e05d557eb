//! Runs that nobody watches: called again and again, approved by someone else, told in the cluster.

use harness::{Kubernetes, Release, User};
use serde_json::{Value, json};

use crate::{
    interruptions::hang_at_a_node,
    lab::{Lab, Ran, lab, small, upgrade},
    tier::versions,
    windows::window,
};

fn scheduled(more: &[&'static str]) -> Vec<&'static str> {
    [upgrade("run"), vec!["--scheduled"], more.to_vec()].concat()
}

/// The reasons of the Events on an object.
fn told(lab: &Lab, namespace: &str, kind: &str, name: &str) -> Vec<String> {
    let events = lab.api().list(&format!("/api/v1/namespaces/{namespace}/events")).unwrap();
    let is_about = |event: &&Value| event["involvedObject"]["kind"] == kind && event["involvedObject"]["name"] == name;
    let ours = events.iter().filter(|event| event["source"]["component"] == "calico-upgrader");
    ours.filter(is_about).map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
}

/// The name of the newest run.
fn run_name(lab: &Lab) -> String {
    lab.tool(&["status", "-o", "json"]).exits(0).json()["run"].as_str().unwrap().to_owned()
}

fn record_of(lab: &Lab) -> String {
    format!("calico-upgrader-run-{}", run_name(lab))
}

#[test]
fn a_schedule_waits_for_its_window_goes_on_with_what_was_killed_and_then_has_nothing_to_do() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let (later, now) = (window(2, 3), window(-1, 1));
        let outside = [scheduled(&[]), vec!["--window", &later]].concat();
        lab.tool(&outside).exits(0).says("note[CU-E031]: no window is open: the next one opens");
        let before = told(&lab, "default", "Namespace", "kube-system");
        assert!(before.contains(&"RunOutsideWindow".to_owned()), "{before:?}");
        let mut run = hang_at_a_node(&lab);
        run.kill().unwrap();
        run.wait().unwrap();
        lab.nodes().repair("node-2").unwrap();
        let inside = [scheduled(&[]), vec!["--window", &now]].concat();
        lab.tool(&inside).exits(0).says("goes on (epoch 2)").says("finished");
        lab.tool(&inside).exits(0).says("Nothing to do");
    }
}

#[test]
fn a_schedule_leaves_a_runner_that_works_alone_and_says_so_in_the_cluster() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let mut first = hang_at_a_node(&lab);
    lab.tool(&scheduled(&[])).exits(0).says("note[CU-E008]").says(&format!("pid {}", first.id()));
    assert!(told(&lab, "calico-upgrader", "Secret", &record_of(&lab)).contains(&"RunLocked".to_owned()));
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_schedule_does_not_repeat_what_people_paused_or_took_back() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let run = hang_at_a_node(&lab);
    lab.tool(&["pause"]).exits(0);
    lab.nodes().repair("node-2").unwrap();
    Ran::end_of(run).exits(11);
    lab.tool(&scheduled(&[])).exits(11).says("CU-E032").says("calico-upgrader resume");
    lab.tool(&["rollback", "--yes"]).exits(0);
    lab.tool(&scheduled(&[])).exits(6).says("a schedule does not repeat what was taken back");
}

#[test]
fn a_run_whose_plan_needs_approval_changes_nothing_before_it() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        lab.tool(&scheduled(&["--require-approval"])).exits(10).says("CU-R010").says("calico-upgrader approve");
        lab.tool(&scheduled(&["--require-approval"])).exits(10).says("nobody approved plan");
        lab.tool(&upgrade("resume")).exits(10);
        let mut state = lab.cluster_state().unwrap();
        state.retain(|key, _| !key.contains("calico-upgrader"));
        assert_eq!(harness::differences(lab.start().state(), &state), Vec::<String>::new());
        lab.tool(&["status"]).exits(0).says("Next       calico-upgrader approve");
        lab.tool(&["approve", &run_name(&lab)]).exits(0).says("is approved. Next: calico-upgrader resume");
        lab.tool(&["status"]).exits(0).says("is approved by").says("Next       calico-upgrader resume");
        lab.tool(&scheduled(&["--require-approval"])).exits(0).says("finished");
        let record = format!("/api/v1/namespaces/calico-upgrader/secrets/{}", record_of(&lab));
        let annotations = lab.api().get(&record).unwrap()["metadata"]["annotations"].clone();
        assert_eq!(annotations["calico-upgrader/approved-plan"].as_str().unwrap().len(), 64);
    }
}

#[test]
fn an_approval_is_of_the_plan_that_was_reviewed_and_of_no_other() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let (ours, other) = (lab.state().join("ours.plan"), lab.state().join("other.plan"));
    let (ours, other) = (ours.to_str().unwrap(), other.to_str().unwrap());
    let plan = ["plan", "--to", "v2.6", "--allow-untested", "--require-approval", "--out"];
    lab.tool(&[&plan, [ours].as_slice()].concat()).exits(0).says("Approval   needed before the first change");
    lab.tool(&[&plan, [other, "--batch", "2"].as_slice()].concat()).exits(0);
    lab.tool(&["run", ours]).exits(10).says("CU-R010");
    lab.tool(&["approve", other]).exits(65).says("no unfinished run has plan");
    lab.tool(&upgrade("resume")).exits(10);
    lab.tool(&["approve", ours]).exits(0);
    lab.tool(&upgrade("resume")).exits(0);
    lab.tool(&["approve", ours]).exits(65);
}

#[test]
fn a_run_is_told_on_the_objects_that_it_touches() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        lab.tool(&upgrade("run")).exits(0);
        let node = told(&lab, "default", "Node", "node-2");
        assert!(node.iter().any(|told| told == "CalicoNodeReplaced"), "{node:?}");
        for (namespace, kind, name) in
            [("kube-system", "DaemonSet", "calico-node".to_owned()), ("calico-upgrader", "Secret", record_of(&lab))]
        {
            let told = told(&lab, namespace, kind, &name);
            assert!(["RunStarted", "RunFinished"].iter().all(|one| told.iter().any(|is| is == one)), "{told:?}");
        }
    }
}

#[test]
fn without_the_right_to_write_events_a_run_says_so_once_and_comes_to_its_end() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let calico = ["projectcalico.org", "crd.projectcalico.org", "alpha.projectcalico.org"];
    let served = ["apps", "extensions", "networking.k8s.io", "rbac.authorization.k8s.io", "apiextensions.k8s.io"];
    let groups = [calico.as_slice(), served.as_slice(), &["coordination.k8s.io"]].concat();
    let core = ["namespaces", "nodes", "pods", "secrets", "configmaps", "serviceaccounts"];
    let rules = json!([
        {"apiGroups": groups, "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": core, "verbs": ["*"]},
    ]);
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"metadata": {"name": "all-but-events"}, "rules": rules});
    lab.api().create(&format!("{group}/clusterroles"), &role).unwrap();
    let binding = json!({"metadata": {"name": "all-but-events"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "all-but-events"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": User::Nobody.name()}]});
    lab.api().create(&format!("{group}/clusterrolebindings"), &binding).unwrap();
    let ran = lab.tool_as(User::Nobody, &upgrade("run")).exits(0);
    assert_eq!(ran.words.matches("Events     skipped (we may not post").count(), 1, "{}", ran.words);
}
