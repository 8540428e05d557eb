//! One request to an address that the operator gave. What stands behind the host may be a secret and is never shown.

use std::{fmt, net::IpAddr, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client as Legacy, rt::TokioExecutor};
use secrecy::{ExposeSecret, SecretString};

/// How long one request may take as a whole.
const LIMIT: Duration = Duration::from_secs(10);

/// A larger answer is given up.
const ANSWER_LIMIT: usize = 4 << 20;

/// What is sent, and of which kind it is.
struct Message {
    content_type: HeaderValue,
    bytes: Vec<u8>,
}

impl Message {
    fn json(text: String) -> Self {
        Self { content_type: HeaderValue::from_static("application/json"), bytes: text.into_bytes() }
    }
}

/// An address, of which only scheme and host are shown.
#[derive(Clone)]
pub struct Address {
    whole: SecretString,
    shown: String,
    is_plain_to_others: bool,
}

/// An address that cannot be used, or that did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error("it is no address like https://host:port/path, without a user or password in it")]
    Address,
    #[error("no certificate authority of this machine can be read ({why})")]
    Authorities { why: String },
    #[error("{address} does not answer ({why})")]
    Unreachable { address: String, why: String },
    #[error("{address} answers {status}")]
    Refused { address: String, status: u16 },
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// It is not http or https, has no host, or holds a password, which would be shown by others.
    pub fn read(text: &str) -> Result<Self, WebError> {
        let uri: Uri = text.trim().parse().map_err(|_| WebError::Address)?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme)).ok_or(WebError::Address)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or(WebError::Address)?;
        let shown = format!("{scheme}://{authority}");
        let is_plain_to_others = scheme == "http" && !is_loopback(authority.host());
        Ok(Self { whole: text.trim().to_owned().into(), shown, is_plain_to_others })
    }

    /// Answers whether what is sent there leaves this machine in the clear.
    pub fn is_plain_to_others(&self) -> bool {
        self.is_plain_to_others
    }

    /// The address with more behind it.
    pub fn below(&self, path: &str) -> Self {
        let whole = format!("{}{path}", self.whole.expose_secret().trim_end_matches('/'));
        Self { whole: whole.into(), ..self.clone() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({})", self.shown)
    }
}

/// Asks one address.
#[derive(Clone, Debug)]
pub struct Client {
    address: Address,
    token: Option<SecretString>,
    headers: HeaderMap,
}

impl Client {
    pub fn new(address: Address, token: Option<SecretString>) -> Self {
        Self { address, token, headers: HeaderMap::new() }
    }

    /// With headers of the operator's; those that are secret are marked as such.
    pub fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// The address as it may be shown.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Reads what is below the address.
    pub async fn get(&self, path: &str) -> Result<Vec<u8>, WebError> {
        self.send(Method::GET, &self.address.below(path), Message::json(String::new())).await
    }

    /// Sends a document to the address.
    pub async fn post(&self, document: &serde_json::Value) -> Result<Vec<u8>, WebError> {
        self.send(Method::POST, &self.address, Message::json(document.to_string())).await
    }

    /// Sends a message of protobuf to the address.
    pub async fn post_protobuf(&self, bytes: Vec<u8>) -> Result<Vec<u8>, WebError> {
        let content_type = HeaderValue::from_static("application/x-protobuf");
        self.send(Method::POST, &self.address, Message { content_type, bytes }).await
    }

    async fn send(&self, method: Method, address: &Address, message: Message) -> Result<Vec<u8>, WebError> {
        let unreachable = |why: String| WebError::Unreachable { address: address.to_string(), why };
        match tokio::time::timeout(LIMIT, self.exchange(method, address, message)).await {
            Ok(answered) => answered,
            Err(_) => Err(unreachable(format!("not within {}s", LIMIT.as_secs()))),
        }
    }

    async fn exchange(&self, method: Method, address: &Address, message: Message) -> Result<Vec<u8>, WebError> {
        // Errors of the library may name the address; only their causes are shown.
        let unreachable = |error: &dyn std::error::Error| WebError::Unreachable {
            address: address.to_string(),
            why: innermost(error),
        };
        let mut request = Request::builder().method(method).uri(address.whole.expose_secret());
        request = request.header(header::CONTENT_TYPE, message.content_type);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(token) = &self.token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
            let mut value = value.map_err(|_| WebError::Address)?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Full::from(message.bytes)).map_err(|_| WebError::Address)?;
        let answer = connector(address)?.request(request).await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| unreachable(error.as_ref()))?;
        if status.is_success() {
            return Ok(body.to_bytes().to_vec());
        }
        Err(WebError::Refused { address: address.to_string(), status: status.as_u16() })
    }
}

type Https = hyper_rustls::HttpsConnector<hyper_util::client::legacy::connect::HttpConnector>;

/// A machine without certificate authorities can still speak plain HTTP, so they are looked for only where they are needed.
fn connector(address: &Address) -> Result<Legacy<Https, Full<Bytes>>, WebError> {
    let builder = HttpsConnectorBuilder::new();
    let builder = match address.shown.starts_with("https:") {
        true => builder.with_native_roots().map_err(|error| WebError::Authorities { why: error.to_string() })?,
        false => {
            let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("ring speaks every version of TLS that rustls does")
                .with_root_certificates(rustls::RootCertStore::empty());
            builder.with_tls_config(config.with_no_client_auth())
        }
    };
    Ok(Legacy::builder(TokioExecutor::new()).build(builder.https_or_http().enable_http1().build()))
}

/// Answers whether a host is this machine.
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_host_is_never_shown() {
        let address = Address::read("https://hooks.example:8443/services/T0/B0/secret?key=secret\n").unwrap();
        assert_eq!(address.below("/more").to_string(), "https://hooks.example:8443");
        assert_eq!(format!("{:?}", Client::new(address, Some("secret".into()))).matches("secret").count(), 0);
    }

    #[test]
    fn addresses_that_would_show_a_password_or_lead_nowhere_are_refused() {
        for text in ["", "hooks.example/path", "ftp://host/", "https://user:word@host/", "file:///etc/passwd"] {
            assert!(Address::read(text).is_err(), "{text}");
        }
    }
}
