//! Does what is due, and nothing before its time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Shared;
use super::feed::{NODES, News, PODS};
use super::life::{self, Act};
use crate::api::{Api, ApiError};
use crate::parallel::for_each;

/// When something is tried again that the API server did not take.
const BEFORE_AGAIN: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(3600);

type Key = (&'static str, String);

pub struct Worker {
    api: Api,
    shared: Arc<Shared>,
    objects: BTreeMap<Key, Value>,
    due: BTreeMap<Key, (Instant, Act)>,
}

impl Worker {
    pub fn new(api: Api, shared: Arc<Shared>) -> Self {
        Self { api, shared, objects: BTreeMap::new(), due: BTreeMap::new() }
    }

    pub fn work(mut self, news: &Receiver<News>) {
        while !self.shared.is_over() {
            let next = self.due.values().map(|(at, _)| *at).min();
            let wait = next.map_or(LONG, |at| at.saturating_duration_since(Instant::now()));
            match news.recv_timeout(wait) {
                Ok(first) => {
                    self.hear(first);
                    news.try_iter().for_each(|more| self.hear(more));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.do_what_is_due();
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::All(collection, all) => {
                let keys: BTreeSet<Key> = all.iter().map(|object| key(collection, object)).collect();
                let is_left = |known: &Key| known.0 != collection || keys.contains(known);
                self.objects.retain(|known, _| is_left(known));
                self.due.retain(|known, _| is_left(known));
                all.into_iter().for_each(|object| self.learn(collection, object));
            }
            News::Is(collection, object) => self.learn(collection, object),
            News::Gone(collection, object) => {
                let key = key(collection, &object);
                self.objects.remove(&key);
                self.due.remove(&key);
            }
            News::LookAgain => self.plan_all(),
        }
    }

    fn learn(&mut self, collection: &'static str, object: Value) {
        let key = key(collection, &object);
        let is_new_node = collection == NODES && !self.objects.contains_key(&key);
        self.objects.insert(key.clone(), object);
        self.plan(&key);
        if is_new_node {
            self.plan_all();
        }
    }

    fn plan_all(&mut self) {
        let keys: Vec<Key> = self.objects.keys().cloned().collect();
        keys.iter().for_each(|key| self.plan(key));
    }

    /// Sets when the kubelet will do what it has to; what it was about to do anyway keeps its time.
    fn plan(&mut self, key: &Key) {
        let Some((delay, act)) = self.next(key) else {
            self.due.remove(key);
            return;
        };
        let is_planned = self.due.get(key).is_some_and(|(_, planned)| *planned == act);
        if !is_planned {
            self.due.insert(key.clone(), (Instant::now() + delay, act));
        }
    }

    fn next(&self, key: &Key) -> Option<(Duration, Act)> {
        let object = self.objects.get(key)?;
        if key.0 == NODES {
            return life::next_of_node(object, self.shared.faults().get(&key.1).copied());
        }
        let node = object["spec"]["nodeName"].as_str()?;
        // The pods of a node that is gone are left to the garbage collector.
        self.objects.get(&(NODES, node.to_owned()))?;
        let fault = self.shared.faults().get(node).copied();
        life::next_of_pod(object, fault)
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        let due: Vec<(Key, Act)> = self
            .due
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(key, (_, act))| (key.clone(), act.clone()))
            .collect();
        let failed = std::sync::Mutex::new(Vec::new());
        let _ = for_each(&due, |(key, act)| {
            if let Err(error) = self.perform(key, act)
                && is_to_be_tried_again(&error)
            {
                failed.lock().expect("nothing panics while it notes a failure").push(key.clone());
            }
            Ok(())
        });
        due.iter().for_each(|(key, _)| drop(self.due.remove(key)));
        for key in failed.into_inner().unwrap_or_default() {
            if let Some((_, act)) = self.next(&key) {
                self.due.insert(key, (now + BEFORE_AGAIN, act));
            }
        }
    }

    fn perform(&self, key: &Key, act: &Act) -> Result<(), ApiError> {
        let (path, Some(object)) = (path(key), self.objects.get(key)) else { return Ok(()) };
        match act {
            Act::End => self.api.end(&path, &life::uid(object)).map(drop),
            Act::Report { .. } | Act::Start | Act::Fail(_) => {
                self.api.merge_patch(&format!("{path}/status"), &life::said(act, object)).map(drop)
            }
        }
    }
}

/// An object that is gone, or another of the same name, is a matter of the next news.
fn is_to_be_tried_again(error: &ApiError) -> bool {
    error.status == 0 || error.status >= 500
}

fn key(collection: &'static str, object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let name =
        if collection == PODS { format!("{}/{}", text("namespace"), text("name")) } else { text("name").to_owned() };
    (collection, name)
}

fn path((collection, name): &Key) -> String {
    match name.split_once('/') {
        Some((namespace, name)) => format!("/api/v1/namespaces/{namespace}/pods/{name}"),
        None => format!("{collection}/{name}"),
    }
}
