//! What a pod writes, line by line: events become events again, and all else is said as it is.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use jiff::Timestamp;

use crate::{
    cluster::Cluster,
    door::NAMESPACE,
    event::{Event, Voice},
};

/// How long the last lines of a pod that ended are waited for.
const LAST_LINES: Duration = Duration::from_secs(5);

/// How long before a log that broke off is asked for again.
const BEFORE_AGAIN: Duration = Duration::from_secs(1);

/// Shows the log of one pod from its first line on, until it is dropped.
pub struct Relay {
    pub pod: String,
    is_over: Arc<AtomicBool>,
    heard: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    pub fn start(cluster: &Cluster, pod: &str, voice: &Voice) -> Self {
        let (is_over, heard) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let log =
            Log { cluster: cluster.clone(), pod: pod.to_owned(), voice: voice.clone(), heard: Arc::clone(&heard) };
        let task = tokio::spawn(log.relay(Arc::clone(&is_over)));
        Self { pod: pod.to_owned(), is_over, heard, task }
    }

    /// Answers whether the server gives the log.
    pub fn is_heard(&self) -> bool {
        self.heard.load(Ordering::SeqCst)
    }

    /// Waits for the last lines of a pod that ended.
    pub async fn drain(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if tokio::time::timeout(LAST_LINES, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Log {
    cluster: Cluster,
    pod: String,
    voice: Voice,
    heard: Arc<AtomicBool>,
}

impl Log {
    async fn relay(self, is_over: Arc<AtomicBool>) {
        let (mut since, mut is_told) = (None, false);
        loop {
            let was_over = is_over.load(Ordering::SeqCst);
            match self.cluster.pod_log(NAMESPACE, &self.pod, since).await {
                Ok(lines) => {
                    let mut lines = pin!(lines);
                    while let Some((at, line)) = lines.next().await {
                        self.say(at, &line, &mut since);
                    }
                }
                Err(error) if !is_told => {
                    is_told = true;
                    let line = format!("Log        skipped ({error}); the run record is shown instead");
                    self.voice.tell(Event::Said { line });
                }
                Err(_) => {}
            }
            if was_over {
                return;
            }
            tokio::time::sleep(BEFORE_AGAIN).await;
        }
    }

    fn say(&self, at: Timestamp, line: &str, since: &mut Option<Timestamp>) {
        *since = Some(at);
        self.heard.store(true, Ordering::SeqCst);
        self.voice.tell(event_of(line));
    }
}

fn event_of(line: &str) -> Event {
    let event = line.starts_with('{').then(|| serde_json::from_str(line).ok()).flatten();
    event.unwrap_or_else(|| Event::Said { line: line.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_an_event_becomes_one_and_any_other_is_said() {
        let event = Event::NodeStarted { node: "a".to_owned(), done: 1, of: 3 };
        let mut value = serde_json::to_value(&event).unwrap();
        value["at"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(event_of(&value.to_string()), event);
        for line in ["", "Path  v2.2.1", "{\"kind\": 1}", "{"] {
            assert_eq!(event_of(line), Event::Said { line: line.to_owned() });
        }
    }
}
