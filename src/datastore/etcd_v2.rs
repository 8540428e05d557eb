use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::Method;
use serde::Deserialize;

use super::{
    Access, EtcdError, Key, ROOT,
    access::Endpoint,
    answer::{Asked, Given},
    transport::{Answer, Body, Opened, Transport},
};

/// How often all endpoints are asked for a read before it fails; the pauses between grow.
const READ_ROUNDS: u32 = 5;

/// An etcd that only answers that it cannot, as one without a quorum does after seven seconds, is not asked again after this.
const READ_LIMIT: Duration = Duration::from_secs(20);

/// A connection to one etcd cluster. Clones share it.
#[derive(Clone)]
pub struct Etcd(Arc<Inner>);

struct Inner {
    transport: Transport,
    /// The endpoints that answered when we connected.
    endpoints: Vec<Endpoint>,
    /// The endpoint that answered last; the next request goes there first.
    current: AtomicUsize,
    user: String,
    connection: Connection,
}

/// What was learned when the connection was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// It tells one etcd cluster from every other.
    pub cluster: String,
    pub version: String,
    pub members: Vec<Member>,
    pub endpoints: Vec<String>,
    /// Endpoints that did not answer, and why.
    pub silent: Vec<(String, String)>,
}

/// A member of an etcd cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    #[serde(default)]
    pub name: String,
    #[serde(default, rename = "clientURLs")]
    pub client_urls: Vec<String>,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Version {
    etcdserver: String,
}

/// What one endpoint says of its cluster.
struct Told {
    cluster: String,
    members: Vec<Member>,
}

impl Etcd {
    /// Connects to all endpoints, makes sure that they are one cluster, and that we may read Calico's keys.
    ///
    /// # Errors
    /// An endpoint that is silent is left out while another one answers; everything else that is wrong with one is an error.
    pub async fn connect(access: &Access) -> Result<Self, EtcdError> {
        let endpoints = access.endpoints()?;
        let (transport, user) = (Transport::new(access, &endpoints)?, access.who(&endpoints));
        let told = join_all(endpoints.iter().map(|endpoint| ask(&transport, endpoint))).await;
        let (mut answering, mut silent, mut first_error) = (Vec::new(), Vec::new(), None);
        for (endpoint, told) in endpoints.into_iter().zip(told) {
            match told {
                Ok(told) => answering.push((endpoint, told)),
                Err(error) if error.is_worth_a_retry() => {
                    silent.push((endpoint.url().to_owned(), error.to_string()));
                    first_error.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let cluster = one_cluster(&answering)?;
        let Some((first, told)) = answering.first() else { return Err(first_error.unwrap_or(EtcdError::NoEndpoints)) };
        let connection = Connection {
            cluster,
            version: version(&transport, first).await,
            members: told.members.clone(),
            endpoints: answering.iter().map(|(endpoint, _)| endpoint.url().to_owned()).collect(),
            silent,
        };
        let endpoints = answering.into_iter().map(|(endpoint, _)| endpoint).collect();
        let current = AtomicUsize::new(0);
        let etcd = Self(Arc::new(Inner { transport, endpoints, current, user, connection }));
        etcd.directory(ROOT, false).await?;
        Ok(etcd)
    }

    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Reads one key; `None` only if etcd says that it is not there.
    pub async fn get(&self, key: &str) -> Result<Option<Key>, EtcdError> {
        match self.read(key, "quorum=true").await {
            Ok(given) => match given.node()? {
                directory if directory.dir => Err(EtcdError::Directory { key: key.to_owned() }),
                node => Ok(Some(node.into_key())),
            },
            Err(EtcdError::NotFound { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Reads a directory, with all that is below it or with its own entries alone.
    pub(super) async fn directory(&self, key: &str, is_deep: bool) -> Result<Option<Given>, EtcdError> {
        match self.read(key, &format!("quorum=true&sorted=true&recursive={is_deep}")).await {
            Ok(found) => Ok(Some(found)),
            Err(EtcdError::NotFound { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Asks for what is no key, and returns as soon as an endpoint begins to answer.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Body>) -> Result<Opened, EtcdError> {
        let mut last = EtcdError::NoEndpoints;
        for _ in &self.0.endpoints {
            let endpoint = self.current();
            match self.0.transport.open(endpoint, method.clone(), path, body.clone()).await {
                Err(error) if error.is_worth_a_retry() => last = error,
                other => return other,
            }
            self.turn_from(endpoint);
        }
        Err(last)
    }

    fn current(&self) -> &Endpoint {
        let Inner { endpoints, current, .. } = &*self.0;
        &endpoints[current.load(Ordering::Relaxed) % endpoints.len()]
    }

    /// Turns to the next endpoint after one that gave no answer, so that nobody waits for it twice in a row.
    fn turn_from(&self, silent: &Endpoint) {
        let Inner { endpoints, current, .. } = &*self.0;
        let place = endpoints.iter().position(|one| one == silent).unwrap_or(0);
        // Others may have turned already.
        let _ = current.compare_exchange(place, (place + 1) % endpoints.len(), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Reads from whichever endpoint answers.
    async fn read(&self, key: &str, query: &str) -> Result<Given, EtcdError> {
        let path = format!("{}?{query}", path_of(key)?);
        let (started, mut pause) = (Instant::now(), Duration::from_millis(200));
        for round in 1.. {
            let mut last = EtcdError::NoEndpoints;
            for _ in &self.0.endpoints {
                match self.request(Method::GET, key, &path, None, 0).await {
                    Err(error) if error.is_worth_a_retry() => last = error,
                    other => return other,
                }
            }
            if round == READ_ROUNDS || started.elapsed() > READ_LIMIT {
                return Err(last);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the loop above ends only by returning")
    }

    /// Sends one request to one endpoint, once: a write that is repeated blindly could undo what came after it.
    pub(super) async fn request(
        &self,
        method: Method,
        key: &str,
        path: &str,
        form: Option<String>,
        expected: u64,
    ) -> Result<Given, EtcdError> {
        let endpoint = self.current();
        let answered = async {
            let answer = self.0.transport.send(endpoint, method.clone(), path, form.map(Body::Form)).await?;
            self.check_cluster(endpoint, &answer)?;
            let asked = Asked { endpoint: endpoint.url(), user: &self.0.user, method: &method, key, expected };
            asked.given(answer)
        }
        .await;
        if answered.as_ref().is_err_and(EtcdError::is_worth_a_retry) {
            self.turn_from(endpoint);
        }
        answered
    }

    /// An address may lead elsewhere later than it did at first: behind a balancer, or after a member was replaced.
    fn check_cluster(&self, endpoint: &Endpoint, answer: &Answer) -> Result<(), EtcdError> {
        let ours = &self.0.connection.cluster;
        match &answer.cluster {
            Some(theirs) if theirs != ours => Err(EtcdError::SeveralClusters {
                clusters: vec![
                    (ours.clone(), self.0.connection.endpoints.clone()),
                    (theirs.clone(), vec![endpoint.url().to_owned()]),
                ],
            }),
            _ => Ok(()),
        }
    }
}

/// Asks one endpoint which cluster it is of. No right is needed for that, and no quorum.
async fn ask(transport: &Transport, endpoint: &Endpoint) -> Result<Told, EtcdError> {
    let path = "/v2/members";
    let answer = transport.send(endpoint, Method::GET, path, None).await?;
    let malformed = |what: String| EtcdError::Malformed { path: format!("{}{path}", endpoint.url()), what };
    match answer.status {
        200 => {}
        404 => {
            let version = version(transport, endpoint).await;
            return Err(EtcdError::ApiOff { endpoint: endpoint.url().to_owned(), version });
        }
        status => return Err(malformed(format!("it has status {status}"))),
    }
    let Members { members } = serde_json::from_slice(&answer.body).map_err(|error| malformed(error.to_string()))?;
    let cluster = answer.cluster.ok_or_else(|| malformed("it names no cluster".to_owned()))?;
    Ok(Told { cluster, members })
}

/// The version of the server, for messages alone.
async fn version(transport: &Transport, endpoint: &Endpoint) -> String {
    let answer = transport.send(endpoint, Method::GET, "/version", None).await;
    let read = |answer: Answer| serde_json::from_slice::<Version>(&answer.body).ok();
    answer.ok().and_then(read).map_or("of an unknown version".to_owned(), |version| version.etcdserver)
}

fn one_cluster(answering: &[(Endpoint, Told)]) -> Result<String, EtcdError> {
    let mut clusters: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (endpoint, told) in answering {
        clusters.entry(&told.cluster).or_default().push(endpoint.url().to_owned());
    }
    if clusters.len() > 1 {
        let clusters = clusters.into_iter().map(|(id, endpoints)| (id.to_owned(), endpoints)).collect();
        return Err(EtcdError::SeveralClusters { clusters });
    }
    Ok(clusters.into_keys().next().unwrap_or_default().to_owned())
}

/// The path of a key, so written that the server reads exactly this key from it.
///
/// The server tidies paths: `/a/../b` would be `/b`, another key. Such names cannot be stored either.
pub(super) fn path_of(key: &str) -> Result<String, EtcdError> {
    match key.strip_prefix('/') {
        Some(rest) if is_key_name(key) => {
            Ok(format!("/v2/keys/{}", rest.split('/').map(escape).collect::<Vec<_>>().join("/")))
        }
        _ => Err(EtcdError::NoKey { key: key.to_owned() }),
    }
}

/// Answers whether a text names one key exactly.
pub fn is_key_name(text: &str) -> bool {
    let is_exact = |element: &str| !["", ".", ".."].contains(&element);
    text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_exact))
}

/// Writes a text so that no character of it means anything in a URL or a form.
pub fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if plain(byte) {
            escaped.push(byte as char);
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_sent_so_that_no_part_of_it_is_read_as_a_path() {
        assert_eq!(
            path_of("/calico/v1/a%2fb c/ä?x=1&#").unwrap(),
            "/v2/keys/calico/v1/a%252fb%20c/%C3%A4%3Fx%3D1%26%23"
        );
        for tidied in ["/calico/../other", "/calico//v1", "/calico/./v1", "/calico/", "calico", ""] {
            assert!(matches!(path_of(tidied), Err(EtcdError::NoKey { .. })), "{tidied}");
        }
    }
}
