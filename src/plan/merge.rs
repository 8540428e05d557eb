//! The three-way merge of one object: what the old release shipped, what is live, what the new release ships.
//!
//! A field that people changed stays as they made it; a field that only the release changed follows the release; where both
//! changed it differently nobody can tell, and the field is asked for. Named lists (containers, environment, volumes) merge by
//! name, other lists of objects as sets, and a CNI configuration, which is JSON inside a string, as JSON.

use serde_json::{Map, Value};

use super::customize::{Conflict, Kept, Preference, Preferences};
use crate::{
    resource::{ObjectRef, differences},
    runbook::Published,
};

/// The three states of an object, and what comes of them.
pub(super) struct Merge<'a> {
    object: &'a ObjectRef,
    preferences: &'a Preferences,
    /// Other values that the old release was published with.
    published: &'a [Published],
    /// Whether it is known what the old release shipped.
    has_base: bool,
    pub kept: Vec<Kept>,
    pub conflicts: Vec<Conflict>,
}

/// The key by which elements of a list belong together.
const LIST_KEYS: [(&str, &str); 7] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
    ("imagePullSecrets", "name"),
    ("plugins", "type"),
];

/// Fields that make sense only as a whole: parts of ours would not fit into one that people made.
const WHOLE: [&str; 4] = [".livenessProbe", ".readinessProbe", ".lifecycle", ".affinity"];

/// Containers of flannel, which stands beside Calico in canal and is not upgraded.
const NOT_OURS: [&str; 2] = [".containers[kube-flannel]", ".containers[flannel]"];

/// Fields that are not for a merge to change: immutable, or changed by a step of its own.
const LIVE_ONLY: [&str; 4] = ["spec.selector", "spec.updateStrategy", "roleRef", "metadata.name"];

impl<'a> Merge<'a> {
    pub fn new(object: &'a ObjectRef, preferences: &'a Preferences, published: &'a [Published]) -> Self {
        Self { object, preferences, published, has_base: false, kept: Vec::new(), conflicts: Vec::new() }
    }

    /// Merges a whole object.
    pub fn object(&mut self, base: Option<&Value>, live: &Value, new: &Value) -> Value {
        self.has_base = base.is_some();
        self.field("", base, Some(live), Some(new)).unwrap_or_default()
    }

    /// Merges one field and everything below it; `None` means that the field shall not be there.
    fn field(&mut self, path: &str, base: Option<&Value>, live: Option<&Value>, new: Option<&Value>) -> Option<Value> {
        let is_live_only = LIVE_ONLY.contains(&path) || NOT_OURS.iter().any(|end| path.ends_with(end));
        if is_live_only || is_same(path, live, new) {
            return live.or(new).cloned();
        }
        if base.is_none() && live.is_some() && WHOLE.iter().any(|name| path.ends_with(name)) {
            return self.leaf(path, base, live, new);
        }
        match (live, new) {
            (Some(Value::Object(theirs)), Some(Value::Object(ours))) => {
                Some(self.map(path, base.and_then(Value::as_object), theirs, ours))
            }
            (Some(Value::Array(theirs)), Some(Value::Array(ours))) if is_list_of_objects(theirs, ours) => {
                Some(self.list(path, base.and_then(Value::as_array), theirs, ours))
            }
            (Some(Value::String(theirs)), Some(Value::String(ours))) if path.ends_with(".image") => {
                Some(self.image(path, base.and_then(Value::as_str), theirs, ours))
            }
            (Some(Value::String(theirs)), Some(Value::String(ours))) if path.ends_with(".cni_network_config") => {
                Some(self.json_text(path, base.and_then(Value::as_str), theirs, ours))
            }
            (live, new) => self.leaf(path, base, live, new),
        }
    }

    /// Decides a field that has no parts.
    fn leaf(&mut self, path: &str, base: Option<&Value>, live: Option<&Value>, new: Option<&Value>) -> Option<Value> {
        if is_same(path, base, live) || self.is_also_published(path, live) {
            return new.cloned();
        }
        match (base, live, new) {
            // Added by people, and the release does not know it; or taken away by people.
            (_, Some(theirs), None) => self.keep(path, Some(theirs)),
            (None, Some(theirs), Some(_)) if self.has_base => self.keep(path, Some(theirs)),
            (Some(was), None, Some(ours)) if is_same(path, Some(was), Some(ours)) => self.keep(path, None),
            (None, None, Some(ours)) => Some(ours.clone()),
            (Some(was), Some(theirs), Some(ours)) if is_same(path, Some(was), Some(ours)) => {
                self.keep(path, Some(theirs))
            }
            (base, live, new) => self.ask(path, base, live, new),
        }
    }

    fn is_also_published(&self, path: &str, live: Option<&Value>) -> bool {
        let here = self.published.iter().filter(|one| one.object == *self.object && one.field == path);
        here.into_iter().any(|one| is_same(path, one.value.as_ref(), live))
    }

    fn keep(&mut self, path: &str, live: Option<&Value>) -> Option<Value> {
        if !path.ends_with("last-applied-configuration") {
            self.kept.push(Kept { object: self.object.clone(), path: path.to_owned(), value: live.cloned() });
        }
        live.cloned()
    }

    fn ask(&mut self, path: &str, base: Option<&Value>, live: Option<&Value>, new: Option<&Value>) -> Option<Value> {
        match self.preferences.of(self.object, path) {
            Some(Preference::Keep) => self.keep(path, live),
            Some(Preference::Take) => new.cloned(),
            None => {
                let (base, live_value, new) = (base.cloned(), live.cloned(), new.cloned());
                let object = self.object.clone();
                self.conflicts.push(Conflict { object, path: path.to_owned(), base, live: live_value, new });
                live.cloned()
            }
        }
    }

    fn map(
        &mut self,
        path: &str,
        base: Option<&Map<String, Value>>,
        live: &Map<String, Value>,
        new: &Map<String, Value>,
    ) -> Value {
        let mut keys: Vec<&String> = live.keys().chain(new.keys()).collect();
        keys.sort();
        keys.dedup();
        let merged = keys.into_iter().filter_map(|key| {
            let deeper = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let value = self.field(&deeper, base.and_then(|base| base.get(key)), live.get(key), new.get(key));
            value.map(|value| (key.clone(), value))
        });
        Value::Object(merged.collect())
    }

    /// Merges a list: live elements in their order, then what the release adds.
    fn list(&mut self, path: &str, base: Option<&Vec<Value>>, live: &[Value], new: &[Value]) -> Value {
        let name = path.rsplit('.').next().unwrap_or(path);
        let key = LIST_KEYS.iter().find(|(list, _)| *list == name).map(|(_, key)| *key);
        let label = |element: &Value| match key {
            Some(key) => element[key].as_str().unwrap_or_default().to_owned(),
            None => element.to_string(),
        };
        let find = |list: &'_ [Value], wanted: &str| list.iter().find(|element| label(element) == wanted).cloned();
        let mut labels: Vec<String> = live.iter().map(label).collect();
        labels.extend(new.iter().map(label).filter(|wanted| find(live, wanted).is_none()));
        let merged = labels.iter().filter_map(|wanted| {
            let was = base.and_then(|base| find(base, wanted));
            self.element(
                &format!("{path}[{wanted}]"),
                was.as_ref(),
                find(live, wanted).as_ref(),
                find(new, wanted).as_ref(),
            )
        });
        Value::Array(merged.collect())
    }

    /// Rules of a role only grow while nodes of both releases run; other elements are merged like fields.
    fn element(
        &mut self,
        path: &str,
        base: Option<&Value>,
        live: Option<&Value>,
        new: Option<&Value>,
    ) -> Option<Value> {
        if path.starts_with("rules[") || path.starts_with("subjects[") {
            return live.or(new).cloned();
        }
        self.field(path, base, live, new)
    }

    /// The registry is the operator's choice, the tag is the release's.
    fn image(&mut self, path: &str, base: Option<&str>, live: &str, new: &str) -> Value {
        let (theirs, ours) = (split_image(live), split_image(new));
        let shipped = base.map(split_image).map(|(repository, _)| repository);
        if live.contains('@') {
            let value = |text: &str| Value::from(text);
            return self.ask(path, base.map(value).as_ref(), Some(&value(live)), Some(&value(new))).unwrap_or_default();
        }
        if theirs.0 == ours.0 || Some(theirs.0) == shipped {
            return Value::from(new);
        }
        let image = Value::from(format!("{}:{}", theirs.0, ours.1));
        let registry = Value::from(theirs.0);
        self.kept.push(Kept {
            object: self.object.clone(),
            path: format!("{path} (repository)"),
            value: Some(registry),
        });
        image
    }

    fn json_text(&mut self, path: &str, base: Option<&str>, live: &str, new: &str) -> Value {
        let read = |text: &str| serde_json::from_str::<Value>(text).ok();
        let (Some(theirs), Some(ours)) = (read(live), read(new)) else {
            let value = |text: &str| Value::from(text);
            return self.ask(path, base.map(value).as_ref(), Some(&value(live)), Some(&value(new))).unwrap_or_default();
        };
        let mut base = base.and_then(read);
        let mut shaped = theirs.clone();
        if ours.get("plugins").is_some() {
            base = base.map(as_plugin_list);
            shaped = as_plugin_list(shaped);
        }
        let merged = self.field(&format!("{path}:"), base.as_ref(), Some(&shaped), Some(&ours));
        match merged {
            Some(merged) if merged != theirs => Value::from(format!("{merged:#}")),
            _ => Value::from(live),
        }
    }
}

/// A configuration of one plugin, written as a list of one; what the list has of its own stays outside.
fn as_plugin_list(mut config: Value) -> Value {
    let Value::Object(fields) = &mut config else { return config };
    if fields.contains_key("plugins") {
        return config;
    }
    let mut list = Map::new();
    for key in ["name", "cniVersion"] {
        list.extend(fields.remove_entry(key));
    }
    list.insert("plugins".to_owned(), Value::Array(vec![config]));
    Value::Object(list)
}

/// Two values are the same when no server could tell them apart; an absent value is like what servers fill in there.
fn is_same(path: &str, one: Option<&Value>, other: Option<&Value>) -> bool {
    let key = path.rsplit(['.', ':']).next().unwrap_or(path);
    let wrap =
        |value: Option<&Value>| Value::Object(value.map(|value| (key.to_owned(), value.clone())).into_iter().collect());
    differences(&wrap(one), &wrap(other)).is_empty()
}

fn is_list_of_objects(live: &[Value], new: &[Value]) -> bool {
    live.iter().chain(new).all(Value::is_object)
}

/// Splits an image into its repository, with the registry, and its tag.
pub(super) fn split_image(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind;
    use serde_json::json;

    fn merge(base: Value, live: Value, new: Value) -> (Value, Vec<String>, Vec<String>) {
        let object = ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node");
        let preferences = Preferences::default();
        let mut merge = Merge::new(&object, &preferences, &[]);
        let merged = merge.object(Some(&base), &live, &new);
        let kept = merge.kept.into_iter().map(|kept| kept.path).collect();
        (merged, kept, merge.conflicts.into_iter().map(|conflict| conflict.path).collect())
    }

    #[test]
    fn a_hand_edit_stays_and_the_release_brings_the_rest() {
        let env = |list: &[(&str, &str)]| {
            let list: Vec<_> = list.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
            json!({"env": list})
        };
        let (merged, kept, conflicts) = merge(
            env(&[("MTU", "1440"), ("LOG", "info"), ("GONE", "x")]),
            env(&[("MTU", "1430"), ("LOG", "info"), ("GONE", "x"), ("MINE", "1")]),
            env(&[("MTU", "1440"), ("LOG", "warning"), ("NEW", "y")]),
        );
        assert_eq!(merged, env(&[("MTU", "1430"), ("LOG", "warning"), ("MINE", "1"), ("NEW", "y")]));
        assert_eq!(kept, ["env[MTU].value", "env[MINE]"]);
        assert_eq!(conflicts, Vec::<String>::new());
    }

    #[test]
    fn a_field_that_both_changed_is_asked_for() {
        let (_, _, conflicts) = merge(json!({"a": 1}), json!({"a": 2}), json!({"a": 3}));
        assert_eq!(conflicts, ["a"]);
    }

    #[test]
    fn a_field_that_people_added_stays_even_if_the_release_now_sets_it() {
        let (merged, kept, conflicts) = merge(json!({}), json!({"mtu": 1450}), json!({"mtu": 1500}));
        assert_eq!((merged, kept, conflicts), (json!({"mtu": 1450}), vec!["mtu".to_owned()], vec![]));
    }

    #[test]
    fn what_the_release_was_also_published_with_is_no_hand_edit() {
        let object = ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node");
        let published = |value| Published { object: object.clone(), field: "grace".to_owned(), value };
        let published = [published(Some(json!(10))), published(None)];
        for live in [json!({"grace": 10}), json!({})] {
            let preferences = Preferences::default();
            let mut merge = Merge::new(&object, &preferences, &published);
            let merged = merge.object(Some(&json!({"grace": 20})), &live, &json!({"grace": 5}));
            assert_eq!((merged, merge.kept.len()), (json!({"grace": 5}), 0));
        }
    }

    #[test]
    fn a_private_registry_stays_and_the_tag_follows_the_release() {
        let image = |text: &str| json!({"c": {"image": text}});
        let (merged, kept, _) = merge(
            image("quay.io/calico/node:v1.2.1"),
            image("registry.corp:5000/calico/node:v1.2.1"),
            image("quay.io/calico/node:v2.6.12"),
        );
        assert_eq!(merged, image("registry.corp:5000/calico/node:v2.6.12"));
        assert_eq!(kept, ["c.image (repository)"]);
    }

    #[test]
    fn a_cni_configuration_merges_inside_its_string() {
        let data = |text: &str| json!({"data": {"cni_network_config": text}});
        let (merged, kept, _) = merge(
            data(r#"{"mtu": 1500, "type": "calico"}"#),
            data(r#"{"mtu": 1450, "type": "calico"}"#),
            data(r#"{"mtu": 1500, "type": "calico", "log_level": "info"}"#),
        );
        let text = merged["data"]["cni_network_config"].as_str().unwrap();
        let inside: Value = serde_json::from_str(text).unwrap();
        assert_eq!(inside, json!({"mtu": 1450, "type": "calico", "log_level": "info"}));
        assert_eq!(kept, ["data.cni_network_config:.mtu"]);
    }

    #[test]
    fn what_a_server_filled_in_is_no_hand_edit() {
        let (merged, kept, _) =
            merge(json!({"spec": {}}), json!({"spec": {"progressDeadlineSeconds": 600}}), json!({"spec": {}}));
        assert_eq!((merged, kept), (json!({"spec": {"progressDeadlineSeconds": 600}}), vec![]));
    }

    #[test]
    fn a_configuration_of_one_plugin_keeps_its_edits_when_it_becomes_a_list() {
        let data = |text: &str| json!({"data": {"cni_network_config": text}});
        let (merged, kept, _) = merge(
            data(r#"{"name": "n", "type": "calico", "mtu": 1500}"#),
            data(r#"{"name": "n", "type": "calico", "mtu": 1450}"#),
            data(
                r#"{"name": "n", "cniVersion": "0.3.0", "plugins": [{"type": "calico", "mtu": 1500}, {"type": "portmap"}]}"#,
            ),
        );
        let inside: Value = serde_json::from_str(merged["data"]["cni_network_config"].as_str().unwrap()).unwrap();
        let plugins = json!([{"type": "calico", "mtu": 1450}, {"type": "portmap"}]);
        assert_eq!(inside, json!({"name": "n", "cniVersion": "0.3.0", "plugins": plugins}));
        assert_eq!(kept, ["data.cni_network_config:.plugins[calico].mtu"]);
    }

    #[test]
    fn the_container_of_flannel_stays_as_it_is() {
        let pod = |flannel: Value| json!({"x": {"containers": [{"name": "kube-flannel", "a": flannel}]}});
        let (merged, kept, conflicts) = merge(pod(json!(1)), pod(json!(2)), json!({"x": {"containers": []}}));
        assert_eq!((merged, kept.len(), conflicts.len()), (pod(json!(2)), 0, 0));
    }

    #[test]
    fn the_rights_of_the_old_release_stay_while_its_nodes_run() {
        let (merged, _, _) =
            merge(json!({"rules": [{"a": 1}]}), json!({"rules": [{"a": 1}]}), json!({"rules": [{"b": 2}]}));
        assert_eq!(merged, json!({"rules": [{"a": 1}, {"b": 2}]}));
    }
}
