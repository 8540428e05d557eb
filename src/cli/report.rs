//! The account of a run, from its directory; where that is on another machine, from the cluster's record.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    Ended,
    arguments::{Output, Report, ReportFormat},
    failure::Failure,
    session::Session,
    terminal,
};
use crate::{
    backup,
    door::{self, Record, RunPhase, RunState},
    engine::StartError,
    journal::{self, Entry, Progress, Tail},
    plan::Sealed,
    report::{self, Remains, RunReport},
    step,
};

pub async fn report(session: &Session, arguments: &Report) -> Ended {
    let account = report::run_report(&find(session, arguments.run.as_deref()).await?);
    if arguments.out == "-" {
        print(session.global.output, arguments.format, &account);
        return Ok(0);
    }
    let format = arguments.format.unwrap_or_else(|| format_of(session.global.output));
    let written = std::fs::write(&arguments.out, render(format, &account));
    written.map_err(|error| Failure::bad_file(&arguments.out, error.to_string()))?;
    terminal::chatter_line(&format!("Written    {}", arguments.out));
    Ok(0)
}

fn print(output: Output, format: Option<ReportFormat>, account: &RunReport) {
    match format {
        Some(ReportFormat::Text) => terminal::show(Output::Table, account, || report::run_text(account)),
        Some(format) => terminal::data(&render(format, account)),
        None => terminal::show(output, account, || render(format_of(output), account)),
    }
}

fn format_of(output: Output) -> ReportFormat {
    match output {
        Output::Table | Output::Yaml => ReportFormat::Text,
        Output::Json => ReportFormat::Json,
        Output::Markdown => ReportFormat::Markdown,
    }
}

/// Writes the account in one of its formats.
pub fn render(format: ReportFormat, account: &RunReport) -> String {
    match format {
        ReportFormat::Text => report::run_text(account),
        ReportFormat::Html => report::run_html(account),
        ReportFormat::Markdown => report::run_markdown(account),
        ReportFormat::Junit => report::run_junit(account),
        ReportFormat::Json => format!("{:#}\n", serde_json::to_value(account).expect("an account is plain data")),
    }
}

async fn find(session: &Session, named: Option<&str>) -> Result<Remains<'static>, Failure> {
    let runs = session.state().join("runs");
    let directory = match named {
        Some(name) => [PathBuf::from(name), runs.join(name)].into_iter().find(|place| is_run(place)),
        None => newest(&runs),
    };
    match directory {
        Some(directory) => remains(&directory),
        None => of_record(session, named, &runs).await,
    }
}

fn is_run(directory: &Path) -> bool {
    directory.join("plan.json").is_file()
}

/// The run whose journal began last.
fn newest(runs: &Path) -> Option<PathBuf> {
    let directories = std::fs::read_dir(runs).ok()?.flatten().map(|entry| entry.path()).filter(|path| is_run(path));
    let began = |directory: &PathBuf| {
        let mut first = None;
        let note = |entry: Entry| {
            first.get_or_insert(entry.at);
        };
        journal::read_each(&directory.join("journal.jsonl"), note).ok()?;
        first?.parse::<jiff::Timestamp>().ok()
    };
    directories.max_by_key(began)
}

/// Reads what a run left in its directory.
fn remains(directory: &Path) -> Result<Remains<'static>, Failure> {
    let plan = directory.join("plan.json");
    let wrong = |what: String| Failure::bad_file(plan.display(), what);
    let sealed = Sealed::read_from(|| std::fs::File::open(&plan)).map_err(|error| wrong(error.to_string()))?;
    remains_of(Cow::Owned(sealed), directory)
}

/// Reads what a run of a known plan left in its directory.
pub fn remains_of<'a>(sealed: Cow<'a, Sealed>, directory: &Path) -> Result<Remains<'a>, Failure> {
    let run = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut skipped = Vec::new();
    let History { entries, journal, progress } = history(directory, &run, &sealed, &mut skipped)?;
    let inventory = read_json(&directory.join("inventory.json"))
        .map_err(|what| skipped.push(format!("nodes that nothing happened to (inventory.json: {what})")))
        .ok();
    let backup = read_backup(directory, &mut skipped);
    let keys = step::replaced_keys(directory, &sealed.plan, report::NAMED)
        .map_err(|error| skipped.push(format!("what keys held before and after ({error})")))
        .unwrap_or_default();
    Ok(Remains { sealed, entries, journal, progress, inventory, backup, keys, record: None, skipped })
}

/// What the journal of a run tells.
#[derive(Default)]
struct History {
    entries: Vec<Entry>,
    journal: Vec<String>,
    progress: Progress,
}

impl History {
    fn named(mut self, run: &str) -> Self {
        if self.progress.run.is_empty() {
            run.clone_into(&mut self.progress.run);
        }
        self
    }
}

fn history(directory: &Path, run: &str, sealed: &Sealed, skipped: &mut Vec<String>) -> Result<History, Failure> {
    let path = directory.join("journal.jsonl");
    if !path.exists() {
        skipped.push("what was done, when and by whom (there is no journal in the directory)".to_owned());
        return Ok(History::default().named(run));
    }
    let (mut history, mut followed) = (History::default(), Ok(()));
    let tail = journal::read_each(&path, |entry| {
        if followed.is_ok() {
            followed = history.progress.take(&entry);
        }
        history.journal.push(report::journal_line(&entry));
        history.entries.push(report::of_nodes(entry));
    });
    let tail = tail.map_err(StartError::from)?;
    if let Tail::Torn(bytes) = tail {
        skipped.push(format!("the last {bytes} bytes of the journal (they were cut short by a kill)"));
    }
    followed.map_err(|source| StartError::History { run: run.to_owned(), source })?;
    if history.progress.plan.as_ref().is_some_and(|plan| *plan != sealed.digest) {
        return Err(StartError::OtherPlan { run: run.to_owned() }.into());
    }
    Ok(history.named(run))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

fn read_backup(directory: &Path, skipped: &mut Vec<String>) -> Option<(String, backup::Manifest)> {
    let place = step::backup_directory(directory);
    match backup::read_manifest(&place) {
        Ok(manifest) => Some((std::path::absolute(&place).unwrap_or(place).display().to_string(), manifest)),
        Err(error) => {
            skipped.push(format!("what the backup holds ({error})"));
            None
        }
    }
}

/// What the cluster knows of a run whose directory is not here.
async fn of_record(session: &Session, named: Option<&str>, runs: &Path) -> Result<Remains<'static>, Failure> {
    let cluster = session.connect().await.map_err(|failure| nowhere(named, runs, &failure))?;
    let run = match named {
        Some(run) => Some(run.to_owned()),
        None => {
            let known = door::runs(&cluster).await.map_err(|error| nowhere(named, runs, &error.into()))?;
            known.last().map(|state| state.run.clone())
        }
    };
    let Some(run) = run else {
        let looked = format!("looked in {} and in the record of the cluster", runs.display());
        return Err(Failure::new(65, "CU-E069", "there is no run to report on")
            .evidence([looked])
            .now("calico-upgrader plan"));
    };
    let record = Record::open(&cluster, &run).await.map_err(|error| match error {
        door::RecordError::Cluster(error) => nowhere(named, runs, &error.into()),
        other => other.into(),
    })?;
    let sealed = record.plan().await?;
    Ok(recorded(sealed, record.state.clone()))
}

/// The run is not on this machine, and the cluster cannot be asked.
fn nowhere(named: Option<&str>, runs: &Path, failure: &Failure) -> Failure {
    let what =
        named.map_or("there is no run on this machine".to_owned(), |run| format!("run `{run}` is not on this machine"));
    Failure::new(65, "CU-E069", format!("{what}, and the cluster cannot be asked for its record"))
        .evidence([format!("looked in {}", runs.display()), failure.what.clone()])
        .why("an account is made from what the run wrote down")
        .now("calico-upgrader report DIRECTORY, with the directory of the run copied from the machine that ran it")
}

fn recorded(sealed: Sealed, state: RunState) -> Remains<'static> {
    let mut progress = History::default().named(&state.run).progress;
    (progress.plan, progress.epoch) = (Some(state.plan.clone()), state.epoch);
    (progress.steps_done, progress.step) = (state.steps_done.clone(), state.step.clone());
    match &state.phase {
        RunPhase::Running | RunPhase::Abandoned | RunPhase::RolledBack { .. } => {}
        RunPhase::Stopped { exit, why } => progress.stopped = Some((*exit, why.clone())),
        RunPhase::Finished { exit } => progress.finished = Some(*exit),
    }
    let place = state.backup.as_ref().map_or("it is not known where".to_owned(), |backup| {
        format!("{} on {}, digest {}", backup.path, backup.host, backup.digest.short())
    });
    let nodes = match state.nodes {
        0 => String::new(),
        of => format!("; the record says {} of {of} nodes", state.nodes_done),
    };
    let skipped = vec![
        format!("claims, times of nodes and changes made (the journal is on the machine of {}{nodes})", state.holder),
        format!("what the backup holds ({place})"),
    ];
    let sealed = Cow::Owned(sealed);
    let (entries, journal, keys) = (Vec::new(), Vec::new(), BTreeMap::new());
    Remains { sealed, entries, journal, progress, inventory: None, backup: None, keys, record: Some(state), skipped }
}
