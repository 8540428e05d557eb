//! Converting the policies of 2,000 namespaces: half of them get `default-deny`, the dormant policies of the others go.

use std::collections::BTreeSet;

use harness::{ControlPlane, Flavour, Kubernetes, Release, Size, WornIn, worn_in};
use serde_json::{Value, json};

use crate::figure::{Aim, Figure};
use crate::measure::{Result, run_program, side_by_side};
use crate::{namespaces, note};

const NAMESPACES: usize = 2_000;
const POLICIES_OF_EACH: usize = 5;
const NODES: usize = 3;
const STEP: &str = "convert-policies";
const DEFAULT_DENY: &str = "default-deny";

/// A policy by its namespace and its name.
type Named = (String, String);

/// Measures the bare client, takes its changes back, and measures the program in its place.
pub fn measure() -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Kubernetes::V1_34)?;
    plane.add_node_count(NODES)?;
    worn_in(&plane, &WornIn { release: Release::V2_2_1, flavour: Flavour::Networking, size: Size::Small })?;
    let before = policies(&plane)?;
    namespaces::lay_out(&plane, NAMESPACES, POLICIES_OF_EACH)?;
    note(&format!("policies: {} are there", NAMESPACES * POLICIES_OF_EACH));
    // The better of two: the first warms the server up.
    let bare = convert_bare(&plane)?.min(convert_bare(&plane)?);
    note("policies: the bare client is measured, and its changes are taken back");
    let run = run_program(&plane, &["run", "--to", "v2.6", "--allow-untested", "--stable-for", "0s", "--yes"])?;
    check_converted(&plane, &before)?;
    let per_change = run.requests()? / run.changes_of(STEP) as f64;
    Ok(vec![
        Figure::new("policies: time", " s", run.seconds_of(STEP)?, Aim::TimesBare(1.3)).beside(bare),
        Figure::new("policies: whole run", " s", run.seconds, Aim::None),
        Figure::new("policies: memory", " MB", run.peak, Aim::None),
        Figure::new("policies: requests per change", "", per_change, Aim::None).beside(1.0),
    ])
}

/// Makes the changes of the step, the restrictive ones first, and takes them back; gives the seconds of the making.
fn convert_bare(plane: &ControlPlane) -> Result<f64> {
    let (isolated, open): (Vec<usize>, Vec<usize>) =
        (0..NAMESPACES).partition(|number| namespaces::is_isolated(*number));
    let isolated: Vec<String> = isolated.into_iter().map(namespaces::name).collect();
    let dormant: Vec<(String, usize)> = open
        .into_iter()
        .flat_map(|number| (0..POLICIES_OF_EACH).map(move |one| (namespaces::name(number), one)))
        .collect();
    let api = plane.api();
    let isolating = side_by_side(&isolated, |name| api.create(&path_of(name), &default_deny(name)).map(drop))?;
    let removing =
        side_by_side(&dormant, |(name, number)| api.delete(&format!("{}/allow-{number}", path_of(name))).map(drop))?;
    side_by_side(&isolated, |name| api.delete(&format!("{}/{DEFAULT_DENY}", path_of(name))).map(drop))?;
    side_by_side(&dormant, |(name, number)| {
        api.create(&path_of(name), &namespaces::network_policy(name, *number)).map(drop)
    })?;
    Ok(isolating + removing)
}

/// Checks policy by policy that the namespaces of this benchmark are as the step shall leave them.
fn check_converted(plane: &ControlPlane, before: &BTreeSet<Named>) -> Result<()> {
    let isolated = (0..NAMESPACES).filter(|number| namespaces::is_isolated(*number)).map(namespaces::name);
    let expected: BTreeSet<Named> = isolated
        .flat_map(|name| {
            let kept = (0..POLICIES_OF_EACH).map(|number| format!("allow-{number}"));
            kept.chain([DEFAULT_DENY.to_owned()]).map(move |policy| (name.clone(), policy)).collect::<Vec<_>>()
        })
        .collect();
    let foreign: BTreeSet<&String> = before.iter().map(|(namespace, _)| namespace).collect();
    let mut found = policies(plane)?;
    found.retain(|(namespace, _)| !foreign.contains(namespace));
    match expected.symmetric_difference(&found).next() {
        Some((namespace, policy)) => Err(format!("{namespace}/{policy} is not as it shall be").into()),
        None => Ok(()),
    }
}

fn policies(plane: &ControlPlane) -> Result<BTreeSet<Named>> {
    let found = plane.api().list("/apis/networking.k8s.io/v1/networkpolicies")?;
    let text = |policy: &Value, field: &str| policy["metadata"][field].as_str().unwrap_or_default().to_owned();
    Ok(found.iter().map(|policy| (text(policy, "namespace"), text(policy, "name"))).collect())
}

fn path_of(namespace: &str) -> String {
    format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies")
}

fn default_deny(namespace: &str) -> Value {
    let metadata = json!({"name": DEFAULT_DENY, "namespace": namespace});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": {"podSelector": {}}})
}
