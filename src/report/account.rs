//! The account of a run as plain text.

use super::{
    loss::loss_words,
    run::RunReport,
    steps::StepStatus,
    text::{clean, duration, seconds},
    timeline::{NodeSpan, NodeState},
};

/// The account as text.
pub fn run_text(report: &RunReport) -> String {
    let mut out = format!(
        "Run {} · {}\nCluster  {} · Kubernetes {}\nPlan     {}\nChanges  {}\nTime     {} – {} ({})\n",
        report.run,
        report.headline,
        report.cluster,
        report.kubernetes,
        report.plan,
        report.changes,
        report.started,
        report.ended,
        duration(report.seconds)
    );
    for (label, text) in [("Reason", report.reason.clone()), ("Runner", report.runners.join(", "))] {
        if !text.is_empty() {
            out.push_str(&format!("{label}   {text}\n"));
        }
    }
    report.skipped.iter().for_each(|line| out.push_str(&format!("skipped  {line}\n")));
    out.push('\n');
    steps(report, &mut out);
    let warned = report.warnings.iter().map(|one| format!("{}  {}", one.id, one.title)).collect();
    let kept = report.kept.iter().map(|one| format!("{}:{}", one.object, one.path)).collect();
    let next = report.next.iter().map(|next| format!("{}  {}", next.command, next.why)).collect();
    for (title, lines) in [("Warned", warned), ("Waived", report.waived.clone()), ("Kept", kept), ("Next", next)] {
        section(title, &lines, &mut out);
    }
    clean(&out)
}

fn steps(report: &RunReport, out: &mut String) {
    for step in &report.steps {
        out.push_str(&format!("{:<12}{}\n", status(step.status), step.name));
        for claim in &step.claims {
            let word = if claim.holds { "proven" } else { "BROKEN" };
            out.push_str(&format!("            {word}: {}\n", claim.text));
        }
    }
    section("Nodes", &report.timeline.nodes.iter().map(node).collect::<Vec<_>>(), out);
}

fn section(title: &str, lines: &[String], out: &mut String) {
    if !lines.is_empty() {
        out.push_str(&format!("\n{title}\n"));
        lines.iter().for_each(|line| out.push_str(&format!("  {line}\n")));
    }
}

fn node(node: &NodeSpan) -> String {
    let gap = gap_words(node).map(|gap| format!(", gap {gap}")).unwrap_or_default();
    let loss = node.loss.as_ref().map(|loss| format!("; {}", loss_words(loss))).unwrap_or_default();
    format!("{}: {}{gap}{loss}", node.node, node_words(node))
}

pub(super) fn status(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Done => "done",
        StepStatus::Begun => "not done",
        StepStatus::NotReached => "not reached",
    }
}

/// What became of a node, in a few words.
pub(super) fn node_words(node: &NodeSpan) -> String {
    let mut words = match node.state {
        NodeState::Replaced => "replaced".to_owned(),
        NodeState::Begun => "deleted, and no new pod was seen ready".to_owned(),
        NodeState::Gone => "went away meanwhile".to_owned(),
        NodeState::Untouched => "not replaced".to_owned(),
    };
    if node.is_cordoned {
        words.push_str(", still cordoned by this run");
    }
    words
}

/// The gap of a node; one that is not measured is an upper bound.
pub(super) fn gap_words(node: &NodeSpan) -> Option<String> {
    let gap = node.gap_ms?;
    Some(format!("{}{}", if node.is_gap_measured { "" } else { "≤ " }, seconds(gap)))
}
