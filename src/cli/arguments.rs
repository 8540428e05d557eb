use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
/// anything changed · 4 a gate failed, run stopped, cluster stable · 5 finished but verification differs · 8 locked by
/// another run · 10 approval missing · 11 paused on request · 13 drift · 14 backup missing or damaged · 15 unreachable or
/// not allowed · 16 no supported path · 17 conversion needs a decision · 64 usage · 65 bad file · 130/143 interrupted
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
    /// Say only what is asked for and what goes wrong
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more; twice and thrice for more still
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// How to write the log, which goes to stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "CALICO_UPGRADER_LOG_FORMAT")]
    pub log_format: LogFormat,
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

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is installed, where and how (changes nothing)
    Discover,
    /// Hold the checks against the cluster, all at once (changes nothing)
    Check(Check),
    /// Show what an upgrade would do, and save it as a sealed file (changes nothing)
    Plan(Plan),
    /// Plan, ask once, and upgrade; or run a plan that was saved
    Run(Run),
    /// Show how far a run is, from any machine
    Status(Status),
    /// Ask a run to stop after its current change
    Pause(OfRun),
    /// Go on with a run that stopped, was paused or was killed
    Resume(Resume),
    /// Make, list, show and verify backups
    Backup(Backup),
    /// Hold a finished run, or the release that is installed, against the cluster
    Verify(OfRun),
    /// Convert data offline: a JSON list of old objects to a JSON list of new ones
    Convert(Convert),
    /// List, show and check runbooks
    Runbook(Runbook),
    /// Print the version
    Version,
    /// Print a completion script for a shell
    Completion { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub struct Check {
    /// Only these checks, by id
    pub ids: Vec<String>,
    /// Go on in spite of a finding; the reason is recorded
    #[arg(long, value_name = "ID=REASON")]
    pub ignore: Vec<String>,
    /// List all checks and what they look at
    #[arg(long)]
    pub list: bool,
}

/// What a plan is made of.
#[derive(Clone, Debug, Default, Args)]
pub struct Planning {
    /// The release to go to: v2.6 means its newest safe patch
    #[arg(long, value_name = "VERSION", env = "CALICO_UPGRADER_TO")]
    pub to: Option<String>,
    /// Use this runbook instead of the program's own
    #[arg(long, value_name = "FILE", env = "CALICO_UPGRADER_RUNBOOK")]
    pub runbook: Option<PathBuf>,
    /// Go a way that nobody upstream tested
    #[arg(long, env = "CALICO_UPGRADER_ALLOW_UNTESTED")]
    pub allow_untested: bool,
    /// A file that names, one KIND/NAMESPACE/NAME a line, the old objects that may be lost
    #[arg(long, value_name = "FILE", env = "CALICO_UPGRADER_ACCEPT_LOSS")]
    pub accept_loss: Option<PathBuf>,
    /// What to do with SystemNetworkPolicies, which the new Calico does not have
    #[arg(long, value_enum, value_name = "convert|drop", env = "CALICO_UPGRADER_SYSTEM_POLICIES")]
    pub system_policies: Option<SystemPolicies>,
    /// Keep a field as people made it, where they and the release changed it
    #[arg(long, value_name = "KIND/NAME:PATH")]
    pub keep: Vec<String>,
    /// Take a field as the release ships it, where people changed it too
    #[arg(long, value_name = "KIND/NAME:PATH")]
    pub take: Vec<String>,
    /// Go on in spite of a finding; the reason is recorded
    #[arg(long, value_name = "ID=REASON")]
    pub ignore: Vec<String>,
    /// Nodes replaced at once, after the canary [default: the runbook's, 1]
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u16).range(1..), env = "CALICO_UPGRADER_BATCH")]
    pub batch: Option<u16>,
    /// How long one node may take to become ready, like 10m
    #[arg(long, value_name = "DURATION", env = "CALICO_UPGRADER_READY_WITHIN")]
    pub ready_within: Option<String>,
    /// How long a new pod must stay ready before the next node, like 90s
    #[arg(long, value_name = "DURATION", env = "CALICO_UPGRADER_STABLE_FOR")]
    pub stable_for: Option<String>,
}

impl Planning {
    /// Names a flag that was given here and not by the environment, if there is one.
    pub fn first_flag(&self) -> Option<&'static str> {
        let given = [
            ("--to", self.to.is_some()),
            ("--runbook", self.runbook.is_some()),
            ("--allow-untested", self.allow_untested),
            ("--accept-loss", self.accept_loss.is_some()),
            ("--system-policies", self.system_policies.is_some()),
            ("--keep", !self.keep.is_empty()),
            ("--take", !self.take.is_empty()),
            ("--ignore", !self.ignore.is_empty()),
            ("--batch", self.batch.is_some()),
            ("--ready-within", self.ready_within.is_some()),
            ("--stable-for", self.stable_for.is_some()),
        ];
        let variable = |flag: &str| format!("CALICO_UPGRADER_{}", flag[2..].replace('-', "_").to_uppercase());
        let typed = |(flag, is_given): &(&str, bool)| *is_given && std::env::var_os(variable(flag)).is_none();
        given.into_iter().find(typed).map(|(flag, _)| flag)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SystemPolicies {
    Convert,
    Drop,
}

#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    pub planning: Planning,
    /// Save the sealed plan in this file
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Exit with 2 if there is something to do
    #[arg(long)]
    pub detailed_exitcode: bool,
}

#[derive(Debug, Args)]
pub struct Run {
    /// A plan that was saved with `plan --out`; it runs only if the cluster is still as it was
    #[arg(value_name = "PLAN")]
    pub plan: Option<PathBuf>,
    #[command(flatten)]
    pub planning: Planning,
    /// Show every change and make none; the API server tries them where it can
    #[arg(long, value_enum, value_name = "server|client", num_args = 0..=1, default_missing_value = "server")]
    pub dry_run: Option<DryRun>,
    /// Do not ask
    #[arg(short, long, env = "CALICO_UPGRADER_YES")]
    pub yes: bool,
    /// Give up this unfinished run: the new plan starts from what is there now
    #[arg(long, value_name = "RUN")]
    pub abandon: Option<String>,
    /// Stop after this phase; `resume` goes on
    #[arg(long, value_name = "PHASE")]
    pub until: Option<String>,
    #[command(flatten)]
    pub lease: Lease,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    Server,
    Client,
}

#[derive(Clone, Debug, Args)]
pub struct Lease {
    /// How long the lock of a silent holder is respected
    #[arg(long, value_name = "DURATION", default_value = "15s", env = "CALICO_UPGRADER_LEASE_DURATION")]
    pub lease_duration: String,
}

#[derive(Debug, Args)]
pub struct Status {
    /// The run; the newest if none is named
    pub run: Option<String>,
    /// Show it again with each change, until the run ends
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct OfRun {
    /// The run; the newest if none is named
    pub run: Option<String>,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// The run; the newest unfinished one if none is named
    pub run: Option<String>,
    /// Do not ask
    #[arg(short, long, env = "CALICO_UPGRADER_YES")]
    pub yes: bool,
    /// Stop after this phase
    #[arg(long, value_name = "PHASE")]
    pub until: Option<String>,
    #[command(flatten)]
    pub lease: Lease,
}

#[derive(Debug, Args)]
pub struct Backup {
    #[command(subcommand)]
    pub action: BackupAction,
}

#[derive(Debug, Subcommand)]
pub enum BackupAction {
    /// Back up all of Calico's data, the policies and the install, and read it back
    Create {
        /// The directory to make [default: a new one in the state directory]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// List the backups of the state directory
    List,
    /// Show what a backup holds
    Show { backup: String },
    /// Read a backup back and check every byte of it
    Verify { backup: String },
}

#[derive(Debug, Args)]
pub struct Convert {
    /// What the file holds
    #[arg(long, value_enum)]
    pub from: ConvertFrom,
    /// A JSON list of objects, or `-` for stdin
    #[arg(value_name = "FILE")]
    pub file: String,
    /// What to make of it
    #[arg(long, value_enum)]
    pub to: ConvertTo,
    /// Write what can be converted even if some objects cannot
    #[arg(long)]
    pub partial: bool,
    /// Where to write the new objects
    #[arg(long, value_name = "FILE|-", default_value = "-")]
    pub out: String,
    /// Where to write report.txt and report.json [default: text on stderr]
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// What to do with SystemNetworkPolicies
    #[arg(long, value_enum, value_name = "convert|drop")]
    pub system_policies: Option<SystemPolicies>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConvertFrom {
    /// ThirdPartyResources of Calico before v2.5
    Tpr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConvertTo {
    /// Custom resources of Calico v2.5 and v2.6
    Crd,
}

#[derive(Debug, Args)]
pub struct Runbook {
    #[command(subcommand)]
    pub action: RunbookAction,
}

#[derive(Debug, Subcommand)]
pub enum RunbookAction {
    /// List the runbooks that the program has
    List,
    /// Print a runbook
    Show { name: String },
    /// Check a runbook file
    Lint { file: PathBuf },
}
