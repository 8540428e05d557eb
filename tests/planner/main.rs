//! What must be true of every plan, whatever the cluster: made of the same it is the same, what it makes of the cluster needs no
//! second plan, what people set stays, and nothing goes or changes that is not the release's.
//!
//! The clusters are those of every way to v2.6, each with edits, policies and data that are drawn anew in every run of the test.
//! A failure names the smallest set of them with which it happens.

mod drawn;
mod gates;
#[path = "../ways/mod.rs"]
mod ways;

use std::collections::BTreeMap;

use calico_upgrader::{
    convert::SystemPolicyChoice,
    inventory::{Datastore, Fact, Inventory, NamespaceFacts, Stored},
    plan::{self, ObjectChange, Plan, PlanError, Preferences, Request, Sealed},
    resource::{Document, Kind, ObjectRef},
    runbook,
};
use drawn::{LEFTOVER, cluster, inventory, ways};
use proptest::prelude::*;
use serde_json::Value;

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
