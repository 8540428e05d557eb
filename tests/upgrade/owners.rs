//! Other tools that own Calico's objects: named before anything is changed, and stopped for when they put things back midway.

use harness::{Flavour, Kubernetes, Release, Seen, WornIn, variation::calico_node_path, wait_until};
use serde_json::{Value, json};

use crate::{
    interruptions::{at_a_node, hang_at_a_node},
    lab::{Lab, Ran, lab, small, upgrade},
    refusals::refuses,
    tier::versions,
};

const CONFIG_MAP: &str = "/api/v1/namespaces/kube-system/configmaps/calico-config";

const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/calico-node";

#[test]
fn objects_that_another_tool_owns_stop_the_run_until_somebody_says_why_it_may_go_on() {
    for (kubernetes, key, value, tool) in [
        (Kubernetes::V1_34, "kustomize.toolkit.fluxcd.io/name", "net", "Flux"),
        (Kubernetes::V1_8, "addonmanager.kubernetes.io/mode", "Reconcile", "the addon manager"),
    ] {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let path = calico_node_path(&lab);
        lab.api().merge_patch(path, &json!({"metadata": {"labels": {key: value}}})).unwrap();
        refuses(&lab, 3, &["CU-C014", tool, key, "--gitops ignore=REASON"]);
        lab.tool(&["discover"]).exits(0).says(tool).says(key);
        let with = |waiver: &str| lab.tool(&[upgrade("run"), vec!["--gitops", waiver]].concat());
        for waiver in ["ignore", "ignore=", "ignore= ", "yes=it is paused"] {
            with(waiver).exits(64).says("needs a reason");
        }
        let twin = [upgrade("run"), vec!["--ignore", "CU-C014=it is paused"]].concat();
        lab.tool(&twin).exits(64).says("--gitops 'ignore=it is paused'");
        with("ignore=paused by CHG-7").exits(0).says("ignored: paused by CHG-7");
        assert!(lab.run_files().iter().any(|(path, text)| path.ends_with("plan.json") && text.contains("CHG-7")));
        assert_eq!(lab.api().get(path).unwrap()["metadata"]["labels"][key], value);
    }
}

#[test]
fn a_field_manager_alone_gives_a_tool_away() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let patch = json!({"metadata": {"annotations": {"corp.example/from": "git"}}});
    lab.api().merge_patch(&format!("{CONFIG_MAP}?fieldManager=argocd-controller"), &patch).unwrap();
    refuses(&lab, 3, &["CU-C014", "Argo CD", "field manager argocd-controller"]);
}

#[test]
fn an_object_that_somebody_puts_back_midway_stops_the_run_and_is_taken_up_again_afterwards() {
    for (kubernetes, is_role) in [(Kubernetes::V1_34, true), (Kubernetes::V1_34, false), (Kubernetes::V1_8, true)] {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        let (path, name) = match is_role {
            true => (ROLE, "`ClusterRole calico-node`"),
            false => (calico_node_path(&lab), "`DaemonSet kube-system/calico-node`"),
        };
        let old = lab.api().get(path).unwrap();
        let run = hang_at_a_node(&lab);
        put_back(&lab, path, &old);
        Ran::end_of(run).exits(13).says(name).says("was changed by someone else");
        goes_on(&lab);
    }
}

/// Does what a tool does that has the old object in its files.
fn put_back(lab: &Lab, path: &str, old: &Value) {
    wait_until("the old object to be back", || {
        let mut live = lab.api().get(path).unwrap();
        for part in ["spec", "rules"] {
            if !old[part].is_null() {
                live[part] = old[part].clone();
            }
        }
        match lab.api().replace(path, &live) {
            Ok(_) => Ok(Seen::Yes(())),
            // A controller wrote the status in between.
            Err(error) if error.status == 409 => Ok(Seen::NotYet(error.message)),
            Err(error) => panic!("{error}"),
        }
    })
    .unwrap();
}

const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces";
const DEPLOYMENTS: &str = "/apis/apps/v1beta1/namespaces/kube-system/deployments";

#[test]
fn an_object_of_ours_that_somebody_deletes_midway_stops_the_run_and_comes_again_afterwards() {
    let on_etcd = WornIn { flavour: Flavour::Etcd, ..small(Release::V2_5_1) };
    let policy = format!("{POLICIES}/payments/networkpolicies/default-deny");
    let controllers = format!("{DEPLOYMENTS}/calico-kube-controllers");
    for (kubernetes, cluster, path) in
        [(Kubernetes::V1_34, small(Release::V2_2_1), policy), (Kubernetes::V1_8, on_etcd, controllers)]
    {
        let lab = lab(kubernetes, cluster);
        // As long as a run goes on without looking whether what it made is still there. A node that never gets ready would
        // keep the controllers from it as well.
        let run = at_a_node(&lab, "node-2", lab.command(&[upgrade("run"), vec!["--stable-for", "5s"]].concat()));
        lab.api().delete(&path).unwrap();
        let stopped = Ran::end_of(run).exits(13);
        stopped.says(path.rsplit('/').next().unwrap()).says("was deleted by someone else");
        goes_on(&lab);
        assert!(lab.api().get(&path).is_ok(), "{path} is still gone");
    }
}

#[test]
fn an_object_that_the_run_deleted_and_somebody_makes_again_stops_it() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_2_1));
        let dormant = format!("{POLICIES}/shop/networkpolicies");
        let old = lab.api().list(&dormant).unwrap().remove(0);
        let name = old["metadata"]["name"].as_str().unwrap().to_owned();
        let run = hang_at_a_node(&lab);
        assert_eq!(lab.api().list(&dormant).unwrap(), Vec::<Value>::new());
        let again = json!({"metadata": {"name": name, "labels": old["metadata"]["labels"]}, "spec": old["spec"]});
        lab.api().create(&dormant, &again).unwrap();
        let stopped = Ran::end_of(run).exits(13);
        stopped.says(&format!("shop/{name}")).says("was made by someone else");
        lab.api().delete(&format!("{dormant}/{name}")).unwrap();
        goes_on(&lab);
    }
}

/// Lets the node that the run hung at get well, and holds that the run comes to its end.
fn goes_on(lab: &Lab) {
    lab.nodes().repair("node-2").unwrap();
    lab.tool(&upgrade("resume")).exits(0);
    lab.tool(&["plan", "--allow-untested", "--detailed-exitcode"]).exits(0).says("Nothing to do");
}
