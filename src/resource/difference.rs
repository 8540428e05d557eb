use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One field that is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Where, in the writing of kubectl: `spec.template.spec.containers[calico-node].image`.
    pub path: String,
    pub wanted: Option<Value>,
    pub found: Option<Value>,
}

/// Lists where a body found in a cluster differs from the wanted one.
///
/// A field that we did not send counts as equal when it holds what API servers fill in by themselves.
pub fn differences(wanted: &Value, found: &Value) -> Vec<Difference> {
    let mut all = Vec::new();
    compare(String::new(), Some(wanted), Some(found), &mut all);
    all
}

fn compare(path: String, wanted: Option<&Value>, found: Option<&Value>, all: &mut Vec<Difference>) {
    match (wanted, found) {
        (Some(Value::Object(ours)), Some(Value::Object(theirs))) => {
            let keys = ours.keys().chain(theirs.keys().filter(|key| !ours.contains_key(*key)));
            for key in keys {
                compare(join(&path, key), ours.get(key), theirs.get(key), all);
            }
        }
        (Some(Value::Array(ours)), Some(Value::Array(theirs))) => compare_lists(&path, ours, theirs, all),
        (Some(ours), Some(theirs)) if ours == theirs => {}
        (None, Some(theirs)) if is_filled_in_by_servers(&path, theirs) => {}
        (Some(ours), None) if is_empty(ours) || is_filled_in_by_servers(&path, ours) => {}
        (None, None) => {}
        (wanted, found) => all.push(Difference { path, wanted: wanted.cloned(), found: found.cloned() }),
    }
}

fn compare_lists(path: &str, ours: &[Value], theirs: &[Value], all: &mut Vec<Difference>) {
    for index in 0..ours.len().max(theirs.len()) {
        let element = ours.get(index).or(theirs.get(index));
        let label = element.and_then(|value| value.get("name")).and_then(Value::as_str);
        let label = label.map_or_else(|| index.to_string(), str::to_owned);
        compare(format!("{path}[{label}]"), ours.get(index), theirs.get(index), all);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// An empty map or list that we sent and the server left out means the same.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Defaults that API servers from 1.7 on write into what they are sent (Kubernetes API reference, "defaults to").
const FILLED_IN: &[(&str, &[&str])] = &[
    ("apiVersion", &["\"v1\""]),
    // Definitions of IPPool: assignmentMode from v3.32 on, nodeSelector from v3.33 on.
    ("assignmentMode", &["\"Automatic\""]),
    ("defaultMode", &["420"]),
    ("dnsPolicy", &["\"ClusterFirst\""]),
    ("failureThreshold", &["3"]),
    ("imagePullPolicy", &["\"IfNotPresent\""]),
    ("internalTrafficPolicy", &["\"Cluster\""]),
    ("ipFamilyPolicy", &["\"SingleStack\""]),
    ("maxSurge", &["0"]),
    ("maxUnavailable", &["1"]),
    ("minReadySeconds", &["0"]),
    ("nodeSelector", &["\"all()\""]),
    ("periodSeconds", &["10"]),
    ("progressDeadlineSeconds", &["600", "2147483647"]),
    ("policyTypes", &["[\"Ingress\"]"]),
    ("protocol", &["\"TCP\""]),
    ("readOnly", &["false"]),
    ("restartPolicy", &["\"Always\""]),
    ("revisionHistoryLimit", &["10", "2147483647"]),
    ("rollingUpdate", &["{\"maxSurge\":0,\"maxUnavailable\":1}", "{\"maxUnavailable\":1}"]),
    ("schedulerName", &["\"default-scheduler\""]),
    ("scheme", &["\"HTTP\""]),
    ("securityContext", &["{}"]),
    ("sessionAffinity", &["\"None\""]),
    ("successThreshold", &["1"]),
    ("terminationGracePeriodSeconds", &["30"]),
    ("terminationMessagePath", &["\"/dev/termination-log\""]),
    ("terminationMessagePolicy", &["\"File\""]),
    ("timeoutSeconds", &["1"]),
    ("type", &["\"\"", "\"ClusterIP\""]),
    ("value", &["\"\""]),
];

/// The fields whose every value is the server's: the token list of a service account, the addresses of a Service.
const ANY_VALUE: [&str; 4] = ["secrets", "clusterIP", "clusterIPs", "ipFamilies"];

fn is_filled_in_by_servers(path: &str, value: &Value) -> bool {
    let key = path.rsplit('.').next().unwrap_or(path);
    let text = value.to_string();
    is_empty(value)
        || ANY_VALUE.contains(&key)
        || FILLED_IN.iter().any(|(name, values)| *name == key && values.contains(&text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_server_fills_in_is_no_difference() {
        let wanted = json!({"spec": {"containers": [{"name": "a", "readinessProbe": {"httpGet": {"port": 9099}}}]}});
        let found = json!({"spec": {"restartPolicy": "Always", "containers": [{"name": "a",
            "readinessProbe": {"httpGet": {"port": 9099, "scheme": "HTTP"}, "timeoutSeconds": 1}}]}});
        assert_eq!(differences(&wanted, &found), []);
    }

    #[test]
    fn a_field_that_nobody_wanted_is_a_difference() {
        let found = json!({"spec": {"timeoutSeconds": 5, "extra": true}});
        let paths: Vec<_> = differences(&json!({"spec": {}}), &found).into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["spec.extra", "spec.timeoutSeconds"]);
    }

    #[test]
    fn a_list_is_compared_in_its_order() {
        let all =
            differences(&json!({"a": [{"name": "x"}, {"name": "y"}]}), &json!({"a": [{"name": "y"}, {"name": "x"}]}));
        assert_eq!(all.len(), 2);
    }
}
