//! The screens of a restore: what would change and what would not, and the whole comparison.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::text::{clean, table};
use crate::{
    plan::restore::{Compared, Verdict},
    resource::{Difference, Kind, masked_field},
};

/// Changes shown before the rest is only counted.
const SHOWN: usize = 40;

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
pub fn restore_preview(report: &RestoreReport<'_>, width: u16) -> String {
    let mut out = heading(report);
    let changes: Vec<&Row<'_>> = report.objects.iter().filter(|row| row.is_change()).collect();
    let rows = changes.iter().take(SHOWN).map(|row| {
        let fields = match row.fields.len() {
            0 => String::new(),
            1 => "1 field".to_owned(),
            count => format!("{count} fields"),
        };
        let remarks = [fields].into_iter().filter(|text| !text.is_empty()).chain(row.notes.iter().cloned());
        vec![row.change.to_owned(), row.object.clone(), remarks.collect::<Vec<_>>().join("; ")]
    });
    if !changes.is_empty() {
        out.push_str(&table(&["CHANGE", "OBJECT", ""], rows.collect(), width));
    }
    if changes.len() > SHOWN {
        out.push_str(&format!("   and {} more: --diff shows them all\n", changes.len() - SHOWN));
    }
    out + &footing(report)
}

/// Each object in the backup beside the live one.
pub fn restore_comparison(report: &RestoreReport<'_>) -> String {
    let mut out = heading(report);
    for row in &report.objects {
        let is_skipped = row.change == "skipped";
        let why = row.why.filter(|_| is_skipped).map(|why| format!("  skipped ({why})")).unwrap_or_default();
        out.push_str(&format!("{:<8} {}{why}\n", row.live, row.object));
        row.notes.iter().for_each(|note| out.push_str(&format!("           {note}\n")));
        row.fields.iter().for_each(|field| out.push_str(&field_line(field)));
    }
    clean(&(out + &footing(report)))
}

fn field_line(field: &Difference) -> String {
    let text = |value: &Option<Value>| {
        let text = value.as_ref().map_or("nothing".to_owned(), Value::to_string);
        if text.chars().count() > 80 { text.chars().take(77).collect::<String>() + "..." } else { text }
    };
    format!("           {}: backup {} | live {}\n", field.path, text(&field.wanted), text(&field.found))
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
