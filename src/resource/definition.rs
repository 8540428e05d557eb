//! The one form in which the program sees a CustomResourceDefinition, whichever API version it is written in.
//!
//! Those of Calico up to v2.6 say nothing but group, names, scope and version: `spec` holds these four then. One with schemas is as
//! apiextensions.k8s.io/v1 has it, without what servers fill in (Kubernetes API reference, CustomResourceDefinitionSpec).

use serde_json::{Map, Value, json};

/// Answers the form of a `spec` that can be compared.
pub fn definition(spec: &Value) -> Value {
    if has_schemas(spec) { whole(spec) } else { plain(spec) }
}

/// Answers whether a `spec` in that form says more than its names.
pub fn is_whole_definition(spec: &Value) -> bool {
    spec.get("versions").is_some()
}

fn has_schemas(spec: &Value) -> bool {
    let mut versions = spec["versions"].as_array().into_iter().flatten();
    versions.any(|version| version.pointer("/schema/openAPIV3Schema/properties").is_some())
}

fn plain(spec: &Value) -> Value {
    let stored = spec["versions"].as_array().into_iter().flatten().find(|version| version["storage"] == true);
    let version = stored.map_or(&spec["version"], |version| &version["name"]);
    let mut names = Map::new();
    for key in ["kind", "listKind", "plural", "singular", "shortNames"] {
        if let Some(value) = spec["names"].get(key) {
            names.insert(key.to_owned(), value.clone());
        }
    }
    json!({"group": spec["group"], "names": names, "scope": spec["scope"], "version": version})
}

fn whole(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_owned();
    if let Some(Value::Object(names)) = spec.get_mut("names") {
        names.entry("listKind").or_insert_with(|| json!(format!("{kind}List")));
        names.entry("singular").or_insert_with(|| json!(kind.to_lowercase()));
    }
    if let Value::Object(fields) = &mut spec {
        fields.retain(|key, value| match key.as_str() {
            "conversion" => *value != json!({"strategy": "None"}),
            "preserveUnknownFields" => *value != false,
            _ => true,
        });
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_fill_in_is_no_difference_and_unknown_fields_that_are_kept_are_one() {
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
        let mut shipped = json!({"group": "g", "scope": "Cluster", "versions": [version],
            "names": {"kind": "Tier", "plural": "tiers"}, "preserveUnknownFields": false});
        let mut live = shipped.clone();
        live["names"] = json!({"kind": "Tier", "plural": "tiers", "listKind": "TierList", "singular": "tier"});
        live["conversion"] = json!({"strategy": "None"});
        assert_eq!(definition(&live), definition(&shipped));
        shipped["preserveUnknownFields"] = json!(true);
        assert_ne!(definition(&live), definition(&shipped));
    }
}
