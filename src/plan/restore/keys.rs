//! Keys of Calico's own etcd: which are not restored, and where each stands in the order.
//!
//! Felix programs an endpoint once it knows it, by the policies that it knows then, and by profiles where no policy selects it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Materials, order::Place};
use crate::resource::{Document, Kind, ObjectRef};

/// What is known of keys beside their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Keys that had a time to live.
    pub passing: BTreeSet<ObjectRef>,
    /// Keys whose bytes may have been others.
    pub inexact: BTreeSet<ObjectRef>,
    /// The names of all keys that are listed now.
    pub live: BTreeSet<String>,
}

/// Why a key that differs is not restored.
pub(super) fn obstacle(materials: &Materials<'_>, object: &ObjectRef) -> Option<String> {
    if object.kind != Kind::EtcdKey {
        return None;
    }
    if !materials.served.contains(&Kind::EtcdKey) {
        return Some("no etcd was named: say where it is with --datastore etcdv2 and --etcd-endpoints".to_owned());
    }
    if materials.keys.passing.contains(object) {
        return Some("it had a time to live: whoever wrote it writes it again".to_owned());
    }
    if let Some(other) = in_the_way(&materials.keys.live, &object.name) {
        return Some(format!("{other} is there now, and no name is a key and a directory at once"));
    }
    let is_inexact = materials.keys.inexact.contains(object) && !materials.named.contains(object);
    is_inexact.then(|| "etcd gave it with bytes replaced, so these may not be what was stored; or --only".to_owned())
}

/// A key below this one makes its name a directory; a key above it makes a directory impossible.
fn in_the_way<'a>(live: &'a BTreeSet<String>, key: &str) -> Option<&'a String> {
    let below = live.range(format!("{key}/")..).next().filter(|one| one.starts_with(&format!("{key}/")));
    below.or_else(|| key.match_indices('/').skip(1).find_map(|(end, _)| live.get(&key[..end])))
}

/// Answers where a key belongs: what denies before what allows, both before the endpoints that they are for.
///
/// The flag `Ready` is last: a node that starts before it is there programs nothing, rather than half of the policies.
pub(super) fn place(key: &str, after: &Document, before: Option<&Document>) -> Place {
    if is_policy(key) {
        return match (before.is_some_and(|before| selector(before) != selector(after)), lets_in(after)) {
            (true, _) => Place::MovedKeys,
            (false, false) => Place::DenyingKeys,
            (false, true) => Place::AllowingKeys,
        };
    }
    match key.strip_prefix("/calico/v1/") {
        Some("Ready") => Place::Ready,
        Some(rest) if rest.starts_with("policy/profile/") => Place::Profiles,
        Some(rest) if rest.starts_with("host/") && rest.contains("/endpoint/") => Place::Endpoints,
        Some(_) | None => Place::Data,
    }
}

/// A policy in a tier: `/calico/v1/policy/tier/TIER/policy/NAME`.
fn is_policy(key: &str) -> bool {
    let parts: Vec<&str> = key.strip_prefix("/calico/v1/policy/tier/").unwrap_or_default().split('/').collect();
    matches!(parts.as_slice(), [_, "policy", _])
}

fn selector(document: &Document) -> Option<String> {
    policy(document)?["selector"].as_str().map(str::to_owned)
}

/// A value that Calico cannot read is passed over, and lets nothing in.
fn policy(document: &Document) -> Option<Value> {
    serde_json::from_str(document.value()["value"].as_str()?).ok()
}

/// A rule without an action allows (libcalico-go, backend model, rule).
fn lets_in(document: &Document) -> bool {
    let Some(policy) = policy(document) else { return false };
    let rules = ["inbound_rules", "outbound_rules"].into_iter().filter_map(|way| policy[way].as_array()).flatten();
    let keeps_out = |rule: &Value| {
        rule["action"].as_str().is_some_and(|action| ["deny", "log", "next-tier", "pass"].contains(&action))
    };
    rules.into_iter().any(|rule| !keeps_out(rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(value: &str) -> Document {
        Document::new(json!({"metadata": {"name": "k"}, "value": value}))
    }

    fn places(keys: &[(&str, &str)]) -> Vec<Place> {
        keys.iter().map(|(name, value)| place(name, &key(value), None)).collect()
    }

    #[test]
    fn what_denies_comes_before_what_allows_and_the_flag_for_nodes_comes_last() {
        let policy = "/calico/v1/policy/tier/default/policy/a";
        let found = places(&[
            ("/calico/v1/config/LogSeverityScreen", "info"),
            (policy, r#"{"inbound_rules": [{"action": "deny"}]}"#),
            (policy, r#"{"inbound_rules": [{"action": "deny"}, {}]}"#),
            ("/calico/v1/policy/profile/a/rules", "{}"),
            ("/calico/v1/host/n/workload/k8s/w/endpoint/eth0", "{}"),
            ("/calico/v1/Ready", "true"),
        ]);
        assert_eq!(
            found,
            [Place::Data, Place::DenyingKeys, Place::AllowingKeys, Place::Profiles, Place::Endpoints, Place::Ready]
        );
        assert!(found.is_sorted());
    }

    #[test]
    fn a_key_does_not_come_back_where_its_name_is_a_directory_or_a_directory_would_be_a_key() {
        let live: BTreeSet<String> = ["/calico/a/b", "/calico/c"].map(str::to_owned).into();
        for (key, other) in [
            ("/calico/a", Some("/calico/a/b")),
            ("/calico/c/d/e", Some("/calico/c")),
            ("/calico/a/b", None),
            ("/calico/cc", None),
        ] {
            assert_eq!(in_the_way(&live, key).map(String::as_str), other, "{key}");
        }
    }

    #[test]
    fn a_policy_that_calico_cannot_read_lets_nothing_in_and_one_for_others_waits() {
        let policy = "/calico/v1/policy/tier/default/policy/a";
        assert_eq!(place(policy, &key("{\"selector\": "), None), Place::DenyingKeys);
        let (all, some) = (key(r#"{"selector": "all()"}"#), key(r#"{"selector": "a == 'b'"}"#));
        assert_eq!(place(policy, &some, Some(&all)), Place::MovedKeys);
    }
}
