//! Windows: nothing is begun outside, no node that could not be done inside, and the next window goes on.

use std::process::Command;

use harness::{Kubernetes, Release};
use jiff::{SignedDuration, Timestamp};

use crate::{
    interruptions::hang,
    lab::{Lab, Ran, lab, small, upgrade},
    tier::versions,
};

/// A window of every day, by hours from now.
pub fn window(from: i64, to: i64) -> String {
    let clock = |hours| (Timestamp::now() + SignedDuration::from_hours(hours)).strftime("%H:%M").to_string();
    format!("Mon-Sun {}-{} UTC", clock(from), clock(to))
}

/// The program on a machine whose clock is wrong by so many seconds, from now on.
fn with_clock(lab: &Lab, command: &mut Command, seconds: i64) {
    set_clock(lab, seconds);
    command.env("CALICO_UPGRADER_FAULT_CLOCK", lab.state().join("clock"));
}

fn set_clock(lab: &Lab, seconds: i64) {
    std::fs::write(lab.state().join("clock"), seconds.to_string()).unwrap();
}

/// How many nodes run the new calico-node.
pub fn replaced(lab: &Lab) -> usize {
    let pods = lab.calico_pods().unwrap().into_values().flatten();
    let images = pods.map(|pod| pod["spec"]["containers"][0]["image"].clone());
    images.filter(|image| image.as_str().unwrap().ends_with(":v2.6.12")).count()
}

fn no_node_is_cordoned(lab: &Lab) -> bool {
    lab.api().list("/api/v1/nodes").unwrap().iter().all(|node| node["spec"]["unschedulable"].is_null())
}

#[test]
fn outside_its_window_a_run_does_not_begin_and_says_when_the_next_one_opens() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let later = window(2, 3);
    let run = [upgrade("run"), vec!["--window", &later]].concat();
    lab.tool(&run).exits(9).says("CU-E031").says("no window is open: the next one opens");
    let freeze = ["--window", &window(-1, 1), "--freeze", "2000-01-01..2999-12-31"];
    lab.tool(&[upgrade("run"), freeze.to_vec()].concat()).exits(9).says("none opens within a year");
    assert!(!lab.state().join("runs").exists(), "a run was begun");
    assert_eq!(harness::differences(lab.start().state(), &lab.cluster_state().unwrap()), Vec::<String>::new());
}

#[test]
fn a_run_whose_window_ends_finishes_its_node_and_goes_on_in_the_next_window() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let open = window(-1, 1);
        let mut command = lab.command(&[upgrade("run"), vec!["--window", &open]].concat());
        with_clock(&lab, &mut command, 0);
        let run = hang(&lab, "node-2", command);
        set_clock(&lab, 2 * 3600);
        lab.nodes().repair("node-2").unwrap();
        Ran::end_of(run).exits(9).says("CU-R009").says("in the next window: calico-upgrader resume");
        assert!(replaced(&lab) == 1 && no_node_is_cordoned(&lab));
        lab.tool(&["status"]).exits(0).says("stopped with exit 9: no window is open");
        let outside = lab.command(&[upgrade("resume"), vec!["--window", &window(2, 3)]].concat());
        Ran::of(outside).exits(9).says("the next one opens");
        assert_eq!(replaced(&lab), 1);
        lab.tool(&[upgrade("resume"), vec!["--window", &open]].concat()).exits(0).says("from 1 done");
    }
}

#[test]
fn a_node_that_could_not_be_done_inside_is_not_begun() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let open = window(-1, 1);
    let slow = vec!["--window", &open, "--ready-within", "110m"];
    lab.tool(&[upgrade("run"), slow].concat()).exits(9).says("a node may take 1h50m and the window ends");
    assert!(replaced(&lab) == 0 && no_node_is_cordoned(&lab));
    lab.tool(&upgrade("resume")).exits(0);
}

#[test]
fn windows_too_short_for_any_node_are_refused() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let open = window(-1, 1);
    let never = vec!["--window", &open, "--ready-within", "3h"];
    lab.tool(&[upgrade("run"), never].concat()).exits(64).says("no window is long enough for a node").says("3h");
    assert!(!lab.state().join("runs").exists(), "a run was begun");
}

#[test]
fn a_clock_that_is_wrong_by_a_day_is_named_with_that_of_the_server_and_no_window_is_believed() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let mut wrong = lab.command(&[upgrade("run"), vec!["--window", &window(-1, 1)]].concat());
        with_clock(&lab, &mut wrong, 86_400);
        Ran::of(wrong).exits(3).says("CU-C030").says("1440 min ahead").says("API server: 20");
        let mut check = lab.command(&["check", "CU-C030"]);
        with_clock(&lab, &mut check, -86_400);
        Ran::of(check).exits(0).says("warning[CU-C030]").says("min behind");
        lab.tool(&["check", "CU-C030"]).exits(0).says("1 checks hold, 0 findings");
    }
}
