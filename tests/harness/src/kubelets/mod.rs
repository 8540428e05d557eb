//! Simulated kubelets: what the kubelet of each node would do with its pods, for any number of nodes. They are threads of this
//! process, so they end with it. What is done follows from the objects as they are, never from what was done before: a cluster
//! that jumps to another state, or an API server that starts anew, needs nothing else.

mod calico;
mod feed;
mod life;
mod typha;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use crate::api::Api;
use crate::nodes::Fault;
pub use calico::Rule;
use feed::{Feed, News};
use typha::Connections;
use worker::Worker;

pub struct Kubelets {
    shared: Arc<Shared>,
    news: Sender<News>,
}

/// What those who use the kubelets and the kubelets themselves know.
#[derive(Default)]
pub struct Shared {
    faults: Mutex<BTreeMap<String, Fault>>,
    switched_off: Mutex<BTreeSet<Rule>>,
    connections: Mutex<Connections>,
    is_over: AtomicBool,
}

impl Kubelets {
    /// They begin once the API server answers.
    pub fn start(api: Api) -> Self {
        let shared = Arc::<Shared>::default();
        let (news, heard) = channel();
        for collection in [feed::NODES, feed::PODS] {
            let feed = Feed { api: api.clone(), collection, news: news.clone(), shared: Arc::clone(&shared) };
            thread::spawn(move || feed.follow());
        }
        let worker = Worker::new(api, Arc::clone(&shared));
        thread::spawn(move || worker.work(&heard));
        Self { shared, news }
    }

    /// The faults of nodes by name.
    pub fn faults(&self) -> BTreeMap<String, Fault> {
        self.shared.faults().clone()
    }

    /// Switches a rule of Calico off, or on again.
    pub fn switch(&self, rule: Rule, is_on: bool) {
        let mut off = lock(&self.shared.switched_off);
        if is_on {
            off.remove(&rule)
        } else {
            off.insert(rule)
        };
        let _ = self.news.send(News::LookAgain);
    }

    /// The nodes whose policies are dropped now.
    pub fn dropped(&self) -> BTreeSet<String> {
        lock(&self.shared.connections).dropped()
    }

    /// The nodes whose policies were dropped at any time since the cluster was taken back to a moment.
    pub fn ever_dropped(&self) -> BTreeSet<String> {
        lock(&self.shared.connections).ever_dropped()
    }

    /// The cluster is at another moment: all connections are begun anew.
    pub fn forget_connections(&self) {
        lock(&self.shared.connections).forget();
    }

    /// From now on each kubelet does what its node's fault says.
    pub fn set_faults(&self, faults: BTreeMap<String, Fault>) {
        let before = std::mem::replace(&mut *self.shared.faults(), faults.clone());
        if before != faults {
            let _ = self.news.send(News::LookAgain);
        }
    }
}

impl Drop for Kubelets {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let _ = self.news.send(News::LookAgain);
    }
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, BTreeMap<String, Fault>> {
        lock(&self.faults)
    }

    fn is_on(&self, rule: Rule) -> bool {
        !lock(&self.switched_off).contains(&rule)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().expect("nothing panics while it changes what is shared")
}
