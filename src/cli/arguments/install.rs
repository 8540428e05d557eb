use clap::{Args, Subcommand, ValueEnum};

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
    /// The release of Kubernetes to print it for, like 1.34; else the cluster is asked
    #[arg(long, value_name = "VERSION")]
    pub kube_version: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RightsFor {
    Plan,
    Run,
    Rollback,
}

#[derive(Debug, Args)]
pub struct InstallManifests {
    /// One run, a run on a schedule, or a plan that changes nothing
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
    /// The address of an API server, like 10.0.0.1:6443, so that the pod does not go through the Service `kubernetes`
    #[arg(long, value_name = "HOST:PORT")]
    pub api_server: Option<String>,
    /// A PersistentVolumeClaim in namespace `calico-upgrader` that keeps journals, reports and backups
    #[arg(long, value_name = "CLAIM")]
    pub volume_claim: Option<String>,
    /// Further flags for `run` or `plan`, like --to v2.6
    #[arg(last = true, value_name = "FLAG")]
    pub flags: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JobMode {
    Job,
    #[value(name = "cronjob")]
    CronJob,
    Plan,
}
