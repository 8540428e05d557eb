use serde::{Deserialize, Deserializer};
use serde_json::{Value, value::RawValue};

use super::{Cluster, ClusterError, adapt, parse};
use crate::{
    datastore::escape,
    resource::{Kind, Live, ObjectRef},
};

/// Objects asked for in one page of a list.
const PAGE: usize = 500;

/// A list that goes stale on every try is given up.
const LIST_TRIES: usize = 5;

/// An object exactly as the server gave it, but for `apiVersion` and `kind`, which lists leave out and we add.
pub type Raw = Value;

/// A page of a list, with its objects as they came.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, deserialize_with = "items_or_null")]
    items: Vec<&'a RawValue>,
    metadata: PageMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(rename = "continue")]
    token: Option<String>,
    resource_version: Option<String>,
}

impl Cluster {
    /// Reads one object; `None` only if the server says that it is not there, or has no such kind.
    pub async fn get(&self, reference: &ObjectRef) -> Result<Option<Live>, ClusterError> {
        if reference.kind == Kind::EtcdKey {
            return self.get_key(&reference.name).await?.map(|key| super::keys::live_key(&key)).transpose();
        }
        let Ok(place) = self.place(reference.kind) else { return Ok(None) };
        let path = place.object(reference);
        match self.read(&path).await {
            Ok(body) => self.live(reference.kind, &path, body).map(Some),
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Reads one object as the server gives it.
    pub async fn get_raw(&self, reference: &ObjectRef) -> Result<Option<Raw>, ClusterError> {
        if reference.kind == Kind::EtcdKey {
            return Ok(self.get_key(&reference.name).await?.map(|key| key.to_object()));
        }
        match self.read(&self.place(reference.kind)?.object(reference)).await {
            Ok(body) => Ok(Some(body)),
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Lists a kind in all namespaces or in one; empty if this server does not serve the kind.
    pub async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<Vec<Live>, ClusterError> {
        self.list_selected(kind, namespace, "").await
    }

    /// Lists the objects of a kind that a label selector picks.
    pub async fn list_selected(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<Live>, ClusterError> {
        let read = |body| self.live(kind, kind.name(), body);
        self.collect(kind, namespace, selector, read).await.map(|(found, _)| found)
    }

    /// Lists a kind and keeps of each object, as the server gives it, only what is asked for.
    pub async fn list_as<T>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        read: impl Fn(Raw) -> T,
    ) -> Result<Vec<T>, ClusterError> {
        self.list_selected_as(kind, namespace, "", read).await
    }

    /// The same of the objects that a label selector picks.
    pub async fn list_selected_as<T>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: &str,
        read: impl Fn(Raw) -> T,
    ) -> Result<Vec<T>, ClusterError> {
        self.collect(kind, namespace, selector, |body| Ok(read(body))).await.map(|(found, _)| found)
    }

    /// Lists a kind and keeps of each object only what is asked for: 100,000 keys are never in memory at once.
    pub async fn list_each<T>(&self, kind: Kind, keep: impl Fn(Live) -> T) -> Result<Vec<T>, ClusterError> {
        self.collect(kind, None, "", |body| Ok(keep(self.live(kind, kind.name(), body)?))).await.map(|(found, _)| found)
    }

    /// Lists a kind as lines of JSON, one object each, without keeping the parsed list.
    pub async fn list_lines(&self, kind: Kind) -> Result<Vec<String>, ClusterError> {
        self.list_as(kind, None, |body| body.to_string()).await
    }

    /// Reads all pages of a list; one that goes stale midway (410) starts again, so that revisions never mix.
    pub(super) async fn collect<T>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: &str,
        read: impl Fn(Raw) -> Result<T, ClusterError>,
    ) -> Result<(Vec<T>, String), ClusterError> {
        if kind == Kind::EtcdKey {
            return self.collect_keys(read).await;
        }
        for _ in 1..LIST_TRIES {
            match self.collect_once(kind, namespace, selector, &read).await {
                Err(ClusterError::Stale { .. }) => {}
                other => return other,
            }
        }
        self.collect_once(kind, namespace, selector, &read).await
    }

    async fn collect_once<T>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        selector: &str,
        read: &impl Fn(Raw) -> Result<T, ClusterError>,
    ) -> Result<(Vec<T>, String), ClusterError> {
        let Ok(place) = self.place(kind) else { return Ok((Vec::new(), String::new())) };
        let path = place.collection(namespace);
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let text = match self.read_text(&page_path(&path, selector, &token)).await {
                // A custom resource whose definition is not there: nothing is stored of it.
                Err(ClusterError::NotFound { .. }) if token.is_empty() && kind.is_custom() => {
                    return Ok((found, String::new()));
                }
                other => other?,
            };
            let page: Page<'_> = serde_json::from_str(&text).map_err(|_| malformed(&path, "items"))?;
            // One object is parsed at a time: 500 pods at once would take 40 MB.
            for item in page.items {
                let mut body = parse(&path, item.get())?;
                body["apiVersion"] = place.api_version().into();
                body["kind"] = kind.name().into();
                found.push(read(body)?);
            }
            token = page.metadata.token.unwrap_or_default();
            if token.is_empty() {
                return Ok((found, page.metadata.resource_version.unwrap_or_default()));
            }
        }
    }

    pub(super) fn live(&self, kind: Kind, path: &str, body: Value) -> Result<Live, ClusterError> {
        Live::read(adapt::from_served(kind, body)).map_err(|what| malformed(path, what))
    }

    /// Reads the newest line of a pod's log, which its kubelet gives. Not tried again: who asks will ask later on.
    pub async fn newest_log_line(&self, namespace: &str, pod: &str) -> Result<String, ClusterError> {
        let object = ObjectRef::namespaced(Kind::Pod, namespace, pod);
        let path = format!("{}/log?tailLines=1", self.place(Kind::Pod)?.object(&object));
        self.send_for_text(http::Method::GET, &path, None).await
    }

    /// Answers whether a CustomResourceDefinition is served, or has not come so far yet.
    pub async fn is_established(&self, name: &str) -> Result<bool, ClusterError> {
        let reference = ObjectRef::cluster(Kind::CustomResourceDefinition, name);
        let Some(body) = self.get_raw(&reference).await? else { return Ok(false) };
        let conditions = body["status"]["conditions"].as_array().into_iter().flatten();
        Ok(conditions.into_iter().any(|one| one["type"] == "Established" && one["status"] == "True"))
    }
}

/// An empty list may be written as `null`; a list without the field is none.
fn items_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'de RawValue>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn page_path(path: &str, selector: &str, token: &str) -> String {
    let mut query = format!("{path}?limit={PAGE}");
    for (key, value) in [("labelSelector", selector), ("continue", token)] {
        if !value.is_empty() {
            query.push_str(&format!("&{key}={}", escape(value)));
        }
    }
    query
}

pub(super) fn malformed(path: &str, what: &str) -> ClusterError {
    ClusterError::Malformed { path: path.to_owned(), what: what.to_owned() }
}
