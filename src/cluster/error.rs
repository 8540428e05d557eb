use std::time::Duration;

use crate::datastore::EtcdError;

/// How etcd refuses a write once it is full (etcd source, `rpctypes.ErrNoSpace`).
const STORE_IS_FULL: &str = "database space exceeded";

/// What the Kubernetes API, or the way to it, refused.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("no usable kubeconfig, context or in-cluster account")]
    Config { source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the API server does not answer at `{path}`")]
    Unreachable { path: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the API server did not answer within {limit:?} at `{path}`")]
    TimedOut { path: String, limit: Duration },
    #[error("the API server does not know who we are ({message})")]
    Unauthorized { message: String },
    #[error("we may not {method} `{path}`: {message}")]
    Forbidden { method: String, path: String, message: String },
    #[error("`{path}` is not there")]
    NotFound { path: String },
    #[error("`{path}` changed under us: {message}")]
    Conflict { path: String, message: String },
    #[error("`{path}` is there already")]
    AlreadyExists { path: String },
    #[error("`{path}`: the list went stale while it was read")]
    Stale { path: String },
    #[error("the API server is busy at `{path}`: {code} {message}")]
    Busy { path: String, code: u16, message: String },
    #[error("the store of the API server is full and takes no writes: `{path}`: {message}")]
    StoreFull { path: String, message: String },
    #[error("the API server refused `{path}`: {code} {message}")]
    Rejected { path: String, code: u16, message: String },
    #[error("this API server does not serve {kind}")]
    NotServed { kind: crate::resource::Kind },
    #[error("the answer at `{path}` has no {what}")]
    Malformed { path: String, what: String },
    #[error(transparent)]
    Etcd(EtcdError),
    #[error("a key of etcd has no fields to change: `{key}`")]
    NoFields { key: String },
    #[error("`{path}` is no path of an API")]
    Path { path: String, source: http::Error },
}

impl ClusterError {
    pub(super) fn of(method: &http::Method, path: &str, source: kube::Error) -> Self {
        let path = path.to_owned();
        match source {
            kube::Error::Api(status) => {
                Self::of_status(method, path, status.code, &status.reason, status.message.clone())
            }
            other => Self::Unreachable { path, source: Box::new(other) },
        }
    }

    pub(super) fn of_status(method: &http::Method, path: String, code: u16, reason: &str, message: String) -> Self {
        // API servers pass on what etcd says, with one code or another.
        if message.contains(STORE_IS_FULL) {
            return Self::StoreFull { path, message };
        }
        match code {
            401 => Self::Unauthorized { message },
            403 => Self::Forbidden { method: method.as_str().to_ascii_lowercase(), path, message },
            404 => Self::NotFound { path },
            409 if reason == "AlreadyExists" => Self::AlreadyExists { path },
            409 => Self::Conflict { path, message },
            410 => Self::Stale { path },
            429 | 500 | 502..=504 => Self::Busy { path, code, message },
            _ => Self::Rejected { path, code, message },
        }
    }

    /// Answers whether the same read may succeed in a moment.
    pub fn is_worth_a_retry(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Busy { .. })
    }

    /// Answers whether a write that ended so may have taken effect.
    pub fn leaves_the_outcome_open(&self) -> bool {
        match self {
            Self::Etcd(error) => error.leaves_the_outcome_open(),
            other => matches!(
                other,
                Self::Unreachable { .. }
                    | Self::TimedOut { .. }
                    | Self::Busy { .. }
                    | Self::Malformed { .. }
                    // The write that fills etcd is made, and refused all the same (etcd source, `quotaApplierV3`).
                    | Self::StoreFull { .. }
            ),
        }
    }

    /// Answers whether the server, or our right to speak to it, is missing.
    pub fn is_about_access(&self) -> bool {
        match self {
            Self::Etcd(error) => error.is_about_access(),
            other => matches!(
                other,
                Self::Config { .. }
                    | Self::Unreachable { .. }
                    | Self::TimedOut { .. }
                    | Self::Unauthorized { .. }
                    | Self::Forbidden { .. }
            ),
        }
    }
}
