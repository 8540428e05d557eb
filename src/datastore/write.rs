//! Writes: of one key, once, with what must hold. Only the door may cause them: a test reads the sources and holds that.

use http::Method;

use super::{
    Etcd, EtcdError, Key,
    answer::Node,
    etcd_v2::{escape, path_of},
};

impl Etcd {
    /// Makes a key that must not be there.
    pub async fn create_key(&self, key: &str, value: &str) -> Result<Key, EtcdError> {
        let path = format!("{}?prevExist=false", path_of(key)?);
        let given = self.request(Method::PUT, key, &path, Some(format!("value={}", escape(value))), 0).await?;
        given.node().map(Node::into_key)
    }

    /// Gives a key another value; it must be as it was at the given index.
    ///
    /// A time to live ends with that: the keys that Calico writes with one are reports of state, which nobody replaces.
    pub async fn replace_key(&self, key: &str, value: &str, index: u64) -> Result<Key, EtcdError> {
        let path = format!("{}?prevIndex={index}&prevExist=true", path_of(key)?);
        let given = self.request(Method::PUT, key, &path, Some(format!("value={}", escape(value))), index).await?;
        given.node().map(Node::into_key)
    }

    /// Removes a key; it must be as it was at the given index.
    pub async fn remove_key(&self, key: &str, index: u64) -> Result<(), EtcdError> {
        let path = format!("{}?prevIndex={index}", path_of(key)?);
        self.request(Method::DELETE, key, &path, None, index).await?.node().map(drop)
    }

    /// Answers whether our account may write a key, and changes nothing.
    ///
    /// The write that is asked for cannot come true: it demands an index that no key has. Where users count, etcd looks at the
    /// rights of the account before it looks at the key (etcd v3.5, server/etcdserver/api/v2http/client.go, `keysHandler`).
    pub async fn may_write_key(&self, key: &str) -> Result<bool, EtcdError> {
        match self.replace_key(key, "", u64::MAX).await {
            Err(EtcdError::Forbidden { .. }) => Ok(false),
            Err(EtcdError::NotFound { .. } | EtcdError::Moved { .. } | EtcdError::Directory { .. }) => Ok(true),
            Err(other) => Err(other),
            Ok(_) => {
                let what = "it took a write at an index that no key has".to_owned();
                Err(EtcdError::Malformed { path: key.to_owned(), what })
            }
        }
    }
}
