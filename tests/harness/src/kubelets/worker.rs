//! Does what is due, and nothing before its time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::calico::{self, Rule};
use super::feed::{NODES, News, PODS};
use super::life::{self, Act};
use super::{Shared, lock, typha};
use crate::api::{Api, ApiError};
use crate::nodes::ready_condition;
use crate::parallel::for_each;

/// When something is tried again that the API server did not take.
const BEFORE_AGAIN: Duration = Duration::from_millis(100);
/// When a calico-node that lacks something is looked at again.
const BEFORE_NEXT_PROBE: Duration = Duration::from_millis(250);
/// When a node that lost its Typha is looked at: its readiness probe needs a while.
const REVIEWED_AFTER: Duration = Duration::from_millis(300);
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
                let uids: BTreeSet<String> = self.pods().map(life::uid).collect();
                lock(&self.shared.connections).keep(|uid| uids.contains(uid));
            }
            News::Is(collection, object) => self.learn(collection, object),
            News::Gone(collection, object) => {
                let key = key(collection, &object);
                self.objects.remove(&key);
                self.due.remove(&key);
                lock(&self.shared.connections).end(&life::uid(&object));
                self.note_typha(&object);
            }
            News::LookAgain => self.plan_all(),
        }
    }

    fn learn(&mut self, collection: &'static str, mut object: Value) {
        // Half of an object, and nothing to a kubelet.
        object["metadata"].as_object_mut().map(|metadata| metadata.remove("managedFields"));
        let key = key(collection, &object);
        let is_new_node = collection == NODES && !self.objects.contains_key(&key);
        self.note_typha(&object);
        self.objects.insert(key.clone(), object);
        self.plan(&key);
        if is_new_node {
            self.plan_all();
        }
    }

    fn note_typha(&mut self, object: &Value) {
        if calico::typha_release(object).is_some() {
            self.review_nodes();
        }
    }

    fn plan_all(&mut self) {
        let keys: Vec<Key> = self.objects.keys().cloned().collect();
        keys.iter().for_each(|key| self.plan(key));
    }

    /// Sets when the kubelet will do what it has to; what it was about to do anyway keeps its time.
    fn plan(&mut self, key: &Key) {
        let Some((delay, act)) = self.next(key) else {
            if self.due.get(key).is_some_and(|(_, act)| *act != Act::Review) {
                self.due.remove(key);
            }
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
        let is_due = |(_, (at, _)): &(&Key, &(Instant, Act))| *at <= now;
        let due: Vec<(Key, Act)> =
            self.due.iter().filter(is_due).map(|(key, (_, act))| (key.clone(), act.clone())).collect();
        let again = Mutex::new(Vec::new());
        let _ = for_each(&due, |(key, act)| {
            if let Done::LookAgain(after) = self.perform(key, act) {
                lock(&again).push((key.clone(), act.clone(), after));
            }
            Ok(())
        });
        for (key, _) in &due {
            self.due.remove(key);
        }
        for (key, act, after) in again.into_inner().unwrap_or_default() {
            self.due.insert(key, (now + after, act));
        }
    }

    fn perform(&self, key: &Key, act: &Act) -> Done {
        let Some(object) = self.objects.get(key) else { return Done::Whole };
        let outcome = match act {
            Act::End => self.api.end(&path(key), &life::uid(object)).map(drop),
            Act::Report { is_lost } => self.say(key, &life::report(object, *is_lost)),
            Act::Fail(fault) => self.say(key, &life::unwell(object, *fault)),
            Act::Start | Act::Review => match self.why_not(object) {
                Some(why) => return self.keep_from_ready(key, object, &why),
                None if *act == Act::Review => Ok(()),
                None => self.say(key, &life::running(object)),
            },
        };
        match outcome {
            Err(error) if is_to_be_tried_again(&error) => Done::LookAgain(BEFORE_AGAIN),
            Ok(()) | Err(_) => Done::Whole,
        }
    }

    fn say(&self, key: &Key, status: &Value) -> Result<(), ApiError> {
        self.api.merge_patch(&format!("{}/status", path(key)), status).map(drop)
    }

    /// Says once why a calico-node is not ready, and looks again until it is.
    fn keep_from_ready(&self, key: &Key, pod: &Value, why: &str) -> Done {
        let status = life::not_ready(pod, why);
        let is_said = pod["status"]["message"] == status["status"]["message"] && !is_ready(pod);
        if !is_said {
            // Whether it arrives or not, it is looked at again.
            let _ = self.say(key, &status);
        }
        Done::LookAgain(BEFORE_NEXT_PROBE)
    }

    /// What keeps a calico-node from being ready; nothing keeps other pods.
    fn why_not(&self, pod: &Value) -> Option<String> {
        let release = calico::node_release(pod)?;
        let look = calico::Look { api: &self.api, pod, release };
        let rows = calico::ROWS.iter().filter(|row| self.shared.is_on(row.rule) && !is_ready(pod));
        rows.map(|row| Some(format!("{} ({})", (row.broken)(&look)?, row.source)))
            .find_map(|broken| broken)
            .or_else(|| self.typha_refuses(pod, release))
    }

    fn typha_refuses(&self, pod: &Value, release: calico::Release) -> Option<String> {
        let service = calico::typha_service(&self.api, pod)?;
        let namespace = pod["metadata"]["namespace"].as_str()?;
        let typhas = typha::behind(&self.api, namespace, &service, self.pods());
        let drops = self.shared.is_on(Rule::OlderTyphaDropsPolicies);
        let refused = lock(&self.shared.connections).settle(pod, release, &typhas, drops);
        let refused = refused.filter(|_| self.shared.is_on(Rule::TyphaAccepts))?;
        Some(format!("{refused} ({})", calico::TYPHA_SOURCE))
    }

    fn pods(&self) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(|((collection, _), _)| *collection == PODS).map(|(_, pod)| pod)
    }

    /// Lets all nodes look at their Typha again, since one changed.
    fn review_nodes(&mut self) {
        let is_node = |pod: &&Value| is_ready(pod) && calico::node_release(pod).is_some();
        let keys: Vec<Key> = self.pods().filter(is_node).map(|pod| key(PODS, pod)).collect();
        for key in keys {
            self.due.entry(key).or_insert_with(|| (Instant::now() + REVIEWED_AFTER, Act::Review));
        }
    }
}

/// Whether something is left to do.
enum Done {
    Whole,
    LookAgain(Duration),
}

fn is_ready(pod: &Value) -> bool {
    ready_condition(pod) == Some("True")
}

/// An object that is gone, or another of the same name, is a matter of the next news.
fn is_to_be_tried_again(error: &ApiError) -> bool {
    [0, 409].contains(&error.status) || error.status >= 500
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
