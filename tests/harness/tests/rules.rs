//! Simulated nodes keep to Calico's own rules. Each case breaks one of them, and holds that nothing but that rule keeps the node.

use harness::{ControlPlane, Kubernetes, Rule, Seen, ready_condition, wait_until, worn_in_v3};
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WORKLOADS: &str = "/apis/apps/v1/namespaces/kube-system";

#[test]
fn a_node_is_kept_from_ready_by_what_its_release_needs_and_does_not_find() {
    let plane = with_calico();
    let start = plane.snapshot().unwrap();
    for (rule, break_it, says) in [
        (Rule::Definitions, (|plane| remove_tiers(plane)) as fn(&ControlPlane), "the server has no tiers"),
        (Rule::Rights, take_rights, "may not list felixconfigurations"),
        (Rule::DatastoreReady, lock_datastore, "the datastore is not ready"),
        (Rule::SettingsConvert, write_a_hexadecimal_mask, "error converting data: IptablesMarkMask"),
    ] {
        break_it(&plane);
        make_anew(&plane, "node-2");
        wait_for("node-2 to say what it lacks", &plane, |pods| {
            pods.iter().any(|pod| !is_ready(pod) && message(pod).contains(says))
        });
        plane.without(rule, || wait_for_ready(&plane));
        plane.restore(&start).unwrap();
    }
}

#[test]
fn an_old_node_is_not_ready_at_a_new_typha_and_ready_again_at_an_old_one() {
    let plane = with_calico();
    set_image(&plane, "deployments/calico-typha", "calico-typha", "docker.io/calico/typha:v3.32.1");
    wait_for("all nodes to be refused", &plane, |pods| {
        pods.len() == 3
            && pods.iter().all(|pod| !is_ready(pod) && message(pod).contains("Typha v3.32.1 takes no client"))
    });
    plane.without(Rule::TyphaAccepts, || wait_for_ready(&plane));
    set_image(&plane, "deployments/calico-typha", "calico-typha", "docker.io/calico/typha:v3.31.7");
    wait_for_ready(&plane);
}

#[test]
fn a_new_node_that_is_handed_to_an_older_typha_stays_ready_without_policies_until_it_starts_anew() {
    for drops in [true, false] {
        let plane = with_calico();
        set_image(&plane, "daemonsets/calico-node", "calico-node", "docker.io/calico/node:v3.32.1");
        set_image(&plane, "deployments/calico-typha", "calico-typha", "docker.io/calico/typha:v3.32.1");
        define(&plane, "stagednetworkpolicies", "StagedNetworkPolicy");
        grant(&plane, "stagednetworkpolicies");
        wait_for_typha(&plane, ":v3.32.1");
        wait_for("all nodes to be new, and ready", &plane, |pods| {
            pods.len() == 3 && pods.iter().all(|pod| is_ready(pod) && is_new(pod))
        });
        // Whoever starts now starts at the new Typha.
        for node in ["node-1", "node-2", "node-3"] {
            make_anew(&plane, node);
        }
        wait_for_ready(&plane);
        let hand_back = || {
            set_image(&plane, "deployments/calico-typha", "calico-typha", "docker.io/calico/typha:v3.31.7");
            wait_for_typha(&plane, ":v3.31.7");
            wait_for_ready(&plane);
        };
        if drops {
            hand_back();
            wait_until("all nodes to drop their policies", || {
                let nodes = plane.nodes_with_dropped_policies();
                Ok(if nodes.len() == 3 { Seen::Yes(()) } else { Seen::NotYet(format!("{nodes:?}")) })
            })
            .unwrap();
            make_anew(&plane, "node-2");
            wait_until("node-2 to have its policies, since it started anew", || {
                let nodes = plane.nodes_with_dropped_policies();
                Ok(if nodes.contains("node-2") { Seen::NotYet(format!("{nodes:?}")) } else { Seen::Yes(()) })
            })
            .unwrap();
            assert!(plane.nodes_that_ever_dropped_policies().contains("node-2"));
        } else {
            plane.without(Rule::OlderTyphaDropsPolicies, hand_back);
            assert!(plane.nodes_that_ever_dropped_policies().is_empty());
        }
    }
}

fn with_calico() -> ControlPlane {
    let plane = ControlPlane::start(Kubernetes::V1_34).unwrap();
    plane.add_node_count(3).unwrap();
    worn_in_v3(&plane).unwrap();
    plane
}

fn remove_tiers(plane: &ControlPlane) {
    plane.api().delete(&format!("{DEFINITIONS}/tiers.crd.projectcalico.org")).unwrap();
    wait_until("the kind to be gone", || {
        let kinds = plane.api().get("/apis/crd.projectcalico.org/v1").unwrap();
        let is_there = kinds["resources"].as_array().unwrap().iter().any(|kind| kind["name"] == "tiers");
        Ok(if is_there { Seen::NotYet("it is served".to_owned()) } else { Seen::Yes(()) })
    })
    .unwrap();
}

fn take_rights(plane: &ControlPlane) {
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/calico-node";
    plane.api().merge_patch(role, &json!({"rules": []})).unwrap();
}

fn grant(plane: &ControlPlane, plural: &str) {
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/calico-node";
    let mut live = plane.api().get(role).unwrap();
    let rule =
        json!({"apiGroups": ["crd.projectcalico.org"], "resources": [plural], "verbs": ["get", "list", "watch"]});
    live["rules"].as_array_mut().unwrap().push(rule);
    plane.api().merge_patch(role, &json!({"rules": live["rules"]})).unwrap();
}

fn lock_datastore(plane: &ControlPlane) {
    define(plane, "clusterinformations", "ClusterInformation");
    create(plane, "clusterinformations", "ClusterInformation", "default", json!({"datastoreReady": false}));
}

fn write_a_hexadecimal_mask(plane: &ControlPlane) {
    define(plane, "globalfelixconfigs", "GlobalFelixConfig");
    let setting = json!({"name": "IptablesMarkMask", "value": "0xff000000"});
    create(plane, "globalfelixconfigs", "GlobalFelixConfig", "iptablesmarkmask", setting);
}

fn define(plane: &ControlPlane, plural: &str, kind: &str) {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.crd.projectcalico.org")},
        "spec": {
            "group": "crd.projectcalico.org", "scope": "Cluster",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    });
    plane.create_all(&[definition]).unwrap();
}

fn create(plane: &ControlPlane, plural: &str, kind: &str, name: &str, spec: Value) {
    let object =
        json!({"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    plane.api().create(&format!("/apis/crd.projectcalico.org/v1/{plural}"), &object).unwrap();
}

fn set_image(plane: &ControlPlane, workload: &str, container: &str, image: &str) {
    let path = format!("{WORKLOADS}/{workload}");
    let mut template = plane.api().get(&path).unwrap()["spec"]["template"].take();
    let containers = template["spec"]["containers"].as_array_mut().unwrap();
    containers.iter_mut().find(|one| one["name"] == container).unwrap()["image"] = json!(image);
    plane.api().merge_patch(&path, &json!({"spec": {"template": template}})).unwrap();
}

/// Waits until one Typha is there, ready and of this release.
fn wait_for_typha(plane: &ControlPlane, tag: &str) {
    wait_until("one Typha of the release", || {
        let typhas = plane.pods("k8s-app=calico-typha")?;
        let images: Vec<&str> = typhas.iter().filter(|pod| is_ready(pod)).map(image).collect();
        let is_alone = typhas.len() == 1 && images.iter().any(|image| image.ends_with(tag));
        Ok(if is_alone { Seen::Yes(()) } else { Seen::NotYet(format!("{images:?}")) })
    })
    .unwrap();
}

/// Deletes the pod of a node, and waits until it is gone.
fn make_anew(plane: &ControlPlane, node: &str) {
    let metadata = plane.calico_pods().unwrap()[node][0]["metadata"].clone();
    let path = format!("/api/v1/namespaces/kube-system/pods/{}", metadata["name"].as_str().unwrap());
    plane.api().delete(&path).unwrap();
    wait_until("the pod to be gone", || {
        let is_there = plane.api().get(&path).is_ok();
        Ok(if is_there { Seen::NotYet("it is there".to_owned()) } else { Seen::Yes(()) })
    })
    .unwrap();
}

fn wait_for_ready(plane: &ControlPlane) {
    wait_for("all nodes to be ready", plane, |pods| pods.len() == 3 && pods.iter().all(is_ready));
}

fn wait_for(what: &str, plane: &ControlPlane, is_so: impl Fn(&[Value]) -> bool) {
    wait_until(what, || {
        let pods: Vec<Value> = plane.calico_pods()?.into_values().flatten().collect();
        let told: Vec<String> = pods.iter().map(|pod| format!("{} {}", is_ready(pod), message(pod))).collect();
        Ok(if is_so(&pods) { Seen::Yes(()) } else { Seen::NotYet(told.join("; ")) })
    })
    .unwrap();
}

fn is_ready(pod: &Value) -> bool {
    ready_condition(pod) == Some("True")
}

fn is_new(pod: &Value) -> bool {
    image(pod).ends_with(":v3.32.1")
}

fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
}

fn message(pod: &Value) -> &str {
    pod["status"]["message"].as_str().unwrap_or_default()
}
