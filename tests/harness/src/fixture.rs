//! Objects in files, made to fit the API server that runs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::alike::Alike;
use crate::api::ApiError;
use crate::control_plane::{ControlPlane, Kubernetes};
use crate::discovery::Paths;
use crate::error::{HarnessError, Result, Trying};
use crate::parallel::for_each;
use crate::wait::{Seen, wait_until};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures");

/// Reads the objects of a file below `tests/fixtures`.
pub fn read(file: &str) -> Result<Vec<Value>> {
    let mut objects = parse(&path(file), &text_of(file)?)?;
    let mut made_from = Alike::find(file);
    while let Some(alike) = made_from {
        objects.retain(|object| alike.has(object));
        made_from = Alike::find(&alike.like);
    }
    Ok(objects)
}

fn text_of(file: &str) -> Result<String> {
    if let Some(alike) = Alike::find(file) {
        return alike.text(text_of(&alike.like)?);
    }
    let path = path(file);
    std::fs::read_to_string(&path).trying(|| format!("read `{}`", path.display()))
}

/// Where a file below `tests/fixtures` is.
pub fn path(file: &str) -> PathBuf {
    Path::new(FOLDER).join(file)
}

/// Whether there is such a file below `tests/fixtures`, or one that it is made from.
pub fn exists(file: &str) -> bool {
    Alike::find(file).is_some() || path(file).is_file()
}

/// Reads the objects of any file.
pub fn read_path(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).trying(|| format!("read `{}`", path.display()))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Value>> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| HarnessError::Fixture { path: PathBuf::from(path), message: error.to_string() })
}

impl ControlPlane {
    /// Creates the objects, in the versions that this API server has: definitions first, then namespaces.
    pub fn create_all(&self, objects: &[Value]) -> Result<()> {
        let objects: Vec<Value> = objects.iter().map(|object| fitted(self.kubernetes(), object)).collect();
        let (definitions, rest): (Vec<&Value>, Vec<&Value>) =
            objects.iter().partition(|object| object["kind"] == "CustomResourceDefinition");
        let (homes, rest): (Vec<&Value>, Vec<&Value>) =
            rest.iter().partition(|object| object["kind"] == "Namespace" || object["kind"] == "ServiceAccount");
        self.create_in_parallel(&definitions)?;
        for definition in definitions {
            self.wait_until_served(definition)?;
            self.age(definition)?;
        }
        self.create_in_parallel(&homes)?;
        self.create_in_parallel(&rest)
    }

    fn create_in_parallel(&self, objects: &[&Value]) -> Result<()> {
        let mut paths = Paths::default();
        let placed = objects.iter().map(|object| Ok((paths.collection(self.api(), object)?, *object)));
        let placed = placed.collect::<Result<Vec<(String, &Value)>>>()?;
        for_each(&placed, |(path, object)| {
            let name = &object["metadata"]["name"];
            // The manager that API servers since 1.18 record for an object made with kubectl.
            let path = format!("{path}?fieldManager=kubectl-create");
            wait_until(&format!("{name} to be taken in `{path}`"), || match self.api().create(&path, object) {
                Ok(_) => Ok(Seen::Yes(())),
                Err(error) if knows_no_kind(&error) => Ok(Seen::NotYet(error.to_string())),
                Err(error) => Err(error).trying(|| format!("create {name} in `{path}`")),
            })
        })
    }

    /// Makes a definition look as old as the cluster.
    ///
    /// Without that, today's API server holds back the first objects of a new definition for two seconds
    /// (apiextensions-apiserver, customresource_handler.go).
    fn age(&self, definition: &Value) -> Result<()> {
        if self.kubernetes() == Kubernetes::V1_8 {
            return Ok(());
        }
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        let live = self.api().get(&path).trying(|| format!("read definition `{name}`"))?;
        let mut conditions = live["status"]["conditions"].clone();
        for condition in conditions.as_array_mut().into_iter().flatten() {
            condition["lastTransitionTime"] = json!("2017-10-01T00:00:00Z");
        }
        let patch = json!({"status": {"conditions": conditions}});
        self.api()
            .merge_patch(&format!("{path}/status"), &patch)
            .trying(|| format!("age definition `{name}`"))
            .map(drop)
    }

    /// Waits until the objects of a definition can be listed, and are named in the list of kinds.
    pub(crate) fn wait_until_served(&self, definition: &Value) -> Result<()> {
        let spec = &definition["spec"];
        let (kinds_path, plural) = (kinds_path(spec), &spec["names"]["plural"]);
        wait_until(&format!("`{plural}` in {kinds_path} to be served"), || {
            let kinds = self.api().get(&kinds_path).unwrap_or_default();
            let is_named =
                kinds["resources"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["name"] == *plural));
            Ok(match self.api().get(&format!("{kinds_path}/{}", text(plural))) {
                Ok(_) if is_named => Seen::Yes(()),
                Ok(_) => Seen::NotYet("it can be listed, but is not named".to_owned()),
                Err(error) => Seen::NotYet(error.to_string()),
            })
        })
    }
}

/// A definition that takes the place of a former one may be served for a moment by a handler that knows no kind yet.
fn knows_no_kind(error: &ApiError) -> bool {
    error.status == 422 && error.message.contains("kind: Invalid value")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn kinds_path(spec: &Value) -> String {
    let version = if spec["version"].is_string() { &spec["version"] } else { &spec["versions"][0]["name"] };
    format!("/apis/{}/{}", text(&spec["group"]), text(version))
}

/// The fixtures are written as of 2017; today's API server has other versions of three kinds.
pub fn fitted(kubernetes: Kubernetes, object: &Value) -> Value {
    let mut object = object.clone();
    match kubernetes {
        Kubernetes::V1_8 => {}
        Kubernetes::V1_34 => modernise(&mut object),
    }
    object
}

fn modernise(object: &mut Value) {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    match api_version {
        "extensions/v1beta1" => object["apiVersion"] = json!("apps/v1"),
        "rbac.authorization.k8s.io/v1beta1" => object["apiVersion"] = json!("rbac.authorization.k8s.io/v1"),
        "apiextensions.k8s.io/v1beta1" => modernise_definition(object),
        _ => {}
    }
}

fn modernise_definition(definition: &mut Value) {
    definition["apiVersion"] = json!("apiextensions.k8s.io/v1");
    let spec = &mut definition["spec"];
    let version = spec["version"].take();
    // Objects of 2017 had no schema, so every field is kept.
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    spec["versions"] = json!([{"name": version, "served": true, "storage": true, "schema": schema}]);
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("version");
    }
}
