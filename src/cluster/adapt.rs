//! The shapes of a CustomResourceDefinition on servers, and the one that the rest of the program sees.

use serde_json::{Value, json};

use super::served::Resource;
use crate::resource::{Document, Kind, definition, is_whole_definition};

/// Makes the body that this server takes.
pub(super) fn to_served(kind: Kind, resource: &Resource, document: &Document) -> Value {
    let mut body = document.value();
    if kind == Kind::CustomResourceDefinition && resource.version == "v1" && !is_whole_definition(&body["spec"]) {
        body["spec"] = to_v1_definition(&body["spec"]);
    }
    body["apiVersion"] = json!(resource.api_version());
    body["kind"] = json!(kind.name());
    body
}

/// Makes the shape that the rest of the program sees from what this server gave.
pub(super) fn from_served(kind: Kind, mut body: Value) -> Value {
    if kind == Kind::CustomResourceDefinition {
        body["spec"] = definition(&body["spec"]);
    }
    body
}

/// Takes the content of a body that an API server gave some time ago, in whichever API version that was.
pub fn document_of(kind: Kind, body: Value) -> Document {
    Document::new(from_served(kind, body))
}

fn to_v1_definition(spec: &Value) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    json!({
        "group": spec["group"], "names": spec["names"], "scope": spec["scope"],
        "versions": [{"name": spec["version"], "served": true, "storage": true, "schema": schema}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_reads_the_same_from_both_api_versions() {
        let old = json!({"spec": {"group": "g", "version": "v1", "scope": "Cluster",
            "names": {"kind": "A", "plural": "as", "singular": "a", "listKind": "AList"}}});
        let resource = Resource { group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" };
        let new = to_served(Kind::CustomResourceDefinition, &resource, &Document::new(old.clone()));
        assert_eq!(new["spec"]["versions"][0]["name"], "v1");
        let read = |body| from_served(Kind::CustomResourceDefinition, body)["spec"].clone();
        assert_eq!(read(new), read(old));
    }
}
