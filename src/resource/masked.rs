//! Values that nobody may read on a screen, in a report or in a file meant to be passed around.

use serde_json::{Map, Value};

/// What stands in the place of a secret.
pub const HIDDEN: &str = "(hidden)";

/// Words in the name of a field that make its value a secret.
const SECRET_WORDS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "credential",
    "private_key",
    "privatekey",
    "apikey",
    "access_key",
];

/// Hides what is secret in a value, judged by the names in it and by the name of the field that holds it.
pub fn masked(path: &str, value: &Value) -> Value {
    hide(is_secret(last_name(path)), value)
}

fn hide(is_within: bool, value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(hide_fields(is_within, fields)),
        Value::Array(items) => Value::Array(items.iter().map(|item| hide(is_within, item)).collect()),
        Value::String(text) if is_placeholder(text) => value.clone(),
        Value::String(_) | Value::Number(_) if is_within => Value::from(HIDDEN),
        Value::String(text) => Value::from(hide_in_text(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// An element of `env` tells by its `name` what its `value` is; which Secret it comes from is no secret.
fn hide_fields(is_within: bool, fields: &Map<String, Value>) -> Map<String, Value> {
    let named = fields.get("name").and_then(Value::as_str).is_some_and(is_secret);
    let hidden = fields.iter().map(|(key, value)| {
        let is_secret = match key.as_str() {
            "value" => is_within || named,
            "name" | "mountPath" | "path" => false,
            key => is_secret(key) && !value.is_object() && !value.is_array(),
        };
        (key.clone(), hide(is_secret, value))
    });
    hidden.collect()
}

/// The last name of a path: of `env[X].value` that is `X`.
fn last_name(path: &str) -> &str {
    let path = path.strip_suffix(".value").unwrap_or(path);
    let path = path.strip_suffix(']').map_or(path, |path| path.rsplit_once('[').map_or(path, |(_, label)| label));
    path.rsplit(['.', ':']).next().unwrap_or(path)
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    // `imagePullSecrets`, `secretName` and `secretKeyRef` name Secrets and hold none.
    let only_names = ["pullsecrets", "secretname", "secretkeyref", "secret_name"];
    SECRET_WORDS.iter().any(|word| name.contains(word)) && !only_names.iter().any(|known| name.contains(known))
}

/// `__SERVICEACCOUNT_TOKEN__` is filled in on the node.
fn is_placeholder(text: &str) -> bool {
    text.is_empty() || (text.starts_with("__") && text.ends_with("__") && !text.contains(' '))
}

/// Hides in a text the login of an address, the value of a flag, and what JSON in it says under a secret's name.
fn hide_in_text(text: &str) -> String {
    if let Ok(inside @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str::<Value>(text) {
        let shown = hide(false, &inside);
        return if shown == inside { text.to_owned() } else { shown.to_string() };
    }
    let words = text.split_inclusive(char::is_whitespace).map(|word| {
        let end = word.trim_end();
        match (end.split_once("://"), end.split_once('=')) {
            (Some((scheme, rest)), _) if rest.split('/').next().is_some_and(|host| host.contains('@')) => {
                let host = rest.split_once('@').map_or(rest, |(_, host)| host);
                format!("{scheme}://{HIDDEN}@{host}{}", &word[end.len()..])
            }
            (_, Some((name, _))) if is_secret(name) => format!("{name}={HIDDEN}{}", &word[end.len()..]),
            _ => word.to_owned(),
        }
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_is_hidden_wherever_its_name_stands() {
        for (path, value) in [
            ("spec.env[TYPHA_PASSWORD].value", json!("canary")),
            ("spec.env[TYPHA_PASSWORD]", json!({"name": "TYPHA_PASSWORD", "value": "canary"})),
            ("data.cni_network_config:.policy.k8s_auth_token", json!("canary")),
            ("data.cni_network_config", json!(r#"{"policy": {"k8s_auth_token": "canary"}}"#)),
            ("spec.env[ETCD_ENDPOINTS].value", json!("https://user:canary@etcd:2379")),
            ("spec.containers[a].args", json!(["--level=info", "--etcd-password=canary"])),
            ("spec.containers[a]", json!({"name": "a", "env": [{"name": "API_TOKEN", "value": "canary"}]})),
        ] {
            let shown = masked(path, &value).to_string();
            assert!(shown.contains(HIDDEN) && !shown.contains("canary"), "{path}: {shown}");
        }
    }

    #[test]
    fn what_only_names_a_secret_is_shown() {
        for (path, value) in [
            ("spec.imagePullSecrets[corp]", json!({"name": "corp"})),
            ("data.cni_network_config:.policy.k8s_auth_token", json!("__SERVICEACCOUNT_TOKEN__")),
            ("spec.env[TOKEN].valueFrom", json!({"secretKeyRef": {"name": "typha", "key": "token"}})),
            ("spec.env[FELIX_IPINIPMTU].value", json!("1430")),
        ] {
            assert_eq!(masked(path, &value), value, "{path}");
        }
    }
}
