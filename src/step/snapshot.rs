//! A snapshot of etcd beside a backup, written away as it comes and read back from disk.

use super::StepError;
use crate::{
    backup::{self, BackupError, EtcdSnapshot, SNAPSHOT},
    cluster::{Cluster, ClusterError},
    datastore::Offer,
    door::{DoorError, Faults, FileError, RunFiles},
};

/// Why a snapshot that etcd offers is not there.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Backup(#[from] BackupError),
}

impl From<SnapshotError> for StepError {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Cluster(error) => error.into(),
            SnapshotError::File(error) => DoorError::from(error).into(),
            SnapshotError::Backup(error) => error.into(),
        }
    }
}

/// Keeps a snapshot of the etcd of Calico's own data in a directory below the files, or says why there is none.
pub async fn keep_snapshot(
    cluster: &Cluster,
    files: &RunFiles,
    below: &str,
    faults: &Faults,
) -> Result<EtcdSnapshot, SnapshotError> {
    let Some(etcd) = cluster.etcd() else {
        return Ok(EtcdSnapshot::Skipped { why: "Calico keeps no data in an etcd of its own".to_owned() });
    };
    let mut snapshot = match etcd.offer_snapshot().await.map_err(ClusterError::of_key)? {
        Offer::Begun(snapshot) => snapshot,
        Offer::Nothing { why } => return Ok(EtcdSnapshot::Skipped { why }),
    };
    let mut file = files.receive(&format!("{below}/{SNAPSHOT}"))?;
    while let Some(part) = snapshot.next().await.map_err(ClusterError::of_key)? {
        file.write(&part)?;
    }
    file.finish(faults)?;
    Ok(backup::read_snapshot(&files.path(below))?)
}
