//! Keeps out of an account what others must not read: Secrets, and whatever stands under a key that looks like one.
//!
//! Rather too much is masked than too little: an account goes into tickets and mails.

use serde_json::Value;

use crate::resource::{Kind, ObjectRef};

/// What stands where something was taken out.
pub const MASKED: &str = "(masked)";

/// Parts of a key that make its value nobody's business.
const TELLING: [&str; 8] =
    ["password", "passwd", "passphrase", "token", "secret", "credential", "authorization", "kubeconfig"];

/// A field of an object as others may read it.
pub fn masked_field(object: &ObjectRef, path: &str, value: &Value) -> Value {
    if object.kind == Kind::Secret || (!is_reference(path) && is_telling(&without_elements(path))) {
        return Value::from(MASKED);
    }
    masked(value)
}

/// References name a key or a Secret, and do not hold it.
fn is_reference(path: &str) -> bool {
    ["KeyRef", "imagePullSecrets", "secretName"].iter().any(|reference| path.contains(reference))
}

/// A path without what tells elements of a set apart, as in `tolerations[{"key":"dedicated"}]`: that is content.
fn without_elements(path: &str) -> String {
    let mut parts = path.split("[{");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once("}]").map_or("", |(_, rest)| rest))
}

/// Answers whether one of the words of a key says that its value is a secret.
fn is_telling(key: &str) -> bool {
    words(key).iter().any(|word| {
        TELLING.iter().any(|telling| word.contains(telling))
            || word.ends_with("key")
            || word.ends_with("keys")
            || word.starts_with("cert")
            || ["ca", "pem", "psk"].contains(&word.as_str())
    })
}

/// The words of a key, whether it is written `etcd_key`, `etcd-key` or `etcdKey`.
fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for one in key.chars() {
        if !one.is_alphanumeric() || (was_lower && one.is_uppercase()) {
            words.push(String::new());
        }
        was_lower = one.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| one.is_alphanumeric()) {
            word.extend(one.to_lowercase());
        }
    }
    words
}

fn masked(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
            // The key of a toleration or of a selector is the name of a label.
            let is_selector = fields.contains_key("operator") || fields.contains_key("effect");
            let is_secret = fields.get("kind").is_some_and(|kind| kind == "Secret");
            let field = |(key, value): (&String, &Value)| {
                let is_hidden = (key == "value" && is_telling(name))
                    || (is_secret && ["data", "stringData"].contains(&key.as_str()))
                    || (is_telling(key) && !is_reference(key) && !(is_selector && key == "key"));
                let value = if is_hidden {
                    Value::from(MASKED)
                } else if is_reference(key) {
                    value.clone()
                } else {
                    masked(value)
                };
                (key.clone(), value)
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(masked).collect()),
        Value::String(text) => Value::String(masked_text(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Text as others may read it: a configuration, a message, a whole object as JSON.
pub fn masked_text(text: &str) -> String {
    if text.contains("-----BEGIN") {
        return MASKED.to_owned();
    }
    let is_one_line = !text.contains('\n');
    match serde_json::from_str::<Value>(text) {
        Ok(body @ (Value::Object(_) | Value::Array(_))) if is_one_line => masked(&body).to_string(),
        Ok(_) | Err(_) => masked_lines(text),
    }
}

fn masked_lines(text: &str) -> String {
    let mut out = Vec::new();
    // A key whose value follows on deeper lines, as YAML writes long ones.
    let mut hidden_below = None;
    for line in text.split('\n') {
        let depth = line.len() - line.trim_start().len();
        if hidden_below.is_some_and(|key| depth > key || line.trim().is_empty()) {
            continue;
        }
        hidden_below = None;
        match telling_key_end(line) {
            Some(end) => {
                let rest = line[end..].trim();
                if rest.is_empty() || rest.starts_with(['|', '>', '{', '[']) {
                    hidden_below = Some(depth);
                }
                out.push(format!("{} {MASKED}", &line[..end]));
            }
            None => out.push(masked_words(line)),
        }
    }
    out.join("\n")
}

/// Where the first key of a line ends that says that its value is a secret.
fn telling_key_end(line: &str) -> Option<usize> {
    let separators = line.match_indices([':', '=']).map(|(at, _)| at);
    separators.filter(|at| !line[*at..].starts_with("://")).find_map(|at| {
        let before = line[..at].trim_end_matches(['"', '\'', ' ', '\\']);
        let start = before.rfind(|one: char| !one.is_alphanumeric() && !"_-./".contains(one));
        let key = start.map_or(before, |start| &before[start..]);
        is_telling(key).then_some(at + 1)
    })
}

/// Names and passwords in addresses, and tokens that stand by themselves.
fn masked_words(line: &str) -> String {
    let word = |word: &str| {
        let account = word.find("://").and_then(|start| {
            let rest = &word[start + 3..];
            let host = &rest[..rest.find('/').unwrap_or(rest.len())];
            host.rfind('@').map(|end| format!("{}{MASKED}{}", &word[..start + 3], &rest[end..]))
        });
        match account {
            Some(address) => address,
            // The first bytes of each JSON Web Token.
            None if word.contains("eyJ") && word.len() > 40 => MASKED.to_owned(),
            None => word.to_owned(),
        }
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config_map(path: &str, value: &Value) -> String {
        masked_field(&ObjectRef::namespaced(Kind::ConfigMap, "kube-system", "calico-config"), path, value).to_string()
    }

    #[test]
    fn everything_of_a_secret_is_masked() {
        let secret = ObjectRef::namespaced(Kind::Secret, "kube-system", "calico-etcd-secrets");
        assert_eq!(masked_field(&secret, "data.note", &json!("hello")), json!(MASKED));
    }

    #[test]
    fn what_stands_under_a_telling_key_is_masked_wherever_it_stands() {
        for (path, value) in [
            ("data.etcd_key", json!("hunter2")),
            ("spec.containers[calico-node].env[ETCD_PASSWORD].value", json!("hunter2")),
            ("spec.containers[a].env", json!([{"name": "API_TOKEN", "value": "hunter2"}])),
            ("data.cni_network_config", json!("{\n  \"policy\": {\"k8s_auth_token\": \"hunter2\"},\n  \"mtu\": 1\n}")),
            ("data.cni_network_config", json!("{\"etcdKey\": \"hunter2\"}")),
            ("data.app", json!("password:\n  hunter2\nmtu: 1")),
            ("data.app", json!("clientCert: |\n  hunter2\n\n  hunter2")),
            ("data.app", json!("-----BEGIN CERTIFICATE-----\nhunter2")),
            ("data.app", json!("etcd at https://root:hunter2@10.0.0.1:2379/v2")),
            ("metadata.annotations.last", json!("{\"kind\":\"Secret\",\"data\":{\"a\":\"hunter2\"}}")),
        ] {
            let shown = config_map(path, &value);
            assert!(shown.contains(MASKED) && !shown.contains("hunter2"), "{path}: {shown}");
        }
    }

    #[test]
    fn what_is_no_secret_stays_readable() {
        for (path, value) in [
            ("spec.containers[calico-node].image", json!("registry.example:5000/calico/node:v2.6.12")),
            ("spec.containers[a].env[MTU].valueFrom.configMapKeyRef.key", json!("veth_mtu")),
            ("data.cni_network_config", json!("{\n  \"mtu\": 1450\n}")),
            ("spec.tolerations[{\"key\":\"dedicated\"}]", json!({"key": "dedicated", "operator": "Exists"})),
            ("spec.imagePullSecrets", json!([{"name": "registry"}])),
        ] {
            assert_eq!(config_map(path, &value), value.to_string());
        }
    }
}
