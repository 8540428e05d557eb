use std::path::Path;

use super::{
    Ended,
    arguments::{Runbook as Arguments, RunbookAction},
    failure::Failure,
    session::Session,
    terminal,
};
use crate::{
    report,
    runbook::{self, Runbook},
};

pub fn runbook(session: &Session, arguments: &Arguments) -> Ended {
    match &arguments.action {
        RunbookAction::List => list(session),
        RunbookAction::Show { name } => show(name)?,
        RunbookAction::Lint { file } => {
            let read = read_file(file)?;
            terminal::chatter_line(&format!(
                "{} leads to Calico {} in {} steps",
                file.display(),
                read.target,
                read.steps.len()
            ));
        }
    }
    Ok(0)
}

fn list(session: &Session) {
    let books: Vec<Runbook> =
        runbook::names().iter().filter_map(|name| runbook::find(name.parse().ok()?)?.ok()).collect();
    terminal::show(session.global.output, &books, || {
        let row = |book: &Runbook| {
            vec![book.target.to_string(), book.from.to_string(), book.steps.len().to_string(), book.source.clone()]
        };
        report::table(&["TO", "FROM", "STEPS", "SOURCE"], books.iter().map(row).collect(), terminal::width())
    });
}

fn show(name: &str) -> Result<(), Failure> {
    let missing =
        || Failure::usage(format!("there is no runbook `{name}`; there are: {}", runbook::names().join(", ")));
    terminal::data(&runbook::text(name).ok_or_else(missing)?);
    Ok(())
}

/// Reads a runbook file; an error names line, column and what was meant.
pub fn read_file(path: &Path) -> Result<Runbook, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::bad_file(path.display(), error.to_string()))?;
    runbook::read(&text).map_err(|error| {
        let place = match (error.line, error.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", path.display()),
            _ => path.display().to_string(),
        };
        Failure::bad_file(place, error.to_string()).now(format!("calico-upgrader runbook lint {}", path.display()))
    })
}
