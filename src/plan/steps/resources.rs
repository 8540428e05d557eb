//! ThirdPartyResources become custom resources: read, converted, created; never overwritten, and the old objects never touched.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Draft;
use crate::{
    check::{BLOCKED, Finding, NEEDS_DECISION, Severity},
    convert::{Conversion, NewKind, Outcome, Verdict, convert_third_party_resources},
    inventory::{Inventory, Stored},
    plan::{Desired, ObjectChange, Request, Stage, make::Materials},
    resource::{Document, Kind, ObjectRef, differences},
};

pub fn copy_resources(materials: &Materials<'_>) -> Draft {
    let (inventory, request) = (materials.inventory, materials.request);
    let conversion = convert_third_party_resources(bodies(inventory), request.system_policies);
    let mut findings: Vec<Finding> = not_served(inventory).into_iter().collect();
    findings.extend(losses(&conversion, request));
    let definitions = definitions(materials);
    let (copies, conflicts) = copies(&conversion, inventory);
    findings.extend(conflicts);
    if definitions.is_empty() && copies.is_empty() && findings.is_empty() {
        return Draft::nothing("every object has been copied");
    }
    let summary = format!("{} objects copied, {} definitions created", copies.len(), definitions.len());
    let names =
        materials.target.references().into_iter().filter(|object| object.kind == Kind::CustomResourceDefinition);
    let source = inventory.third_party.iter().map(|stored| (stored.object.clone(), stored.digest())).collect();
    let stages = vec![
        Stage::Changes(definitions),
        Stage::UntilEstablished(names.map(|object| object.name).collect()),
        Stage::Changes(copies),
        Stage::Unchanged(source),
    ];
    Draft { desired: Some(Desired::Objects { stages }), summary, findings, ..Draft::default() }
}

/// The old objects, in the form in which the conversion knows them.
fn bodies(inventory: &Inventory) -> impl Iterator<Item = Value> {
    let body = |stored: &Stored| {
        let mut body = stored.document.value();
        let group = if stored.object.kind == Kind::SystemNetworkPolicy {
            "alpha.projectcalico.org/v1"
        } else {
            "projectcalico.org/v1"
        };
        body["apiVersion"] = group.into();
        body["kind"] = stored.object.kind.name().into();
        body
    };
    inventory.third_party.iter().map(body)
}

/// A server without the old data may hold it all the same: it went out of sight with Kubernetes v1.8.
fn not_served(inventory: &Inventory) -> Option<Finding> {
    if !inventory.third_party_served.is_empty() {
        return None;
    }
    let finding =
        Finding::new("CU-C012", Severity::Final { exit: BLOCKED }, "the API server does not serve Calico's old data");
    let evidence = format!("no ThirdPartyResource of projectcalico.org on Kubernetes {}", inventory.cluster.kubernetes);
    let finding = finding.evidence([evidence]);
    let why = "without it new nodes would start with an empty datastore: another ClusterGUID, default pools, no configuration";
    Some(
        finding.why(why).now("restore the ThirdPartyResources from a backup, or upgrade Calico before Kubernetes v1.8"),
    )
}

/// One finding that lists every object which would not arrive.
fn losses(conversion: &Conversion, request: &Request) -> Option<Finding> {
    let lost =
        |verdict: &&Verdict| verdict.outcome.blocks() && !request.accept_loss.contains(&verdict.source.to_string());
    let lost: Vec<&Verdict> = conversion.verdicts.iter().filter(lost).collect();
    if lost.is_empty() {
        return None;
    }
    let title = format!("{} of {} objects cannot be converted as they are", lost.len(), conversion.verdicts.len());
    let line = |verdict: &&Verdict| format!("{} {}: {}", outcome_name(verdict.outcome), verdict.source, verdict.reason);
    let finding =
        Finding::new("CU-C011", Severity::Final { exit: NEEDS_DECISION }, title).evidence(lost.iter().map(line));
    let is_undecided = lost.iter().any(|verdict| verdict.outcome == Outcome::Undecided);
    let now = if is_undecided {
        "say --system-policies convert or drop; repair the other objects, or name them in a file for --accept-loss"
    } else {
        "repair the objects, or name those that may be lost, one KIND/NAMESPACE/NAME a line, in a file for --accept-loss"
    };
    Some(finding.why("they would be missing after the upgrade, without a word").now(now))
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Converted => "converted",
        Outcome::Dropped => "dropped",
        Outcome::Rejected => "rejected",
        Outcome::Invalid => "invalid",
        Outcome::Ignored => "ignored",
        Outcome::Conflict => "conflict",
        Outcome::Undecided => "undecided",
    }
}

fn definitions(materials: &Materials<'_>) -> Vec<ObjectChange> {
    let of_release =
        materials.target.objects.iter().filter(|(object, _)| object.kind == Kind::CustomResourceDefinition);
    let missing = of_release.filter(|(object, _)| materials.inventory.object(object).is_none());
    let create = |(object, document): &(ObjectRef, Document)| ObjectChange {
        object: object.clone(),
        before: None,
        after: Some(document.clone()),
        why: "the new Calico keeps its data in custom resources".to_owned(),
    };
    missing.map(create).collect()
}

fn copies(conversion: &Conversion, inventory: &Inventory) -> (Vec<ObjectChange>, Vec<Finding>) {
    let (mut copies, mut conflicts) = (Vec::new(), Vec::new());
    let blocked: BTreeSet<(NewKind, &str)> = conversion
        .blocking()
        .filter_map(|verdict| verdict.target.as_ref())
        .map(|target| (target.kind, target.name.as_str()))
        .collect();
    let custom: BTreeMap<&ObjectRef, &Document> =
        inventory.custom.iter().map(|stored| (&stored.object, &stored.document)).collect();
    for new in conversion.objects.iter().filter(|new| !blocked.contains(&(new.kind, new.name.as_str()))) {
        let object = ObjectRef::cluster(kind_of(new.kind), &new.name);
        let after = Document::new(new.body());
        match custom.get(&object) {
            None => copies.push(ObjectChange {
                object,
                before: None,
                after: Some(after),
                why: "copied from the old data".to_owned(),
            }),
            Some(there) => conflicts.extend(unlike(&object, &after, there)),
        }
    }
    (copies, conflicts)
}

/// An object that is there already must say the same; the node's own note of its version may be newer.
fn unlike(object: &ObjectRef, wanted: &Document, there: &Document) -> Option<Finding> {
    let differences = differences(&wanted.value(), &there.value());
    if differences.is_empty() || (object.kind == Kind::GlobalFelixConfig && object.name == "calicoversion") {
        return None;
    }
    let title = format!("{object} exists already and says something else than the old data");
    let text = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
    let lines = differences
        .iter()
        .map(|one| format!("{}: old data {}, new data {}", one.path, text(&one.wanted), text(&one.found)));
    let finding = Finding::new("CU-C011", Severity::Final { exit: NEEDS_DECISION }, title).evidence(lines);
    let now = format!("make the two equal, or delete the new one: kubectl delete {} {}", object.kind, object.name);
    Some(finding.why("which of the two is in force cannot be told, and neither is overwritten").now(now))
}

fn kind_of(kind: NewKind) -> Kind {
    match kind {
        NewKind::IpPool => Kind::IpPool,
        NewKind::BgpPeer => Kind::BgpPeer,
        NewKind::GlobalFelixConfig => Kind::GlobalFelixConfig,
        NewKind::GlobalBgpConfig => Kind::GlobalBgpConfig,
        NewKind::GlobalNetworkPolicy => Kind::GlobalNetworkPolicy,
    }
}
