//! The Kubernetes API: connect, read, watch and (for the door alone) write.
//!
//! Everything that differs between API servers ends here: which group and version serves a kind, the two shapes of a
//! CustomResourceDefinition, missing Leases, missing dry run. Requests are plain paths with JSON bodies, because the typed
//! models of today do not hold what a server of 2017 serves. Reads are tried again on a busy or unreachable server;
//! writes never are: the door decides that.
//!
//! Where Calico keeps its data in an etcd of its own, the connection to it is carried here, so that a key is an object like any other.

mod access;
mod adapt;
mod clock;
mod error;
mod event;
mod job;
mod keys;
mod places;
mod read;
mod served;
mod watch;
mod write;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use serde_json::Value;

pub use access::{Granted, Right, Verb};
pub use adapt::document_of;
pub use error::ClusterError;
pub use job::{JobEnd, JobPod, JobState, PodEnd};
pub use places::{Place, Places};
pub use read::Raw;
pub use watch::{Followed, PodFeed, controller};
pub use write::{Applied, Mode, Owned, Precondition};

use crate::{datastore::Etcd, version::Version};
use served::Served;

/// How long one request may take before the server counts as unreachable.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Where the cluster is and as whom to speak to it; empty fields mean what `kubectl` would take.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub act_as: Option<String>,
}

/// A connection to one Kubernetes API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    served: Arc<Served>,
    requests: Arc<AtomicU64>,
    retries: Arc<AtomicU64>,
    /// The etcd of Calico's own data, where it has one.
    etcd: Option<Etcd>,
    is_etcd_chosen: bool,
    pub server: String,
    pub kubernetes: Version,
}

/// How long to wait between looks at something that may be there in a moment, or in minutes: soon at first, and never longer than this.
pub fn looks(longest: Duration) -> impl Iterator<Item = Duration> {
    let soon = ExponentialBuilder::default().with_min_delay(Duration::from_millis(10)).with_factor(1.5);
    soon.with_max_delay(longest).without_max_times().build()
}

impl Cluster {
    /// Connects and learns which API versions the server has.
    ///
    /// # Errors
    /// `Config` without a usable kubeconfig or context; `Unreachable` or `Refused` if the server does not answer us.
    pub async fn connect(access: &Access) -> Result<Self, ClusterError> {
        let config = configure(access).await?;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(|source| ClusterError::Config { source: Box::new(source) })?;
        let mut cluster = Self {
            client,
            served: Arc::default(),
            requests: Arc::default(),
            retries: Arc::default(),
            etcd: None,
            is_etcd_chosen: false,
            server,
            kubernetes: Version::new(0, 0, 0),
        };
        cluster.kubernetes = cluster.read_version().await?;
        cluster.served = Arc::new(Served::discover(&cluster).await?);
        Ok(cluster)
    }

    /// Counts the requests sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Counts the reads that were tried again.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    async fn read_version(&self) -> Result<Version, ClusterError> {
        let path = "/version";
        let answer = self.read(path).await?;
        let text = answer.get("gitVersion").and_then(Value::as_str).unwrap_or_default();
        text.parse().map_err(|_| ClusterError::Malformed { path: path.to_owned(), what: "gitVersion".to_owned() })
    }

    fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads one path, again and again while the server is busy or away, for about ten seconds.
    async fn read(&self, path: &str) -> Result<Value, ClusterError> {
        let text = self.read_text(path).await?;
        parse(path, &text)
    }

    async fn read_text(&self, path: &str) -> Result<String, ClusterError> {
        use backon::Retryable;
        (|| self.send_for_text(http::Method::GET, path, None))
            .retry(
                ExponentialBuilder::default()
                    .with_min_delay(Duration::from_millis(200))
                    .with_max_times(5)
                    .with_jitter(),
            )
            .when(ClusterError::is_worth_a_retry)
            .notify(|_, _| {
                self.retries.fetch_add(1, Ordering::Relaxed);
            })
            .await
    }

    async fn send(&self, method: http::Method, path: &str, body: Option<&Value>) -> Result<Value, ClusterError> {
        parse(path, &self.send_for_text(method, path, body).await?)
    }

    async fn send_for_text(
        &self,
        method: http::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<String, ClusterError> {
        self.count_request();
        let content = if method == http::Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let request = http::Request::builder()
            .method(method.clone())
            .uri(path)
            .header(http::header::CONTENT_TYPE, content)
            .body(body.map(|value| value.to_string().into_bytes()).unwrap_or_default())
            .map_err(|source| ClusterError::Path { path: path.to_owned(), source })?;
        match tokio::time::timeout(REQUEST_LIMIT, self.client.request_text(request)).await {
            Ok(answer) => answer.map_err(|source| ClusterError::of(&method, path, source)),
            Err(_) => Err(ClusterError::TimedOut { path: path.to_owned(), limit: REQUEST_LIMIT }),
        }
    }
}

fn parse(path: &str, text: &str) -> Result<Value, ClusterError> {
    serde_json::from_str(text)
        .map_err(|error| ClusterError::Malformed { path: path.to_owned(), what: format!("JSON ({error})") })
}

async fn configure(access: &Access) -> Result<Config, ClusterError> {
    let wrong = |source: kube::config::KubeconfigError| ClusterError::Config { source: Box::new(source) };
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    let mut config = match &access.kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(wrong)?;
            Config::from_custom_kubeconfig(file, &options).await.map_err(wrong)?
        }
        None if access.context.is_some() => Config::from_kubeconfig(&options).await.map_err(wrong)?,
        None => Config::infer().await.map_err(|source| ClusterError::Config { source: Box::new(source) })?,
    };
    // A repeated write could take effect twice: only our own reads are repeated.
    config.default_retry = false;
    config.auth_info.impersonate.clone_from(&access.act_as);
    Ok(config)
}
