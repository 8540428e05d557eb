//! Selectors: those of labels as a query takes them, and what they pick; and the nodes that a template picks.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

/// The selector of a workload, as a query takes it; servers before v1.9 took the labels of the pods where none was given.
pub fn selector_of(workload: &Value) -> String {
    let selector = &workload["spec"]["selector"];
    let terms: Vec<String> = labels(&selector["matchLabels"]).chain(expressions(selector).filter_map(term)).collect();
    let terms =
        if terms.is_empty() { labels(&workload["spec"]["template"]["metadata"]["labels"]).collect() } else { terms };
    terms.join(",")
}

/// Answers whether a selector picks an object with these labels. One with an operator that is not known picks nothing.
pub fn picks(selector: &Value, labels: &Map<String, Value>) -> bool {
    let wanted = selector["matchLabels"].as_object().into_iter().flatten();
    wanted.into_iter().all(|(key, value)| labels.get(key) == Some(value))
        && expressions(selector).all(|one| is_met(one, labels))
}

/// Answers whether pods of a workload may be on a node: its node selector, and what its node affinity requires (terms are alternatives,
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity>).
pub fn picks_node(workload: &Value, name: &str, labels: &Map<String, Value>) -> bool {
    let pod = &workload["spec"]["template"]["spec"];
    let required = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let fields = Map::from_iter([("metadata.name".to_owned(), Value::from(name))]);
    let is_met_by = |term: &Value| {
        let (of_labels, of_fields) = (&term["matchExpressions"], &term["matchFields"]);
        let all =
            |part: &Value, of: &Map<String, Value>| part.as_array().into_iter().flatten().all(|one| is_met(one, of));
        // A term without any expression picks nothing.
        (of_labels.is_array() || of_fields.is_array()) && all(of_labels, labels) && all(of_fields, &fields)
    };
    picks(&json!({"matchLabels": pod["nodeSelector"]}), labels)
        && required["nodeSelectorTerms"].as_array().is_none_or(|terms| terms.iter().any(is_met_by))
}

/// The part of a selector that is more than labels.
pub fn expressions(selector: &Value) -> impl Iterator<Item = &Value> {
    selector["matchExpressions"].as_array().into_iter().flatten()
}

fn labels(labels: &Value) -> impl Iterator<Item = String> {
    let pairs = labels.as_object().into_iter().flatten();
    pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
}

fn term(expression: &Value) -> Option<String> {
    let key = expression["key"].as_str()?;
    let values: Vec<&str> = expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match expression["operator"].as_str()? {
        "In" => Some(format!("{key} in ({})", values.join(","))),
        "NotIn" => Some(format!("{key} notin ({})", values.join(","))),
        "Exists" => Some(key.to_owned()),
        "DoesNotExist" => Some(format!("!{key}")),
        _ => None,
    }
}

fn is_met(expression: &Value, labels: &Map<String, Value>) -> bool {
    let found = labels.get(expression["key"].as_str().unwrap_or_default());
    let is_listed =
        || found.is_some_and(|value| expression["values"].as_array().is_some_and(|all| all.contains(value)));
    let compared = || Some(number(found)?.cmp(&number(expression["values"].get(0))?));
    match expression["operator"].as_str() {
        Some("In") => is_listed(),
        Some("NotIn") => !is_listed(),
        Some("Exists") => found.is_some(),
        Some("DoesNotExist") => found.is_none(),
        Some("Gt") => compared() == Some(Ordering::Greater),
        Some("Lt") => compared() == Some(Ordering::Less),
        Some(_) | None => false,
    }
}

fn number(text: Option<&Value>) -> Option<i64> {
    text?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_written_as_a_query_takes_it() {
        let workload =
            |selector: Value| json!({"spec": {"selector": selector, "template": {"metadata": {"labels": {"a": "1"}}}}});
        for (selector, query) in [
            (json!({"matchLabels": {"k8s-app": "calico-node", "team": "net"}}), "k8s-app=calico-node,team=net"),
            (
                json!({"matchLabels": {"b": "2"}, "matchExpressions": [
                    {"key": "c", "operator": "In", "values": ["3", "4"]}, {"key": "d", "operator": "NotIn", "values": ["5"]},
                    {"key": "e", "operator": "Exists"}, {"key": "f", "operator": "DoesNotExist"}]}),
                "b=2,c in (3,4),d notin (5),e,!f",
            ),
            (Value::Null, "a=1"),
            (json!({}), "a=1"),
        ] {
            assert_eq!(selector_of(&workload(selector)), query);
        }
    }

    #[test]
    fn every_operator_is_held_against_the_labels() {
        let labels = json!({"k8s-app": "calico-node"}).as_object().cloned().unwrap();
        let is_met = |operator: &str, key: &str| {
            let one = json!({"key": key, "operator": operator, "values": ["calico-node"]});
            picks(&json!({"matchLabels": labels, "matchExpressions": [one]}), &labels)
        };
        for (operator, of_ours, of_others) in [
            ("In", true, false),
            ("NotIn", false, true),
            ("Exists", true, false),
            ("DoesNotExist", false, true),
            ("Near", false, false),
        ] {
            assert_eq!((is_met(operator, "k8s-app"), is_met(operator, "team")), (of_ours, of_others), "{operator}");
        }
        assert!(!picks(&json!({"matchLabels": {"k8s-app": "canal"}}), &labels));
    }

    #[test]
    fn a_template_picks_nodes_by_its_selector_and_by_one_of_the_terms_of_its_affinity() {
        let labels = json!({"os": "linux", "cores": "8"}).as_object().cloned().unwrap();
        let picks = |pod: Value| picks_node(&json!({"spec": {"template": {"spec": pod}}}), "a", &labels);
        let affine = |terms: Value| {
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            picks(json!({"affinity": {"nodeAffinity": required}}))
        };
        let than = |operator: &str, limit: &str| json!({"key": "cores", "operator": operator, "values": [limit]});
        let named = |name: &str| json!({"key": "metadata.name", "operator": "In", "values": [name]});
        assert!(picks(json!({})) && picks(json!({"nodeSelector": {"os": "linux"}})));
        assert!(!picks(json!({"nodeSelector": {"os": "linux", "edge": "yes"}})));
        assert!(affine(json!([{"matchExpressions": [than("Gt", "7"), than("Lt", "9")]}])));
        assert!(!affine(json!([{"matchExpressions": [than("Gt", "8")]}, {"matchFields": [named("b")]}])));
        assert!(affine(json!([{"matchExpressions": [than("Lt", "8")]}, {"matchFields": [named("a")]}])));
        assert!(!affine(json!([{}])), "a term without any expression");
    }
}
