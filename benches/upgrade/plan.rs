//! A plan for a large cluster: 10,000 network policies in 1,000 namespaces, half of them dormant, and 1,000 nodes.

use std::time::Instant;

use harness::{ControlPlane, Flavour, Kubernetes, Release, Size, WornIn, worn_in};

use crate::figure::{Aim, Figure};
use crate::measure::{Measured, Result, read_pages, run_program};
use crate::{namespaces, note};

const NAMESPACES: usize = 1_000;
const POLICIES_OF_EACH: usize = 10;
const NODES: usize = 1_000;
const TRIES: usize = 3;

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
    namespaces::lay_out(plane, NAMESPACES, POLICIES_OF_EACH)?;
    note(&format!("plan: {} policies are there", NAMESPACES * POLICIES_OF_EACH));
    Ok(())
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
