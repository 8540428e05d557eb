use serde_json::Value;

use super::text::{clean, shorten, table};
use crate::{
    check::{Finding, Severity},
    inventory::Inventory,
    plan::{Desired, Kept, ObjectChange, Plan, PlannedStep, Purpose, Undo},
    resource::masked_field,
};

/// The screen of a plan.
pub fn plan(plan: &Plan, digest: &str, inventory: &Inventory, width: u16) -> String {
    let mut out = format!(
        "Cluster    {} · {} nodes · Kubernetes {}\nInstalled  Calico {} · {} · datastore {} · {}\n\n",
        plan.cluster.server,
        inventory.nodes.len(),
        plan.cluster.kubernetes,
        plan.from,
        plan.flavour,
        plan.datastore,
        plan.daemon_set
    );
    if plan.is_empty() {
        out.push_str(&format!(
            "Calico {} runs on every node already, and every object is as it ships. Nothing to do.\n",
            plan.to
        ));
        return out;
    }
    out.push_str(&path(plan));
    let rows = plan.steps.iter().enumerate().map(|(index, step)| row(index, step, inventory));
    out.push_str(&table(&["#", "PHASE", "WHAT", "CHANGES", "UNDO"], rows.collect(), width));
    for omitted in &plan.omitted {
        out.push_str(&format!("   left out: {} ({})\n", omitted.name, omitted.why));
    }
    out.push_str(&attention(plan, width));
    out.push_str(&format!("\nPlan       {digest}\n"));
    if plan.request.needs_approval && plan.purpose == Purpose::Upgrade {
        out.push_str("Approval   needed before the first change (calico-upgrader approve)\n");
    }
    out
}

fn path(plan: &Plan) -> String {
    let Plan { from, to, runbook, .. } = plan;
    match &plan.purpose {
        Purpose::Upgrade => format!("Path       {from} ──▶ {to}      1 hop, runbook {}\n", runbook.target),
        Purpose::Rollback { run } => format!("Back       {from} ──▶ {to}      as it was before run {run}\n"),
        Purpose::Completion { run } => format!("Complete   run {run}: the way back from {to} is given up\n"),
        Purpose::Restore { backup } => format!("Restore    backup {}\n", backup.short()),
    }
}

fn row(index: usize, step: &PlannedStep, inventory: &Inventory) -> Vec<String> {
    let changes = match &step.desired {
        Desired::BackUp | Desired::Pull(_) | Desired::Verify(_) => "–".to_owned(),
        Desired::Objects { .. } => step.count().to_string(),
        Desired::Roll(_) => format!("{} nodes", inventory.nodes.iter().filter(|node| node.pod.is_some()).count()),
    };
    let undo = match step.undo {
        Undo::Nothing => "–",
        Undo::Exact => "exact",
        Undo::FromBackup => "from backup",
    };
    vec![(index + 1).to_string(), step.phase.clone(), step.summary.clone(), changes, undo.to_owned()]
}

/// A kept setting as people name it: `DaemonSet/calico-node  calico-node env FELIX_IPINIPMTU = 1430`.
fn setting(kept: &Kept) -> String {
    let is_of_set = kept.path.ends_with("}]");
    let value = match kept.value.as_ref().map(|value| masked_field(&kept.object, &kept.path, value)) {
        None => "taken away".to_owned(),
        Some(Value::String(text)) => text,
        Some(value) if kept.path.ends_with(']') && !is_of_set => {
            value.get("value").and_then(Value::as_str).map_or_else(|| value.to_string(), str::to_owned)
        }
        Some(value) => value.to_string(),
    };
    format!("{}/{}  {} = {value}", kept.object.kind, kept.object.name, place(&kept.path))
}

/// A path as people name it: `calico-node env FELIX_IPINIPMTU`.
pub(super) fn place(path: &str) -> String {
    let path =
        path.replace("spec.template.spec.", "").replace("spec.template.metadata.", "pod ").replace("containers[", "[");
    let place = match path.split_once("[{") {
        // An element of a set says by itself what it is.
        Some((place, _)) => place.to_owned(),
        None => path.trim_end_matches(".value").replace(['[', ']', '.', ':'], " "),
    };
    place.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn attention(plan: &Plan, width: u16) -> String {
    let mut out = String::new();
    for finding in &plan.findings {
        let ignored =
            finding.ignored_because.as_ref().map(|reason| format!(" (ignored: {reason})")).unwrap_or_default();
        let level = if finding.word() == "note" { "NOTE" } else { "WARN" };
        out.push_str(&format!("  {level}  {}  {}{ignored}\n", finding.id, clean(&finding.title)));
        if finding.ignored_because.is_none() && !finding.now.is_empty() {
            out.push_str(&format!("        now: {}\n", clean(&finding.now)));
        }
    }
    if !plan.kept.is_empty() {
        out.push_str(&format!("  KEPT  {} settings were made by hand and stay:\n", plan.kept.len()));
    }
    let room = usize::from(width).saturating_sub(9).max(30);
    plan.kept.iter().for_each(|kept| out.push_str(&format!("        {}\n", shorten(&setting(kept), room))));
    if out.is_empty() { out } else { format!("Attention\n{out}") }
}

/// The findings, four lines each.
pub fn findings(findings: &[Finding]) -> String {
    let mut out = String::new();
    for finding in findings {
        let level = match (finding.severity, finding.blocks()) {
            (Severity::Advisory, _) if finding.ignored_because.is_some() => "ignored",
            (Severity::Advisory, _) => finding.word(),
            (Severity::Mandatory { .. } | Severity::Final { .. }, Some(_)) => "error",
            (Severity::Mandatory { .. } | Severity::Final { .. }, None) => "ignored",
        };
        out.push_str(&format!("{level}[{}]: {}\n", finding.id, clean(&finding.title)));
        for (index, line) in finding.evidence.iter().enumerate() {
            let label = if index == 0 { "evidence" } else { "" };
            out.push_str(&format!("  {label:<8}  {}\n", clean(line)));
        }
        for (label, text) in [("why", &finding.why), ("now", &finding.now)] {
            if !text.is_empty() {
                out.push_str(&format!("  {label:<8}  {}\n", clean(text)));
            }
        }
        out.push('\n');
    }
    out
}

/// Every change of objects, one a line, with the fields that change.
pub fn planned_changes(plan: &Plan) -> String {
    let mut out = String::new();
    for step in plan.steps.iter().filter(|step| step.count() > 0) {
        out.push_str(&format!("{}\n", step.name));
        for change in step.changes() {
            out.push_str(&change_lines(change));
        }
        for line in step.lines().flat_map(|(lines, _)| lines.iter()) {
            out.push_str(&clean(&format!(
                "  {:<8}{}\n          as line {} of the backup\n",
                line.verb(),
                line.object(),
                line.number + 1
            )));
        }
    }
    out
}

fn change_lines(change: &ObjectChange) -> String {
    let mut out = clean(&format!("  {:<7} {}\n", change.verb(), change.object));
    for field in change.fields() {
        let text = |value: &Option<serde_json::Value>| {
            let text = value
                .as_ref()
                .map_or("nothing".to_owned(), |value| masked_field(&change.object, &field.path, value).to_string());
            if text.chars().count() > 60 { text.chars().take(57).collect::<String>() + "..." } else { text }
        };
        out.push_str(&clean(&format!("          {}: {} → {}\n", field.path, text(&field.found), text(&field.wanted))));
    }
    out
}

/// The plan for a change ticket.
pub fn markdown(plan: &Plan, digest: &str, inventory: &Inventory) -> String {
    let escape = |text: &str| clean(text).replace('|', "\\|").replace('<', "&lt;");
    let mut out = format!(
        "# Calico {} → {}\n\nPlan `{digest}` for {}, {} nodes.\n\n",
        plan.from,
        plan.to,
        escape(&plan.cluster.server),
        inventory.nodes.len()
    );
    out.push_str("| # | phase | what | changes | undo |\n|---|---|---|---|---|\n");
    for (index, step) in plan.steps.iter().enumerate() {
        let cells: Vec<String> = row(index, step, inventory).iter().map(|cell| escape(cell)).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out.push_str(&format!("\n```text\n{}```\n", planned_changes(plan)));
    out
}
