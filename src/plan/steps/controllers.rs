//! Calico's controllers on etcd: the old one stops and is gone before the new one starts, so that two never run at once.
//!
//! The old object stays, with no replicas, as upstream's stub for the renamed controllers has it: so it can be brought back
//! exactly. What people changed of the old one is carried over to the new one, which has another name from v2.6 on.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Draft, manifests::Merged, restart};
use crate::{
    plan::{Controllers, Desired, ObjectChange, PlannedStep, Stage, make::Materials, recreation::stages_of},
    resource::{Document, Kind, ObjectRef, differences, selector_of},
    runbook::{StepKind, runs_controllers},
};

/// How long the old pods may take to go, and the new one to get ready, by default.
pub const WITHIN: u64 = 600;

/// What runs the controllers before v2.6, and the label of its pods.
const OLD_NAMES: [&str; 2] = ["calico-policy-controller", "calico-policy"];

pub fn replace_controllers(materials: &Materials<'_>, earlier: &[PlannedStep]) -> Draft {
    let Some((object, new)) = shipped(materials) else {
        return Draft::nothing("this release has no controllers for the datastore");
    };
    let mut merged = Merged::default();
    let mut stages = merged.stages(materials, |other| has_to_do_with(materials, other));
    let live = materials.inventory.object(object);
    let wanted = wanted(materials, object, new, &mut merged).value();
    let changes = earlier.iter().flat_map(PlannedStep::changes).chain(stages.iter().flat_map(Stage::changes));
    let wanted = Document::new(live.map_or(wanted.clone(), |live| restart::marked(wanted, &live.value(), changes)));
    let is_as_wanted = live.is_some_and(|live| differences(&wanted.value(), &live.value()).is_empty());
    let is_alone = !others(materials).any(|(_, document)| replicas(document) != 0);
    if !is_as_wanted || !is_alone {
        stages.extend(replacement(materials, object, live, wanted));
    }
    let (kept, findings) = merged.conclude();
    if stages.is_empty() && findings.is_empty() {
        return Draft { kept, ..Draft::nothing("one controller runs, as the release ships it") };
    }
    let stopped = others(materials).filter(|(_, document)| replicas(document) != 0).count();
    let summary = match (stopped, live) {
        (0, Some(_)) => format!("{} stops, then starts as the release ships it", object.name),
        _ => format!("{stopped} old controllers stop, then {} starts", object.name),
    };
    Draft { desired: Some(Desired::Objects { stages }), summary, findings, kept }
}

/// Answers whether an object of the release belongs to this step: the new pod needs it, or reads it when it starts. Where the manifests
/// come first, they have it all.
pub fn has_to_do_with(materials: &Materials<'_>, object: &ObjectRef) -> bool {
    let is_taken = materials.takes_before(StepKind::ReplaceControllers, StepKind::ApplyManifests);
    let is_for_all = matches!(object.kind, Kind::ConfigMap | Kind::CustomResourceDefinition);
    let is_needed = |(shipped, _): &(ObjectRef, Document)| is_for_all || object.name == shipped.name;
    is_taken && shipped(materials).is_some_and(is_needed)
}

/// What must hold of the controllers at the end, where the release has any.
pub fn claim(materials: &Materials<'_>) -> Option<Controllers> {
    let (object, new) = shipped(materials)?;
    let wanted = wanted(materials, object, new, &mut Merged::default());
    let selector = selector_of(&wanted.value());
    let stopped: BTreeSet<String> = others(materials).map(|(_, document)| selector_of(&document.value())).collect();
    let stopped = stopped.into_iter().filter(|one| *one != selector).collect();
    let image = wanted.value().pointer("/spec/template/spec/containers/0/image")?.as_str()?.to_owned();
    Some(Controllers { object: object.clone(), selector, image, stopped })
}

/// The object that the release ships for the controllers.
fn shipped<'a>(materials: &'a Materials<'_>) -> Option<&'a (ObjectRef, Document)> {
    materials
        .target
        .objects
        .iter()
        .find(|(object, document)| object.kind == Kind::Deployment && runs_controllers(document))
}

/// What runs controllers besides the object that the release ships, as it was found.
fn others<'a>(materials: &'a Materials<'_>) -> impl Iterator<Item = (&'a ObjectRef, &'a Document)> {
    let shipped = shipped(materials).map(|(object, _)| object);
    let found = materials.installed.install.controllers.iter().filter(move |object| Some(*object) != shipped);
    found.filter_map(|object| Some((object, materials.inventory.object(object)?)))
}

/// The object as it shall be: merged with its live form or, where there is none, with that of its predecessor.
pub(super) fn wanted(materials: &Materials<'_>, object: &ObjectRef, new: &Document, merged: &mut Merged) -> Document {
    let before = materials.inventory.object(object).map(Document::value);
    let predecessor = || others(materials).find(|(old, _)| OLD_NAMES.contains(&old.name.as_str()));
    let base = |name: &str| {
        let named = |(other, _): &&(ObjectRef, Document)| other.kind == Kind::Deployment && other.name == name;
        materials.base.objects.iter().find(named).map(|(_, document)| without_count(document.value()))
    };
    let new = &without_count(new.value());
    let body = match (before, predecessor()) {
        (Some(live), _) => merged.merge(materials, object, base(&object.name).as_ref(), &without_count(live), new),
        (None, Some((_, live))) => {
            let base = base(OLD_NAMES[0]).map(|base| renamed(base, &object.name));
            let live = without_count(renamed(live.value(), &object.name));
            merged.merge(materials, object, base.as_ref(), &live, new)
        }
        (None, None) => new.clone(),
    };
    Document::new(alone(body))
}

/// How many run, and how one follows another, is not for people to choose: two would undo each other's work.
fn without_count(mut body: Value) -> Value {
    if let Some(Value::Object(spec)) = body.get_mut("spec") {
        spec.remove("replicas");
        spec.remove("strategy");
    }
    body
}

fn alone(mut body: Value) -> Value {
    body["spec"]["replicas"] = json!(1);
    body["spec"]["strategy"] = json!({"type": "Recreate"});
    body
}

/// Gives the old object the names that the new one has, so that what is left to tell them apart was changed on purpose.
fn renamed(mut value: Value, name: &str) -> Value {
    if let Some(Value::Object(annotations)) = value.pointer_mut("/metadata/annotations") {
        // kubectl's note of what was applied is about the old object.
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    rename(&mut value, name);
    value
}

fn rename(value: &mut Value, name: &str) {
    match value {
        Value::String(text) if OLD_NAMES.contains(&text.as_str()) => name.clone_into(text),
        Value::Object(fields) => {
            if let Some(Value::String(image)) = fields.get_mut("image") {
                *image = image.replace("/kube-policy-controller", "/kube-controllers");
            }
            fields.values_mut().for_each(|field| rename(field, name));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// All that run stop, all their pods go, and only then is the one created or given its new form.
fn replacement(materials: &Materials<'_>, object: &ObjectRef, live: Option<&Document>, wanted: Document) -> Vec<Stage> {
    let within_seconds = materials.request.ready_within_seconds.unwrap_or(WITHIN);
    let all = || others(materials).chain(live.map(|live| (object, live)));
    let stops = all().filter(|(_, document)| replicas(document) != 0).map(|(object, before)| ObjectChange {
        object: object.clone(),
        before: Some(before.clone()),
        after: Some(Document::new(stopped(before))),
        why: "two controllers must never run at once".to_owned(),
    });
    let mut stages = vec![Stage::Changes(stops.collect())];
    let selectors: BTreeSet<String> = all().map(|(_, document)| selector_of(&document.value())).collect();
    let namespace = object.namespace.clone().unwrap_or_default();
    let gone = |selector| Stage::UntilGone { namespace: namespace.clone(), selector, within_seconds };
    stages.extend(selectors.into_iter().map(gone));
    let before = live.map(|live| if replicas(live) == 0 { live.clone() } else { Document::new(stopped(live)) });
    let why = format!("Calico {} ships it", materials.to);
    stages.extend(stages_of(vec![ObjectChange { object: object.clone(), before, after: Some(wanted), why }]));
    stages.push(Stage::UntilReady { object: object.clone(), within_seconds });
    stages
}

/// The form in which it runs no pod.
pub fn stopped(document: &Document) -> Value {
    let mut body = document.value();
    body["spec"]["replicas"] = json!(0);
    body
}

pub fn replicas(document: &Document) -> u64 {
    document.value().pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)
}
