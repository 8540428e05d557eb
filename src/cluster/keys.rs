//! Keys of Calico's own etcd in the words of this room: name is the path, uid and resourceVersion are the indexes.

use super::{Cluster, ClusterError, Mode, Precondition, Raw, read::malformed};
use crate::{
    datastore::{Etcd, EtcdError, Key},
    resource::{Document, Kind, Live},
};

impl Cluster {
    /// Carries the connection to the etcd of Calico's own data, and whether the operator said that it is the one.
    pub fn with_etcd(mut self, etcd: Etcd, is_chosen: bool) -> Self {
        (self.etcd, self.is_etcd_chosen) = (Some(etcd), is_chosen);
        self
    }

    pub fn etcd(&self) -> Option<&Etcd> {
        self.etcd.as_ref()
    }

    pub fn is_etcd_chosen(&self) -> bool {
        self.is_etcd_chosen
    }

    /// Where no etcd is known, no key is absent either.
    fn keys(&self) -> Result<&Etcd, ClusterError> {
        self.etcd.as_ref().ok_or(ClusterError::NotServed { kind: Kind::EtcdKey })
    }

    pub(super) async fn get_key(&self, key: &str) -> Result<Option<Key>, ClusterError> {
        self.keys()?.get(key).await.map_err(ClusterError::of_key)
    }

    /// Reads all keys once.
    pub(super) async fn collect_keys<T>(
        &self,
        read: impl Fn(Raw) -> Result<T, ClusterError>,
    ) -> Result<(Vec<T>, String), ClusterError> {
        let (mut found, mut wrong) = (Vec::new(), None);
        let take = |key: Key| match read(key.to_object()) {
            Ok(one) => found.push(one),
            Err(error) => {
                wrong.get_or_insert(error);
            }
        };
        let reading = self.keys()?.read_all(take).await.map_err(ClusterError::of_key)?;
        wrong.map_or(Ok((found, reading.index.to_string())), Err)
    }

    /// Visits all keys once, those that no list shows last: none of them is kept.
    pub async fn visit_keys(&self, mut visit: impl FnMut(Live)) -> Result<(), ClusterError> {
        let mut wrong = None;
        let take = |key: Key| match live_key(&key) {
            Ok(live) => visit(live),
            Err(error) => {
                wrong.get_or_insert(error);
            }
        };
        self.keys()?.read_all(take).await.map_err(ClusterError::of_key)?;
        wrong.map_or(Ok(()), Err)
    }

    pub(super) async fn store_key(
        &self,
        key: &str,
        document: &Document,
        precondition: &Precondition,
        mode: Mode,
    ) -> Result<Live, ClusterError> {
        let value = document.value();
        let value = value["value"].as_str().ok_or_else(|| malformed(key, "value"))?;
        let etcd = self.keys()?;
        let stored = match (mode, precondition) {
            (Mode::Tried, Precondition::Absent) => self.try_create(key, value).await?,
            (Mode::Tried, Precondition::Unchanged { resource_version, .. }) => {
                let found = self.try_unchanged(key, index(key, resource_version)?).await?;
                Key { value: value.to_owned(), ..found }
            }
            (Mode::Real, Precondition::Absent) => etcd.create_key(key, value).await.map_err(ClusterError::of_key)?,
            (Mode::Real, Precondition::Unchanged { resource_version, .. }) => {
                let index = index(key, resource_version)?;
                etcd.replace_key(key, value, index).await.map_err(ClusterError::of_key)?
            }
        };
        live_key(&stored)
    }

    pub(super) async fn delete_key(&self, key: &str, resource_version: &str, mode: Mode) -> Result<(), ClusterError> {
        let index = index(key, resource_version)?;
        match mode {
            Mode::Tried => self.try_unchanged(key, index).await.map(drop),
            Mode::Real => self.keys()?.remove_key(key, index).await.map_err(ClusterError::of_key),
        }
    }

    /// etcd cannot try a write, so what must hold is looked at and nothing is sent.
    async fn try_create(&self, key: &str, value: &str) -> Result<Key, ClusterError> {
        match self.get_key(key).await? {
            Some(_) => Err(ClusterError::AlreadyExists { path: key.to_owned() }),
            None => {
                let (path, value) = (key.to_owned(), value.to_owned());
                Ok(Key { path, value, created: 0, modified: 0, ttl: None, expiration: None })
            }
        }
    }

    async fn try_unchanged(&self, key: &str, index: u64) -> Result<Key, ClusterError> {
        match self.get_key(key).await? {
            None => Err(ClusterError::NotFound { path: key.to_owned() }),
            Some(found) if found.modified != index => {
                let found = found.modified.to_string();
                Err(ClusterError::of_key(EtcdError::Moved { key: key.to_owned(), expected: index, found }))
            }
            Some(found) => Ok(found),
        }
    }
}

pub(super) fn live_key(key: &Key) -> Result<Live, ClusterError> {
    Live::read(key.to_object()).map_err(|what| malformed(&key.path, what))
}

fn index(key: &str, resource_version: &str) -> Result<u64, ClusterError> {
    resource_version.parse().map_err(|_| malformed(key, "index"))
}

impl ClusterError {
    /// Races of keys are races like any other.
    pub(crate) fn of_key(error: EtcdError) -> Self {
        let message = error.to_string();
        match error {
            EtcdError::NotFound { key } => Self::NotFound { path: key },
            EtcdError::Exists { key, .. } => Self::AlreadyExists { path: key },
            EtcdError::Moved { key, .. } => Self::Conflict { path: key, message },
            other => Self::Etcd(other),
        }
    }
}
