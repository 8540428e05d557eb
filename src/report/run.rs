//! The finished account of a run: one value, made from what the run left behind, that every format shows.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{
    change::{ChangeGroup, plain},
    loss::{loss_words, watching_words, whole_words},
    steps::{StepReport, step_reports},
    timeline::{Timeline, millis, timeline},
    verdict::{Next, Verdict, headline, next, verdict},
};
use crate::{
    backup::Manifest,
    check::Finding,
    door::RunState,
    inventory::Inventory,
    journal::{Entry, News, Progress},
    plan::{ObjectChange, Plan, Sealed},
    resource::{masked_field, masked_text},
};

/// What a run left behind, as far as it is here.
#[derive(Clone, Debug)]
pub struct Remains<'a> {
    pub sealed: Cow<'a, Sealed>,
    pub entries: Vec<Entry>,
    /// A line for each entry of the journal.
    pub journal: Vec<String>,
    pub progress: Progress,
    pub inventory: Option<Inventory>,
    /// Where the backup lies, and what it holds.
    pub backup: Option<(String, Manifest)>,
    /// Keys that the run replaced and that its plan has no text of, as they were and as they shall be: the first ones.
    pub keys: BTreeMap<String, ObjectChange>,
    /// The cluster's record, where that is all there is.
    pub record: Option<RunState>,
    /// What cannot be told, and why.
    pub skipped: Vec<String>,
}

/// The finished account of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    pub run: String,
    /// What the run is for, in a few words.
    #[serde(default)]
    pub purpose: String,
    pub from: String,
    pub to: String,
    pub plan: String,
    pub cluster: String,
    pub kubernetes: String,
    pub flavour: String,
    pub verdict: Verdict,
    pub headline: String,
    /// Why it stopped, in the words of the run.
    pub reason: String,
    pub exit: Option<u8>,
    pub started: String,
    pub ended: String,
    /// From the first entry to the last, and how much of that nobody held the run.
    pub seconds: u64,
    pub paused_seconds: u64,
    pub runners: Vec<String>,
    pub changes: u64,
    pub steps: Vec<StepReport>,
    pub omitted: Vec<String>,
    pub timeline: Timeline,
    pub backup: Option<BackupReport>,
    pub warnings: Vec<Finding>,
    pub waived: Vec<String>,
    pub kept: Vec<KeptReport>,
    pub next: Vec<Next>,
    pub skipped: Vec<String>,
    pub journal: Vec<String>,
}

/// The backup of a run, as its manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupReport {
    pub place: String,
    pub digest: String,
    pub objects: usize,
    pub files: Vec<BackupFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupFile {
    pub file: String,
    pub kind: String,
    pub objects: usize,
    pub bytes: u64,
    pub sha256: String,
}

/// A setting made by hand that stayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptReport {
    pub object: String,
    pub path: String,
    pub value: String,
}

/// Makes the account of a run from what it left behind.
pub fn run_report(remains: &Remains<'_>) -> RunReport {
    let Remains { sealed, entries, progress, record, .. } = remains;
    let plan = &sealed.plan;
    let steps = step_reports(plan, entries, progress, &remains.keys);
    let (verdict, exit, reason) = verdict(progress, &steps, record.as_ref());
    let timeline = timeline(plan, entries, remains.inventory.as_ref());
    let (started, ended) = times(entries, record.as_ref());
    let paused_ms: i64 = timeline.pauses.iter().map(|(from, to)| to - from).sum();
    let mut skipped = remains.skipped.clone();
    skipped.extend(begins_late(entries));
    skipped.extend(unseen(entries));
    RunReport {
        run: progress.run.clone(),
        purpose: plan.purpose.words(&plan.from.to_string(), &plan.to.to_string()),
        from: plan.from.to_string(),
        to: plan.to.to_string(),
        plan: sealed.digest.to_string(),
        cluster: plan.cluster.server.clone(),
        kubernetes: plan.cluster.kubernetes.to_string(),
        flavour: plan.flavour.to_string(),
        headline: headline(verdict, exit, plan),
        verdict,
        reason: masked_text(&reason),
        exit,
        seconds: seconds_between(&started, &ended),
        paused_seconds: u64::try_from(paused_ms / 1000).unwrap_or_default(),
        started,
        ended,
        runners: runners(entries, record.as_ref()),
        changes: progress.changes_applied,
        steps,
        omitted: plan.omitted.iter().map(|one| format!("{} ({})", one.name, one.why)).collect(),
        timeline,
        backup: remains.backup.as_ref().map(|(place, manifest)| backup_report(place, manifest)),
        warnings: plan.findings.iter().map(masked_finding).collect(),
        waived: waived(plan),
        kept: kept(plan),
        next: next(verdict, exit, plan, &progress.run, remains.backup.is_some()),
        skipped,
        journal: remains.journal.clone(),
    }
}

fn times(entries: &[Entry], record: Option<&RunState>) -> (String, String) {
    match (entries.first(), entries.last(), record) {
        (Some(first), Some(last), _) => (first.at.clone(), last.at.clone()),
        (_, _, Some(record)) => (record.started.clone(), record.updated.clone()),
        (_, _, None) => (String::new(), String::new()),
    }
}

fn seconds_between(from: &str, to: &str) -> u64 {
    let passed = millis(to).zip(millis(from)).map_or(0, |(to, from)| to - from);
    u64::try_from(passed / 1000).unwrap_or_default()
}

/// A journal of a run that was on another machine before tells nothing of what was done there.
fn begins_late(entries: &[Entry]) -> Option<String> {
    let epoch = entries.first()?.epoch;
    (epoch > 1).then(|| {
        format!("what was done before runner {epoch} (the journal here begins with it; the earlier one is on another machine)")
    })
}

/// What the newest runner could not look at.
fn unseen(entries: &[Entry]) -> Option<String> {
    entries.iter().rev().find_map(|entry| match &entry.news {
        News::Skipped { what, why, .. } => Some(format!("{what} ({why})")),
        News::Watching { left_out, .. } if !left_out.is_empty() => {
            let shown: Vec<&str> = left_out.iter().take(6).map(String::as_str).collect();
            let more = left_out.len() - shown.len();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            Some(format!(
                "packets of {} pairs that lost some before anything was touched: {}{more}",
                left_out.len(),
                shown.join(", ")
            ))
        }
        _ => None,
    })
}

fn runners(entries: &[Entry], record: Option<&RunState>) -> Vec<String> {
    let mut runners: Vec<String> = Vec::new();
    let named = entries.iter().filter_map(|entry| match &entry.news {
        News::Started { holder, .. } | News::Resumed { holder, .. } => Some(holder.clone()),
        News::StepStarted { .. }
        | News::Intended { .. }
        | News::Settled { .. }
        | News::Waited { .. }
        | News::Ready { .. }
        | News::Gone { .. }
        | News::Skipped { .. }
        | News::Watching { .. }
        | News::Lost { .. }
        | News::Watched { .. }
        | News::Proven { .. }
        | News::Broken { .. }
        | News::StepDone { .. }
        | News::Stopped { .. }
        | News::Finished { .. } => None,
    });
    for holder in named.chain(record.map(|record| record.holder.clone())).filter(|holder| !holder.is_empty()) {
        if !runners.contains(&holder) {
            runners.push(holder);
        }
    }
    runners
}

fn backup_report(place: &str, manifest: &Manifest) -> BackupReport {
    let files = manifest.files.iter().map(|entry| BackupFile {
        file: entry.file.clone(),
        kind: entry.kind.name().to_owned(),
        objects: entry.objects,
        bytes: entry.bytes,
        sha256: entry.sha256.to_string(),
    });
    BackupReport {
        place: place.to_owned(),
        digest: manifest.digest().to_string(),
        objects: manifest.objects(),
        files: files.collect(),
    }
}

fn masked_finding(finding: &Finding) -> Finding {
    let mut finding = finding.clone();
    finding.evidence.iter_mut().for_each(|line| *line = masked_text(line));
    finding
}

/// What the operator took upon themselves: ignored findings, accepted losses, untested ways, kept and taken fields.
fn waived(plan: &Plan) -> Vec<String> {
    let request = &plan.request;
    let ignored = plan
        .findings
        .iter()
        .filter_map(|one| Some(format!("{} ignored: {}", one.name(), one.ignored_because.as_ref()?)));
    let lost = request.accept_loss.iter().map(|object| format!("loss accepted: {object}"));
    let untested =
        request.allow_untested.then(|| "a way that nobody upstream tested was allowed (--allow-untested)".to_owned());
    let chosen = request.preferences.0.iter().map(|(field, choice)| {
        let what = match choice.decision {
            crate::plan::Preference::Keep => "kept as people made it",
            crate::plan::Preference::Take => "taken as the release ships it",
        };
        let why = choice.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{what}: {field}{why}")
    });
    ignored.chain(lost).chain(untested).chain(chosen).collect()
}

fn kept(plan: &Plan) -> Vec<KeptReport> {
    let report = |kept: &crate::plan::Kept| KeptReport {
        object: kept.object.to_string(),
        path: kept.path.clone(),
        value: match &kept.value {
            Some(value) => plain(&masked_field(&kept.object, &kept.path, value)),
            None => "taken away".to_owned(),
        },
    };
    plan.kept.iter().map(report).collect()
}

/// An entry of the journal in one line, without secrets.
pub fn journal_line(entry: &Entry) -> String {
    format!("{} {}", entry.at, masked_text(&told(&entry.news)))
}

fn told(news: &News) -> String {
    match news {
        News::Started { run, .. } => format!("run {run} started"),
        News::Resumed { holder, .. } => format!("resumed by {holder}"),
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
        News::Ready { node, seen, .. } => format!("calico-node on {node} was seen ready at {seen}"),
        News::Gone { node, .. } => format!("{node} went away, and was left out"),
        News::Skipped { what, why, .. } => format!("skipped {what} ({why})"),
        News::Watching { pairs, left_out, .. } => watching_words(*pairs, left_out),
        News::Lost { node, loss, .. } => format!("while {node} was replaced: {}", loss_words(loss)),
        News::Watched { whole, .. } => whole_words(whole),
        News::Proven { claim, .. } => format!("proven: {claim}"),
        News::Broken { claim, .. } => format!("does not hold: {claim}"),
        News::StepDone { step } => format!("{step} done"),
        News::Stopped { why, exit } => format!("stopped with {exit}: {why}"),
        News::Finished { exit } => format!("finished with {exit}"),
    }
}

impl RunReport {
    /// Every claim with the step that made it.
    pub fn claims(&self) -> impl Iterator<Item = (&StepReport, &crate::step::Claim)> {
        self.steps.iter().flat_map(|step| step.claims.iter().map(move |claim| (step, claim)))
    }

    /// The planned changes of all steps, counted.
    pub fn planned_changes(&self) -> usize {
        self.steps.iter().flat_map(|step| &step.changes).map(|group: &ChangeGroup| group.count).sum()
    }
}
