//! The etcd of Calico's own data: where the install says that it is, and what lies in it.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Mode, ObserveError, installs, may_read, read_rights, table::ETCD_SECRETS};
use crate::{
    cluster::{Cluster, ClusterError},
    datastore::{Access, Authority, Identity, Key, ROOT, Reading},
    inventory::{Datastore, EtcdFacts, Install, Stored},
    resource::{Document, Kind, ObjectRef},
    runbook::Catalogue,
};

/// Where the manifests mount the Secret that holds the certificates of etcd.
const MOUNTED_AT: &str = "/calico-secrets";

/// Policies that controllers before v1.0.3 leave behind and nobody looks after any more: with it, what a `default-deny` selects is
/// still let through (projectcalico/calico issue 1484).
const LEFTOVERS: [&str; 1] = ["/calico/v1/policy/tier/default/policy/k8s-policy-no-match"];

/// What an account of Calico's etcd needs, where etcd has users: paths as roles of its v2 API have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdPaths {
    pub read: Vec<String>,
    pub write: Vec<String>,
}

impl EtcdPaths {
    /// A restore writes any key that differs; it is for people, so no mode has it.
    pub fn of_restore() -> Self {
        Self { write: vec![format!("{ROOT}/*")], ..Self::of(Mode::Plan) }
    }

    /// A Job is started without a look at etcd; the account of its pods looks.
    pub fn of(mode: Mode) -> Self {
        let read = || vec![ROOT.to_owned(), format!("{ROOT}/*")];
        match mode {
            Mode::AsJob => Self { read: Vec::new(), write: Vec::new() },
            Mode::Plan => Self { read: read(), write: Vec::new() },
            Mode::Run | Mode::Rollback => Self { read: read(), write: LEFTOVERS.map(str::to_owned).to_vec() },
        }
    }
}

/// Answers how to reach the etcd of the install, or `None` if the install keeps its data elsewhere.
///
/// What the operator said comes first; the rest is read from the install's ConfigMap and Secret.
pub async fn etcd_access(
    cluster: &Cluster,
    catalogue: &Catalogue,
    said: &Access,
    is_chosen: bool,
) -> Result<Option<Access>, ObserveError> {
    let installs = match installs(cluster, catalogue).await {
        // One right is missing; all that are missing are named at once.
        Err(ObserveError::Cluster(ClusterError::Forbidden { .. })) => {
            may_read(cluster, &read_rights(cluster)).await?;
            installs(cluster, catalogue).await?
        }
        other => other?,
    };
    let on_etcd = installs.iter().find(|install| install.datastore.known() == Some(&Datastore::Etcd));
    match on_etcd {
        Some(install) => Ok(Some(complete(cluster, install, said.clone()).await?)),
        None if is_chosen || !said.endpoints.is_empty() => Ok(Some(said.clone())),
        None => Ok(None),
    }
}

async fn complete(cluster: &Cluster, install: &Install, mut access: Access) -> Result<Access, ClusterError> {
    let Some(config_map) = &install.config_map else { return Ok(access) };
    let config = cluster.get(config_map).await?.map(|live| live.document.value()).unwrap_or_default();
    let text = |key: &str| config["data"][key].as_str().map(str::trim).filter(|text| !text.is_empty());
    if access.endpoints.is_empty() {
        access.endpoints = text("etcd_endpoints")
            .into_iter()
            .flat_map(|all| all.split(','))
            .map(|one| one.trim().to_owned())
            .collect();
    }
    let wants_authority = access.authority.is_none() && text("etcd_ca").is_some();
    let wants_identity = access.identity.is_none() && text("etcd_cert").is_some() && text("etcd_key").is_some();
    if !wants_authority && !wants_identity {
        return Ok(access);
    }
    let name = ObjectRef { kind: Kind::Secret, name: ETCD_SECRETS.to_owned(), ..config_map.clone() };
    let Some(secret) = cluster.get(&name).await? else { return Ok(access) };
    let secret = secret.document.value();
    let file = |key: &str| file_of(&secret, text(key)?);
    if wants_authority && let Some((from, pem)) = file("etcd_ca") {
        access.authority = Some(Authority { from, pem });
    }
    if wants_identity && let (Some((from, certificate)), Some((_, key))) = (file("etcd_cert"), file("etcd_key")) {
        access.identity = Some(Identity { from, certificate, key: key.into() });
    }
    Ok(access)
}

/// The bytes that the install reads from a file, if that file comes from its Secret and not from the host.
fn file_of(secret: &Value, path: &str) -> Option<(PathBuf, Vec<u8>)> {
    let name = Path::new(path).strip_prefix(MOUNTED_AT).ok()?.to_str()?;
    let bytes = STANDARD.decode(secret["data"][name].as_str()?).ok()?;
    Some((PathBuf::from(format!("Secret {ETCD_SECRETS}/{name}")), bytes))
}

/// What is kept of the keys while they go by.
#[derive(Default)]
struct Noted {
    ready: Option<String>,
    calico_version: Option<String>,
    leftovers: Vec<Stored>,
}

/// Looks at all keys once.
pub(super) async fn etcd_facts(cluster: &Cluster) -> Result<Option<EtcdFacts>, ClusterError> {
    let Some(etcd) = cluster.etcd() else { return Ok(None) };
    let mut noted = Noted::default();
    let reading = etcd.read_all(|key| noted.take(key)).await.map_err(ClusterError::of_key)?;
    let Reading { by_kind, undecodable, inexact, hidden, .. } = reading;
    let connection = etcd.connection().clone();
    Ok(Some(EtcdFacts {
        cluster: connection.cluster,
        version: connection.version,
        members: connection.members.into_iter().map(|member| member.name).collect(),
        alarm: etcd.alarm().await.map_err(ClusterError::of_key)?,
        endpoints: connection.endpoints,
        silent: connection.silent.into_iter().collect(),
        is_chosen: cluster.is_etcd_chosen(),
        keys: by_kind.into_iter().map(|(kind, count)| (kind.name().to_owned(), count)).collect(),
        ready: noted.ready,
        calico_version: noted.calico_version,
        undecodable: undecodable.into_iter().map(|one| (one.key, one.why)).collect(),
        inexact,
        hidden: hidden.found.into_iter().collect(),
        leftovers: noted.leftovers,
    }))
}

impl Noted {
    fn take(&mut self, key: Key) {
        match key.path.as_str() {
            "/calico/v1/Ready" => self.ready = Some(key.value),
            "/calico/v1/config/CalicoVersion" => self.calico_version = Some(key.value),
            path if LEFTOVERS.contains(&path) => self.leftovers.push(Stored {
                object: ObjectRef::cluster(Kind::EtcdKey, path),
                document: Document::new(key.to_object()),
            }),
            _ => {}
        }
    }
}
