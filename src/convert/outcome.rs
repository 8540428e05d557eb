//! The words of a conversion: what became of each old object, and the objects to write.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The result of a conversion: one verdict for each old object, and the objects to write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversion {
    /// One verdict for each old object, sorted by kind, namespace and name.
    pub verdicts: Vec<Verdict>,
    /// The objects to write, sorted by kind and name.
    pub objects: Vec<NewObject>,
}

impl Conversion {
    /// Lists the verdicts that a person must settle before anything is written.
    pub fn blocking(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| verdict.outcome.blocks())
    }
}

/// What became of one old object, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub source: SourceObject,
    pub outcome: Outcome,
    /// Why, for people, with the value that decided it.
    pub reason: String,
    /// The object that stands for it in the output, if there is one.
    pub target: Option<TargetObject>,
    /// What changes on the way although the object is converted.
    pub notes: Vec<String>,
}

/// The old object that a verdict is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SourceObject {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl SourceObject {
    /// Names an object as far as it can be named; what is missing is empty.
    pub fn of(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { kind: text("/kind"), namespace: text("/metadata/namespace"), name: text("/metadata/name") }
    }
}

impl fmt::Display for SourceObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// The new object that stands for an old one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetObject {
    pub kind: NewKind,
    pub name: String,
}

impl fmt::Display for TargetObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind, self.name)
    }
}

/// What can become of an old object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The output holds an object for it.
    Converted,
    /// The old Calico could not read it and left it out without a word.
    Dropped,
    /// The new Calico or the API server would refuse it.
    Rejected,
    /// Its shape is wrong, so that Calico could not read any object of its kind.
    Invalid,
    /// It is left out on purpose: Calico never read it, or the operator said so.
    Ignored,
    /// Another old object becomes the same new object with another content.
    Conflict,
    /// The operator has not said what to do with it.
    Undecided,
}

impl Outcome {
    /// Answers whether a person must act before anything is written.
    pub fn blocks(self) -> bool {
        match self {
            Self::Converted | Self::Ignored => false,
            Self::Dropped | Self::Rejected | Self::Invalid | Self::Conflict | Self::Undecided => true,
        }
    }
}

/// What the operator wants to be done with system network policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SystemPolicyChoice {
    Convert,
    Drop,
}

/// The kinds of `crd.projectcalico.org/v1` that a conversion makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NewKind {
    #[serde(rename = "IPPool")]
    IpPool,
    #[serde(rename = "BGPPeer")]
    BgpPeer,
    GlobalFelixConfig,
    #[serde(rename = "GlobalBGPConfig")]
    GlobalBgpConfig,
    GlobalNetworkPolicy,
}

impl NewKind {
    /// Gives the kind as Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IpPool => "IPPool",
            Self::BgpPeer => "BGPPeer",
            Self::GlobalFelixConfig => "GlobalFelixConfig",
            Self::GlobalBgpConfig => "GlobalBGPConfig",
            Self::GlobalNetworkPolicy => "GlobalNetworkPolicy",
        }
    }
}

impl fmt::Display for NewKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An object to write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewObject {
    pub kind: NewKind,
    pub name: String,
    pub labels: Map<String, Value>,
    pub annotations: Map<String, Value>,
    pub spec: Value,
}

impl NewObject {
    /// Makes the whole object: `apiVersion`, `kind`, `metadata` and `spec`.
    pub fn body(&self) -> Value {
        let mut metadata = Map::from_iter([("name".to_owned(), Value::from(self.name.as_str()))]);
        for (field, texts) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !texts.is_empty() {
                metadata.insert(field.to_owned(), Value::Object(texts.clone()));
            }
        }
        let kind = self.kind.as_str();
        json!({"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": metadata, "spec": self.spec})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_converted_or_left_out_on_purpose_does_not_block() {
        use Outcome::*;
        let all = [Converted, Dropped, Rejected, Invalid, Ignored, Conflict, Undecided];
        let passing: Vec<_> = all.into_iter().filter(|outcome| !outcome.blocks()).collect();
        assert_eq!(passing, [Converted, Ignored]);
    }

    #[test]
    fn a_kind_is_saved_under_the_name_that_kubernetes_uses() {
        use NewKind::*;
        for kind in [IpPool, BgpPeer, GlobalFelixConfig, GlobalBgpConfig, GlobalNetworkPolicy] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
