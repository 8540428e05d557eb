//! What the API server tells of nodes and pods.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Shared;
use crate::api::{Api, ApiError};

pub const NODES: &str = "/api/v1/nodes";
pub const PODS: &str = "/api/v1/pods";

const BEFORE_AGAIN: Duration = Duration::from_millis(50);
/// How long the API server keeps one watch open; less than a client waits for an answer.
const WATCH_SECONDS: u32 = 240;

pub enum News {
    /// All objects of a collection.
    All(&'static str, Vec<Value>),
    /// One as it is now.
    Is(&'static str, Value),
    Gone(&'static str, Value),
    /// Something else changed.
    LookAgain,
}

/// Follows one collection until the kubelets are over.
pub struct Feed {
    pub api: Api,
    pub collection: &'static str,
    pub news: Sender<News>,
    pub shared: Arc<Shared>,
}

impl Feed {
    pub fn follow(self) {
        while !self.shared.is_over() {
            // An API server that is down or starts anew says nothing that matters, and comes back.
            if self.list_and_watch().is_err() {
                thread::sleep(BEFORE_AGAIN);
            }
        }
    }

    fn list_and_watch(&self) -> Result<(), ApiError> {
        let mut list = self.api.get(self.collection)?;
        let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        self.tell(News::All(self.collection, items));
        let path = format!("{}?watch=true&resourceVersion={revision}&timeoutSeconds={WATCH_SECONDS}", self.collection);
        for line in self.api.watch(&path)?.lines() {
            let event = line.ok().and_then(|line| serde_json::from_str::<Value>(&line).ok());
            let Some(mut event) = event.filter(|_| !self.shared.is_over()) else { break };
            let object = event["object"].take();
            match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => self.tell(News::Is(self.collection, object)),
                Some("DELETED") => self.tell(News::Gone(self.collection, object)),
                // The revision is too old, for example.
                _ => break,
            }
        }
        Ok(())
    }

    fn tell(&self, news: News) {
        // The worker ends last, and nobody misses this then.
        let _ = self.news.send(news);
    }
}
