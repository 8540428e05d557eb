//! Runs and steps as Jobs: started here, done in pods, told here.

use std::process::{Child, Command};

use harness::{Fault, Flavour, Kubernetes, Release, Seen, Server, Size, State, WornIn, differences, wait_until};
use serde_json::{Value, json};

use crate::{
    interruptions::at_a_node,
    kills::record,
    kubelet::Kubelet,
    lab::{Lab, Ran, lab, small, upgrade},
    printed::{InCluster, apply, printed, uses_all_but},
    rolls::wait_until_stuck,
    tier::slice,
    tier::versions,
};

const JOBS: &str = "/apis/batch/v1/namespaces/calico-upgrader/jobs";
const JOB: &str = "/apis/batch/v1/namespaces/calico-upgrader/jobs/calico-upgrader";
const AS_JOB: [&str; 3] = ["--as-job", "--image", "upgrader:1"];
const STEPS: [&str; 2] = ["convert-policies", "copy-resources"];
const JOB_STEPS: [&str; 3] = ["--job-steps", "--image", "upgrader:1"];

fn as_job() -> Vec<&'static str> {
    [upgrade("run"), AS_JOB.to_vec()].concat()
}

/// Ends a program as a power cut would.
fn cut_off(mut program: Child) {
    program.kill().unwrap();
    program.wait().unwrap();
}

fn signal(program: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &program.id().to_string()]).status().unwrap().success());
}

fn secrets_of(lab: &Lab, part: &str) -> Vec<Value> {
    let all = lab.api().list("/api/v1/namespaces/calico-upgrader/secrets").unwrap();
    all.into_iter().filter(|secret| secret["metadata"]["labels"]["calico-upgrader/part"] == part).collect()
}

/// The whole cluster but for what is the tool's own.
fn without_records(lab: &Lab) -> State {
    let mut state = lab.cluster_state().unwrap();
    state.retain(|key, _| !key.contains("calico-upgrader"));
    state
}

#[test]
fn a_run_as_a_job_upgrades_and_a_second_one_has_nothing_to_do() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_2_1));
        let account = InCluster::new(&lab, "run");
        let mut kubelet = Kubelet::new(&lab, &account);
        let ran = kubelet.serve(lab.spawn(&as_job())).exits(0);
        ran.says("Log        skipped").says("finished with exit 0").says("ended with 0");
        lab.tool(&["verify"]).exits(0);
        assert_eq!(kubelet.ended.len(), 1);
        // A Job that is over makes room for the next one.
        let first = lab.api().get(JOB).unwrap()["metadata"]["uid"].clone();
        kubelet.serve(lab.spawn(&as_job())).exits(0);
        assert_ne!(lab.api().get(JOB).unwrap()["metadata"]["uid"], first);
    }
}

#[test]
fn a_sealed_plan_goes_along_and_nothing_of_it_is_left() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    let account = InCluster::new(&lab, "run");
    let mut kubelet = Kubelet::new(&lab, &account);
    let file = lab.state().join("up.plan");
    let plan = [&upgrade("run")[1..4], &["--system-policies", "convert", "--out", file.to_str().unwrap()]].concat();
    lab.tool(&[vec!["plan"], plan].concat()).exits(0);
    let run = [vec!["run", file.to_str().unwrap(), "--yes"], AS_JOB.to_vec()].concat();
    kubelet.serve(lab.spawn(&run)).exits(0);
    lab.tool(&["verify"]).exits(0);
    let sealed: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let state = lab.tool(&["status", "-o", "json"]).exits(0).json();
    assert_eq!(state["plan"], sealed["digest"], "another plan ran");
    let parts = secrets_of(&lab, "plan");
    assert!(parts.iter().all(|part| part["metadata"]["labels"]["calico-upgrader/run"] == state["run"]), "{parts:#?}");
    // Whoever asks for the same plan once more learns that it is done.
    kubelet.serve(lab.spawn(&run)).exits(0);
    assert!(kubelet.ended.values().any(|ran| ran.words.contains("of this plan is finished")));
}

#[test]
fn the_exit_code_is_that_of_the_program_in_the_pod() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let account = InCluster::new(&lab, "run");
        let mut kubelet = Kubelet::new(&lab, &account);
        let file = lab.state().join("up.plan");
        lab.tool(&["plan", "--to", "v2.6", "--allow-untested", "--out", file.to_str().unwrap()]).exits(0);
        let change = json!({"data": {"surprise": "yes"}});
        lab.api().merge_patch("/api/v1/namespaces/kube-system/configmaps/calico-config", &change).unwrap();
        let run = [vec!["run", file.to_str().unwrap(), "--yes"], AS_JOB.to_vec()].concat();
        // Its own words come by the status of the pod where no log is given.
        kubelet.serve(lab.spawn(&run)).exits(13).says("CU-R020").says("CU-E011").says("surprise");
        let ends: Vec<_> = kubelet.ended.values().map(|pod| pod.exit.unwrap()).collect();
        let is_left = lab.api().get(JOB).is_ok();
        match kubernetes {
            Kubernetes::V1_34 => assert!(ends == [13] && is_left, "another would end the same way: {ends:?}"),
            // A Job of 1.8 makes pod after pod, until whoever follows it has removed it.
            Kubernetes::V1_8 => {
                assert!(!ends.is_empty() && ends.iter().all(|exit| *exit == 13) && !is_left, "{ends:?}");
            }
        }
    }
}

/// A follower of a Job whose run waits for a node that does not get ready.
fn stuck_at_a_node(lab: &Lab, kubelet: &mut Kubelet<'_>) -> Child {
    lab.nodes().fail("node-2", Fault::NeverReady).unwrap();
    let follower = lab.spawn(&as_job());
    kubelet.serve_until("the run to reach the node", |_| {
        lab.api().get("/api/v1/nodes/node-2").unwrap()["spec"]["unschedulable"] == true
    });
    wait_until_stuck(lab, "node-2").unwrap();
    follower
}

#[test]
fn killed_pods_and_killed_followers_are_followed_by_others() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let account = InCluster::new(&lab, "run");
        let mut kubelet = Kubelet::new(&lab, &account);
        let follower = stuck_at_a_node(&lab, &mut kubelet);
        cut_off(follower);
        kubelet.kill();
        lab.nodes().repair("node-2").unwrap();
        let ran = kubelet.serve(lab.spawn(&as_job())).exits(0);
        ran.says("is under way; following it").says("ended with 137").says("ended with 0");
        lab.tool(&["verify"]).exits(0);
    }
}

#[test]
fn who_leaves_is_told_how_to_watch_and_the_job_goes_on() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let account = InCluster::new(&lab, "run");
    let mut kubelet = Kubelet::new(&lab, &account);
    let follower = stuck_at_a_node(&lab, &mut kubelet);
    signal(&follower, "-INT");
    Ran::end_of(follower).exits(130).says("status").says("pause").says("same command again");
    // A pause ends the Job, and asking again goes on in the next one.
    lab.tool(&["pause"]).exits(0);
    lab.nodes().repair("node-2").unwrap();
    let follower = lab.spawn(&as_job());
    kubelet.serve(follower).exits(11).says("ended with 11");
    kubelet.serve(lab.spawn(&as_job())).exits(0);
    lab.tool(&["verify"]).exits(0);
}

#[test]
fn a_job_that_is_removed_midway_ends_its_follower_and_any_machine_goes_on() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let account = InCluster::new(&lab, "run");
    let mut kubelet = Kubelet::new(&lab, &account);
    let follower = stuck_at_a_node(&lab, &mut kubelet);
    lab.api().delete(JOB).unwrap();
    kubelet.kill();
    kubelet.serve(follower).exits(143).says("CU-R022").says("calico-upgrader resume");
    lab.nodes().repair("node-2").unwrap();
    lab.tool(&upgrade("resume")).exits(0);
}

#[test]
fn an_api_server_that_is_away_for_a_while_is_waited_for() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let account = InCluster::new(&lab, "run");
    let mut kubelet = Kubelet::new(&lab, &account);
    let events = lab.state().join("events");
    let follower = lab.spawn(&[as_job(), vec!["--events", events.to_str().unwrap()]].concat());
    kubelet.serve_until("a pod to run the program", |kubelet| kubelet.is_busy());
    lab.stop_server(Server::ApiServer).unwrap();
    wait_until("the follower to miss the server", || {
        let told = std::fs::read_to_string(&events).unwrap();
        let is_missed = told.contains("the Job goes on by itself");
        Ok(if is_missed { Seen::Yes(()) } else { Seen::NotYet(told) })
    })
    .unwrap();
    lab.start_server(Server::ApiServer).unwrap();
    lab.wait_until_healthy().unwrap();
    kubelet.serve(follower).exits(0).says("the Job goes on by itself").says("answers again");
    lab.tool(&["verify"]).exits(0);
}

#[test]
fn nothing_is_begun_without_an_image_an_account_or_files_that_a_pod_can_read() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.tool(&[upgrade("run"), vec!["--as-job"]].concat()).exits(64).says("--image");
    lab.tool(&[as_job(), vec!["--runbook", "mine.yaml"]].concat()).exits(64).says("a pod cannot read");
    lab.tool(&[as_job(), vec!["--window", "never"]].concat()).exits(64);
    lab.tool(&as_job()).exits(3).says("CU-E070").says("install rbac --mode run");
    lab.tool(&[upgrade("run"), JOB_STEPS.to_vec()].concat()).exits(3).says("CU-E070");
    assert!(lab.api().get("/api/v1/namespaces/calico-upgrader").is_err(), "something was begun");
}

#[test]
fn a_job_that_does_something_else_is_left_alone() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let _account = InCluster::new(&lab, "run");
    apply(&lab, &printed(&lab, &["manifests", "--mode", "job", "--", "--to", "v2.6", "--batch", "2"]));
    lab.tool(&as_job()).exits(8).says("CU-E071").says("--batch 2");
    assert_eq!(lab.api().list(JOBS).unwrap().len(), 1);
}

#[test]
fn a_pod_that_cannot_start_is_given_up_with_its_reason_and_its_job_is_removed() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let _account = InCluster::new(&lab, "run");
    let soon = [as_job(), vec!["--start-within", "15s"]].concat();
    let nodes = lab.api().list("/api/v1/nodes").unwrap();
    let names: Vec<&str> = nodes.iter().map(|node| node["metadata"]["name"].as_str().unwrap()).collect();
    names.iter().for_each(|name| lab.nodes().fail(name, Fault::ImagePull).unwrap());
    lab.tool(&soon).exits(4).says("CU-E073").says("ImagePullBackOff");
    assert!(lab.api().get(JOB).is_err(), "it would begin once the image is there");
    let taint = json!({"spec": {"taints": [{"key": "full", "effect": "NoSchedule"}]}});
    for name in names {
        lab.api().merge_patch(&format!("/api/v1/nodes/{name}"), &taint).unwrap();
    }
    lab.tool(&soon).exits(4).says("CU-E073").says("not placed");
    assert_eq!(secrets_of(&lab, "record").len(), 0, "a run was begun");
}

#[test]
fn killed_at_some_write_boundaries_here_or_in_a_pod_a_run_with_steps_as_jobs_ends_the_same() {
    let mut lab = lab(Kubernetes::V1_8, small(Release::V2_2_1));
    let boundaries = record(&lab, &upgrade("run"));
    let expected = without_records(&lab);
    // The account's namespace is there before the run, so nobody makes it.
    let boundaries = boundaries.into_iter().filter(|boundary| !boundary.starts_with("record/namespace"));
    let is_of_pods = |boundary: &&String| STEPS.iter().any(|step| boundary.starts_with(&format!("{step}/")));
    let (of_pods, here): (Vec<String>, Vec<String>) = boundaries.partition(|boundary| is_of_pods(&boundary));
    let in_pods = slice("kills in pods", &of_pods, 2).into_iter().map(|boundary| (true, boundary));
    let outside = slice("kills here", &here, 2).into_iter().map(|boundary| (false, boundary));
    for (is_of_pod, boundary) in in_pods.chain(outside) {
        lab.again();
        let account = InCluster::new(&lab, "run");
        let mut kubelet = Kubelet::new(&lab, &account);
        let run = [upgrade("run"), JOB_STEPS.to_vec()].concat();
        if is_of_pod {
            kubelet.fault = Some(boundary.clone());
            kubelet.serve(lab.spawn(&run)).exits(0).says("ended with 137");
        } else {
            let killed = kubelet.serve(lab.spawn(&[run, vec!["--fault", &boundary]].concat()));
            assert_eq!(killed.signal, Some(9), "not killed at {boundary}: {killed}");
            kubelet.serve(go_on(&lab)).exits(0);
        }
        let found = differences(&expected, &without_records(&lab));
        assert!(found.is_empty(), "killed at {boundary}: {found:#?}");
    }
}

/// Resumes with Jobs; what was killed before the run was known is begun again.
fn go_on(lab: &Lab) -> Child {
    let is_known = secrets_of(lab, "record").iter().any(|_| true);
    let verb = if is_known { "resume" } else { "run" };
    lab.spawn(&[upgrade(verb), JOB_STEPS.to_vec()].concat())
}

#[test]
fn an_etcd_that_only_the_cluster_can_reach_is_upgraded_by_a_job_that_plans() {
    let cluster = WornIn { release: Release::V2_5_1, flavour: Flavour::Etcd, size: Size::Small };
    let lab = lab(Kubernetes::V1_34, cluster);
    let account = InCluster::with(&lab, "run", &["--datastore", "etcdv2"]);
    let mut kubelet = Kubelet::new(&lab, &account);
    let from_here = |arguments: &[&str]| {
        let mut command = lab.command(arguments);
        command.env_remove("CALICO_UPGRADER_ETCD_ENDPOINTS");
        command
    };
    Ran::of(from_here(&["plan", "--to", "v2.6", "--allow-untested"])).exits(64).says("CU-E040");
    kubelet.serve(from_here(&as_job()).spawn().unwrap()).exits(0);
    lab.tool(&["verify"]).exits(0);
}

/// Rights to start and follow Jobs that a run without trouble does not use, and why they are granted.
const UNUSED: [(&str, &str); 2] = [
    ("get secrets in calico-upgrader", "with -o json the plan is read from the record"),
    ("update secrets in calico-upgrader", "a run that a person paused is let go on"),
];

#[test]
fn who_starts_jobs_needs_exactly_the_printed_rights_and_none_of_calico() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let account = InCluster::new(&lab, "run");
        let person = InCluster::new(&lab, "as-job");
        let mut kubelet = Kubelet::new(&lab, &account);
        let file = lab.state().join("up.plan");
        lab.tool(&["plan", "--to", "v2.6", "--allow-untested", "--out", file.to_str().unwrap()]).exits(0);
        let run = [vec!["run", file.to_str().unwrap(), "--yes"], AS_JOB.to_vec()].concat();
        for _ in 0..2 {
            let mut follower = lab.command(&run);
            kubelet.serve(follower.env("KUBECONFIG", &person.kubeconfig).spawn().unwrap()).exits(0);
        }
        uses_all_but(&person, &UNUSED);
        let refused = Ran::of(lab.command(&run).env("KUBECONFIG", &account.kubeconfig));
        refused.exits(15).says("CU-C006").says("create Job").says("--mode as-job");
    }
}

#[test]
fn steps_as_jobs_end_like_steps_here() {
    for kubernetes in versions() {
        let mut lab = lab(kubernetes, small(Release::V2_2_1));
        lab.tool(&upgrade("run")).exits(0);
        let expected = without_records(&lab);
        lab.again();
        let account = InCluster::new(&lab, "run");
        let mut kubelet = Kubelet::new(&lab, &account);
        let ran = kubelet.serve(lab.spawn(&[upgrade("run"), JOB_STEPS.to_vec()].concat())).exits(0);
        ran.says("takes step convert-policies").says("takes step copy-resources");
        assert_eq!(kubelet.ended.len(), 2, "{:#?}", kubelet.ended);
        assert!(kubelet.ended.values().all(|pod| pod.exit == Some(0)));
        let found = differences(&expected, &without_records(&lab));
        assert!(found.is_empty(), "{found:#?}");
        let done = lab.tool(&["status", "-o", "json"]).json()["steps_done"].clone();
        let names: Vec<&str> = done.as_array().unwrap().iter().map(|step| step.as_str().unwrap()).collect();
        assert!(names.starts_with(&["back-up", "pull-images", "convert-policies", "copy-resources"]), "{names:?}");
        assert_eq!(lab.api().list(JOBS).unwrap().len(), 0, "Jobs of steps that are done are left");
        lab.tool(&["verify"]).exits(0);
        lab.tool(&["rollback", "--yes"]).exits(0);
    }
}

#[test]
fn a_step_in_a_job_survives_the_death_of_its_runner_and_of_its_pod() {
    let mut lab = lab(Kubernetes::V1_8, small(Release::V2_2_1));
    for (waits_for_pod, resume) in [(false, JOB_STEPS.to_vec()), (true, JOB_STEPS.to_vec()), (true, vec![])] {
        lab.again();
        let account = InCluster::new(&lab, "run");
        let mut kubelet = Kubelet::new(&lab, &account);
        let runner = lab.spawn(&[upgrade("run"), JOB_STEPS.to_vec()].concat());
        if waits_for_pod {
            kubelet.serve_until("a pod to take the step", |kubelet| kubelet.is_busy());
            kubelet.kill();
        } else {
            wait_until("the Job of the step", || {
                let jobs = lab.api().list(JOBS).unwrap().len();
                Ok(if jobs == 1 { Seen::Yes(()) } else { Seen::NotYet(format!("{jobs} Jobs")) })
            })
            .unwrap();
        }
        cut_off(runner);
        let again = lab.spawn(&[upgrade("resume"), resume].concat());
        kubelet.serve(again).exits(0);
        lab.tool(&["verify"]).exits(0);
    }
}

#[test]
fn a_rollback_as_a_job_goes_on_after_a_kill_and_ends_at_the_start() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        lab.tool(&upgrade("run")).exits(0);
        let account = InCluster::new(&lab, "rollback");
        let mut kubelet = Kubelet::new(&lab, &account);
        lab.nodes().fail("node-2", Fault::NeverReady).unwrap();
        apply(&lab, &printed(&lab, &["manifests", "--mode", "rollback", "--image", "upgrader:1"]));
        kubelet.serve_until("the rollback to reach the node", |_| {
            lab.api().get("/api/v1/nodes/node-2").unwrap()["spec"]["unschedulable"] == true
        });
        wait_until_stuck(&lab, "node-2").unwrap();
        kubelet.kill();
        lab.nodes().repair("node-2").unwrap();
        kubelet
            .serve_until("the next pod to end well", |kubelet| kubelet.ended.values().any(|pod| pod.exit == Some(0)));
        assert!(kubelet.ended.values().any(|pod| pod.words.contains("goes on")), "{:#?}", kubelet.ended);
        crate::rollbacks::is_as_at_the_start(&lab, "a rollback as a Job");
        // A pod that comes after the end finds nothing to do.
        lab.tool(&["rollback", "--yes", "--or-resume"]).exits(0).says("nothing of it is left to take back");
    }
}

#[test]
fn a_rollback_that_a_person_paused_waits_for_a_person() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.tool(&upgrade("run")).exits(0);
    lab.nodes().fail("node-2", Fault::NeverReady).unwrap();
    let rollback = at_a_node(&lab, "node-2", lab.command(&["rollback", "--yes"]));
    wait_until_stuck(&lab, "node-2").unwrap();
    lab.tool(&["pause"]).exits(0);
    lab.nodes().repair("node-2").unwrap();
    Ran::end_of(rollback).exits(11);
    lab.tool(&["rollback", "--yes", "--or-resume"]).exits(11).says("CU-E032");
    lab.tool(&["resume", "--yes"]).exits(0);
}
