use serde_json::{Value, json};

/// A key of etcd as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub path: String,
    /// The stored bytes as text: the v2 API gives nothing else.
    pub value: String,
    /// The index at which the key came to be; it tells it from an earlier key of the same name.
    pub created: u64,
    /// The index of its newest write: no two writes of a cluster share one.
    pub modified: u64,
    /// Seconds after which etcd removes the key by itself.
    pub ttl: Option<i64>,
    pub expiration: Option<String>,
}

impl Key {
    /// Writes a key in the shape of every other object, so that all that works for objects works for keys.
    ///
    /// What etcd sets stands where a Kubernetes object has the same: both are left out of a comparison.
    pub fn to_object(&self) -> Value {
        let mut object = json!({
            "apiVersion": "etcd/v2", "kind": "EtcdKey",
            "metadata": {
                "name": self.path, "uid": self.created.to_string(), "resourceVersion": self.modified.to_string(),
            },
            "value": self.value,
        });
        if self.ttl.is_some() || self.expiration.is_some() {
            object["status"] = json!({"ttl": self.ttl, "expiration": self.expiration});
        }
        object
    }

    /// Answers whether the API may have replaced bytes that are no UTF-8 on their way to us.
    pub fn may_be_inexact(&self) -> bool {
        self.path.contains('\u{fffd}') || self.value.contains('\u{fffd}')
    }
}
