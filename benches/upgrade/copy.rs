//! Copying 10,000 objects of a cluster with Calico 2.2 to custom resources.

use harness::{ControlPlane, Flavour, Kubernetes, Release, Size, WornIn, worn_in};
use serde_json::{Value, json};

use crate::figure::{Aim, Figure};
use crate::measure::{Result, run_program, side_by_side};
use crate::note;

const OBJECTS: usize = 10_000;
const NODES: usize = 3;
const OLD: &str = "/apis/projectcalico.org/v1/namespaces/kube-system/globalconfigs";
const NEW: &str = "/apis/crd.projectcalico.org/v1/globalfelixconfigs";

/// Measures the bare writer, takes its objects away, and measures the program in its place.
pub fn measure() -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Kubernetes::V1_34)?;
    plane.add_node_count(NODES)?;
    worn_in(&plane, &WornIn { release: Release::V2_2_1, flavour: Flavour::Networking, size: Size::Small })?;
    define_custom_resources(&plane)?;
    let numbers: Vec<usize> = (0..OBJECTS).collect();
    side_by_side(&numbers, |number| plane.api().create(OLD, &old_object(*number)).map(drop))?;
    note(&format!("copy: {OBJECTS} old objects are there"));
    // The better of two: the first warms the server up.
    let bare = write_bare(&plane, &numbers)?.min(write_bare(&plane, &numbers)?);
    note("copy: the bare writer is measured, and its objects are gone");
    let run = ["run", "--to", "v2.6", "--allow-untested", "--stable-for", "0s", "--yes"];
    let run = run_program(&plane, &run)?;
    let copied = plane.api().list(NEW)?.len();
    if copied < OBJECTS {
        return Err(format!("{copied} of {OBJECTS} objects arrived").into());
    }
    Ok(vec![
        Figure::new("copy: time", " s", run.seconds_of("copy-resources")?, Aim::TimesBare(1.3)).beside(bare),
        Figure::new("copy: whole run", " s", run.seconds, Aim::None),
        Figure::new("copy: memory", " MB", run.peak, Aim::AtMost(64.0)),
        Figure::new("copy: requests per object", "", run.requests()? / OBJECTS as f64, Aim::None).beside(1.0),
    ])
}

/// Writes all new objects and takes them away again; gives the seconds of the writing.
fn write_bare(plane: &ControlPlane, numbers: &[usize]) -> Result<f64> {
    let path = |number: &usize| format!("{NEW}/{}", name(*number).to_lowercase());
    let seconds = side_by_side(numbers, |number| plane.api().create(NEW, &new_object(*number)).map(drop))?;
    side_by_side(numbers, |number| plane.api().delete(&path(number)).map(drop))?;
    Ok(seconds)
}

/// Makes the definitions beforehand, for the bare writer and the program alike: today's API server holds back the first
/// objects of a new definition for two seconds.
fn define_custom_resources(plane: &ControlPlane) -> Result<()> {
    let newer = WornIn { release: Release::V2_5_1, flavour: Flavour::Networking, size: Size::Small };
    let mut definitions = newer.objects()?;
    definitions.retain(|object| object["kind"] == "CustomResourceDefinition");
    Ok(plane.create_all(&definitions)?)
}

fn name(number: usize) -> String {
    format!("Setting{number:05}")
}

fn spec(number: usize) -> Value {
    json!({"name": name(number), "value": format!("value {number}")})
}

fn old_object(number: usize) -> Value {
    let metadata = json!({"name": name(number).to_lowercase(), "namespace": "kube-system"});
    json!({"apiVersion": "projectcalico.org/v1", "kind": "GlobalConfig", "metadata": metadata, "spec": spec(number)})
}

fn new_object(number: usize) -> Value {
    let metadata = json!({"name": name(number).to_lowercase()});
    json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "GlobalFelixConfig", "metadata": metadata, "spec": spec(number)})
}
