//! The alert gate: a query to Prometheus that must be empty before each node.

use std::sync::Arc;

use serde_json::Value;

use crate::web::{Client, WebError};

/// So many alerts are named.
const NAMED: usize = 5;

/// What is asked, and where.
#[derive(Clone, Debug)]
pub struct AlertGate {
    client: Arc<Client>,
    query: String,
}

/// Why no node is begun.
#[derive(Debug, thiserror::Error)]
pub enum Alarm {
    #[error("{count} alerts fire: {}", .named.join("; "))]
    Firing { count: usize, named: Vec<String> },
    #[error("the alerts cannot be asked for")]
    Unknown(#[source] WebError),
    #[error("the alerts cannot be asked for: {address} does not answer as Prometheus does ({why})")]
    NoPrometheus { address: String, why: String },
}

impl AlertGate {
    pub fn new(client: Client, query: String) -> Self {
        Self { client: Arc::new(client), query }
    }

    /// Asks now. Only an empty answer is none; whatever else comes, or does not come, is an alarm.
    pub(super) async fn ask(&self) -> Result<(), Alarm> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", &self.query).finish();
        let answer = self.client.get(&format!("/api/v1/query?{query}")).await.map_err(Alarm::Unknown)?;
        let no_prometheus = |why: &str| {
            let address = self.client.address().to_string();
            Err(Alarm::NoPrometheus { address, why: why.to_owned() })
        };
        let Ok(answer) = serde_json::from_slice::<Value>(&answer) else { return no_prometheus("no JSON") };
        if answer["status"] != "success" {
            return no_prometheus(answer["error"].as_str().unwrap_or("no success"));
        }
        match (answer["data"]["resultType"].as_str(), answer["data"]["result"].as_array()) {
            (Some("vector"), Some(result)) if result.is_empty() => Ok(()),
            (Some("vector"), Some(result)) => {
                let named = result.iter().take(NAMED).map(|one| named(&one["metric"])).collect();
                Err(Alarm::Firing { count: result.len(), named })
            }
            _ => no_prometheus("the query has no vector as its answer"),
        }
    }
}

/// An alert by its name, else by all its labels.
fn named(metric: &Value) -> String {
    match metric["alertname"].as_str() {
        Some(name) => name.to_owned(),
        None => metric.to_string(),
    }
}
