//! Simulated kubelets: what the kubelet of each node would do with its pods, for any number of nodes. They are threads of this
//! process, so they end with it. What is done follows from the objects as they are, never from what was done before: a cluster
//! that jumps to another state, or an API server that starts anew, needs nothing else.

mod feed;
mod life;
mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use crate::api::Api;
use crate::nodes::Fault;
use feed::{Feed, News};
use worker::Worker;

pub struct Kubelets {
    shared: Arc<Shared>,
    news: Sender<News>,
}

/// What those who use the kubelets and the kubelets themselves know.
#[derive(Default)]
pub struct Shared {
    faults: Mutex<BTreeMap<String, Fault>>,
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
        self.faults.lock().expect("nothing panics while it changes the faults")
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}
