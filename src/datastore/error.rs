use std::{error::Error, fmt, path::PathBuf, time::Duration};

/// What etcd, or the way to it, refused.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    #[error("no endpoint of etcd is known")]
    NoEndpoints,
    #[error("`{endpoint}` is no endpoint of etcd: {why}")]
    NoEndpoint { endpoint: String, why: &'static str },
    #[error("`{endpoint}` is plain http, so anybody on the way can read and change what is sent")]
    PlainHttp { endpoint: String },
    #[error("`{}` cannot be used for etcd: {what}", path.display())]
    Credentials { path: PathBuf, what: String },
    #[error("`{endpoint}` is https, and no certificate authority of etcd is known to verify it with")]
    NoAuthority { endpoint: String },
    #[error("etcd does not answer at `{endpoint}`")]
    Unreachable { endpoint: String, source: Box<dyn Error + Send + Sync> },
    #[error("etcd did not answer within {limit:?} at `{endpoint}`")]
    TimedOut { endpoint: String, limit: Duration },
    #[error("no secure connection to etcd at `{endpoint}`: {problem}")]
    Tls { endpoint: String, problem: TlsProblem },
    #[error(
        "etcd at `{endpoint}` does not let {user} read `{key}`: a wrong name or password, or a role without that right"
    )]
    Unauthorized { endpoint: String, user: String, key: String },
    #[error("etcd lets {user} read, but not {method} `{key}`")]
    Forbidden { user: String, method: String, key: String },
    #[error("etcd {version} at `{endpoint}` does not serve its v2 API")]
    ApiOff { endpoint: String, version: String },
    #[error("the endpoints belong to {} etcd clusters: {}", clusters.len(), clusters.iter().map(by_cluster).collect::<Vec<_>>().join("; "))]
    SeveralClusters {
        /// The id of each cluster, and the endpoints that lead to it.
        clusters: Vec<(String, Vec<String>)>,
    },
    #[error("key `{key}` is not there")]
    NotFound { key: String },
    #[error("key `{key}` is there already, written at index {index}")]
    Exists { key: String, index: u64 },
    #[error("key `{key}` was written by someone else: expected at index {expected}, found at {found}")]
    Moved { key: String, expected: u64, found: String },
    #[error("`{key}` is a directory, not a key")]
    Directory { key: String },
    #[error("`{key}` is no key that can be named exactly")]
    NoKey { key: String },
    #[error("etcd has no leader or is busy at `{endpoint}`: {message}")]
    Busy { endpoint: String, message: String },
    #[error("etcd at `{endpoint}` refused `{path}`: {status} {message}")]
    Rejected { endpoint: String, path: String, status: u16, message: String },
    #[error("the answer of etcd to `{path}` is no answer of its v2 API: {what}")]
    Malformed { path: String, what: String },
    #[error("the answer of etcd to `{path}` is larger than {limit} bytes")]
    TooLarge { path: String, limit: usize },
}

/// Why a TLS connection was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsProblem {
    /// The server's certificate is of another authority.
    UnknownAuthority,
    Expired,
    NotYetValid,
    /// The server's certificate is for other names.
    OtherName,
    /// The server does not take our certificate, or misses one.
    OurCertificate(String),
    Other(String),
}

fn by_cluster((id, endpoints): &(String, Vec<String>)) -> String {
    format!("{id} at {}", endpoints.join(", "))
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsProblem::UnknownAuthority => {
                formatter.write_str("its certificate is not of the authority that was given")
            }
            TlsProblem::Expired => formatter.write_str("its certificate is no longer valid"),
            TlsProblem::NotYetValid => formatter.write_str("its certificate is not valid yet"),
            TlsProblem::OtherName => formatter.write_str("its certificate is for other names"),
            TlsProblem::OurCertificate(what) => write!(formatter, "it does not take our certificate ({what})"),
            TlsProblem::Other(what) => formatter.write_str(what),
        }
    }
}

impl EtcdError {
    /// Answers whether another endpoint, or the same in a moment, may do better.
    pub fn is_worth_a_retry(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Busy { .. })
    }

    /// Answers whether a write that ended so may have taken effect.
    pub fn leaves_the_outcome_open(&self) -> bool {
        self.is_worth_a_retry() || matches!(self, Self::Malformed { .. } | Self::TooLarge { .. })
    }

    /// Answers whether etcd, or our right to speak to it, is missing.
    pub fn is_about_access(&self) -> bool {
        match self {
            Self::NoEndpoints
            | Self::NoEndpoint { .. }
            | Self::PlainHttp { .. }
            | Self::Credentials { .. }
            | Self::NoAuthority { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Tls { .. }
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::ApiOff { .. }
            | Self::SeveralClusters { .. }
            | Self::Busy { .. } => true,
            Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Moved { .. }
            | Self::Directory { .. }
            | Self::NoKey { .. }
            | Self::Rejected { .. }
            | Self::Malformed { .. }
            | Self::TooLarge { .. } => false,
        }
    }
}
