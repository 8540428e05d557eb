use tokio::sync::mpsc;

use super::words::{News, news};
use crate::{
    cluster::Cluster,
    door::{Notice, announce, record_of},
    event::Event,
    resource::{Kind, ObjectRef},
};

/// Writes Events on the objects that a run touches.
pub struct ClusterListener {
    cluster: Cluster,
    daemon_set: ObjectRef,
    run: Option<String>,
}

impl ClusterListener {
    pub fn new(cluster: Cluster, daemon_set: ObjectRef) -> Self {
        Self { cluster, daemon_set, run: None }
    }

    /// Works until the events end; where the server refuses one, says why no more are written.
    pub async fn listen(mut self, mut events: mpsc::UnboundedReceiver<Event>, skipped: impl FnOnce(&str)) {
        while let Some(event) = events.recv().await {
            if let Event::RunStarted { run, .. } | Event::RunResumed { run, .. } = &event {
                self.run = Some(run.clone());
            }
            for notice in self.notices(&event) {
                match announce(&self.cluster, &notice).await {
                    Ok(()) => {}
                    Err(error) if error.is_worth_a_retry() => tracing::info!(%error, "an Event was not written"),
                    Err(error) => return skipped(&error.to_string()),
                }
            }
        }
    }

    fn notices(&self, event: &Event) -> Vec<Notice> {
        let Some(News { reason, message, is_warning }) = news(event) else { return Vec::new() };
        let record = self.run.as_deref().map(record_of);
        let about: Vec<ObjectRef> = match event {
            // That a node is begun with is told by Kubernetes itself: it is cordoned. So there is one request a node.
            Event::NodeStarted { .. } => Vec::new(),
            Event::NodeWaiting { node, .. } | Event::NodeDone { node, .. } => {
                vec![ObjectRef::cluster(Kind::Node, node)]
            }
            Event::StepDone { .. } => record.into_iter().collect(),
            _ => record.into_iter().chain([self.daemon_set.clone()]).collect(),
        };
        about.into_iter().map(|about| Notice { about, reason, message: message.clone(), is_warning }).collect()
    }
}
