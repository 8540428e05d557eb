//! What Calico v2 keeps under which key, and whether a value reads as it must.
//!
//! Source: libcalico-go v1.7, lib/backend/model. Read are the name of the key, the JSON and what it begins with, and addresses
//! of pools and peers. Calico itself passes over a value that it cannot read, without a word.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use serde_json::Value;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    Ready,
    Config,
    HostConfig,
    HostEndpoint,
    WorkloadEndpoint,
    Policy,
    Tier,
    Profile,
    IpPool,
    BgpConfig,
    BgpPeer,
    IpamBlock,
    IpamAffinity,
    IpamHandle,
    IpamConfig,
    /// What Felix reports of itself.
    Status,
    /// Nothing that Calico v2 is known to write.
    Foreign,
}

/// A value that Calico cannot read, and so passes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    pub key: String,
    pub why: String,
}

/// What a look at one key showed.
pub(super) struct Looked {
    pub kind: KeyKind,
    pub trouble: Option<String>,
    /// Names of further keys that no list shows.
    pub mentions: BTreeSet<String>,
}

/// What a value must begin with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Object,
    /// An object, or nothing at all: Calico before v2.6.3 claims blocks without a value.
    ObjectOrEmpty,
    List,
}

impl KeyKind {
    pub const fn name(self) -> &'static str {
        match self {
            KeyKind::Ready => "ready flag",
            KeyKind::Config => "global settings",
            KeyKind::HostConfig => "host settings",
            KeyKind::HostEndpoint => "host endpoints",
            KeyKind::WorkloadEndpoint => "workload endpoints",
            KeyKind::Policy => "policies",
            KeyKind::Tier => "tiers",
            KeyKind::Profile => "profile parts",
            KeyKind::IpPool => "IP pools",
            KeyKind::BgpConfig => "BGP settings",
            KeyKind::BgpPeer => "BGP peers",
            KeyKind::IpamBlock => "IPAM blocks",
            KeyKind::IpamAffinity => "IPAM affinities",
            KeyKind::IpamHandle => "IPAM handles",
            KeyKind::IpamConfig => "IPAM settings",
            KeyKind::Status => "status reports",
            KeyKind::Foreign => "keys of others",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// Looks at one key.
pub(super) fn look(key: &str, value: &str) -> Looked {
    let elements: Vec<&str> = key.split('/').skip(1).collect();
    let (kind, shape) = place(&elements);
    let json = match shape {
        Shape::Text => Ok(Value::Null),
        Shape::ObjectOrEmpty if value.is_empty() => Ok(Value::Null),
        Shape::Object | Shape::ObjectOrEmpty | Shape::List => {
            serde_json::from_str::<Value>(value).map_err(|error| format!("no JSON: {error}"))
        }
    };
    let last = elements.last().copied().unwrap_or_default();
    let trouble = match &json {
        Err(why) => Some(why.clone()),
        Ok(json) => wrong_shape(shape, json).or_else(|| wrong_name(kind, last)).or_else(|| wrong_address(kind, json)),
    };
    Looked { kind, trouble, mentions: json.map(|json| mentions(kind, &json)).unwrap_or_default() }
}

fn place(elements: &[&str]) -> (KeyKind, Shape) {
    match elements {
        ["calico", "v1", "Ready"] => (KeyKind::Ready, Shape::Text),
        ["calico", "v1", "config", _, ..] => (KeyKind::Config, Shape::Text),
        ["calico", "v1", "host", _, "endpoint", _] => (KeyKind::HostEndpoint, Shape::Object),
        ["calico", "v1", "host", _, "workload", _, _, "endpoint", _] => (KeyKind::WorkloadEndpoint, Shape::Object),
        ["calico", "v1", "host", _, "orchestrator_refs"] => (KeyKind::HostConfig, Shape::List),
        ["calico", "v1", "host", _, "metadata" | "bird_ip"] => (KeyKind::HostConfig, Shape::Text),
        ["calico", "v1", "host", _, "config", _, ..] => (KeyKind::HostConfig, Shape::Text),
        ["calico", "v1", "policy", "tier", "default", "policy", _] => (KeyKind::Policy, Shape::Object),
        ["calico", "v1", "policy", "tier", ..] => (KeyKind::Tier, Shape::Text),
        ["calico", "v1", "policy", "profile", _, "rules" | "labels"] => (KeyKind::Profile, Shape::Object),
        ["calico", "v1", "policy", "profile", _, "tags"] => (KeyKind::Profile, Shape::List),
        ["calico", "v1", "ipam", "v4" | "v6", "pool", _] => (KeyKind::IpPool, Shape::Object),
        ["calico", "bgp", "v1", "global", "peer_v4" | "peer_v6", _] => (KeyKind::BgpPeer, Shape::Object),
        ["calico", "bgp", "v1", "host", _, "peer_v4" | "peer_v6", _] => (KeyKind::BgpPeer, Shape::Object),
        ["calico", "bgp", "v1", "global", "node_mesh"] => (KeyKind::BgpConfig, Shape::Object),
        ["calico", "bgp", "v1", "global" | "host", _, ..] => (KeyKind::BgpConfig, Shape::Text),
        ["calico", "ipam", "v2", "assignment", "ipv4" | "ipv6", "block", _] => (KeyKind::IpamBlock, Shape::Object),
        ["calico", "ipam", "v2", "host", _, "ipv4" | "ipv6", "block", _] => {
            (KeyKind::IpamAffinity, Shape::ObjectOrEmpty)
        }
        ["calico", "ipam", "v2", "handle", _] => (KeyKind::IpamHandle, Shape::Object),
        ["calico", "ipam", "v2", "config"] => (KeyKind::IpamConfig, Shape::Object),
        ["calico", "felix", ..] => (KeyKind::Status, Shape::Text),
        _ => (KeyKind::Foreign, Shape::Text),
    }
}

/// `null` reads as an empty value, whatever is wanted.
fn wrong_shape(shape: Shape, json: &Value) -> Option<String> {
    let wanted = match shape {
        Shape::Text => return None,
        Shape::Object | Shape::ObjectOrEmpty if json.is_object() || json.is_null() => return None,
        Shape::List if json.is_array() || json.is_null() => return None,
        Shape::Object | Shape::ObjectOrEmpty => "object",
        Shape::List => "list",
    };
    Some(format!("a JSON {wanted} was expected"))
}

/// The last element of some keys is an address; the `/` of a network is written `-`.
fn wrong_name(kind: KeyKind, name: &str) -> Option<String> {
    let is_right = match kind {
        KeyKind::IpPool | KeyKind::IpamBlock | KeyKind::IpamAffinity => is_network(&name.replacen('-', "/", 1)),
        KeyKind::BgpPeer => name.parse::<IpAddr>().is_ok(),
        KeyKind::Ready
        | KeyKind::Config
        | KeyKind::HostConfig
        | KeyKind::HostEndpoint
        | KeyKind::WorkloadEndpoint
        | KeyKind::Policy
        | KeyKind::Tier
        | KeyKind::Profile
        | KeyKind::BgpConfig
        | KeyKind::IpamHandle
        | KeyKind::IpamConfig
        | KeyKind::Status
        | KeyKind::Foreign => true,
    };
    (!is_right).then(|| format!("`{name}` is no address"))
}

fn wrong_address(kind: KeyKind, json: &Value) -> Option<String> {
    let (field, is_right): (_, fn(&str) -> bool) = match kind {
        KeyKind::IpPool => ("cidr", is_network),
        KeyKind::BgpPeer => ("ip", |text| text.parse::<IpAddr>().is_ok()),
        KeyKind::Ready
        | KeyKind::Config
        | KeyKind::HostConfig
        | KeyKind::HostEndpoint
        | KeyKind::WorkloadEndpoint
        | KeyKind::Policy
        | KeyKind::Tier
        | KeyKind::Profile
        | KeyKind::BgpConfig
        | KeyKind::IpamBlock
        | KeyKind::IpamAffinity
        | KeyKind::IpamHandle
        | KeyKind::IpamConfig
        | KeyKind::Status
        | KeyKind::Foreign => return None,
    };
    let text = json.get(field).and_then(Value::as_str).unwrap_or_default();
    (!is_right(text)).then(|| format!("its {field} `{text}` is no address"))
}

/// A bare address counts as a network of one.
fn is_network(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "0"));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    prefix.bytes().all(|byte| byte.is_ascii_digit()) && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest)
}

fn mentions(kind: KeyKind, json: &Value) -> BTreeSet<String> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    match kind {
        KeyKind::WorkloadEndpoint | KeyKind::HostEndpoint => {
            let profiles = texts(&json["profile_ids"]);
            hidden(
                profiles.iter().map(|name| name.replace('%', "%25").replace('/', "%2f")),
                &["/calico/v1/policy/profile"],
            )
        }
        KeyKind::IpamBlock => {
            let affinity = json["affinity"].as_str().and_then(|text| text.strip_prefix("host:"));
            let hosts = affinity.into_iter().chain(json["hostAffinity"].as_str()).map(str::to_owned);
            let attributes = json["attributes"].as_array().into_iter().flatten();
            let handles = attributes.filter_map(|one| one["handle_id"].as_str().map(str::to_owned));
            let below_hosts = ["/calico/v1/host", "/calico/bgp/v1/host", "/calico/ipam/v2/host"];
            let mut all = hidden(hosts, &below_hosts);
            all.extend(hidden(handles, &["/calico/ipam/v2/handle"]));
            all
        }
        KeyKind::Ready
        | KeyKind::Config
        | KeyKind::HostConfig
        | KeyKind::Policy
        | KeyKind::Tier
        | KeyKind::Profile
        | KeyKind::IpPool
        | KeyKind::BgpConfig
        | KeyKind::BgpPeer
        | KeyKind::IpamAffinity
        | KeyKind::IpamHandle
        | KeyKind::IpamConfig
        | KeyKind::Status
        | KeyKind::Foreign => BTreeSet::new(),
    }
}

/// The names among these that etcd hides, as keys below each of the directories.
fn hidden(names: impl Iterator<Item = String>, directories: &[&str]) -> BTreeSet<String> {
    let names: BTreeSet<String> = names.filter(|name| name.starts_with('_') && !name.contains('/')).collect();
    names.iter().flat_map(|name| directories.iter().map(move |directory| format!("{directory}/{name}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_calico_would_pass_over_is_told() {
        let policy = "/calico/v1/policy/tier/default/policy/a";
        for (key, value, why) in [
            (policy, "{", "no JSON: EOF while parsing an object at line 1 column 1"),
            (policy, "[]", "a JSON object was expected"),
            ("/calico/v1/policy/profile/p/tags", "{}", "a JSON list was expected"),
            ("/calico/v1/ipam/v4/pool/10.0.0.0-33", "{}", "`10.0.0.0-33` is no address"),
            ("/calico/v1/ipam/v4/pool/10.0.0.0-16", "{}", "its cidr `` is no address"),
            ("/calico/bgp/v1/global/peer_v4/a", "{}", "`a` is no address"),
            ("/calico/ipam/v2/host/a/ipv6/block/fd80::-x", "", "`fd80::-x` is no address"),
        ] {
            assert_eq!(look(key, value).trouble.as_deref(), Some(why), "{key} {value}");
        }
    }

    #[test]
    fn what_calico_reads_is_no_trouble() {
        for (key, value) in [
            ("/calico/v1/policy/tier/default/policy/a", "null"),
            ("/calico/v1/Ready", "True"),
            ("/calico/v1/host/a/metadata", ""),
            ("/calico/ipam/v2/host/a/ipv4/block/10.0.0.0-26", ""),
            ("/calico/ipam/v2/assignment/ipv6/block/fd80:24e2::-122", "{}"),
            ("/calico/v1/ipam/v4/pool/10.0.0.0-16", r#"{"cidr": "10.0.0.0/16"}"#),
            ("/calico/of/others", "{"),
        ] {
            assert_eq!(look(key, value).trouble, None, "{key} {value}");
        }
    }

    #[test]
    fn names_that_no_list_shows_are_taken_from_what_mentions_them() {
        let endpoint = r#"{"profile_ids": ["_a/b", "c"]}"#;
        let found = look("/calico/v1/host/h/workload/k8s/w/endpoint/e", endpoint).mentions;
        assert_eq!(Vec::from_iter(found), ["/calico/v1/policy/profile/_a%2fb"]);
        let block = r#"{"affinity": "host:_h", "attributes": [{"handle_id": "_i"}, {"handle_id": "j"}]}"#;
        let found = look("/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-26", block).mentions;
        let wanted =
            ["/calico/bgp/v1/host/_h", "/calico/ipam/v2/handle/_i", "/calico/ipam/v2/host/_h", "/calico/v1/host/_h"];
        assert_eq!(Vec::from_iter(found), wanted);
    }
}
