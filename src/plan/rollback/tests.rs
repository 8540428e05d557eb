//! From every state that a run can leave, a rollback leads to its start.

mod edits;

use serde_json::json;

use super::*;
use crate::{
    check::DRIFT,
    inventory::{ClusterFacts, NamespaceFacts, NodeFacts, PodFacts, Stored},
    plan::{Consent, FORMAT, Request, consent},
    resource::Digest,
    version::{Minor, Version},
};

type World = BTreeMap<ObjectRef, Document>;

fn system(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef::namespaced(kind, "kube-system", name)
}

fn daemon_set(image: &str, strategy: &str) -> Document {
    let containers = json!([{"name": "calico-node", "image": image}]);
    Document::new(json!({"metadata": {"name": "calico-node"}, "spec": {"updateStrategy": {"type": strategy},
        "template": {"spec": {"containers": containers}}}}))
}

fn some(text: &str) -> Option<Document> {
    Some(Document::new(json!({"spec": text})))
}

fn change(object: ObjectRef, before: Option<Document>, after: Option<Document>) -> ObjectChange {
    ObjectChange { object, before, after, why: String::new() }
}

fn cluster() -> ClusterFacts {
    let (has_leases, has_definitions, can_try_writes) = (true, true, true);
    let (uid, server, kubernetes) = ("uid".to_owned(), String::new(), Version::new(1, 34, 4));
    ClusterFacts { uid, server, kubernetes, has_leases, has_definitions, can_try_writes, etcd: None }
}

/// An upgrade with one object of each kind; `strategy` is the one that the DaemonSet had.
fn upgrade(strategy: &str) -> Plan {
    let node = system(Kind::DaemonSet, "calico-node");
    let policy = |namespace: &str, name: &str| ObjectRef::namespaced(Kind::NetworkPolicy, namespace, name);
    let (live, frozen) = (daemon_set("node:old", strategy), daemon_set("node:old", "OnDelete"));
    let (new, last) = (daemon_set("node:new", "OnDelete"), daemon_set("node:new", strategy));
    let freeze = (live != frozen).then(|| change(node.clone(), Some(live), Some(frozen.clone())));
    let manifests = [
        vec![
            change(ObjectRef::cluster(Kind::ClusterRole, "calico-node"), some("few"), some("more")),
            change(system(Kind::ServiceAccount, "calico-new"), None, some("account")),
            change(system(Kind::ConfigMap, "calico-config"), some("old"), some("new")),
        ],
        freeze.into_iter().collect(),
        vec![change(node.clone(), Some(frozen), Some(new.clone()))],
    ];
    let then = (new != last).then(|| change(node.clone(), Some(new), Some(last)));
    let (selector, image, batch) = ("k8s-app=calico-node".to_owned(), "node:new".to_owned(), 1);
    let roll = Roll {
        daemon_set: node.clone(),
        selector: selector.clone(),
        image: image.clone(),
        batch,
        ready_within_seconds: 1,
        stable_for_seconds: 0,
        watching: 0,
        usually_ready_seconds: None,
        order: Order::default(),
        then,
        probe: None,
    };
    let third_party = vec![(system(Kind::ThirdPartyIpPool, "pool"), Digest::of(b""))];
    let (isolated, opened) = (Vec::new(), Vec::new());
    let verify = Verify { daemon_set: node.clone(), selector, image, isolated, opened, third_party, controllers: None };
    let changes = |changes: Vec<ObjectChange>| Stage::Changes(changes);
    let policies = vec![
        changes(vec![change(policy("a", "default-deny"), None, some("deny"))]),
        changes(vec![change(policy("b", "dormant"), some("dormant"), None)]),
    ];
    let definition = ObjectRef::cluster(Kind::CustomResourceDefinition, "ippools");
    let copies = vec![
        changes(vec![change(definition, None, some("definition"))]),
        changes(vec![change(ObjectRef::cluster(Kind::IpPool, "pool"), None, some("pool"))]),
    ];
    let steps = [
        ("convert-policies", Desired::Objects { stages: policies }),
        ("copy-resources", Desired::Objects { stages: copies }),
        ("apply-manifests", Desired::Objects { stages: manifests.into_iter().map(Stage::Changes).collect() }),
        ("roll-nodes", Desired::Roll(roll)),
        ("verify", Desired::Verify(verify)),
    ];
    Plan {
        format: FORMAT,
        purpose: Purpose::Upgrade,
        cluster: cluster(),
        daemon_set: node,
        flavour: crate::inventory::Flavour::Networking,
        datastore: crate::inventory::Datastore::Kubernetes,
        from: Version::new(2, 2, 1),
        to: Version::new(2, 6, 12),
        runbook: crate::runbook::find(Minor { major: 2, minor: 6 }).unwrap().unwrap(),
        request: Request::default(),
        steps: steps.map(|(name, desired)| step(name, "", String::new(), desired)).into(),
        omitted: Vec::new(),
        findings: Vec::new(),
        kept: Vec::new(),
    }
}

fn inventory() -> Inventory {
    let namespace = |name: &str| NamespaceFacts {
        name: name.to_owned(),
        is_terminating: false,
        isolation: None,
        policies: Vec::new(),
    };
    let pool = Document::new(json!({}));
    Inventory {
        cluster: cluster(),
        installs: Vec::new(),
        owners: Vec::new(),
        etcd: None,
        operator: None,
        nodes: Vec::new(),
        namespaces: vec![namespace("a"), namespace("b")],
        third_party: vec![Stored { object: system(Kind::ThirdPartyIpPool, "pool"), document: pool }],
        third_party_served: vec![Kind::ThirdPartyIpPool],
        custom: Vec::new(),
        objects: Vec::new(),
        rights_missing: Vec::new(),
        sights: Vec::new(),
    }
}

/// The objects before anything of the plan was done.
fn start(plan: &Plan) -> World {
    let mut world = World::new();
    for change in plan.changes().collect::<Vec<_>>().into_iter().rev() {
        set(&mut world, &change.object, &change.before);
    }
    world
}

fn set(world: &mut World, object: &ObjectRef, document: &Option<Document>) {
    match document {
        Some(document) => world.insert(object.clone(), document.clone()),
        None => world.remove(object),
    };
}

/// Makes the first changes of a plan, each of which must find what it expects.
fn make(world: &mut World, plan: &Plan, count: usize) {
    for change in plan.changes().take(count) {
        assert_eq!(world.get(&change.object), change.before.as_ref(), "{}", change.object);
        set(world, &change.object, &change.after);
    }
}

fn back(plan: &Plan, live: &World, keep: Option<&str>) -> Result<Plan, RollbackError> {
    back_with(plan, live, keep, &inventory())
}

fn back_with(plan: &Plan, live: &World, keep: Option<&str>, inventory: &Inventory) -> Result<Plan, RollbackError> {
    let steps_done: Vec<String> = plan.steps.iter().map(|step| step.name.clone()).collect();
    roll_back(&Aftermath {
        run: "abc",
        plan,
        steps_done: &steps_done,
        is_over: true,
        is_going_back: false,
        inventory,
        live,
        cordoned_by: &["abc".to_owned()],
        keep,
    })
}

/// A node with a calico-node.
fn node_of(pool: &str) -> NodeFacts {
    NodeFacts {
        name: "node-1".to_owned(),
        is_ready: true,
        is_cordoned: false,
        is_control_plane: false,
        cordoned_by: None,
        taints: Vec::new(),
        labels: serde_json::Map::from_iter([("pool".to_owned(), json!(pool))]),
        pod: Some(PodFacts { name: "calico-node-1".to_owned(), image: "node:new".to_owned(), is_ready: true }),
    }
}

#[test]
fn a_run_over_v3_32_goes_back_only_as_long_as_it_changed_neither_typha_nor_the_nodes() {
    let mut plan = upgrade("OnDelete");
    (plan.from, plan.to) = (Version::new(3, 31, 7), Version::new(3, 32, 1));
    let image = |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"image": image}]}}}});
    let typha = |tag: &str| Some(Document::new(image(&format!("calico/typha:{tag}"))));
    let first = change(system(Kind::Deployment, "calico-typha"), typha("v3.31.7"), typha("v3.32.1"));
    let (Desired::Objects { stages }, at) = (&mut plan.steps[2].desired, 0) else { panic!("it has the manifests") };
    stages.insert(at, Stage::Changes(vec![first]));
    let typha_at = plan.changes().position(|change| change.object.kind == Kind::Deployment).unwrap();
    for done in 0..=plan.changes().count() {
        let mut world = start(&plan);
        make(&mut world, &plan, done);
        let refused = matches!(back(&plan, &world, None), Err(RollbackError::Blocked(all)) if all[0].id == "CU-P008");
        assert_eq!(refused, done > typha_at, "{done} changes were made");
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.name.as_str()).collect()
}

#[test]
fn from_every_instant_of_a_run_and_of_its_rollback_the_plan_leads_to_the_start() {
    for strategy in ["RollingUpdate", "OnDelete"] {
        let plan = upgrade(strategy);
        for done in 0..=plan.changes().count() {
            let mut stopped = start(&plan);
            make(&mut stopped, &plan, done);
            let first = back(&plan, &stopped, None).unwrap();
            for undone in 0..=first.changes().count() {
                let mut world = stopped.clone();
                make(&mut world, &first, undone);
                let second = back(&plan, &world, None).unwrap();
                make(&mut world, &second, usize::MAX);
                world.retain(|object, _| object.kind != Kind::CustomResourceDefinition);
                assert_eq!(world, start(&plan), "{strategy}: {done} changes done, {undone} taken back");
            }
        }
    }
}

#[test]
fn the_nodes_go_back_before_rights_data_and_policies() {
    let plan = upgrade("RollingUpdate");
    let mut world = start(&plan);
    make(&mut world, &plan, usize::MAX);
    let back = back(&plan, &world, None).unwrap();
    let order = ["take-back-release", "roll-nodes-back", "take-back-rights", "take-back-data", "restore-policies"];
    assert_eq!(names(&back), [&["back-up"], &order[..], &["verify"]].concat());
    let roll = back.roll().unwrap();
    assert_eq!((roll.image.as_str(), roll.order, roll.then.is_some()), ("node:old", Order::NewestFirst, true));
    assert_eq!(back.omitted.len(), 1, "the definition is named");
}

#[test]
fn a_daemon_set_that_never_rolls_by_itself_is_rolled_until_a_rollback_has_come_to_its_end() {
    let plan = upgrade("OnDelete");
    let (live, steps_done) = (start(&plan), ["apply-manifests".to_owned()]);
    for is_going_back in [true, false] {
        let back = roll_back(&Aftermath {
            run: "abc",
            plan: &plan,
            steps_done: &steps_done,
            is_over: true,
            is_going_back,
            inventory: &inventory(),
            live: &live,
            cordoned_by: &[],
            keep: None,
        });
        assert_eq!(back.unwrap().roll().is_some(), is_going_back);
    }
}

#[test]
fn what_others_changed_stays_and_what_the_nodes_need_blocks() {
    let plan = upgrade("RollingUpdate");
    let mut world = start(&plan);
    make(&mut world, &plan, usize::MAX);
    set(&mut world, &ObjectRef::cluster(Kind::IpPool, "pool"), &some("touched"));
    set(&mut world, &ObjectRef::namespaced(Kind::NetworkPolicy, "b", "dormant"), &some("made anew"));
    let left = back(&plan, &world, None).unwrap();
    let kinds = [Kind::IpPool, Kind::NetworkPolicy].map(|kind| kind.name());
    let is_named = |kind: &str| left.omitted.iter().any(|one| one.name.starts_with(kind));
    assert!(kinds.iter().all(|kind| is_named(kind)), "{:?}", left.omitted);
    assert_eq!(left.changes().filter(|change| change.object.kind == Kind::IpPool).count(), 0);
    set(&mut world, &system(Kind::ConfigMap, "calico-config"), &some("theirs"));
    let Err(RollbackError::Blocked(findings)) = back(&plan, &world, None) else { panic!("it must be blocked") };
    assert_eq!((findings[0].id.as_str(), findings[0].blocks()), ("CU-P021", Some(DRIFT)));
}

#[test]
fn what_is_asked_for_depends_on_what_runs_and_on_what_would_be_lost() {
    let plan = upgrade("RollingUpdate");
    let pool = ObjectRef::cluster(Kind::IpPool, "pool");
    // Two policies, a definition and a copy: then the first change of what runs.
    for (done, untouched, touched) in [
        (0, Consent::NotNeeded, Consent::NotNeeded),
        (4, Consent::NotNeeded, Consent::NotNeeded),
        (5, Consent::Yes, Consent::Yes),
        (usize::MAX, Consent::Yes, Consent::Name),
    ] {
        let mut world = start(&plan);
        make(&mut world, &plan, done);
        assert_eq!(consent(&back(&plan, &world, None).unwrap()), untouched, "{done} changes");
        set(&mut world, &pool, &some("touched"));
        assert_eq!(consent(&back(&plan, &world, None).unwrap()), touched, "{done} changes");
    }
}

#[test]
fn an_old_calico_never_starts_without_its_data() {
    let plan = upgrade("RollingUpdate");
    let mut bare = inventory();
    bare.third_party.clear();
    let Err(RollbackError::Blocked(findings)) = back_with(&plan, &start(&plan), None, &bare) else {
        panic!("it must be blocked")
    };
    assert_eq!(findings[0].id, "CU-P022");
}

#[test]
fn an_old_template_that_does_not_pick_a_node_with_a_pod_is_not_put_back() {
    let mut plan = upgrade("OnDelete");
    let Desired::Objects { stages } = &mut plan.steps[2].desired else { panic!("manifests are objects") };
    let Some(Stage::Changes(template)) = stages.last_mut() else { panic!("the template goes last") };
    let mut picky = daemon_set("node:old", "OnDelete").value();
    picky["spec"]["template"]["spec"]["nodeSelector"] = json!({"pool": "old"});
    template[0].before = Some(Document::new(picky));
    let mut world = start(&plan);
    make(&mut world, &plan, usize::MAX);
    let mut nodes = inventory();
    for (pool, is_blocked) in [("old", false), ("new", true)] {
        nodes.nodes = vec![node_of(pool)];
        let found = back_with(&plan, &world, None, &nodes);
        let is_named = matches!(found, Err(RollbackError::Blocked(all)) if all[0].id == "CU-P007");
        assert_eq!(is_named, is_blocked, "a node of the {pool} pool");
    }
}

#[test]
fn a_policy_does_not_come_back_into_a_namespace_that_is_going() {
    let plan = upgrade("RollingUpdate");
    let mut world = start(&plan);
    make(&mut world, &plan, usize::MAX);
    let mut going = inventory();
    going.namespaces[1].is_terminating = true;
    let back = back_with(&plan, &world, None, &going).unwrap();
    assert!(back.omitted.iter().any(|one| one.why == "its namespace is gone"), "{:?}", back.omitted);
    assert!(back.changes().all(|change| change.object.namespace.as_deref() != Some("b")));
}

#[test]
fn nodes_and_their_template_go_back_together_or_not_at_all() {
    let plan = upgrade("RollingUpdate");
    let mut world = start(&plan);
    make(&mut world, &plan, usize::MAX);
    for (keep, wanted) in [
        (
            "convert-policies",
            vec!["back-up", "take-back-release", "roll-nodes-back", "take-back-rights", "take-back-data", "verify"],
        ),
        ("copy-resources", vec!["back-up", "take-back-release", "roll-nodes-back", "take-back-rights", "verify"]),
        ("roll-nodes", vec![]),
    ] {
        assert_eq!(names(&back(&plan, &world, Some(keep)).unwrap()), wanted, "{keep}");
    }
    let Err(RollbackError::Step { steps, .. }) = back(&plan, &world, Some("apply-manifests")) else {
        panic!("it must be refused")
    };
    assert_eq!(steps, ["convert-policies", "copy-resources", "roll-nodes", "verify"]);
}
