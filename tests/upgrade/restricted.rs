//! An account with exactly the rights that the program asks for: with them a way back is taken or given up, and without any one
//! of them it is refused before anything is changed.
//!
//! The account is given what is named as missing until nothing is. On top it may write and bind roles whose rights it does not hold.

use std::collections::BTreeSet;

use harness::{Flavour, Kubernetes, Release, Seen, Size, Snapshot, User, WornIn, wait_until};
use serde_json::{Value, json};

use crate::{
    lab::{Lab, Ran, lab, small, upgrade},
    printed::{InCluster, printed},
    rollbacks::newest_run,
};

const NAME: &str = "harness-restricted";
/// The role that is printed for what a run writes into Calico's roles.
const GIVEN: &str = "calico-upgrader-run-gives";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
/// The namespaces in which rights are asked for.
const NAMESPACES: [&str; 2] = ["kube-system", "calico-upgrader"];
const VERBS: [&str; 7] = ["get", "list", "watch", "create", "update", "patch", "delete"];

#[test]
fn a_rollback_needs_what_it_names_and_without_any_of_it_changes_nothing() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&upgrade("run")).exits(0);
    needs_what_it_names(&lab, &["rollback", "--yes"]);
}

#[test]
fn a_run_on_etcd_and_its_way_back_need_what_they_name_and_without_any_of_it_change_nothing() {
    let lab = on_etcd();
    needs_what_it_names(&lab, &upgrade("run"));
    needs_what_it_names(&lab, &["rollback", "--yes"]);
}

#[test]
fn on_the_kubernetes_of_its_time_a_run_needs_what_it_names_and_without_any_of_it_changes_nothing() {
    let lab = lab(Kubernetes::V1_8, small(Release::V2_5_1));
    needs_what_it_names(&lab, &upgrade("run"));
}

#[test]
fn a_completion_needs_what_it_names_and_without_any_of_it_changes_nothing() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&upgrade("run")).exits(0);
    needs_what_it_names(&lab, &["complete", "--confirm", &newest_run(&lab)]);
}

#[test]
fn a_restore_needs_what_it_names_and_without_any_of_it_changes_nothing() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("safe").to_str().unwrap().to_owned();
    lab.tool(&["backup", "create", "--out", &backup]).exits(0);
    lab.api().delete("/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/allow-web").unwrap();
    let config = "/api/v1/namespaces/kube-system/configmaps/calico-config";
    lab.api().merge_patch(config, &json!({"data": {"surprise": "yes"}})).unwrap();
    needs_what_it_names(&lab, &["restore", &backup, "--yes"]);
}

#[test]
fn who_may_write_any_role_but_bind_none_is_told_so_before_a_run_begins() {
    let lab = on_etcd();
    let gives = format!("{RBAC}/clusterroles/{GIVEN}");
    let may = |verbs: &[&str]| json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": verbs}]);
    // In place of the printed role, which holds what is bound.
    let role = json!({"metadata": {"name": GIVEN}, "rules": may(&["escalate"])});
    lab.api().create(&format!("{RBAC}/clusterroles"), &role).unwrap();
    let account = InCluster::with(&lab, "run", &["--datastore", "etcdv2"]);
    let versions = lab.resource_versions().unwrap();
    account.tool(&upgrade("run")).exits(15).says("CU-C006").says("watch pods");
    assert!(lab.resource_versions().unwrap() == versions, "something was changed");
    lab.api().merge_patch(&gives, &json!({"rules": may(&["escalate", "bind"])})).unwrap();
    wait_until("a run by who may bind as well", || {
        let ran = account.tool(&upgrade("run"));
        Ok(if ran.exit == Some(15) { Seen::NotYet(ran.words) } else { Seen::Yes(ran) })
    })
    .unwrap()
    .exits(0);
}

fn on_etcd() -> Lab {
    lab(Kubernetes::V1_34, WornIn { release: Release::V2_5_1, flavour: Flavour::Etcd, size: Size::Small })
}

#[track_caller]
fn needs_what_it_names(lab: &Lab, arguments: &[&str]) {
    let (before, started) = (lab.snapshot().unwrap(), Account::begin(lab));
    let rights = narrowest(started.learn(arguments));
    assert!(rights.len() > 20, "only {rights:?} were asked for");
    // The records and the objects as before the command, and the account without any right.
    let account = started.back_to(&before);
    for right in &rights {
        account.hold(&rights.iter().filter(|one| *one != right).cloned().collect(), &rights);
        let versions = account.versions();
        let refused = account.tool(arguments).exits(15);
        assert!(named(&refused).contains(right), "without `{right}` it says\n{}", refused.words);
        assert!(account.versions() == versions, "without `{right}` something was changed");
    }
    account.hold(&rights, &rights);
    account.tool(arguments).exits(0);
}

/// Without those that a wider one gives as well.
fn narrowest(rights: BTreeSet<Right>) -> BTreeSet<Right> {
    let is_wide = |right: &Right| right.namespace.is_some() && rights.contains(&right.everywhere());
    rights.iter().filter(|right| !is_wide(right)).cloned().collect()
}

/// The rights that a refusal names: `update DaemonSet in kube-system`.
fn named(ran: &Ran) -> BTreeSet<Right> {
    let mut found = BTreeSet::new();
    let words: Vec<&str> = ran.words.split_whitespace().map(|word| word.trim_end_matches([',', '.'])).collect();
    for (at, verb) in words.iter().enumerate().filter(|(_, word)| VERBS.contains(word)) {
        let Some(kind) = words.get(at + 1).filter(|kind| resource(kind).is_some()) else { continue };
        // A right may name its object: `get Namespace kube-system`, `update Lease calico-upgrader in calico-upgrader`.
        let place = [at + 2, at + 3].into_iter().find(|place| words.get(*place) == Some(&"in"));
        let namespace = place.and_then(|place| Some((*words.get(place + 1)?).to_owned()));
        found.insert(Right { verb: (*verb).to_owned(), kind: (*kind).to_owned(), namespace });
    }
    found
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    verb: String,
    kind: String,
    namespace: Option<String>,
}

impl Right {
    fn rule(&self) -> Value {
        let (group, plural) = resource(&self.kind).unwrap();
        json!({"apiGroups": [group], "resources": [plural], "verbs": [self.verb]})
    }

    fn everywhere(&self) -> Self {
        Self { namespace: None, ..self.clone() }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} {:?}", self.verb, self.kind, self.namespace)
    }
}

/// The API group and the resource of a kind.
fn resource(kind: &str) -> Option<(&'static str, &'static str)> {
    const OLD: &str = "projectcalico.org";
    const NEW: &str = "crd.projectcalico.org";
    Some(match kind {
        "Namespace" => ("", "namespaces"),
        "Node" => ("", "nodes"),
        "Pod" => ("", "pods"),
        "ConfigMap" => ("", "configmaps"),
        "Secret" => ("", "secrets"),
        "ServiceAccount" => ("", "serviceaccounts"),
        "DaemonSet" => ("apps", "daemonsets"),
        "Deployment" => ("apps", "deployments"),
        "ReplicaSet" => ("apps", "replicasets"),
        "ControllerRevision" => ("apps", "controllerrevisions"),
        "NetworkPolicy" => ("networking.k8s.io", "networkpolicies"),
        "ClusterRole" => ("rbac.authorization.k8s.io", "clusterroles"),
        "ClusterRoleBinding" => ("rbac.authorization.k8s.io", "clusterrolebindings"),
        "CustomResourceDefinition" => ("apiextensions.k8s.io", "customresourcedefinitions"),
        "Lease" => ("coordination.k8s.io", "leases"),
        "IpPool" => (OLD, "ippools"),
        "GlobalConfig" => (OLD, "globalconfigs"),
        "GlobalBgpConfig" => (OLD, "globalbgpconfigs"),
        "GlobalBgpPeer" => (OLD, "globalbgppeers"),
        "SystemNetworkPolicy" => (OLD, "systemnetworkpolicies"),
        "IPPool" => (NEW, "ippools"),
        "BGPPeer" => (NEW, "bgppeers"),
        "GlobalFelixConfig" => (NEW, "globalfelixconfigs"),
        "GlobalBGPConfig" => (NEW, "globalbgpconfigs"),
        "GlobalNetworkPolicy" => (NEW, "globalnetworkpolicies"),
        _ => return None,
    })
}

/// Makes an object that may be there already.
fn make(lab: &Lab, place: &str, object: &Value) {
    match lab.api().create(place, object) {
        Ok(_) => {}
        Err(error) if error.status == 409 => {}
        Err(error) => panic!("{error}"),
    }
}

/// The user `nobody`, and the roles that it is bound to.
struct Account<'a> {
    lab: &'a Lab,
}

impl<'a> Account<'a> {
    /// Binds the user to roles that give nothing yet, of the cluster and of the namespaces where rights are asked for.
    fn begin(lab: &'a Lab) -> Self {
        make(lab, "/api/v1/namespaces", &json!({"metadata": {"name": "calico-upgrader"}}));
        for namespace in [None].into_iter().chain(NAMESPACES.map(Some)) {
            let ([roles, bindings], kind) =
                (Self::places(namespace), if namespace.is_none() { "ClusterRole" } else { "Role" });
            make(lab, &roles, &json!({"metadata": {"name": NAME}, "rules": []}));
            let binding = json!({"metadata": {"name": NAME},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": User::Nobody.name()}]});
            make(lab, &bindings, &binding);
        }
        let account = Self { lab };
        if lab.kubernetes() == Kubernetes::V1_8 {
            account.hold_what_is_given();
        }
        account
    }

    /// Before Kubernetes 1.12 nobody writes rights into a role who does not hold them, `escalate` or not: these are printed as a role.
    fn hold_what_is_given(&self) {
        let objects = printed(self.lab, &["rbac", "--mode", "run"]);
        let is_given = |object: &&Value| object["kind"] == "ClusterRole" && object["metadata"]["name"] == GIVEN;
        let mut role = objects.iter().find(is_given).unwrap().clone();
        role["metadata"]["name"] = json!(format!("{NAME}-gives"));
        let mut binding = self.lab.api().get(&format!("{RBAC}/clusterrolebindings/{NAME}")).unwrap();
        binding["metadata"] = role["metadata"].clone();
        binding["roleRef"]["name"] = role["metadata"]["name"].clone();
        make(self.lab, &format!("{RBAC}/clusterroles"), &role);
        make(self.lab, &format!("{RBAC}/clusterrolebindings"), &binding);
    }

    fn back_to(self, before: &Snapshot) -> Self {
        self.lab.restore(before).unwrap();
        Self::begin(self.lab)
    }

    /// Where roles and their bindings lie.
    fn places(namespace: Option<&str>) -> [String; 2] {
        match namespace {
            None => ["clusterroles", "clusterrolebindings"].map(|plural| format!("{RBAC}/{plural}")),
            Some(namespace) => {
                ["roles", "rolebindings"].map(|plural| format!("{RBAC}/namespaces/{namespace}/{plural}"))
            }
        }
    }

    /// Gives what is named as missing until the command comes to its end.
    fn learn(&self, arguments: &[&str]) -> BTreeSet<Right> {
        let mut rights = BTreeSet::new();
        for _ in 0..12 {
            self.hold(&rights, &rights);
            let ran = self.tool(arguments);
            if ran.exit == Some(0) {
                return rights;
            }
            let ran = ran.exits(15);
            assert!(ran.words.contains("nothing was changed"), "it began, and stopped midway:\n{}", ran.words);
            let missing = named(&ran);
            assert!(!missing.is_subset(&rights), "nothing new is named:\n{}", ran.words);
            rights.extend(missing);
        }
        panic!("it is never enough: {rights:?}");
    }

    /// Gives the account these rights, and waits until the server goes by them.
    fn hold(&self, rights: &BTreeSet<Right>, known: &BTreeSet<Right>) {
        for namespace in [None].into_iter().chain(NAMESPACES.map(Some)) {
            let of_place = rights.iter().filter(|right| right.namespace.as_deref() == namespace);
            let mut rules: Vec<Value> = of_place.map(Right::rule).collect();
            if namespace.is_none() {
                rules.push(json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
                    "verbs": ["escalate", "bind"]}));
            }
            let place = format!("{}/{NAME}", Self::places(namespace)[0]);
            self.lab.api().merge_patch(&place, &json!({"rules": rules})).unwrap();
        }
        wait_until("the server to go by the roles", || {
            let stale = known
                .iter()
                .find(|right| self.may(right) != (rights.contains(right) || rights.contains(&right.everywhere())));
            Ok(stale.map_or(Seen::Yes(()), |right| Seen::NotYet(format!("{right}"))))
        })
        .unwrap();
    }

    fn may(&self, right: &Right) -> bool {
        let (group, plural) = resource(&right.kind).unwrap();
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": User::Nobody.name(), "resourceAttributes": {"verb": right.verb, "group": group,
                "resource": plural, "namespace": right.namespace.clone().unwrap_or_default()}}});
        let answer = self.lab.api().create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).unwrap();
        answer["status"]["allowed"] == true
    }

    fn tool(&self, arguments: &[&str]) -> Ran {
        self.lab.tool_as(User::Nobody, arguments)
    }

    fn versions(&self) -> std::collections::BTreeMap<String, String> {
        self.lab.resource_versions().unwrap()
    }
}
