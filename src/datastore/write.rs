//! Writes: of one key, once, with what must hold. Only the door may cause them: a test reads the sources and holds that.

use http::Method;

use super::{
    Etcd, EtcdError, Key,
    etcd_v2::{escape, path_of},
};

impl Etcd {
    /// Makes a key that must not be there.
    pub async fn create_key(&self, key: &str, value: &str) -> Result<Key, EtcdError> {
        let path = format!("{}?prevExist=false", path_of(key)?);
        self.request(Method::PUT, key, &path, Some(format!("value={}", escape(value))), 0)
            .await
            .map(|(node, _)| node.into_key())
    }

    /// Gives a key another value; it must be as it was at the given index.
    ///
    /// A time to live ends with that: the keys that Calico writes with one are reports of state, which nobody replaces.
    pub async fn replace_key(&self, key: &str, value: &str, index: u64) -> Result<Key, EtcdError> {
        let path = format!("{}?prevIndex={index}&prevExist=true", path_of(key)?);
        self.request(Method::PUT, key, &path, Some(format!("value={}", escape(value))), index)
            .await
            .map(|(node, _)| node.into_key())
    }

    /// Removes a key; it must be as it was at the given index.
    pub async fn remove_key(&self, key: &str, index: u64) -> Result<(), EtcdError> {
        let path = format!("{}?prevIndex={index}", path_of(key)?);
        self.request(Method::DELETE, key, &path, None, index).await.map(drop)
    }
}
