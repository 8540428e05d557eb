//! Objects with a field that no API server changes: they are deleted and made anew, and the pods of a DaemonSet outlive it.
//!
//! The order is: the old DaemonSet goes without its pods; the pods, which nobody runs any more, get the labels of the new
//! template; the new DaemonSet comes and takes them for its own. Labelling them under the old one would leave two gaps: a label
//! that its selector wants otherwise makes it let go of the pod and start a second one on the node, and a pod that it starts
//! between labelling and deletion has the old labels. Once it is gone nobody starts any.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ObjectChange, Stage};
use crate::resource::{Document, Kind, differences};

/// The fields, by the writing of kubectl, that an API server of any release refuses to change, or that it would change without
/// a thought for the pods that are there.
const FIXED: [(Kind, &str, &str); 4] = [
    (Kind::ClusterRoleBinding, "roleRef", "/roleRef"),
    (Kind::DaemonSet, "spec.selector", "/spec/selector"),
    (Kind::Deployment, "spec.selector", "/spec/selector"),
    (Kind::ReplicaSet, "spec.selector", "/spec/selector"),
];

/// An object that goes and comes again in another form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recreation {
    /// The old form is absent where a run that was taken back died before the new one came.
    pub change: ObjectChange,
    /// The labels that the pods of a DaemonSet get in between, and with no value those that they lose. Without any, what the
    /// object owns goes with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
}

/// Answers whether a field, by the writing of kubectl, is one that cannot be changed.
pub(super) fn is_fixed(path: &str) -> bool {
    FIXED.iter().any(|(_, field, _)| *field == path)
}

/// Names the field that cannot be changed, if the two forms of an object differ in it.
pub(super) fn differs_in(kind: Kind, one: &Document, other: &Document) -> Option<&'static str> {
    let (_, field, pointer) = FIXED.iter().find(|(of, _, _)| *of == kind)?;
    let at = |document: &Document| document.value().pointer(pointer).cloned().unwrap_or_default();
    (!differences(&at(one), &at(other)).is_empty()).then_some(*field)
}

/// Changes that do not depend on each other as stages: those that can be made in place, then one by one those that cannot.
pub(super) fn stages_of(changes: Vec<ObjectChange>) -> Vec<Stage> {
    let (anew, in_place): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| change.recreated_for().is_some());
    let in_place = (!in_place.is_empty()).then_some(Stage::Changes(in_place));
    in_place.into_iter().chain(anew.into_iter().map(|change| Stage::Recreated(Recreation::of(change, &[])))).collect()
}

impl Recreation {
    /// Makes the object anew. The pods may have been made from any of the `forms`.
    pub(super) fn of(change: ObjectChange, forms: &[&Document]) -> Self {
        let new = change.after.as_ref().filter(|_| change.object.kind == Kind::DaemonSet).map(template_labels);
        let labels = new.map(|new| {
            let all = forms.iter().copied().chain(&change.before).flat_map(template_labels);
            let gone = all.map(|(key, _)| (key, None));
            gone.chain(new.into_iter().map(|(key, value)| (key, value.as_str().map(str::to_owned)))).collect()
        });
        Self { labels: labels.unwrap_or_default(), change }
    }
}

fn template_labels(document: &Document) -> Map<String, Value> {
    let labels = document.value().pointer("/spec/template/metadata/labels").cloned();
    labels.as_ref().and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::ObjectRef;
    use serde_json::json;

    fn daemon_set(label: &str) -> Document {
        let labels = json!({label: "calico-node", "team": "net"});
        Document::new(
            json!({"spec": {"selector": {"matchLabels": {label: "calico-node"}}, "template": {"metadata": {"labels": labels}}}}),
        )
    }

    fn change(kind: Kind, before: Option<Document>, after: &Document) -> ObjectChange {
        let object = ObjectRef::namespaced(kind, "kube-system", "calico-node");
        ObjectChange { object, before, after: Some(after.clone()), why: String::new() }
    }

    #[test]
    fn the_pods_of_a_daemon_set_get_the_labels_of_the_new_template_and_lose_those_of_the_old() {
        let (old, new) = (daemon_set("app"), daemon_set("k8s-app"));
        let expected = [("app", None), ("k8s-app", Some("calico-node")), ("team", Some("net"))]
            .map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
        let labels = |before, forms: &[&Document]| {
            Recreation::of(change(Kind::DaemonSet, before, &new), forms).labels.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(labels(Some(old.clone()), &[]), expected);
        assert_eq!(labels(None, &[&old, &new]), expected, "the old one is gone already");
        assert!(Recreation::of(change(Kind::Deployment, Some(old), &new), &[]).labels.is_empty());
    }

    #[test]
    fn only_a_field_that_cannot_change_makes_an_object_anew() {
        let (old, new) = (daemon_set("app"), daemon_set("k8s-app"));
        let changes = vec![
            change(Kind::DaemonSet, Some(old.clone()), &new),
            change(Kind::DaemonSet, Some(new.clone()), &new),
            change(Kind::DaemonSet, None, &new),
        ];
        assert_eq!(changes.iter().map(ObjectChange::verb).collect::<Vec<_>>(), ["recreate", "replace", "create"]);
        let counts: Vec<_> = stages_of(changes).iter().map(|stage| stage.changes().len()).collect();
        assert_eq!(counts, [2, 1]);
    }
}
