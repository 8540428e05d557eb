//! Probes that watch packets between the nodes, where the nodes are simulated: their pods get ready and send nothing. So what is held
//! here is what becomes of a run that cannot see; what probes count is held in `tests/probes.rs`, and on real kubelets by `make e2e`.

use harness::{Kubernetes, Release};

use crate::{
    kills::kill_at,
    lab::{Lab, lab, small, upgrade},
};

const PROBE: [&str; 2] = ["--probe-image", "registry.corp.example:5000/calico-upgrader:1"];

fn watched() -> Vec<&'static str> {
    [upgrade("run"), PROBE.to_vec()].concat()
}

/// What is in the cluster of the probes.
fn left(lab: &Lab) -> Vec<String> {
    let ring = lab.api().list("/api/v1/namespaces/calico-upgrader/configmaps").unwrap();
    let ring = ring.iter().map(|one| one["metadata"]["name"].as_str().unwrap().to_owned());
    lab.cluster_state().unwrap().into_keys().chain(ring).filter(|key| key.contains("calico-upgrader-probe")).collect()
}

#[test]
fn probes_that_cannot_be_read_are_skipped_with_the_reason_and_removed() {
    for kubernetes in Kubernetes::ALL {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        lab.tool(&watched()).exits(0).says("skipped packets between nodes (");
        assert_eq!(left(&lab), Vec::<String>::new());
        let changes = lab.journalled_changes();
        let started =
            |name: &str| changes.contains(&format!("create DaemonSet calico-upgrader/calico-upgrader-probe-{name}"));
        assert!(started("host") && started("pod"), "{changes:?}");
        let report = lab.tool(&["report", "-o", "json"]).exits(0).json();
        assert!(report["skipped"][0].as_str().unwrap().starts_with("packets between nodes ("), "{report:#}");
    }
}

#[test]
fn a_run_without_probes_says_so() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.tool(&upgrade("run")).exits(0).says("skipped packets between nodes (no --probe-image)");
}

#[test]
fn a_budget_that_nobody_can_look_at_stops_the_run_before_the_first_node() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let before = lab.calico_pods().unwrap();
    lab.tool(&[upgrade("run"), vec!["--gate-loss", "5s"]].concat()).exits(64).says("--probe-image");
    lab.tool(&[watched(), vec!["--gate-loss", "soon"]].concat()).exits(64).says("neither a time like 5s nor a share");
    assert!(!lab.state().join("runs").exists(), "a run was begun");
    lab.tool(&[watched(), vec!["--gate-loss", "5s"]].concat()).exits(4).says("CU-R031").says("--gate-loss");
    assert_eq!(lab.calico_pods().unwrap().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(!lab.journalled_changes().iter().any(|label| label.starts_with("delete Pod on ")));
    lab.tool(&upgrade("resume")).exits(0);
    assert_eq!(left(&lab), Vec::<String>::new());
}

#[test]
fn what_a_killed_run_left_of_its_probes_goes_with_whoever_comes_next() {
    let boundary = "roll-nodes/create DaemonSet calico-upgrader/calico-upgrader-probe-pod:sent";
    let mut lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    for next in ["resume", "rollback"] {
        lab.again();
        kill_at(&lab, &watched(), boundary);
        assert!(left(&lab).iter().any(|key| key.ends_with("daemonsets/calico-upgrader/calico-upgrader-probe-pod")));
        lab.tool(&upgrade(next)).exits(0);
        assert_eq!(left(&lab), Vec::<String>::new(), "after {next}");
    }
}
