//! What a restore decides, object by object.

use super::*;
use crate::plan::Stage;
use serde_json::{Value, json};

type Objects = Vec<(ObjectRef, Value)>;

/// A cluster and a backup of it, in which nothing differs.
struct Case {
    backup: BTreeMap<ObjectRef, Document>,
    live: BTreeMap<ObjectRef, Document>,
    terminating: BTreeSet<ObjectRef>,
    served: BTreeSet<Kind>,
    owners: BTreeSet<String>,
    only: Option<BTreeSet<ObjectRef>>,
    nodes: Nodes,
    inventory: Inventory,
}

fn case(objects: Objects) -> Case {
    let all: BTreeMap<_, _> = objects.into_iter().map(|(object, body)| (object, Document::new(body))).collect();
    let inventory = json!({"cluster": {"uid": "u", "server": "s", "kubernetes": "v1.8.15", "has_leases": false,
        "has_definitions": true, "can_try_writes": false}, "installs": [], "operator": null, "nodes": [],
        "namespaces": [], "third_party": [], "third_party_served": [], "custom": [], "objects": [],
        "rights_missing": []});
    Case {
        served: all.keys().map(|object| object.kind).collect(),
        live: all.clone(),
        backup: all,
        terminating: BTreeSet::new(),
        owners: BTreeSet::new(),
        only: None,
        nodes: Nodes::default(),
        inventory: serde_json::from_value(inventory).unwrap(),
    }
}

impl Case {
    fn gone(mut self, object: &ObjectRef) -> Self {
        self.live.remove(object);
        self
    }

    fn live(mut self, object: &ObjectRef, body: Value) -> Self {
        self.live.insert(object.clone(), Document::new(body));
        self
    }

    fn only(mut self, object: &ObjectRef) -> Self {
        self.only = Some(BTreeSet::from([object.clone()]));
        self
    }

    fn compared(&self) -> (Vec<Compared>, Plan) {
        let (digest, was_terminating) = (Digest::of(b""), BTreeSet::new());
        let materials = Materials {
            digest: &digest,
            backup: &self.backup,
            was_terminating: &was_terminating,
            only: self.only.as_ref(),
            named: self.only.as_ref().unwrap_or(&was_terminating),
            live: &self.live,
            terminating: &self.terminating,
            served: &self.served,
            owners: &self.owners,
            nodes: self.nodes.clone(),
            inventory: &self.inventory,
        };
        let compared = compare(&materials);
        let plan = make(&materials, &compared, &mut ComparedKeys::default());
        (compared, plan)
    }

    /// The changes in their order, one stage after the other.
    fn changes(&self) -> Vec<String> {
        self.compared().1.changes().map(|change| format!("{} {}", change.verb(), change.object)).collect()
    }

    fn skipped(&self) -> Vec<String> {
        self.compared().1.omitted.iter().map(|one| format!("{}: {}", one.name, one.why)).collect()
    }

    fn change_of(&self, object: &ObjectRef) -> ObjectChange {
        self.compared().1.changes().filter(|change| change.object == *object).last().unwrap().clone()
    }
}

fn namespace(name: &str) -> (ObjectRef, Value) {
    let body = json!({"metadata": {"name": name, "labels": {"team": name}}, "spec": {"finalizers": ["kubernetes"]}});
    (ObjectRef::cluster(Kind::Namespace, name), body)
}

fn policy(name: &str, spec: Value) -> (ObjectRef, Value) {
    let body = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    (ObjectRef::namespaced(Kind::NetworkPolicy, "shop", name), body)
}

fn setting(name: &str, value: &str) -> (ObjectRef, Value) {
    let body = json!({"metadata": {"name": name}, "spec": {"name": name, "value": value}});
    (ObjectRef::cluster(Kind::GlobalFelixConfig, name), body)
}

fn definition() -> (ObjectRef, Value) {
    let name = "globalfelixconfigs.crd.projectcalico.org";
    let spec = json!({"group": "crd.projectcalico.org", "names": {"kind": "GlobalFelixConfig"}});
    (ObjectRef::cluster(Kind::CustomResourceDefinition, name), json!({"metadata": {"name": name}, "spec": spec}))
}

fn daemon_set(image: &str, strategy: &str) -> (ObjectRef, Value) {
    let template = json!({"spec": {"containers": [{"name": "calico-node", "image": image}]}});
    let body = json!({"metadata": {"name": "calico-node", "namespace": "kube-system"},
        "spec": {"selector": {}, "template": template, "updateStrategy": {"type": strategy}}});
    (ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node"), body)
}

fn name_of((object, _): &(ObjectRef, Value)) -> ObjectRef {
    object.clone()
}

#[test]
fn what_is_missing_is_created_what_differs_is_replaced_and_the_rest_is_left() {
    let (a, b, c) = (setting("a", "1"), setting("b", "1"), setting("c", "1"));
    let mut case = case(vec![a.clone(), b.clone(), c]).gone(&a.0).live(&b.0, setting("b", "2").1);
    let (object, document) = (setting("new", "1").0, Document::new(setting("new", "1").1));
    case.inventory.custom.push(crate::inventory::Stored { object, document });
    assert_eq!(case.changes(), ["create GlobalFelixConfig a", "replace GlobalFelixConfig b"]);
    assert_eq!(case.change_of(&b.0).after.unwrap().value(), b.1);
    assert_eq!(left(&case.backup, &case.inventory, 0), BTreeMap::from([(Kind::GlobalFelixConfig, 1)]));
}

#[test]
fn where_nothing_differs_there_is_nothing_to_do() {
    let case = case(vec![namespace("shop"), policy("a", json!({})), setting("a", "1"), definition()]);
    assert!(case.compared().1.is_empty());
    assert!(case.compared().0.iter().all(|one| one.verdict == Verdict::Same));
}

#[test]
fn a_custom_resource_brings_its_definition_or_is_skipped() {
    let (one, definition) = (setting("a", "1"), definition());
    let mut with = case(vec![one.clone(), definition.clone()]).gone(&one.0).gone(&definition.0).only(&one.0);
    with.served.remove(&Kind::GlobalFelixConfig);
    let name = &definition.0.name;
    let wanted = [format!("create CustomResourceDefinition {name}"), "create GlobalFelixConfig a".to_owned()];
    assert_eq!(with.changes(), wanted);
    let Desired::Objects { stages } = &with.compared().1.steps[1].desired else { panic!("the step has objects") };
    assert_eq!(stages[1], Stage::UntilEstablished(vec![name.clone()]));
    let mut without = case(vec![one.clone()]).gone(&one.0);
    without.served.clear();
    assert_eq!(without.changes(), Vec::<String>::new());
    assert!(without.skipped()[0].contains("no definition of it"), "{:?}", without.skipped());
}

#[test]
fn old_data_is_skipped_where_no_server_serves_it() {
    let object = ObjectRef::namespaced(Kind::ThirdPartyIpPool, "kube-system", "a");
    let mut case = case(vec![namespace("kube-system"), (object.clone(), json!({"metadata": {"name": "a"}}))]);
    case.served.remove(&Kind::ThirdPartyIpPool);
    assert_eq!(case.gone(&object).skipped(), ["IpPool kube-system/a: this API server does not serve IpPool"]);
}

#[test]
fn a_missing_namespace_is_made_first_for_the_objects_in_it_and_only_then() {
    let (shop, other, policy) = (namespace("shop"), namespace("other"), policy("a", json!({})));
    let gone = case(vec![shop.clone(), other.clone(), policy.clone()]).gone(&shop.0).gone(&other.0).gone(&policy.0);
    assert_eq!(gone.changes(), ["create Namespace shop", "create NetworkPolicy shop/a"]);
    assert_eq!(gone.skipped(), ["Namespace other: no object that is restored needs it"]);
    assert_eq!(gone.change_of(&shop.0).after.unwrap().value(), shop.1);
    let changed = case(vec![shop.clone()]).live(&shop.0, json!({"metadata": {"name": "shop"}}));
    assert_eq!(changed.skipped(), ["Namespace shop: one that is there is not changed"]);
}

#[test]
fn a_namespace_that_is_going_or_unknown_takes_its_objects_with_it() {
    let (shop, policy) = (namespace("shop"), policy("a", json!({})));
    let mut going = case(vec![shop.clone(), policy.clone()]).gone(&policy.0);
    going.terminating.insert(shop.0.clone());
    assert!(going.skipped().contains(&"NetworkPolicy shop/a: namespace shop is being deleted".to_owned()));
    let unknown = case(vec![policy.clone()]).gone(&policy.0);
    assert!(unknown.skipped()[0].contains("the backup does not hold it"));
    assert!(going.changes().is_empty() && unknown.changes().is_empty());
}

#[test]
fn an_owner_that_is_gone_is_left_out_and_said() {
    let (object, mut body) = policy("a", json!({}));
    let owner = |uid: &str| json!({"kind": "DaemonSet", "name": uid, "uid": uid});
    body["metadata"]["ownerReferences"] = json!([owner("dead"), owner("alive")]);
    let mut case = case(vec![namespace("shop"), (object.clone(), body)]).gone(&object);
    case.owners.insert("alive".to_owned());
    let change = case.change_of(&object);
    assert_eq!(change.after.unwrap().value()["metadata"]["ownerReferences"], json!([owner("alive")]));
    assert!(change.why.contains("DaemonSet dead"), "{}", change.why);
}

#[test]
fn policies_close_before_they_open_and_hold_before_others_let_go() {
    let select = |app: &str| json!({"podSelector": {"matchLabels": {"app": app}}, "ingress": [{}]});
    let (deny, allow) = (policy("deny", json!({"podSelector": {}})), policy("allow", select("a")));
    let (narrow, wide) =
        (policy("a-narrow", select("a")), policy("b-wide", json!({"podSelector": {}, "ingress": [{}]})));
    let all = vec![namespace("shop"), deny.clone(), allow.clone(), narrow.clone(), wide.clone()];
    let case = case(all)
        .gone(&deny.0)
        .gone(&allow.0)
        .live(&narrow.0, policy("a-narrow", select("b")).1)
        .live(&wide.0, policy("b-wide", select("b")).1);
    let names: Vec<_> = case.compared().1.changes().map(|change| change.object.name.clone()).collect();
    assert_eq!(names, ["deny", "allow", "b-wide", "a-narrow"]);
    assert!(case.change_of(&narrow.0).why.contains("lets go"));
}

#[test]
fn a_changed_template_replaces_no_node_by_itself() {
    let kept = daemon_set("node:1", "RollingUpdate");
    let case =
        case(vec![namespace("kube-system"), kept.clone()]).live(&kept.0, daemon_set("node:2", "RollingUpdate").1);
    let after: Vec<Value> = case.compared().1.changes().map(|one| one.after.as_ref().unwrap().value()).collect();
    assert_eq!(after, [daemon_set("node:2", "OnDelete").1, daemon_set("node:1", "OnDelete").1]);
    assert!(case.change_of(&kept.0).why.contains("no node is replaced by itself"));
}

#[test]
fn the_update_strategy_comes_back_once_every_node_runs_the_template() {
    let kept = daemon_set("node:1", "RollingUpdate");
    let mut case = case(vec![namespace("kube-system"), kept.clone()]).live(&kept.0, daemon_set("node:1", "OnDelete").1);
    assert!(case.changes().is_empty() && case.skipped()[0].contains("waits until every node"));
    case.nodes.are_current = true;
    assert_eq!(case.change_of(&kept.0).after.unwrap().value(), kept.1);
}

#[test]
fn rights_that_running_pods_may_need_are_not_taken_unless_asked_for() {
    let role = |rules: Value| {
        let object = ObjectRef::cluster(Kind::ClusterRole, "calico-node");
        (object, json!({"metadata": {"name": "calico-node"}, "rules": rules}))
    };
    let kept = role(json!(["old"]));
    let objects = vec![kept.clone(), daemon_set("node:1", "OnDelete")];
    let mut case = case(objects).live(&kept.0, role(json!(["old", "new"])).1);
    case.nodes.images.insert("node:2".to_owned());
    assert!(case.skipped()[0].contains("take rights from node:2"), "{:?}", case.skipped());
    assert_eq!(case.only(&kept.0).changes(), ["replace ClusterRole calico-node"]);
}

#[test]
fn what_no_server_changes_is_not_tried() {
    let kept = daemon_set("node:1", "OnDelete");
    let mut other = kept.1.clone();
    other["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
    let case = case(vec![namespace("kube-system"), kept.clone()]).live(&kept.0, other);
    assert!(case.skipped()[0].contains("spec.selector differs"));
}

fn key(name: &str) -> ObjectRef {
    ObjectRef::cluster(Kind::EtcdKey, name)
}

#[test]
fn a_kind_alone_names_all_its_objects() {
    let all = [key("/calico/a"), setting("b", "1").0, key("/calico/c")];
    let found = select(&["EtcdKey".to_owned()], all.iter()).unwrap();
    assert_eq!(found, BTreeSet::from([all[0].clone(), all[2].clone()]));
    assert!(matches!(select(&["Etcdkeys".to_owned()], all.iter()), Err(Unmatched::Nothing { .. })));
}

#[test]
fn a_name_that_is_not_in_the_backup_is_answered_with_near_ones() {
    let all =
        [name_of(&policy("allow-web", json!({}))), name_of(&setting("allow-web", "1")), name_of(&setting("b", "1"))];
    let find = |name: &str| select(&[name.to_owned()], all.iter());
    for name in ["NetworkPolicy/shop/allow-web", "networkpolicy/allow-web"] {
        assert_eq!(find(name), Ok(BTreeSet::from([all[0].clone()])), "{name}");
    }
    let Err(Unmatched::Nothing { near, .. }) = find("NetworkPolicy/shop/alow-web") else { panic!("nothing has it") };
    assert_eq!(near[0], "NetworkPolicy/shop/allow-web");
    let twice = [all[0].clone(), ObjectRef::namespaced(Kind::NetworkPolicy, "blog", "allow-web")];
    let several = select(&["NetworkPolicy/allow-web".to_owned()], twice.iter());
    assert!(matches!(several, Err(Unmatched::Several { all, .. }) if all.len() == 2));
}
