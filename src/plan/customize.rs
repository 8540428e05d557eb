//! What is decided of single fields, and what the operator said of them beforehand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::resource::ObjectRef;

/// A field that is not the same in the old release, in the cluster and in the new release, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub object: ObjectRef,
    /// Where, in the writing of kubectl; empty for the whole object.
    pub path: String,
    pub base: Option<Value>,
    pub live: Option<Value>,
    pub new: Option<Value>,
    /// The value that the plan makes of it; absent if the field shall not be there.
    pub after: Option<Value>,
    pub verdict: Verdict,
}

/// What is done with a field, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Only the release changed it.
    Follows,
    /// The release brings it.
    Added,
    /// The release no longer has it.
    Removed,
    /// It is already as the new release ships it.
    AlreadyThere,
    /// Only people changed it.
    Kept,
    /// People and the release changed it: the operator has to say.
    Asked,
    /// Both changed it, and the operator said to keep it.
    KeptAsSaid,
    /// Both changed it, and the operator said to take the release's.
    TakenAsSaid,
    /// A right of the old release, needed as long as nodes of it run.
    Stays,
    /// No merge can change it: the API server refuses to, or another step does it.
    LeftAlone,
}

/// A field that people changed and that stays as they made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub object: ObjectRef,
    pub path: String,
    /// The value that stays; absent if people took the field away.
    pub value: Option<Value>,
}

/// What the operator said of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preference {
    Keep,
    Take,
}

/// What the operator said of one field, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub decision: Preference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What the operator said of fields, by `KIND/NAME:PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences(pub BTreeMap<String, Choice>);

impl Decision {
    /// The name of the field in flags and messages.
    pub fn field(&self) -> String {
        field_name(&self.object, &self.path)
    }

    /// The field as a setting that stays, if it is one that people made.
    pub fn kept(&self) -> Option<Kept> {
        match self.verdict {
            Verdict::Kept | Verdict::KeptAsSaid => {
                Some(Kept { object: self.object.clone(), path: self.path.clone(), value: self.live.clone() })
            }
            Verdict::Follows
            | Verdict::Added
            | Verdict::Removed
            | Verdict::AlreadyThere
            | Verdict::Asked
            | Verdict::TakenAsSaid
            | Verdict::Stays
            | Verdict::LeftAlone => None,
        }
    }
}

impl Verdict {
    /// The verdict as people say it.
    pub const fn words(self) -> &'static str {
        match self {
            Verdict::Follows => "following the release",
            Verdict::Added => "added by the release",
            Verdict::Removed => "removed by the release",
            Verdict::AlreadyThere => "as the release ships it already",
            Verdict::Kept => "kept",
            Verdict::Asked => "asked for",
            Verdict::KeptAsSaid => "kept, as you said",
            Verdict::TakenAsSaid => "taken, as you said",
            Verdict::Stays => "staying while old nodes run",
            Verdict::LeftAlone => "left alone",
        }
    }
}

impl Preferences {
    pub fn of(&self, object: &ObjectRef, path: &str) -> Option<Preference> {
        self.0.get(&field_name(object, path)).map(|choice| choice.decision)
    }

    /// Adds what was said of a field; answers false if something else was said of it before.
    pub fn add(&mut self, field: String, choice: Choice) -> bool {
        let decision = choice.decision;
        self.0.entry(field).or_insert(choice).decision == decision
    }

    /// Names the fields of which nothing was asked.
    pub fn unasked<'a>(&'a self, decisions: &[Decision]) -> Vec<&'a str> {
        let said = |one: &&Decision| matches!(one.verdict, Verdict::KeptAsSaid | Verdict::TakenAsSaid);
        let asked: Vec<String> = decisions.iter().filter(said).map(Decision::field).collect();
        self.0.keys().map(String::as_str).filter(|field| !asked.iter().any(|one| one == field)).collect()
    }
}

/// How a field is named in flags and messages.
fn field_name(object: &ObjectRef, path: &str) -> String {
    format!("{}/{}:{path}", object.kind, object.name)
}
