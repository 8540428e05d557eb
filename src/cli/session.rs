use std::{path::PathBuf, time::Duration};

use super::{
    arguments::{Global, Manifests, Planning, SystemPolicies},
    failure::Failure,
};
use crate::{
    cluster::{Access, Cluster},
    convert::SystemPolicyChoice,
    door::{Faults, Gate},
    engine::Home,
    inventory::{Fact, Install, Inventory},
    observe::{self, ObserveError},
    plan::{Request, Target},
    resource::ObjectRef,
    runbook::{self, Catalogue, Runbook, ShippedError, Supplied},
    version::{Minor, Version},
};

/// What the flags of one call mean.
pub struct Session {
    pub global: Global,
}

impl Session {
    pub fn new(global: &Global) -> Self {
        Self { global: global.clone() }
    }

    pub async fn connect(&self) -> Result<Cluster, Failure> {
        let Global { kubeconfig, context, act_as, .. } = self.global.clone();
        Ok(Cluster::connect(&Access { kubeconfig, context, act_as }).await?)
    }

    /// The directory of runs, locks and backups.
    pub fn state(&self) -> PathBuf {
        let home = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let default = || home("XDG_STATE_HOME").or_else(|| home("HOME").map(|home| home.join(".local/state")));
        let place = || default().unwrap_or_else(std::env::temp_dir).join("calico-upgrader");
        let chosen = self.global.state_dir.clone().unwrap_or_else(place);
        // Other machines and later calls read this path from the record.
        std::path::absolute(&chosen).unwrap_or(chosen)
    }

    /// Where runs are kept, and under which name we hold the lock.
    pub fn home(&self, lease: &str, abandon: Option<String>) -> Result<Home, Failure> {
        let holder = format!("{} (pid {})", self.holder(), std::process::id());
        let seconds = seconds("--lease-duration", lease)?.max(1);
        let (lease, gate) = (Duration::from_secs(seconds), Gate::default());
        Ok(Home { state: self.state(), holder, lease, faults: self.faults(), abandon, gate })
    }

    /// Who we are, for others to see.
    pub fn holder(&self) -> String {
        let user = ["USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok())
            .unwrap_or_else(|| "someone".to_owned());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        format!("{user}@{host}")
    }

    /// The node that our own pod runs on, as its manifest tells it by the downward API.
    pub fn own_node(&self) -> Option<String> {
        std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty())
    }

    #[cfg(feature = "faults")]
    pub fn faults(&self) -> Faults {
        let faults = self.global.faults.clone();
        Faults::new(faults.fault, faults.fault_record, faults.fault_clock)
    }

    #[cfg(not(feature = "faults"))]
    pub fn faults(&self) -> Faults {
        Faults::default()
    }

    /// Looks at the cluster with everything in mind that the target's manifests hold.
    pub async fn look(
        &self,
        cluster: &Cluster,
        catalogue: &Catalogue,
        supplied: Option<&Supplied>,
    ) -> Result<Inventory, Failure> {
        Ok(self.observe(cluster, catalogue, supplied).await?)
    }

    /// The same, for those who can do with less than the whole.
    pub async fn observe(
        &self,
        cluster: &Cluster,
        catalogue: &Catalogue,
        supplied: Option<&Supplied>,
    ) -> Result<Inventory, ObserveError> {
        observe::inventory(
            cluster,
            catalogue,
            |install| match supplied {
                Some(supplied) => supplied.new.manifest().references(),
                None => objects_of(catalogue, install),
            },
            |install| match (supplied, &install.release) {
                (Some(supplied), Fact::Known(from)) => runbook::gates().asks(*from, supplied.new.release),
                _ => Vec::new(),
            },
        )
        .await
    }
}

/// The objects that the newest release has for an install; none if the install is of a kind that is not supported.
fn objects_of(catalogue: &Catalogue, install: &Install) -> Vec<ObjectRef> {
    let newest = catalogue.lines.iter().map(|line| line.latest).max();
    let manifest = install.edition().zip(newest);
    let manifest = manifest.and_then(|(edition, version)| runbook::target(catalogue, version, edition));
    manifest.unwrap_or_default().references()
}

/// The target, the runbook that leads there, and what the operator decided.
pub struct Wanted {
    pub catalogue: Catalogue,
    pub runbook: Runbook,
    pub request: Request,
}

impl Wanted {
    pub fn read(planning: &Planning) -> Result<Self, Failure> {
        let catalogue = runbook::catalogue();
        let supplied = supplied(&planning.files)?;
        let target = match &supplied {
            Some(supplied) => Some(Target::Exact(supplied.new.release)),
            None => planning.to.as_deref().map(target).transpose()?,
        };
        let runbook = match &planning.runbook {
            Some(path) => super::runbook::read_file(path)?,
            None => embedded(&catalogue, target)?,
        };
        Ok(Self { catalogue, runbook, request: Request { supplied, ..request(planning, target)? } })
    }
}

/// The manifests that the operator gave.
pub fn supplied(files: &Manifests) -> Result<Option<Supplied>, Failure> {
    let read = |path: &PathBuf| {
        let wrong = |error: String| Failure::bad_file(path.display(), error);
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        runbook::read_shipped(&text).map_err(|error| {
            let now = match error {
                ShippedError::Etcd => "move to the Kubernetes datastore first: calicoctl datastore migrate",
                _ => "give the file of the release as upstream published it, such as calico.yaml",
            };
            wrong(error.to_string()).now(now)
        })
    };
    let Some(new) = files.manifests.as_ref().map(read).transpose()? else { return Ok(None) };
    if !runbook::is_supplied(new.release) {
        let what = format!("the manifest is of Calico {}, and the program has those of v2 itself", new.release);
        return Err(Failure::usage(what).now(format!("calico-upgrader plan --to {}", new.release)));
    }
    Ok(Some(Supplied::new(new, files.manifests_before.as_ref().map(read).transpose()?)))
}

fn embedded(catalogue: &Catalogue, target: Option<Target>) -> Result<Runbook, Failure> {
    let newest = catalogue.lines.iter().map(|line| line.calico).max();
    let line = match target {
        Some(Target::Line(line)) => Some(line),
        Some(Target::Exact(version)) => Some(version.line()),
        None => newest,
    };
    let found = line.and_then(runbook::find).and_then(Result::ok);
    found.ok_or_else(|| {
        let wanted = line.map(|line| line.to_string()).unwrap_or_default();
        Failure::new(16, "CU-P001", format!("no runbook leads to Calico {wanted}"))
            .evidence([format!("runbooks lead to: {}", runbook::names().join(", "))])
            .why("nothing was changed")
            .now("calico-upgrader runbook list")
    })
}

fn target(text: &str) -> Result<Target, Failure> {
    if let Ok(line) = text.parse::<Minor>() {
        return Ok(Target::Line(line));
    }
    text.parse::<Version>().map(Target::Exact).map_err(|error| Failure::usage(error.to_string()))
}

fn request(planning: &Planning, target: Option<Target>) -> Result<Request, Failure> {
    let duration = |name, text: &Option<String>| text.as_deref().map(|text| seconds(name, text)).transpose();
    Ok(Request {
        target,
        allow_untested: planning.allow_untested,
        accept_loss: planning.accept_loss.as_deref().map(read_names).transpose()?.unwrap_or_default(),
        system_policies: planning.system_policies.map(choice),
        preferences: super::decide::preferences(planning)?,
        ignore: super::decide::reasons(&planning.waivers)?,
        needs_approval: planning.require_approval,
        is_pull_left_out: planning.no_pull,
        pull_within_seconds: duration("--pull-within", &planning.pull_within)?,
        batch: planning.batch.map(usize::from),
        ready_within_seconds: duration("--ready-within", &planning.ready_within)?,
        stable_for_seconds: duration("--stable-for", &planning.stable_for)?,
        watching: planning.watching.map(usize::from),
        probe_image: planning.probe_image.clone().filter(|image| !image.is_empty()),
        wants_etcd_snapshot: planning.etcd_snapshot,
        supplied: None,
    })
}

pub fn choice(choice: SystemPolicies) -> SystemPolicyChoice {
    match choice {
        SystemPolicies::Convert => SystemPolicyChoice::Convert,
        SystemPolicies::Drop => SystemPolicyChoice::Drop,
    }
}

fn read_names(path: &std::path::Path) -> Result<std::collections::BTreeSet<String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::bad_file(path.display(), error.to_string()))?;
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let names: std::collections::BTreeSet<String> = names.map(str::to_owned).collect();
    match names.iter().find(|name| name.split('/').count() != 3) {
        Some(wrong) => {
            Err(Failure::bad_file(path.display(), format!("`{wrong}` is not written as KIND/NAMESPACE/NAME")))
        }
        None => Ok(names),
    }
}

/// Reads a duration such as 90s or 10m.
pub fn seconds(flag: &str, text: &str) -> Result<u64, Failure> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    let seconds = span.and_then(|span| u64::try_from(span.as_secs()).ok());
    seconds.ok_or_else(|| Failure::usage(format!("`{flag} {text}` is no duration: write it like 90s or 10m")))
}

/// Reads a short time such as 200ms or 20s: at least ten milliseconds.
pub fn milliseconds(flag: &str, text: &str) -> Result<Duration, Failure> {
    let span = text.parse::<jiff::SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    let is_long_enough = |span: &Duration| *span >= Duration::from_millis(10);
    let wrong = || Failure::usage(format!("`{flag} {text}` is no time from 10ms on: write it like 200ms or 20s"));
    span.filter(is_long_enough).ok_or_else(wrong)
}

/// The release that is installed, where it is known.
pub fn installed(inventory: &Inventory) -> Option<Version> {
    match inventory.installs.as_slice() {
        [install] => match &install.release {
            Fact::Known(release) => Some(*release),
            Fact::Unknown { .. } => None,
        },
        _ => None,
    }
}
