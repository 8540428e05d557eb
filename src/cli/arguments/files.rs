use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::SystemPolicies;

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
        /// Keep a snapshot of etcd's v3 keys beside it; it holds none of Calico's keys, which the backup has
        #[arg(long, env = "CALICO_UPGRADER_ETCD_SNAPSHOT")]
        etcd_snapshot: bool,
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
