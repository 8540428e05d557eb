//! Decides what replaces a namespace's old isolation annotation, which Calico v2.6 no longer reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The policy that isolates a namespace in place of the annotation.
const DEFAULT_DENY: &str = "default-deny";

/// The only isolation that the annotation ever had.
const KNOWN_ISOLATION: &str = "DefaultDeny";

/// What decides the conversion of one namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamespacePolicies {
    pub name: String,
    pub phase: NamespacePhase,
    /// The text of the annotation `net.beta.kubernetes.io/network-policy`, if there is one.
    pub annotation: Option<String>,
    pub policies: Vec<ExistingPolicy>,
}

/// Whether a namespace is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespacePhase {
    Active,
    Terminating,
}

/// A NetworkPolicy that a namespace has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExistingPolicy {
    pub name: String,
    pub spec: Value,
}

/// What is to be done in one namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PolicyConversion {
    /// It is not isolated and has no policies.
    Nothing,
    /// It is isolated by the annotation and needs the policy that does the same.
    AddDefaultDeny { spec: Value },
    /// It is isolated by the annotation and has that policy already.
    AlreadyIsolated,
    /// It is isolated by the annotation, and its `default-deny` says something else.
    DefaultDenyDiffers { existing: Value },
    /// It is not isolated, so its policies lie dormant and would come to life.
    Remove { policies: Vec<String> },
    /// It is being deleted: nothing can be created there.
    Terminating,
    /// Its annotation says something that is not known.
    Unreadable { why: String },
}

impl PolicyConversion {
    /// Answers whether a person must act before anything is written.
    pub fn blocks(&self) -> bool {
        match self {
            Self::DefaultDenyDiffers { .. } | Self::Unreadable { .. } => true,
            Self::Nothing
            | Self::AddDefaultDeny { .. }
            | Self::AlreadyIsolated
            | Self::Remove { .. }
            | Self::Terminating => false,
        }
    }
}

/// Decides what keeps a namespace as open or as isolated as it is now.
pub fn conversion_for(namespace: &NamespacePolicies) -> PolicyConversion {
    match namespace.phase {
        NamespacePhase::Terminating => PolicyConversion::Terminating,
        NamespacePhase::Active => match is_isolated(namespace.annotation.as_deref()) {
            Err(why) => PolicyConversion::Unreadable { why },
            Ok(true) => isolated(&namespace.policies),
            Ok(false) => open(&namespace.policies),
        },
    }
}

fn isolated(policies: &[ExistingPolicy]) -> PolicyConversion {
    match policies.iter().find(|policy| policy.name == DEFAULT_DENY) {
        None => PolicyConversion::AddDefaultDeny { spec: json!({"podSelector": {}, "policyTypes": ["Ingress"]}) },
        Some(policy) if is_default_deny(&policy.spec) => PolicyConversion::AlreadyIsolated,
        Some(policy) => PolicyConversion::DefaultDenyDiffers { existing: policy.spec.clone() },
    }
}

fn open(policies: &[ExistingPolicy]) -> PolicyConversion {
    if policies.is_empty() {
        return PolicyConversion::Nothing;
    }
    PolicyConversion::Remove { policies: policies.iter().map(|policy| policy.name.clone()).collect() }
}

/// Answers whether a policy's spec denies all ingress to all pods and says nothing else.
pub fn is_default_deny(spec: &Value) -> bool {
    let Some(fields) = spec.as_object() else { return false };
    fields.iter().all(|(field, value)| match field.as_str() {
        "podSelector" => is_empty_selector(value),
        "ingress" | "egress" => is_absent_or_empty_list(value),
        // Servers before 1.8 do not store `policyTypes`, and later ones fill in exactly this.
        "policyTypes" => value.is_null() || *value == json!(["Ingress"]),
        _ => false,
    })
}

fn is_empty_selector(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.iter().all(|(field, value)| match field.as_str() {
            "matchLabels" => value.is_null() || value.as_object().is_some_and(Map::is_empty),
            "matchExpressions" => is_absent_or_empty_list(value),
            _ => false,
        }),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

fn is_absent_or_empty_list(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

#[derive(Deserialize)]
struct Annotation {
    ingress: Option<Ingress>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Ingress {
    isolation: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

fn is_isolated(annotation: Option<&str>) -> Result<bool, String> {
    let Some(text) = annotation else { return Ok(false) };
    let annotation: Annotation =
        serde_json::from_str(text).map_err(|error| format!("the annotation `{text}` is not readable: {error}"))?;
    refuse_other_case(&annotation.others, "ingress")?;
    let Some(ingress) = annotation.ingress else { return Ok(false) };
    refuse_other_case(&ingress.others, "isolation")?;
    match ingress.isolation.as_deref() {
        None => Ok(false),
        Some(KNOWN_ISOLATION) => Ok(true),
        Some(other) => Err(format!("the annotation's isolation is `{other}`, and only `{KNOWN_ISOLATION}` is known")),
    }
}

// Some old readers took keys in any case and others did not, so what the namespace was is not certain.
fn refuse_other_case(others: &BTreeMap<String, Value>, name: &str) -> Result<(), String> {
    match others.keys().find(|key| key.eq_ignore_ascii_case(name)) {
        Some(key) => Err(format!("the annotation's key `{key}` is not written `{name}`")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISOLATED: &str = r#"{"ingress":{"isolation":"DefaultDeny"}}"#;

    fn namespace(annotation: Option<&str>, policies: &[(&str, Value)]) -> NamespacePolicies {
        let policies =
            policies.iter().map(|(name, spec)| ExistingPolicy { name: (*name).to_owned(), spec: spec.clone() });
        let annotation = annotation.map(str::to_owned);
        NamespacePolicies {
            name: "shop".to_owned(),
            phase: NamespacePhase::Active,
            annotation,
            policies: policies.collect(),
        }
    }

    #[test]
    fn an_open_namespace_loses_its_dormant_policies() {
        let policies = [("allow-web", json!({})), ("default-deny", json!({"podSelector": {}}))];
        let removed = PolicyConversion::Remove { policies: vec!["allow-web".to_owned(), "default-deny".to_owned()] };
        for annotation in
            [None, Some("{}"), Some(r#"{"ingress":{}}"#), Some(r#"{"ingress":null}"#), Some(r#"{"egress":{"x":1}}"#)]
        {
            assert_eq!(conversion_for(&namespace(annotation, &policies)), removed, "{annotation:?}");
            assert_eq!(conversion_for(&namespace(annotation, &[])), PolicyConversion::Nothing, "{annotation:?}");
        }
    }

    #[test]
    fn an_isolated_namespace_gains_a_default_deny_and_keeps_its_policies() {
        let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"]});
        let conversion = conversion_for(&namespace(Some(ISOLATED), &[("allow-web", json!({}))]));
        assert_eq!(conversion, PolicyConversion::AddDefaultDeny { spec: spec.clone() });
        assert!(is_default_deny(&spec));
    }

    #[test]
    fn a_default_deny_of_the_same_meaning_is_enough() {
        for spec in [
            json!({"podSelector": {}}),
            json!({"podSelector": {}, "policyTypes": ["Ingress"]}),
            json!({"podSelector": null, "ingress": []}),
            json!({"podSelector": {"matchLabels": {}, "matchExpressions": []}, "ingress": null, "egress": []}),
        ] {
            let conversion = conversion_for(&namespace(Some(ISOLATED), &[("default-deny", spec.clone())]));
            assert_eq!(conversion, PolicyConversion::AlreadyIsolated, "{spec}");
        }
    }

    #[test]
    fn a_default_deny_of_another_meaning_is_shown_and_blocks() {
        for spec in [
            json!({"podSelector": {}, "ingress": [{}]}),
            json!({"podSelector": {"matchLabels": {"app": "web"}}}),
            json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}),
            json!({"podSelector": {}, "policyTypes": []}),
            json!({"podSelector": {}, "egress": [{}]}),
            json!({"podSelector": {}, "tier": "x"}),
            json!("deny"),
        ] {
            let conversion = conversion_for(&namespace(Some(ISOLATED), &[("default-deny", spec.clone())]));
            assert_eq!(conversion, PolicyConversion::DefaultDenyDiffers { existing: spec });
            assert!(conversion.blocks());
        }
    }

    #[test]
    fn an_annotation_that_cannot_be_understood_blocks() {
        for text in [
            "",
            "DefaultDeny",
            "null",
            "[]",
            r#"[{"isolation":"DefaultDeny"}]"#,
            r#"{"ingress":"DefaultDeny"}"#,
            r#"{"ingress":{"isolation":true}}"#,
            r#"{"ingress":{"isolation":"defaultDeny"}}"#,
            r#"{"ingress":{"isolation":""}}"#,
            r#"{"Ingress":{"isolation":"DefaultDeny"}}"#,
            r#"{"ingress":{"Isolation":"DefaultDeny"}}"#,
            r#"{"ingress":{"isolation":"DefaultDeny"},"ingress":{}}"#,
            r#"{"ingress":{"isolation":"DefaultDeny"}} x"#,
            r#"{"ingress":["DefaultDeny"]}"#,
        ] {
            let conversion = conversion_for(&namespace(Some(text), &[]));
            assert!(
                matches!(conversion, PolicyConversion::Unreadable { .. }) && conversion.blocks(),
                "{text}: {conversion:?}"
            );
        }
    }

    #[test]
    fn a_terminating_namespace_is_left_alone_whatever_it_says() {
        for annotation in [None, Some(ISOLATED), Some("broken")] {
            let leaving =
                NamespacePolicies { phase: NamespacePhase::Terminating, ..namespace(annotation, &[("a", json!({}))]) };
            assert_eq!(conversion_for(&leaving), PolicyConversion::Terminating);
        }
    }
}
