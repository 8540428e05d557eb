//! A ConfigMap that changes alone: what reads it starts anew, the controllers first, and nothing does where it stays the same.

use std::collections::BTreeSet;

use harness::{Flavour, Kubernetes, Release, State, WornIn, differences};
use serde_json::{Value, json};

use crate::{
    lab::{Lab, Ran, lab, small, upgrade},
    tier::versions,
};

const CONFIG_MAP: &str = "/api/v1/namespaces/kube-system/configmaps/calico-config";

/// Upgrades the cluster from another machine, so that the run of the case is the only one of this one.
fn upgraded(kubernetes: Kubernetes, release: Release, flavour: Flavour) -> Lab {
    let lab = lab(kubernetes, WornIn { flavour, ..small(release) });
    let elsewhere = tempfile::tempdir().unwrap();
    Ran::of(lab.command_in(elsewhere.path(), &upgrade("run"))).exits(0);
    lab
}

fn pods(lab: &Lab) -> BTreeSet<String> {
    let pods = lab.calico_pods().unwrap().into_values().flatten();
    pods.map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect()
}

/// Everything but our own records, once the cluster is at rest.
fn state(lab: &Lab) -> State {
    let mut state = lab.snapshot().unwrap().state().clone();
    state.retain(|key, _| !key.contains("calico-upgrader"));
    state
}

#[test]
fn nodes_read_a_config_map_anew_once_and_a_rollback_leaves_no_trace() {
    for kubernetes in versions() {
        let lab = upgraded(kubernetes, Release::V2_5_1, Flavour::Networking);
        let before = pods(&lab);
        lab.tool(&upgrade("run")).exits(0).says("Nothing to do");
        assert_eq!(pods(&lab), before, "nothing changed, and pods are new");

        lab.api().delete(CONFIG_MAP).unwrap();
        let start = state(&lab);
        lab.tool(&upgrade("run")).exits(3).says("CU-C018");
        lab.tool(&[upgrade("run"), vec!["--ignore", "CU-C018=the defaults are ours"]].concat()).exits(0);
        assert!(pods(&lab).is_disjoint(&before), "a pod still has the old values");
        let told = lab.journalled_changes();
        let place =
            |what: &str| told.iter().position(|one| one.starts_with(what)).unwrap_or_else(|| panic!("{told:?}"));
        assert!(place("create ConfigMap") < place("replace DaemonSet"), "{told:?}");
        lab.tool(&["plan", "--to", "v2.6", "--allow-untested", "--detailed-exitcode"]).exits(0).says("Nothing to do");
        lab.tool(&["verify"]).exits(0);
        let after = pods(&lab);
        lab.tool(&["rollback", "--yes"]).exits(0);
        assert!(pods(&lab).is_disjoint(&after), "a pod still has the new values");
        assert_eq!(differences(&start, &state(&lab)), Vec::<String>::new());
    }
}

#[test]
fn a_config_map_that_is_gone_on_etcd_is_never_replaced_by_upstreams() {
    let lab = upgraded(Kubernetes::V1_34, Release::V2_5_1, Flavour::Etcd);
    lab.api().delete(CONFIG_MAP).unwrap();
    let ignored = [upgrade("run"), vec!["--ignore", "CU-C018=it shall come back"]].concat();
    lab.tool(&ignored).exits(3).says("CU-C018").says("an etcd that is not the cluster's");
    assert_eq!(lab.api().get(CONFIG_MAP).unwrap_err().status, 404);
}

/// Where the API of that version keeps workloads.
fn workload(kubernetes: Kubernetes, plural: &str, name: &str) -> String {
    let group = if kubernetes == Kubernetes::V1_8 { "apps/v1beta2" } else { "apps/v1" };
    format!("/apis/{group}/namespaces/kube-system/{plural}/{name}")
}

fn edit(lab: &Lab, path: &str, edit: impl FnOnce(&mut Value)) {
    let mut body = lab.api().get(path).unwrap();
    edit(&mut body);
    lab.api().replace(path, &body).unwrap();
}

/// Somebody put the old ConfigMap and the old calico-node back, and lets the new controllers read all of the ConfigMap.
fn only_controllers_are_new(lab: &Lab, kubernetes: Kubernetes) {
    edit(lab, &workload(kubernetes, "deployments", "calico-kube-controllers"), |deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
            json!([{"prefix": "CONFIG_", "configMapRef": {"name": "calico-config"}}]);
    });
    let old = |end: &str| lab.start().state().iter().find(|(key, _)| key.ends_with(end)).unwrap().1.clone();
    edit(lab, CONFIG_MAP, |config| config["data"] = old("/configmaps/kube-system/calico-config")["data"].clone());
    edit(lab, &workload(kubernetes, "daemonsets", "calico-node"), |nodes| {
        nodes["spec"]["template"] = old("/daemonsets/kube-system/calico-node")["spec"]["template"].clone();
    });
    for pod in lab.calico_pods().unwrap().into_values().flatten() {
        let name = pod["metadata"]["name"].as_str().unwrap();
        lab.api().delete(&format!("/api/v1/namespaces/kube-system/pods/{name}")).unwrap();
    }
}

/// The one pod of the controllers: its uid and the mark of its template.
fn controller(lab: &Lab) -> (String, Option<String>) {
    let pods = lab.pods("k8s-app=calico-kube-controllers").unwrap();
    assert_eq!(pods.len(), 1, "{pods:#?}");
    let metadata = &pods[0]["metadata"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    (text(&metadata["uid"]).unwrap(), text(&metadata["annotations"]["calico-upgrader/reads"]))
}

#[test]
fn controllers_start_anew_for_a_config_map_that_changes_under_them_before_the_nodes_and_never_two_at_once() {
    for kubernetes in versions() {
        let lab = upgraded(kubernetes, Release::V2_1_5, Flavour::Etcd);
        only_controllers_are_new(&lab, kubernetes);
        let (start, before) = (state(&lab), controller(&lab));
        assert_eq!(before.1, None);
        lab.tool(&upgrade("run")).exits(0);
        let after = controller(&lab);
        assert!(after.0 != before.0 && after.1.is_some(), "the controllers still have the old values: {after:?}");
        let told = lab.journalled_changes();
        let order = [
            "replace ConfigMap kube-system/calico-config",
            "replace Deployment kube-system/calico-kube-controllers",
            "replace DaemonSet kube-system/calico-node",
            "delete Pod on node-2",
        ];
        let place = |what: &&str| told.iter().position(|one| one == what).unwrap_or_else(|| panic!("{what}: {told:?}"));
        assert!(order.iter().map(place).is_sorted(), "{told:#?}");
        // It stops, is gone, and only then starts with the mark.
        assert_eq!(told.iter().filter(|one| *one == order[1]).count(), 2, "{told:#?}");
        lab.tool(&["plan", "--to", "v2.6", "--allow-untested", "--detailed-exitcode"]).exits(0).says("Nothing to do");
        lab.tool(&["verify"]).exits(0).says("one controller runs");
        lab.tool(&["rollback", "--yes"]).exits(0);
        let back = controller(&lab);
        assert!(back.0 != after.0 && back.1.is_none(), "the controllers still have the new values: {back:?}");
        assert_eq!(differences(&at_rest(&start), &at_rest(&state(&lab))), Vec::<String>::new());
    }
}

/// Without the names of pods of the controllers, and the number of their template, which are new each time.
fn at_rest(state: &State) -> State {
    let mut state = state.clone();
    state.retain(|key, _| {
        !key.starts_with("/pods/kube-system/calico-kube-controllers-") && !key.contains("/replicasets/")
    });
    for deployment in state.iter_mut().filter(|(key, _)| key.contains("/deployments/")).map(|(_, body)| body) {
        if let Some(annotations) = deployment["metadata"]["annotations"].as_object_mut() {
            annotations.remove("deployment.kubernetes.io/revision");
        }
    }
    state
}
