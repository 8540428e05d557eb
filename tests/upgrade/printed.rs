//! What `install` prints, applied: the program with an account that holds exactly the printed rights, and what it used of them.

use std::collections::BTreeSet;

use harness::{Kubernetes, Seen, wait_until};
use serde_json::{Value, json};

use crate::lab::{Lab, Ran};

/// The objects that a call of `install` prints.
pub fn printed(lab: &Lab, arguments: &[&str]) -> Vec<Value> {
    let ran = lab.tool(&[&["install"], arguments].concat()).exits(0);
    let parts = ran.data.split("---\n").skip(1);
    parts.map(|part| serde_saphyr::from_str(part).unwrap()).collect()
}

/// The path of the collection that an object belongs to.
pub fn collection(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let plural = match object["kind"].as_str().unwrap() {
        "PriorityClass" => "priorityclasses".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{version}/{plural}"),
    }
}

pub fn apply(lab: &Lab, objects: &[Value]) {
    // 1.8 does not know the query, and takes fields that it does not know in silence.
    let strict = if lab.kubernetes() == Kubernetes::V1_34 { "?fieldValidation=Strict" } else { "" };
    for object in objects {
        match lab.api().create(&format!("{}{strict}", collection(object)), object) {
            Ok(_) => {}
            Err(error) if error.status == 409 => {}
            Err(error) => panic!("{error}\n{object:#}"),
        }
    }
}

/// A token of the account, as a pod of it would find one.
pub fn token(lab: &Lab, account: &str) -> String {
    let path = format!("/api/v1/namespaces/calico-upgrader/serviceaccounts/{account}");
    if lab.kubernetes() == Kubernetes::V1_34 {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let answer = lab.api().create(&format!("{path}/token"), &request).unwrap();
        return answer["status"]["token"].as_str().unwrap().to_owned();
    }
    let secret = wait_until("a token of the account", || {
        let account = lab.api().get(&path).unwrap();
        Ok(match account["secrets"][0]["name"].as_str() {
            Some(name) => Seen::Yes(name.to_owned()),
            None => Seen::NotYet("no secret".to_owned()),
        })
    })
    .unwrap();
    let secret = lab.api().get(&format!("/api/v1/namespaces/calico-upgrader/secrets/{secret}")).unwrap();
    decoded(secret["data"]["token"].as_str().unwrap())
}

fn decoded(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

/// The program with the account of a mode, on a machine that has no other.
pub struct InCluster<'a> {
    pub lab: &'a Lab,
    pub kubeconfig: std::path::PathBuf,
    pub account: String,
    pub objects: Vec<Value>,
    /// What was audited before it was used.
    audited_before: usize,
}

impl<'a> InCluster<'a> {
    pub fn new(lab: &'a Lab, mode: &str) -> Self {
        Self::with(lab, mode, &[])
    }

    /// The account with what further flags of `install rbac` add.
    pub fn with(lab: &'a Lab, mode: &str, flags: &[&str]) -> Self {
        let objects = printed(lab, &[&["rbac", "--mode", mode], flags].concat());
        apply(lab, &objects);
        let account = format!("calico-upgrader-{mode}");
        let kubeconfig = lab.kubeconfig_with_token(&account, &token(lab, &account)).unwrap();
        let mut made = Self { lab, kubeconfig, account, objects, audited_before: 0 };
        // Who starts Jobs looks at runs alone.
        made.wait_until_it_may(if mode == "as-job" { "status" } else { "discover" });
        made.audited_before = lab.audited().len();
        made
    }

    /// The authorizer learns of new roles a moment later.
    fn wait_until_it_may(&self, look: &str) {
        wait_until("the roles to be known", || {
            let ran = self.tool(&[look]);
            Ok(if ran.exit == Some(0) { Seen::Yes(()) } else { Seen::NotYet(ran.words) })
        })
        .unwrap();
    }

    pub fn tool(&self, arguments: &[&str]) -> Ran {
        let elsewhere = tempfile::tempdir().unwrap();
        let mut command = self.lab.command_in(elsewhere.path(), arguments);
        Ran::of(command.env("KUBECONFIG", &self.kubeconfig))
    }

    /// What the account asked for since it was made, in the words of rules.
    pub fn used(&self) -> BTreeSet<String> {
        let name = format!("system:serviceaccount:calico-upgrader:{}", self.account);
        let events = self.lab.audited().into_iter().skip(self.audited_before);
        let mut used = BTreeSet::new();
        for event in
            events.filter(|event| event["user"]["username"] == name && event["objectRef"]["resource"].is_string())
        {
            assert_ne!(event["responseStatus"]["code"], 403, "refused: {event}");
            let object = &event["objectRef"];
            let text = |key: &str| object[key].as_str().unwrap_or_default();
            if text("resource") != "selfsubjectaccessreviews" {
                let verb = event["verb"].as_str().unwrap();
                let resource = [text("resource"), text("subresource")].join("/");
                used.insert(right(text("namespace"), verb, text("apiGroup"), resource.trim_end_matches('/')));
            }
        }
        used
    }

    /// The rights that it holds for itself, and not only to be able to give them to Calico.
    pub fn granted(&self) -> BTreeSet<String> {
        let roles = self.objects.iter().filter(|object| object["rules"].is_array());
        let own = roles.filter(|role| role["metadata"]["name"] == self.account);
        own.flat_map(|role| {
            let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            role["rules"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(move |rule| expanded(&namespace, rule))
                .collect::<Vec<_>>()
        })
        .collect()
    }
}

fn expanded(namespace: &str, rule: &Value) -> Vec<String> {
    let (verbs, group) = (words(rule, "verbs"), rule["apiGroups"][0].as_str().unwrap());
    let of = |resource: String| verbs.iter().map(|verb| right(namespace, verb, group, &resource)).collect::<Vec<_>>();
    words(rule, "resources").into_iter().flat_map(of).collect()
}

pub fn words(rule: &Value, key: &str) -> Vec<String> {
    rule[key].as_array().into_iter().flatten().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// A right in words. Calico's data is one thing, whatever its kinds; which namespace a policy is in is the cluster's business.
fn right(namespace: &str, verb: &str, group: &str, resource: &str) -> String {
    match (group, resource) {
        ("crd.projectcalico.org", _) => format!("{verb} data"),
        ("projectcalico.org" | "alpha.projectcalico.org", _) => format!("{verb} old data"),
        (_, "networkpolicies" | "namespaces" | "nodes") => format!("{verb} {resource}"),
        _ if namespace.is_empty() => format!("{verb} {resource}"),
        _ => format!("{verb} {resource} in {namespace}"),
    }
}

/// Holds that an account used what it was granted and nothing else, but for what is granted for a reason.
#[track_caller]
pub fn uses_all_but(account: &InCluster<'_>, unused: &[(&str, &str)]) {
    let (granted, used) = (account.granted(), account.used());
    let reasoned: BTreeSet<String> = unused.iter().map(|(right, _)| (*right).to_owned()).collect();
    let (ungranted, left) = (used.difference(&granted), granted.difference(&used));
    assert_eq!(ungranted.collect::<Vec<_>>(), Vec::<&String>::new(), "{}", account.account);
    assert_eq!(left.collect::<Vec<_>>(), reasoned.intersection(&granted).collect::<Vec<_>>(), "{}", account.account);
}
