//! The screens of a restore: what would change and what would not, and the whole comparison.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::text::clean;
use crate::{
    plan::restore::{Compared, Verdict},
    resource::{Difference, Kind, masked_field},
};

/// Changes shown before the rest is only counted.
const SHOWN: usize = 40;

/// Characters of a value that are shown: a line of 80 holds them.
const EXCERPT: usize = 56;
/// How much of what two values have in common is shown before the place where they differ.
const AROUND: usize = 24;

/// A comparison of a backup with the cluster, as data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RestoreReport<'a> {
    /// Where the backup lies.
    pub backup: String,
    pub digest: String,
    pub cluster: String,
    /// When the backup was written, and how long ago, as far as the disk tells.
    pub written: String,
    pub plan: String,
    pub same: usize,
    pub objects: Vec<Row<'a>>,
    /// What is to be known of the etcd before its keys are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<String>,
    /// What is live and not in the backup, by kind; nothing is said of it if only some objects were asked for.
    pub left: Option<BTreeMap<Kind, usize>>,
}

/// One object of the backup.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row<'a> {
    pub object: String,
    pub live: &'static str,
    pub change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub notes: &'a [String],
    /// Without a secret in them.
    pub fields: Vec<Difference>,
}

impl<'a> Row<'a> {
    pub fn of(compared: &'a Compared) -> Self {
        let (change, why) = match &compared.verdict {
            Verdict::Same => ("none", None),
            Verdict::Create { .. } => ("create", None),
            Verdict::Replace { .. } => ("replace", None),
            Verdict::Skipped { why } => ("skipped", Some(why.as_str())),
        };
        let live = match (compared.is_live, compared.fields.is_empty()) {
            (false, _) => "missing",
            (true, true) => "same",
            (true, false) => "differs",
        };
        let shown =
            |path: &str, value: &Option<Value>| value.as_ref().map(|value| masked_field(&compared.object, path, value));
        let fields = compared.fields.iter().map(|one| Difference {
            path: one.path.clone(),
            wanted: shown(&one.path, &one.wanted),
            found: shown(&one.path, &one.found),
        });
        let (object, notes, fields) = (compared.object.to_string(), compared.notes.as_slice(), fields.collect());
        Self { object, live, change, why, notes, fields }
    }

    fn is_change(&self) -> bool {
        self.change == "create" || self.change == "replace"
    }
}

/// What a restore would do.
pub fn restore_preview(report: &RestoreReport<'_>) -> String {
    let mut out = heading(report);
    let changes: Vec<&Row<'_>> = report.objects.iter().filter(|row| row.is_change()).collect();
    for row in changes.iter().take(SHOWN) {
        let fields = match row.fields.len() {
            0 => String::new(),
            1 => " · 1 field".to_owned(),
            count => format!(" · {count} fields"),
        };
        out.push_str(&format!("{:<8} {}{fields}\n", row.change, row.object));
        row.notes.iter().for_each(|note| out.push_str(&format!("           {note}\n")));
    }
    if changes.len() > SHOWN {
        out.push_str(&format!("   and {} more: --diff shows them all\n", changes.len() - SHOWN));
    }
    clean(&(out + &footing(report)))
}

/// Each object that differs in the backup beside the live one; of those that are the same how many there are.
pub fn restore_comparison(report: &RestoreReport<'_>) -> String {
    let mut out = heading(report);
    let mut same: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &report.objects {
        if row.live == "same" && row.why.is_none() {
            *same.entry(row.object.split(' ').next().unwrap_or_default()).or_default() += 1;
            continue;
        }
        let is_skipped = row.change == "skipped";
        let why = row.why.filter(|_| is_skipped).map(|why| format!("  skipped ({why})")).unwrap_or_default();
        out.push_str(&format!("{:<8} {}{why}\n", row.live, row.object));
        row.notes.iter().for_each(|note| out.push_str(&format!("           {note}\n")));
        row.fields.iter().for_each(|field| out.push_str(&field_line(field)));
    }
    same.iter().for_each(|(kind, count)| out.push_str(&format!("same     {count} {kind}\n")));
    clean(&(out + &footing(report)))
}

/// Both values below each other, from shortly before the place where they differ.
fn field_line(field: &Difference) -> String {
    let text = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), Value::to_string);
    let (backup, live) = (text(&field.wanted), text(&field.found));
    let alike = backup.chars().zip(live.chars()).take_while(|(one, other)| one == other).count();
    let from = if alike > AROUND { alike - AROUND / 2 } else { 0 };
    let (backup, live) = (excerpt(&backup, from), excerpt(&live, from));
    format!("           {}\n             backup  {backup}\n             live    {live}\n", field.path)
}

fn excerpt(text: &str, from: usize) -> String {
    let shown: String = text.chars().skip(from).take(EXCERPT).collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if text.chars().count() > from + EXCERPT { "…" } else { "" };
    format!("{before}{shown}{after}")
}

fn heading(report: &RestoreReport<'_>) -> String {
    let count = |live: &str| report.objects.iter().filter(|row| row.live == live).count();
    let etcd = report.etcd.as_ref().map(|etcd| format!("Etcd       {etcd}\n")).unwrap_or_default();
    clean(&format!(
        "Backup     {} · {} · written {}\nCluster    {}\n{etcd}Compared   {} same, {} missing, {} differ\n\n",
        report.backup,
        &report.digest[..12.min(report.digest.len())],
        report.written,
        report.cluster,
        report.same,
        count("missing"),
        count("differs"),
    ))
}

fn footing(report: &RestoreReport<'_>) -> String {
    let mut out = String::new();
    let skipped: Vec<_> = report.objects.iter().filter(|row| row.change == "skipped").collect();
    for row in skipped.iter().take(SHOWN) {
        out.push_str(&format!("Skipped    {} ({})\n", row.object, row.why.unwrap_or_default()));
    }
    if skipped.len() > SHOWN {
        out.push_str(&format!("Skipped    {} more: --diff shows them all\n", skipped.len() - SHOWN));
    }
    match &report.left {
        None => out.push_str("Left       everything that was not asked for\n"),
        Some(left) if left.is_empty() => out.push_str("Left       nothing: all that is live is in the backup\n"),
        Some(left) => {
            let counts: Vec<_> = left.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            out.push_str(&format!("Left       {}: live, and not in the backup\n", counts.join(", ")));
        }
    }
    clean(&out)
}
