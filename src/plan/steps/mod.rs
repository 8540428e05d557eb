//! What each kind of step wants, decided from the inventory.

mod controllers;
mod data;
mod immutable;
mod leftovers;
mod manifests;
mod nodes;
mod policies;
mod probe;
mod pull;
mod resources;
mod restart;
mod roll;

pub(super) use controllers::{replace_controllers, replicas, stopped};
pub(super) use data::heal_data;
pub(super) use leftovers::remove_leftovers;
pub(super) use manifests::{apply_manifests, decisions, frozen_first, on_delete};
pub(super) use nodes::not_picked;
pub(super) use policies::convert_policies;
pub use probe::{
    CHECKS as NEW_PODS, DAEMON_SETS as PROBE_DAEMON_SETS, NAME as PROBE_NAME, Probing, SELECTOR as PROBES, is_of_run,
};
pub use pull::NAME as PULL_NAME;
pub(super) use pull::pull_images;
pub(super) use resources::copy_resources;
pub(super) use restart::READS;
pub(super) use roll::{roll_nodes, verify};

use super::{Desired, Kept, PlanError, Request};
use crate::{check::Finding, inventory::Datastore};

/// A step as drafted: what it wants, or why there is nothing to do.
#[derive(Default)]
pub(super) struct Draft {
    pub desired: Option<Desired>,
    pub summary: String,
    pub findings: Vec<Finding>,
    pub kept: Vec<Kept>,
}

impl Draft {
    /// A step that is not needed, and why.
    fn nothing(why: impl Into<String>) -> Self {
        Self { summary: why.into(), ..Self::default() }
    }
}

/// Everything that the plan touches, and all of Calico's data that is in the cluster.
pub(super) fn back_up(datastore: Datastore, request: &Request) -> Draft {
    let what = match datastore {
        Datastore::Kubernetes => "every object that the plan touches, and all of Calico's data",
        Datastore::Etcd => "every object that the plan touches, and every key of Calico's in etcd",
    };
    let extra = if request.wants_etcd_snapshot { ", and a snapshot of etcd's v3 keys" } else { "" };
    Draft { desired: Some(Desired::BackUp), summary: format!("{what}{extra}"), ..Draft::default() }
}

/// Reads a duration of a runbook.
fn seconds(what: &'static str, text: Option<&str>, default: u64) -> Result<u64, PlanError> {
    let Some(text) = text else { return Ok(default) };
    let span = text.parse::<jiff::SignedDuration>();
    span.ok()
        .and_then(|span| u64::try_from(span.as_secs()).ok())
        .ok_or_else(|| PlanError::Duration { what, text: text.to_owned() })
}
