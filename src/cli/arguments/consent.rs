//! What several verbs that change something have in common: trying, going on without being asked, and in spite of findings.

use clap::{Args, ValueEnum};

/// Whether changes are only shown.
#[derive(Clone, Copy, Debug, Args)]
pub struct Trial {
    /// Show every change and make none; the API server tries them where it can
    #[arg(long, value_enum, value_name = "server|client", num_args = 0..=1, default_missing_value = "server",
        require_equals = true)]
    pub dry_run: Option<DryRun>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    Server,
    Client,
}

/// Whether somebody has agreed beforehand.
#[derive(Clone, Copy, Debug, Args)]
pub struct Consent {
    /// Do not ask
    #[arg(short, long, env = "CALICO_UPGRADER_YES")]
    pub yes: bool,
}

/// The findings to go on in spite of, and why.
#[derive(Clone, Debug, Default, Args)]
pub struct Waivers {
    /// Go on although another tool (Argo CD, Flux, Helm, …) owns objects and may put them back; the reason is recorded
    #[arg(long, value_name = "ignore=REASON", env = "CALICO_UPGRADER_GITOPS")]
    pub gitops: Option<String>,
    /// Go on in spite of a finding; the reason is recorded
    #[arg(long, value_name = "ID=REASON")]
    pub ignore: Vec<String>,
}
