//! Kills before, in and after a rollback: the cluster is what it was at the start all the same, object by object.
//!
//! Samples are taken of each matrix; `docs/safety.md` says how the whole is run.

use harness::{Flavour, Kubernetes, Release, WornIn};

use crate::{
    etcd::values,
    kills::{kill_at, record, sample},
    lab::{Lab, lab, small, upgrade},
    rollbacks::{BACK, is_as_at_the_start, is_as_at_the_start_on_etcd, newest_run},
};

fn on_etcd() -> WornIn {
    WornIn { flavour: Flavour::Etcd, ..small(Release::V2_3_0) }
}

#[test]
fn a_run_that_was_killed_anywhere_goes_back_to_its_start() {
    kill_and_go_back(Kubernetes::V1_8, small(Release::V2_2_1), 11);
}

#[test]
fn a_run_that_was_killed_on_todays_kubernetes_goes_back_to_its_start() {
    kill_and_go_back(Kubernetes::V1_34, small(Release::V2_2_1), 71);
}

#[test]
fn a_run_on_etcd_that_was_killed_anywhere_goes_back_to_its_start() {
    kill_and_go_back(Kubernetes::V1_8, on_etcd(), 17);
}

#[test]
fn a_run_on_etcd_that_was_killed_on_todays_kubernetes_goes_back_to_its_start() {
    kill_and_go_back(Kubernetes::V1_34, on_etcd(), 71);
}

#[test]
fn a_rollback_that_was_killed_anywhere_goes_on_to_the_start() {
    kill_the_way_back(Kubernetes::V1_8, small(Release::V2_2_1), 13);
}

#[test]
fn a_rollback_that_was_killed_on_todays_kubernetes_goes_on_to_the_start() {
    kill_the_way_back(Kubernetes::V1_34, small(Release::V2_2_1), 71);
}

#[test]
fn a_rollback_on_etcd_that_was_killed_anywhere_goes_on_to_the_start() {
    kill_the_way_back(Kubernetes::V1_8, on_etcd(), 53);
}

/// Kills an upgrade at boundaries and takes it back.
fn kill_and_go_back(kubernetes: Kubernetes, cluster: WornIn, every: usize) {
    let mut lab = lab(kubernetes, cluster);
    let start = Start::of(&lab, cluster);
    let boundaries = record(&lab, &upgrade("run"));
    for boundary in sample(&boundaries, every) {
        lab.again();
        kill_at(&lab, &upgrade("run"), boundary);
        lab.tool(&BACK).exits(0);
        start.is_again(&lab, &format!("a kill at {boundary}"));
        lab.tool(&["resume", "--yes"]).exits(0).says("nothing to resume");
    }
}

/// Kills the rollback of a finished upgrade at boundaries and goes on with it.
fn kill_the_way_back(kubernetes: Kubernetes, cluster: WornIn, every: usize) {
    let mut lab = lab(kubernetes, cluster);
    let start = Start::of(&lab, cluster);
    lab.tool(&upgrade("run")).exits(0);
    let boundaries = record(&lab, &BACK);
    for (index, boundary) in sample(&boundaries, every).into_iter().enumerate() {
        lab.again();
        lab.tool(&upgrade("run")).exits(0);
        kill_at(&lab, &BACK, boundary);
        // A rollback may also be made anew in place of the one that died, and must be where that one was not recorded.
        let on = if index % 3 == 2 { lab.tool(&BACK) } else { lab.tool(&["resume", "--yes"]) };
        if on.exits(0).words.contains("nothing to resume") {
            lab.tool(&BACK).exits(0);
        }
        start.is_again(&lab, &format!("a rollback killed at {boundary}"));
    }
}

/// What there was before the upgrade beside the cluster's own objects.
struct Start {
    keys: Option<std::collections::BTreeMap<String, String>>,
}

impl Start {
    fn of(lab: &Lab, cluster: WornIn) -> Self {
        let is_on_etcd = match cluster.flavour {
            Flavour::Networking | Flavour::PolicyOnly | Flavour::Canal => false,
            Flavour::Etcd | Flavour::Kubeadm | Flavour::CanalEtcd => true,
        };
        Self { keys: is_on_etcd.then(|| values(lab.etcd())) }
    }

    #[track_caller]
    fn is_again(&self, lab: &Lab, after: &str) {
        match &self.keys {
            Some(keys) => is_as_at_the_start_on_etcd(lab, after, keys),
            None => is_as_at_the_start(lab, after),
        }
    }
}

#[test]
fn a_completion_that_was_killed_anywhere_forbids_a_rollback_and_goes_on() {
    let mut lab = lab(Kubernetes::V1_8, small(Release::V2_2_1));
    lab.tool(&upgrade("run")).exits(0);
    let boundaries = record(&lab, &["complete", "--confirm", &newest_run(&lab)]);
    for boundary in sample(&boundaries, 13) {
        lab.again();
        lab.tool(&upgrade("run")).exits(0);
        let run = newest_run(&lab);
        let complete = ["complete", "--confirm", &run];
        kill_at(&lab, &complete, boundary);
        if newest_run(&lab) != run {
            lab.tool(&BACK).exits(3).says("CU-E018");
        }
        if lab.tool(&["resume", "--yes"]).exits(0).words.contains("nothing to resume") {
            lab.tool(&complete).exits(0);
        }
        let is_old_data = |key: &String| key.starts_with("projectcalico.org/");
        assert!(!lab.cluster_state().unwrap().keys().any(is_old_data), "old data is left after a kill at {boundary}");
    }
}
