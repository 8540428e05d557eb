//! Stopping and going on: pause, signals, another machine, another runner, someone else's hands.

use harness::{Fault, Kubernetes, Release, Seen, wait_until};
use serde_json::{Value, json};

use crate::{
    lab::{Lab, Ran, lab, small, upgrade},
    rolls::wait_until_stuck,
    tier::versions,
};

/// Starts a run that hangs at node-2, and waits until it does.
pub fn hang_at_a_node(lab: &Lab) -> std::process::Child {
    hang(lab, "node-2", lab.command(&upgrade("run")))
}

/// The same with a node and a command of one's own.
pub fn hang(lab: &Lab, node: &str, command: std::process::Command) -> std::process::Child {
    lab.nodes().fail(node, Fault::NeverReady).unwrap();
    let run = at_a_node(lab, node, command);
    wait_until_stuck(lab, node).unwrap();
    run
}

/// Starts a run and goes on beside it once it has come to a node.
pub fn at_a_node(lab: &Lab, node: &str, mut command: std::process::Command) -> std::process::Child {
    let run = command.spawn().unwrap();
    wait_until("the run to reach the node", || {
        let node = lab.api().get(&format!("/api/v1/nodes/{node}")).unwrap();
        Ok(if node["spec"]["unschedulable"] == true { Seen::Yes(()) } else { Seen::NotYet("not cordoned".to_owned()) })
    })
    .unwrap();
    run
}

#[test]
fn a_second_runner_is_refused_with_the_holder_and_changes_nothing() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let mut first = hang_at_a_node(&lab);
        let elsewhere = tempfile::tempdir().unwrap();
        let holder = format!("pid {}", first.id());
        for state in [lab.state(), elsewhere.path()] {
            Ran::of(lab.command_in(state, &upgrade("resume"))).exits(8).says(&holder);
        }
        lab.tool(&["status"]).exits(0).says("running").says(&holder);
        first.kill().unwrap();
        first.wait().unwrap();
    }
}

#[test]
fn a_runner_that_waits_for_the_lock_takes_it_when_its_holder_lets_go() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.tool(&[upgrade("run"), vec!["--until", "back up"]].concat()).exits(0);
    let lease = "/apis/coordination.k8s.io/v1/namespaces/calico-upgrader/leases/calico-upgrader";
    lab.api().merge_patch(lease, &json!({"spec": {"holderIdentity": "another", "leaseDurationSeconds": 60}})).unwrap();
    let (words, mut command) = (lab.state().join("words"), lab.command(&upgrade("resume")));
    let waiting = command.stderr(std::fs::File::create(&words).unwrap()).spawn().unwrap();
    wait_until("the run to wait for the lock", || {
        let text = std::fs::read_to_string(&words).unwrap();
        Ok(if text.contains("someone holds the lock") { Seen::Yes(()) } else { Seen::NotYet(text) })
    })
    .unwrap();
    lab.api().merge_patch(lease, &json!({"spec": {"holderIdentity": null}})).unwrap();
    Ran::end_of(waiting).exits(0);
}

#[test]
fn a_killed_run_goes_on_from_another_machine_with_the_record_alone() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_2_1));
        let mut run = hang_at_a_node(&lab);
        run.kill().unwrap();
        run.wait().unwrap();
        lab.nodes().repair("node-2").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        Ran::of(lab.command_in(elsewhere.path(), &upgrade("resume"))).exits(0).says("done before: back-up");
        lab.tool(&["plan", "--allow-untested", "--detailed-exitcode"]).exits(0);
    }
}

#[test]
fn the_cordon_of_a_run_that_is_lost_whole_is_named_and_left() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let mut lost = hang_at_a_node(&lab);
    lost.kill().unwrap();
    lost.wait().unwrap();
    lab.nodes().repair("node-2").unwrap();
    // A new run begins on a healthy Calico alone.
    lab.wait_for_calico().unwrap();
    let secrets = "/api/v1/namespaces/calico-upgrader/secrets";
    for secret in lab.api().list(secrets).unwrap() {
        lab.api().delete(&format!("{secrets}/{}", secret["metadata"]["name"].as_str().unwrap())).unwrap();
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let anew = Ran::of(lab.command_in(elsewhere.path(), &upgrade("run"))).exits(0);
    let end = anew.words.split("runs on every node").nth(1).unwrap();
    assert!(end.contains("CU-C019") && end.contains("kubectl uncordon NODE"), "{end}");
    lab.tool(&["check", "CU-C019"]).exits(0).says("node-2 by run");
    assert_eq!(lab.api().get("/api/v1/nodes/node-2").unwrap()["spec"]["unschedulable"], true);
}

#[test]
fn a_paused_run_stops_before_its_next_change_and_goes_on() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let run = hang_at_a_node(&lab);
    lab.tool(&["pause"]).exits(0).says("exits with 11");
    lab.nodes().repair("node-2").unwrap();
    Ran::end_of(run).exits(11).says("calico-upgrader resume");
    lab.tool(&["status"]).exits(0).says("stopped with exit 11");
    lab.tool(&upgrade("resume")).exits(0);
}

#[test]
fn a_terminated_run_leaves_the_lock_free_and_goes_on() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let run = hang_at_a_node(&lab);
    let kill = std::process::Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap();
    assert!(kill.success());
    Ran::end_of(run).exits(143).says("calico-upgrader resume");
    lab.nodes().repair("node-2").unwrap();
    lab.tool(&upgrade("resume")).exits(0);
}

#[test]
fn a_run_stops_after_the_phase_that_was_named() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&[upgrade("run"), vec!["--until", "copy data"]].concat()).exits(0);
    let pools = lab.api().list("/apis/crd.projectcalico.org/v1/ippools").unwrap();
    assert!(!pools.is_empty());
    let images =
        lab.calico_pods().unwrap().into_values().flatten().map(|pod| pod["spec"]["containers"][0]["image"].clone());
    assert!(images.into_iter().all(|image| image.as_str().unwrap().ends_with(":v1.2.1")));
    lab.tool(&upgrade("resume")).exits(0);
}

#[test]
fn what_others_change_midway_stops_the_run_with_the_three_ways() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&[upgrade("run"), vec!["--until", "convert policies"]].concat()).exits(0);
    let path = "/api/v1/namespaces/kube-system/configmaps/calico-config";
    lab.api().merge_patch(path, &json!({"data": {"surprise": "yes"}})).unwrap();
    lab.tool(&upgrade("resume")).exits(13).says("ConfigMap kube-system/calico-config").says("data.surprise");
    assert_eq!(lab.api().get(path).unwrap()["data"]["surprise"], "yes", "a foreign change was overwritten");
    lab.api().merge_patch(path, &json!({"data": {"surprise": null}})).unwrap();
    lab.tool(&upgrade("resume")).exits(0);
}

#[test]
fn a_run_that_cannot_go_on_is_given_up_for_a_new_plan() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&[upgrade("run"), vec!["--until", "copy data"]].concat()).exits(0);
    let path = "/api/v1/namespaces/kube-system/configmaps/calico-config";
    lab.api().merge_patch(path, &json!({"data": {"surprise": "yes"}})).unwrap();
    let refused = lab.tool(&upgrade("run")).exits(3);
    let run = refused.words.split("--abandon ").nth(1).unwrap().split_whitespace().next().unwrap();
    lab.tool(&[upgrade("run"), vec!["--abandon", run]].concat()).exits(0);
    assert_eq!(lab.api().get(path).unwrap()["data"]["surprise"], "yes");
    lab.tool(&["resume", "--yes"]).exits(0).says("nothing to resume");
}

#[test]
fn old_data_that_changes_during_the_copy_stops_the_run() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&[upgrade("run"), vec!["--until", "convert policies"]].concat()).exits(0);
    let path = "/apis/projectcalico.org/v1/namespaces/kube-system/globalconfigs";
    let old: Value = lab.api().list(path).unwrap().remove(0);
    let name = old["metadata"]["name"].as_str().unwrap();
    lab.api().merge_patch(&format!("{path}/{name}"), &json!({"spec": {"value": "changed"}})).unwrap();
    lab.tool(&upgrade("resume")).exits(13).says(name);
}

/// Deletes the run record with its plan, or the record alone.
fn delete_records(lab: &Lab, selector: &str) {
    for secret in
        lab.api().list(&format!("/api/v1/namespaces/calico-upgrader/secrets?labelSelector={selector}")).unwrap()
    {
        let name = secret["metadata"]["name"].as_str().unwrap().to_owned();
        lab.api().delete(&format!("/api/v1/namespaces/calico-upgrader/secrets/{name}")).unwrap();
    }
}

#[test]
fn a_run_record_that_people_deleted_stops_the_run_and_is_put_back_by_the_machine_that_ran_it() {
    for (kubernetes, deleted) in
        [(Kubernetes::V1_34, "calico-upgrader/run"), (Kubernetes::V1_8, "calico-upgrader/part=record")]
    {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let hung = hang_at_a_node(&lab);
        let run = lab.run_directory().file_name().unwrap().to_str().unwrap().to_owned();
        delete_records(&lab, deleted);
        lab.nodes().repair("node-2").unwrap();
        Ran::end_of(hung).exits(13).says("no record of run").says(&run);
        let elsewhere = tempfile::tempdir().unwrap();
        let resume = ["resume", &run, "--yes"];
        Ran::of(lab.command_in(elsewhere.path(), &resume)).exits(65).says("no record of run");
        lab.tool(&upgrade("resume")).exits(0).says("whose record is gone").says(&run);
        lab.tool(&resume).exits(0).says("put back from the files").says("done before: back-up");
        lab.tool(&["verify"]).exits(0);
        lab.tool(&["status"]).exits(0).says(&run).says("finished");
    }
}

#[test]
fn a_namespace_of_records_that_people_deleted_stops_the_run_and_is_made_again_by_the_machine_that_ran_it() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let hung = hang_at_a_node(&lab);
    let run = lab.run_directory().file_name().unwrap().to_str().unwrap().to_owned();
    let namespace = "/api/v1/namespaces/calico-upgrader";
    lab.api().delete(namespace).unwrap();
    // The lock is gone with it, so the run does not wait for its node.
    Ran::end_of(hung).exits(13).says("no record of run").says(&run);
    wait_until("the namespace to be gone", || match lab.api().get(namespace) {
        Ok(_) => Ok(Seen::NotYet("it is there".to_owned())),
        Err(_) => Ok(Seen::Yes(())),
    })
    .unwrap();
    lab.nodes().repair("node-2").unwrap();
    let resume = ["resume", &run, "--yes"];
    lab.tool(&resume).exits(0).says("put back from the files").says("done before: back-up");
    lab.tool(&["rollback", "--yes"]).exits(0);
    lab.tool(&resume).exits(6);
    assert!(lab.api().list("/api/v1/nodes").unwrap().iter().all(|node| node["spec"]["unschedulable"].is_null()));
}

#[test]
fn a_run_that_another_one_took_the_place_of_is_not_put_back() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.tool(&[upgrade("run"), vec!["--until", "pull images"]].concat()).exits(0);
    let name = lab.run_directory().file_name().unwrap().to_str().unwrap().to_owned();
    lab.api().delete(&format!("/api/v1/namespaces/calico-upgrader/secrets/calico-upgrader-run-{name}")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = |arguments: &[&str]| Ran::of(lab.command_in(elsewhere.path(), arguments));
    other(&[upgrade("run"), vec!["--until", "pull images"]].concat()).exits(0);
    lab.tool(&["resume", &name, "--yes"]).exits(3).says("CU-E009");
    other(&upgrade("resume")).exits(0);
    lab.tool(&["resume", &name, "--yes"]).exits(3).says("CU-E010").says("began after it");
}
