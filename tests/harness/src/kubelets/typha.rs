//! Which Typha each node has its data from, and what becomes of its policies.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::calico::{self, NEW_KEYS, Release};
use crate::api::Api;
use crate::nodes::ready_condition;

/// The connections of all nodes, by the uid of the pod that holds one.
#[derive(Default)]
pub struct Connections {
    of: BTreeMap<String, Connection>,
    /// Nodes whose policies were dropped at any time.
    ever_dropped: BTreeSet<String>,
}

struct Connection {
    node: String,
    /// The uid of the Typha and its release; none while no Typha takes this node.
    typha: Option<(String, Release)>,
    /// The newest release that it was connected to.
    last: Option<Release>,
    has_dropped: bool,
}

impl Connections {
    /// Connects a node anew where it has to, and answers what it says where no Typha takes it.
    pub fn settle(
        &mut self,
        pod: &Value,
        release: Release,
        typhas: &[(String, Release)],
        drops: bool,
    ) -> Option<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let connection = self.of.entry(text(&pod["metadata"]["uid"])).or_insert_with(|| Connection {
            node: text(&pod["spec"]["nodeName"]),
            typha: None,
            last: None,
            has_dropped: false,
        });
        let is_there = |typha: &(String, Release)| typhas.contains(typha);
        if !connection.typha.as_ref().is_some_and(is_there) {
            connection.typha = typhas.iter().find(|(_, typha)| accepts(*typha, release)).cloned();
        }
        let Some((_, now)) = &connection.typha else {
            return Some(match typhas.first() {
                Some((_, (major, minor, patch))) => {
                    format!("Typha v{major}.{minor}.{patch} takes no client of this release")
                }
                None => "no Typha is ready".to_owned(),
            });
        };
        if drops && release >= NEW_KEYS && *now < NEW_KEYS && connection.last.is_some_and(|last| last >= NEW_KEYS) {
            connection.has_dropped = true;
            self.ever_dropped.insert(connection.node.clone());
        } else if *now >= NEW_KEYS {
            connection.has_dropped = false;
        }
        connection.last = Some(*now);
        None
    }

    /// Forgets a pod that is gone: its successor starts anew.
    pub fn end(&mut self, uid: &str) {
        self.of.remove(uid);
    }

    /// Forgets all pods but these.
    pub fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.of.retain(|uid, _| is_there(uid));
    }

    pub fn dropped(&self) -> BTreeSet<String> {
        self.of.values().filter(|connection| connection.has_dropped).map(|connection| connection.node.clone()).collect()
    }

    pub fn ever_dropped(&self) -> BTreeSet<String> {
        self.ever_dropped.clone()
    }

    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// A new Typha ends the connection of each client that does not say that it knows the new keys.
fn accepts(typha: Release, node: Release) -> bool {
    typha < NEW_KEYS || node >= NEW_KEYS
}

/// The Typhas behind a Service that are ready.
pub fn behind<'a>(
    api: &Api,
    namespace: &str,
    service: &str,
    pods: impl Iterator<Item = &'a Value>,
) -> Vec<(String, Release)> {
    let service = api.get(&format!("/api/v1/namespaces/{namespace}/services/{service}")).unwrap_or_default();
    let Some(selector) = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty()) else {
        return Vec::new();
    };
    let is_picked = |pod: &&Value| {
        let metadata = &pod["metadata"];
        let has_labels = selector.iter().all(|(key, value)| metadata["labels"][key] == *value);
        has_labels
            && metadata["namespace"] == namespace
            && metadata["deletionTimestamp"].is_null()
            && ready_condition(pod) == Some("True")
    };
    let known = |pod: &Value| Some((pod["metadata"]["uid"].as_str()?.to_owned(), calico::typha_release(pod)?));
    pods.filter(is_picked).filter_map(known).collect()
}
