//! A snapshot of etcd's v3 keys, as its gateway sends it: lines of JSON with parts of the file in base64.
//!
//! The gateway speaks JSON for the gRPC API (etcd documentation, "gRPC gateway"), so that no generated client is needed. A part
//! is 32 KiB, and one is held at a time.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Etcd, EtcdError,
    transport::{Body, Opened},
};

/// The gateway from etcd 3.4 on, in 3.3, and before (etcd documentation, "gRPC gateway").
const GATEWAYS: [&str; 3] = ["/v3", "/v3beta", "/v3alpha"];

/// No part of a snapshot is near this.
const LINE_LIMIT: usize = 8 << 20;

/// Whether etcd gives a snapshot.
pub enum Offer {
    Begun(Snapshot),
    Nothing { why: String },
}

/// A snapshot on its way.
pub struct Snapshot {
    opened: Opened,
    path: String,
    unread: Vec<u8>,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    result: Option<Part>,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    blob: String,
}

impl Etcd {
    /// Asks for a snapshot of what the v3 API holds; keys of the v2 API are in none.
    pub async fn offer_snapshot(&self) -> Result<Offer, EtcdError> {
        for gateway in GATEWAYS {
            let path = format!("{gateway}/maintenance/snapshot");
            let mut opened = self.ask(Method::POST, &path, Some(Body::Json("{}".to_owned()))).await?;
            match opened.status {
                200 => return Ok(Offer::Begun(Snapshot { opened, path, unread: Vec::new() })),
                404 => {}
                status => {
                    let text = opened.rest(&path).await?;
                    let text = String::from_utf8_lossy(&text[..text.len().min(200)]).trim().to_owned();
                    return Ok(Offer::Nothing { why: format!("etcd answered {status} to {path}: {text}") });
                }
            }
        }
        Ok(Offer::Nothing { why: "this etcd serves no v3 API over HTTP".to_owned() })
    }
}

impl Snapshot {
    /// The next part of the file, or `None` at its end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, EtcdError> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                    return self.part(&line).map(Some);
                }
                continue;
            }
            if self.unread.len() > LINE_LIMIT {
                return Err(self.malformed("a line of it has no end".to_owned()));
            }
            match self.opened.next().await? {
                Some(more) => self.unread.extend_from_slice(&more),
                None if self.unread.is_empty() => return Ok(None),
                None => return Err(self.malformed("it was cut short".to_owned())),
            }
        }
    }

    fn part(&self, line: &[u8]) -> Result<Vec<u8>, EtcdError> {
        let Line { result, error } = serde_json::from_slice(line).map_err(|error| self.malformed(error.to_string()))?;
        let part = result.ok_or_else(|| self.malformed(format!("it ends with {error}")))?;
        STANDARD.decode(part.blob).map_err(|error| self.malformed(error.to_string()))
    }

    fn malformed(&self, what: String) -> EtcdError {
        EtcdError::Malformed { path: self.path.clone(), what }
    }
}
