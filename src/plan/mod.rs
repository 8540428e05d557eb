//! The plan: every choice made, every change written down, sealed by a digest.
//!
//! `make` decides from an inventory and a runbook, and is pure. The engine has no choices left: it holds each step's desired
//! state against the cluster and sends what is missing.

mod cni;
mod completion;
mod crossing;
mod customize;
pub mod decisions;
mod desired;
mod estimate;
mod given;
mod left;
mod lines;
mod loss;
mod make;
mod merge;
mod ownership;
mod recreation;
pub mod restore;
mod rollback;
mod seal;
mod steps;
mod way;

use serde::{Deserialize, Serialize};

pub use completion::{FinishedRun, complete};
pub use crossing::mends_pools;
pub use customize::{Choice, Decision, Kept, Preference, Preferences, Verdict};
pub use given::OF_ANOTHER_KIND;
pub use lines::{Line, Lines};
pub use loss::{Consent, consent};
pub use make::{PlanError, Request, Target, decide, make};
pub use ownership::{Holder, Ownership};
pub use recreation::Recreation;
pub use rollback::{Aftermath, RollbackError, roll_back};
pub use seal::{SealError, Sealed};
pub use steps::{NEW_PODS, PROBE_DAEMON_SETS, PROBE_NAME, PROBES, PULL_NAME, Probing, is_of_run};

use crate::{
    check::Finding,
    inventory::{ClusterFacts, Datastore, Flavour},
    resource::{Difference, Digest, Document, ObjectRef, differences},
    runbook::Runbook,
    version::Version,
};

/// The layout of plan files; another number is refused.
pub const FORMAT: u32 = 1;

/// What a run will do, complete and unchangeable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub format: u32,
    #[serde(default)]
    pub purpose: Purpose,
    pub cluster: ClusterFacts,
    pub daemon_set: ObjectRef,
    pub flavour: Flavour,
    #[serde(default)]
    pub datastore: Datastore,
    pub from: Version,
    pub to: Version,
    /// The runbook that the plan was made from, whole: it may have come from a file.
    pub runbook: Runbook,
    /// What the operator asked for and decided: the plan can be made again from it.
    pub request: Request,
    pub steps: Vec<PlannedStep>,
    pub omitted: Vec<Omitted>,
    pub findings: Vec<Finding>,
    pub kept: Vec<Kept>,
}

/// What a plan is for. The engine takes the steps of all alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// From one release to a newer one.
    #[default]
    Upgrade,
    /// Back to where the named run began.
    Rollback { run: String },
    /// Old data and leftovers of the named run go for good.
    Completion { run: String },
    /// Objects become again what a backup says of them.
    Restore { backup: Digest },
}

impl Purpose {
    /// Answers in a few words what a run is for.
    pub fn words(&self, from: &str, to: &str) -> String {
        match self {
            Purpose::Upgrade => format!("Calico {from} → {to}"),
            Purpose::Rollback { run } => format!("rollback of run {run}"),
            Purpose::Completion { run } => format!("completion of run {run}"),
            Purpose::Restore { backup } => format!("restore from backup {}", backup.short()),
        }
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    pub name: String,
    /// The heading for people.
    pub phase: String,
    pub summary: String,
    pub undo: Undo,
    pub desired: Desired,
}

/// A step that the runbook has and this plan leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Omitted {
    pub name: String,
    pub why: String,
}

/// Whether a step can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undo {
    /// It changes nothing.
    Nothing,
    /// The plan holds everything needed to restore what was.
    Exact,
    /// No rollback brings it back: a backup does.
    FromBackup,
}

/// What a step wants to be true. How it is read stands in `desired`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Desired {
    BackUp,
    /// Objects as they shall be, in stages: all of one stage before any of the next.
    Objects {
        stages: Vec<Stage>,
    },
    Pull(Pull),
    Roll(Roll),
    Verify(Verify),
}

/// Part of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Changes(Vec<ObjectChange>),
    /// An object goes and comes again, since a field of it cannot be changed.
    Recreated(Recreation),
    /// Keys of etcd become again what lines of the backup say.
    Lines {
        lines: Lines,
        /// What can be seen of the changes while they are made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// CustomResourceDefinitions must be served before objects of them are created.
    UntilEstablished(Vec<String>),
    /// The controller must have seen the newest change of the object.
    UntilObserved(ObjectRef),
    /// The objects must be as they were, and no others of their kinds may have come.
    Unchanged(Vec<(ObjectRef, Digest)>),
    /// No node bears the cordon of any of these runs.
    Uncordoned(Vec<String>),
    /// No part of a plan is kept for a run that was never recorded.
    NoOrphans,
    /// No probe is left of any run.
    NoProbes,
    /// No pod that the selector picks may be left, not even one that is about to go.
    UntilGone {
        namespace: String,
        selector: String,
        within_seconds: u64,
    },
    /// The pods of a Deployment or ReplicaSet must be as many as wanted, made from its newest template, and ready.
    UntilReady {
        object: ObjectRef,
        within_seconds: u64,
    },
}

/// One object as it was, and as it shall be. Both absent is nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectChange {
    pub object: ObjectRef,
    pub before: Option<Document>,
    pub after: Option<Document>,
    pub why: String,
}

/// How the new images come to every node before a pod is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// A DaemonSet of ours that runs the new images idly; it goes as soon as they are there.
    pub daemon_set: ObjectRef,
    pub document: Document,
    pub selector: String,
    pub within_seconds: u64,
}

/// How calico-node is replaced node by node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    pub daemon_set: ObjectRef,
    pub selector: String,
    pub image: String,
    pub batch: usize,
    pub ready_within_seconds: u64,
    pub stable_for_seconds: u64,
    /// How many nodes that are ready may still be watched while the next are begun; the canary is always watched alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub watching: usize,
    /// How long a node usually takes to become ready, for estimates alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usually_ready_seconds: Option<u64>,
    #[serde(default)]
    pub order: Order,
    /// The DaemonSet with the update strategy that it had before the run, if that was another.
    pub then: Option<ObjectChange>,
    /// What watches packets between the nodes meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Probes of ours on every node, from before the first node is replaced until after the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// An image of this program.
    pub image: String,
}

/// Which nodes come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// One worker, then the others by name, the control plane last.
    #[default]
    CanaryFirst,
    /// The other way round: a node that a run stopped at was its newest, and may be ill.
    NewestFirst,
}

/// What must hold at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    pub daemon_set: ObjectRef,
    pub selector: String,
    pub image: String,
    /// Namespaces that must have their `default-deny`.
    pub isolated: Vec<String>,
    /// Namespaces that must have no policies.
    pub opened: Vec<String>,
    /// The old data, which must be as it was when the plan was made.
    pub third_party: Vec<(ObjectRef, Digest)>,
    /// What runs the controllers, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controllers: Option<Controllers>,
}

/// The one that runs Calico's controllers, and those that must not run any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controllers {
    pub object: ObjectRef,
    pub selector: String,
    pub image: String,
    /// The selectors of those that ran before.
    pub stopped: Vec<String>,
}

impl ObjectChange {
    /// Lists the fields that change.
    pub fn fields(&self) -> Vec<Difference> {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => differences(&after.value(), &before.value()),
            (Some(_), None) | (None, _) => Vec::new(),
        }
    }

    /// Names the field for which the object must be made anew, if it must.
    pub fn recreated_for(&self) -> Option<&'static str> {
        recreation::differs_in(self.object.kind, self.after.as_ref()?, self.before.as_ref()?)
    }

    /// Answers what is done to the object, as one word.
    pub fn verb(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, Some(_)) => "create",
            (Some(_), None) => "delete",
            (Some(_), Some(_)) if self.recreated_for().is_some() => "recreate",
            (Some(_), Some(_)) => "replace",
            (None, None) => "leave",
        }
    }
}

impl Stage {
    /// The changes of objects that the stage makes.
    pub fn changes(&self) -> &[ObjectChange] {
        match self {
            Stage::Changes(changes) => changes,
            Stage::Recreated(recreation) => std::slice::from_ref(&recreation.change),
            Stage::Lines { .. }
            | Stage::UntilEstablished(_)
            | Stage::UntilObserved(_)
            | Stage::Unchanged(_)
            | Stage::Uncordoned(_)
            | Stage::NoOrphans
            | Stage::NoProbes
            | Stage::UntilGone { .. }
            | Stage::UntilReady { .. } => &[],
        }
    }
}

impl Desired {
    /// Whether it can be taken back, where the plan holds each object as it was.
    fn undo(&self) -> Undo {
        match self {
            Desired::BackUp | Desired::Pull(_) | Desired::Verify(_) => Undo::Nothing,
            Desired::Objects { .. } | Desired::Roll(_) => Undo::Exact,
        }
    }
}

impl PlannedStep {
    /// The changes of objects that this step makes, in their order.
    pub fn changes(&self) -> impl Iterator<Item = &ObjectChange> {
        let (stages, then): (&[Stage], _) = match &self.desired {
            Desired::Objects { stages } => (stages, None),
            Desired::Roll(roll) => (&[], roll.then.as_ref()),
            Desired::BackUp | Desired::Pull(_) | Desired::Verify(_) => (&[], None),
        };
        stages.iter().flat_map(Stage::changes).chain(then)
    }
}

impl Plan {
    /// A plan without steps for the installation that this one leaves behind. Nothing of this plan's steps is copied.
    fn follow_up(&self, purpose: Purpose, cluster: &ClusterFacts) -> Plan {
        Plan {
            format: FORMAT,
            purpose,
            cluster: cluster.clone(),
            daemon_set: self.daemon_set.clone(),
            flavour: self.flavour,
            datastore: self.datastore,
            from: self.to,
            to: self.to,
            runbook: self.runbook.clone(),
            request: self.request.clone(),
            steps: Vec::new(),
            omitted: Vec::new(),
            findings: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// The changes of objects that the whole plan makes, in their order. Cordons and pods come on top.
    pub fn changes(&self) -> impl Iterator<Item = &ObjectChange> {
        self.steps.iter().flat_map(PlannedStep::changes)
    }

    /// What the plan holds in the end.
    pub fn verification(&self) -> Option<&Verify> {
        self.steps.iter().find_map(|step| match &step.desired {
            Desired::Verify(verify) => Some(verify),
            Desired::BackUp | Desired::Pull(_) | Desired::Objects { .. } | Desired::Roll(_) => None,
        })
    }

    /// How the plan replaces the nodes, if it does.
    pub fn roll(&self) -> Option<&Roll> {
        self.steps.iter().find_map(|step| match &step.desired {
            Desired::Roll(roll) => Some(roll),
            Desired::BackUp | Desired::Pull(_) | Desired::Objects { .. } | Desired::Verify(_) => None,
        })
    }

    /// How the plan brings the new images to the nodes, if it does.
    pub fn pull(&self) -> Option<&Pull> {
        self.steps.iter().find_map(|step| match &step.desired {
            Desired::Pull(pull) => Some(pull),
            Desired::BackUp | Desired::Roll(_) | Desired::Objects { .. } | Desired::Verify(_) => None,
        })
    }

    /// Answers whether the cluster is where it should be already.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}
