//! Kills the program at every write boundary of a small upgrade, goes on, and expects the end that an unharmed run has.

use harness::{Kubernetes, Release, State, differences};

use crate::{
    kills::{kill_at, record, sample},
    lab::{Lab, lab, small, upgrade},
};

/// New definitions keep a server of today from taking objects for two seconds, so the whole matrix runs on the old one.
#[test]
fn killed_at_any_write_boundary_the_run_goes_on_to_the_same_end() {
    matrix(Kubernetes::V1_8, 1);
}

#[test]
fn killed_at_some_write_boundaries_of_todays_kubernetes_the_run_goes_on_to_the_same_end() {
    matrix(Kubernetes::V1_34, 14);
}

/// Kills at every so many-th boundary.
fn matrix(kubernetes: Kubernetes, every: usize) {
    let mut lab = lab(kubernetes, small(Release::V2_2_1));
    let boundaries = record(&lab, &upgrade("run"));
    let expected = upgraded(&lab);
    for boundary in sample(&boundaries, every) {
        lab.again();
        kill_at(&lab, &upgrade("run"), boundary);
        go_on(&lab);
        let found = differences(&expected, &upgraded(&lab));
        assert!(found.is_empty(), "killed at {boundary}: {found:#?}");
    }
}

/// The whole cluster but for the tool's own records, which tell of more runners after a kill.
fn upgraded(lab: &Lab) -> State {
    let mut state = lab.cluster_state().unwrap();
    state.retain(|key, _| !key.contains("calico-upgrader"));
    state
}

/// A run that died before its record was in the cluster changed nothing: it is begun again.
fn go_on(lab: &Lab) {
    let resumed = lab.tool(&upgrade("resume")).exits(0);
    if resumed.words.contains("nothing to resume") {
        lab.tool(&["plan", "--allow-untested", "--system-policies", "convert"]).exits(0);
        let state = lab.cluster_state().unwrap();
        let is_finished = state.values().any(|object| object.to_string().contains("calico/node:v2.6.12"));
        if !is_finished {
            lab.tool(&upgrade("run")).exits(0);
        }
    }
}
