//! Fields that an API server never changes once an object is there. No release from v2.0 to v2.6 wants another selector or
//! another role than the one before it, so only people can have made them differ. Where that stands in the way they are asked
//! what shall become of it; nothing is deleted behind their back.

use serde_json::{Map, Value};

use crate::{
    check::{BLOCKED, Finding, Severity},
    plan::Preference,
    resource::{Kind, ObjectRef, differences, expressions, picks},
};

/// What stands in the way of an object because of a field that cannot be changed, and of which field; `said` is what people
/// said of such a field.
pub fn finding(
    object: &ObjectRef,
    [live, new, after]: [&Value; 3],
    said: impl Fn(&str) -> Option<Preference>,
) -> Option<(&'static str, Finding)> {
    match object.kind {
        Kind::ClusterRoleBinding => {
            let is_asked = said("roleRef").is_none() && !differences(&new["roleRef"], &live["roleRef"]).is_empty();
            is_asked.then(|| ("roleRef", other_role(object, live, new)))
        }
        _ => {
            after.pointer("/spec/template")?;
            let other = unfit_selector(object, after);
            let finding = other.or_else(|| said("spec.selector").is_none().then(|| wide_selector(object, after))?);
            finding.map(|finding| ("spec.selector", finding))
        }
    }
}

/// The binding gives another role than the one that gets the release's rights.
fn other_role(object: &ObjectRef, live: &Value, new: &Value) -> Finding {
    let role = |body: &Value| {
        let text = |key: &str| body["roleRef"][key].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("kind"), text("name"))
    };
    let (theirs, ours) = (role(live), role(new));
    let field = format!("'{}/{}:roleRef'", object.kind, object.name);
    let title = format!("{object} gives {theirs}, and the release puts its rights into {ours}");
    Finding::new("CU-C015", Severity::Mandatory { exit: BLOCKED }, title)
        .evidence([format!("roleRef: live {theirs}, new {ours}")])
        .why("an API server never changes roleRef, and the new calico-node cannot work without its rights")
        .now(format!(
            "--take {field} deletes the binding and creates it with {ours}; if {theirs} has the new rights: --keep {field}"
        ))
}

/// The selector may pick pods of others.
fn wide_selector(object: &ObjectRef, after: &Value) -> Option<Finding> {
    expressions(&after["spec"]["selector"]).next()?;
    let field = format!("'{}/{}:spec.selector'", object.kind, object.name);
    let title = format!("the selector of {object} is more than labels, and none that a release ships");
    let why = "an API server never changes a selector; one like this may pick pods of others, which calico-node would take over";
    Some(Finding::new("CU-C015", Severity::Mandatory { exit: BLOCKED }, title).evidence(evidence(after)).why(why).now(
        format!(
            "--take {field} makes the object anew with the release's selector{}; to leave it: --keep {field}",
            kept(object)
        ),
    ))
}

/// The selector does not pick the pods that the template will make.
fn unfit_selector(object: &ObjectRef, after: &Value) -> Option<Finding> {
    let selector = &after["spec"]["selector"];
    let labels = after.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
    let is_empty =
        selector["matchLabels"].as_object().is_none_or(Map::is_empty) && expressions(selector).next().is_none();
    if !is_empty && labels.is_some_and(|labels| picks(selector, labels)) {
        return None;
    }
    let field = format!("'{}/{}:spec.selector'", object.kind, object.name);
    let title = format!("the selector of {object} does not fit the pods that it is to have");
    let why = "an API server never changes a selector, and refuses a template that it does not pick";
    Some(
        Finding::new("CU-C015", Severity::Final { exit: BLOCKED }, title)
            .evidence(evidence(after))
            .why(why)
            .now(format!("--take {field} makes the object anew with the release's selector{}", kept(object))),
    )
}

fn kept(object: &ObjectRef) -> &'static str {
    if object.kind == Kind::DaemonSet { ", and keeps its pods" } else { "" }
}

fn evidence(after: &Value) -> [String; 2] {
    let labels = &after["spec"]["template"]["metadata"]["labels"];
    [format!("spec.selector: {}", after["spec"]["selector"]), format!("spec.template.metadata.labels: {labels}")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ANSWERS: [Option<Preference>; 3] = [None, Some(Preference::Keep), Some(Preference::Take)];

    #[test]
    fn a_binding_to_another_role_blocks_until_people_say_what_shall_become_of_it() {
        let object = ObjectRef::cluster(Kind::ClusterRoleBinding, "calico-node");
        let binding = |role: &str| json!({"roleRef": {"kind": "ClusterRole", "name": role}});
        let (theirs, ours) = (binding("corp"), binding("calico-node"));
        assert_eq!(finding(&object, [&ours, &ours, &ours], |_| None), None);
        let found = ANSWERS.map(|said| finding(&object, [&theirs, &ours, &theirs], |_| said));
        let [Some((field, found)), None, None] = found else { panic!("{found:?}") };
        assert_eq!((field, found.id.as_str(), found.blocks()), ("roleRef", "CU-C015", Some(3)));
        assert!(found.now.contains("--take 'ClusterRoleBinding/calico-node:roleRef'"), "{found:?}");
    }

    #[test]
    fn a_selector_must_pick_the_pods_of_the_template_and_one_with_expressions_is_asked_for() {
        let object = ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node");
        let label = json!({"k8s-app": "calico-node"});
        let blocks = |selector: &Value, said: Option<Preference>| {
            let after = json!({"spec": {"selector": selector,
                "template": {"metadata": {"labels": {"k8s-app": "calico-node", "team": "net"}}}}});
            finding(&object, [&after, &after, &after], |_| said).is_some()
        };
        let wide =
            |operator: &str| json!({"matchLabels": label, "matchExpressions": [{"key": "team", "operator": operator}]});
        for (selector, blocked) in [
            (json!({"matchLabels": label}), [false, false, false]),
            (json!({"matchLabels": {"k8s-app": "calico-node", "team": "net"}}), [false, false, false]),
            (wide("Exists"), [true, false, false]),
            (wide("DoesNotExist"), [true, true, true]),
            (json!({"matchLabels": {"k8s-app": "canal"}}), [true, true, true]),
            (json!({}), [true, true, true]),
        ] {
            assert_eq!(ANSWERS.map(|said| blocks(&selector, said)), blocked, "{selector}");
        }
    }
}
