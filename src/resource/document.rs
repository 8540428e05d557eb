use std::{borrow::Cow, fmt, io, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// An object's body as canonical JSON text: keys sorted, nothing in it that the server sets.
///
/// Kept as text because a cluster may hold 10,000 policies: parsed they need ten times the memory. Copies share the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(Arc<str>);

/// The SHA-256 of some bytes, written as hex digits. A plan of 100,000 keys holds one or two for each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// An object as read from a cluster: its body, and what a precondition needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub namespace: Option<String>,
    pub name: String,
    pub uid: String,
    pub resource_version: String,
    pub is_terminating: bool,
    /// The generation that the server counted, and the one that its controller has seen.
    pub generation: Generation,
    pub document: Document,
}

/// How far the controller of an object has caught up with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Generation {
    pub current: Option<i64>,
    pub observed: Option<i64>,
}

impl Generation {
    /// Answers whether the controller has seen the newest change.
    pub fn is_observed(self) -> bool {
        self.current.is_some() && self.observed >= self.current
    }
}

/// Keys of `metadata` that belong to the server or to the object's identity, not to its content.
const SERVER_METADATA: [&str; 9] = [
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "clusterName",
];

/// Annotations that controllers count up by themselves.
const SERVER_ANNOTATIONS: [&str; 2] = ["deprecated.daemonset.template.generation", "deployment.kubernetes.io/revision"];

impl Document {
    /// Takes an object's body without what the server sets.
    pub fn new(mut body: Value) -> Self {
        if let Value::Object(fields) = &mut body {
            drop_server_fields(fields);
        }
        Self::of(&body)
    }

    /// Takes a body as it is.
    fn of(body: &Value) -> Self {
        // serde_json sorts keys as long as nothing switches on `preserve_order`; a test holds that.
        Self(body.to_string().into())
    }

    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).expect("a document holds JSON that was made here")
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

fn drop_server_fields(fields: &mut Map<String, Value>) {
    for key in ["apiVersion", "kind", "status"] {
        fields.remove(key);
    }
    if let Some(Value::Object(spec)) = fields.get_mut("spec") {
        spec.remove("templateGeneration");
    }
    let pod = fields.get_mut("spec").and_then(|spec| spec.pointer_mut("/template/spec"));
    if let Some(Value::Object(pod)) = pod {
        use_one_account_name(pod);
    }
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        drop_ways_of_deletion(metadata);
        for key in SERVER_METADATA {
            metadata.remove(key);
        }
        // Kubernetes before v1.9 writes an empty namespace into custom resources of the whole cluster.
        if metadata.get("namespace").is_some_and(|namespace| namespace == "") {
            metadata.remove("namespace");
        }
        drop_server_annotations(metadata);
    }
}

/// What the server notes on an object whose deletion waits for what it owns
/// (Kubernetes documentation, "Garbage Collection", cascading deletion).
fn drop_ways_of_deletion(metadata: &mut Map<String, Value>) {
    let is_going = metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null());
    if is_going && let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers") {
        finalizers.retain(|one| one != "orphan" && one != "foregroundDeletion");
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        }
    }
}

/// Servers write the account of a pod under its old name as well; some manifests have the old name alone
/// (Kubernetes API reference, PodSpec, `serviceAccount`).
fn use_one_account_name(pod: &mut Map<String, Value>) {
    if let Some(account) = pod.remove("serviceAccount") {
        pod.entry("serviceAccountName").or_insert(account);
    }
}

fn drop_server_annotations(metadata: &mut Map<String, Value>) {
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        for key in SERVER_ANNOTATIONS {
            annotations.remove(key);
        }
    }
    for key in ["annotations", "labels"] {
        if metadata.get(key).is_some_and(|value| value.as_object().is_none_or(Map::is_empty)) {
            metadata.remove(key);
        }
    }
}

impl Live {
    /// Reads an object as a server gives it; answers what is missing if it is no object.
    pub fn read(object: Value) -> Result<Self, &'static str> {
        let metadata = |key: &str| object.pointer("/metadata").and_then(|metadata| metadata.get(key));
        let text = |key: &str| metadata(key).and_then(Value::as_str).map(str::to_owned);
        let generation = Generation {
            current: metadata("generation").and_then(Value::as_i64),
            observed: object.pointer("/status/observedGeneration").and_then(Value::as_i64),
        };
        Ok(Self {
            namespace: text("namespace").filter(|namespace| !namespace.is_empty()),
            name: text("name").ok_or("metadata.name")?,
            uid: text("uid").ok_or("metadata.uid")?,
            resource_version: text("resourceVersion").ok_or("metadata.resourceVersion")?,
            is_terminating: metadata("deletionTimestamp").is_some_and(|time| !time.is_null()),
            generation,
            document: Document::new(object),
        })
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(&Value::deserialize(deserializer)?))
    }
}

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest of what is written, without keeping it.
    pub fn of_written<E>(write: impl FnOnce(&mut dyn io::Write) -> Result<(), E>) -> Result<Self, E> {
        let mut hasher = Hasher(Sha256::new());
        write(&mut hasher)?;
        Ok(Self::of_hash(hasher.0))
    }

    /// The digest of all that a hash was given.
    pub fn of_hash(hash: Sha256) -> Self {
        Self(hash.finalize().into())
    }

    pub fn text(&self) -> String {
        self.to_string()
    }

    /// The first digits, enough for people to compare.
    pub fn short(&self) -> String {
        self.0[..6].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        from_hex(&text).map(Self).ok_or_else(|| de::Error::custom("a digest is 64 hex digits"))
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Takes what is written into a hash.
struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_same_content_gives_the_same_digest_whatever_the_server_added() {
        let ours = json!({"spec": {"b": 1, "a": 2}, "metadata": {"name": "x"}});
        let served = json!({"kind": "ConfigMap", "apiVersion": "v1", "status": {"seen": 1}, "spec": {"a": 2, "b": 1},
            "metadata": {"name": "x", "uid": "7", "resourceVersion": "9", "generation": 3, "managedFields": [], "labels": {},
                "annotations": {"deprecated.daemonset.template.generation": "4"}}});
        assert_eq!(Document::new(ours).digest(), Document::new(served).digest());
    }

    #[test]
    fn the_account_of_a_pod_has_one_name() {
        let pod = |account: Value| Document::new(json!({"spec": {"template": {"spec": account}}}));
        let new = pod(json!({"serviceAccountName": "a"}));
        for account in [json!({"serviceAccount": "a"}), json!({"serviceAccount": "b", "serviceAccountName": "a"})] {
            assert_eq!(pod(account), new);
        }
    }

    #[test]
    fn content_is_not_mistaken_for_what_the_server_sets() {
        let one = json!({"metadata": {"name": "x", "labels": {"a": "b"}, "finalizers": ["f"]}});
        let other = json!({"metadata": {"name": "x", "labels": {"a": "b"}}});
        assert_ne!(Document::new(one).digest(), Document::new(other).digest());
    }

    #[test]
    fn an_object_on_its_way_out_has_the_content_that_it_had() {
        let with = |metadata: Value| Document::new(json!({"metadata": metadata}));
        let was = with(json!({"name": "x"}));
        assert_eq!(with(json!({"name": "x", "deletionTimestamp": "t", "finalizers": ["orphan"]})), was);
        assert_ne!(with(json!({"name": "x", "deletionTimestamp": "t", "finalizers": ["corp.example/hold"]})), was);
        assert_ne!(with(json!({"name": "x", "finalizers": ["orphan"]})), was, "nobody deleted it yet");
    }
}
