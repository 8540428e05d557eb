//! The DaemonSet of the backup, in a form that replaces no pod by itself: nodes are for people or for a run to replace.

use serde_json::Value;

use super::{Nodes, Verdict};
use crate::{
    plan::steps::on_delete,
    resource::{Document, differences},
};

/// What the operator has to know when the template changed.
pub const NO_ROLL: &str = "its update strategy is OnDelete from then on, and no node is replaced by itself";

const WAITS: &str = "only its update strategy differs, and that waits until every node runs its template";

/// Decides what becomes of the DaemonSet.
pub(super) fn verdict(nodes: &Nodes, wanted: &Document, live: Option<&Document>, notes: &mut Vec<String>) -> Verdict {
    let Some(live) = live else {
        if nodes.images.is_empty() {
            return Verdict::Create { after: wanted.clone() };
        }
        // Pods without their DaemonSet are adopted, and one that rolls by itself would replace them all.
        notes.push(NO_ROLL.to_owned());
        return Verdict::Create { after: Document::new(on_delete(wanted.value())) };
    };
    let (wanted_body, live_body) = (wanted.value(), live.value());
    let template = |body: &Value| body["spec"]["template"].clone();
    if !differences(&template(&wanted_body), &template(&live_body)).is_empty() {
        notes.push(NO_ROLL.to_owned());
        return replaced(live, on_delete(wanted_body));
    }
    let rolls = wanted_body["spec"]["updateStrategy"]["type"] != "OnDelete";
    if !rolls || nodes.are_current {
        return replaced(live, wanted_body);
    }
    let mut held = wanted_body;
    held["spec"]["updateStrategy"] = live_body["spec"]["updateStrategy"].clone();
    let verdict = replaced(live, held);
    if verdict == Verdict::Same { Verdict::Skipped { why: WAITS.to_owned() } } else { verdict }
}

fn replaced(live: &Document, after: Value) -> Verdict {
    if differences(&after, &live.value()).is_empty() {
        return Verdict::Same;
    }
    Verdict::Replace { before: live.clone(), after: Document::new(after) }
}
