use super::{Draft, controllers, nodes, seconds};
use crate::{
    inventory::{Datastore, Flavour},
    plan::{
        Desired, ObjectChange, Order, PlanError, PlannedStep, Probe, Roll, Verify,
        make::{Installed, Materials},
    },
    resource::{Document, Kind, differences, selector_of},
    runbook::{Parameters, node_image_of},
};

/// How long a node may take by default.
const READY_WITHIN: u64 = 600;

/// How many nodes may be watched by default while the next are begun.
const WATCHING: usize = 10;

/// Replaces calico-node node by node, if its template changes or if some nodes run other images.
pub fn roll_nodes(
    materials: &Materials<'_>,
    parameters: &Parameters,
    earlier: &[PlannedStep],
) -> Result<Draft, PlanError> {
    let install = materials.installed.install;
    let changed =
        earlier.iter().flat_map(PlannedStep::changes).filter(|change| change.object == install.daemon_set).last();
    let image = node_image(materials, changed);
    let pods = materials.inventory.nodes.iter().filter_map(|node| node.pod.as_ref());
    let behind = pods.filter(|pod| pod.image != image).count();
    if changed.is_none() && behind == 0 {
        return Ok(Draft::nothing("every node runs the release"));
    }
    let Parameters {
        batch,
        pull_within: _,
        ready_within,
        stable_for_networking,
        stable_for_policy_only,
        watching,
        usually_ready_in,
    } = parameters;
    let usually = usually_ready_in.as_deref().map(|text| seconds("usually_ready_in", Some(text), 0)).transpose()?;
    let stable_for = match materials.installed.flavour {
        Flavour::Networking => seconds("stable_for_networking", stable_for_networking.as_deref(), 90)?,
        Flavour::PolicyOnly | Flavour::Canal => {
            seconds("stable_for_policy_only", stable_for_policy_only.as_deref(), 10)?
        }
    };
    let request = materials.request;
    let roll = Roll {
        daemon_set: install.daemon_set.clone(),
        selector: selector(materials, changed),
        image,
        batch: request.batch.or(*batch).unwrap_or(1),
        ready_within_seconds: request
            .ready_within_seconds
            .map_or_else(|| seconds("ready_within", ready_within.as_deref(), READY_WITHIN), Ok)?,
        stable_for_seconds: request.stable_for_seconds.unwrap_or(stable_for),
        watching: request.watching.or(*watching).unwrap_or(WATCHING),
        usually_ready_seconds: usually,
        order: Order::default(),
        then: changed.and_then(|change| strategy_back(materials, change)),
        probe: request.probe_image.clone().map(|image| Probe { image }),
    };
    let watched = if roll.probe.is_some() { ", probes watch packets" } else { "" };
    let summary = format!("{}, {} at a time, canary first{watched}", counted(materials, &roll), roll.batch);
    let findings = nodes::lost(materials.inventory, &install.daemon_set, changed);
    Ok(Draft { desired: Some(Desired::Roll(roll)), summary, findings, ..Draft::default() })
}

/// How many nodes there are, and how long they take where that is known.
fn counted(materials: &Materials<'_>, roll: &Roll) -> String {
    let nodes = &materials.inventory.nodes;
    let control_plane = nodes.iter().filter(|node| node.is_control_plane).count();
    match roll.estimate(nodes.len() - control_plane, control_plane) {
        Some(seconds) => format!("{} nodes in about {}", nodes.len(), about(seconds)),
        None => format!("{} nodes", nodes.len()),
    }
}

/// Whole minutes, or hours to the half; nobody knows it better beforehand.
fn about(seconds: u64) -> String {
    match seconds.div_ceil(60) {
        minutes @ 0..100 => format!("{minutes} min"),
        minutes => match minutes.div_ceil(30) {
            halves if halves % 2 == 0 => format!("{} h", halves / 2),
            halves => format!("{}.5 h", halves / 2),
        },
    }
}

/// What picks the pods once the DaemonSet is as wanted.
fn selector(materials: &Materials<'_>, changed: Option<&ObjectChange>) -> String {
    let wanted = changed.and_then(|change| change.after.as_ref());
    wanted.map_or_else(|| materials.installed.install.selector.clone(), |wanted| selector_of(&wanted.value()))
}

/// The image that every node shall run.
fn node_image(materials: &Materials<'_>, changed: Option<&ObjectChange>) -> String {
    let wanted = changed.and_then(|change| node_image_of(change.after.as_ref()?));
    wanted.unwrap_or_else(|| materials.installed.install.node_image.clone())
}

/// The DaemonSet with the strategy that it had; all pods are new by then, so nothing rolls.
fn strategy_back(materials: &Materials<'_>, last: &ObjectChange) -> Option<ObjectChange> {
    let live = materials.inventory.object(&last.object)?.value();
    let frozen = last.after.clone()?;
    let mut body = frozen.value();
    body["spec"]["updateStrategy"] = live["spec"]["updateStrategy"].clone();
    if differences(&body, &frozen.value()).is_empty() {
        return None;
    }
    let why = "the update strategy is put back as it was".to_owned();
    Some(ObjectChange { object: last.object.clone(), before: Some(frozen), after: Some(Document::new(body)), why })
}

/// What must hold once everything is done.
pub fn verify(materials: &Materials<'_>, earlier: &[PlannedStep]) -> Draft {
    let Installed { install, .. } = materials.installed;
    let changes = || earlier.iter().flat_map(PlannedStep::changes);
    let policies = || changes().filter(|change| change.object.kind == Kind::NetworkPolicy);
    let namespace = |change: &ObjectChange| change.object.namespace.clone().unwrap_or_default();
    let mut opened: Vec<_> = policies().filter(|change| change.after.is_none()).map(namespace).collect();
    opened.dedup();
    let of_daemon_set = changes().filter(|change| change.object == install.daemon_set).last();
    let third_party = materials.inventory.third_party.iter().map(|stored| (stored.object.clone(), stored.digest()));
    let verify = Verify {
        daemon_set: install.daemon_set.clone(),
        selector: selector(materials, of_daemon_set),
        image: node_image(materials, of_daemon_set),
        isolated: policies().filter(|change| change.after.is_some()).map(namespace).collect(),
        opened,
        third_party: third_party.collect(),
        controllers: controllers::claim(materials),
    };
    let summary = match materials.installed.datastore {
        Datastore::Kubernetes => "nodes, data, policies and versions",
        Datastore::Etcd => "nodes, controllers, policies and versions",
    };
    Draft { desired: Some(Desired::Verify(verify)), summary: summary.to_owned(), ..Draft::default() }
}
