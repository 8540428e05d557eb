//! Cordons of nodes: ours carry the name of the run in the same write, and others' are left alone.

use serde_json::{Value, json};

use crate::{
    door::{Action, Change},
    inventory::CORDONED_BY,
    resource::{Kind, Live, ObjectRef},
};

pub(super) fn cordon(live: &Live, run: &str) -> Change {
    let annotations = json!({CORDONED_BY: run});
    node_patch("cordon", live, json!({"metadata": {"annotations": annotations}, "spec": {"unschedulable": true}}))
}

/// The nodes are read again before: Kubernetes answers a cordon with a taint.
pub(super) fn uncordon(live: &Live) -> Change {
    node_patch(
        "uncordon",
        live,
        json!({"metadata": {"annotations": {CORDONED_BY: null}}, "spec": {"unschedulable": null}}),
    )
}

fn node_patch(verb: &str, live: &Live, patch: Value) -> Change {
    let object = ObjectRef::cluster(Kind::Node, &live.name);
    Change {
        label: format!("{verb} Node {}", live.name),
        object,
        action: Action::Patch { before: Box::new(live.clone()), patch },
    }
}

pub(super) fn is_cordoned(live: &Live) -> bool {
    live.document.value()["spec"]["unschedulable"] == true
}

pub(super) fn cordoned_by(live: &Live) -> Option<String> {
    live.document.value()["metadata"]["annotations"][CORDONED_BY].as_str().map(str::to_owned)
}
