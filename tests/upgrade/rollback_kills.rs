//! Kills before, in and after a rollback: the cluster is what it was at the start all the same, object by object.

use harness::{Flavour, Kubernetes, Release, State, WornIn};
use serde_json::json;

use crate::{
    etcd::values,
    kills::Course,
    lab::{Lab, lab, small, upgrade},
    rollbacks::{BACK, is_as_at_the_start, is_as_at_the_start_on_etcd, newest_run},
    tier::versions,
};

const SMALL: fn() -> WornIn = || small(Release::V2_2_1);
const ON_ETCD: fn() -> WornIn = || WornIn { flavour: Flavour::Etcd, ..small(Release::V2_3_0) };

#[test]
fn a_run_that_was_killed_anywhere_goes_back_to_its_start() {
    kill_and_go_back(SMALL(), 5);
}

#[test]
fn a_run_on_etcd_that_was_killed_anywhere_goes_back_to_its_start() {
    kill_and_go_back(ON_ETCD(), 4);
}

#[test]
fn a_rollback_that_was_killed_anywhere_goes_on_to_the_start() {
    on_the_way_back(SMALL(), |lab, course| course.killed_once(lab, 5));
}

#[test]
fn a_rollback_on_etcd_that_was_killed_anywhere_goes_on_to_the_start() {
    on_the_way_back(ON_ETCD(), |lab, course| course.killed_once(lab, 3));
}

#[test]
fn a_rollback_that_is_begun_anew_in_place_of_one_that_was_killed_ends_at_the_start() {
    on_the_way_back(SMALL(), |lab, course| course.killed_and(lab, 3, |_, lab| drop(lab.tool(&BACK).exits(0))));
}

#[test]
fn a_rollback_that_was_killed_again_while_it_recovers_goes_on_to_the_start() {
    on_the_way_back(SMALL(), |lab, course| course.killed_twice(lab, (2, 2)));
}

#[test]
fn a_rollback_that_was_killed_at_random_again_and_again_goes_on_to_the_start() {
    on_the_way_back(SMALL(), |lab, course| course.killed_at_random(lab, (2, 40)));
}

/// Kills an upgrade at boundaries and takes it back.
fn kill_and_go_back(cluster: WornIn, most: usize) {
    for kubernetes in versions() {
        let mut lab = lab(kubernetes, cluster);
        let (from, keys) = (lab.moment(), lab.has_etcd().then(|| values(lab.etcd())));
        let call = upgrade("run");
        let course = Course { call: &call, from: &from, within: "", look: |_| State::new() };
        course.killed_and(&mut lab, most, |number, lab| {
            lab.tool(&BACK).exits(0);
            match &keys {
                Some(keys) => is_as_at_the_start_on_etcd(lab, &format!("kill {number}"), keys),
                None => is_as_at_the_start(lab, &format!("kill {number}")),
            }
            lab.tool(&["resume", "--yes"]).exits(0).says("nothing to resume");
        });
    }
}

/// Kills the rollback of a finished upgrade, whose undisturbed end is the start.
fn on_the_way_back(cluster: WornIn, matrix: impl Fn(&mut Lab, &Course<'_>)) {
    for kubernetes in versions() {
        let mut lab = lab(kubernetes, cluster);
        let keys = lab.has_etcd().then(|| values(lab.etcd()));
        lab.tool(&upgrade("run")).exits(0);
        let from = lab.moment();
        lab.tool(&BACK).exits(0);
        match &keys {
            Some(keys) => is_as_at_the_start_on_etcd(&lab, "a rollback", keys),
            None => is_as_at_the_start(&lab, "a rollback"),
        }
        matrix(&mut lab, &Course { call: &BACK, from: &from, within: "", look: at_rest });
    }
}

/// The cluster at rest and the keys, but for our own records. A pod of a Deployment has a new name each time, and servers of 1.8 write
/// defaults into the Deployment.
fn at_rest(lab: &Lab) -> State {
    let mut state = lab.snapshot().unwrap().state().clone();
    state.retain(|key, _| !["calico-upgrader", "calico-policy-controller"].iter().any(|name| key.contains(name)));
    if lab.has_etcd() {
        state.extend(values(lab.etcd()).into_iter().map(|(key, value)| (format!("etcd{key}"), json!(value))));
    }
    state
}

#[test]
fn a_completion_that_was_killed_anywhere_forbids_a_rollback_and_goes_on() {
    on_completion(|lab, course| {
        let run = newest_run(lab);
        course.killed_and(lab, 4, |_, lab| {
            if newest_run(lab) != run {
                lab.tool(&BACK).exits(3).says("CU-E018");
            }
            course.go_on(lab);
        });
    });
}

#[test]
fn a_completion_that_was_killed_again_while_it_recovers_goes_on_to_its_end() {
    on_completion(|lab, course| course.killed_twice(lab, (2, 2)));
}

#[test]
fn a_completion_that_was_killed_at_random_again_and_again_goes_on_to_its_end() {
    on_completion(|lab, course| course.killed_at_random(lab, (2, 30)));
}

fn on_completion(matrix: impl Fn(&mut Lab, &Course<'_>)) {
    let mut lab = lab(Kubernetes::V1_8, SMALL());
    lab.tool(&upgrade("run")).exits(0);
    let (from, run) = (lab.moment(), newest_run(&lab));
    let look = |lab: &Lab| {
        let state = at_rest(lab);
        assert!(!state.keys().any(|key| key.starts_with("projectcalico.org/")), "old data is left");
        state
    };
    matrix(&mut lab, &Course { call: &["complete", "--confirm", &run], from: &from, within: "", look });
}
