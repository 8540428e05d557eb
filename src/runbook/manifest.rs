use serde::Deserialize;
use serde_json::Value;

use super::{Catalogue, Release, embedded::Manifests, read::parse};
use crate::{
    inventory::{Datastore, Edition},
    resource::{Document, Kind, ObjectRef, definition},
    version::Version,
};

/// The objects that a release ships for one flavour, with the image tags of the release.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    pub objects: Vec<(ObjectRef, Document)>,
    /// Other values that upstream published the release with.
    pub also_published: Vec<Published>,
}

/// A value that a release had for a while, or on some servers: it is no hand edit.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    pub object: ObjectRef,
    pub field: String,
    /// The value; absent if the field was.
    pub value: Option<Value>,
}

/// A row of `also-published.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishedRow {
    flavours: Vec<Edition>,
    /// `KIND/NAME` of an object of the manifest.
    object: String,
    field: String,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    absent: bool,
    /// When or where, for people.
    #[serde(rename = "when")]
    _when: String,
}

impl Manifest {
    pub fn get(&self, object: &ObjectRef) -> Option<&Document> {
        self.objects.iter().find(|(reference, _)| reference == object).map(|(_, document)| document)
    }

    pub fn references(&self) -> Vec<ObjectRef> {
        self.objects.iter().map(|(reference, _)| reference.clone()).collect()
    }
}

/// The manifest to apply: the edition's objects and, where data is kept in them, the release's CustomResourceDefinitions.
pub fn target(catalogue: &Catalogue, version: Version, edition: Edition) -> Option<Manifest> {
    let release = catalogue.release(version)?;
    let folder = &catalogue.line(version.line())?.manifests;
    let mut manifest = read(&format!("{folder}/{}.yaml", edition.name()), release)?;
    match edition.datastore() {
        Datastore::Kubernetes => {
            manifest.objects.extend(read(&format!("{folder}/crds.yaml"), release).unwrap_or_default().objects);
        }
        Datastore::Etcd => {}
    }
    Some(manifest)
}

/// What an installed release shipped, as far as it is known.
pub fn base(catalogue: &Catalogue, version: Version, edition: Edition) -> Option<Manifest> {
    let folder = &catalogue.line(version.line())?.manifests;
    let mut manifest = read(&format!("{folder}/{}.yaml", edition.name()), catalogue.release(version)?)?;
    manifest.also_published = also_published(folder, edition, &manifest);
    Some(manifest)
}

fn also_published(folder: &str, edition: Edition, manifest: &Manifest) -> Vec<Published> {
    let path = format!("{folder}/also-published.yaml");
    let Some(file) = Manifests::get(&path) else { return Vec::new() };
    let rows: Vec<PublishedRow> = parse(&String::from_utf8_lossy(&file.data))
        .unwrap_or_else(|error| panic!("`{path}` was read in a test: {error}"));
    let named = |row: &PublishedRow| {
        let objects = manifest.references().into_iter();
        objects.into_iter().find(|object| format!("{}/{}", object.kind, object.name) == row.object)
    };
    let of_edition = rows.into_iter().filter(|row| row.flavours.contains(&edition));
    let published = |row: PublishedRow| {
        let object = named(&row)?;
        Some(Published { object, field: row.field, value: row.value.filter(|_| !row.absent) })
    };
    of_edition.filter_map(published).collect()
}

fn read(path: &str, release: &Release) -> Option<Manifest> {
    let file = Manifests::get(path)?;
    let text = String::from_utf8_lossy(&file.data).into_owned();
    let parts =
        text.split("\n---\n").filter(|part| part.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')));
    let objects = parts.map(|part| object(path, part, release));
    Some(Manifest { objects: objects.collect(), also_published: Vec::new() })
}

fn object(path: &str, text: &str, release: &Release) -> (ObjectRef, Document) {
    let mut body: Value = parse(text).unwrap_or_else(|error| panic!("`{path}` was read in a test: {error}"));
    let kind = kind_of(&body).unwrap_or_else(|| panic!("`{path}` holds a kind that the program knows"));
    set_tags(&mut body, release);
    if kind == Kind::CustomResourceDefinition {
        body["spec"] = definition(&body["spec"]);
    }
    let text = |key: &str| body["metadata"][key].as_str().map(str::to_owned);
    let reference = ObjectRef { kind, namespace: text("namespace"), name: text("name").unwrap_or_default() };
    (reference, Document::new(body))
}

pub(super) fn kind_of(body: &Value) -> Option<Kind> {
    let known = [
        Kind::ServiceAccount,
        Kind::ClusterRole,
        Kind::ClusterRoleBinding,
        Kind::ConfigMap,
        Kind::DaemonSet,
        Kind::Deployment,
        Kind::CustomResourceDefinition,
        Kind::PodDisruptionBudget,
        Kind::Service,
    ];
    known.into_iter().find(|kind| body["kind"] == kind.name())
}

/// Manifests name images without tags; the catalogue has the tags.
fn set_tags(value: &mut Value, release: &Release) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(image)) = fields.get_mut("image") {
                let tag = match image.rsplit('/').next() {
                    Some("node") => Some(&release.node),
                    Some("cni") => Some(&release.cni),
                    Some("kube-policy-controller" | "kube-controllers") => release.controllers.as_ref(),
                    _ => None,
                };
                if let Some(tag) = tag {
                    *image = format!("{image}:{tag}");
                }
            }
            fields.values_mut().for_each(|field| set_tags(field, release));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| set_tags(item, release)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_and_flavour_has_a_manifest_that_can_be_read() {
        let catalogue = super::super::catalogue();
        for release in &catalogue.releases {
            for edition in Edition::ALL {
                let manifest = base(&catalogue, release.calico, edition);
                let was_never_shipped = release.calico < Version::new(2, 2, 0)
                    && [Edition::Networking, Edition::Canal, Edition::EtcdCanal].contains(&edition);
                assert_eq!(manifest.is_none(), was_never_shipped, "{} {}", release.calico, edition.name());
                let objects = manifest.unwrap_or_default().objects;
                let count =
                    |text: String| objects.iter().filter(|(_, document)| document.text().contains(&text)).count();
                assert_eq!(count(format!("/node:{}", release.node)), usize::from(!was_never_shipped));
                let tag = release.controllers.as_deref().unwrap_or_default();
                let controllers = count(format!("controllers:{tag}")) + count(format!("controller:{tag}"));
                assert_eq!(controllers, usize::from(edition.datastore() == Datastore::Etcd && !was_never_shipped));
            }
        }
    }
}
