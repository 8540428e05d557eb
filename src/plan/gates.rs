//! What the gates of the releases that are crossed say of this cluster.

use super::make::Materials;
use crate::{
    check::{BLOCKED, Finding, Gated, NO_ACCESS, Severity},
    resource::ObjectRef,
    runbook::{self, Answer, Gate, Here, Hits, Level},
};

/// The code of every gate; its id says which one it is.
const GATE: &str = "CU-P009";

/// Objects named on a screen; a plan has more of them.
const SHOWN: usize = 5;

pub(super) fn findings(materials: &Materials<'_>) -> Vec<Finding> {
    let Materials { inventory, installed, to, .. } = materials;
    let live = materials.wiring(|object| inventory.object(object));
    let here = Here {
        to: *to,
        kubernetes: inventory.cluster.kubernetes,
        flavour: installed.flavour,
        has_typha: live.is_some_and(|wiring| wiring.typha.is_some()),
        sights: &inventory.sights,
    };
    let gates = runbook::gates();
    gates.crossed(installed.release, here.to).filter_map(|gate| finding(gate, gate.answer(here))).collect()
}

fn finding(gate: &Gate, answer: Answer) -> Option<Finding> {
    match answer {
        Answer::Applies(hits) => Some(applies(gate, &hits)),
        Answer::Not => None,
        Answer::Skipped(why) => Some(skipped(gate, &why)),
    }
}

fn applies(gate: &Gate, hits: &Hits) -> Finding {
    let severity = match (gate.severity, gate.ignorable) {
        (Level::Block, true) => Severity::Mandatory { exit: BLOCKED },
        (Level::Block, false) => Severity::Final { exit: BLOCKED },
        (Level::Warn | Level::Note, _) => Severity::Advisory,
    };
    let now = if hits.commands.is_empty() { gate.now.clone() } else { hits.commands.join(" && ") };
    let way_on = match severity {
        Severity::Mandatory { .. } => format!("; to go on all the same: --ignore {}=REASON", gate.id),
        Severity::Final { .. } | Severity::Advisory => String::new(),
    };
    let finding = Finding::new(GATE, severity, gate.heading()).evidence(named(hits)).why(gate.why.clone());
    finding.now(now + &way_on).gated(gated(gate, hits))
}

/// What cannot be looked at may be so: where it would block, a person must say that it is not.
fn skipped(gate: &Gate, why: &str) -> Finding {
    let severity = match gate.severity {
        Level::Block => Severity::Mandatory { exit: NO_ACCESS },
        Level::Warn | Level::Note => Severity::Advisory,
    };
    let now = format!("grant the right, or look by yourself ({}); then --ignore {}=REASON", gate.now, gate.id);
    Finding::new(GATE, severity, format!("{} (skipped: it cannot be told whether this is so)", gate.heading()))
        .evidence([format!("skipped ({why})")])
        .why(gate.why.clone())
        .now(now)
        .gated(Gated { skipped: Some(why.to_owned()), ..gated(gate, &Hits::default()) })
}

fn gated(gate: &Gate, hits: &Hits) -> Gated {
    Gated {
        id: gate.id.clone(),
        severity: gate.severity.name().to_owned(),
        objects: hits.first.iter().map(ObjectRef::to_string).collect(),
        count: hits.count,
        skipped: None,
        source: gate.source.clone(),
    }
}

fn named(hits: &Hits) -> Vec<String> {
    let mut lines: Vec<String> = hits.first.iter().take(SHOWN).map(ObjectRef::to_string).collect();
    match hits.count.checked_sub(lines.len()) {
        None | Some(0) => {}
        Some(more) => lines.push(format!("and {more} more")),
    }
    lines
}
