//! What the cluster holds, for judging what a program did to it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::control_plane::ControlPlane;
use crate::discovery::{self, Resource};
use crate::error::{Result, Trying};
use crate::parallel;

/// Objects by `group/resource/namespace/name`; the core group and the namespace of cluster-wide objects are empty.
pub type State = BTreeMap<String, Value>;

impl ControlPlane {
    /// All objects of all kinds, without what servers and controllers write by themselves.
    ///
    /// Dropped from each object: resourceVersion, uid, creationTimestamp, generation, managedFields, selfLink,
    /// deletionTimestamp, status, and the counters of templates. Left out: Events, Endpoints and EndpointSlices,
    /// ComponentStatuses, ControllerRevisions, Leases of nodes and API servers, APIServices that follow from definitions,
    /// and secrets with tokens of service accounts. Pods of a DaemonSet are named after their node, and lose the names and
    /// numbers that are made up anew for each pod.
    pub fn cluster_state(&self) -> Result<State> {
        let mut state = State::new();
        for (resource, objects) in self.everything()? {
            for object in objects.into_iter().filter(|object| !is_made_by_servers(&resource, object)) {
                let object = normalised(&resource, object);
                state.insert(key(&resource, &object), object);
            }
        }
        Ok(state)
    }

    /// The resource version of each object of each kind, to prove that nothing at all was written.
    ///
    /// Left out, because they change by themselves: Events, and Leases of nodes and API servers.
    pub fn resource_versions(&self) -> Result<BTreeMap<String, String>> {
        let mut versions = BTreeMap::new();
        for (resource, objects) in self.everything()? {
            for object in objects.iter().filter(|object| !is_heartbeat(&resource, object)) {
                let version = text(object, "resourceVersion").to_owned();
                versions.insert(key(&resource, object), version);
            }
        }
        Ok(versions)
    }

    fn everything(&self) -> Result<Vec<(Resource, Vec<Value>)>> {
        let resources = discovery::resources(self.api())?;
        let once: Vec<Resource> =
            resources.iter().filter(|resource| is_wanted(resource, &resources)).cloned().collect();
        let lists = parallel::map(&once, |resource| {
            let path = resource.path();
            match self.api().list(&path) {
                // Its definition went since the kinds were listed.
                Err(error) if error.is_not_found() => Ok(Vec::new()),
                answer => answer.trying(|| format!("list `{path}`")),
            }
        })?;
        Ok(once.into_iter().zip(lists).collect())
    }
}

/// Events say nothing about the state, and some kinds are served by two groups.
fn is_wanted(resource: &Resource, all: &[Resource]) -> bool {
    let is_elsewhere = |group: &str| all.iter().any(|other| other.group == group && other.plural == resource.plural);
    let is_repeated = resource.group == "extensions" && (is_elsewhere("apps") || is_elsewhere("networking.k8s.io"));
    resource.can_list && !is_repeated && resource.plural != "events" && resource.plural != "componentstatuses"
}

fn is_heartbeat(resource: &Resource, object: &Value) -> bool {
    let is_of_api_server = object["metadata"]["labels"]["apiserver.kubernetes.io/identity"].is_string();
    resource.plural == "leases" && (is_of_api_server || text(object, "namespace") == "kube-node-lease")
}

fn is_made_by_servers(resource: &Resource, object: &Value) -> bool {
    match resource.plural.as_str() {
        "endpoints" | "endpointslices" | "controllerrevisions" => true,
        "apiservices" => object["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"].is_string(),
        "secrets" => object["type"] == "kubernetes.io/service-account-token",
        _ => is_heartbeat(resource, object),
    }
}

fn key(resource: &Resource, object: &Value) -> String {
    let (namespace, name) = (text(object, "namespace"), text(object, "name"));
    format!("{}/{}/{namespace}/{name}", resource.group, resource.plural)
}

const OF_METADATA: [&str; 8] = [
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Notes and counters of controllers.
const OF_ANNOTATIONS: [&str; 3] =
    ["deprecated.daemonset.template.generation", "deployment.kubernetes.io/revision", "kubernetes.io/created-by"];

fn normalised(resource: &Resource, mut object: Value) -> Value {
    remove(Some(&mut object), &["status"]);
    remove(object.get_mut("metadata"), &OF_METADATA);
    remove(object.pointer_mut("/metadata/annotations"), &OF_ANNOTATIONS);
    if object.pointer("/metadata/annotations").and_then(Value::as_object).is_some_and(Map::is_empty) {
        remove(object.get_mut("metadata"), &["annotations"]);
    }
    for owner in array_at(&mut object, "/metadata/ownerReferences").into_iter().flatten() {
        remove(Some(owner), &["uid"]);
    }
    match resource.plural.as_str() {
        "daemonsets" => remove(object.get_mut("spec"), &["templateGeneration"]),
        // Names of token secrets, made up by the controllers of Kubernetes before 1.24.
        "serviceaccounts" => remove(Some(&mut object), &["secrets"]),
        "pods" => normalise_pod(&mut object),
        _ => {}
    }
    object
}

fn normalise_pod(pod: &mut Value) {
    let owners = pod["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(owner) = owners.iter().find(|owner| owner["kind"] == "DaemonSet") else { return };
    let node = pod["spec"]["nodeName"].as_str().unwrap_or("no-node-yet");
    let name = format!("{}@{node}", owner["name"].as_str().unwrap_or_default());
    pod["metadata"]["name"] = Value::String(name);
    remove(pod.pointer_mut("/metadata/labels"), &["controller-revision-hash", "pod-template-generation"]);
    let token_volume = remove_token_volume(pod);
    for list in ["/spec/initContainers", "/spec/containers"] {
        for container in array_at(pod, list).into_iter().flatten() {
            if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                mounts.retain(|mount| Some(&mount["name"]) != token_volume.as_ref());
            }
        }
    }
}

/// Takes out the volume with the token of the service account, whose name ends at random, and returns the name.
fn remove_token_volume(pod: &mut Value) -> Option<Value> {
    let volumes = array_at(pod, "/spec/volumes")?;
    let is_token = |volume: &Value| {
        let name = volume["name"].as_str().unwrap_or_default();
        name.starts_with("kube-api-access-") || name.contains("-token-")
    };
    let position = volumes.iter().position(is_token)?;
    Some(volumes.remove(position)["name"].take())
}

fn array_at<'a>(object: &'a mut Value, pointer: &str) -> Option<&'a mut Vec<Value>> {
    object.pointer_mut(pointer).and_then(Value::as_array_mut)
}

fn remove(object: Option<&mut Value>, fields: &[&str]) {
    if let Some(object) = object.and_then(Value::as_object_mut) {
        for field in fields {
            object.remove(*field);
        }
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Says how two states differ, one line for each object, for messages of tests.
pub fn differences(before: &State, after: &State) -> Vec<String> {
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| format!("gone: {key}"));
    let new = after.keys().filter(|key| !before.contains_key(*key)).map(|key| format!("new: {key}"));
    let changed = before.iter().filter_map(|(key, old)| {
        let new = after.get(key).filter(|new| *new != old)?;
        Some(format!("changed: {key}\n  from {old}\n  to   {new}"))
    });
    gone.chain(new).chain(changed).collect()
}
