//! Takes a run back: decides from its plan and from what is there now which object becomes again what it was.
//!
//! Nothing is replayed backwards. Each object that the run's plan changes is looked at: in a state that the plan knows it goes
//! back, in one that nobody knows others changed it. So it makes no difference where the run stopped, or whether an earlier
//! rollback of it stopped midway. What is written back is the whole object as the plan keeps it; `before` is the object as it is
//! now, so that the backup holds it to the byte.
//!
//! The order is not the upgrade's from the end: a new calico-node enforces dormant policies and reads the copied data, so the
//! nodes go back first, the newest first, and only then rights, data and policies. The definitions of custom resources stay:
//! whoever deletes one deletes all data of its kind, also that of others.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Desired, FORMAT, ObjectChange, Order, Plan, PlannedStep, Purpose, Roll, Stage, Undo, Verify,
    steps::{node_image_of, on_delete, replicas, selector_of},
    way::{Part, Place, Way, is_same},
};
use crate::{
    check::{BLOCKED, Finding, Severity},
    inventory::Inventory,
    resource::{Document, Kind, ObjectRef},
    runbook::StepKind,
};

/// How long the pods of controllers may take to go and to come, by default.
const CONTROLLERS_WITHIN: u64 = 600;

const BEFORE_THE_RUN: &str = "as it was before the run";

/// What a run left behind, and how far it shall go back.
#[derive(Clone, Copy, Debug)]
pub struct Aftermath<'a> {
    pub run: &'a str,
    pub plan: &'a Plan,
    pub steps_done: &'a [String],
    /// Whether nobody will go on with the run; one that is open is closed even if it changed nothing.
    pub is_over: bool,
    /// Whether an earlier rollback of it did not come to its end.
    pub is_going_back: bool,
    pub inventory: &'a Inventory,
    /// The objects of the plan as they are now.
    pub live: &'a BTreeMap<ObjectRef, Document>,
    /// Runs whose cordons are ours to take away: the run, and earlier rollbacks of it.
    pub cordoned_by: &'a [String],
    /// The last step that stays done.
    pub keep: Option<&'a str>,
}

/// Why there is no plan for a rollback.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    #[error("the run cannot go back to step `{step}`; it can to: {}", steps.join(", "))]
    Step { step: String, steps: Vec<String> },
    #[error("{} findings block the rollback", .0.len())]
    Blocked(Vec<Finding>),
}

/// Makes the plan that takes the run back, or names what speaks against it.
pub fn roll_back(aftermath: &Aftermath<'_>) -> Result<Plan, RollbackError> {
    let ways = Way::all(aftermath.plan, kept_steps(aftermath)?, aftermath.live);
    let back = Back { aftermath, ways };
    let findings: Vec<Finding> = back.foreign_finding().into_iter().chain(lost_data(aftermath)).collect();
    if !findings.is_empty() {
        return Err(RollbackError::Blocked(findings));
    }
    let Plan { flavour, datastore, daemon_set, runbook, request, from, to, .. } = aftermath.plan.clone();
    let reached = if back.nodes_stay() { to } else { from };
    Ok(Plan {
        format: FORMAT,
        purpose: Purpose::Rollback { run: aftermath.run.to_owned() },
        cluster: aftermath.inventory.cluster.clone(),
        from: to,
        to: reached,
        steps: back.steps(),
        omitted: back.left(),
        findings: Vec::new(),
        kept: Vec::new(),
        daemon_set,
        flavour,
        datastore,
        runbook,
        request,
    })
}

/// How many steps stay done. The nodes and the template of their pods can only go back together.
fn kept_steps(aftermath: &Aftermath<'_>) -> Result<usize, RollbackError> {
    let Some(step) = aftermath.keep else { return Ok(0) };
    let (plan, steps) = (aftermath.plan, &aftermath.plan.steps);
    let has_template = |step: &PlannedStep| step.changes().any(|change| change.object == plan.daemon_set);
    let is_roll = |step: &PlannedStep| matches!(step.desired, Desired::Roll(_));
    let can_stay = |at: usize| !(steps[..=at].iter().any(has_template) && steps[at + 1..].iter().any(is_roll));
    let places: Vec<usize> = (0..steps.len()).filter(|at| can_stay(*at)).collect();
    let found = places.iter().find(|at| steps[**at].name == step);
    found.map(|at| at + 1).ok_or_else(|| RollbackError::Step {
        step: step.to_owned(),
        steps: places.iter().map(|at| steps[*at].name.clone()).collect(),
    })
}

/// An old Calico without its data would start with default pools and no configuration.
fn lost_data(aftermath: &Aftermath<'_>) -> Option<Finding> {
    let there: BTreeSet<&ObjectRef> = aftermath.inventory.third_party.iter().map(|stored| &stored.object).collect();
    let known = aftermath.plan.verification()?.third_party.iter().map(|(object, _)| object);
    let gone: Vec<&ObjectRef> = known.filter(|one| !there.contains(one)).collect();
    if gone.is_empty() || !reads_old_data(aftermath.plan) {
        return None;
    }
    let title = format!("{} objects of the old data are gone", gone.len());
    let finding = Finding::new("CU-P022", Severity::Final { exit: BLOCKED }, title);
    let why =
        format!("Calico {} reads them, and would start without its pools and its configuration", aftermath.plan.from);
    Some(
        finding
            .evidence(gone.iter().take(10).map(ToString::to_string))
            .why(why)
            .now("calico-upgrader restore BACKUP, then the same command again"),
    )
}

/// Answers whether the old release keeps its data where the run copied it from.
pub(super) fn reads_old_data(plan: &Plan) -> bool {
    let copy = plan.runbook.steps.iter().find(|step| step.step == StepKind::CopyResources);
    copy.is_some_and(|step| step.is_needed(plan.from, plan.datastore, plan.flavour))
}

/// The ways of all objects, and what is there now.
pub(super) struct Back<'a> {
    pub aftermath: &'a Aftermath<'a>,
    pub ways: Vec<Way<'a>>,
}

impl<'a> Back<'a> {
    pub(super) fn of(&self, part: Part, place: Place) -> impl Iterator<Item = &Way<'a>> {
        self.ways.iter().filter(move |way| Part::of(way.object.kind) == part && way.place == place)
    }

    /// The DaemonSet, if it or its pods go back.
    fn daemon_set(&self) -> Option<&Way<'a>> {
        let way = self.ways.iter().find(|way| *way.object == self.aftermath.plan.daemon_set)?;
        match way.place {
            Place::Beyond => Some(way),
            Place::There => self.has_new_pods(way).then_some(way),
            Place::Foreign => None,
        }
    }

    /// A DaemonSet that never rolls by itself looks as it was while an earlier rollback still had pods to replace.
    fn has_new_pods(&self, way: &Way<'_>) -> bool {
        let Aftermath { plan, inventory, .. } = self.aftermath;
        let (Some(old), Some(live)) = (way.wanted(), way.live) else { return false };
        let image = node_image_of(old);
        let new = plan.verification().map(|verify| &verify.image).filter(|new| Some(*new) != image.as_ref());
        let mut pods = inventory.nodes.iter().filter_map(|node| node.pod.as_ref());
        let is_frozen = is_same(Some(&frozen(old, live)), Some(live));
        let is_midway = self.aftermath.is_going_back && self.has_template_step_done();
        is_frozen && (is_midway || pods.any(|pod| Some(&pod.image) == new))
    }

    /// Only then did the run replace pods.
    fn has_template_step_done(&self) -> bool {
        let Aftermath { plan, steps_done, .. } = self.aftermath;
        let is_template = |step: &&PlannedStep| step.changes().any(|change| change.object == plan.daemon_set);
        plan.steps.iter().find(is_template).is_some_and(|step| steps_done.contains(&step.name))
    }

    /// Answers whether the nodes are to stay with the new release.
    fn nodes_stay(&self) -> bool {
        let way = self.ways.iter().find(|way| *way.object == self.aftermath.plan.daemon_set);
        way.is_some_and(|way| is_same(way.wanted(), way.last()))
    }

    fn steps(&self) -> Vec<PlannedStep> {
        let changes: Vec<PlannedStep> = [
            self.pull(),
            self.release(),
            self.roll(),
            self.cordons(),
            self.controllers(),
            self.rights(),
            self.data(),
            self.policies(),
        ]
        .into_iter()
        .flatten()
        .collect();
        if changes.is_empty() && self.aftermath.is_over && !self.aftermath.is_going_back {
            return Vec::new();
        }
        let summary = "every object that goes back, as it is now, and all of Calico's data".to_owned();
        let back_up = step("back-up", "Back up", summary, Desired::BackUp);
        [back_up].into_iter().chain(changes).chain(self.verify()).collect()
    }

    /// A run that died while it pulled left its DaemonSet.
    fn pull(&self) -> Option<PlannedStep> {
        let pull = self.aftermath.plan.pull()?;
        let live =
            self.aftermath.live.get(&pull.daemon_set).filter(|live| is_same(Some(&pull.document), Some(live)))?;
        let why = "the run made it to pull images".to_owned();
        let change = ObjectChange { object: pull.daemon_set.clone(), before: Some(live.clone()), after: None, why };
        objects("stop-pulling", "Clean up", "DaemonSet of ours", vec![Stage::Changes(vec![change])])
    }

    /// The DaemonSet stops rolling by itself, then it and what its pods read become as they were.
    fn release(&self) -> Option<PlannedStep> {
        let is_there = |way: &&Way<'_>| way.wanted().is_some() && way.object.kind != Kind::DaemonSet;
        let others: Vec<ObjectChange> =
            self.of(Part::Nodes, Place::Beyond).filter(is_there).map(|way| self.change(way)).collect();
        let others = (!others.is_empty()).then_some(Stage::Changes(others));
        let mut stages = Vec::new();
        match self.templates() {
            None => stages.extend(others),
            Some((way, live, old)) => {
                let frozen = frozen(&live, &live);
                stages.extend(change_stages(way.object, &live, &frozen, "the nodes go back one by one, by us"));
                stages.extend(others);
                stages.extend(change_stages(way.object, &frozen, &self::frozen(&old, &live), BEFORE_THE_RUN));
                stages.push(Stage::UntilObserved(way.object.clone()));
            }
        }
        objects("take-back-release", "Nodes back", "changes, as the release was before the run", stages)
    }

    /// The DaemonSet that goes back, as it is now and as it was.
    fn templates(&self) -> Option<(&Way<'a>, Document, Document)> {
        let way = self.daemon_set()?;
        Some((way, way.live?.clone(), way.wanted()?.clone()))
    }

    fn roll(&self) -> Option<PlannedStep> {
        let (way, live, old) = self.templates()?;
        let frozen = frozen(&old, &live);
        let then = (!is_same(Some(&old), Some(&frozen))).then(|| ObjectChange {
            object: way.object.clone(),
            before: Some(frozen),
            after: Some(old.clone()),
            why: "the update strategy is put back as it was".to_owned(),
        });
        let image = node_image_of(&old)?;
        let roll = Roll { image, order: Order::NewestFirst, then, ..self.aftermath.plan.roll()?.clone() };
        let summary = format!("the nodes that were replaced, {} at a time, the newest first", roll.batch);
        Some(step("roll-nodes-back", "Nodes back", summary, Desired::Roll(roll)))
    }

    /// A run that died at a node left it cordoned.
    fn cordons(&self) -> Option<PlannedStep> {
        let runs = self.aftermath.cordoned_by;
        let is_ours = |run: &String| runs.contains(run);
        let nodes = self.aftermath.inventory.nodes.iter().filter(|node| node.cordoned_by.as_ref().is_some_and(is_ours));
        let count = nodes.count();
        let stages = vec![Stage::Uncordoned(runs.to_vec())];
        let summary = format!("{count} nodes that the run left cordoned");
        (count > 0).then(|| step("uncordon-nodes", "Nodes back", summary, Desired::Objects { stages }))
    }

    /// Those that the run brought go, and only when their pods are gone the old ones come back: never do two run at once.
    fn controllers(&self) -> Option<PlannedStep> {
        let beyond = || self.of(Part::Controllers, Place::Beyond);
        let (back, gone): (Vec<_>, Vec<_>) = beyond().partition(|way| way.wanted().is_some());
        let within_seconds = self.aftermath.plan.request.ready_within_seconds.unwrap_or(CONTROLLERS_WITHIN);
        let pods_of = |way: &&Way<'_>| Stage::UntilGone {
            namespace: way.object.namespace.clone().unwrap_or_default(),
            selector: way.live.map(selector_of).unwrap_or_default(),
            within_seconds,
        };
        let ready = |way: &&Way<'_>| Stage::UntilReady { object: way.object.clone(), within_seconds };
        let changes = |ways: &[&Way<'_>]| {
            (!ways.is_empty()).then(|| Stage::Changes(ways.iter().map(|way| self.change(way)).collect()))
        };
        let runs = |way: &&&Way<'_>| way.wanted().is_some_and(|wanted| replicas(wanted) != 0);
        let stages = changes(&gone).into_iter().chain(gone.iter().map(pods_of)).chain(changes(&back));
        let stages = stages.chain(back.iter().filter(runs).map(ready)).collect();
        objects("take-back-controllers", "Controllers back", "changes, one controller at any time", stages)
    }

    /// New rights are more than the old pods need, so they go after the new pods are gone; so does what only those read.
    fn rights(&self) -> Option<PlannedStep> {
        let only_new = self.of(Part::Nodes, Place::Beyond).filter(|way| way.wanted().is_none());
        let rights = self.of(Part::Rights, Place::Beyond);
        let changes: Vec<ObjectChange> = only_new.chain(rights).map(|way| self.change(way)).collect();
        let stages = (!changes.is_empty()).then_some(Stage::Changes(changes));
        objects("take-back-rights", "Rights back", "changes", stages.into_iter().collect())
    }

    fn data(&self) -> Option<PlannedStep> {
        let changes: Vec<ObjectChange> = self.of(Part::Data, Place::Beyond).map(|way| self.change(way)).collect();
        let stages = (!changes.is_empty()).then_some(Stage::Changes(changes));
        objects("take-back-data", "Data back", "objects of data become as before the run", stages.into_iter().collect())
    }

    /// Denying policies of ours go last: at no time is a namespace more open than before and after.
    fn policies(&self) -> Option<PlannedStep> {
        let beyond = self.of(Part::Policy, Place::Beyond).filter(|way| self.has_namespace(way));
        let (created, removed): (Vec<_>, Vec<_>) =
            beyond.map(|way| self.change(way)).partition(|change| change.after.is_some());
        let stages: Vec<Stage> =
            [created, removed].into_iter().filter(|all| !all.is_empty()).map(Stage::Changes).collect();
        objects("restore-policies", "Policies back", "policies as they were; those created again have new uids", stages)
    }

    /// A policy cannot come back into a namespace that is gone or going.
    pub(super) fn has_namespace(&self, way: &Way<'_>) -> bool {
        let mut namespaces = self.aftermath.inventory.namespaces.iter().filter(|namespace| !namespace.is_terminating);
        way.wanted().is_none() || namespaces.any(|one| Some(&one.name) == way.object.namespace.as_ref())
    }

    fn verify(&self) -> Option<PlannedStep> {
        let Aftermath { plan, inventory, .. } = self.aftermath;
        let way = self.ways.iter().find(|way| *way.object == plan.daemon_set);
        let live = || inventory.installs.iter().find(|install| install.daemon_set == plan.daemon_set);
        let image = match way.and_then(Way::wanted) {
            Some(wanted) => node_image_of(wanted)?,
            None => live()?.node_image.clone(),
        };
        let third_party = inventory.third_party.iter().map(|stored| (stored.object.clone(), stored.digest()));
        let verify = Verify {
            daemon_set: plan.daemon_set.clone(),
            selector: live()?.selector.clone(),
            image,
            isolated: Vec::new(),
            opened: Vec::new(),
            third_party: third_party.collect(),
            controllers: None,
        };
        Some(step("verify", "Verify", "nodes, objects and old data".to_owned(), Desired::Verify(verify)))
    }

    fn change(&self, way: &Way<'_>) -> ObjectChange {
        let (before, after) = (way.live.cloned(), way.wanted().cloned());
        let why = if after.is_some() { BEFORE_THE_RUN } else { "the run created it, and nobody changed it" };
        ObjectChange { object: way.object.clone(), before, after, why: why.to_owned() }
    }
}

fn step(name: &str, phase: &str, summary: String, desired: Desired) -> PlannedStep {
    let undo = match desired {
        Desired::BackUp | Desired::Pull(_) | Desired::Verify(_) => Undo::Nothing,
        Desired::Objects { .. } | Desired::Roll(_) => Undo::Exact,
    };
    PlannedStep { name: name.to_owned(), phase: phase.to_owned(), summary, undo, desired }
}

fn objects(name: &str, phase: &str, what: &str, stages: Vec<Stage>) -> Option<PlannedStep> {
    if stages.is_empty() {
        return None;
    }
    let planned = step(name, phase, String::new(), Desired::Objects { stages });
    Some(PlannedStep { summary: format!("{} {what}", planned.changes().count()), ..planned })
}

/// A DaemonSet that does not roll by itself; the live one itself where it says so already, since the backup holds that.
fn frozen(document: &Document, live: &Document) -> Document {
    let frozen = Document::new(on_delete(document.value()));
    if is_same(Some(&frozen), Some(live)) { live.clone() } else { frozen }
}

/// One change of the DaemonSet, if there is any, and the controller has seen it.
fn change_stages(object: &ObjectRef, before: &Document, after: &Document, why: &str) -> Vec<Stage> {
    if is_same(Some(after), Some(before)) {
        return Vec::new();
    }
    let (before, after) = (Some(before.clone()), Some(after.clone()));
    let change = ObjectChange { object: object.clone(), before, after, why: why.to_owned() };
    vec![Stage::Changes(vec![change]), Stage::UntilObserved(object.clone())]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        check::DRIFT,
        inventory::{ClusterFacts, NamespaceFacts, Stored},
        plan::Request,
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
            order: Order::default(),
            then,
        };
        let third_party = vec![(system(Kind::ThirdPartyIpPool, "pool"), Digest::of(b""))];
        let (isolated, opened) = (Vec::new(), Vec::new());
        let verify =
            Verify { daemon_set: node.clone(), selector, image, isolated, opened, third_party, controllers: None };
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
        assert_eq!(names(&back), [&["back-up"], &order[..]].concat());
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
                vec!["back-up", "take-back-release", "roll-nodes-back", "take-back-rights", "take-back-data"],
            ),
            ("copy-resources", vec!["back-up", "take-back-release", "roll-nodes-back", "take-back-rights"]),
            ("roll-nodes", vec![]),
        ] {
            assert_eq!(names(&back(&plan, &world, Some(keep)).unwrap()), wanted, "{keep}");
        }
        let Err(RollbackError::Step { steps, .. }) = back(&plan, &world, Some("apply-manifests")) else {
            panic!("it must be refused")
        };
        assert_eq!(steps, ["convert-policies", "copy-resources", "roll-nodes", "verify"]);
    }
}
