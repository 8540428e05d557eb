//! What must be true of every plan, whatever the cluster: made of the same it is the same, what it makes of the cluster needs no
//! second plan, what people set stays, and nothing goes or changes that is not the release's.
//!
//! The clusters are those of every way to v2.6, each with edits, policies and data that are drawn anew in every run of the test.
//! A failure names the smallest set of them with which it happens.

mod ways;

use std::{collections::BTreeMap, sync::OnceLock};

use calico_upgrader::{
    convert::SystemPolicyChoice,
    inventory::{Datastore, Fact, Inventory, NamespaceFacts, NodeFacts, Stored},
    plan::{self, ObjectChange, Plan, PlanError, Preferences, Request, Sealed},
    resource::{Document, Kind, ObjectRef},
    runbook,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use ways::Way;

/// What old controllers left in etcd.
const LEFTOVER: &str = "/calico/v1/policy/tier/default/policy/k8s-policy-no-match";

/// One thing that a cluster has and a fresh install has not.
#[derive(Clone, Debug)]
enum Oddity {
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
enum Isolation {
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
fn ways() -> &'static [Way] {
    static WAYS: OnceLock<Vec<Way>> = OnceLock::new();
    WAYS.get_or_init(ways::ways)
}

/// A cluster as it is drawn: one of the ways to v2.6, and what is odd about it.
fn cluster() -> impl Strategy<Value = (usize, Vec<Oddity>)> {
    (0..ways().len(), prop::collection::vec(oddity(), 0..12))
}

fn inventory(way: usize, oddities: &[Oddity]) -> Inventory {
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

fn made(inventory: &Inventory) -> Result<Plan, PlanError> {
    let runbook = runbook::find("v2.6".parse().expect("a line")).expect("it is built in").expect("it can be read");
    let request = Request {
        allow_untested: true,
        system_policies: Some(SystemPolicyChoice::Convert),
        preferences: Preferences::default(),
        ..Request::default()
    };
    plan::make(inventory, &runbook::catalogue(), &runbook, &request)
}

/// The cluster after the plan, as it would be seen.
fn after(inventory: &Inventory, plan: &Plan) -> Inventory {
    let mut after = inventory.clone();
    plan.changes().for_each(|change| make_change(&mut after, change));
    let install = &mut after.installs[0];
    install.release = Fact::Known(plan.to);
    let daemon_set = inventory_object(&after.objects, &plan.daemon_set).expect("it is there").value();
    let image = |name: &str| {
        let containers = daemon_set["spec"]["template"]["spec"]["containers"].as_array().expect("it has some");
        let images = containers.iter().filter_map(|one| one["image"].as_str());
        images.into_iter().find(|image| image.contains(name)).map(str::to_owned)
    };
    let install = &mut after.installs[0];
    install.node_image = image("calico/node").expect("it has one");
    install.cni_image = image("calico/cni");
    let new =
        plan.changes().filter(|change| change.object.kind == Kind::Deployment).map(|change| change.object.clone());
    install.controllers.extend(new);
    install.controllers.sort();
    install.controllers.dedup();
    after
}

fn inventory_object<'a>(objects: &'a [Stored], wanted: &ObjectRef) -> Option<&'a Document> {
    objects.iter().find(|stored| stored.object == *wanted).map(|stored| &stored.document)
}

/// Where an inventory keeps objects of a kind.
fn place<'a>(inventory: &'a mut Inventory, object: &ObjectRef) -> &'a mut Vec<Stored> {
    if object.kind == Kind::NetworkPolicy {
        let name = object.namespace.as_deref().unwrap_or_default();
        let space = inventory.namespaces.iter_mut().find(|space| space.name == name);
        return &mut space.unwrap_or_else(|| panic!("{object} is in a namespace that is not there")).policies;
    }
    if object.kind == Kind::EtcdKey {
        let Some(Fact::Known(etcd)) = &mut inventory.etcd else { panic!("{object} is in no etcd") };
        return &mut etcd.leftovers;
    }
    if Kind::CUSTOM.contains(&object.kind) { &mut inventory.custom } else { &mut inventory.objects }
}

/// Makes a change as the door does: only if the object is as the plan says that it is.
fn make_change(inventory: &mut Inventory, change: &ObjectChange) {
    let stored = place(inventory, &change.object);
    let at = stored.iter().position(|one| one.object == change.object);
    let found = at.map(|at| stored.remove(at).document);
    assert_eq!(found.as_ref().map(Document::text), change.before.as_ref().map(Document::text), "{}", change.object);
    stored.extend(change.after.clone().map(|document| Stored { object: change.object.clone(), document }));
}

/// What a plan may take away: policies that nobody enforced, in namespaces that stay open, and what old controllers left.
fn may_go(inventory: &Inventory, object: &ObjectRef) -> bool {
    let is_open = |space: &&NamespaceFacts| {
        Some(space.name.as_str()) == object.namespace.as_deref()
            && !space.is_terminating
            && !space.isolation.as_deref().is_some_and(|text| text.contains("DefaultDeny"))
    };
    match object.kind {
        Kind::NetworkPolicy => inventory.namespaces.iter().any(|space| is_open(&space)),
        Kind::EtcdKey => object.name == LEFTOVER,
        _ => false,
    }
}

/// What a plan may make or change: what the release ships, the controllers that it replaces, the data that it copies, and policies
/// that deny.
fn may_change(inventory: &Inventory, plan: &Plan, object: &ObjectRef) -> bool {
    let edition = inventory.installs[0].edition().expect("it is known");
    let shipped = runbook::target(&runbook::catalogue(), plan.to, edition).expect("it is shipped").references();
    match object.kind {
        Kind::NetworkPolicy => object.name == "default-deny",
        kind if Kind::CUSTOM.contains(&kind) => plan.datastore == Datastore::Kubernetes,
        _ => shipped.contains(object) || inventory.installs[0].controllers.contains(object),
    }
}

/// Every value in a document by its path, lists by what names their elements.
fn leaves(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| leaves(value, &format!("{path}.{key}"), found)),
        Value::Array(elements) => elements.iter().for_each(|element| {
            let name = element["name"].as_str().map_or_else(|| element.to_string(), str::to_owned);
            leaves(element, &format!("{path}[{name}]"), found);
        }),
        other => drop(found.insert(path.to_owned(), other.clone())),
    }
}

/// What people added to an object, told by its name alone: nothing that any release ships is called so.
fn ours(document: &Document) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    leaves(&document.value(), "", &mut all);
    all.retain(|path, _| {
        ["CORP_", "corp.example/", "ours-", "resources.limits.memory"].iter().any(|one| path.contains(one))
    });
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_is_the_same_again_is_enough_and_touches_nothing_of_others((way, oddities) in cluster()) {
        let inventory = inventory(way, &oddities);
        let (plan, again) = (made(&inventory), made(&inventory));
        let (plan, again) = match (plan, again) {
            (Ok(plan), Ok(again)) => (plan, again),
            (Err(one), Err(other)) => {
                prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
                return Ok(());
            }
            (one, other) => panic!("{}: once {one:?}, once {other:?}", ways()[way].row()),
        };
        prop_assert_eq!(Sealed::new(plan.clone()).digest, Sealed::new(again).digest);

        for change in plan.changes() {
            let is_fine = match change.after {
                None => may_go(&inventory, &change.object),
                Some(_) => may_change(&inventory, &plan, &change.object),
            };
            prop_assert!(is_fine, "{} {}", change.verb(), change.object);
        }

        let reached = after(&inventory, &plan);
        for stored in &inventory.objects {
            let (before, now) = (ours(&stored.document), inventory_object(&reached.objects, &stored.object).map(ours));
            let now = now.unwrap_or_default();
            for (path, value) in before {
                prop_assert_eq!(now.get(&path), Some(&value), "{} {}", stored.object, path);
            }
        }

        let second = made(&reached).unwrap_or_else(|error| panic!("no second plan: {error:?}"));
        prop_assert!(second.is_empty(), "{:#?}", second.changes().collect::<Vec<_>>());
    }
}

#[test]
fn most_clusters_that_are_drawn_lead_to_a_plan_and_each_part_of_one_is_met() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut plans, mut deleted, mut created, mut leftovers, mut strategies) = (0, 0, 0, 0, 0);
    for _ in 0..100 {
        let (way, oddities) = cluster().new_tree(&mut runner).expect("it can be drawn").current();
        let Ok(plan) = made(&inventory(way, &oddities)) else { continue };
        plans += 1;
        let has = |is: fn(&&ObjectChange) -> bool| usize::from(plan.changes().any(|change| is(&change)));
        deleted += has(|change| change.after.is_none() && change.object.kind == Kind::NetworkPolicy);
        created += has(|change| change.before.is_none() && Kind::CUSTOM.contains(&change.object.kind));
        leftovers += has(|change| change.object.kind == Kind::EtcdKey);
        strategies += usize::from(plan.roll().is_some_and(|roll| roll.then.is_some()));
    }
    assert!(plans > 60, "{plans} plans");
    assert!(
        [deleted, created, leftovers, strategies].iter().all(|met| *met > 1),
        "{deleted} {created} {leftovers} {strategies}"
    );
}
