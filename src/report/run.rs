use serde::{Deserialize, Serialize};

use super::text::{clean, duration};
use crate::{
    journal::{Entry, News, Progress},
    plan::Sealed,
};

/// The finished account of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    pub run: String,
    pub from: String,
    pub to: String,
    pub plan: String,
    pub cluster: String,
    pub verdict: String,
    pub exit: u8,
    pub started: String,
    pub ended: String,
    pub changes: u64,
    pub steps: Vec<StepReport>,
    pub kept: Vec<String>,
    pub waived: Vec<String>,
    pub journal: Vec<String>,
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    pub name: String,
    pub is_done: bool,
    pub evidence: Vec<String>,
    pub nodes: Vec<NodeReport>,
}

/// How long one node was being replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    pub what: String,
    pub seconds: u64,
}

/// Makes the account of a run from its plan and its journal.
pub fn run_report(sealed: &Sealed, entries: &[Entry], progress: &Progress) -> RunReport {
    let plan = &sealed.plan;
    let (exit, verdict) = match (progress.finished, &progress.stopped) {
        (Some(exit), _) => (exit, "finished".to_owned()),
        (None, Some((exit, why))) => (*exit, format!("stopped: {why}")),
        (None, None) => (1, "ended without a word; it can be resumed".to_owned()),
    };
    RunReport {
        run: progress.run.clone(),
        from: plan.from.to_string(),
        to: plan.to.to_string(),
        plan: sealed.digest.to_string(),
        cluster: plan.cluster.server.clone(),
        verdict,
        exit,
        started: entries.first().map(|entry| entry.at.clone()).unwrap_or_default(),
        ended: entries.last().map(|entry| entry.at.clone()).unwrap_or_default(),
        changes: progress.changes_applied,
        steps: plan.steps.iter().map(|step| step_report(&step.name, entries, progress)).collect(),
        kept: plan.kept.iter().map(|kept| format!("{}:{}", kept.object, kept.path)).collect(),
        waived: plan
            .findings
            .iter()
            .filter_map(|one| Some(format!("{}: {}", one.id, one.ignored_because.as_ref()?)))
            .collect(),
        journal: entries.iter().map(|entry| format!("{} {}", entry.at, told(&entry.news))).collect(),
    }
}

fn step_report(name: &str, entries: &[Entry], progress: &Progress) -> StepReport {
    let mut report = StepReport {
        name: name.to_owned(),
        is_done: progress.steps_done.iter().any(|done| done == name),
        evidence: Vec::new(),
        nodes: Vec::new(),
    };
    for entry in entries {
        match &entry.news {
            News::Proven { step, claim, .. } if step == name => report.evidence.push(claim.clone()),
            News::Waited { step, what, seconds } if step == name => {
                report.nodes.push(NodeReport { what: what.clone(), seconds: *seconds });
            }
            _ => {}
        }
    }
    report
}

fn told(news: &News) -> String {
    match news {
        News::Started { run, .. } => format!("run {run} started"),
        News::Resumed { holder } => format!("resumed by {holder}"),
        News::StepStarted { step } => format!("{step} started"),
        News::Intended { changes, batch, .. } => {
            let labels: Vec<&str> = changes.iter().take(3).map(|change| change.label.as_str()).collect();
            format!(
                "batch {batch}: {} changes ({}{})",
                changes.len(),
                labels.join(", "),
                if changes.len() > 3 { ", …" } else { "" }
            )
        }
        News::Settled { batch, .. } => format!("batch {batch} settled"),
        News::Waited { what, seconds, .. } => format!("{what} done in {seconds}s"),
        News::Proven { claim, .. } => format!("proven: {claim}"),
        News::StepDone { step } => format!("{step} done"),
        News::Stopped { why, exit } => format!("stopped with {exit}: {why}"),
        News::Finished { exit } => format!("finished with {exit}"),
    }
}

/// The account as text.
pub fn run_text(report: &RunReport) -> String {
    let mut out = format!(
        "Run {} · Calico {} → {} · {}\nCluster  {}\nPlan     {}\nChanges  {}\nTime     {} – {}\n\n",
        report.run,
        report.from,
        report.to,
        report.verdict,
        report.cluster,
        report.plan,
        report.changes,
        report.started,
        report.ended
    );
    for step in &report.steps {
        out.push_str(&format!("{}  {}\n", if step.is_done { "done    " } else { "not done" }, step.name));
        step.evidence.iter().for_each(|claim| out.push_str(&format!("            proven: {claim}\n")));
        step.nodes
            .iter()
            .for_each(|node| out.push_str(&format!("            {} in {}\n", node.what, duration(node.seconds))));
    }
    for (title, lines) in [("Kept", &report.kept), ("Waived", &report.waived)] {
        if !lines.is_empty() {
            out.push_str(&format!("\n{title}\n"));
            lines.iter().for_each(|line| out.push_str(&format!("  {line}\n")));
        }
    }
    clean(&out)
}
