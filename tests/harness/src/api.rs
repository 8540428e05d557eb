//! A plain REST client of the API server.

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::RequestBuilder;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::WithBody;

use crate::wait::LIMIT;

const BEFORE_AGAIN: Duration = Duration::from_millis(20);
const LARGEST_ANSWER: u64 = 1 << 30;

type Answer = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

/// A client with one user's token; clones share their open connections, and any number of threads may use it.
#[derive(Clone, Debug)]
pub struct Api {
    agent: ureq::Agent,
    server: String,
    token: String,
}

/// What the API server answered instead of success; status 0 means that no answer came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("status {status}: {message}")]
pub struct ApiError {
    /// The HTTP status, or 0 if no answer came.
    pub status: u16,
    /// What the API server, or the connection, said.
    pub message: String,
}

impl ApiError {
    /// Whether the API server says that the object, or its whole kind, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status == 404
    }

    fn unanswered(error: ureq::Error) -> Self {
        ApiError { status: 0, message: error.to_string() }
    }
}

impl Api {
    pub(crate) fn new(server: &str, authority: &str, token: &str) -> Self {
        Api { agent: agent(Some(authority)), server: server.to_owned(), token: token.to_owned() }
    }

    /// The same client with the rights of another user.
    pub fn with_token(&self, token: &str) -> Self {
        Api { token: token.to_owned(), ..self.clone() }
    }

    /// Reads the object, or whatever else the path answers with.
    pub fn get(&self, path: &str) -> Result<Value, ApiError> {
        self.call(|| {
            let request = self.agent.get(self.url(path)).header("accept", "application/json");
            request.header("authorization", self.authorization()).call()
        })
    }

    /// Reads the items of a list.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, ApiError> {
        let mut list = self.get(path)?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            // Some API servers answer an empty list with null.
            _ => Ok(Vec::new()),
        }
    }

    /// Creates the object in the collection at the path.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.call(|| self.send(self.agent.post(self.url(path)), "application/json", object))
    }

    /// Puts the object in place of the one at the path.
    pub fn replace(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        self.call(|| self.send(self.agent.put(self.url(path)), "application/json", object))
    }

    /// Merges the patch into the object at the path; null removes a field.
    pub fn merge_patch(&self, path: &str, patch: &Value) -> Result<Value, ApiError> {
        self.call(|| self.send(self.agent.patch(self.url(path)), "application/merge-patch+json", patch))
    }

    /// Deletes the object, and leaves what it owns to the garbage collector.
    pub fn delete(&self, path: &str) -> Result<Value, ApiError> {
        self.delete_with(path, json!({"propagationPolicy": "Background"}))
    }

    /// Deletes a pod without waiting for its kubelet.
    pub fn delete_at_once(&self, path: &str) -> Result<Value, ApiError> {
        self.delete_with(path, json!({"gracePeriodSeconds": 0}))
    }

    /// Deletes the object, or finds that it is not there.
    pub fn delete_if_present(&self, path: &str) -> Result<(), ApiError> {
        match self.delete(path) {
            Err(error) if !error.is_not_found() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Opens a watch: one event a line, until the API server ends it.
    pub(crate) fn watch(&self, path: &str) -> Result<impl BufRead + use<>, ApiError> {
        let request = self.agent.get(self.url(path)).header("accept", "application/json");
        let mut answer = request.header("authorization", self.authorization()).call().map_err(ApiError::unanswered)?;
        match answer.status().as_u16() {
            200 => Ok(BufReader::new(answer.into_body().into_reader())),
            status => Err(ApiError { status, message: answer.body_mut().read_to_string().unwrap_or_default() }),
        }
    }

    /// Removes a pod for good, if it is still that one.
    pub(crate) fn end(&self, path: &str, uid: &str) -> Result<Value, ApiError> {
        self.delete_with(path, json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}))
    }

    fn delete_with(&self, path: &str, mut options: Value) -> Result<Value, ApiError> {
        options["kind"] = json!("DeleteOptions");
        options["apiVersion"] = json!("v1");
        // 1.8 does not understand all options in the query, so they go in the body.
        self.call(|| self.send(self.agent.delete(self.url(path)).force_send_body(), "application/json", &options))
    }

    fn send(&self, request: RequestBuilder<WithBody>, content_type: &str, body: &Value) -> Answer {
        let request = request.header("accept", "application/json").header("content-type", content_type);
        request.header("authorization", self.authorization()).send(body.to_string())
    }

    /// Sends a request, and sends it again if the API server has no time for it just now.
    fn call(&self, send: impl Fn() -> Answer) -> Result<Value, ApiError> {
        let started = Instant::now();
        loop {
            match read(send()) {
                Err(ApiError { status: 429, .. }) if started.elapsed() < LIMIT => std::thread::sleep(BEFORE_AGAIN),
                outcome => return outcome,
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    fn authorization(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

/// Makes an HTTP client that trusts only the given authority and reports statuses as answers.
pub(crate) fn agent(authority: Option<&str>) -> ureq::Agent {
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        // An environment with a proxy must not come between us and 127.0.0.1.
        .proxy(None)
        .timeout_global(Some(LIMIT))
        .max_idle_connections(64)
        .max_idle_connections_per_host(64);
    if let Some(authority) = authority {
        let authority = Certificate::from_pem(authority.as_bytes()).expect("the certificate was made by this crate");
        let trusted = RootCerts::new_with_certs(&[authority]);
        config = config.tls_config(TlsConfig::builder().root_certs(trusted).build());
    }
    config.build().into()
}

fn read(answer: Answer) -> Result<Value, ApiError> {
    let mut response = answer.map_err(ApiError::unanswered)?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec().map_err(ApiError::unanswered)?;
    let value = serde_json::from_slice(&body);
    match value {
        Ok(value) if status < 400 => Ok(value),
        Err(_) if status < 400 => Ok(Value::String(String::from_utf8_lossy(&body).into_owned())),
        Ok(value) => Err(ApiError { status, message: message_of(&value) }),
        Err(_) => Err(ApiError { status, message: String::from_utf8_lossy(&body).into_owned() }),
    }
}

fn message_of(status: &Value) -> String {
    status["message"].as_str().map_or_else(|| status.to_string(), str::to_owned)
}
