//! Probes that watch packets between the nodes. The nodes are simulated: pods get ready and send nothing, so a run cannot see, unless the
//! kubelets of the probes are played as well.

use harness::{Kubernetes, Release, Seen, wait_until};

use crate::{
    kills::kill_at,
    lab::{Lab, Ran, lab, small, upgrade},
    probe_pods::ProbePods,
    tier::versions,
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
    for kubernetes in versions() {
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

#[test]
fn what_is_lost_while_a_node_is_replaced_stops_the_run_where_it_is_more_than_may_be() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let pods = ProbePods::play(&lab);
        let run = lab.spawn(&[watched(), vec!["--gate-loss", "1500ms"]].concat());
        wait_until_watched(&lab);
        pods.interrupt("node-2", 10);
        let stopped = Ran::end_of(run).exits(4).says("CU-R030").says("to node-2 (");
        assert!(stopped.words.contains("probes watch 24 pairs"), "{}", stopped.words);
        let replaced =
            |lab: &Lab| lab.journalled_changes().iter().filter(|one| one.starts_with("delete Pod on ")).count();
        assert_eq!(replaced(&lab), 1);
        assert!(!left(&lab).is_empty(), "they go on counting");
        lab.tool(&upgrade("resume")).exits(0);
        assert_eq!((replaced(&lab), left(&lab)), (crate::lab::NODES, Vec::new()));
        let report = lab.tool(&["report", "-o", "json"]).exits(0).json();
        let loss = |node: &str| {
            let nodes = report["timeline"]["nodes"].as_array().unwrap();
            nodes.iter().find(|one| one["node"] == node).unwrap()["loss"].clone()
        };
        let of_node = loss("node-2");
        assert!(of_node["lost"].as_u64() >= Some(10) && of_node["longest_ms"].as_u64() > Some(1500), "{of_node:#}");
        for node in ["node-1", "node-2", "node-3"] {
            assert!(loss(node)["sent"].as_u64() > Some(0), "{node}: {report:#}");
            assert!(loss(node)["new_pod"].as_str().unwrap().ends_with("and reached 4 of 4 neighbours"), "{report:#}");
        }
    }
}

/// Waits until a run has its baseline, and begins with the nodes.
fn wait_until_watched(lab: &Lab) {
    wait_until("the probes to see each other", || {
        let runs = std::fs::read_dir(lab.state().join("runs")).into_iter().flatten().flatten();
        let journals = runs.filter_map(|run| std::fs::read_to_string(run.path().join("journal.jsonl")).ok());
        let is_watched = journals.into_iter().any(|journal| journal.contains("\"kind\":\"watching\""));
        Ok(if is_watched { Seen::Yes(()) } else { Seen::NotYet("no word of it in the journal".to_owned()) })
    })
    .unwrap();
}
