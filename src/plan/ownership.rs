//! Who holds a field of a live object, as far as the API server or kubectl wrote it down.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cni;
use crate::resource::differences;

/// What a live object tells about those who wrote it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ownership {
    /// The fields of each manager, from Kubernetes v1.18 on: `metadata.managedFields`.
    managers: Vec<(String, Value)>,
    /// What `kubectl apply` was given last.
    last_applied: Option<Value>,
}

/// Who holds one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// The managers that the server names.
    Managers(Vec<String>),
    /// It is as the last `kubectl apply` said.
    Applied,
    /// It is not as the last `kubectl apply` said.
    EditedLater,
    /// The field is not there, and nobody holds what is not there.
    Nobody,
    /// Nothing is written down.
    Unknown,
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Ownership {
    /// Reads it from an object as the server gives it.
    pub fn of(raw: &Value) -> Self {
        let entries = raw["metadata"]["managedFields"].as_array().into_iter().flatten();
        let of_content = entries.filter(|entry| entry["subresource"].as_str().unwrap_or_default().is_empty());
        let named =
            of_content.filter_map(|entry| Some((entry["manager"].as_str()?.to_owned(), entry["fieldsV1"].clone())));
        let applied = raw["metadata"]["annotations"][LAST_APPLIED].as_str();
        Self { managers: named.collect(), last_applied: applied.and_then(|text| serde_json::from_str(text).ok()) }
    }

    /// Lists the managers of any field.
    pub fn managers(&self) -> impl Iterator<Item = &str> {
        self.managers.iter().map(|(manager, _)| manager.as_str())
    }

    fn names(&self, path: &str, within: Within) -> Vec<String> {
        let holding = self.managers.iter().filter(|(_, fields)| holds(fields, path, within));
        let mut names: Vec<String> = holding.map(|(manager, _)| manager.clone()).collect();
        names.dedup();
        names
    }

    /// Answers who holds a field with this live value.
    pub fn holder(&self, path: &str, live: Option<&Value>) -> Holder {
        // What follows in brackets says which part of an image is meant.
        let path = path.split(" (").next().unwrap_or(path);
        let names = [Within::Texts, Within::Maps].into_iter().map(|within| self.names(path, within));
        let names = names.into_iter().find(|names| !names.is_empty()).unwrap_or_default();
        if live.is_some() && !names.is_empty() {
            return Holder::Managers(names);
        }
        match &self.last_applied {
            Some(applied) if is_as(find(applied, path).as_ref(), live, path) => Holder::Applied,
            Some(_) => Holder::EditedLater,
            None if live.is_none() => Holder::Nobody,
            None => Holder::Unknown,
        }
    }
}

/// How much belongs to a manager of whom only the outer field is named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    /// What is in a text, and the elements of a list.
    Texts,
    /// What is in a map as well. It may be that the map alone is meant: whoever made it, and whose values others changed.
    Maps,
}

/// Answers whether a set of fields (FieldsV1) holds a path, itself or in what is below it.
///
/// A name may have dots in it, so the set's own names are held against the path, and not the other way round.
fn holds(fields: &Value, path: &str, within: Within) -> bool {
    let Some(children) = fields.as_object() else { return false };
    if children.is_empty() {
        return path.is_empty() || path.starts_with([':', '[']) || within == Within::Maps;
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    let below = |(key, below): (&String, &Value)| rest_after(key, path).is_some_and(|rest| holds(below, rest, within));
    path.is_empty() || children.iter().any(below)
}

/// What is left of a path behind one name of FieldsV1: `f:name` for a field, `k:{"name":"x"}` for an element.
fn rest_after<'p>(key: &str, path: &'p str) -> Option<&'p str> {
    if let Some(name) = key.strip_prefix("f:") {
        let rest = path.strip_prefix(name)?;
        return (rest.is_empty() || rest.starts_with(['.', '[', ':'])).then_some(rest);
    }
    let keys: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
    let mut labels = keys.as_object()?.values().filter_map(Value::as_str);
    labels.find_map(|label| path.strip_prefix('[')?.strip_prefix(label)?.strip_prefix(']'))
}

/// Finds a path in a value, in the writing of the merge.
fn find(value: &Value, path: &str) -> Option<Value> {
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.is_empty() {
        return Some(value.clone());
    }
    match value {
        Value::Object(fields) => fields.iter().find_map(|(key, below)| {
            let rest = path.strip_prefix(key.as_str())?;
            if rest.is_empty() || rest.starts_with(['.', '[', ':']) { find(below, rest) } else { None }
        }),
        Value::Array(items) => items.iter().rev().find_map(|item| {
            let mut labels =
                ["name", "mountPath", "type"].iter().filter_map(|key| item[key].as_str().map(str::to_owned));
            let rest = |label: &str| path.strip_prefix('[')?.strip_prefix(label)?.strip_prefix(']');
            let whole = item.to_string();
            labels.find_map(|label| rest(&label)).or_else(|| rest(&whole)).and_then(|rest| find(item, rest))
        }),
        Value::String(text) => {
            let [inside] = cni::read([Some(text)])?;
            find(&inside?, path.strip_prefix(':')?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Two values of one field are alike; of an image with its tag left out, the repository is compared.
fn is_as(applied: Option<&Value>, live: Option<&Value>, path: &str) -> bool {
    match (applied, live) {
        (None, None) => true,
        (Some(Value::String(applied)), Some(Value::String(live))) if path.ends_with(".image") => {
            applied == live || crate::runbook::split_image(applied).0 == live
        }
        (Some(applied), Some(live)) => differences(applied, live).is_empty(),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn managed() -> Ownership {
        Ownership::of(&json!({"metadata": {"managedFields": [
            {"manager": "kubectl-client-side-apply", "fieldsV1": {
                "f:metadata": {"f:annotations": {".": {}, "f:corp.example/owner": {}}},
                "f:data": {"f:cni_network_config": {}},
                "f:spec": {"f:template": {"f:spec": {"f:tolerations": {}, "f:containers": {"k:{\"name\":\"calico-node\"}": {
                    ".": {}, "f:image": {}, "f:env": {".": {}, "k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}}}}}}}}}},
            {"manager": "kubectl-edit", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {
                "k:{\"name\":\"calico-node\"}": {"f:env": {"k:{\"name\":\"A\"}": {"f:value": {}}, "k:{\"name\":\"B\"}": {".": {}, "f:name": {}}}}}}}}}},
            {"manager": "kubectl-create", "fieldsV1": {"f:data": {}, "f:spec": {"f:selector": {}}}},
            {"manager": "kube-controller-manager", "subresource": "status", "fieldsV1": {"f:status": {}}},
        ]}}))
    }

    #[test]
    fn the_server_names_who_holds_a_field() {
        let node = "spec.template.spec.containers[calico-node]";
        for (path, expected) in [
            (format!("{node}.env[A].value"), vec!["kubectl-client-side-apply", "kubectl-edit"]),
            (format!("{node}.env[B]"), vec!["kubectl-edit"]),
            (format!("{node}.image (repository)"), vec!["kubectl-client-side-apply"]),
            ("data.cni_network_config:.mtu".to_owned(), vec!["kubectl-client-side-apply"]),
            ("spec.selector.matchLabels.k8s-app".to_owned(), vec!["kubectl-create"]),
            ("metadata.annotations.corp.example/owner".to_owned(), vec!["kubectl-client-side-apply"]),
            ("spec.template.spec.tolerations[{\"key\":\"x.y\"}]".to_owned(), vec!["kubectl-client-side-apply"]),
        ] {
            let expected = Holder::Managers(expected.into_iter().map(str::to_owned).collect());
            assert_eq!(managed().holder(&path, Some(&json!("x"))), expected, "{path}");
        }
        assert_eq!(managed().holder("spec.template.spec.nodeSelector", Some(&json!({}))), Holder::Unknown);
        assert_eq!(managed().holder("spec.template.spec.nodeSelector", None), Holder::Nobody);
    }

    #[test]
    fn without_field_owners_the_last_apply_tells_what_was_edited_later() {
        let applied = json!({"data": {"cni_network_config": "{\"mtu\": 1450}"}, "spec": {"env": [{"name": "A", "value": "1"}],
            "image": "corp/node:v1"}});
        let object = json!({"metadata": {"annotations": {LAST_APPLIED: applied.to_string()}}});
        let ownership = Ownership::of(&object);
        for (path, live, expected) in [
            ("spec.env[A].value", Some(json!("1")), Holder::Applied),
            ("spec.env[A].value", Some(json!("2")), Holder::EditedLater),
            ("spec.env[A]", None, Holder::EditedLater),
            ("spec.env[B]", None, Holder::Applied),
            ("spec.image (repository)", Some(json!("corp/node")), Holder::Applied),
            ("data.cni_network_config:.mtu", Some(json!(1450)), Holder::Applied),
        ] {
            assert_eq!(ownership.holder(path, live.as_ref()), expected, "{path} {live:?}");
        }
        assert_eq!(Ownership::of(&json!({})).holder("spec.a", Some(&json!(1))), Holder::Unknown);
    }
}
