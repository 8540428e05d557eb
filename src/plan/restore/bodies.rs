//! What is sent of an object of the backup: not what belonged to a cluster that has moved on since.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Materials;
use crate::{
    plan::recreation,
    resource::{Document, Kind, ObjectRef},
    version::Version,
};

/// From this release on the API server labels each namespace with its name (Kubernetes documentation, "Namespaces").
const NAMES_NAMESPACES: Version = Version::new(1, 21, 0);

/// Takes from the body what cannot be restored, and says what was taken.
pub(super) fn wanted(
    materials: &Materials<'_>,
    object: &ObjectRef,
    document: &Document,
    live: Option<&Document>,
) -> (Document, Vec<String>) {
    if is_sent_as_it_is(object.kind, document) {
        return (document.clone(), Vec::new());
    }
    let mut body = document.value();
    let notes = drop_dead_owners(&mut body, live, materials.owners);
    if object.kind == Kind::Namespace {
        body = namespace(&object.name, &body, materials.inventory.cluster.kubernetes >= NAMES_NAMESPACES);
    }
    if object.kind == Kind::ServiceAccount {
        keep_live_tokens(&mut body, live);
    }
    (Document::new(body), notes)
}

/// Of 100,000 keys none is taken apart to be put together again.
fn is_sent_as_it_is(kind: Kind, document: &Document) -> bool {
    !matches!(kind, Kind::Namespace | Kind::ServiceAccount) && !document.text().contains("\"ownerReferences\"")
}

/// The garbage collector deletes an object at once whose owners are gone, and it knows them by uid.
fn drop_dead_owners(body: &mut Value, live: Option<&Document>, alive: &BTreeSet<String>) -> Vec<String> {
    let live_owners = live.map(|live| live.value()["metadata"]["ownerReferences"].clone()).unwrap_or_default();
    let Some(owners) = body.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut) else {
        return Vec::new();
    };
    let text = |owner: &Value, key: &str| owner[key].as_str().unwrap_or_default().to_owned();
    let is_kept = |owner: &Value| {
        let has_it = live_owners.as_array().is_some_and(|theirs| theirs.iter().any(|one| one["uid"] == owner["uid"]));
        has_it || alive.contains(&text(owner, "uid"))
    };
    let (kept, dropped): (Vec<Value>, Vec<Value>) = owners.drain(..).partition(is_kept);
    let is_empty = kept.is_empty();
    *owners = kept;
    if is_empty && let Some(metadata) = body["metadata"].as_object_mut() {
        metadata.remove("ownerReferences");
    }
    let told = |owner: &Value| {
        format!("left out that {} {} owns it: no such object lives", text(owner, "kind"), text(owner, "name"))
    };
    dropped.iter().map(told).collect()
}

/// Of a namespace only what people wrote: its name, labels and annotations.
fn namespace(name: &str, body: &Value, is_named_by_server: bool) -> Value {
    let mut metadata = json!({"name": name});
    for key in ["labels", "annotations"] {
        if let Some(value) = body["metadata"].get(key) {
            metadata[key] = value.clone();
        }
    }
    if is_named_by_server {
        metadata["labels"]["kubernetes.io/metadata.name"] = json!(name);
    }
    // The server adds this one in any case; what is read back is compared.
    json!({"metadata": metadata, "spec": {"finalizers": ["kubernetes"]}})
}

/// The tokens of an account go with it: their names in the backup may be those of secrets that are gone.
fn keep_live_tokens(body: &mut Value, live: Option<&Document>) {
    let live = live.and_then(|live| live.value().get("secrets").cloned());
    match (body.as_object_mut(), live) {
        (Some(fields), Some(secrets)) => drop(fields.insert("secrets".to_owned(), secrets)),
        (Some(fields), None) => drop(fields.remove("secrets")),
        (None, _) => {}
    }
}

/// Names a field that differs and that no API server changes.
pub(super) fn fixed_field(kind: Kind, wanted: &Document, live: &Document) -> Option<String> {
    let name = recreation::differs_in(kind, wanted, live)?;
    Some(format!("its {name} differs and cannot be changed; delete the object first"))
}

/// Pods of another release than that of the backup may need the rights that the backup does not give.
pub(super) fn rights_in_use(
    materials: &Materials<'_>,
    object: &ObjectRef,
    wanted: &Document,
    live: &Document,
) -> Option<String> {
    if object.kind != Kind::ClusterRole || materials.named.contains(object) {
        return None;
    }
    let rules = |document: &Document| document.value()["rules"].as_array().cloned().unwrap_or_default();
    let wanted = rules(wanted);
    let takes_rights = rules(live).iter().any(|rule| !wanted.contains(rule));
    let image = node_image(materials);
    let others = materials.nodes.images.iter().find(|running| Some(running.as_str()) != image.as_deref());
    let running = others.filter(|_| takes_rights)?;
    Some(format!(
        "it would take rights from {running}, which runs; after the nodes run what the backup says, or --only"
    ))
}

/// The image of calico-node in the backup.
fn node_image(materials: &Materials<'_>) -> Option<String> {
    let daemon_set = super::daemon_set_of(materials);
    let body = materials.backup.get(&daemon_set)?.value();
    let containers = body.pointer("/spec/template/spec/containers")?.as_array()?.clone();
    let node = containers.iter().find(|container| container["name"] == "calico-node").or(containers.first())?;
    node["image"].as_str().map(str::to_owned)
}
