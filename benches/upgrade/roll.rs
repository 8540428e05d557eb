//! Replacing calico-node on 200 simulated nodes, one after the other.

use std::time::{Duration, Instant};

use harness::{ControlPlane, Flavour, Kubernetes, Release, Size, WornIn, worn_in};
use serde_json::{Value, json};

use crate::figure::{Aim, Figure};
use crate::measure::{Result, run_program};
use crate::note;

const NODES: usize = 200;
const PODS: &str = "/api/v1/namespaces/kube-system/pods";
const LIMIT: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

/// Measures what the controllers and simulated kubelets need alone, then the program on the same nodes.
pub fn measure() -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Kubernetes::V1_34)?;
    plane.add_node_count(NODES)?;
    worn_in(&plane, &WornIn { release: Release::V2_5_1, flavour: Flavour::Networking, size: Size::Small })?;
    note(&format!("roll: {NODES} nodes run calico-node"));
    let bare = roll_bare(&plane, false)?;
    let cordoning = roll_bare(&plane, true)?;
    note("roll: the bare loops are measured");
    let run = ["run", "--to", "v2.6", "--allow-untested", "--stable-for", "0s", "--batch", "1", "--yes"];
    let run = run_program(&plane, &run)?;
    let rolled = run.events.iter().filter(|event| event["event"] == "node-done").count();
    if rolled != NODES {
        return Err(format!("{rolled} of {NODES} nodes were rolled").into());
    }
    Ok(vec![
        Figure::new("roll: time", " s", run.seconds_of("roll-nodes")?, Aim::TimesBare(1.2)).beside(bare),
        Figure::new("roll: time, bare cordons too", " s", run.seconds_of("roll-nodes")?, Aim::None).beside(cordoning),
        Figure::new("roll: requests per node", "", run.requests()? / NODES as f64, Aim::AtMost(8.0)),
        Figure::new("roll: memory", " MB", run.peak, Aim::AtMost(64.0)),
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
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        let pods = plane.api().list(&path)?;
        if pods.iter().any(|pod| pod["metadata"]["uid"] != *uid && is_ready(pod)) {
            return Ok(());
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    Err(format!("no new pod was ready on `{node}` within {LIMIT:?}").into())
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}
