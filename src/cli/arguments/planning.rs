use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Consent, Gates, Pods, Trial, Waivers};

#[derive(Debug, Args)]
pub struct Check {
    /// Only these checks and gates, by id
    pub ids: Vec<String>,
    #[command(flatten)]
    pub files: Manifests,
    #[command(flatten)]
    pub waivers: Waivers,
    /// List all checks and what they look at
    #[arg(long)]
    pub list: bool,
}

/// The manifests of Calico v3, of which the program has none.
#[derive(Clone, Debug, Default, Args)]
pub struct Manifests {
    /// Of Calico v3: the manifest of the release to go to, as upstream published it
    #[arg(long, value_name = "FILE", env = "CALICO_UPGRADER_MANIFESTS")]
    pub manifests: Option<PathBuf>,
    /// Of Calico v3: the manifest of the installed release, as upstream published it, to tell what people changed
    #[arg(long, value_name = "FILE", requires = "manifests", env = "CALICO_UPGRADER_MANIFESTS_BEFORE")]
    pub manifests_before: Option<PathBuf>,
}

/// What a plan is made of.
#[derive(Clone, Debug, Default, Args)]
pub struct Planning {
    /// The release to go to: v2.6 means its newest safe patch
    #[arg(long, value_name = "VERSION", conflicts_with = "manifests", env = "CALICO_UPGRADER_TO")]
    pub to: Option<String>,
    #[command(flatten)]
    pub files: Manifests,
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
    /// A file that says for each field that people and the release changed what shall be in force, and why
    #[arg(long, value_name = "FILE", env = "CALICO_UPGRADER_DECISIONS")]
    pub decisions: Option<PathBuf>,
    #[command(flatten)]
    pub waivers: Waivers,
    /// Change nothing before someone approved the plan: calico-upgrader approve
    #[arg(long, env = "CALICO_UPGRADER_REQUIRE_APPROVAL")]
    pub require_approval: bool,
    /// Do not bring the new images to all nodes before the first pod is replaced
    #[arg(long, env = "CALICO_UPGRADER_NO_PULL")]
    pub no_pull: bool,
    /// How long all nodes together may take to pull the new images, like 15m
    #[arg(long, value_name = "DURATION", env = "CALICO_UPGRADER_PULL_WITHIN")]
    pub pull_within: Option<String>,
    /// Nodes replaced at once, after the canary [default: the runbook's, 1]
    #[arg(long, value_name = "NODES", value_parser = clap::value_parser!(u16).range(1..), env = "CALICO_UPGRADER_BATCH")]
    pub batch: Option<u16>,
    /// How long one node may take to become ready, like 10m
    #[arg(long, value_name = "DURATION", env = "CALICO_UPGRADER_READY_WITHIN")]
    pub ready_within: Option<String>,
    /// How long a new pod is watched once it is ready, like 90s
    #[arg(long, value_name = "DURATION", env = "CALICO_UPGRADER_STABLE_FOR")]
    pub stable_for: Option<String>,
    /// Nodes that may still be watched while the next are begun, after the canary; 0 watches each batch to its end [default: the runbook's, 10]
    #[arg(long, value_name = "NODES", env = "CALICO_UPGRADER_WATCHING")]
    pub watching: Option<u16>,
    /// An image of this program, for probes on every node that count lost packets while nodes are replaced
    #[arg(long, value_name = "NAME:TAG", env = "CALICO_UPGRADER_PROBE_IMAGE")]
    pub probe_image: Option<String>,
    /// Keep a snapshot of etcd's v3 keys beside the backup; it holds none of Calico's keys, which the backup has
    #[arg(long, env = "CALICO_UPGRADER_ETCD_SNAPSHOT")]
    pub etcd_snapshot: bool,
}

impl Planning {
    /// Names a flag that was given here and not by the environment, if there is one.
    pub fn first_flag(&self) -> Option<&'static str> {
        let given = [
            ("--to", self.to.is_some()),
            ("--manifests", self.files.manifests.is_some()),
            ("--manifests-before", self.files.manifests_before.is_some()),
            ("--runbook", self.runbook.is_some()),
            ("--allow-untested", self.allow_untested),
            ("--accept-loss", self.accept_loss.is_some()),
            ("--system-policies", self.system_policies.is_some()),
            ("--keep", !self.keep.is_empty()),
            ("--take", !self.take.is_empty()),
            ("--decisions", self.decisions.is_some()),
            ("--gitops", self.waivers.gitops.is_some()),
            ("--ignore", !self.waivers.ignore.is_empty()),
            ("--require-approval", self.require_approval),
            ("--no-pull", self.no_pull),
            ("--pull-within", self.pull_within.is_some()),
            ("--batch", self.batch.is_some()),
            ("--ready-within", self.ready_within.is_some()),
            ("--stable-for", self.stable_for.is_some()),
            ("--watching", self.watching.is_some()),
            ("--probe-image", self.probe_image.is_some()),
            ("--etcd-snapshot", self.etcd_snapshot),
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
    /// Write a new file with the fields that are still to be decided, to be filled in for --decisions
    #[arg(long, value_name = "FILE")]
    pub write_decisions: Option<PathBuf>,
    /// Exit with 2 if there is something to do
    #[arg(long)]
    pub detailed_exitcode: bool,
}

#[derive(Debug, Args)]
pub struct Diff {
    /// Only these objects, such as DaemonSet/calico-node
    #[arg(value_name = "KIND/NAME")]
    pub objects: Vec<String>,
    #[command(flatten)]
    pub planning: Planning,
    /// Exit with 2 if a field differs
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
    #[command(flatten)]
    pub trial: Trial,
    #[command(flatten)]
    pub consent: Consent,
    /// Give up this unfinished run: the new plan starts from what is there now
    #[arg(long, value_name = "RUN")]
    pub abandon: Option<String>,
    /// As a CronJob calls it: go on with what is there, else plan and run; exit 0 if another runner works or no window is open
    #[arg(long, conflicts_with_all = ["plan", "dry_run", "abandon", "until"], env = "CALICO_UPGRADER_SCHEDULED")]
    pub scheduled: bool,
    /// Stop after this phase; `resume` goes on
    #[arg(long, value_name = "PHASE")]
    pub until: Option<String>,
    /// Go on with an upgrade that is not finished, if there is one, instead of beginning one
    #[arg(long, conflicts_with_all = ["abandon", "dry_run"])]
    pub or_resume: bool,
    /// Start this as a Job in the cluster, follow it, and end as its program ends; Ctrl-C leaves the Job running
    #[arg(long, requires = "image", conflicts_with_all = ["dry_run", "abandon", "scheduled", "or_resume", "job_steps"])]
    pub as_job: bool,
    /// The digest of a plan that `--as-job` handed over
    #[arg(long, value_name = "DIGEST", hide = true, conflicts_with = "plan", requires = "or_resume")]
    pub handed_over: Option<String>,
    #[command(flatten)]
    pub pods: Pods,
    #[command(flatten)]
    pub gates: Gates,
    #[command(flatten)]
    pub lease: Lease,
}

#[derive(Clone, Debug, Args)]
pub struct Lease {
    /// How long the lock of a silent holder is respected
    #[arg(long, value_name = "DURATION", default_value = "15s", env = "CALICO_UPGRADER_LEASE_DURATION")]
    pub lease_duration: String,
}
