//! Builders of old objects for the tests of this room.

use serde_json::{Value, json};

use super::{NewObject, Verdict, convert_third_party_resources};

pub(super) fn old(api_version: &str, kind: &str, name: &str, spec: Value) -> Value {
    let metadata = json!({"name": name, "namespace": "kube-system", "resourceVersion": "7"});
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})
}

pub(super) fn pool(name: &str, value: &str) -> Value {
    old("projectcalico.org/v1", "IpPool", name, json!({"value": value}))
}

pub(super) fn peer(name: &str, spec: Value) -> Value {
    old("projectcalico.org/v1", "GlobalBgpPeer", name, spec)
}

pub(super) fn config(name: &str, spec: Value) -> Value {
    old("projectcalico.org/v1", "GlobalConfig", name, spec)
}

pub(super) fn system_policy(name: &str, spec: Value) -> Value {
    old("alpha.projectcalico.org/v1", "SystemNetworkPolicy", name, spec)
}

/// Converts a single object; no choice is made for system policies.
pub(super) fn convert_one(object: &Value) -> (Verdict, Vec<NewObject>) {
    let mut conversion = convert_third_party_resources([object], None);
    (conversion.verdicts.remove(0), conversion.objects)
}
