//! Spans on their way: a bounded queue, one request after the other, and an end that waits for nobody long.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable};
use jiff::Timestamp;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::sync::mpsc;

use super::{TracesListener, ids::hex, recorder::Recorder, span::request};
use crate::{
    event::Event,
    web::{Client, WebError},
};

/// How many spans may wait, and how many go with one request.
const QUEUE: usize = 2048;
const BATCH: usize = 512;

/// How often spans are sent at most.
const TRIES: usize = 4;

/// How long the last spans may take once the run is over.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// Says once that something is lost.
struct Lost<F: Fn(&str)> {
    say: F,
    is_said: AtomicBool,
}

impl<F: Fn(&str)> Lost<F> {
    fn tell(&self, why: &str) {
        tracing::info!(why, "spans were not delivered");
        if !self.is_said.swap(true, Ordering::Relaxed) {
            (self.say)(why);
        }
    }
}

impl TracesListener {
    /// Works until the events end. `begun` hears the name of each trace, `lost` once that something could not be delivered.
    pub async fn listen(
        self,
        mut events: mpsc::UnboundedReceiver<Event>,
        begun: impl Fn(&str) + Send + Sync,
        lost: impl Fn(&str) + Send + Sync,
    ) {
        let lost = Lost { say: lost, is_said: AtomicBool::new(false) };
        let (queue, mut waiting) = mpsc::channel(QUEUE);
        let recording = async {
            let mut recorder = Recorder::new(self.about.clone());
            while let Some(event) = events.recv().await {
                let ended = recorder.take(&event, Timestamp::now());
                if let Event::RunStarted { .. } | Event::RunResumed { .. } = event {
                    begun(&format!("{} to {}", hex(&recorder.ids().trace()), self.client.address()));
                }
                put(&queue, ended, &lost);
            }
            put(&queue, recorder.last(Timestamp::now()), &lost);
        };
        let sending = send_all(&self.client, &self.resource, &mut waiting, &lost);
        let mut sending = std::pin::pin!(sending);
        // Nothing more is sent only once nothing more is recorded.
        tokio::select! {
            () = recording => {}
            () = &mut sending => {}
        }
        drop(queue);
        if tokio::time::timeout(LAST_SPANS, sending).await.is_err() {
            lost.tell(&format!(
                "{} did not take the last spans within {}s",
                self.client.address(),
                LAST_SPANS.as_secs()
            ));
        }
    }
}

fn put<F: Fn(&str)>(queue: &mpsc::Sender<Span>, spans: Vec<Span>, lost: &Lost<F>) {
    for span in spans {
        if queue.try_send(span).is_err() {
            lost.tell(&format!("{QUEUE} spans wait already, and more are left out"));
        }
    }
}

async fn send_all<F: Fn(&str)>(
    client: &Client,
    resource: &[(String, String)],
    waiting: &mut mpsc::Receiver<Span>,
    lost: &Lost<F>,
) {
    let mut spans = Vec::new();
    while waiting.recv_many(&mut spans, BATCH).await > 0 {
        let body = request(resource, std::mem::take(&mut spans)).encode_to_vec();
        let backoff =
            ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_max_times(TRIES - 1);
        let sent = (|| client.post_protobuf(body.clone())).retry(backoff.with_jitter()).when(is_worth_a_retry).await;
        if let Err(error) = sent {
            lost.tell(&error.to_string());
        }
    }
}

/// What may be sent again (OTLP 1.9.0, "Retryable Response Codes"), and what got no answer.
fn is_worth_a_retry(error: &WebError) -> bool {
    match error {
        WebError::Unreachable { .. } => true,
        WebError::Refused { status, .. } => [429, 502, 503, 504].contains(status),
        WebError::Address | WebError::Authorities { .. } => false,
    }
}
