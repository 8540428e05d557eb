//! Runbooks, the version catalogue and the manifests of the releases: data, read strictly.
//!
//! A runbook says which steps lead to a release line, in which order, and when each is needed. The files are part of the
//! program; `--runbook FILE` puts another one in their place. Unknown keys are errors with a suggestion.

mod catalogue;
mod embedded;
mod family;
mod gate;
mod images;
mod manifest;
mod read;
mod supplied;
mod wiring;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use catalogue::{Catalogue, Data, Line, Release};
pub use embedded::{catalogue, find, gates, names, text};
pub use gate::{Answer, Gate, Gates, Here, Hits, Level, Span, read_gates};
pub use images::{node_image_of, runs_controllers, runs_typha, split_image};
pub use manifest::{Manifest, Published, base, target};
pub use read::{ReadError, parse, read};
pub use supplied::{Shipped, ShippedError, Supplied, is_supplied, read_shipped};
pub use wiring::{Wiring, environment, flavour_of};

use crate::{
    inventory::{Datastore, Flavour},
    version::{Minor, Version},
};

/// The way to one release line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Runbook {
    pub target: Minor,
    pub from: Range,
    /// The upstream page that the steps come from.
    pub source: String,
    /// The combinations that upstream tested.
    pub tested: Vec<TestedRow>,
    /// Releases of the line that nobody should stop on, with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub avoid: BTreeMap<Version, String>,
    pub steps: Vec<RunbookStep>,
}

/// Versions that a runbook leads away from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    pub at_least: Version,
    /// Absent where it is any up to the target itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Version>,
}

impl Range {
    pub fn contains(self, version: Version) -> bool {
        version >= self.at_least && self.at_most.is_none_or(|last| version <= last)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.at_most {
            Some(last) => write!(formatter, "{} to {last}", self.at_least),
            None => write!(formatter, "{} on", self.at_least),
        }
    }
}

/// One combination that upstream tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestedRow {
    /// Absent where upstream tested the release with that Kubernetes, wherever one comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calico: Option<Minor>,
    pub datastore: Datastore,
    pub kubernetes: Minor,
}

/// One step of a runbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunbookStep {
    pub name: String,
    /// The heading for people.
    pub phase: String,
    pub step: StepKind,
    /// The step is needed if any of these alternatives holds.
    pub when: Vec<Condition>,
    #[serde(default)]
    pub parameters: Parameters,
}

/// The kinds of steps that the program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    BackUp,
    PullImages,
    ConvertPolicies,
    CopyResources,
    HealData,
    ReplaceControllers,
    ApplyManifests,
    RemoveLeftovers,
    RollNodes,
    Verify,
}

/// Facts that must all hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    pub calico_below: Option<Version>,
    pub calico_at_least: Option<Version>,
    /// The release to go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_below: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_at_least: Option<Version>,
    pub datastore: Option<Datastore>,
    pub flavour: Option<Flavour>,
}

/// How a step does its work; what is absent has the program's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Nodes replaced at once.
    pub batch: Option<usize>,
    /// How long all nodes may take to pull the new images, such as `15m`.
    pub pull_within: Option<String>,
    /// How long one node may take to become ready, such as `10m`.
    pub ready_within: Option<String>,
    /// How long a new pod is watched once it is ready, by flavour.
    pub stable_for_networking: Option<String>,
    pub stable_for_policy_only: Option<String>,
    /// Nodes that may still be watched while the next are begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watching: Option<usize>,
    /// How long a node usually takes to become ready, for the estimate of a plan alone, such as `20s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usually_ready_in: Option<String>,
}

impl Condition {
    /// Answers whether the condition holds for an install on its way from one release to another.
    pub fn holds(&self, (from, to): (Version, Version), datastore: Datastore, flavour: Flavour) -> bool {
        self.calico_below.is_none_or(|limit| from < limit)
            && self.calico_at_least.is_none_or(|limit| from >= limit)
            && self.target_below.is_none_or(|limit| to < limit)
            && self.target_at_least.is_none_or(|limit| to >= limit)
            && self.datastore.is_none_or(|wanted| wanted == datastore)
            && self.flavour.is_none_or(|wanted| wanted == flavour)
    }
}

impl RunbookStep {
    /// Answers whether the step is needed for an install.
    pub fn is_needed(&self, way: (Version, Version), datastore: Datastore, flavour: Flavour) -> bool {
        self.when.iter().any(|condition| condition.holds(way, datastore, flavour))
    }
}

impl Runbook {
    /// Answers whether upstream tested the way from here.
    pub fn is_tested(&self, row: TestedRow) -> bool {
        self.tested.iter().any(|tested| *tested == row || *tested == TestedRow { calico: None, ..row })
    }
}
