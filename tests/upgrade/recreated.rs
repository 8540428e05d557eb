//! Fields that no API server changes: a selector and a role that people made, taken from the release on their word. The objects
//! are made anew, the pods of calico-node outlive that, and no node ever has two.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
};

use harness::{Flavour, Kubernetes, Release, Seen, Snapshot, State, WornIn, differences, ready_condition, wait_until};
use serde_json::{Value, json};

use crate::{
    kills::{Course, kill_at},
    lab::{Lab, NODES, Ran, lab, small, upgrade},
    moment::Moment,
    rollbacks::BACK,
    tier::versions,
};

const BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/calico-node";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const SELECTOR: &str = "DaemonSet/calico-node:spec.selector";
const ROLE: &str = "ClusterRoleBinding/calico-node:roleRef";

/// A boundary after the objects were made anew and before the first node is replaced.
const MADE_ANEW: &str = "apply-manifests/done:logged";

/// A cluster whose people gave the pods another label, which the release's selector wants otherwise, and the account another role.
pub fn customized(kubernetes: Kubernetes) -> (Lab, Moment) {
    let lab = lab(kubernetes, small(Release::V2_5_1));
    anew(&lab, &daemon_set_path(&lab), |daemon_set| {
        daemon_set["spec"]["template"]["metadata"]["labels"] = json!({"k8s-app": "corp-node", "team": "net"});
        let expression = json!({"key": "k8s-app", "operator": "In", "values": ["corp-node"]});
        daemon_set["spec"]["selector"] = json!({"matchExpressions": [expression]});
    });
    let mut role = lab.api().get(&format!("{ROLES}/calico-node")).unwrap();
    role["metadata"] = json!({"name": "corp-network"});
    lab.api().create(ROLES, &role).unwrap();
    anew(&lab, BINDING, |binding| binding["roleRef"]["name"] = json!("corp-network"));
    wait_until("the pods of the other DaemonSet", || {
        let pods = pods(&lab);
        let is_ready = |pod: &Value| ready_condition(pod) == Some("True");
        let ready = pods.iter().filter(|pod| pod["metadata"]["labels"]["team"] == "net" && is_ready(pod)).count();
        let is_there = ready == NODES && pods.len() == NODES;
        Ok(if is_there { Seen::Yes(()) } else { Seen::NotYet(format!("{ready} of {}", pods.len())) })
    })
    .unwrap();
    let start = lab.moment();
    (lab, start)
}

fn daemon_set_path(lab: &Lab) -> String {
    let group = match lab.kubernetes() {
        Kubernetes::V1_34 => "apps/v1",
        Kubernetes::V1_8 => "extensions/v1beta1",
    };
    format!("/apis/{group}/namespaces/kube-system/daemonsets/calico-node")
}

/// Deletes an object with all that it owns, and creates it again in another form.
fn anew(lab: &Lab, path: &str, edit: impl Fn(&mut Value)) {
    let mut object = lab.api().get(path).unwrap();
    lab.api().delete(path).unwrap();
    wait_until("the object to be gone", || {
        let is_gone = lab.api().get(path).is_err_and(|error| error.is_not_found());
        Ok(if is_gone { Seen::Yes(()) } else { Seen::NotYet("it is there".to_owned()) })
    })
    .unwrap();
    object["metadata"]
        .as_object_mut()
        .unwrap()
        .retain(|key, _| ["name", "namespace", "labels"].contains(&key.as_str()));
    edit(&mut object);
    lab.api().create(path.rsplit_once('/').unwrap().0, &object).unwrap();
}

/// The pods of calico-node, whatever their labels are.
fn pods(lab: &Lab) -> Vec<Value> {
    let mut all = lab.api().list("/api/v1/namespaces/kube-system/pods").unwrap();
    all.retain(|pod| pod["metadata"]["generateName"] == "calico-node-");
    all
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The pod of each node, and what runs it.
fn pods_by_node(lab: &Lab) -> BTreeMap<String, (String, String)> {
    let pods = pods(lab);
    let by_node: BTreeMap<_, _> = pods
        .iter()
        .map(|pod| {
            let owner = text(&pod["metadata"]["ownerReferences"][0]["uid"]);
            (text(&pod["spec"]["nodeName"]), (text(&pod["metadata"]["uid"]), owner))
        })
        .collect();
    assert_eq!((pods.len(), by_node.len()), (NODES, NODES), "{pods:#?}");
    by_node
}

pub fn with_consent(verb: &'static str) -> Vec<&'static str> {
    let mut arguments = upgrade(verb);
    if verb == "run" {
        arguments.extend(["--take", SELECTOR, "--take", ROLE]);
    }
    arguments
}

/// Runs the program and looks on: no node may have two pods of calico-node that are not about to go.
fn watched(lab: &Lab, arguments: &[&str]) -> Ran {
    let (is_over, mut twice) = (AtomicBool::new(false), BTreeSet::new());
    let ran = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut twice = BTreeSet::new();
            while !is_over.load(Ordering::Relaxed) {
                let mut on_node = BTreeMap::<String, usize>::new();
                for pod in pods(lab).iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
                    *on_node.entry(text(&pod["spec"]["nodeName"])).or_default() += 1;
                }
                twice.extend(
                    on_node.into_iter().filter(|(node, count)| !node.is_empty() && *count > 1).map(|one| one.0),
                );
            }
            twice
        });
        let ran = lab.tool(arguments);
        is_over.store(true, Ordering::Relaxed);
        twice.extend(looking.join().unwrap());
        ran
    });
    assert_eq!(twice, BTreeSet::new(), "nodes with two pods of calico-node while {arguments:?}");
    ran
}

/// Where the cluster differs from the moment, but for our own records.
fn since(moment: &Snapshot, lab: &Lab) -> Vec<String> {
    let now = lab.snapshot().unwrap();
    let all = differences(moment.state(), now.state()).into_iter();
    all.filter(|line| !line.contains("calico-upgrader") && !line.contains("crd.projectcalico.org")).collect()
}

fn selector_and_role(lab: &Lab) -> [Value; 2] {
    let [mut daemon_set, mut binding] =
        [daemon_set_path(lab).as_str(), BINDING].map(|path| lab.api().get(path).unwrap());
    [daemon_set["spec"]["selector"].take(), binding["roleRef"]["name"].take()]
}

fn shipped() -> [Value; 2] {
    [json!({"matchLabels": {"k8s-app": "calico-node"}}), json!("calico-node")]
}

#[test]
fn a_selector_and_a_role_of_people_are_asked_for_and_only_on_their_word_made_anew() {
    for kubernetes in versions() {
        let (lab, _) = customized(kubernetes);
        let versions = lab.resource_versions().unwrap();
        let refused = lab.tool(&upgrade("run")).exits(3).says("CU-C015");
        refused.says(&format!("--take '{SELECTOR}'")).says(&format!("--take '{ROLE}'"));
        lab.tool(&[upgrade("run"), vec!["--take", SELECTOR]].concat()).exits(3).says("ClusterRole corp-network");
        lab.tool(&["diff"]).exits(0).says("asked: --keep or --take").says(SELECTOR).says(ROLE);
        let tried = lab.tool(&[with_consent("run"), vec!["--dry-run"]].concat()).exits(0);
        let tried =
            tried.says("recreate DaemonSet kube-system/calico-node").says("delete DaemonSet kube-system/calico-node");
        tried.says("label Pod on node-1").says("recreate ClusterRoleBinding calico-node");
        assert!(lab.resource_versions().unwrap() == versions, "something was changed before anybody said so");
        // To keep them is an answer as well: the pods are found by what the selector says.
        lab.tool(&[upgrade("run"), vec!["--keep", SELECTOR, "--keep", ROLE]].concat()).exits(0);
        lab.tool(&["verify"]).exits(0);
        assert_ne!(selector_and_role(&lab), shipped());
        assert!(pods(&lab).iter().all(|pod| pod["metadata"]["labels"]["k8s-app"] == "corp-node"));
    }
}

#[test]
fn pods_outlive_their_daemon_set_are_then_replaced_node_by_node_and_all_goes_back() {
    for kubernetes in versions() {
        let (lab, start) = customized(kubernetes);
        let before = pods_by_node(&lab);
        kill_at(&lab, &with_consent("run"), MADE_ANEW);
        wait_until("the new DaemonSet to take the pods", || {
            let owned = pods(&lab).iter().filter(|pod| !pod["metadata"]["ownerReferences"].is_null()).count();
            Ok(if owned == NODES { Seen::Yes(()) } else { Seen::NotYet(format!("{owned} owned")) })
        })
        .unwrap();
        let uid = text(&lab.api().get(&daemon_set_path(&lab)).unwrap()["metadata"]["uid"]);
        for (node, (pod, owner)) in pods_by_node(&lab) {
            assert_eq!((&pod, &owner), (&before[&node].0, &uid), "the pod of {node} is another one, or has no owner");
        }
        watched(&lab, &with_consent("resume")).exits(0);
        lab.tool(&["verify"]).exits(0).says("3 of 3 wanted pods");
        assert_eq!(selector_and_role(&lab), shipped());
        lab.tool(&["plan", "--allow-untested", "--detailed-exitcode"]).exits(0).says("Nothing to do");
        watched(&lab, &BACK).exits(0);
        assert_eq!(since(&start.cluster, &lab), Vec::<String>::new());
        watched(&lab, &with_consent("run")).exits(0).says("delete DaemonSet kube-system/calico-node");
        assert_eq!(selector_and_role(&lab), shipped());
    }
}

#[test]
fn killed_while_an_object_is_made_anew_the_run_goes_on() {
    for kubernetes in versions() {
        let (mut lab, start) = customized(kubernetes);
        let call = with_consent("run");
        let course = Course { call: &call, from: &start, within: "apply-manifests/", look: at_rest };
        course.killed_and(&mut lab, 4, |_, lab| drop(watched(lab, &with_consent("resume")).exits(0)));
    }
}

#[test]
fn killed_while_an_object_is_made_anew_the_run_goes_back() {
    for kubernetes in versions() {
        let (mut lab, start) = customized(kubernetes);
        let call = with_consent("run");
        let course = Course { call: &call, from: &start, within: "apply-manifests/", look: |_| State::new() };
        course.killed_and(&mut lab, 4, |number, lab| {
            watched(lab, &BACK).exits(0);
            assert_eq!(since(&start.cluster, lab), Vec::<String>::new(), "kill {number}");
            pods_by_node(lab);
        });
    }
}

#[test]
fn a_rollback_that_was_killed_while_an_object_is_made_anew_goes_on() {
    for kubernetes in versions() {
        let (mut lab, start) = customized(kubernetes);
        lab.tool(&with_consent("run")).exits(0);
        let end = lab.moment();
        let course = Course { call: &BACK, from: &end, within: "take-back-", look: at_rest };
        course.killed_and(&mut lab, 4, |number, lab| {
            watched(lab, &["resume", "--yes"]).exits(0);
            assert_eq!(since(&start.cluster, lab), Vec::<String>::new(), "kill {number}");
        });
    }
}

/// The cluster at rest, but for our own records; each node has one pod.
fn at_rest(lab: &Lab) -> State {
    pods_by_node(lab);
    let mut state = lab.snapshot().unwrap().state().clone();
    state.retain(|key, _| !key.contains("calico-upgrader"));
    state
}

#[test]
fn one_that_others_deleted_before_us_stops_the_run() {
    let (lab, _) = customized(Kubernetes::V1_34);
    kill_at(&lab, &with_consent("run"), "pull-images/done:acked");
    lab.api().delete(BINDING).unwrap();
    lab.tool(&with_consent("resume")).exits(13).says("ClusterRoleBinding calico-node").says("deleted");
}

#[test]
fn controllers_are_made_anew_when_the_pods_of_the_old_ones_are_gone() {
    const SELECTOR: &str = "Deployment/calico-kube-controllers:spec.selector";
    for (kubernetes, group) in [(Kubernetes::V1_8, "extensions/v1beta1"), (Kubernetes::V1_34, "apps/v1")] {
        let lab = lab(kubernetes, WornIn { flavour: Flavour::Etcd, ..small(Release::V2_5_1) });
        lab.tool(&upgrade("run")).exits(0);
        let path = format!("/apis/{group}/namespaces/kube-system/deployments/calico-kube-controllers");
        let labels = json!({"k8s-app": "corp-controllers"});
        anew(&lab, &path, |deployment| {
            deployment["spec"]["template"]["metadata"]["labels"] = labels.clone();
            let expression = json!({"key": "k8s-app", "operator": "Exists"});
            deployment["spec"]["selector"] = json!({"matchLabels": labels, "matchExpressions": [expression]});
        });
        lab.tool(&upgrade("run")).exits(3).says("CU-C015").says(SELECTOR);
        lab.tool(&[upgrade("run"), vec!["--take", SELECTOR]].concat()).exits(0);
        let selector = || lab.api().get(&path).unwrap()["spec"]["selector"].take();
        assert_eq!(selector(), json!({"matchLabels": {"k8s-app": "calico-kube-controllers"}}));
        assert_eq!(lab.pods("k8s-app in (corp-controllers,calico-kube-controllers)").unwrap().len(), 1);
        lab.tool(&["verify"]).exits(0).says("one controller runs");
        lab.tool(&BACK).exits(0);
        assert_eq!(selector()["matchLabels"], labels);
        assert_eq!(lab.pods("k8s-app in (corp-controllers,calico-kube-controllers)").unwrap().len(), 1);
    }
}
