//! The command line: parse, do, print, exit. Only this room prints, prompts, exits or reads the environment.

mod approve;
mod arguments;
mod backup;
mod check;
mod complete;
mod consent;
mod convert;
mod datastore;
mod decide;
mod diff;
mod discover;
mod dry_run;
mod explain;
mod failure;
mod gates;
mod install;
mod jobs;
mod listen;
mod plan;
mod probe;
mod progress;
mod report;
mod restore;
mod resume;
mod rollback;
mod run;
mod runbook;
mod scheduled;
mod session;
mod shell;
mod status;
mod stores;
mod terminal;
mod traces;
mod verify;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use arguments::{Arguments, Command};
use failure::Failure;
use session::Session;

/// What a command ends with: an exit code, or a failure to be told.
type Ended = Result<u8, Failure>;

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(usage) => return ExitCode::from(terminal::print_usage(&usage)),
    };
    terminal::set_up(&arguments.global);
    // Two crates of the tree could bring a TLS provider each; this is the one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ExitCode::from(Failure::unexpected(&error).tell(&arguments.global)),
    };
    let ended = runtime.block_on(dispatch(&arguments));
    // A thread that waits for an answer at a prompt must not keep the program.
    runtime.shutdown_background();
    ExitCode::from(ended.unwrap_or_else(|failure| failure.tell(&arguments.global)))
}

/// Reads the arguments; help and errors name the program as it was called.
fn parse() -> Result<Arguments, clap::Error> {
    let mut command = Arguments::command().bin_name(shell::called());
    let mut matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Arguments::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

async fn dispatch(arguments: &Arguments) -> Ended {
    let session = Session::new(&arguments.global);
    match &arguments.command {
        Command::Discover => discover::discover(&session).await,
        Command::Check(check) => check::check(&session, check).await,
        Command::Plan(plan) => plan::plan(&session, plan).await,
        Command::Diff(diff) => diff::diff(&session, diff).await,
        Command::Run(run) => run::run(&session, run).await,
        Command::Status(status) => status::status(&session, status).await,
        Command::Approve(approve) => approve::approve(&session, approve).await,
        Command::Pause(pause) => status::pause(&session, pause).await,
        Command::Resume(resume) => resume::resume(&session, resume).await,
        Command::Rollback(rollback) => rollback::rollback(&session, rollback).await,
        Command::Complete(complete) => complete::complete(&session, complete).await,
        Command::Backup(backup) => backup::backup(&session, backup).await,
        Command::Restore(restore) => restore::restore(&session, restore).await,
        Command::Verify(verify) => verify::verify(&session, verify).await,
        Command::Report(report) => report::report(&session, report).await,
        Command::Explain(explain) => explain::explain(&session, explain),
        Command::Convert(convert) => convert::convert(&session, convert),
        Command::Runbook(runbook) => runbook::runbook(&session, runbook),
        Command::Install(install) => install::install(&session, install).await,
        Command::Probe(probe) => probe::probe(probe).await,
        Command::Version => version::version(&session),
        Command::Completion { shell } => shell::completion(*shell),
        Command::Man(man) => shell::man(man),
    }
}
