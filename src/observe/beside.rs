//! The keys of a backup beside those that are live. Both come in one order, so they go by each other and neither is held.

use std::{cmp::Ordering, collections::BTreeSet, path::Path};

use futures::{StreamExt, TryStreamExt};

use super::IN_FLIGHT;
use crate::{
    backup::{BackedKey, BackupError, KeyFile, Manifest},
    cluster::{Cluster, ClusterError},
    datastore::{EtcdError, order},
    resource::{Document, Kind, Live, ObjectRef},
};

/// The keys of a backup could not be held beside those that are live.
#[derive(Debug, thiserror::Error)]
pub enum BesideError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Backup(#[from] BackupError),
}

/// Shows each key of a backup with what is live of it. Answers the live keys that the backup does not hold.
///
/// What was shown counts only once this returns: the end of the file tells whether it is what its manifest promises.
pub async fn keys_beside(
    cluster: &Cluster,
    (directory, manifest): (&Path, &Manifest),
    show: impl FnMut(&BackedKey, Option<&Document>),
) -> Result<BTreeSet<String>, BesideError> {
    let Some(file) = KeyFile::open(directory, manifest)? else { return Ok(BTreeSet::new()) };
    let mut passing = Passing { file, next: None, newest: None, by_name: Vec::new(), left: BTreeSet::new(), show };
    passing.advance()?;
    if cluster.etcd().is_some() {
        let mut met = Ok(());
        let visited = cluster.visit_keys(|live| {
            if met.is_ok() {
                met = passing.meet(live);
            }
        });
        visited.await?;
        met?;
    }
    while let Some(backed) = passing.next.take() {
        (passing.show)(&backed, None);
        passing.advance()?;
    }
    Ok(passing.ask_by_name(cluster).await?)
}

struct Passing<'m, S> {
    file: KeyFile<'m>,
    /// The key of the backup that no live one has come up to.
    next: Option<BackedKey>,
    newest: Option<String>,
    /// Keys that no list shows, or that do not stand in their order: they are asked for one by one.
    by_name: Vec<BackedKey>,
    left: BTreeSet<String>,
    show: S,
}

impl<S: FnMut(&BackedKey, Option<&Document>)> Passing<'_, S> {
    fn advance(&mut self) -> Result<(), BackupError> {
        while let Some(backed) = self.file.read()? {
            let is_in_order = self.newest.as_ref().is_none_or(|newest| order(newest, &backed.name) == Ordering::Less);
            if is_in_order && !is_hidden(&backed.name) {
                self.newest = Some(backed.name.clone());
                self.next = Some(backed);
                return Ok(());
            }
            self.by_name.push(backed);
        }
        self.next = None;
        Ok(())
    }

    fn meet(&mut self, live: Live) -> Result<(), BackupError> {
        while let Some(backed) = self.next.take_if(|_| !is_hidden(&live.name)) {
            match order(&backed.name, &live.name) {
                Ordering::Less => (self.show)(&backed, None),
                Ordering::Equal => {
                    (self.show)(&backed, Some(&live.document));
                    return self.advance();
                }
                Ordering::Greater => {
                    self.next = Some(backed);
                    break;
                }
            }
            self.advance()?;
        }
        self.left.insert(live.name);
        Ok(())
    }

    async fn ask_by_name(mut self, cluster: &Cluster) -> Result<BTreeSet<String>, ClusterError> {
        let is_served = cluster.etcd().is_some();
        let asked = std::mem::take(&mut self.by_name).into_iter().map(|backed| async move {
            let live = if is_served { live_key(cluster, &backed.name).await? } else { None };
            Ok::<_, ClusterError>((backed, live))
        });
        let mut answers = futures::stream::iter(asked).buffered(IN_FLIGHT);
        while let Some((backed, live)) = answers.try_next().await? {
            self.left.remove(&backed.name);
            (self.show)(&backed, live.as_ref().map(|live| &live.document));
        }
        drop(answers);
        Ok(self.left)
    }
}

/// A name that is a directory now, or that lies below a key, is no key.
async fn live_key(cluster: &Cluster, name: &str) -> Result<Option<Live>, ClusterError> {
    match cluster.get(&ObjectRef::cluster(Kind::EtcdKey, name)).await {
        Err(ClusterError::Etcd(EtcdError::Directory { .. })) => Ok(None),
        other => other,
    }
}

/// etcd lists no key below an element that begins with `_`, so that it is not listed says nothing.
pub(super) fn is_hidden(key: &str) -> bool {
    key.contains("/_")
}
