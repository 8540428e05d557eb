//! What the crossing of a release does to a cluster that the program cannot do safely yet, or at all.

use serde_json::{Value, json};

use super::{Aftermath, make::Materials, way::Way};
use crate::{
    check::{BLOCKED, Finding, NO_PATH, Severity},
    inventory::Stored,
    resource::{Document, Kind},
    runbook::{Manifest, Wiring, runs_typha},
    version::{Minor, Version},
};

/// From this release on Typha closes connections of older nodes, and IPPools lose the fields that Calico v2 wrote.
///
/// Sources: projectcalico/calico@v3.32.1 typha/pkg/syncserver/sync_server.go (clients must support modern policy keys), and
/// commit d290f2d6c7, which took `spec.ipip` and `spec.nat-outgoing` out of the IPPool definition.
const V3_32: Minor = Minor { major: 3, minor: 32 };

const UNSAFE_WITH_TYPHA: &str = "CU-P008";
const OLD_POOL_FIELDS: &str = "CU-P009";

/// Names what forbids this upgrade, on the objects of this cluster.
pub(super) fn findings(materials: &Materials<'_>) -> Vec<Finding> {
    if !crosses(materials.installed.release, materials.to) {
        return Vec::new();
    }
    [with_typha(materials), old_pools(&materials.inventory.custom)].into_iter().flatten().collect()
}

/// Names why a run that crossed the release cannot be rolled back: the nodes and Typha would refuse each other, or drop policies.
pub(super) fn no_way_back(aftermath: &Aftermath<'_>, ways: &[Way<'_>]) -> Option<Finding> {
    let Aftermath { plan, run, is_over, .. } = aftermath;
    let is_typha = |way: &&Way<'_>| way.object.kind == Kind::Deployment && way.forms().into_iter().any(runs_typha);
    let typha = ways.iter().find(is_typha).filter(|_| crosses(plan.from, plan.to))?;
    if ways.iter().filter(|way| way.object.kind == Kind::DaemonSet || is_typha(way)).all(Way::is_there) {
        return None;
    }
    let now = if *is_over {
        format!("stay on Calico {}, whose nodes and Typha suit each other: calico-upgrader verify {run}", plan.to)
    } else {
        format!("finish the upgrade, after which all nodes suit Typha: calico-upgrader resume {run}")
    };
    let title = format!("the way back from Calico {} to {} is not safe with Typha", plan.to, plan.from);
    Some(
        Finding::new(UNSAFE_WITH_TYPHA, Severity::Final { exit: NO_PATH }, title)
            .evidence([format!("the run changed {}, which the nodes get their policies from", typha.object)])
            .why(format!(
                "Typha {} refuses nodes of {}, so they would get no policies and new pods no network; if Typha went back first, \
                 nodes of {} would drop their policies and stay Ready",
                plan.to, plan.from, plan.to
            ))
            .now(now),
    )
}

fn crosses(from: Version, to: Version) -> bool {
    from.line() < V3_32 && to.line() >= V3_32
}

fn with_typha(materials: &Materials<'_>) -> Option<Finding> {
    let Materials { inventory, installed, target, to, .. } = materials;
    let of_manifest = |manifest: &Manifest| materials.wiring(|object| manifest.get(object))?.typha;
    let live = materials.wiring(|object| inventory.object(object)).and_then(|wiring: Wiring| wiring.typha);
    let service = live.or_else(|| of_manifest(target))?;
    let title = format!("Calico {} to {to} is not safe in a cluster whose nodes speak to Typha", installed.release);
    Some(
        Finding::new(UNSAFE_WITH_TYPHA, Severity::Final { exit: NO_PATH }, title)
            .evidence([format!("{} gets its data from Typha (Service {service})", installed.install.daemon_set)])
            .why(
                "Typha v3.32 and later closes the connections of older nodes: each node that is not replaced yet would get no new \
                 policies, and new pods on it no network",
            )
            .now("stop at v3.31: give the manifest of a release of v3.31 with --manifests FILE"),
    )
}

/// Pools that were written by Calico v2 and say nothing in the fields of v3.
fn old_pools(custom: &[Stored]) -> Option<Finding> {
    let pools: Vec<(&str, Value)> = custom
        .iter()
        .filter(|stored| stored.object.kind == Kind::IpPool)
        .filter_map(|stored| Some((stored.object.name.as_str(), lacking(&stored.document)?)))
        .collect();
    let count = pools.len();
    let (first, _) = pools.first()?;
    let others = if count == 1 { String::new() } else { format!(" and {} more", count - 1) };
    let title = format!("IPPool {first}{others} would lose settings that Calico v2 wrote");
    let line = |(name, fields): &(&str, Value)| format!("IPPool {name} needs {fields} beside its old fields");
    let command = |(name, fields): &(&str, Value)| {
        format!("kubectl patch ippools.crd.projectcalico.org {name} --type=merge -p '{{\"spec\":{fields}}}'")
    };
    Some(
        Finding::new(OLD_POOL_FIELDS, Severity::Final { exit: BLOCKED }, title)
            .evidence(pools.iter().map(line))
            .why(
                "the definition of v3.32 drops spec.ipip and spec.nat-outgoing: IPIP and SNAT would be off on every node as soon as it \
                 is applied, and no rollback brings them back",
            )
            .now(pools.iter().map(command).collect::<Vec<_>>().join(" && ")),
    )
}

/// What the old fields of a pool mean in those of v3, as far as these do not say the same.
fn lacking(pool: &Document) -> Option<Value> {
    let value = pool.value();
    let spec = &value["spec"];
    let mut fields = json!({});
    if let Some(ipip) = spec.get("ipip").filter(|ipip| !ipip.is_null()) {
        let mode = ipip_mode(ipip);
        if spec["ipipMode"].as_str().unwrap_or("Never") != mode {
            fields["ipipMode"] = json!(mode);
        }
    }
    if spec["nat-outgoing"] == true && spec["natOutgoing"] != true {
        fields["natOutgoing"] = json!(true);
    }
    let is_lacking = fields.as_object().is_some_and(|fields| !fields.is_empty());
    if is_lacking && spec.get("vxlanMode").is_none() {
        fields["vxlanMode"] = json!("Never");
    }
    is_lacking.then_some(fields)
}

/// As Calico v3.0 to v3.31 reads it: libcalico-go/lib/backend/k8s/resources/ippool.go@v3.31.7.
fn ipip_mode(ipip: &Value) -> &'static str {
    match (&ipip["enabled"], ipip["mode"].as_str()) {
        (Value::Bool(true), Some("cross-subnet")) => "CrossSubnet",
        (Value::Bool(true), _) => "Always",
        _ => "Never",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_step_over_v3_32_is_a_crossing() {
        for (from, to, crossed) in [((3, 31), (3, 32), true), ((3, 29), (3, 33), true), ((3, 32), (3, 33), false)] {
            assert_eq!(
                crosses(Version::new(from.0, from.1, 0), Version::new(to.0, to.1, 1)),
                crossed,
                "{from:?} {to:?}"
            );
        }
        assert!(!crosses(Version::new(3, 29, 7), Version::new(3, 31, 7)));
    }

    #[test]
    fn a_pool_of_v2_lacks_what_its_old_fields_mean_until_the_new_ones_say_it() {
        let lacks = |spec: Value| lacking(&Document::new(json!({"spec": spec})));
        let old =
            json!({"cidr": "10.0.0.0/16", "ipip": {"enabled": true, "mode": "cross-subnet"}, "nat-outgoing": true});
        let new = json!({"ipipMode": "CrossSubnet", "natOutgoing": true, "vxlanMode": "Never"});
        assert_eq!(lacks(old.clone()), Some(new.clone()));
        let mut both = old;
        both.as_object_mut().unwrap().extend(new.as_object().unwrap().clone());
        assert_eq!(lacks(both), None);
        assert_eq!(
            lacks(json!({"ipip": {"enabled": true}, "ipipMode": "Never", "vxlanMode": "Never"})),
            Some(json!({"ipipMode": "Always"}))
        );
        for whole in
            [json!({"ipip": {"enabled": false}}), json!({"nat-outgoing": false}), json!({"ipipMode": "Always"})]
        {
            assert_eq!(lacks(whole), None);
        }
    }
}
