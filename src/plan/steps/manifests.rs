//! The release's objects, merged with what people changed. Rights and definitions come before the pods that need them, and
//! the DaemonSet stops rolling by itself before its template changes, so that our death would freeze the roll.

use serde_json::{Value, json};

use super::{Draft, controllers};
use crate::{
    check::{Finding, NEEDS_DECISION, Severity},
    plan::{
        Desired, Kept, ObjectChange, PlannedStep, Stage,
        customize::{Conflict, field_name},
        make::Materials,
        merge::Merge,
    },
    resource::{Document, Kind, ObjectRef, differences},
};

/// The order in which kinds are applied.
const ORDER: [Kind; 5] = [
    Kind::CustomResourceDefinition,
    Kind::ServiceAccount,
    Kind::ClusterRole,
    Kind::ClusterRoleBinding,
    Kind::ConfigMap,
];

pub fn apply_manifests(materials: &Materials<'_>, earlier: &[PlannedStep]) -> Draft {
    let mut merged = Merged::default();
    let mut stages = merged
        .stages(materials, |object| !controllers::has_to_do_with(materials, object) && !is_planned(earlier, object));
    let daemon_set = materials.target.objects.iter().find(|(object, _)| object.kind == Kind::DaemonSet);
    let template = daemon_set.and_then(|(object, new)| merged.change(materials, object, new));
    let left_behind = template.as_ref().and_then(old_cni_file);
    stages.extend(template.into_iter().flat_map(frozen_first));
    let count: usize =
        stages.iter().map(|stage| if let Stage::Changes(changes) = stage { changes.len() } else { 0 }).sum();
    let Merged { kept, conflicts } = merged;
    let findings = undecided(&conflicts).into_iter().chain(left_behind).collect();
    if count == 0 && conflicts.is_empty() {
        return Draft { kept, ..Draft::nothing("every object is as the release ships it") };
    }
    let summary = format!("{count} changes, {} hand-made settings kept", kept.len());
    Draft { desired: Some(Desired::Objects { stages }), summary, findings, kept }
}

fn is_planned(earlier: &[PlannedStep], object: &ObjectRef) -> bool {
    earlier.iter().flat_map(PlannedStep::changes).any(|change| change.object == *object)
}

/// What came of the merges of one step, besides the changes.
#[derive(Default)]
pub(super) struct Merged {
    pub kept: Vec<Kept>,
    pub conflicts: Vec<Conflict>,
}

impl Merged {
    /// The changes of the objects that are wanted, one stage for each kind.
    pub fn stages(&mut self, materials: &Materials<'_>, is_wanted: impl Fn(&ObjectRef) -> bool) -> Vec<Stage> {
        let mut stages = Vec::new();
        for kind in ORDER {
            let objects =
                materials.target.objects.iter().filter(|(object, _)| object.kind == kind && is_wanted(object));
            let changes: Vec<_> = objects.filter_map(|(object, new)| self.change(materials, object, new)).collect();
            stages.extend((!changes.is_empty()).then_some(Stage::Changes(changes)));
        }
        stages
    }

    fn change(&mut self, materials: &Materials<'_>, object: &ObjectRef, new: &Document) -> Option<ObjectChange> {
        let why = format!("Calico {} ships it", materials.to);
        let Some(live) = materials.inventory.object(object) else {
            return Some(ObjectChange { object: object.clone(), before: None, after: Some(new.clone()), why });
        };
        // A definition has no settings of people in it, and one that is there stays.
        if object.kind == Kind::CustomResourceDefinition {
            return None;
        }
        let base = materials.base.get(object).map(Document::value);
        let merged = self.merge(materials, object, base.as_ref(), &live.value(), &new.value());
        if differences(&merged, &live.value()).is_empty() {
            return None;
        }
        Some(ObjectChange {
            object: object.clone(),
            before: Some(live.clone()),
            after: Some(Document::new(merged)),
            why,
        })
    }

    pub fn merge(
        &mut self,
        materials: &Materials<'_>,
        object: &ObjectRef,
        base: Option<&Value>,
        live: &Value,
        new: &Value,
    ) -> Value {
        let mut merge = Merge::new(object, &materials.request.preferences, &materials.base.also_published);
        let merged = merge.object(base, live, new);
        self.kept.append(&mut merge.kept);
        self.conflicts.append(&mut merge.conflicts);
        merged
    }
}

/// Splits a change of the DaemonSet: first it stops rolling by itself, then it gets its new template.
fn frozen_first(change: ObjectChange) -> Vec<Stage> {
    let ObjectChange { object, before, after, why } = change;
    let (Some(live), Some(wanted)) = (&before, &after) else {
        return vec![Stage::Changes(vec![ObjectChange { object, before, after, why }])];
    };
    let (frozen, wanted) = (Document::new(on_delete(live.value())), Document::new(on_delete(wanted.value())));
    let mut stages = Vec::new();
    if !differences(&frozen.value(), &live.value()).is_empty() {
        let why = "the nodes shall be replaced one by one, by us".to_owned();
        stages.push(Stage::Changes(vec![ObjectChange {
            object: object.clone(),
            before: before.clone(),
            after: Some(frozen.clone()),
            why,
        }]));
    }
    stages.push(Stage::UntilObserved(object.clone()));
    stages.push(Stage::Changes(vec![ObjectChange {
        object: object.clone(),
        before: Some(frozen),
        after: Some(wanted),
        why,
    }]));
    stages.push(Stage::UntilObserved(object));
    stages
}

/// A new name of the CNI configuration leaves the file of the old name on every node, and the kubelet takes the first by name.
fn old_cni_file(change: &ObjectChange) -> Option<Finding> {
    let (old, new) = (cni_file(change.before.as_ref()?)?, cni_file(change.after.as_ref()?)?);
    if old == new {
        return None;
    }
    let title = format!("every node keeps the CNI configuration {old} beside the new one, {new}");
    let finding = Finding::new("CU-C020", Severity::Advisory, title);
    // Its scripts/install-cni.sh writes the new file and removes none; that came with v2.0.0 (projectcalico/cni-plugin).
    let why =
        "calico/cni of Calico v2.6 does not remove the old file, and the kubelet goes on with the first one by name";
    let now = format!("once all nodes are new, on each node: rm /etc/cni/net.d/{old}");
    Some(finding.why(why).now(now))
}

/// The name under which calico/cni writes its configuration; the default is that of its script.
fn cni_file(document: &Document) -> Option<String> {
    let body = document.value();
    let containers = body.pointer("/spec/template/spec/containers")?.as_array()?;
    let environment = |container: &Value| container["env"].as_array().cloned().unwrap_or_default();
    let installs = |all: &Vec<Value>| all.iter().any(|one| one["name"] == "CNI_NETWORK_CONFIG");
    let variables = containers.iter().map(environment).find(installs)?;
    let name = variables.iter().find(|one| one["name"] == "CNI_CONF_NAME").and_then(|one| one["value"].as_str());
    Some(name.unwrap_or("10-calico.conf").to_owned())
}

fn on_delete(mut body: Value) -> Value {
    body["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    body
}

pub(super) fn undecided(conflicts: &[Conflict]) -> Option<Finding> {
    if conflicts.is_empty() {
        return None;
    }
    let text = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
    let line = |one: &Conflict| {
        let name = field_name(&one.object, &one.path);
        format!("{name}: shipped {}, live {}, new {}", text(&one.base), text(&one.live), text(&one.new))
    };
    let title = format!("{} fields were changed by hand and by the release", conflicts.len());
    let finding =
        Finding::new("CU-C013", Severity::Final { exit: NEEDS_DECISION }, title).evidence(conflicts.iter().map(line));
    let now = "say --keep FIELD or --take FIELD for each, with the names above";
    Some(finding.why("which of the two shall be in force cannot be told from the cluster").now(now))
}
