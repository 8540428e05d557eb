//! A pod reads its ConfigMap when it starts. Where a plan changes values that pods read, and nothing else of them, a mark on
//! their template makes new ones of them, by the same steps as a new template of the release would.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    plan::ObjectChange,
    resource::{Digest, Kind, differences},
};

/// An annotation of a template: the digest of what its pods read anew. A merge leaves it alone.
pub const READS: &str = "calico-upgrader/reads";

/// Answers the workload as wanted, with a mark if its pods would else go on with values that the changes replace.
pub fn marked<'c>(mut wanted: Value, live: &Value, changes: impl IntoIterator<Item = &'c ObjectChange>) -> Value {
    let template = &wanted["spec"]["template"];
    let of_config = changes.into_iter().filter(|change| change.object.kind == Kind::ConfigMap);
    let read: Vec<Value> = of_config.filter_map(|change| read_anew(&template["spec"], change)).collect();
    if read.is_empty() || !differences(template, &live["spec"]["template"]).is_empty() {
        return wanted;
    }
    // The mark that is there is part of the new one: values that come back must not look like those that the pods have.
    let earlier = &live["spec"]["template"]["metadata"]["annotations"][READS];
    let digest = Digest::of(json!([earlier, read]).to_string().as_bytes());
    wanted["spec"]["template"]["metadata"]["annotations"][READS] = json!(digest.short());
    wanted
}

/// The values that the pod reads from a ConfigMap, if the change makes any of them other ones.
fn read_anew(pod: &Value, change: &ObjectChange) -> Option<Value> {
    let data = |document: &Option<crate::resource::Document>| document.as_ref().map(|one| one.value()["data"].take());
    let (before, after) = (data(&change.before).unwrap_or_default(), data(&change.after).unwrap_or_default());
    let keys: BTreeSet<&String> =
        [&before, &after].iter().filter_map(|data| data.as_object()).flatten().map(|one| one.0).collect();
    let reads = Reads::of(pod, &change.object.name);
    let read: Vec<&String> = keys.into_iter().filter(|key| reads.has(key)).collect();
    let is_news = read.iter().any(|key| before[key.as_str()] != after[key.as_str()]);
    is_news.then(|| read.iter().map(|key| json!([key, after[key.as_str()]])).collect())
}

/// Which keys of one ConfigMap a pod refers to.
struct Reads<'v> {
    is_whole: bool,
    keys: BTreeSet<&'v str>,
}

impl<'v> Reads<'v> {
    fn of(pod: &'v Value, name: &str) -> Self {
        let list = |value: &'v Value, key: &str| value[key].as_array().into_iter().flatten();
        let containers = || ["initContainers", "containers"].into_iter().flat_map(|key| list(pod, key));
        let variables = containers().flat_map(|container| list(container, "env"));
        let single = variables.filter_map(|one| one.pointer("/valueFrom/configMapKeyRef"));
        let volumes = || list(pod, "volumes").map(|one| &one["configMap"]).filter(|one| one["name"] == name);
        let items = volumes().flat_map(|volume| list(volume, "items"));
        let keys = single.filter(|one| one["name"] == name).chain(items).filter_map(|one| one["key"].as_str());
        let sources = containers().flat_map(|container| list(container, "envFrom"));
        let is_whole = sources.into_iter().any(|one| one["configMapRef"]["name"] == name)
            || volumes().any(|volume| volume["items"].is_null());
        Self { is_whole, keys: keys.collect() }
    }

    fn has(&self, key: &str) -> bool {
        self.is_whole || self.keys.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Document, ObjectRef};

    fn workload() -> Value {
        let from =
            |key: &str| json!({"name": key, "valueFrom": {"configMapKeyRef": {"name": "calico-config", "key": key}}});
        json!({"spec": {"template": {"spec": {"containers": [{"name": "node", "env": [from("mtu"), from("backend")]}]}}}})
    }

    fn change(name: &str, before: &Value, after: &Value) -> ObjectChange {
        let document = |data: &Value| Some(Document::new(json!({"data": data}))).filter(|_| !data.is_null());
        let object = ObjectRef::namespaced(Kind::ConfigMap, "kube-system", name);
        ObjectChange { object, before: document(before), after: document(after), why: String::new() }
    }

    fn mark_of(workload: &Value) -> Option<String> {
        Some(workload.pointer("/spec/template/metadata/annotations")?[READS].as_str()?.to_owned())
    }

    #[test]
    fn only_values_that_pods_read_and_that_change_make_new_pods() {
        let (was, unread) =
            (json!({"mtu": "1", "backend": "bird", "other": "a"}), json!({"mtu": "1", "backend": "bird"}));
        let is_marked = |change: ObjectChange| mark_of(&marked(workload(), &workload(), [&change])).is_some();
        assert!(is_marked(change("calico-config", &was, &json!({"mtu": "2", "backend": "bird"}))));
        assert!(is_marked(change("calico-config", &Value::Null, &was)), "it was not there");
        assert!(!is_marked(change("calico-config", &was, &unread)), "nobody reads it");
        assert!(!is_marked(change("other-config", &was, &json!({"mtu": "2"}))), "it is another ConfigMap");
    }

    #[test]
    fn pods_that_become_new_ones_anyway_need_no_mark() {
        let change = change("calico-config", &json!({"mtu": "1"}), &json!({"mtu": "2"}));
        let mut wanted = workload();
        wanted["spec"]["template"]["spec"]["containers"][0]["image"] = json!("calico/node:v2.6.12");
        assert_eq!(marked(wanted.clone(), &workload(), [&change]), wanted);
    }

    #[test]
    fn values_that_come_back_get_another_mark() {
        let (one, two) = (json!({"mtu": "1"}), json!({"mtu": "2"}));
        let first = marked(workload(), &workload(), [&change("calico-config", &one, &two)]);
        let again = marked(first.clone(), &first, [&change("calico-config", &one, &two)]);
        assert_ne!(mark_of(&first), mark_of(&again));
    }

    #[test]
    fn a_volume_is_read_whole_or_by_its_items() {
        let with = |volume: Value| {
            let mut workload = workload();
            workload["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "configMap": volume}]);
            let change = change("canal-config", &json!({"net": "1"}), &json!({"net": "2"}));
            mark_of(&marked(workload.clone(), &workload, [&change])).is_some()
        };
        assert!(with(json!({"name": "canal-config"})));
        assert!(with(json!({"name": "canal-config", "items": [{"key": "net", "path": "net"}]})));
        assert!(!with(json!({"name": "canal-config", "items": [{"key": "cni", "path": "cni"}]})));
    }
}
