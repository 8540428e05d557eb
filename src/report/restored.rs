//! The screens of a restore: what would change and what would not, and the whole comparison.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::text::clean;
use crate::{
    plan::{
        Line, Plan,
        restore::{Compared, ComparedKeys, Verdict},
    },
    resource::{Difference, Kind, ObjectRef, masked_field},
};

/// Changes shown before the rest is only counted.
pub const SHOWN: usize = 40;

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
    pub objects: Rows<'a>,
    /// What is to be known of the etcd before its keys are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etcd: Option<String>,
    /// What is live and not in the backup, by kind; nothing is said of it if only some objects were asked for.
    pub left: Option<BTreeMap<Kind, usize>>,
}

/// The objects of the backup, and of its keys those that differ. Each row is made when it is its turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rows<'a> {
    pub compared: &'a [Compared],
    /// Whether those are told that are the same.
    pub with_same: bool,
    pub plan: &'a Plan,
    pub keys: &'a ComparedKeys,
}

impl<'a> Rows<'a> {
    fn iter(&self) -> impl Iterator<Item = Row<'a>> {
        let Rows { compared, with_same, plan, keys } = *self;
        let objects = compared.iter().filter(move |one| with_same || one.verdict != Verdict::Same).map(Row::of);
        let lines = plan.lines_by_place().map(|(line, note)| Row::of_line(&line, note, keys));
        objects.chain(lines).chain(keys.skipped.iter().map(Row::of))
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// One object of the backup.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row<'a> {
    pub object: String,
    pub live: &'static str,
    pub change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<&'a str>,
    /// Without a secret in them.
    pub fields: Vec<Difference>,
}

impl<'a> Row<'a> {
    fn of(compared: &'a Compared) -> Self {
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
        let fields = masked_fields(&compared.object, &compared.fields);
        let notes = compared.notes.iter().map(String::as_str).collect();
        Self { object: compared.object.to_string(), live, change, why, notes, fields }
    }

    fn of_line(line: &Line<'a>, note: Option<&'a str>, keys: &ComparedKeys) -> Self {
        let live = if line.before.is_some() { "differs" } else { "missing" };
        let (object, fields) = (line.object(), keys.fields.get(line.key).map(Vec::as_slice).unwrap_or_default());
        let fields = masked_fields(&object, fields);
        Self {
            object: object.to_string(),
            live,
            change: line.verb(),
            why: None,
            notes: note.into_iter().collect(),
            fields,
        }
    }

    fn is_change(&self) -> bool {
        self.change == "create" || self.change == "replace"
    }
}

fn masked_fields(object: &ObjectRef, fields: &[Difference]) -> Vec<Difference> {
    let shown = |path: &str, value: &Option<Value>| value.as_ref().map(|value| masked_field(object, path, value));
    let masked = fields.iter().map(|one| Difference {
        path: one.path.clone(),
        wanted: shown(&one.path, &one.wanted),
        found: shown(&one.path, &one.found),
    });
    masked.collect()
}

/// What a restore would do.
pub fn restore_preview(report: &RestoreReport<'_>) -> String {
    let mut out = heading(report);
    let changes = || report.objects.iter().filter(Row::is_change);
    for row in changes().take(SHOWN) {
        let fields = match row.fields.len() {
            0 => String::new(),
            1 => " · 1 field".to_owned(),
            count => format!(" · {count} fields"),
        };
        out.push_str(&format!("{:<8} {}{fields}\n", row.change, row.object));
        row.notes.iter().for_each(|note| out.push_str(&format!("           {note}\n")));
    }
    let more = changes().count().saturating_sub(SHOWN);
    if more > 0 {
        out.push_str(&format!("   and {more} more: --diff shows them all\n"));
    }
    clean(&(out + &footing(report)))
}

/// Each object that differs in the backup beside the live one; of those that are the same how many there are.
pub fn restore_comparison(report: &RestoreReport<'_>) -> String {
    let mut out = heading(report);
    let mut same: BTreeMap<String, usize> = BTreeMap::new();
    same.extend((report.objects.keys.same > 0).then(|| (Kind::EtcdKey.to_string(), report.objects.keys.same)));
    for row in report.objects.iter() {
        if row.live == "same" && row.why.is_none() {
            *same.entry(row.object.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
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
    let skipped = || report.objects.iter().filter(|row| row.change == "skipped");
    for row in skipped().take(SHOWN) {
        out.push_str(&format!("Skipped    {} ({})\n", row.object, row.why.unwrap_or_default()));
    }
    let more = skipped().count().saturating_sub(SHOWN);
    if more > 0 {
        out.push_str(&format!("Skipped    {more} more: --diff shows them all\n"));
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
