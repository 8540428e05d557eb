//! One HTTP request to one endpoint, and what went wrong with it.

use std::{error::Error, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderValue, Method, Request, header};
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{AlertDescription, CertificateError};
use secrecy::ExposeSecret;

use super::{
    Access, EtcdError, TlsProblem,
    access::{Credentials, Endpoint},
};

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long etcd may be silent: before its answer begins, and between two parts of it.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// An answer larger than this is given up: it would be one directory of more than a million keys.
const ANSWER_LIMIT: usize = 512 << 20;

pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, String>,
    authorization: Option<HeaderValue>,
}

/// What is sent with a request.
#[derive(Clone)]
pub(super) enum Body {
    Form(String),
    Json(String),
}

/// What an endpoint answered.
pub(super) struct Answer {
    pub status: u16,
    /// The newest index of the whole store when the answer was made.
    pub index: Option<u64>,
    pub cluster: Option<String>,
    pub body: Vec<u8>,
}

/// An answer that has begun, and of which more is to come.
pub(super) struct Opened {
    pub status: u16,
    headers: HeaderMap,
    endpoint: Endpoint,
    parts: BoxStream<'static, Result<Vec<u8>, EtcdError>>,
}

impl Transport {
    pub fn new(access: &Access, endpoints: &[Endpoint]) -> Result<Self, EtcdError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_LIMIT));
        let https = HttpsConnectorBuilder::new().with_tls_config(access.tls(endpoints)?).https_or_http().enable_http1();
        let client = Client::builder(TokioExecutor::new()).build(https.wrap_connector(http));
        Ok(Self { client, authorization: access.credentials.as_ref().map(authorization) })
    }

    /// Sends one request once, and reads the whole answer.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        method: Method,
        path: &str,
        body: Option<Body>,
    ) -> Result<Answer, EtcdError> {
        let mut opened = self.open(endpoint, method, path, body).await?;
        let body = opened.rest(path).await?;
        let text = |name: &str| text_of(&opened.headers, name);
        let index = text("x-etcd-index").and_then(|text| text.parse().ok());
        Ok(Answer { status: opened.status, index, cluster: text("x-etcd-cluster-id"), body })
    }

    /// Sends one request once, and returns as soon as the answer begins.
    pub async fn open(
        &self,
        endpoint: &Endpoint,
        method: Method,
        path: &str,
        body: Option<Body>,
    ) -> Result<Opened, EtcdError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", endpoint.url()));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let (content, text) = match body {
            Some(Body::Form(text)) => (Some("application/x-www-form-urlencoded"), text),
            Some(Body::Json(text)) => (Some("application/json"), text),
            None => (None, String::new()),
        };
        if let Some(content) = content {
            request = request.header(header::CONTENT_TYPE, content);
        }
        let malformed = |what: String| EtcdError::Malformed { path: path.to_owned(), what };
        let request = request.body(text).map_err(|error| malformed(error.to_string()))?;
        let response =
            within(endpoint, self.client.request(request)).await?.map_err(|error| failed(endpoint, error))?;
        let (parts, body) = response.into_parts();
        let of = endpoint.clone();
        let part = move |part: Result<_, _>| match part {
            Ok(part) => Ok(<[u8]>::to_vec(AsRef::as_ref(&part))),
            Err(error) => Err(failed(&of, error)),
        };
        Ok(Opened {
            status: parts.status.as_u16(),
            headers: parts.headers,
            endpoint: endpoint.clone(),
            parts: body.into_data_stream().map(part).boxed(),
        })
    }
}

impl Opened {
    /// The next part of the answer, or `None` at its end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, EtcdError> {
        within(&self.endpoint, self.parts.next()).await?.transpose()
    }

    pub async fn rest(&mut self, path: &str) -> Result<Vec<u8>, EtcdError> {
        let mut body = Vec::new();
        while let Some(part) = self.next().await? {
            body.extend_from_slice(&part);
            if body.len() > ANSWER_LIMIT {
                return Err(EtcdError::TooLarge { path: path.to_owned(), limit: ANSWER_LIMIT });
            }
        }
        Ok(body)
    }
}

fn authorization(Credentials { user, password }: &Credentials) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose_secret())));
    let mut value = HeaderValue::from_str(&text).expect("base64 is plain ASCII");
    value.set_sensitive(true);
    value
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

async fn within<T>(endpoint: &Endpoint, answer: impl Future<Output = T>) -> Result<T, EtcdError> {
    tokio::time::timeout(SILENCE_LIMIT, answer)
        .await
        .map_err(|_| EtcdError::TimedOut { endpoint: endpoint.url().to_owned(), limit: SILENCE_LIMIT })
}

fn failed(endpoint: &Endpoint, error: impl Error + Send + Sync + 'static) -> EtcdError {
    let endpoint = endpoint.url().to_owned();
    match tls_problem(&error) {
        Some(problem) => EtcdError::Tls { endpoint, problem },
        None => EtcdError::Unreachable { endpoint, source: Box::new(error) },
    }
}

/// Looks for an error of TLS in a chain of causes; an I/O error hides its own cause from `source`.
fn tls_problem(error: &(dyn Error + 'static)) -> Option<TlsProblem> {
    if let Some(found) = error.downcast_ref::<rustls::Error>() {
        return Some(TlsProblem::of(found));
    }
    let hidden = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref());
    hidden.and_then(|error| tls_problem(error)).or_else(|| error.source().and_then(tls_problem))
}

impl TlsProblem {
    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(problem) => match problem {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
                other => Self::Other(format!("its certificate is refused: {other}")),
            },
            rustls::Error::AlertReceived(
                alert @ (AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRevoked
                | AlertDescription::UnknownCA),
            ) => Self::OurCertificate(format!("{alert:?}")),
            other => Self::Other(other.to_string()),
        }
    }
}
