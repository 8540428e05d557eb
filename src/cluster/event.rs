use http::Method;
use serde_json::Value;

use super::{Cluster, ClusterError};
use crate::resource::Kind;

impl Cluster {
    /// Writes an Event. Core v1 serves them on every API server from 1.7 to this day.
    pub(crate) async fn post_event(&self, namespace: &str, event: &Value) -> Result<(), ClusterError> {
        let path = format!("/api/v1/namespaces/{namespace}/events");
        self.send(Method::POST, &path, Some(event)).await.map(drop)
    }

    /// Answers under which API version this server has a kind.
    pub fn api_version(&self, kind: Kind) -> Result<String, ClusterError> {
        Ok(self.place(kind)?.api_version())
    }
}
