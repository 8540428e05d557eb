//! Reads what all old objects have in common: kind, place, name and metadata.

use serde_json::{Map, Value};

use super::draft::Refusal;
use super::go_json::{Expected, ShapeError, SpecFields};
use super::outcome::Outcome;

/// The only namespace that Calico reads its third-party resources from.
const CALICO_NAMESPACE: &str = "kube-system";

/// The kinds that Calico kept as third-party resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OldKind {
    Pool,
    FelixConfig,
    BgpConfig,
    Peer,
    SystemPolicy,
}

impl OldKind {
    fn of(api_version: &str, kind: &str) -> Option<Self> {
        match (api_version, kind) {
            ("projectcalico.org/v1", "IpPool") => Some(Self::Pool),
            ("projectcalico.org/v1", "GlobalConfig") => Some(Self::FelixConfig),
            ("projectcalico.org/v1", "GlobalBgpConfig") => Some(Self::BgpConfig),
            ("projectcalico.org/v1", "GlobalBgpPeer") => Some(Self::Peer),
            ("alpha.projectcalico.org/v1", "SystemNetworkPolicy") => Some(Self::SystemPolicy),
            (_, _) => None,
        }
    }
}

/// An old object that Calico would have read.
pub(super) struct OldObject<'a> {
    pub kind: OldKind,
    pub name: &'a str,
    pub labels: Map<String, Value>,
    pub annotations: Map<String, Value>,
    metadata: &'a Map<String, Value>,
    spec: Option<&'a Map<String, Value>>,
}

impl<'a> OldObject<'a> {
    pub fn read(object: &'a Value) -> Result<Self, Refusal> {
        let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
        let kind = OldKind::of(text("apiVersion"), text("kind")).ok_or_else(|| unknown_kind(object))?;
        let metadata = map(object, "metadata")?.ok_or_else(|| missing("metadata"))?;
        let namespace = required_text(metadata, "namespace")?;
        let name = required_text(metadata, "name")?;
        if namespace != CALICO_NAMESPACE {
            let reason = format!("it is in namespace `{namespace}`, and Calico reads only `{CALICO_NAMESPACE}`");
            return Err(Refusal::new(Outcome::Ignored, reason));
        }
        let (labels, annotations) = (texts(metadata, "labels")?, texts(metadata, "annotations")?);
        Ok(Self { kind, name, labels, annotations, metadata, spec: map(object, "spec")? })
    }

    pub fn fields(&self) -> SpecFields<'a> {
        SpecFields::of(self.spec)
    }

    /// Gives the whole spec; an absent one is empty.
    pub fn spec(&self) -> Value {
        Value::Object(self.spec.cloned().unwrap_or_default())
    }

    /// Says that labels and annotations are left out, for the kinds whose new form never had them.
    pub fn lost_texts_notes(&self) -> impl Iterator<Item = String> {
        let note = |field: &str, texts: &Map<String, Value>| {
            let keys: Vec<_> = texts.keys().map(|key| format!("`{key}`")).collect();
            (!keys.is_empty()).then(|| format!("{field} are left out: {}", keys.join(", ")))
        };
        [note("labels", &self.labels), note("annotations", &self.annotations)].into_iter().flatten()
    }

    /// Says what of the metadata never moves: a copied finalizer or owner would hold or delete the new object.
    pub fn left_behind_notes(&self) -> impl Iterator<Item = String> {
        let note = |field: &str, what: &str| {
            let entries = self.metadata.get(field)?.as_array().filter(|entries| !entries.is_empty())?;
            Some(format!("{what} are left out: {}", Value::from(entries.clone())))
        };
        [note("finalizers", "finalizers"), note("ownerReferences", "owners")].into_iter().flatten()
    }
}

fn unknown_kind(object: &Value) -> Refusal {
    let shown = |field: &str| object.get(field).unwrap_or(&Value::Null);
    let (kind, api_version) = (shown("kind"), shown("apiVersion"));
    let reason = format!("kind {kind} of apiVersion {api_version} is none that Calico kept as third-party resource");
    Refusal::new(Outcome::Invalid, reason)
}

fn missing(field: &str) -> ShapeError {
    ShapeError::Missing { field: field.to_owned() }
}

fn map<'a>(object: &'a Value, field: &str) -> Result<Option<&'a Map<String, Value>>, ShapeError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(fields)) => Ok(Some(fields)),
        Some(other) => Err(ShapeError::wrong_type(field, Expected::Object, other)),
    }
}

fn required_text<'a>(metadata: &'a Map<String, Value>, field: &str) -> Result<&'a str, ShapeError> {
    let field_name = format!("metadata.{field}");
    let value = metadata.get(field).ok_or_else(|| missing(&field_name))?;
    value.as_str().ok_or_else(|| ShapeError::wrong_type(field_name, Expected::Text, value))
}

fn texts(metadata: &Map<String, Value>, field: &str) -> Result<Map<String, Value>, ShapeError> {
    match metadata.get(field) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(texts)) if texts.values().all(Value::is_string) => Ok(texts.clone()),
        Some(other) => Err(ShapeError::wrong_type(format!("metadata.{field}"), Expected::Texts, other)),
    }
}
