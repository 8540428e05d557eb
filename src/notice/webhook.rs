use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::words::{News, news};
use crate::{
    event::Event,
    web::{Client, WebError},
};

/// How often news are sent at most when the other side does not take them.
const TRIES: usize = 5;

/// How news are written for the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// The event as `--events` writes it, and a sentence.
    Json,
    /// A text, as Slack and those that speak like it take it.
    Slack,
}

/// Sends the larger news of a run to an address.
pub struct WebhookListener {
    pub client: Client,
    pub wording: Wording,
    /// The cluster, for those who hear of several.
    pub cluster: String,
}

impl WebhookListener {
    /// Works until the events end; says once if something could not be delivered.
    pub async fn listen(self, mut events: mpsc::UnboundedReceiver<Event>, lost: impl Fn(&str)) {
        let mut is_told = false;
        while let Some(event) = events.recv().await {
            // One line for each node would drown the rest.
            if matches!(event, Event::StepDone { .. } | Event::NodeStarted { .. } | Event::NodeDone { .. }) {
                continue;
            }
            let Some(news) = news(&event) else { continue };
            let sent = self.deliver(&self.document(&event, &news)).await;
            if let Err(error) = sent {
                tracing::info!(%error, "news were not delivered");
                if !std::mem::replace(&mut is_told, true) {
                    lost(&error.to_string());
                }
            }
        }
    }

    async fn deliver(&self, document: &Value) -> Result<(), WebError> {
        let backoff =
            ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_max_times(TRIES - 1);
        (|| self.client.post(document)).retry(backoff.with_jitter()).when(is_worth_a_retry).await.map(drop)
    }

    fn document(&self, event: &Event, news: &News) -> Value {
        let text = format!(
            "{} ({}): {}",
            if news.is_warning { "WARNING" } else { "calico-upgrader" },
            self.cluster,
            news.message
        );
        match self.wording {
            Wording::Slack => json!({"text": text}),
            Wording::Json => json!({"text": text, "reason": news.reason, "cluster": self.cluster, "event": event}),
        }
    }
}

fn is_worth_a_retry(error: &WebError) -> bool {
    match error {
        WebError::Unreachable { .. } => true,
        WebError::Refused { status, .. } => *status == 429 || *status >= 500,
        WebError::Address | WebError::Authorities { .. } => false,
    }
}
