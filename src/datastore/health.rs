//! What etcd says of itself.

use http::Method;
use serde::Deserialize;

use super::{Etcd, EtcdError};

const PATH: &str = "/health";

/// Before etcd 3.5 there is no reason (etcd source, `etcdhttp/health.go`).
#[derive(Deserialize)]
struct Health {
    health: String,
    #[serde(default)]
    reason: String,
}

impl Etcd {
    /// Answers what is wrong with an etcd that answers and yet says that it is not well: an alarm that it raised.
    ///
    /// Seen on etcd 3.5: at NOSPACE it refuses every write of its v3 API and still takes those of its v2 API.
    pub async fn alarm(&self) -> Result<Option<String>, EtcdError> {
        let mut answer = self.ask(Method::GET, PATH, None).await?;
        let body = answer.rest(PATH).await?;
        // An etcd whose `/health` says something else is not known to be unwell.
        let Ok(Health { health, reason }) = serde_json::from_slice(&body) else { return Ok(None) };
        let told = if reason.is_empty() { "it gives no reason".to_owned() } else { reason };
        Ok((health != "true").then_some(told))
    }
}
