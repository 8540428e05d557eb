//! Fields that an API server never changes once an object is there. No release from v2.0 to v2.6 wants another selector or
//! another role than the one before it, so only people can have made them differ; nothing is deleted behind their back.

use serde_json::{Map, Value};

use crate::{
    check::{BLOCKED, Finding, Severity},
    resource::{Kind, ObjectRef, differences},
};

/// What stands in the way of an object because of a field that cannot be changed.
pub fn findings(object: &ObjectRef, live: &Value, new: &Value, after: &Value) -> Option<Finding> {
    match object.kind {
        Kind::ClusterRoleBinding => other_role(object, live, new),
        _ => after.pointer("/spec/template").and_then(|_| unfit_selector(object, after)),
    }
}

/// The binding gives another role than the one that gets the release's rights.
fn other_role(object: &ObjectRef, live: &Value, new: &Value) -> Option<Finding> {
    if differences(&new["roleRef"], &live["roleRef"]).is_empty() {
        return None;
    }
    let role = |body: &Value| {
        let text = |key: &str| body["roleRef"][key].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("kind"), text("name"))
    };
    let (theirs, ours) = (role(live), role(new));
    let title = format!("{object} gives {theirs}, and the release puts its rights into {ours}");
    let name = &object.name;
    let now = format!(
        "kubectl get clusterrolebinding {name} -o yaml > binding.yaml; change roleRef in it to {ours}; \
         kubectl replace --force -f binding.yaml. Or, if {theirs} has the new rights: --ignore CU-C015=REASON"
    );
    Some(
        Finding::new("CU-C015", Severity::Mandatory { exit: BLOCKED }, title)
            .evidence([format!("roleRef: live {theirs}, new {ours}")])
            .why("an API server never changes roleRef, and the new calico-node cannot work without its rights")
            .now(now),
    )
}

/// The selector no longer picks the pods that the template will make, or picks more than labels can say.
fn unfit_selector(object: &ObjectRef, after: &Value) -> Option<Finding> {
    let labels = after.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    let selector = &after["spec"]["selector"];
    let wanted = selector["matchLabels"].as_object().cloned().unwrap_or_default();
    let missing: Map<String, Value> =
        wanted.iter().filter(|(key, value)| labels.and_then(|all| all.get(*key)) != Some(value)).map(owned).collect();
    let expressions = selector["matchExpressions"].as_array().is_some_and(|all| !all.is_empty());
    let why = if expressions || wanted.is_empty() {
        "this version picks the pods by the labels alone, and would take others for pods of calico-node"
    } else if !missing.is_empty() {
        "an API server never changes a selector, and refuses a template that it does not pick"
    } else {
        return None;
    };
    let title = format!("the selector of {object} does not fit the pods that it is to have");
    let evidence = [
        format!("spec.selector: {selector}"),
        format!("spec.template.metadata.labels: {}", after["spec"]["template"]["metadata"]["labels"]),
    ];
    let now = format!(
        "kubectl -n {0} get {1} -o yaml > saved.yaml; mend selector and labels in it; \
         kubectl -n {0} delete {1} --cascade=orphan; kubectl create -f saved.yaml",
        object.namespace.as_deref().unwrap_or_default(),
        format!("{}/{}", object.kind, object.name).to_lowercase(),
    );
    Some(Finding::new("CU-C015", Severity::Final { exit: BLOCKED }, title).evidence(evidence).why(why).now(now))
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_binding_to_another_role_blocks_until_people_say_that_it_has_the_rights() {
        let object = ObjectRef::cluster(Kind::ClusterRoleBinding, "calico-node");
        let binding = |role: &str| json!({"roleRef": {"kind": "ClusterRole", "name": role}});
        assert_eq!(findings(&object, &binding("calico-node"), &binding("calico-node"), &json!({})), None);
        let finding = findings(&object, &binding("corp"), &binding("calico-node"), &json!({})).unwrap();
        assert_eq!((finding.id.as_str(), finding.blocks()), ("CU-C015", Some(3)));
        assert!(finding.title.contains("ClusterRole corp") && finding.now.contains("--force"), "{finding:?}");
    }

    #[test]
    fn a_selector_must_pick_the_pods_of_the_template_by_labels() {
        let object = ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node");
        let with = |selector: Value| {
            json!({"spec": {"selector": selector,
            "template": {"metadata": {"labels": {"k8s-app": "calico-node", "team": "net"}}}}})
        };
        let label = json!({"k8s-app": "calico-node"});
        for (selector, is_fit) in [
            (json!({"matchLabels": label}), true),
            (json!({"matchLabels": {"k8s-app": "calico-node", "team": "net"}}), true),
            (json!({"matchLabels": {"k8s-app": "canal"}}), false),
            (json!({"matchLabels": label, "matchExpressions": [{"key": "x", "operator": "Exists"}]}), false),
            (json!({}), false),
        ] {
            let after = with(selector.clone());
            assert_eq!(findings(&object, &after, &after, &after).is_none(), is_fit, "{selector}");
        }
    }
}
