//! Pools that Calico v2 wrote: what their old fields mean is written into those of v3, before a definition drops the old ones.

use serde_json::{Value, json};

use super::crosses;
use crate::{
    inventory::{Place, Sight, Stored},
    plan::make::Materials,
    resource::{Document, Kind, ObjectRef},
    runbook::StepKind,
    version::Version,
};

/// The definition that has no room for the old fields from v3.32 on.
const DEFINITION: &str = "ippools.crd.projectcalico.org";

/// Answers whether the way from one release to another drops the fields of v2.
pub fn mends_pools(from: Version, to: Version) -> bool {
    crosses(from, to)
}

/// The pools that are mended, each with what it becomes.
pub fn mended<'a>(materials: &Materials<'a>) -> Vec<(&'a Stored, Document)> {
    let is_step = |step: StepKind| step == StepKind::HealData;
    let is_taken = materials.runbook.steps.iter().any(|one| is_step(one.step));
    if !is_taken || !mends_pools(materials.installed.release, materials.to) {
        return Vec::new();
    }
    let pools = materials.inventory.custom.iter().filter(|stored| stored.object.kind == Kind::IpPool);
    pools.filter_map(|stored| Some((stored, of_v3(&stored.document)?))).collect()
}

/// What gates see once the pools are mended.
pub(super) fn sights_after(materials: &Materials<'_>) -> Vec<Sight> {
    let sights = &materials.inventory.sights;
    let mended = mended(materials);
    if mended.is_empty() {
        return sights.clone();
    }
    let pools = materials.inventory.custom.iter().filter(|stored| stored.object.kind == Kind::IpPool);
    let after = |stored: &Stored| {
        let new = mended.iter().find(|(old, _)| old.object == stored.object).map(|(_, new)| new.value());
        new.unwrap_or_else(|| stored.document.value())
    };
    let bodies: Vec<Value> = pools.map(after).collect();
    let look = |sight: &Sight| match sight.asked.place() {
        Place::All(Kind::IpPool) => Sight { found: sight.asked.answer(&bodies), asked: sight.asked.clone() },
        Place::All(_) | Place::One(_) => sight.clone(),
    };
    sights.iter().map(look).collect()
}

/// A pool with fields of v3 alone, if it says something in the old ones only. The old ones go, so that the object is the same before and
/// after the definition drops them.
///
/// None where both IPIP and VXLAN would be on: which of them is meant cannot be told.
fn of_v3(pool: &Document) -> Option<Document> {
    let mut body = pool.value();
    let spec = body.get_mut("spec")?.as_object_mut()?;
    let (ipip, nat) = (spec.remove("ipip").unwrap_or_default(), spec.remove("nat-outgoing").unwrap_or_default());
    let before = (spec.get("ipipMode").cloned(), spec.get("natOutgoing").cloned(), spec.get("vxlanMode").cloned());
    if !ipip.is_null() {
        let mode = ipip_mode(&ipip);
        if spec.get("ipipMode").and_then(Value::as_str).unwrap_or("Never") != mode {
            spec.insert("ipipMode".to_owned(), json!(mode));
        }
        spec.entry("vxlanMode").or_insert_with(|| json!("Never"));
    }
    if nat == true {
        spec.insert("natOutgoing".to_owned(), json!(true));
    }
    let is_on = |field: &str| spec.get(field).and_then(Value::as_str).is_some_and(|mode| mode != "Never");
    let is_changed =
        before != (spec.get("ipipMode").cloned(), spec.get("natOutgoing").cloned(), spec.get("vxlanMode").cloned());
    (is_changed && !(is_on("ipipMode") && is_on("vxlanMode"))).then(|| Document::new(body))
}

/// As Calico v3.0 to v3.31 reads it: libcalico-go/lib/backend/k8s/resources/ippool.go@v3.31.7.
fn ipip_mode(ipip: &Value) -> &'static str {
    match (&ipip["enabled"], ipip["mode"].as_str()) {
        (Value::Bool(true), Some("cross-subnet")) => "CrossSubnet",
        (Value::Bool(true), _) => "Always",
        _ => "Never",
    }
}

/// Answers whether the cluster can still hold what a pool was: with the new definition its old fields would be dropped as they are written,
/// and IPIP and SNAT with them.
pub fn can_hold(pool: &ObjectRef, live: impl Fn(&ObjectRef) -> Option<Value>) -> bool {
    let definition = ObjectRef::cluster(Kind::CustomResourceDefinition, DEFINITION);
    let Some(body) = live(&definition).filter(|_| pool.kind == Kind::IpPool) else { return true };
    let versions = body["spec"]["versions"].as_array().into_iter().flatten();
    let fields = |version: &Value| {
        let schema = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        schema.as_object().is_none_or(|fields| fields.contains_key("ipip"))
    };
    versions.into_iter().all(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mend(spec: Value) -> Option<Value> {
        of_v3(&Document::new(json!({"metadata": {"name": "a"}, "spec": spec}))).map(|pool| pool.value()["spec"].clone())
    }

    #[test]
    fn what_the_old_fields_mean_is_said_in_those_of_v3() {
        let old =
            json!({"cidr": "10.0.0.0/16", "ipip": {"enabled": true, "mode": "cross-subnet"}, "nat-outgoing": true});
        let new = json!({"cidr": "10.0.0.0/16", "ipipMode": "CrossSubnet", "natOutgoing": true, "vxlanMode": "Never"});
        assert_eq!(mend(old), Some(new.clone()));
        assert_eq!(mend(new), None);
        let modes = [(json!({"enabled": true, "mode": ""}), "Always"), (json!({"enabled": false}), "Never")];
        for (ipip, mode) in modes {
            let other = if mode == "Never" { "Always" } else { "Never" };
            let spec = json!({"ipip": ipip, "ipipMode": other});
            assert_eq!(mend(spec), Some(json!({"ipipMode": mode, "vxlanMode": "Never"})));
        }
        assert_eq!(mend(json!({"ipip": {"enabled": false}})), Some(json!({"vxlanMode": "Never"})));
        assert_eq!(mend(json!({"nat-outgoing": false})), None);
    }

    #[test]
    fn a_pool_with_both_overlays_is_left_to_people() {
        assert_eq!(mend(json!({"ipip": {"enabled": true}, "vxlanMode": "Always"})), None);
    }

    #[test]
    fn old_fields_come_back_only_where_the_definition_has_them() {
        let pool = ObjectRef::cluster(Kind::IpPool, "a");
        let definition = |fields: Value| {
            let spec = json!({"properties": {"spec": {"properties": fields}}});
            json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": spec}}]}})
        };
        assert!(can_hold(&pool, |_| None));
        assert!(can_hold(&pool, |_| Some(definition(json!({"cidr": {}, "ipip": {}})))));
        assert!(!can_hold(&pool, |_| Some(definition(json!({"cidr": {}})))));
        assert!(can_hold(&ObjectRef::cluster(Kind::Tier, "a"), |_| Some(definition(json!({})))));
    }
}
