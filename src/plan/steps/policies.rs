//! Isolated namespaces get a `default-deny`; the dormant policies of the others go, since the new Calico would enforce them.
//!
//! Source: Calico v2.6 documentation, getting-started/kubernetes/upgrade/convert.

use serde_json::json;

use super::Draft;
use crate::{
    check::{Finding, NEEDS_DECISION, Severity},
    convert::{ExistingPolicy, NamespacePhase, NamespacePolicies, PolicyConversion, conversion_for},
    inventory::{NamespaceFacts, Stored},
    plan::{Desired, ObjectChange, Stage, make::Materials},
    resource::{Document, Kind, ObjectRef},
};

/// The name that upstream's procedure gives the policy.
const DEFAULT_DENY: &str = "default-deny";

pub fn convert_policies(materials: &Materials<'_>) -> Draft {
    let (mut isolate, mut open, mut findings) = (Vec::new(), Vec::new(), Vec::new());
    for namespace in &materials.inventory.namespaces {
        match convert(namespace) {
            PolicyConversion::Nothing | PolicyConversion::AlreadyIsolated | PolicyConversion::Terminating => {}
            PolicyConversion::AddDefaultDeny { spec } => isolate.push(default_deny(&namespace.name, spec)),
            PolicyConversion::Remove { policies } => open.extend(removals(namespace, &policies)),
            PolicyConversion::DefaultDenyDiffers { existing } => findings.push(differs(namespace, &existing)),
            PolicyConversion::Unreadable { why } => findings.push(unreadable(namespace, &why)),
        }
    }
    let summary = format!("{} namespaces get default-deny, {} dormant policies are removed", isolate.len(), open.len());
    if isolate.is_empty() && open.is_empty() && findings.is_empty() {
        return Draft::nothing("no namespace needs a change");
    }
    // Restrictive first: at no time is a namespace more open than before and after.
    let stages = vec![Stage::Changes(isolate), Stage::Changes(open)];
    Draft { desired: Some(Desired::Objects { stages }), summary, findings, ..Draft::default() }
}

fn convert(namespace: &NamespaceFacts) -> PolicyConversion {
    let policy = |stored: &Stored| ExistingPolicy {
        name: stored.object.name.clone(),
        spec: stored.document.value()["spec"].clone(),
    };
    conversion_for(&NamespacePolicies {
        name: namespace.name.clone(),
        phase: if namespace.is_terminating { NamespacePhase::Terminating } else { NamespacePhase::Active },
        annotation: namespace.isolation.clone(),
        policies: namespace.policies.iter().map(policy).collect(),
    })
}

fn default_deny(namespace: &str, spec: serde_json::Value) -> ObjectChange {
    let body = json!({"metadata": {"name": DEFAULT_DENY, "namespace": namespace}, "spec": spec});
    ObjectChange {
        object: ObjectRef::namespaced(Kind::NetworkPolicy, namespace, DEFAULT_DENY),
        before: None,
        after: Some(Document::new(body)),
        why: "the namespace is isolated by an annotation that the new Calico does not read".to_owned(),
    }
}

fn removals(namespace: &NamespaceFacts, names: &[String]) -> Vec<ObjectChange> {
    let stored = namespace.policies.iter().filter(|stored| names.contains(&stored.object.name));
    let removal = |stored: &Stored| ObjectChange {
        object: stored.object.clone(),
        before: Some(stored.document.clone()),
        after: None,
        why: "the policy is dormant, and the new Calico would enforce it".to_owned(),
    };
    stored.map(removal).collect()
}

fn differs(namespace: &NamespaceFacts, existing: &serde_json::Value) -> Finding {
    let title = format!("namespace {} has a policy default-deny that says something else", namespace.name);
    Finding::new("CU-C010", Severity::Final { exit: NEEDS_DECISION }, title)
        .evidence([format!("its spec is {existing}")])
        .why(
            "an isolated namespace needs a policy that denies all ingress, and a policy of others is never overwritten",
        )
        .now(format!("kubectl -n {} edit networkpolicy default-deny", namespace.name))
}

fn unreadable(namespace: &NamespaceFacts, why: &str) -> Finding {
    let title = format!("the isolation of namespace {} cannot be read", namespace.name);
    Finding::new("CU-C010", Severity::Final { exit: NEEDS_DECISION }, title)
        .evidence([format!("annotation net.beta.kubernetes.io/network-policy: {why}")])
        .why("whether the namespace is isolated decides whether its policies are kept or removed")
        .now(format!(
            "kubectl annotate namespace {} --overwrite net.beta.kubernetes.io/network-policy=...",
            namespace.name
        ))
}
