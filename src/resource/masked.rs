//! Values that nobody may read on a screen, in a report or in a file meant to be passed around.
//!
//! One rule for all of them, and rather too much is hidden than too little: accounts go into tickets and mails.

mod text;
mod words;

use serde_json::{Map, Value};

pub use text::masked_text;

use super::{Kind, ObjectRef};
use text::is_telling_flag;
use words::{Said, is_file, is_placeholder, is_reference, is_telling, said_by};

/// What stands in the place of a secret.
pub const HIDDEN: &str = "(hidden)";

/// What is known of a value by the names above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Plain,
    /// The path or the name beside it says that it is a secret; what names things in it is shown.
    Labelled,
    /// The key right above says so: all of it is hidden.
    Secret,
    /// It names a key or a Secret.
    Reference,
}

/// A field of an object as others may read it: of a Secret nothing.
pub fn masked_field(object: &ObjectRef, path: &str, value: &Value) -> Value {
    // A setting of Calico is an object or a key of etcd that has the setting's name and a field `value`.
    let is_setting = path.rsplit('.').next() == Some("value");
    let is_named = is_setting && is_telling(object.name.rsplit('/').next().unwrap_or_default());
    if object.kind == Kind::Secret {
        Value::from(HIDDEN)
    } else if is_named {
        hide(Within::Secret, value)
    } else {
        masked(path, value)
    }
}

/// Hides what is secret in a value, judged by the names in it and by those in the path that leads to it.
pub fn masked(path: &str, value: &Value) -> Value {
    let within = match said_by(path) {
        Said::Nothing => Within::Plain,
        Said::IsSecret => Within::Labelled,
        Said::NamesSecret => Within::Reference,
    };
    hide(within, value)
}

/// Hides what the names in a value make secret.
fn hide_within(value: &Value) -> Value {
    hide(Within::Plain, value)
}

fn hide(within: Within, value: &Value) -> Value {
    let is_secret = matches!(within, Within::Labelled | Within::Secret);
    match value {
        Value::Object(fields) => Value::Object(hide_fields(within, fields)),
        Value::Array(items) => Value::Array(hide_items(within, items)),
        Value::String(text) if text.is_empty() || is_placeholder(text) || is_file(text) => value.clone(),
        Value::String(_) | Value::Number(_) if is_secret => Value::from(HIDDEN),
        Value::String(text) => Value::from(masked_text(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// In a list of arguments the value of a flag may be the next element.
fn hide_items(within: Within, items: &[Value]) -> Vec<Value> {
    let is_flag = |at: usize| items[at].as_str().is_some_and(is_telling_flag);
    let item = |(at, item): (usize, &Value)| {
        let is_value = at > 0 && is_flag(at - 1) && item.as_str().is_some_and(|text| !text.starts_with('-'));
        hide(if is_value { Within::Secret } else { within }, item)
    };
    items.iter().enumerate().map(item).collect()
}

fn hide_fields(within: Within, fields: &Map<String, Value>) -> Map<String, Value> {
    fields.iter().map(|(key, value)| (key.clone(), hide(within_field(within, fields, key, value), value))).collect()
}

/// An element of `env` tells by its `name` what its `value` is; which Secret it comes from is no secret.
fn within_field(within: Within, fields: &Map<String, Value>, key: &str, value: &Value) -> Within {
    let is_named = || fields.get("name").and_then(Value::as_str).is_some_and(is_telling);
    // The key of a toleration or of a selector is the name of a label.
    let is_of_label = || key == "key" && (fields.contains_key("operator") || fields.contains_key("effect"));
    let is_data = || ["data", "stringData"].contains(&key) && fields.get("kind").is_some_and(|kind| kind == "Secret");
    let is_settled = matches!(within, Within::Reference | Within::Secret);
    match key {
        _ if is_settled => within,
        _ if is_reference(key) || value.get("secretName").is_some() => Within::Reference,
        "value" if within == Within::Labelled || is_named() => Within::Secret,
        "name" | "mountPath" | "path" => Within::Plain,
        _ if is_data() => Within::Secret,
        "key" if is_of_label() => Within::Plain,
        _ if is_telling(key) => Within::Secret,
        _ => within,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn where_a_key_lies_is_no_secret_and_what_it_is_stays_hidden() {
        let path = json!("/calico-secrets/etcd-key");
        assert_eq!(masked("data.etcd_key", &path), path);
        for text in ["/9j/4AAQSkZJRgABAQ+=", "/calico-secrets/etcd-key canary", "canary"] {
            assert_eq!(masked("data.etcd_key", &json!(text)), HIDDEN, "{text}");
        }
    }

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

    fn config_map(path: &str, value: &Value) -> String {
        masked_field(&ObjectRef::namespaced(Kind::ConfigMap, "kube-system", "calico-config"), path, value).to_string()
    }

    #[test]
    fn everything_of_a_secret_is_hidden() {
        let secret = ObjectRef::namespaced(Kind::Secret, "kube-system", "calico-etcd-secrets");
        assert_eq!(masked_field(&secret, "data.note", &json!("hello")), json!(HIDDEN));
    }

    #[test]
    fn what_stands_under_a_telling_key_is_hidden_wherever_it_stands() {
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
            assert!(shown.contains(HIDDEN) && !shown.contains("hunter2"), "{path}: {shown}");
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

    #[test]
    fn both_rules_hold_in_one_value() {
        for (path, value, shown) in [
            ("spec.volumes[certs]", json!({"name": "certs", "secret": {"secretName": "a"}}), "\"secretName\":\"a\""),
            ("spec.args", json!(["--password", "canary", "--level", "info"]), "\"info\""),
            ("data.start", json!("run --auth-token canary --level info"), "--level info"),
            ("data.conf", json!("{\n  \"auth_token\": \"canary\",\n  \"mtu\": 1\n}"), "mtu"),
            ("data.conf", json!("\"auth_token\": \"__TOKEN__\",\n\"mtu\": __MTU__"), "__TOKEN__"),
            ("data.conf", json!("{\"auth_token\": {\"name\": \"canary\"}, \"mtu\": 1}"), "mtu"),
            ("spec.tolerations[0].key", json!("dedicated"), "dedicated"),
        ] {
            let text = masked(path, &value).to_string();
            assert!(text.contains(shown) && !text.contains("canary"), "{path}: {text}");
        }
    }

    #[test]
    fn the_name_of_a_setting_tells_of_its_value() {
        let key = ObjectRef::cluster(Kind::EtcdKey, "/calico/v1/config/EtcdPassword");
        assert_eq!(masked_field(&key, "value", &json!("canary")), json!(HIDDEN));
        let other = ObjectRef::cluster(Kind::EtcdKey, "/calico/v1/config/LogSeverityScreen");
        assert_eq!(masked_field(&other, "value", &json!("info")), json!("info"));
    }
}
