use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resource::ObjectRef;

/// A field that people changed and that stays as they made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub object: ObjectRef,
    pub path: String,
    /// The value that stays; absent if people took the field away.
    pub value: Option<Value>,
}

/// A field that both people and the release changed: only people can tell what it shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    pub object: ObjectRef,
    pub path: String,
    pub base: Option<Value>,
    pub live: Option<Value>,
    pub new: Option<Value>,
}

/// What the operator said of one conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preference {
    Keep,
    Take,
}

/// What the operator said of conflicts, by `KIND/NAME:PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences(pub BTreeMap<String, Preference>);

impl Preferences {
    pub fn of(&self, object: &ObjectRef, path: &str) -> Option<Preference> {
        self.0.get(&field_name(object, path)).copied()
    }
}

/// How a field is named in flags and messages.
pub fn field_name(object: &ObjectRef, path: &str) -> String {
    format!("{}/{}:{path}", object.kind, object.name)
}
