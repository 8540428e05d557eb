//! The etcd of Calico's own data: from flags to a connection, and what to tell when there is none.

use std::path::Path;

use super::{
    arguments::{Datastore, DatastoreChoice},
    failure::{Failure, causes},
    session::Session,
};
use crate::{
    cluster::{Cluster, ClusterError},
    datastore::{Access, Authority, Credentials, Etcd, EtcdError, Identity},
    inventory::{Fact, Inventory},
    observe::{self, ObserveError},
    runbook::{self, Catalogue, Supplied},
};

impl Session {
    /// Connects to the cluster, and to the etcd of Calico's own data if it has one.
    pub async fn connect_with_data(&self) -> Result<Cluster, Failure> {
        let cluster = self.connect().await?;
        match self.etcd_access(&cluster).await? {
            Some(access) => Ok(cluster.with_etcd(Etcd::connect(&access).await?, self.is_etcd_chosen())),
            None => Ok(cluster),
        }
    }

    /// Looks at the cluster, and at the etcd of Calico's own data as far as it lets us: for those who only look.
    ///
    /// Where etcd gives no answer the inventory says why, and what Kubernetes shows is there all the same.
    pub async fn look_as_far_as_possible(
        &self,
        cluster: &Cluster,
        catalogue: &Catalogue,
        supplied: Option<&Supplied>,
    ) -> Result<Inventory, Failure> {
        let Some(access) = self.etcd_access(cluster).await? else {
            return self.look(cluster, catalogue, supplied).await;
        };
        let looked = match Etcd::connect(&access).await {
            Ok(etcd) => {
                self.observe(&cluster.clone().with_etcd(etcd, self.is_etcd_chosen()), catalogue, supplied).await
            }
            Err(error) => Err(ClusterError::Etcd(error).into()),
        };
        match looked {
            Err(ObserveError::Cluster(ClusterError::Etcd(error))) => {
                let rest = self.look(cluster, catalogue, supplied).await?;
                Ok(Inventory { etcd: Some(Fact::Unknown { why: in_one_line(error) }), ..rest })
            }
            whole => Ok(whole?),
        }
    }

    async fn etcd_access(&self, cluster: &Cluster) -> Result<Option<Access>, Failure> {
        let flags = &self.global.datastore;
        if flags.datastore == DatastoreChoice::Kubernetes {
            return Ok(None);
        }
        let said = access(flags)?;
        Ok(observe::etcd_access(cluster, &runbook::catalogue(), &said, self.is_etcd_chosen()).await?)
    }

    fn is_etcd_chosen(&self) -> bool {
        self.global.datastore.datastore == DatastoreChoice::Etcdv2
    }
}

/// The code, what is wrong, and why: the code leads to what to do.
fn in_one_line(error: EtcdError) -> String {
    let Failure { code, what, evidence, .. } = error.into();
    std::iter::once(format!("{code}: {what}")).chain(evidence).collect::<Vec<_>>().join(": ")
}

/// What the flags say; files are read here and nowhere else.
fn access(flags: &Datastore) -> Result<Access, Failure> {
    let authority = flags.etcd_ca_cert_file.as_deref().map(|path| Ok::<_, Failure>((path, read(path)?))).transpose()?;
    Ok(Access {
        endpoints: flags.etcd_endpoints.clone(),
        authority: authority.map(|(path, pem)| Authority { from: path.to_owned(), pem }),
        identity: identity(flags)?,
        credentials: credentials(flags)?,
        allow_plain_http: flags.etcd_allow_plain_http,
    })
}

fn identity(flags: &Datastore) -> Result<Option<Identity>, Failure> {
    match (&flags.etcd_cert_file, &flags.etcd_key_file) {
        (Some(certificate), Some(key)) => {
            Ok(Some(Identity { from: certificate.clone(), certificate: read(certificate)?, key: read(key)?.into() }))
        }
        (None, None) => Ok(None),
        _ => Err(Failure::usage("--etcd-cert-file and --etcd-key-file belong together")),
    }
}

fn credentials(flags: &Datastore) -> Result<Option<Credentials>, Failure> {
    match (&flags.etcd_username, &flags.etcd_password_file) {
        (Some(user), Some(path)) => {
            let text =
                String::from_utf8(read(path)?).map_err(|_| Failure::bad_file(path.display(), "it is no text"))?;
            // An editor ends the file with a line break that is no part of the password.
            Ok(Some(Credentials { user: user.clone(), password: text.trim_end_matches(['\r', '\n']).into() }))
        }
        (None, None) => Ok(None),
        _ => Err(Failure::usage("--etcd-username and --etcd-password-file belong together")),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::bad_file(path.display(), error.to_string()))
}

impl From<EtcdError> for Failure {
    fn from(error: EtcdError) -> Self {
        let (what, evidence) = (error.to_string(), causes(&error));
        let failure = |exit, code| Self::new(exit, code, what).evidence(evidence).why("nothing was changed");
        match error {
            EtcdError::NoEndpoints | EtcdError::NoEndpoint { .. } => {
                failure(64, "CU-E040").now("say where etcd is: --etcd-endpoints https://10.0.0.1:2379,…")
            }
            EtcdError::PlainHttp { .. } => {
                failure(64, "CU-E040").now("use https, or --etcd-allow-plain-http on a network that you trust")
            }
            EtcdError::Credentials { .. } | EtcdError::NoAuthority { .. } => {
                failure(65, "CU-E041").now("give the files: --etcd-ca-cert-file, --etcd-cert-file, --etcd-key-file")
            }
            EtcdError::Unreachable { .. } | EtcdError::TimedOut { .. } | EtcdError::Busy { .. } => failure(15, "CU-E042")
                .now("run it where Calico's etcd can be reached, or say where: --etcd-endpoints"),
            EtcdError::Tls { .. } => failure(15, "CU-E043").now("openssl s_client -connect HOST:2379 -showcerts"),
            EtcdError::Unauthorized { .. } | EtcdError::Forbidden { .. } => {
                failure(15, "CU-E044")
                .now("grant what `calico-upgrader install rbac --mode run --datastore etcdv2` prints, for the way back with --mode rollback; --etcd-username and --etcd-password-file")
            }
            EtcdError::ApiOff { .. } => failure(16, "CU-E045")
                .why("Calico v2 keeps its data behind that API, so this is another etcd, or it was started without --enable-v2")
                .now("look at the command line of etcd: --enable-v2 was on by itself before v3.4, and is gone since v3.6"),
            EtcdError::SeveralClusters { .. } => failure(3, "CU-E046")
                .why("a backup of one and a change of the other would pass for the same data; nothing was changed")
                .now("name the endpoints of one cluster: --etcd-endpoints"),
            EtcdError::NotFound { .. }
            | EtcdError::Exists { .. }
            | EtcdError::Moved { .. }
            | EtcdError::Directory { .. }
            | EtcdError::NoKey { .. }
            | EtcdError::Rejected { .. }
            | EtcdError::Malformed { .. }
            | EtcdError::TooLarge { .. } => failure(1, "CU-E047").now("run again with -vv and look at the log"),
        }
    }
}
