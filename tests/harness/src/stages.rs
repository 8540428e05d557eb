//! What the simulated kubelets do, as kwok stages.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::nodes::Fault;

const NODE_READY: &str = include_str!("../stages/node-ready.yaml");
const NODE_LOST: &str = include_str!("../stages/node-lost.yaml");
const POD_READY: &str = include_str!("../stages/pod-ready.yaml");
const POD_GONE: &str = include_str!("../stages/pod-gone.yaml");
const NEVER_READY: &str = include_str!("../stages/never-ready.yaml");
const IMAGE_PULL: &str = include_str!("../stages/image-pull.yaml");
const CRASH_LOOP: &str = include_str!("../stages/crash-loop.yaml");

const NODE_OF_POD: &str = ".spec.nodeName";
const NAME_OF_NODE: &str = ".metadata.name";

/// Healthy kubelets on all nodes but those with a fault.
pub fn for_faults(faults: &BTreeMap<String, Fault>) -> String {
    let with = |wanted: &dyn Fn(Fault) -> bool| -> Vec<&str> {
        faults.iter().filter(|(_, fault)| wanted(**fault)).map(|(node, _)| node.as_str()).collect()
    };
    let lost = with(&|fault| fault == Fault::KubeletLost);
    let mut stages = vec![
        except(NODE_READY, NAME_OF_NODE, &lost),
        except(POD_READY, NODE_OF_POD, &with(&|fault| stage_of(fault).is_some() || fault == Fault::KubeletLost)),
        // A lost kubelet ends no pod either.
        except(POD_GONE, NODE_OF_POD, &lost),
        only(NODE_LOST, NAME_OF_NODE, &lost),
    ];
    for fault in [Fault::NeverReady, Fault::ImagePull, Fault::CrashLoop] {
        let stage = stage_of(fault).expect("each of these three has a stage");
        stages.push(only(stage, NODE_OF_POD, &with(&|other| other == fault)));
    }
    let documents: Vec<String> = stages.into_iter().flatten().map(|stage| stage.to_string()).collect();
    documents.join("\n---\n")
}

fn stage_of(fault: Fault) -> Option<&'static str> {
    match fault {
        Fault::NeverReady => Some(NEVER_READY),
        Fault::ImagePull => Some(IMAGE_PULL),
        Fault::CrashLoop => Some(CRASH_LOOP),
        Fault::Unschedulable | Fault::KubeletLost => None,
    }
}

fn only(stage: &str, key: &str, nodes: &[&str]) -> Option<Value> {
    (!nodes.is_empty()).then(|| restricted(stage, key, "In", nodes))
}

fn except(stage: &str, key: &str, nodes: &[&str]) -> Option<Value> {
    if nodes.is_empty() { Some(parsed(stage)) } else { Some(restricted(stage, key, "NotIn", nodes)) }
}

fn restricted(stage: &str, key: &str, operator: &str, nodes: &[&str]) -> Value {
    let mut stage = parsed(stage);
    let expressions = stage["spec"]["selector"]["matchExpressions"].as_array_mut();
    let expressions = expressions.expect("each stage in this crate has expressions");
    expressions.push(json!({"key": key, "operator": operator, "values": nodes}));
    stage
}

fn parsed(stage: &str) -> Value {
    serde_saphyr::from_str(stage).expect("the stages in this crate are valid YAML")
}
