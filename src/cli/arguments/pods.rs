//! How the program runs in pods of the cluster.

use clap::Args;

/// How a pod of the program gets to the API server, and what it keeps.
#[derive(Clone, Debug, Default, Args)]
pub struct Place {
    /// The address of an API server, like 10.0.0.1:6443, so that the pod does not go through the Service `kubernetes`
    #[arg(long, value_name = "HOST:PORT")]
    pub api_server: Option<String>,
    /// A PersistentVolumeClaim in namespace `calico-upgrader` that keeps journals, reports and backups
    #[arg(long, value_name = "CLAIM")]
    pub volume_claim: Option<String>,
}

/// Which pods do the work of a call.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "In the cluster")]
pub struct Pods {
    /// Policy conversion and the copy of data each run as a Job of their own; the rest runs here
    #[arg(long, requires = "image")]
    pub job_steps: bool,
    /// The image of the program, with its registry
    #[arg(long, value_name = "NAME:TAG", env = "CALICO_UPGRADER_IMAGE")]
    pub image: Option<String>,
    #[command(flatten)]
    pub place: Place,
    /// How long a pod may take to start, like 5m: to be placed, and to get its image
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub start_within: String,
}
