use clap::Args;

use super::Lease;

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
