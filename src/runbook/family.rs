//! One file for the ways to several release lines: the steps are the same, and each line has a row of its own.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Range, ReadError, Runbook, RunbookStep, TestedRow, read};
use crate::{
    inventory::Datastore,
    version::{Minor, Version},
};

/// The lines of the file; its steps are read with each of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    lines: Vec<Row>,
    #[serde(rename = "steps")]
    _steps: Vec<RunbookStep>,
}

/// What differs from line to line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    line: Minor,
    from: Range,
    /// The releases of Kubernetes that upstream tests the line with.
    kubernetes: Vec<Minor>,
    source: String,
    #[serde(default)]
    avoid: BTreeMap<Version, String>,
}

/// The key from which on a file is the same for all of its lines.
const STEPS: &str = "\nsteps:\n";

/// The lines that a file leads to.
pub(super) fn lines(text: &str) -> Result<Vec<Minor>, ReadError> {
    let family: Family = read::parse(text)?;
    Ok(family.lines.iter().map(|row| row.line).collect())
}

/// The runbook of one line, as a text of its own.
pub(super) fn text(text: &str, line: Minor) -> Result<Option<String>, ReadError> {
    let family: Family = read::parse(text)?;
    let steps = text.split_once(STEPS).map(|(_, steps)| steps).unwrap_or_default();
    let row = family.lines.into_iter().find(|row| row.line == line);
    Ok(row.map(|row| format!("{}{STEPS}{steps}", head(row))))
}

fn head(Row { line, from, kubernetes, source, avoid }: Row) -> String {
    let tested = |kubernetes| TestedRow { calico: None, datastore: Datastore::Kubernetes, kubernetes };
    let tested = kubernetes.into_iter().map(tested).collect();
    let book = Runbook { target: line, from, source, tested, avoid, steps: Vec::new() };
    let text = serde_saphyr::to_string(&book).unwrap_or_default();
    text.lines().filter(|line| !line.starts_with("steps:")).map(|line| format!("{line}\n")).collect()
}
