//! The release's objects, merged with what people changed. Rights and definitions come before the pods that need them, and
//! the DaemonSet stops rolling by itself before its template changes, so that our death would freeze the roll.

use serde_json::{Value, json};

use super::{Draft, controllers, immutable, restart};
use crate::{
    check::{BLOCKED, Finding, NEEDS_DECISION, Severity},
    inventory::Datastore,
    plan::{
        Decision, Desired, Kept, ObjectChange, PlannedStep, Stage, Verdict,
        make::{Installed, Materials},
        merge::Merge,
        recreation::{Recreation, is_fixed, stages_of},
    },
    resource::{Document, Kind, ObjectRef, differences, is_whole_definition, masked_field},
    runbook::runs_controllers,
};

/// The order in which kinds are applied.
const ORDER: [Kind; 7] = [
    Kind::CustomResourceDefinition,
    Kind::PodDisruptionBudget,
    Kind::ServiceAccount,
    Kind::ClusterRole,
    Kind::ClusterRoleBinding,
    Kind::ConfigMap,
    Kind::Service,
];

pub fn apply_manifests(materials: &Materials<'_>, earlier: &[PlannedStep]) -> Draft {
    let mut merged = Merged::default();
    let mut stages = merged
        .stages(materials, |object| !controllers::has_to_do_with(materials, object) && !is_planned(earlier, object));
    stages.extend(merged.typha(materials));
    let daemon_set = materials.target.objects.iter().find(|(object, _)| object.kind == Kind::DaemonSet);
    let template = daemon_set.and_then(|(object, new)| merged.change(materials, object, new));
    let changes = || earlier.iter().flat_map(PlannedStep::changes).chain(stages.iter().flat_map(Stage::changes));
    let template = daemon_set.and_then(|(object, _)| reading_anew(materials, object, template, changes()));
    let left_behind = template.as_ref().and_then(old_cni_file);
    stages.extend(template.into_iter().flat_map(frozen_first));
    let count = stages.iter().flat_map(Stage::changes).count();
    let (kept, mut findings) = merged.conclude();
    findings.extend(unasked(materials, &decisions(materials)));
    findings.extend(left_behind);
    if count == 0 && findings.is_empty() {
        return Draft { kept, ..Draft::nothing("every object is as the release ships it") };
    }
    let anew = stages.iter().flat_map(Stage::changes).filter(|change| change.recreated_for().is_some()).count();
    let anew = if anew == 0 { String::new() } else { format!(", {anew} objects made anew") };
    let summary = format!("{count} changes{anew}, {} hand-made settings kept", kept.len());
    Draft { desired: Some(Desired::Objects { stages }), summary, findings, kept }
}

/// The change of the DaemonSet, or one that only makes its pods read changed values anew.
fn reading_anew<'c>(
    materials: &Materials<'_>,
    object: &ObjectRef,
    change: Option<ObjectChange>,
    changes: impl Iterator<Item = &'c ObjectChange>,
) -> Option<ObjectChange> {
    let Some(live) = materials.inventory.object(object) else { return change };
    let wanted = change.as_ref().and_then(|change| change.after.as_ref()).unwrap_or(live).value();
    let after = restart::marked(wanted, &live.value(), changes);
    if differences(&after, &live.value()).is_empty() {
        return None;
    }
    let why = change.map_or("its pods read what changes of the ConfigMap when they start".to_owned(), |one| one.why);
    Some(ObjectChange { object: object.clone(), before: Some(live.clone()), after: Some(Document::new(after)), why })
}

/// The DaemonSet as it is and as the release wants it, if the two differ; what is undecided in it blocks the plan elsewhere.
pub(super) fn daemon_set_change(materials: &Materials<'_>) -> Option<ObjectChange> {
    let (object, new) = materials.target.objects.iter().find(|(object, _)| object.kind == Kind::DaemonSet)?;
    Merged::default().change(materials, object, new)
}

/// Decides every field of every object, and nothing else.
pub fn decisions(materials: &Materials<'_>) -> Vec<Decision> {
    let mut merged = Merged::default();
    for (object, new) in &materials.target.objects {
        match object.kind {
            // The controllers had another name before v2.6, and are merged with what bore it.
            Kind::Deployment if runs_controllers(new) => drop(controllers::wanted(materials, object, new, &mut merged)),
            _ => drop(merged.change(materials, object, new)),
        }
    }
    merged.decisions
}

fn is_planned(earlier: &[PlannedStep], object: &ObjectRef) -> bool {
    earlier.iter().flat_map(PlannedStep::changes).any(|change| change.object == *object)
}

/// What came of the merges of one step, besides the changes.
#[derive(Default)]
pub(super) struct Merged {
    decisions: Vec<Decision>,
    findings: Vec<Finding>,
}

impl Merged {
    /// The changes of the objects that are wanted, one stage for each kind.
    pub fn stages(&mut self, materials: &Materials<'_>, is_wanted: impl Fn(&ObjectRef) -> bool) -> Vec<Stage> {
        let mut stages = Vec::new();
        for kind in ORDER {
            let objects =
                materials.target.objects.iter().filter(|(object, _)| object.kind == kind && is_wanted(object));
            stages.extend(stages_of(objects.filter_map(|(object, new)| self.change(materials, object, new)).collect()));
        }
        stages
    }

    /// Typha, which the nodes of both releases talk to: it is new before the first of them is.
    fn typha(&mut self, materials: &Materials<'_>) -> Vec<Stage> {
        let is_typha =
            |(object, new): &&(ObjectRef, Document)| object.kind == Kind::Deployment && !runs_controllers(new);
        let within_seconds = materials.request.ready_within_seconds.unwrap_or(controllers::WITHIN);
        let mut stages = Vec::new();
        for (object, new) in materials.target.objects.iter().filter(is_typha) {
            let Some(change) = self.change(materials, object, new) else { continue };
            stages.extend(stages_of(vec![change]));
            stages.push(Stage::UntilReady { object: object.clone(), within_seconds });
        }
        stages
    }

    fn change(&mut self, materials: &Materials<'_>, object: &ObjectRef, new: &Document) -> Option<ObjectChange> {
        let why = format!("Calico {} ships it", materials.to);
        let Some(live) = materials.inventory.object(object) else {
            self.decisions.push(created(materials, object, new));
            self.findings.extend(lost_config(materials, object));
            return Some(ObjectChange { object: object.clone(), before: None, after: Some(new.clone()), why });
        };
        if object.kind == Kind::CustomResourceDefinition {
            return newer_definition(object, live, new).map(|(before, after)| ObjectChange {
                object: object.clone(),
                before: Some(before),
                after: Some(after),
                why,
            });
        }
        let base = materials.base.get(object).map(Document::value);
        let after = self.merge(materials, object, base.as_ref(), &live.value(), &new.value());
        if differences(&after, &live.value()).is_empty() {
            return None;
        }
        Some(ObjectChange {
            object: object.clone(),
            before: Some(live.clone()),
            after: Some(Document::new(after)),
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
        let after = merge.object(base, live, new);
        let said = |path: &str| materials.request.preferences.of(object, path);
        if let Some((field, finding)) = immutable::finding(object, [live, new, &after], said) {
            let left = merge.decisions.iter_mut().filter(|one| one.path == field && one.verdict == Verdict::LeftAlone);
            left.for_each(|one| one.verdict = Verdict::Asked);
            self.findings.push(finding);
        }
        self.decisions.append(&mut merge.decisions);
        after
    }

    /// The settings that stay, and what is still to be decided.
    pub fn conclude(self) -> (Vec<Kept>, Vec<Finding>) {
        let Self { decisions, mut findings } = self;
        findings.extend(undecided(&decisions));
        (decisions.iter().filter_map(Decision::kept).collect(), findings)
    }
}

/// A definition has no settings of people in it. One that only has names stays; schemas are those of the newer release.
fn newer_definition(object: &ObjectRef, live: &Document, new: &Document) -> Option<(Document, Document)> {
    debug_assert_eq!(object.kind, Kind::CustomResourceDefinition);
    let (mut after, shipped) = (live.value(), new.value());
    if !is_whole_definition(&shipped["spec"]) || differences(&shipped["spec"], &after["spec"]).is_empty() {
        return None;
    }
    after["spec"] = shipped["spec"].clone();
    for (key, value) in shipped["metadata"]["annotations"].as_object().into_iter().flatten() {
        after["metadata"]["annotations"][key] = value.clone();
    }
    Some((live.clone(), Document::new(after)))
}

fn created(materials: &Materials<'_>, object: &ObjectRef, new: &Document) -> Decision {
    let base = materials.base.get(object).map(Document::value);
    let new = Some(new.value());
    let (object, path, after) = (object.clone(), String::new(), new.clone());
    Decision { object, path, base, live: None, new, after, verdict: Verdict::Added }
}

/// What calico-node reads is gone, and with it what people set there; the release's own values are not theirs.
fn lost_config(materials: &Materials<'_>, object: &ObjectRef) -> Option<Finding> {
    let Installed { install, datastore, .. } = materials.installed;
    if install.config_map.as_ref() != Some(object) {
        return None;
    }
    let (severity, why) = match datastore {
        Datastore::Kubernetes => (
            Severity::Mandatory { exit: BLOCKED },
            "the release's own would come in its place, without what people had set in it",
        ),
        Datastore::Etcd => (
            Severity::Final { exit: BLOCKED },
            "the release's own would come in its place, and lead every node to an etcd that is not the cluster's",
        ),
    };
    let title = format!("{object}, which calico-node reads, is not there");
    let finding = Finding::new("CU-C018", severity, title).why(why);
    Some(finding.now("create it again from your files, or calico-upgrader restore BACKUP --only ConfigMap"))
}

/// Splits a change of the DaemonSet: first it stops rolling by itself, then it gets its new template. One that is made anew
/// comes as one that does not roll; until it goes its template stays, so that there is nothing to roll.
pub fn frozen_first(change: ObjectChange) -> Vec<Stage> {
    let ObjectChange { object, before, after, why } = change;
    let (Some(live), Some(wanted)) = (&before, &after) else {
        return vec![Stage::Changes(vec![ObjectChange { object, before, after, why }])];
    };
    let (frozen, wanted) = (Document::new(on_delete(live.value())), Document::new(on_delete(wanted.value())));
    let anew =
        ObjectChange { object: object.clone(), before: before.clone(), after: Some(wanted.clone()), why: why.clone() };
    if anew.recreated_for().is_some() {
        return vec![Stage::Recreated(Recreation::of(anew, &[])), Stage::UntilObserved(object)];
    }
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
    let finding = Finding::new("CU-C017", Severity::Advisory, title);
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

/// A DaemonSet that does not roll by itself.
pub fn on_delete(mut body: Value) -> Value {
    body["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    body
}

fn undecided(decisions: &[Decision]) -> Option<Finding> {
    // Of a field that cannot be changed CU-C015 asks.
    let is_open = |one: &&Decision| one.verdict == Verdict::Asked && !is_fixed(&one.path);
    let open: Vec<_> = decisions.iter().filter(is_open).collect();
    if open.is_empty() {
        return None;
    }
    let line = |one: &&Decision| {
        let text = |value: &Option<Value>| {
            value.as_ref().map_or("nothing".to_owned(), |value| masked_field(&one.object, &one.path, value).to_string())
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
