//! What one old object says on its own, before it is compared with the others.

use std::fmt::Display;

use serde_json::{Map, Value};

use super::go_json::ShapeError;
use super::outcome::{NewKind, NewObject, Outcome, TargetObject};

/// A new object in the making.
pub(super) struct Draft {
    pub kind: NewKind,
    pub name: String,
    pub labels: Map<String, Value>,
    pub annotations: Map<String, Value>,
    pub spec: Value,
    pub notes: Vec<String>,
    /// Writing this object also turns IPIP on for the whole cluster.
    pub enables_ipip: bool,
}

impl Draft {
    pub fn new(kind: NewKind, name: String, spec: Value) -> Self {
        let (labels, annotations) = (Map::new(), Map::new());
        Self { kind, name, labels, annotations, spec, notes: Vec::new(), enables_ipip: false }
    }

    pub fn target(&self) -> TargetObject {
        TargetObject { kind: self.kind, name: self.name.clone() }
    }

    pub fn into_object(self) -> NewObject {
        let Self { kind, name, labels, annotations, spec, .. } = self;
        NewObject { kind, name, labels, annotations, spec }
    }
}

/// Why one old object gives no new one.
#[derive(Debug)]
pub(super) struct Refusal {
    pub outcome: Outcome,
    pub reason: String,
}

impl Refusal {
    pub fn new(outcome: Outcome, reason: impl Display) -> Self {
        Self { outcome, reason: reason.to_string() }
    }
}

impl From<ShapeError> for Refusal {
    fn from(error: ShapeError) -> Self {
        Self::new(Outcome::Invalid, format_args!("{error}: Calico could not read any object of this kind"))
    }
}
