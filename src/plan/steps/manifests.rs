//! The release's objects, merged with what people changed. Rights and definitions come before the pods that need them, and
//! the DaemonSet stops rolling by itself before its template changes, so that our death would freeze the roll.

use serde_json::{Value, json};

use super::{Draft, immutable};
use crate::{
    check::{Finding, NEEDS_DECISION, Severity},
    plan::{Decision, Desired, ObjectChange, PlannedStep, Stage, Verdict, make::Materials, merge::Merge},
    resource::{Document, Kind, ObjectRef, differences, masked},
};

/// The order in which kinds are applied.
const ORDER: [Kind; 5] = [
    Kind::CustomResourceDefinition,
    Kind::ServiceAccount,
    Kind::ClusterRole,
    Kind::ClusterRoleBinding,
    Kind::ConfigMap,
];

/// What the merge of all objects comes to besides the changes.
#[derive(Default)]
struct Merged {
    decisions: Vec<Decision>,
    findings: Vec<Finding>,
}

pub fn apply_manifests(materials: &Materials<'_>, earlier: &[PlannedStep]) -> Draft {
    let (mut stages, mut merged) = (Vec::new(), Merged::default());
    for kind in ORDER {
        let objects = materials.target.objects.iter().filter(|(object, _)| object.kind == kind);
        let changes: Vec<_> = objects.filter_map(|(object, new)| change(materials, object, new, &mut merged)).collect();
        let changes: Vec<_> = changes.into_iter().filter(|change| !is_planned(earlier, &change.object)).collect();
        stages.extend((!changes.is_empty()).then_some(Stage::Changes(changes)));
    }
    let daemon_set = materials.target.objects.iter().find(|(object, _)| object.kind == Kind::DaemonSet);
    let template = daemon_set.and_then(|(object, new)| change(materials, object, new, &mut merged));
    stages.extend(template.into_iter().flat_map(frozen_first));
    let count: usize =
        stages.iter().map(|stage| if let Stage::Changes(changes) = stage { changes.len() } else { 0 }).sum();
    let Merged { decisions, mut findings } = merged;
    findings.extend(undecided(&decisions));
    findings.extend(unasked(materials, &decisions));
    let kept: Vec<_> = decisions.iter().filter_map(Decision::kept).collect();
    if count == 0 && findings.is_empty() {
        return Draft { kept, ..Draft::nothing("every object is as the release ships it") };
    }
    let summary = format!("{count} changes, {} hand-made settings kept", kept.len());
    Draft { desired: Some(Desired::Objects { stages }), summary, findings, kept }
}

/// The DaemonSet as it is and as the release wants it, if the two differ; what is undecided in it blocks the plan elsewhere.
pub(super) fn daemon_set_change(materials: &Materials<'_>) -> Option<ObjectChange> {
    let (object, new) = materials.target.objects.iter().find(|(object, _)| object.kind == Kind::DaemonSet)?;
    change(materials, object, new, &mut Merged::default())
}

/// Decides every field of every object, and nothing else.
pub fn decisions(materials: &Materials<'_>) -> Vec<Decision> {
    let mut merged = Merged::default();
    for (object, new) in &materials.target.objects {
        change(materials, object, new, &mut merged);
    }
    merged.decisions
}

fn is_planned(earlier: &[PlannedStep], object: &ObjectRef) -> bool {
    earlier.iter().flat_map(PlannedStep::changes).any(|change| change.object == *object)
}

fn change(materials: &Materials<'_>, object: &ObjectRef, new: &Document, merged: &mut Merged) -> Option<ObjectChange> {
    let why = format!("Calico {} ships it", materials.to);
    let Some(live) = materials.inventory.object(object) else {
        merged.decisions.push(created(materials, object, new));
        return Some(ObjectChange { object: object.clone(), before: None, after: Some(new.clone()), why });
    };
    // A definition has no settings of people in it, and one that is there stays.
    if object.kind == Kind::CustomResourceDefinition {
        return None;
    }
    let (was, is) = (materials.base.get(object).map(Document::value), live.value());
    let mut merge = Merge::new(object, &materials.request.preferences, &materials.base.also_published);
    let after = merge.object(was.as_ref(), &is, &new.value());
    merged.decisions.append(&mut merge.decisions);
    merged.findings.extend(immutable::findings(object, &is, &new.value(), &after));
    if differences(&after, &is).is_empty() {
        return None;
    }
    Some(ObjectChange { object: object.clone(), before: Some(live.clone()), after: Some(Document::new(after)), why })
}

fn created(materials: &Materials<'_>, object: &ObjectRef, new: &Document) -> Decision {
    let base = materials.base.get(object).map(Document::value);
    let new = Some(new.value());
    let (object, path, after) = (object.clone(), String::new(), new.clone());
    Decision { object, path, base, live: None, new, after, verdict: Verdict::Added }
}

/// Splits a change of the DaemonSet: first it stops rolling by itself, then it gets its new template.
pub fn frozen_first(change: ObjectChange) -> Vec<Stage> {
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

/// A DaemonSet that does not roll by itself.
pub fn on_delete(mut body: Value) -> Value {
    body["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    body
}

fn undecided(decisions: &[Decision]) -> Option<Finding> {
    let open: Vec<_> = decisions.iter().filter(|one| one.verdict == Verdict::Asked).collect();
    if open.is_empty() {
        return None;
    }
    let line = |one: &&Decision| {
        let text = |value: &Option<Value>| {
            value.as_ref().map_or("nothing".to_owned(), |value| masked(&one.path, value).to_string())
        };
        format!("{}: shipped {}, live {}, new {}", one.field(), text(&one.base), text(&one.live), text(&one.new))
    };
    let title = format!("{} fields were changed by hand and by the release", open.len());
    let finding =
        Finding::new("CU-C013", Severity::Final { exit: NEEDS_DECISION }, title).evidence(open.iter().map(line));
    let now = "say --keep FIELD or --take FIELD for each, with the names above; or all in a file: \
               calico-upgrader plan --write-decisions FILE, then --decisions FILE";
    Some(finding.why("which of the two shall be in force cannot be told from the cluster").now(now))
}

/// Names what was decided and not asked: a decision of another time must not be taken for one of today.
fn unasked(materials: &Materials<'_>, decisions: &[Decision]) -> Option<Finding> {
    // Where the release is installed already, it changes no field and so asks nothing; what was said is done.
    if materials.installed.release == materials.to {
        return None;
    }
    let stale = materials.request.preferences.unasked(decisions);
    let line = |field: &&str| match decisions.iter().find(|one| one.field() == **field) {
        Some(one) => format!("{field}: nothing to decide, it is {}", one.verdict.words()),
        None => format!("{field}: the same everywhere, or no field of the release's objects"),
    };
    let title = format!("{} decisions match no field that is asked for", stale.len());
    let finding = Finding::new("CU-C016", Severity::Final { exit: NEEDS_DECISION }, title);
    let why = "a decision that was made for another state of the cluster must not pass for one of today";
    let now = "calico-upgrader diff, then take these out of --decisions, --keep and --take";
    (!stale.is_empty()).then(|| finding.evidence(stale.iter().map(line)).why(why).now(now))
}
