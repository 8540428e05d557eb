//! Tells others how a run goes: Events in the cluster, figures for Prometheus, news to a webhook, traces. Each listener takes the run's events in a task
//! of its own, so that a slow or absent one never slows a run.

mod cluster;
mod metrics;
mod traces;
mod webhook;
mod words;

use std::time::Duration;

use tokio::{sync::mpsc, task::JoinHandle};

pub use cluster::ClusterListener;
pub use metrics::MetricsListener;
pub use traces::{About, Before, TracesListener};
pub use webhook::{WebhookListener, Wording};

use crate::event::Event;

/// How long the last news may take to go out once a run is over.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// All who listen to one run.
#[derive(Default)]
pub struct Listeners {
    senders: Vec<mpsc::UnboundedSender<Event>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Listeners {
    /// Adds a listener; it works until the events end.
    pub fn add<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        listen: impl FnOnce(mpsc::UnboundedReceiver<Event>) -> F,
    ) {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.senders.push(sender);
        self.tasks.push(tokio::spawn(listen(receiver)));
    }

    pub fn tell(&self, event: &Event) {
        for sender in &self.senders {
            // A listener that is gone has said why.
            let _ = sender.send(event.clone());
        }
    }

    /// Gives the listeners a moment for their last words.
    pub async fn end(self) {
        drop(self.senders);
        if tokio::time::timeout(LAST_WORDS, futures::future::join_all(self.tasks)).await.is_err() {
            tracing::warn!("not everybody was told everything before the end");
        }
    }
}
