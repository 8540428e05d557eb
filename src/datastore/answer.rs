//! The JSON of the v2 API.

use http::Method;
use serde::Deserialize;

use super::{EtcdError, Key, transport::Answer};

/// A key or directory as the v2 API writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Node {
    /// Only the root directory has none.
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    pub dir: bool,
    #[serde(default)]
    pub nodes: Vec<Node>,
    #[serde(default)]
    modified_index: u64,
    #[serde(default)]
    created_index: u64,
    #[serde(default)]
    ttl: Option<i64>,
    #[serde(default)]
    expiration: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    node: Node,
}

/// An error of the v2 API; errors of its users have a message alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    #[serde(default)]
    error_code: Option<u32>,
    #[serde(default)]
    message: String,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    index: u64,
}

/// What was asked for, so that a refusal can be told in its words.
pub(super) struct Asked<'a> {
    pub endpoint: &'a str,
    pub user: &'a str,
    pub method: &'a Method,
    pub key: &'a str,
    /// The index at which the key must be.
    pub expected: u64,
}

impl Node {
    pub fn into_key(self) -> Key {
        Key {
            path: self.key,
            value: self.value.unwrap_or_default(),
            created: self.created_index,
            modified: self.modified_index,
            ttl: self.ttl,
            expiration: self.expiration,
        }
    }
}

impl Asked<'_> {
    /// Reads the node of an answer, or says what was refused.
    pub fn node(&self, answer: &Answer) -> Result<Node, EtcdError> {
        if !(200..300).contains(&answer.status) {
            return Err(self.refused(answer));
        }
        let malformed = |what: String| EtcdError::Malformed { path: self.key.to_owned(), what };
        let event: Event = serde_json::from_slice(&answer.body).map_err(|error| malformed(error.to_string()))?;
        // A server that tidies paths would answer for another key than the one that was asked for.
        if event.node.key != self.key {
            return Err(malformed(format!("it is for `{}`", event.node.key)));
        }
        Ok(event.node)
    }

    fn refused(&self, answer: &Answer) -> EtcdError {
        let endpoint = || self.endpoint.to_owned();
        let key = || self.key.to_owned();
        let refusal = serde_json::from_slice::<Refusal>(&answer.body).ok();
        // The codes stand in etcd's documentation, v2 "errorcode".
        match (answer.status, refusal) {
            (404, None | Some(Refusal { error_code: None, .. })) => {
                EtcdError::ApiOff { endpoint: endpoint(), version: "of an unknown version".to_owned() }
            }
            (401, _) if self.method == Method::GET => {
                EtcdError::Unauthorized { endpoint: endpoint(), user: self.user.to_owned(), key: key() }
            }
            (401, _) => EtcdError::Forbidden {
                user: self.user.to_owned(),
                method: self.method.as_str().to_ascii_lowercase(),
                key: key(),
            },
            (_, Some(Refusal { error_code: Some(100), .. })) => EtcdError::NotFound { key: key() },
            (_, Some(Refusal { error_code: Some(101), cause, .. })) => {
                EtcdError::Moved { key: key(), expected: self.expected, found: found_index(&cause) }
            }
            (_, Some(Refusal { error_code: Some(102 | 104), .. })) => EtcdError::Directory { key: key() },
            (_, Some(Refusal { error_code: Some(105), index, .. })) => EtcdError::Exists { key: key(), index },
            (_, Some(Refusal { error_code: Some(300 | 301), message, cause, .. })) => {
                EtcdError::Busy { endpoint: endpoint(), message: format!("{message} {cause}").trim_end().to_owned() }
            }
            (429 | 500..=599, refusal) => EtcdError::Busy { endpoint: endpoint(), message: message(answer, refusal) },
            (status, refusal) => {
                EtcdError::Rejected { endpoint: endpoint(), path: key(), status, message: message(answer, refusal) }
            }
        }
    }
}

/// The cause of a failed comparison is written as `[expected != found]`.
fn found_index(cause: &str) -> String {
    cause.rsplit("!= ").next().unwrap_or(cause).trim_end_matches(']').to_owned()
}

fn message(answer: &Answer, refusal: Option<Refusal>) -> String {
    let plain = || String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).trim().to_owned();
    refusal.map_or_else(plain, |refusal| format!("{} {}", refusal.message, refusal.cause).trim_end().to_owned())
}
