//! A plan for a large cluster: 10,000 network policies in 1,000 namespaces, half of them dormant, and 1,000 nodes.

use std::time::{Duration, Instant};

use harness::{ControlPlane, Flavour, HarnessError, Kubernetes, Release, Seen, Size, WornIn, wait_until, worn_in};
use serde_json::{Value, json};

use crate::figure::{Aim, Figure};
use crate::measure::{Measured, Result, read_pages, run_program};
use crate::note;

const NAMESPACES: usize = 1_000;
const POLICIES_OF_EACH: usize = 10;
const NODES: usize = 1_000;
const TRIES: usize = 3;
const LIMIT: Duration = Duration::from_secs(300);

/// Measures the plan and the bare reader in turn, and gives the median by time.
pub fn measure() -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Kubernetes::V1_34)?;
    lay_out(&plane)?;
    let (mut plans, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..TRIES {
        bare.push(read_bare(&plane)?);
        plans.push(run_program(&plane, &["plan", "--to", "v2.6", "--allow-untested"])?);
    }
    plans.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    bare.sort_by(|one, other| one.0.total_cmp(&other.0));
    figures(&plans[TRIES / 2], bare[TRIES / 2])
}

fn figures(plan: &Measured, bare: (f64, usize)) -> Result<Vec<Figure>> {
    let (seconds, requests) = bare;
    Ok(vec![
        Figure::new("plan: time", " s", plan.seconds, Aim::AtMost(2.0)).beside(seconds),
        Figure::new("plan: memory", " MB", plan.peak, Aim::AtMost(64.0)),
        Figure::new("plan: requests", "", plan.requests()?, Aim::None).beside(requests as f64),
    ])
}

fn lay_out(plane: &ControlPlane) -> Result<()> {
    plane.add_node_count(NODES)?;
    worn_in(plane, &WornIn { release: Release::V2_2_1, flavour: Flavour::Networking, size: Size::Small })?;
    note(&format!("plan: {NODES} nodes run calico-node"));
    let objects: Vec<Value> = (0..NAMESPACES).flat_map(namespace_with_policies).collect();
    plane.create_all(&objects)?;
    note(&format!("plan: {} policies are there", NAMESPACES * POLICIES_OF_EACH));
    // The controllers write into every new namespace; while they do, they take the processor.
    wait_until("the controllers to be through with the namespaces", LIMIT, || {
        let path = "/api/v1/configmaps?fieldSelector=metadata.name%3Dkube-root-ca.crt";
        let found =
            plane.api().list(path).map_err(|source| HarnessError::Api { action: format!("list `{path}`"), source })?;
        Ok(if found.len() > NAMESPACES { Seen::Yes(()) } else { Seen::NotYet(format!("{} done", found.len())) })
    })?;
    Ok(())
}

/// A namespace; the policies of every second one sleep, since Calico 2.2 heeds them only where an annotation says so.
fn namespace_with_policies(number: usize) -> Vec<Value> {
    let name = format!("team-{number:04}");
    let isolation = json!({"net.beta.kubernetes.io/network-policy": "{\"ingress\":{\"isolation\":\"DefaultDeny\"}}"});
    let annotations = if number.is_multiple_of(2) { isolation } else { json!({}) };
    let metadata = json!({"name": name, "labels": {"team": name}, "annotations": annotations});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
    let policies = (0..POLICIES_OF_EACH).map(|policy| network_policy(&name, policy));
    std::iter::once(namespace).chain(policies).collect()
}

fn network_policy(namespace: &str, number: usize) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": format!("allow-{number}"), "namespace": namespace, "labels": {"team": namespace}},
        "spec": {
            "podSelector": {"matchLabels": {"app": format!("service-{number}"), "tier": "backend"}},
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [
                    {"podSelector": {"matchLabels": {"app": format!("client-{number}")}}},
                    {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}},
                ],
                "ports": [{"protocol": "TCP", "port": 8080}, {"protocol": "TCP", "port": 9090}],
            }],
        },
    })
}

/// Reads every list that a plan needs, page by page; gives the seconds and the requests.
fn read_bare(plane: &ControlPlane) -> Result<(f64, usize)> {
    let lists = [
        ("/apis/apps/v1/daemonsets", ""),
        ("/api/v1/namespaces/kube-system/pods", "labelSelector=k8s-app%3Dcalico-node"),
        ("/api/v1/nodes", ""),
        ("/apis/networking.k8s.io/v1/networkpolicies", ""),
        ("/api/v1/namespaces", ""),
        ("/apis/projectcalico.org/v1/ippools", ""),
        ("/apis/projectcalico.org/v1/globalconfigs", ""),
    ];
    let (started, mut requests) = (Instant::now(), 0);
    for (path, query) in lists {
        let (objects, of_list) = read_pages(plane.api(), path, query)?;
        if objects == 0 {
            return Err(format!("`{path}` is empty").into());
        }
        requests += of_list;
    }
    Ok((started.elapsed().as_secs_f64(), requests))
}
