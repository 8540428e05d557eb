//! What the crossing of a release does to a cluster that the program cannot do safely yet, or at all.

mod gates;
mod heal;

pub use heal::mends_pools;
pub(super) use heal::{can_hold, mended};

use super::{Aftermath, make::Materials, way::Way};
use crate::{
    check::{Finding, NO_PATH, Severity},
    resource::Kind,
    runbook::{Manifest, Wiring, runs_typha},
    version::{Minor, Version},
};

/// From this release on Typha closes connections of older nodes.
///
/// Source: projectcalico/calico@v3.32.1 typha/pkg/syncserver/sync_server.go (clients must support modern policy keys).
const V3_32: Minor = Minor { major: 3, minor: 32 };

const UNSAFE_WITH_TYPHA: &str = "CU-P008";

/// Names what forbids this upgrade, on the objects of this cluster.
pub(super) fn findings(materials: &Materials<'_>) -> Vec<Finding> {
    let with_typha = crosses(materials.installed.release, materials.to).then(|| with_typha(materials)).flatten();
    with_typha.into_iter().chain(gates::findings(materials)).collect()
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
}
