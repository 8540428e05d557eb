//! Rolling nodes while the world goes on: nodes that fail, come, go, or were cordoned by others.

use harness::{Fault, Kubernetes, Release, ready_condition};
use serde_json::{Value, json};

use crate::{
    interruptions::{at_a_node, hang, hang_at_a_node},
    lab::{Lab, Ran, lab, small, upgrade},
    refusals::refuses,
    tier::versions,
};

const NODE: &str = "/api/v1/nodes/node-2";

#[test]
fn a_node_that_never_gets_ready_stops_the_roll_with_its_reason_and_the_repaired_one_lets_it_go_on() {
    for (kubernetes, fault, more, reason) in [
        (Kubernetes::V1_34, Fault::ImagePull, vec!["--no-pull"], "ImagePullBackOff"),
        (Kubernetes::V1_34, Fault::CrashLoop, vec![], "CrashLoopBackOff"),
        (Kubernetes::V1_8, Fault::NeverReady, vec![], "not ready"),
    ] {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        lab.nodes().fail("node-2", fault).unwrap();
        let run = [upgrade("run"), vec!["--ready-within", "15s"], more].concat();
        lab.tool(&run).exits(4).says("node-2").says(reason).says("calico-upgrader resume");
        assert_eq!(replaced(&lab), 1, "only the canary was touched");
        lab.nodes().repair("node-2").unwrap();
        lab.tool(&upgrade("resume")).exits(0);
        assert!(lab.api().get(NODE).unwrap()["spec"]["unschedulable"].is_null());
    }
}

/// How many nodes run the new calico-node.
fn replaced(lab: &Lab) -> usize {
    lab.calico_pods().unwrap().values().flatten().filter(|pod| is_new(pod)).count()
}

#[test]
fn an_image_that_a_node_cannot_pull_stops_the_run_before_any_pod_is_replaced() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        lab.nodes().fail("node-2", Fault::ImagePull).unwrap();
        let run = [upgrade("run"), vec!["--pull-within", "15s"]].concat();
        lab.tool(&run).exits(4).says("node-2").says("ImagePullBackOff").says("No pod of calico-node was touched");
        assert_eq!(replaced(&lab), 0);
        lab.nodes().repair("node-2").unwrap();
        lab.tool(&upgrade("resume")).exits(0);
        let left = lab.cluster_state().unwrap().into_keys().filter(|key| key.contains("calico-upgrader-pull"));
        assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
    }
}

#[test]
fn a_pause_waits_for_the_node_in_hand_and_leaves_no_cordon() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let run = hang_at_a_node(&lab);
    lab.tool(&["pause"]).exits(0);
    lab.nodes().repair("node-2").unwrap();
    Ran::end_of(run).exits(11);
    assert_eq!(replaced(&lab), 1);
    for node in lab.api().list("/api/v1/nodes").unwrap() {
        assert!(node["spec"]["unschedulable"].is_null(), "{} is cordoned", node["metadata"]["name"]);
    }
    lab.tool(&upgrade("resume")).exits(0);
}

/// Waits until a run hangs at a node whose new pod does not get ready.
///
/// Simulated kubelets that are started anew, as a repair does, may miss a pod that is made at that very moment.
pub fn wait_until_stuck(lab: &Lab, node: &str) -> harness::Result<()> {
    wait_for_pod(lab, node, is_stuck)
}

/// Waits until a node has one pod, and that one is as it should be.
fn wait_for_pod(lab: &Lab, node: &str, is_so: impl Fn(&Value) -> bool) -> harness::Result<()> {
    harness::wait_until(&format!("the pod of {node}"), || {
        let pods = lab.calico_pods()?.remove(node).unwrap_or_default();
        let is_seen = matches!(pods.as_slice(), [pod] if is_so(pod));
        Ok(if is_seen { harness::Seen::Yes(()) } else { harness::Seen::NotYet(format!("{} pods", pods.len())) })
    })
}

fn is_stuck(pod: &Value) -> bool {
    !is_ready(pod) && pod["status"]["containerStatuses"].is_array() && pod["metadata"]["deletionTimestamp"].is_null()
}

fn is_ready(pod: &Value) -> bool {
    ready_condition(pod) == Some("True")
}

fn is_new(pod: &Value) -> bool {
    pod["spec"]["containers"][0]["image"].as_str().unwrap().ends_with(":v2.6.12")
}

#[test]
fn a_pod_that_was_on_its_way_out_at_a_kill_is_waited_for_and_its_node_is_freed() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let before_deletion = ["--ready-within", "15s", "--fault", "roll-nodes/delete Pod on node-2:pre"];
    Ran::of(lab.command(&[upgrade("run"), before_deletion.to_vec()].concat())).was_killed();
    // As if it had been sent just before, to a node that takes its time.
    lab.nodes().fail("node-2", Fault::KubeletLost).unwrap();
    let name = lab.calico_pods().unwrap()["node-2"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    lab.api().delete(&format!("/api/v1/namespaces/kube-system/pods/{name}")).unwrap();
    lab.tool(&upgrade("resume")).exits(4).says("node-2");
    assert_eq!(replaced(&lab), 0, "no other node was touched meanwhile");
    lab.nodes().repair("node-2").unwrap();
    lab.tool(&upgrade("resume")).exits(0);
    assert!(lab.api().get(NODE).unwrap()["spec"]["unschedulable"].is_null());
}

#[test]
fn the_next_nodes_begin_while_others_are_watched_and_one_that_falls_back_stops_the_run() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let after_the_canary = ["--stable-for", "1h", "--fault", "roll-nodes/delete Pod on node-2:sent"];
    Ran::of(lab.command(&[upgrade("run"), after_the_canary.to_vec()].concat())).was_killed();
    wait_for_pod(&lab, "node-2", |pod| is_ready(pod) && is_new(pod)).unwrap();
    // As if the canary had been watched to its end.
    let free =
        json!({"spec": {"unschedulable": null}, "metadata": {"annotations": {"calico-upgrader/cordoned-by": null}}});
    lab.api().merge_patch(NODE, &free).unwrap();
    let run = at_a_node(&lab, "node-1", lab.command(&upgrade("resume")));
    lab.nodes().fail("node-3", Fault::NeverReady).unwrap();
    let name = &lab.calico_pods().unwrap()["node-3"][0]["metadata"]["name"];
    lab.api().delete(&format!("/api/v1/namespaces/kube-system/pods/{}", name.as_str().unwrap())).unwrap();
    Ran::end_of(run).exits(4).says("CU-R034").says("on `node-3`").says("begun since it was ready: node-1");
}

#[test]
fn a_cordon_of_others_stays_and_ours_goes() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.api().merge_patch(NODE, &json!({"spec": {"unschedulable": true}})).unwrap();
    lab.tool(&upgrade("run")).exits(0);
    assert_eq!(lab.api().get(NODE).unwrap()["spec"]["unschedulable"], true);
    for node in lab.api().list("/api/v1/nodes").unwrap() {
        assert!(node["metadata"]["annotations"]["calico-upgrader/cordoned-by"].is_null());
        assert_eq!(node["spec"]["unschedulable"] == true, node["metadata"]["name"] == "node-2");
    }
}

#[test]
fn a_node_that_goes_midway_is_left_out_and_one_that_comes_is_new_already() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let run = hang_at_a_node(&lab);
    lab.add_nodes(&["node-9"]).unwrap();
    wait_for_pod(&lab, "node-9", |pod| is_ready(pod) && is_new(pod)).unwrap();
    lab.remove_node("node-2").unwrap();
    let ran = Ran::end_of(run).exits(0).says("node-2: the node is gone, and left out").says("(3 of 3 done)");
    assert!(!ran.words.contains("node-2: ready"), "{}", ran.words);
    lab.tool(&["status"]).exits(0).says("3 of 3 replaced");
    lab.tool(&["report"]).exits(0).says("node-2: went away meanwhile");
}

#[test]
fn a_last_node_that_goes_midway_leaves_none_to_do() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let run = hang(&lab, "node-1", lab.command(&upgrade("run")));
    lab.remove_node("node-1").unwrap();
    Ran::end_of(run).exits(0).says("node-1: the node is gone, and left out (2 of 2 done)");
    lab.tool(&["status"]).exits(0).says("2 of 2 replaced");
}

#[test]
fn a_node_that_goes_after_its_pod_was_replaced_takes_its_cordon_along_and_fails_no_proof() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.add_nodes(&["node-4"]).unwrap();
    lab.wait_for_calico().unwrap();
    let run = hang(&lab, "node-4", lab.command(&[upgrade("run"), vec!["--batch", "2"]].concat()));
    wait_for_pod(&lab, "node-3", |pod| is_ready(pod) && is_new(pod)).unwrap();
    lab.remove_node("node-3").unwrap();
    lab.nodes().repair("node-4").unwrap();
    Ran::end_of(run).exits(0).says("node-3: the node is gone, and left out").says("(3 of 3 done)");
    lab.tool(&["status"]).exits(0).says("3 of 3 replaced");
    let report = lab.tool(&["report"]).exits(0);
    assert!(!report.words.contains("still cordoned"), "{}", report.words);
    lab.tool(&["verify"]).exits(0);
}

#[test]
fn a_node_that_would_take_no_new_pod_keeps_its_old_one_until_its_taint_is_gone() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let taint = |taints: Value| {
            lab.api().merge_patch("/api/v1/nodes/node-3", &json!({"spec": {"taints": taints}})).unwrap();
        };
        let repair = json!([{"key": "repair", "value": "disk", "effect": "NoSchedule"}]);
        taint(repair.clone());
        refuses(&lab, 3, &["CU-P006", "kubectl taint nodes node-3 repair=disk:NoSchedule-"]);
        taint(Value::Null);
        lab.tool(&[upgrade("run"), vec!["--until", "Back up"]].concat()).exits(0);
        let old = pod_on(&lab, "node-3");
        taint(repair.clone());
        lab.tool(&upgrade("resume")).exits(4).says("CU-R033").says("repair=disk:NoSchedule");
        assert_eq!(pod_on(&lab, "node-3"), old);
        assert!(lab.api().list("/api/v1/nodes").unwrap().iter().all(|node| node["spec"]["unschedulable"].is_null()));
        taint(Value::Null);
        lab.tool(&upgrade("resume")).exits(0);
        let new = pod_on(&lab, "node-3");
        assert_ne!(new, old);
        taint(repair);
        lab.tool(&["rollback", "--yes"]).exits(7).says("CU-R033");
        assert_eq!(pod_on(&lab, "node-3"), new);
        taint(Value::Null);
        lab.tool(&upgrade("resume")).exits(0);
    }
}

fn pod_on(lab: &Lab, node: &str) -> Value {
    lab.calico_pods().unwrap()[node][0]["metadata"]["uid"].clone()
}
