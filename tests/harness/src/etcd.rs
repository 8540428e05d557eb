//! The keys of the cluster in etcd, through its v3 JSON gateway.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::api;
use crate::error::{HarnessError, Result};

const FIRST: &str = "/registry/";
// The first key behind all that begin with `/registry/`.
const END: &str = "/registry0";
const PAGE: usize = 2000;
/// What fills a store: one key, written again and again.
const JUNK: &[u8] = b"/junk";
const JUNK_SIZE: usize = 16 << 20;
const JUNK_LIMIT: usize = 64;

/// Keys and the revision of the store at which each was last written.
pub type Revisions = BTreeMap<String, u64>;

/// Keys and their values.
pub type Values = BTreeMap<String, Vec<u8>>;

pub struct Etcd {
    agent: ureq::Agent,
    endpoint: String,
}

/// What one key becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write<'a> {
    Put { key: &'a str, value: &'a [u8] },
    Delete { key: &'a str },
}

impl Etcd {
    pub fn new(endpoint: String) -> Self {
        Etcd { agent: api::agent(None), endpoint }
    }

    /// Reads everything that Kubernetes keeps, at one revision.
    pub fn read_all(&self) -> Result<(Values, Revisions)> {
        let (mut values, mut revisions) = (Values::new(), Revisions::new());
        self.read_pages(false, |key, pair| {
            revisions.insert(key.clone(), number(&pair["mod_revision"]));
            values.insert(key, decoded(&pair["value"])?);
            Ok(())
        })?;
        Ok((values, revisions))
    }

    /// The revision of the whole store, which grows with each write.
    pub fn revision(&self) -> Result<u64> {
        let answer = self.post("/v3/kv/range", &json!({"key": encoded(FIRST.as_bytes()), "count_only": true}))?;
        Ok(number(&answer["header"]["revision"]))
    }

    /// Reads when each key was last written, at one revision.
    pub fn read_revisions(&self) -> Result<Revisions> {
        let mut revisions = Revisions::new();
        self.read_pages(true, |key, pair| {
            revisions.insert(key, number(&pair["mod_revision"]));
            Ok(())
        })?;
        Ok(revisions)
    }

    fn read_pages(&self, keys_only: bool, mut take: impl FnMut(String, &Value) -> Result<()>) -> Result<()> {
        let (mut from, mut revision) = (FIRST.to_owned(), 0);
        loop {
            let request = json!({
                "key": encoded(from.as_bytes()), "range_end": encoded(END.as_bytes()),
                "limit": PAGE, "revision": revision, "keys_only": keys_only,
            });
            let page = self.post("/v3/kv/range", &request)?;
            revision = number(&page["header"]["revision"]);
            for pair in page["kvs"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let key = String::from_utf8_lossy(&decoded(&pair["key"])?).into_owned();
                from = format!("{key}\0");
                take(key, pair)?;
            }
            if page["more"] != true {
                return Ok(());
            }
        }
    }

    /// Makes all writes in one transaction, so that a reader sees none of them or all; returns its revision.
    pub fn write_at_once(&self, writes: &[Write<'_>]) -> Result<u64> {
        let operations: Vec<Value> = writes.iter().map(operation).collect();
        let answer = self.post("/v3/kv/txn", &json!({"compare": [], "success": operations}))?;
        if answer["succeeded"] == true {
            return Ok(number(&answer["header"]["revision"]));
        }
        Err(HarnessError::Etcd { path: "/v3/kv/txn", message: answer.to_string() })
    }

    /// Fills the store until it refuses every write, as that of a cluster that grew too large does.
    pub fn fill(&self) -> Result<()> {
        let put = json!({"key": encoded(JUNK), "value": encoded(&vec![0; JUNK_SIZE])});
        for _ in 0..JUNK_LIMIT {
            match self.post("/v3/kv/put", &put) {
                Ok(_) => {}
                Err(HarnessError::Etcd { message, .. }) if message.contains("database space exceeded") => return Ok(()),
                Err(other) => return Err(other),
            }
        }
        Err(HarnessError::Etcd { path: "/v3/kv/put", message: "the store takes more and more".to_owned() })
    }

    /// Does what an administrator does with a full store: removes what is not needed, compacts, defragments, disarms.
    pub fn make_room(&self) -> Result<()> {
        self.post("/v3/kv/deleterange", &json!({"key": encoded(JUNK)}))?;
        self.post("/v3/kv/compaction", &json!({"revision": self.revision()?, "physical": true}))?;
        self.post("/v3/maintenance/defragment", &json!({}))?;
        let raised = self.post("/v3/maintenance/alarm", &json!({"action": "GET"}))?;
        for alarm in raised["alarms"].as_array().into_iter().flatten() {
            let disarm = json!({"action": "DEACTIVATE", "memberID": alarm["memberID"], "alarm": alarm["alarm"]});
            self.post("/v3/maintenance/alarm", &disarm)?;
        }
        Ok(())
    }

    fn post(&self, path: &'static str, body: &Value) -> Result<Value> {
        let refused = |error: ureq::Error| HarnessError::Etcd { path, message: error.to_string() };
        let mut response = self.agent.post(format!("{}{path}", self.endpoint)).send_json(body).map_err(refused)?;
        let status = response.status();
        let answer: Value = response.body_mut().with_config().limit(1 << 30).read_json().map_err(refused)?;
        if status.is_success() {
            return Ok(answer);
        }
        Err(HarnessError::Etcd { path, message: answer.to_string() })
    }
}

fn operation(write: &Write<'_>) -> Value {
    match write {
        Write::Put { key, value } => {
            json!({"requestPut": {"key": encoded(key.as_bytes()), "value": encoded(value)}})
        }
        Write::Delete { key } => json!({"requestDeleteRange": {"key": encoded(key.as_bytes())}}),
    }
}

/// The gateway writes 64-bit numbers as text.
fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn encoded(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn decoded(value: &Value) -> Result<Vec<u8>> {
    BASE64_STANDARD
        .decode(value.as_str().unwrap_or_default())
        .map_err(|error| HarnessError::Etcd { path: "/v3/kv/range", message: error.to_string() })
}
