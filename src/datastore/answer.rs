//! The JSON of the v2 API.

use std::borrow::Cow;

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

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
struct Event<N> {
    node: N,
}

/// A key or directory of which nothing but its name is read.
#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow, default)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    nodes: Vec<&'a RawValue>,
}

/// What etcd gave when it was asked for a key or a directory.
pub(super) struct Given {
    asked: String,
    body: Vec<u8>,
    /// The newest index of the whole store when the answer was made.
    pub index: u64,
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

impl Given {
    /// Reads the whole node.
    pub fn node(&self) -> Result<Node, EtcdError> {
        let Event { node } =
            serde_json::from_slice::<Event<Node>>(&self.body).map_err(|error| self.malformed(error))?;
        self.check_name(&node.key)?;
        Ok(node)
    }

    /// Reads the entries of a directory one by one; a key, or a directory without entries, is its own only entry.
    ///
    /// The largest directories have tens of thousands of entries: the text of the answer is held, and they are not.
    pub fn each(&self, mut take: impl FnMut(Node)) -> Result<(), EtcdError> {
        let listed = serde_json::from_slice::<Event<Listed<'_>>>(&self.body);
        let Event { node: Listed { key, nodes } } = listed.map_err(|error| self.malformed(error))?;
        self.check_name(&key)?;
        if nodes.is_empty() {
            take(self.node()?);
        }
        nodes.into_iter().try_for_each(|entry| {
            serde_json::from_str(entry.get()).map(&mut take).map_err(|error| self.malformed(error))
        })
    }

    /// A server that tidies paths would answer for another key than the one that was asked for.
    fn check_name(&self, found: &str) -> Result<(), EtcdError> {
        if found == self.asked { Ok(()) } else { Err(self.malformed(format!("it is for `{found}`"))) }
    }

    fn malformed(&self, what: impl ToString) -> EtcdError {
        EtcdError::Malformed { path: self.asked.clone(), what: what.to_string() }
    }
}

impl Asked<'_> {
    /// Takes what was given, or says what was refused.
    pub fn given(&self, answer: Answer) -> Result<Given, EtcdError> {
        if !(200..300).contains(&answer.status) {
            return Err(self.refused(&answer));
        }
        let lacks = || EtcdError::Malformed { path: self.key.to_owned(), what: "it has no X-Etcd-Index".to_owned() };
        Ok(Given { asked: self.key.to_owned(), index: answer.index.ok_or_else(lacks)?, body: answer.body })
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

#[cfg(test)]
impl Given {
    /// What etcd would answer for a node.
    pub fn of(asked: &str, node: &serde_json::Value) -> Self {
        let body = serde_json::json!({"action": "get", "node": node}).to_string().into_bytes();
        Self { asked: asked.to_owned(), body, index: 1 }
    }
}
