use clap::Args;

use super::{Consent, Lease, Trial};

#[derive(Debug, Args)]
pub struct Restore {
    /// A directory, a backup as `backup list` names it, or a run
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    /// Only this object, or all of this kind; may be given several times. What it needs (its namespace, its definition) comes along
    #[arg(long, value_name = "KIND|KIND/NAME|KIND/NAMESPACE/NAME")]
    pub only: Vec<String>,
    /// Show each object in the backup beside the live one, and change nothing
    #[arg(long, conflicts_with = "dry_run")]
    pub diff: bool,
    #[command(flatten)]
    pub trial: Trial,
    #[command(flatten)]
    pub consent: Consent,
    /// Give up this unfinished run: the restore starts from what is there now
    #[arg(long, value_name = "RUN")]
    pub abandon: Option<String>,
    #[command(flatten)]
    pub lease: Lease,
}
