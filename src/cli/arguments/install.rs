use clap::{Args, Subcommand, ValueEnum};

use super::{Manifests, Place};

#[derive(Debug, Args)]
pub struct Install {
    #[command(subcommand)]
    pub action: InstallAction,
}

#[derive(Debug, Subcommand)]
pub enum InstallAction {
    /// Print the account and the rights that one way of using the program needs, and not one more (applies nothing)
    Rbac(InstallRbac),
    /// Print the Job or CronJob that runs the program in the cluster (applies nothing)
    Manifests(InstallManifests),
}

#[derive(Debug, Args)]
pub struct InstallRbac {
    /// What the account shall be able to do; `run` and `rollback` can plan as well
    #[arg(long, value_enum)]
    pub mode: RightsFor,
    /// Add what `--take` of a selector or a roleRef needs: to make objects anew that cannot be changed
    #[arg(long)]
    pub recreate: bool,
    /// The release of Kubernetes to print it for, like 1.34; else the cluster is asked
    #[arg(long, value_name = "VERSION")]
    pub kube_version: Option<String>,
    #[command(flatten)]
    pub files: Manifests,
    /// With the rights to watch packets between the nodes (docs/probes.md)
    #[arg(long)]
    pub probes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RightsFor {
    Plan,
    Run,
    Rollback,
    /// To start a Job with `run --as-job` and follow it, and nothing else
    AsJob,
}

impl RightsFor {
    /// As it is written on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

#[derive(Debug, Args)]
pub struct InstallManifests {
    /// One run, a run on a schedule, a plan that changes nothing, or the way back
    #[arg(long, value_enum)]
    pub mode: JobMode,
    /// When a CronJob starts, like "0 22 * * 2,3"
    #[arg(long, value_name = "CRON")]
    pub schedule: Option<String>,
    /// When nodes may be replaced, like "Tue,Wed 22:00-02:00 Europe/Berlin"; given on to `run`
    #[arg(long, value_name = "WINDOW")]
    pub window: Option<String>,
    /// The image of the program, with its registry
    #[arg(long, default_value = concat!("calico-upgrader:", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// The release of Kubernetes to print it for, like 1.34; else the cluster is asked
    #[arg(long, value_name = "VERSION")]
    pub kube_version: Option<String>,
    #[command(flatten)]
    pub place: Place,
    /// Watch packets between the nodes, with probes of the same image (docs/probes.md)
    #[arg(long)]
    pub probes: bool,
    /// Further flags for `run`, `plan` or `rollback`, like --to v2.6
    #[arg(last = true, value_name = "FLAG")]
    pub flags: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JobMode {
    Job,
    #[value(name = "cronjob")]
    CronJob,
    Plan,
    Rollback,
}
