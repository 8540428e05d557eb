//! Rolling nodes while the world goes on: nodes that fail, come, go, or were cordoned by others.

use harness::{Fault, Kubernetes, Release};
use serde_json::json;

use crate::lab::{lab, small, upgrade};

const NODE: &str = "/api/v1/nodes/node-2";

#[test]
fn a_node_that_never_gets_ready_stops_the_roll_with_its_reason_and_the_repaired_one_lets_it_go_on() {
    for (kubernetes, fault, reason) in [
        (Kubernetes::V1_34, Fault::ImagePull, "ImagePullBackOff"),
        (Kubernetes::V1_34, Fault::CrashLoop, "CrashLoopBackOff"),
        (Kubernetes::V1_8, Fault::NeverReady, "not ready"),
    ] {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        lab.nodes().fail("node-2", fault).unwrap();
        let run = [upgrade("run"), vec!["--ready-within", "10s"]].concat();
        lab.tool(&run).exits(4).says("node-2").says(reason).says("calico-upgrader resume");
        let images =
            lab.calico_pods().unwrap().into_values().flatten().map(|pod| pod["spec"]["containers"][0]["image"].clone());
        let new = images.filter(|image| image.as_str().unwrap().ends_with(":v2.6.12")).count();
        assert_eq!(new, 1, "only the canary was touched");
        lab.nodes().repair("node-2").unwrap();
        lab.tool(&upgrade("resume")).exits(0);
        assert!(lab.api().get(NODE).unwrap()["spec"]["unschedulable"].is_null());
    }
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
    lab.nodes().fail("node-2", Fault::NeverReady).unwrap();
    let run = lab.spawn(&upgrade("run"));
    let is_replaced = || lab.api().get(NODE).unwrap()["spec"]["unschedulable"] == true;
    harness::wait_until("node-2 to be replaced", std::time::Duration::from_secs(60), || {
        Ok(if is_replaced() { harness::Seen::Yes(()) } else { harness::Seen::NotYet("not cordoned".to_owned()) })
    })
    .unwrap();
    lab.add_nodes(&["node-9"]).unwrap();
    lab.remove_node("node-2").unwrap();
    crate::lab::Ran::of(run.wait_with_output().unwrap()).exits(0).says("node-2: the node is gone");
    let pods = lab.calico_pods().unwrap();
    assert!(!pods.contains_key("node-2") && pods.contains_key("node-9"));
}
