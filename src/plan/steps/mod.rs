//! What each kind of step wants, decided from the inventory.

mod leftovers;
mod manifests;
mod policies;
mod resources;
mod roll;

pub(super) use leftovers::remove_leftovers;
pub(super) use manifests::apply_manifests;
pub(super) use policies::convert_policies;
pub(super) use resources::copy_resources;
pub(super) use roll::{roll_nodes, verify};

use super::{Desired, Kept};
use crate::check::Finding;

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

/// Everything that the plan touches, and all of Calico's data.
pub(super) fn back_up() -> Draft {
    let summary = "every object that the plan touches, and all of Calico's data".to_owned();
    Draft { desired: Some(Desired::BackUp), summary, ..Draft::default() }
}
