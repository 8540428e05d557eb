//! Clusters that are drawn: one of the ways to v2.6, and what is odd about it.

use std::sync::OnceLock;

use calico_upgrader::{
    inventory::{Fact, Inventory, NamespaceFacts, NodeFacts, Stored},
    resource::{Document, Kind, ObjectRef},
    runbook,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::ways::{self, Way};

/// What old controllers left in etcd.
pub const LEFTOVER: &str = "/calico/v1/policy/tier/default/policy/k8s-policy-no-match";

/// One thing that a cluster has and a fresh install has not.
#[derive(Clone, Debug)]
pub enum Oddity {
    /// A variable of calico-node that no release knows, or another value of one that it knows.
    Variable(u8, String),
    Annotation(u8),
    Toleration(u8),
    Memory(u16),
    Mirror,
    ConfigKey(u8),
    Mtu(u16),
    RollsByItself,
    Right(u8),
    Namespace {
        isolation: Isolation,
        policies: u8,
        is_terminating: bool,
    },
    Pool {
        block: u8,
        is_masqueraded: bool,
    },
    Setting(u8),
    Leftover,
    Nodes(u8),
}

/// The annotation of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    None,
    Empty,
    DefaultDeny,
    HasItsPolicy,
}

impl Isolation {
    fn text(self) -> Option<String> {
        match self {
            Isolation::None => None,
            Isolation::Empty => Some("{}".to_owned()),
            Isolation::DefaultDeny | Isolation::HasItsPolicy => {
                Some(r#"{"ingress":{"isolation":"DefaultDeny"}}"#.to_owned())
            }
        }
    }
}

fn isolation() -> impl Strategy<Value = Isolation> {
    prop_oneof![
        Just(Isolation::None),
        Just(Isolation::Empty),
        Just(Isolation::DefaultDeny),
        Just(Isolation::HasItsPolicy)
    ]
}

/// Namespaces are drawn more often: few of their states lead to a change, and on few ways.
fn oddity() -> impl Strategy<Value = Oddity> {
    prop_oneof![
        1 => (any::<u8>(), "[a-z]{1,6}").prop_map(|(number, value)| Oddity::Variable(number, value)),
        1 => any::<u8>().prop_map(Oddity::Annotation),
        1 => any::<u8>().prop_map(Oddity::Toleration),
        1 => any::<u16>().prop_map(Oddity::Memory),
        1 => Just(Oddity::Mirror),
        1 => any::<u8>().prop_map(Oddity::ConfigKey),
        1 => (1280_u16..9000).prop_map(Oddity::Mtu),
        1 => Just(Oddity::RollsByItself),
        1 => any::<u8>().prop_map(Oddity::Right),
        4 => (isolation(), 0_u8..4, any::<bool>()).prop_map(|(isolation, policies, is_terminating)| Oddity::Namespace {
            isolation,
            policies,
            is_terminating
        }),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(block, is_masqueraded)| Oddity::Pool { block, is_masqueraded }),
        1 => any::<u8>().prop_map(Oddity::Setting),
        1 => Just(Oddity::Leftover),
        1 => (1_u8..40).prop_map(Oddity::Nodes),
    ]
}

/// Every way to v2.6, read once.
pub fn ways() -> &'static [Way] {
    static WAYS: OnceLock<Vec<Way>> = OnceLock::new();
    WAYS.get_or_init(ways::ways)
}

/// A cluster as it is drawn: one of the ways to v2.6, and what is odd about it.
pub fn cluster() -> impl Strategy<Value = (usize, Vec<Oddity>)> {
    (0..ways().len(), prop::collection::vec(oddity(), 0..12))
}

pub fn inventory(way: usize, oddities: &[Oddity]) -> Inventory {
    let mut inventory = ways()[way].inventory(&runbook::catalogue());
    oddities.iter().enumerate().for_each(|(number, oddity)| add(&mut inventory, number, oddity));
    // As a server lists them.
    inventory.third_party.sort_by(|one, other| one.object.cmp(&other.object));
    inventory.third_party.dedup_by(|one, other| one.object == other.object);
    inventory
}

fn add(inventory: &mut Inventory, number: usize, oddity: &Oddity) {
    match oddity {
        Oddity::Variable(which, value) => edit(inventory, Kind::DaemonSet, |body| set_variable(body, *which, value)),
        Oddity::Annotation(which) => edit(inventory, Kind::DaemonSet, |body| {
            body["metadata"]["annotations"][format!("corp.example/note-{which}")] = json!("ours");
        }),
        Oddity::Toleration(which) => edit(inventory, Kind::DaemonSet, |body| {
            let toleration = json!({"key": format!("corp.example/{which}"), "operator": "Exists"});
            push(&mut body["spec"]["template"]["spec"]["tolerations"], toleration);
        }),
        Oddity::Memory(megabytes) => edit(inventory, Kind::DaemonSet, |body| {
            node_container(body)["resources"]["limits"]["memory"] = json!(format!("{megabytes}Mi"));
        }),
        Oddity::Mirror => edit(inventory, Kind::DaemonSet, |body| {
            for container in body["spec"]["template"]["spec"]["containers"].as_array_mut().expect("it has some") {
                let image = container["image"].as_str().unwrap_or_default().replace("quay.io/", "mirror.example:5000/");
                container["image"] = json!(image);
            }
        }),
        Oddity::ConfigKey(which) => {
            edit(inventory, Kind::ConfigMap, |body| body["data"][format!("ours-{which}")] = json!("kept"));
        }
        Oddity::Mtu(mtu) => edit(inventory, Kind::ConfigMap, |body| set_mtu(body, *mtu)),
        Oddity::RollsByItself => edit(inventory, Kind::DaemonSet, |body| {
            body["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}});
        }),
        Oddity::Right(which) => edit(inventory, Kind::ClusterRole, |body| {
            let rule = json!({"apiGroups": [""], "resources": [format!("ours-{which}")], "verbs": ["get"]});
            push(&mut body["rules"], rule);
        }),
        Oddity::Namespace { isolation, policies, is_terminating } => {
            inventory.namespaces.push(namespace(number, *isolation, *policies, *is_terminating));
        }
        Oddity::Pool { block, is_masqueraded } => {
            let value = json!({"cidr": format!("10.{block}.0.0/16"), "masquerade": is_masqueraded}).to_string();
            third_party(inventory, Kind::ThirdPartyIpPool, &format!("10-{block}-0-0-16"), &value);
        }
        Oddity::Setting(which) => {
            third_party(inventory, Kind::ThirdPartyGlobalConfig, &format!("setting-{which}"), &which.to_string());
        }
        Oddity::Leftover => {
            if let Some(Fact::Known(etcd)) = &mut inventory.etcd {
                let object = ObjectRef::cluster(Kind::EtcdKey, LEFTOVER);
                etcd.leftovers = vec![Stored { object, document: Document::new(json!({"value": "{}"})) }];
            }
        }
        Oddity::Nodes(count) => {
            inventory.nodes = (0..*count).map(node).collect();
        }
    }
}

fn node(number: u8) -> NodeFacts {
    NodeFacts {
        name: format!("node-{number}"),
        is_ready: true,
        is_cordoned: false,
        is_control_plane: number == 0,
        cordoned_by: None,
        taints: Vec::new(),
        labels: serde_json::Map::new(),
        pod: None,
    }
}

fn edit(inventory: &mut Inventory, kind: Kind, edit: impl FnOnce(&mut Value)) {
    let Some(stored) = inventory.objects.iter_mut().find(|stored| stored.object.kind == kind) else { return };
    let mut body = stored.document.value();
    edit(&mut body);
    stored.document = Document::new(body);
}

fn node_container(body: &mut Value) -> &mut Value {
    let containers = body["spec"]["template"]["spec"]["containers"].as_array_mut().expect("it has some");
    containers.iter_mut().find(|one| one["name"] == "calico-node").expect("it has calico-node")
}

fn set_variable(body: &mut Value, which: u8, value: &str) {
    let name = format!("CORP_{}", which % 4);
    let variables = &mut node_container(body)["env"];
    match variables.as_array_mut().and_then(|all| all.iter_mut().find(|one| one["name"] == name)) {
        Some(there) => there["value"] = json!(value),
        None => push(variables, json!({"name": name, "value": value})),
    }
}

fn set_mtu(body: &mut Value, mtu: u16) {
    let text = body["data"]["cni_network_config"].as_str().unwrap_or_default();
    // Where it is no JSON, the marks in it stand for numbers, and an edit by hand would not be read either.
    let Ok(mut config) = serde_json::from_str::<Value>(text) else { return };
    if config["type"] == "calico" {
        config["mtu"] = json!(mtu);
        body["data"]["cni_network_config"] = json!(config.to_string());
    }
}

fn push(list: &mut Value, element: Value) {
    match list {
        Value::Array(all) if all.contains(&element) => {}
        Value::Array(all) => all.push(element),
        other => *other = json!([element]),
    }
}

fn namespace(number: usize, isolation: Isolation, policies: u8, is_terminating: bool) -> NamespaceFacts {
    let name = format!("space-{number}");
    let policy = |called: String, spec: Value| Stored {
        object: ObjectRef::namespaced(Kind::NetworkPolicy, &name, &called),
        document: Document::new(json!({"metadata": {"name": called, "namespace": name}, "spec": spec})),
    };
    let web = json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{}], "policyTypes": ["Ingress"]});
    let mut all: Vec<Stored> = (0..policies).map(|which| policy(format!("web-{which}"), web.clone())).collect();
    if isolation == Isolation::HasItsPolicy {
        all.push(policy("default-deny".to_owned(), json!({"podSelector": {}, "policyTypes": ["Ingress"]})));
    }
    NamespaceFacts { isolation: isolation.text(), policies: all, is_terminating, name }
}

fn third_party(inventory: &mut Inventory, kind: Kind, name: &str, value: &str) {
    if inventory.etcd.is_some() {
        return;
    }
    let object = ObjectRef::namespaced(kind, "kube-system", name);
    let body = match kind {
        Kind::ThirdPartyGlobalConfig => json!({"name": name, "value": value}),
        _ => json!({"value": value}),
    };
    let document = json!({"metadata": {"name": name, "namespace": "kube-system"}, "spec": body});
    inventory.third_party.push(Stored { object, document: Document::new(document) });
}
