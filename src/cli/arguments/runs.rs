use clap::Args;

use super::{Consent, Gates, Lease, Pods, Trial};

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
    #[command(flatten)]
    pub consent: Consent,
    /// Stop after this phase
    #[arg(long, value_name = "PHASE")]
    pub until: Option<String>,
    /// Take this step and no other, if it is not done
    #[arg(long, value_name = "STEP", hide = true, conflicts_with_all = ["until", "job_steps"])]
    pub only_step: Option<String>,
    #[command(flatten)]
    pub pods: Pods,
    #[command(flatten)]
    pub gates: Gates,
    #[command(flatten)]
    pub lease: Lease,
}

impl Resume {
    /// Of one run, to its end.
    pub fn of(run: String, consent: Consent, gates: Gates, lease: Lease) -> Self {
        Self { run: Some(run), consent, until: None, only_step: None, pods: Pods::default(), gates, lease }
    }
}

#[derive(Debug, Args)]
pub struct Rollback {
    /// The run to take back; the newest upgrade if none is named
    pub run: Option<String>,
    /// Take back only what came after this step of the run; the step stays done
    #[arg(long, value_name = "STEP")]
    pub to: Option<String>,
    #[command(flatten)]
    pub trial: Trial,
    #[command(flatten)]
    pub consent: Consent,
    /// Confirm with the name of the run, instead of typing it when asked: needed once others wrote to the new store
    #[arg(long, value_name = "RUN")]
    pub confirm: Option<String>,
    /// Go on with a rollback that is not finished, if there is one, instead of beginning one
    #[arg(long, conflicts_with_all = ["to", "dry_run"])]
    pub or_resume: bool,
    #[command(flatten)]
    pub lease: Lease,
}

#[derive(Debug, Args)]
pub struct Complete {
    /// The finished run; the newest upgrade if none is named
    pub run: Option<String>,
    #[command(flatten)]
    pub trial: Trial,
    /// Confirm with the name of the run, instead of typing it when asked
    #[arg(long, value_name = "RUN")]
    pub confirm: Option<String>,
    #[command(flatten)]
    pub lease: Lease,
}
