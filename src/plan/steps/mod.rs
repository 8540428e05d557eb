//! What each kind of step wants, decided from the inventory.

mod controllers;
mod manifests;
mod policies;
mod resources;
mod roll;

pub(super) use controllers::replace_controllers;
pub(super) use manifests::apply_manifests;
pub(super) use policies::convert_policies;
pub(super) use resources::copy_resources;
pub(super) use roll::{roll_nodes, verify};

use super::{Desired, Kept, make::Materials};
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
pub(super) fn back_up(materials: &Materials<'_>) -> Draft {
    let summary = match materials.installed.datastore {
        Datastore::Kubernetes => "every object that the plan touches, and all of Calico's data",
        Datastore::Etcd => {
            "every object that the plan touches; not Calico's data in etcd: take a snapshot of it yourself"
        }
    };
    Draft { desired: Some(Desired::BackUp), summary: summary.to_owned(), ..Draft::default() }
}
