//! An account with exactly the rights that the program asks for: with them a way back is taken or given up, and without any one
//! of them it is refused before anything is changed.
//!
//! The account is given what is named as missing until nothing is. On top it may write roles whose rights it does not hold.

use std::{collections::BTreeSet, time::Duration};

use harness::{Kubernetes, Release, Seen, Snapshot, User, wait_until};
use serde_json::{Value, json};

use crate::{
    lab::{Lab, Ran, lab, small, upgrade},
    rollbacks::newest_run,
};

const NAME: &str = "harness-restricted";
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

/// The user `nobody`, and the roles that it is bound to.
struct Account<'a> {
    lab: &'a Lab,
}

impl<'a> Account<'a> {
    /// Binds the user to roles that give nothing yet, of the cluster and of the namespaces where rights are asked for.
    fn begin(lab: &'a Lab) -> Self {
        if lab.api().get("/api/v1/namespaces/calico-upgrader").is_err() {
            lab.api().create("/api/v1/namespaces", &json!({"metadata": {"name": "calico-upgrader"}})).unwrap();
        }
        for namespace in [None].into_iter().chain(NAMESPACES.map(Some)) {
            let ([roles, bindings], kind) =
                (Self::places(namespace), if namespace.is_none() { "ClusterRole" } else { "Role" });
            lab.api().create(&roles, &json!({"metadata": {"name": NAME}, "rules": []})).unwrap();
            let binding = json!({"metadata": {"name": NAME},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": User::Nobody.name()}]});
            lab.api().create(&bindings, &binding).unwrap();
        }
        Self { lab }
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
            let ran = ran.exits(15).says("CU-");
            let missing = named(&ran);
            assert!(!missing.is_subset(&rights), "nothing new is named:\n{}", ran.words);
            rights.extend(missing);
        }
        panic!("it is never enough: {rights:?}");
    }

    /// Gives the account these rights alone, and waits until the server goes by them.
    fn hold(&self, rights: &BTreeSet<Right>, known: &BTreeSet<Right>) {
        for namespace in [None].into_iter().chain(NAMESPACES.map(Some)) {
            let of_place = rights.iter().filter(|right| right.namespace.as_deref() == namespace);
            let mut rules: Vec<Value> = of_place.map(Right::rule).collect();
            if namespace.is_none() {
                rules.push(json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
                    "verbs": ["escalate"]}));
            }
            let place = format!("{}/{NAME}", Self::places(namespace)[0]);
            self.lab.api().merge_patch(&place, &json!({"rules": rules})).unwrap();
        }
        wait_until("the server to go by the roles", Duration::from_secs(20), || {
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
