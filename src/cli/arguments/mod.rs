//! The flags, in the order in which people meet them: of every command here, then of planning, of runs and of files.

mod accounts;
mod consent;
mod datastore;
mod files;
mod gates;
mod install;
mod planning;
mod pods;
mod probe;
mod restore;
mod runs;
mod traces;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use accounts::{Explain, Report, ReportFormat};
pub use consent::{Consent, DryRun, Trial, Waivers};
pub use datastore::{Datastore, DatastoreChoice};
pub use files::{Backup, BackupAction, Convert, ConvertFrom, ConvertTo, Runbook, RunbookAction};
pub use gates::{Approve, Gates, NotifyFormat};
pub use install::{Install, InstallAction, InstallManifests, InstallRbac, JobMode, RightsFor};
pub use planning::{Check, Diff, Lease, Manifests, Plan, Planning, Run, SystemPolicies};
pub use pods::{Place, Pods};
pub use probe::Probe;
pub use restore::Restore;
pub use runs::{Complete, OfRun, Resume, Rollback, Status};
pub use traces::Traces;

/// Upgrades Calico on Kubernetes with one resumable command, and loses nothing on the way.
///
/// Look first:   calico-upgrader discover
/// Then plan:    calico-upgrader plan --to v2.6
/// Try it:       calico-upgrader run --to v2.6 --dry-run
/// Do it:        calico-upgrader run --to v2.6
///
/// It can be stopped at any instant, also with kill -9: `calico-upgrader resume` goes on, from this machine or another.
///
/// Exit codes: 0 done or nothing to do · 1 unexpected · 2 changes pending (with --detailed-exitcode) · 3 blocked before
/// anything changed · 4 a gate failed, run stopped, cluster stable · 5 finished but verification differs · 6 the run was
/// rolled back · 7 a rollback failed: page a person · 8 locked by another run · 9 outside the window · 10 approval missing ·
/// 11 paused on request · 13 drift · 14 backup missing or damaged · 15 unreachable or not allowed · 16 no supported path · 17 conversion needs a
/// decision · 64 usage · 65 bad file · 130/143 interrupted
#[derive(Debug, Parser)]
#[command(name = "calico-upgrader", version, max_term_width = 100, verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The kubeconfig to use; else KUBECONFIG, ~/.kube/config, or the pod's own account
    #[arg(long, global = true, value_name = "FILE", env = "CALICO_UPGRADER_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, global = true, env = "CALICO_UPGRADER_CONTEXT")]
    pub context: Option<String>,
    /// Act as this user (impersonation)
    #[arg(long = "as", global = true, value_name = "USER", env = "CALICO_UPGRADER_AS")]
    pub act_as: Option<String>,
    /// Where runs, journals and backups are kept [default: $XDG_STATE_HOME/calico-upgrader]
    #[arg(long, global = true, value_name = "DIR", env = "CALICO_UPGRADER_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// How to write what a command reads
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table, env = "CALICO_UPGRADER_OUTPUT")]
    pub output: Output,
    /// Colour on a terminal; NO_COLOR is honoured
    #[arg(long, global = true, value_enum, default_value_t = Choice::Auto, env = "CALICO_UPGRADER_COLOR")]
    pub color: Choice,
    /// How to show progress: a bar on a terminal, plain lines elsewhere and in CI
    #[arg(long, global = true, value_enum, default_value_t = ProgressStyle::Auto, env = "CALICO_UPGRADER_PROGRESS")]
    pub progress: ProgressStyle,
    /// Write every event as a line of JSON to a file, or to stdout with `-`
    #[arg(long, global = true, value_name = "FILE|-", env = "CALICO_UPGRADER_EVENTS")]
    pub events: Option<String>,
    /// Serve figures of a run for Prometheus here while it goes on; a port alone is one of this machine only
    #[arg(long, global = true, value_name = "[ADDRESS:]PORT", env = "CALICO_UPGRADER_METRICS")]
    pub metrics: Option<String>,
    /// Send the larger news of a run to the address that this file holds
    #[arg(long, global = true, value_name = "FILE", env = "CALICO_UPGRADER_NOTIFY_URL_FILE")]
    pub notify_url_file: Option<PathBuf>,
    /// How to write news for that address
    #[arg(long, global = true, value_enum, value_name = "json|slack", default_value_t = NotifyFormat::Json, env = "CALICO_UPGRADER_NOTIFY_FORMAT")]
    pub notify_format: NotifyFormat,
    /// Say only what is asked for and what goes wrong
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice and thrice for more still
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How to write the log, which goes to stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "CALICO_UPGRADER_LOG_FORMAT")]
    pub log_format: LogFormat,
    #[command(flatten)]
    pub datastore: Datastore,
    #[command(flatten)]
    pub traces: Traces,
    #[cfg(feature = "faults")]
    #[command(flatten)]
    pub faults: FaultArguments,
}

#[cfg(feature = "faults")]
#[derive(Clone, Debug, Args)]
pub struct FaultArguments {
    /// Die at this write boundary (NAME:PHASE); only in builds for tests
    #[arg(long, global = true, hide = true)]
    pub fault: Option<String>,
    /// Append each write boundary to this file; only in builds for tests
    #[arg(long, global = true, hide = true)]
    pub fault_record: Option<PathBuf>,
    /// A file with the seconds by which the clock of this machine is wrong; only in builds for tests
    #[arg(long, global = true, hide = true, env = "CALICO_UPGRADER_FAULT_CLOCK")]
    pub fault_clock: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Yaml,
    Markdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    Auto,
    Bar,
    Plain,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub struct Man {
    /// Write the pages of all commands into this directory instead, which is made if need be
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is installed, where and how (changes nothing)
    Discover,
    /// Hold the checks against the cluster, all at once (changes nothing)
    Check(Check),
    /// Show what an upgrade would do, and save it as a sealed file (changes nothing)
    Plan(Plan),
    /// Show field by field what the old release shipped, what is live and what the new one ships (changes nothing)
    Diff(Diff),
    /// Plan, ask once, and upgrade; or run a plan that was saved
    Run(Box<Run>),
    /// Show how far a run is, from any machine
    Status(Status),
    /// Approve the plan of a run that waits for it, by its name or by the plan file that was reviewed
    Approve(Approve),
    /// Ask a run to stop after its current change
    Pause(OfRun),
    /// Go on with a run that stopped, was paused or was killed
    Resume(Resume),
    /// Take a run back, finished or not: nodes, rights, data and policies become what they were
    Rollback(Rollback),
    /// Remove the old data after a finished run; after that there is no rollback
    Complete(Complete),
    /// Make, list, show and verify backups
    Backup(Backup),
    /// Make objects again what a backup says of them
    Restore(Restore),
    /// Hold a finished run, or the release that is installed, against the cluster
    Verify(OfRun),
    /// Tell what became of a run: as text, a page, Markdown, JUnit XML or JSON
    Report(Report),
    /// Say what a code means, where to look and what to do
    Explain(Explain),
    /// Convert data offline: a JSON list of old objects to a JSON list of new ones
    Convert(Convert),
    /// List, show and check runbooks
    Runbook(Runbook),
    /// Print what runs the program in a cluster: accounts, rights, Jobs (applies nothing)
    Install(Install),
    /// Send packets to other nodes and count what is lost, as the pods do that a run starts with --probe-image
    Probe(Probe),
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completion { shell: clap_complete::Shell },
    /// Print the man page, or write one for each command
    Man(Man),
}
