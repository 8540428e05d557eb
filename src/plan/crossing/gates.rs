//! What the gates of the releases that are crossed say of this cluster.

use super::heal;
use crate::{
    check::{BLOCKED, Finding, Gated, NO_ACCESS, Severity},
    plan::make::Materials,
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
    let sights = heal::sights_after(materials);
    let here = Here {
        to: *to,
        kubernetes: inventory.cluster.kubernetes,
        flavour: installed.flavour,
        has_typha: live.is_some_and(|wiring| wiring.typha.is_some()),
        sights: &sights,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(id: &str) -> Gate {
        runbook::gates().find(id).cloned().expect("it is a gate")
    }

    #[test]
    fn what_cannot_be_looked_at_stops_a_run_only_where_it_could_block() {
        let found = |id: &str| finding(&gate(id), Answer::Skipped("no right".to_owned())).expect("it is told");
        let pools = found("ippool-v1-fields");
        assert_eq!(pools.severity, Severity::Mandatory { exit: NO_ACCESS }, "a person may look instead");
        assert!(
            pools.evidence.contains(&"skipped (no right)".to_owned())
                && pools.now.contains("--ignore ippool-v1-fields=")
        );
        assert_eq!(found("nftables-follows-kube-proxy").severity, Severity::Advisory);
    }

    #[test]
    fn what_would_lose_data_is_final_and_many_objects_are_counted() {
        let first =
            (0..20).map(|number| ObjectRef::cluster(crate::resource::Kind::IpPool, format!("p{number}"))).collect();
        let hits = Hits { count: 300, first, commands: Vec::new() };
        let found = |id: &str| finding(&gate(id), Answer::Applies(hits.clone())).expect("it is told");
        let pools = found("ippool-v1-fields");
        assert_eq!(pools.severity, Severity::Final { exit: BLOCKED });
        assert_eq!(pools.evidence.last().map(String::as_str), Some("and 295 more"));
        assert_eq!(pools.gate.as_ref().map(|gate| (gate.count, gate.objects.len())), Some((300, 20)));
        assert_eq!(found("policies-in-lower-case").severity, Severity::Mandatory { exit: BLOCKED });
        assert_eq!(finding(&gate("ippool-v1-fields"), Answer::Not), None);
    }
}
