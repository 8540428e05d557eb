//! The harness on real control planes, one for each version of Kubernetes.

use std::process::Command;
use std::sync::LazyLock;

use harness::variation::{self, Block};
use harness::{
    ControlPlane, Fault, Flavour, Kubernetes, Release, Seen, Server, Size, Snapshot, User, WornIn, differences,
    wait_until, worn_in,
};
use serde_json::{Value, json};

fn small(release: Release) -> WornIn {
    WornIn { release, flavour: Flavour::Networking, size: Size::Small }
}

fn cluster(kubernetes: Kubernetes, cluster: &WornIn) -> ControlPlane {
    let plane = ControlPlane::start(kubernetes).unwrap();
    plane.add_node_count(3).unwrap();
    worn_in(&plane, cluster).unwrap();
    plane
}

/// Breaks many things at once, and leaves the controllers in the midst of reacting.
fn damage(plane: &ControlPlane) {
    let api = plane.api();
    let definitions = match plane.kubernetes() {
        Kubernetes::V1_34 => "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        Kubernetes::V1_8 => "/apis/apiextensions.k8s.io/v1beta1/customresourcedefinitions",
    };
    api.delete(&format!("{definitions}/ippools.projectcalico.org")).unwrap();
    api.delete("/apis/projectcalico.org/v1/namespaces/kube-system/globalconfigs/clusterguid").unwrap();
    api.delete("/api/v1/namespaces/payments").unwrap();
    api.delete("/api/v1/namespaces/kube-system/configmaps/calico-config").unwrap();
    api.create("/api/v1/namespaces", &json!({"metadata": {"name": "newcomer"}})).unwrap();
    variation::operator_install(plane).unwrap();
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}});
    let patch = json!({"spec": {"updateStrategy": rolling, "template": {"metadata": {"labels": {"damaged": "yes"}}}}});
    api.merge_patch(variation::calico_node_path(plane), &patch).unwrap();
    wait_until("the first pod of the damaged template", || {
        let pods = plane.calico_pods()?;
        let is_damaged = |pod: &Value| pod["metadata"]["labels"]["damaged"] == "yes";
        Ok(if pods.values().flatten().any(is_damaged) { Seen::Yes(()) } else { Seen::NotYet("old pods".to_owned()) })
    })
    .unwrap();
}

fn names_of_pods(plane: &ControlPlane) -> Vec<String> {
    let pods = plane.calico_pods().unwrap();
    pods.values().flatten().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn damage_is_undone(kubernetes: Kubernetes) {
    let plane = cluster(kubernetes, &small(Release::V2_2_1));
    let before = plane.cluster_state().unwrap();
    let snapshot = plane.snapshot().unwrap();

    for _ in 0..3 {
        damage(&plane);
        assert_ne!(differences(&before, &plane.cluster_state().unwrap()), Vec::<String>::new());

        plane.restore(&snapshot).unwrap();

        assert_eq!(differences(&before, &plane.cluster_state().unwrap()), Vec::<String>::new());
        assert_eq!(plane.calico_pods().unwrap().len(), 3);
    }
}

#[test]
fn damage_is_undone_on_1_34() {
    damage_is_undone(Kubernetes::V1_34);
}

#[test]
fn damage_is_undone_on_1_8() {
    damage_is_undone(Kubernetes::V1_8);
}

/// Replaces the pod of a node, which OnDelete leaves to whoever deletes it, and returns the name of the new one.
fn replace_pod(plane: &ControlPlane, node: &str) -> String {
    let old = plane.calico_pods().unwrap()[node][0]["metadata"]["name"].as_str().unwrap().to_owned();
    plane.api().delete(&format!("/api/v1/namespaces/kube-system/pods/{old}")).unwrap();
    wait_until("another pod", || {
        let pods = plane.calico_pods()?;
        let name = pods.get(node).and_then(|pods| pods[0]["metadata"]["name"].as_str()).filter(|name| *name != old);
        Ok(name.map_or_else(|| Seen::NotYet("none".to_owned()), |name| Seen::Yes(name.to_owned())))
    })
    .unwrap()
}

fn wait_for_reason(plane: &ControlPlane, node: &str, reason: &str) {
    wait_until(reason, || {
        let pods = plane.calico_pods()?;
        let status = pods.get(node).map(|pods| pods[0]["status"].clone()).unwrap_or_default();
        Ok(if status.to_string().contains(reason) { Seen::Yes(()) } else { Seen::NotYet(status.to_string()) })
    })
    .unwrap();
}

fn a_broken_node_only_hurts_new_pods_and_can_be_repaired(kubernetes: Kubernetes) {
    let plane = cluster(kubernetes, &small(Release::V2_2_1));
    let before = names_of_pods(&plane);
    let faults = [
        (Fault::NeverReady, "ContainersNotReady"),
        (Fault::ImagePull, "ImagePullBackOff"),
        (Fault::CrashLoop, "CrashLoopBackOff"),
    ];

    for (fault, reason) in faults {
        plane.nodes().fail("node-3", fault).unwrap();
        plane.wait_for_calico().unwrap();
        replace_pod(&plane, "node-3");
        wait_for_reason(&plane, "node-3", reason);
        replace_pod(&plane, "node-2");

        plane.nodes().repair("node-3").unwrap();
        plane.wait_for_calico().unwrap();
    }
    assert_eq!(names_of_pods(&plane)[0], before[0], "nobody touched node-1");
}

#[test]
fn a_broken_node_only_hurts_new_pods_and_can_be_repaired_on_1_34() {
    a_broken_node_only_hurts_new_pods_and_can_be_repaired(Kubernetes::V1_34);
}

#[test]
fn a_broken_node_only_hurts_new_pods_and_can_be_repaired_on_1_8() {
    a_broken_node_only_hurts_new_pods_and_can_be_repaired(Kubernetes::V1_8);
}

/// One control plane for the tests below, each of which leaves it as it found it.
static SHARED: LazyLock<std::sync::Mutex<(ControlPlane, Snapshot)>> = LazyLock::new(|| {
    let plane = ControlPlane::start(Kubernetes::V1_34).unwrap();
    plane.add_node_count(3).unwrap();
    let snapshot = plane.snapshot().unwrap();
    std::sync::Mutex::new((plane, snapshot))
});

fn on_shared_plane(test: impl FnOnce(&ControlPlane)) {
    let shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    shared.0.restore(&shared.1).unwrap();
    test(&shared.0);
}

#[test]
fn every_fixture_can_be_laid_out() {
    on_shared_plane(|plane| {
        let empty = plane.snapshot().unwrap();
        for release in Release::ALL {
            for flavour in Flavour::ALL {
                for size in Size::ALL {
                    let cluster = WornIn { release, flavour, size };
                    if cluster.is_there() {
                        plane.restore(&empty).unwrap();
                        worn_in(plane, &cluster).unwrap();
                    }
                }
            }
        }
    });
}

#[test]
fn every_variation_can_be_laid_out() {
    on_shared_plane(|plane| {
        worn_in(plane, &small(Release::V2_2_1)).unwrap();
        for block in Block::ALL {
            variation::blocking_object(plane, block).unwrap();
        }
        variation::ignored_object(plane).unwrap();
        variation::broken_annotation(plane).unwrap();
        variation::terminating_namespace(plane).unwrap();
        variation::second_install(plane).unwrap();
        variation::operator_install(plane).unwrap();
        variation::unknown_image_tag(plane).unwrap();
        variation::no_calico(plane).unwrap();
    });
}

#[test]
fn a_cluster_at_rest_writes_nothing() {
    on_shared_plane(|plane| {
        worn_in(plane, &small(Release::V2_5_1)).unwrap();
        plane.snapshot().unwrap();
        let before = plane.resource_versions().unwrap();
        for _ in 0..5 {
            assert_eq!(plane.resource_versions().unwrap(), before);
        }
    });
}

#[test]
fn a_lost_kubelet_reports_itself_and_ends_no_pod() {
    on_shared_plane(|plane| {
        worn_in(plane, &small(Release::V2_2_1)).unwrap();
        plane.nodes().fail("node-2", Fault::KubeletLost).unwrap();
        let pod = plane.calico_pods().unwrap()["node-2"][0]["metadata"]["name"].as_str().unwrap().to_owned();

        let deleted = plane.api().delete(&format!("/api/v1/namespaces/kube-system/pods/{pod}")).unwrap();

        assert!(deleted["metadata"]["deletionTimestamp"].is_string());
        assert!(names_of_pods(plane).contains(&pod));
        plane.nodes().repair("node-2").unwrap();
        plane.wait_for_calico().unwrap();
    });
}

#[test]
fn a_full_node_gets_no_new_pod_until_it_has_room() {
    on_shared_plane(|plane| {
        worn_in(plane, &small(Release::V2_2_1)).unwrap();
        plane.nodes().fail("node-2", Fault::Unschedulable).unwrap();
        let old = plane.calico_pods().unwrap()["node-2"][0]["metadata"]["name"].as_str().unwrap().to_owned();
        plane.api().delete(&format!("/api/v1/namespaces/kube-system/pods/{old}")).unwrap();
        wait_until("a pod without a node", || {
            let pods = plane.calico_pods()?;
            let waiting = pods.get("").map(|pods| pods[0]["status"].to_string()).unwrap_or_default();
            Ok(if waiting.contains("Unschedulable") { Seen::Yes(()) } else { Seen::NotYet(waiting) })
        })
        .unwrap();

        plane.nodes().repair("node-2").unwrap();
        plane.wait_for_calico().unwrap();
    });
}

#[test]
fn users_may_do_what_their_names_say() {
    on_shared_plane(|plane| {
        let path = "/api/v1/namespaces/kube-system/configmaps";
        let object = json!({"metadata": {"name": "mine"}});
        let viewer = plane.api_as(User::Viewer);
        let nobody = plane.api_as(User::Nobody);

        assert!(viewer.list("/api/v1/secrets").is_ok());
        assert_eq!(viewer.create(path, &object).unwrap_err().status, 403);
        assert_eq!(nobody.list(path).unwrap_err().status, 403);
        for user in [User::Admin, User::Viewer, User::Nobody] {
            let kubeconfig = std::fs::read_to_string(plane.kubeconfig_for(user)).unwrap();
            assert!(kubeconfig.contains(user.token()));
        }
    });
}

fn wait_for_process_state(pid: u32, state: &str) {
    wait_until("another state of the process", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let seen = stat.split(' ').nth(2).unwrap();
        Ok(if seen == state { Seen::Yes(()) } else { Seen::NotYet(seen.to_owned()) })
    })
    .unwrap();
}

#[test]
fn an_api_server_can_be_frozen_and_restarted() {
    on_shared_plane(|plane| {
        worn_in(plane, &small(Release::V2_2_1)).unwrap();
        let before = plane.cluster_state().unwrap();

        plane.stop_server(Server::ApiServer).unwrap();
        assert_eq!(plane.api().get("/version").unwrap_err().status, 0);
        let pid = plane.start_server(Server::ApiServer).unwrap();
        plane.wait_until_healthy().unwrap();
        plane.freeze(Server::ApiServer).unwrap();
        wait_for_process_state(pid, "T");
        plane.thaw(Server::ApiServer).unwrap();

        assert_eq!(differences(&before, &plane.cluster_state().unwrap()), Vec::<String>::new());
    });
}

#[test]
fn a_server_that_ended_by_itself_is_told_from_one_that_was_stopped() {
    on_shared_plane(|plane| {
        plane.stop_server(Server::Scheduler).unwrap();
        plane.check_servers().unwrap();
        let pid = plane.start_server(Server::Scheduler).unwrap();
        plane.check_servers().unwrap();
        assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
        let error = wait_until("the scheduler to be missed", || {
            Ok(plane.check_servers().err().map_or(Seen::NotYet("all are there".to_owned()), Seen::Yes))
        });
        assert!(error.unwrap().to_string().starts_with("`scheduler` ended by itself"));
        plane.start_server(Server::Scheduler).unwrap();
    });
}

#[test]
fn a_node_can_come_and_go() {
    on_shared_plane(|plane| {
        worn_in(plane, &small(Release::V2_2_1)).unwrap();
        plane.add_nodes(&["late-comer"]).unwrap();
        plane.wait_for_calico().unwrap();
        assert!(plane.calico_pods().unwrap().contains_key("late-comer"));

        plane.remove_node("late-comer").unwrap();
        plane.wait_for_calico().unwrap();
        assert!(plane.api().get("/api/v1/nodes/late-comer").is_err());
    });
}
