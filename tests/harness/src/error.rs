use std::path::PathBuf;

use crate::ApiError;
use crate::wait::LIMIT;

/// What the harness could not do, and on what.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// A file, a folder or a process could not be used.
    #[error("could not {action}")]
    Io {
        action: String,
        #[source]
        source: std::io::Error,
    },
    /// The programs of the control plane are not there.
    #[error("the servers of the control plane could not be built; `tests/control-plane/build.sh` said: {output}")]
    Build { output: String },
    /// A key or certificate could not be made.
    #[error("could not make the certificates")]
    Certificate(#[from] rcgen::Error),
    /// The process that runs the servers is gone, and the servers with it.
    #[error("the supervisor of the servers is gone")]
    SupervisorGone,
    /// Somebody listens on each port that the harness may take.
    #[error("no port of 127.0.0.1 is free among the {count} from {first} on")]
    NoFreePort { first: u32, count: u32 },
    /// A server crashed.
    #[error("`{server}` ended by itself; the end of its log: {log}")]
    ServerEnded { server: &'static str, log: String },
    /// A condition did not come true in time.
    #[error("{what} did not come true within {LIMIT:?}; last seen: {last_seen}")]
    TimedOut { what: String, last_seen: String },
    /// A request of the harness was refused.
    #[error("could not {action}")]
    Api {
        action: String,
        #[source]
        source: ApiError,
    },
    /// A request to the store was refused.
    #[error("etcd refused `{path}`: {message}")]
    Etcd { path: &'static str, message: String },
    /// A file with objects is not valid YAML.
    #[error("the fixture `{}` cannot be read: {message}", path.display())]
    Fixture { path: PathBuf, message: String },
    /// An object is of a kind that the API server does not know.
    #[error("the API server serves no `{kind}` of `{api_version}`")]
    NotServed { api_version: String, kind: String },
}

/// What the harness returns.
pub type Result<T, E = HarnessError> = std::result::Result<T, E>;

/// Names what was tried on an error that does not know it.
pub(crate) trait Trying<T> {
    fn trying(self, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Trying<T> for std::io::Result<T> {
    fn trying(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| HarnessError::Io { action: action(), source })
    }
}

impl<T> Trying<T> for std::result::Result<T, ApiError> {
    fn trying(self, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| HarnessError::Api { action: action(), source })
    }
}
