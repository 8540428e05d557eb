//! Replacing calico-node on 200 or 500 simulated nodes, one after the other, once all have the new images.

use std::time::{Duration, Instant};

use harness::{ControlPlane, Flavour, Kubernetes, Release, Size, WornIn, worn_in};
use serde_json::{Value, json};

use crate::figure::{Aim, Figure};
use crate::measure::{Result, run_program, wait_for};
use crate::note;
use crate::pull::pull_bare;

const NODES: usize = 200;
const MANY_NODES: usize = 500;
const PODS: &str = "/api/v1/namespaces/kube-system/pods";
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

pub fn measure() -> Result<Vec<Figure>> {
    measure_nodes("roll", NODES)
}

pub fn measure_many() -> Result<Vec<Figure>> {
    measure_nodes("large-roll", MANY_NODES)
}

/// Measures what the controllers and simulated kubelets need alone, then the program on the same nodes.
fn measure_nodes(bench: &str, nodes: usize) -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Kubernetes::V1_34)?;
    plane.add_node_count(nodes)?;
    worn_in(&plane, &WornIn { release: Release::V2_5_1, flavour: Flavour::Networking, size: Size::Small })?;
    note(&format!("{bench}: {nodes} nodes run calico-node"));
    let pulling = pull_bare(&plane, nodes)?;
    let bare = roll_bare(&plane, false)?;
    let cordoning = roll_bare(&plane, true)?;
    note(&format!("{bench}: the bare loops are measured"));
    let run = ["run", "--to", "v2.6", "--allow-untested", "--stable-for", "0s", "--batch", "1", "--yes"];
    let run = run_program(&plane, &run)?;
    let rolled = run.events.iter().filter(|event| event["event"] == "node-done").count();
    if rolled != nodes {
        return Err(format!("{rolled} of {nodes} nodes were rolled").into());
    }
    let seconds = run.seconds_of("roll-nodes")?;
    let figure = |what: &str, unit, measured, aim| Figure::new(format!("{bench}: {what}"), unit, measured, aim);
    Ok(vec![
        figure("pull, time", " s", run.seconds_of("pull-images")?, Aim::None).beside(pulling),
        figure("time", " s", seconds, Aim::TimesBare(1.2)).beside(bare),
        figure("time, bare cordons too", " s", seconds, Aim::None).beside(cordoning),
        figure("requests per node", "", run.requests()? / nodes as f64, Aim::AtMost(8.0)),
        figure("memory", " MB", run.peak, Aim::AtMost(64.0)),
    ])
}

/// Deletes the pods one after the other, each on a cordoned node if so wished, and waits until its successor is ready.
fn roll_bare(plane: &ControlPlane, is_cordoning: bool) -> Result<f64> {
    let pods = plane.calico_pods()?;
    let started = Instant::now();
    for (node, pods) in &pods {
        let [pod] = pods.as_slice() else { return Err(format!("`{node}` has {} pods", pods.len()).into()) };
        let (name, uid) = (pod["metadata"]["name"].as_str().unwrap_or_default(), &pod["metadata"]["uid"]);
        let cordon = |unschedulable: Value| -> Result<()> {
            let patch = json!({"spec": {"unschedulable": unschedulable}});
            if is_cordoning {
                plane.api().merge_patch(&format!("/api/v1/nodes/{node}"), &patch)?;
            }
            Ok(())
        };
        cordon(json!(true))?;
        plane.api().delete(&format!("{PODS}/{name}"))?;
        wait_for_successor(plane, node, uid)?;
        cordon(Value::Null)?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Looks more often than the harness does: what the loop sleeps too long would count in favour of the program.
fn wait_for_successor(plane: &ControlPlane, node: &str, uid: &Value) -> Result<()> {
    // The server answers this from memory.
    let path =
        format!("{PODS}?resourceVersion=0&labelSelector=k8s-app%3Dcalico-node&fieldSelector=spec.nodeName%3D{node}");
    wait_for(&format!("a new and ready pod on `{node}`"), BETWEEN_LOOKS, || {
        let pods = plane.api().list(&path)?;
        Ok(pods.iter().any(|pod| pod["metadata"]["uid"] != *uid && is_ready(pod)))
    })
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}
