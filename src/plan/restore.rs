//! Objects become again what a backup says of them: each is compared, and what is missing or differs is created or replaced.
//!
//! Nothing is ever deleted: what is live and not in the backup is left. Every object has a verdict with its reason.

mod bodies;
mod daemon_set;
mod keys;
mod order;
mod select;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Desired, FORMAT, ObjectChange, Omitted, Plan, PlannedStep, Purpose, Request, Undo, Verify,
    steps::{self, Draft},
};
use crate::{
    inventory::{Datastore, Fact, Flavour, Inventory},
    resource::{Difference, Digest, Document, Kind, ObjectRef, differences},
    runbook::{Range, Runbook},
    version::Version,
};

pub use daemon_set::NO_ROLL;
pub use keys::{AskedKeys, ComparedKeys, KeyBeside, KeyPlanner};
pub use select::{Unmatched, select};

/// The name of the step that makes the changes.
const STEP: &str = "restore-objects";

/// All that a restore is decided from.
pub struct Materials<'a> {
    pub digest: &'a Digest,
    pub backup: &'a BTreeMap<ObjectRef, Document>,
    /// Objects of the backup that were being deleted when it was made.
    pub was_terminating: &'a BTreeSet<ObjectRef>,
    /// The objects that were asked for; all of them if none was named.
    pub only: Option<&'a BTreeSet<ObjectRef>>,
    /// Those of them that were named one by one, and not by their kind.
    pub named: &'a BTreeSet<ObjectRef>,
    /// What is in the cluster of the objects that the backup names, and of their namespaces.
    pub live: &'a BTreeMap<ObjectRef, Document>,
    /// Live objects that are being deleted.
    pub terminating: &'a BTreeSet<ObjectRef>,
    pub served: &'a BTreeSet<Kind>,
    /// The uids of owners that are alive.
    pub owners: &'a BTreeSet<String>,
    pub nodes: Nodes,
    pub inventory: &'a Inventory,
}

/// What runs on the nodes now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// The images of the pods of calico-node.
    pub images: BTreeSet<String>,
    /// Every node runs what the DaemonSet says now.
    pub are_current: bool,
}

/// What is to be done about one object of the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the cluster as in the backup.
    Same,
    Create {
        after: Document,
    },
    Replace {
        before: Document,
        after: Document,
    },
    /// It is not restored, and this is why.
    Skipped {
        why: String,
    },
}

/// One object of the backup beside what is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    pub object: ObjectRef,
    pub verdict: Verdict,
    /// In what the object will differ from the backup, and what follows from its change.
    pub notes: Vec<String>,
    pub is_live: bool,
    /// What is live against what is in the backup.
    pub fields: Vec<Difference>,
}

/// Compares every object that was asked for, and those that it needs, with what is live.
pub fn compare(materials: &Materials<'_>) -> Vec<Compared> {
    let is_wanted = |object: &ObjectRef| materials.only.is_none_or(|only| only.contains(object));
    let (frame, content): (Vec<_>, Vec<_>) = materials.backup.iter().partition(|(object, _)| is_frame(object.kind));
    let content = content.into_iter().filter(|(object, _)| is_wanted(object));
    let mut all: Vec<Compared> = content.map(|(object, document)| compare_one(materials, object, document)).collect();
    let needed = needed(materials, &all);
    let frame = frame.into_iter().filter(|(object, _)| is_wanted(object) || needed.contains(object));
    all.extend(frame.map(|(object, document)| compare_frame(materials, object, document, &needed)));
    all.sort_by(|one, other| one.object.cmp(&other.object));
    all
}

/// Namespaces and definitions: they are there for other objects.
fn is_frame(kind: Kind) -> bool {
    matches!(kind, Kind::Namespace | Kind::CustomResourceDefinition)
}

fn compare_one(materials: &Materials<'_>, object: &ObjectRef, document: &Document) -> Compared {
    let live = materials.live.get(object);
    let (wanted, mut notes) = bodies::wanted(materials, object, document, live);
    let fields = fields(&wanted, live);
    let verdict = match obstacle(materials, object, &wanted, live) {
        Some(why) => Verdict::Skipped { why },
        None if object.kind == Kind::DaemonSet => daemon_set::verdict(&materials.nodes, &wanted, live, &mut notes),
        None => verdict(wanted, live),
    };
    notes.extend(order::warning(object, &verdict));
    Compared { object: object.clone(), verdict, notes, is_live: live.is_some(), fields }
}

/// What is live against what the backup says.
fn fields(wanted: &Document, live: Option<&Document>) -> Vec<Difference> {
    let live = live.filter(|live| wanted != *live);
    live.map(|live| differences(&wanted.value(), &live.value())).unwrap_or_default()
}

fn verdict(wanted: Document, live: Option<&Document>) -> Verdict {
    match live {
        None => Verdict::Create { after: wanted },
        Some(live) if is_same(&wanted, live) => Verdict::Same,
        Some(live) => Verdict::Replace { before: live.clone(), after: wanted },
    }
}

fn is_same(wanted: &Document, live: &Document) -> bool {
    wanted == live || differences(&wanted.value(), &live.value()).is_empty()
}

/// Why an object cannot be restored, if it differs at all.
fn obstacle(
    materials: &Materials<'_>,
    object: &ObjectRef,
    wanted: &Document,
    live: Option<&Document>,
) -> Option<String> {
    if live.is_some_and(|live| is_same(wanted, live)) {
        return materials.terminating.contains(object).then(|| "it is being deleted".to_owned());
    }
    order::place(object, wanted, live)
        .is_none()
        .then(|| "objects of this kind are not restored".to_owned())
        .or_else(|| materials.was_terminating.contains(object).then(|| "it was being deleted already".to_owned()))
        .or_else(|| materials.terminating.contains(object).then(|| "it is being deleted".to_owned()))
        .or_else(|| namespace_obstacle(materials, object))
        .or_else(|| kind_obstacle(materials, object.kind))
        .or_else(|| live.and_then(|live| bodies::fixed_field(object.kind, wanted, live)))
        .or_else(|| live.and_then(|live| bodies::rights_in_use(materials, object, wanted, live)))
}

fn namespace_obstacle(materials: &Materials<'_>, object: &ObjectRef) -> Option<String> {
    let name = object.namespace.as_ref()?;
    let namespace = ObjectRef::cluster(Kind::Namespace, name);
    if materials.terminating.contains(&namespace) {
        return Some(format!("namespace {name} is being deleted"));
    }
    if materials.live.contains_key(&namespace) {
        return None;
    }
    if !materials.backup.contains_key(&namespace) {
        return Some(format!("namespace {name} is gone, and the backup does not hold it"));
    }
    let was_going = materials.was_terminating.contains(&namespace);
    was_going.then(|| format!("namespace {name} was being deleted when the backup was made"))
}

fn kind_obstacle(materials: &Materials<'_>, kind: Kind) -> Option<String> {
    if materials.served.contains(&kind) || definition_of(materials, kind).is_some() {
        return None;
    }
    let of_backup = if kind.is_custom() { ", and the backup has no definition of it" } else { "" };
    Some(format!("this API server does not serve {kind}{of_backup}"))
}

/// The definition of a custom resource, if the backup holds it.
fn definition_of(materials: &Materials<'_>, kind: Kind) -> Option<ObjectRef> {
    if !kind.is_custom() {
        return None;
    }
    let is_of_kind = |document: &Document| {
        let spec = &document.value()["spec"];
        spec["group"] == "crd.projectcalico.org" && spec["names"]["kind"] == kind.name()
    };
    let mut definitions = materials.backup.iter().filter(|(object, _)| object.kind == Kind::CustomResourceDefinition);
    definitions.find(|(_, document)| is_of_kind(document)).map(|(object, _)| object.clone())
}

/// The namespaces and definitions that the objects to be created cannot do without.
fn needed(materials: &Materials<'_>, compared: &[Compared]) -> BTreeSet<ObjectRef> {
    let created = || compared.iter().filter(|one| matches!(one.verdict, Verdict::Create { .. }));
    let namespaces = created().filter_map(|one| one.object.namespace.as_ref());
    let namespaces = namespaces.map(|name| ObjectRef::cluster(Kind::Namespace, name));
    let kinds: BTreeSet<Kind> = created().map(|one| one.object.kind).collect();
    let definitions = kinds.into_iter().filter(|kind| !materials.served.contains(kind));
    namespaces.chain(definitions.filter_map(|kind| definition_of(materials, kind))).collect()
}

fn compare_frame(
    materials: &Materials<'_>,
    object: &ObjectRef,
    document: &Document,
    needed: &BTreeSet<ObjectRef>,
) -> Compared {
    let live = materials.live.get(object);
    let (wanted, notes) = bodies::wanted(materials, object, document, live);
    let fields = fields(&wanted, live);
    let is_asked_for = materials.only.is_some_and(|only| only.contains(object));
    let is_needed = needed.contains(object) || is_asked_for || object.kind == Kind::CustomResourceDefinition;
    let skipped = |why: &str| Verdict::Skipped { why: why.to_owned() };
    let verdict = match live {
        _ if materials.terminating.contains(object) => skipped("it is being deleted"),
        Some(_) if fields.is_empty() => Verdict::Same,
        Some(_) => skipped("one that is there is not changed"),
        None if materials.was_terminating.contains(object) => skipped("it was being deleted already"),
        None if !materials.served.contains(&object.kind) => skipped("this API server does not serve its kind"),
        None if is_needed => Verdict::Create { after: wanted },
        None => skipped("no object that is restored needs it"),
    };
    Compared { object: object.clone(), verdict, notes, is_live: live.is_some(), fields }
}

/// Counts what is live, of the kinds that a backup holds whole, and not in the backup: it is left. Of keys their number is known.
pub fn left(backup: &BTreeMap<ObjectRef, Document>, inventory: &Inventory, keys: usize) -> BTreeMap<Kind, usize> {
    let policies = inventory.namespaces.iter().flat_map(|namespace| &namespace.policies);
    let mut counts = BTreeMap::new();
    let stored = inventory.third_party.iter().chain(&inventory.custom).chain(policies).map(|stored| &stored.object);
    for object in stored.filter(|object| !backup.contains_key(*object)) {
        *counts.entry(object.kind).or_default() += 1;
    }
    counts.extend((keys > 0).then_some((Kind::EtcdKey, keys)));
    counts
}

/// Makes the plan of a restore; one without steps if there is nothing to restore. The lines of keys go over into it.
pub fn make(materials: &Materials<'_>, compared: &[Compared], keys: &mut ComparedKeys) -> Plan {
    let inventory = materials.inventory;
    let release = installed_release(inventory);
    let daemon_set = daemon_set_of(materials);
    Plan {
        format: FORMAT,
        purpose: Purpose::Restore { backup: materials.digest.clone() },
        cluster: inventory.cluster.clone(),
        flavour: inventory.installs.first().and_then(|one| one.flavour.known()).copied().unwrap_or(Flavour::Networking),
        datastore: datastore_of(inventory),
        from: release,
        to: release,
        runbook: without_runbook(release),
        request: Request::default(),
        steps: steps_of(compared, keys, &daemon_set, inventory),
        omitted: compared.iter().chain(&keys.skipped).filter_map(omitted).collect(),
        findings: Vec::new(),
        kept: Vec::new(),
        daemon_set,
    }
}

fn datastore_of(inventory: &Inventory) -> Datastore {
    inventory.installs.first().and_then(|one| one.datastore.known()).copied().unwrap_or_default()
}

/// A restore is not about a release, and no screen of it names one: an unknown release stops nothing here.
fn installed_release(inventory: &Inventory) -> Version {
    match inventory.installs.first().map(|install| &install.release) {
        Some(Fact::Known(release)) => *release,
        Some(Fact::Unknown { .. }) | None => Version::new(0, 0, 0),
    }
}

/// No runbook leads here: the plan says so with one that has no steps.
fn without_runbook(release: Version) -> Runbook {
    Runbook {
        avoid: BTreeMap::new(),
        target: release.line(),
        from: Range { at_least: release, at_most: Some(release) },
        source: "a backup".to_owned(),
        tested: Vec::new(),
        steps: Vec::new(),
    }
}

/// The DaemonSet that runs, or else the one of the backup.
fn daemon_set_of(materials: &Materials<'_>) -> ObjectRef {
    let live = materials.inventory.installs.first().map(|install| install.daemon_set.clone());
    let kept = || materials.backup.keys().find(|object| object.kind == Kind::DaemonSet).cloned();
    live.or_else(kept).unwrap_or_else(|| ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node"))
}

fn omitted(compared: &Compared) -> Option<Omitted> {
    match &compared.verdict {
        Verdict::Skipped { why } => Some(Omitted { name: compared.object.to_string(), why: why.clone() }),
        Verdict::Same | Verdict::Create { .. } | Verdict::Replace { .. } => None,
    }
}

fn steps_of(
    compared: &[Compared],
    keys: &mut ComparedKeys,
    daemon_set: &ObjectRef,
    inventory: &Inventory,
) -> Vec<PlannedStep> {
    let changes: Vec<ObjectChange> = compared.iter().filter_map(change).collect();
    let count = changes.len() + keys.changes();
    if count == 0 {
        return Vec::new();
    }
    let drafted = steps::back_up(datastore_of(inventory), &Request::default());
    let Draft { desired, summary, .. } = drafted;
    let step = |name: &str, phase: &str, summary: String, undo: Undo, desired: Desired| PlannedStep {
        name: name.to_owned(),
        phase: phase.to_owned(),
        summary,
        undo,
        desired,
    };
    let verify = Verify {
        daemon_set: daemon_set.clone(),
        selector: String::new(),
        image: String::new(),
        isolated: Vec::new(),
        opened: Vec::new(),
        third_party: Vec::new(),
        controllers: None,
    };
    let objects = Desired::Objects { stages: order::stages(changes, std::mem::take(&mut keys.places)) };
    let told = format!("{count} objects become again what the backup says");
    vec![
        step("back-up", "Back up", summary, Undo::Nothing, desired.unwrap_or(Desired::BackUp)),
        step(STEP, "Restore", told, Undo::Exact, objects),
        step("verify", "Verify", "objects against the backup".to_owned(), Undo::Nothing, Desired::Verify(verify)),
    ]
}

fn change(compared: &Compared) -> Option<ObjectChange> {
    let notes = compared.notes.iter().map(|note| format!("; {note}")).collect::<String>();
    let object = compared.object.clone();
    match &compared.verdict {
        Verdict::Same | Verdict::Skipped { .. } => None,
        Verdict::Create { after } => Some(ObjectChange {
            object,
            before: None,
            after: Some(after.clone()),
            why: format!("it is missing{notes}"),
        }),
        Verdict::Replace { before, after } => Some(ObjectChange {
            object,
            before: Some(before.clone()),
            after: Some(after.clone()),
            why: format!("it is not as in the backup{notes}"),
        }),
    }
}

#[cfg(test)]
mod tests;
