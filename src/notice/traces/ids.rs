//! Names of traces and spans. They follow from what is named, so that runners who know nothing of each other agree.

use crate::resource::Digest;

/// One run of one cluster.
#[derive(Clone, Debug)]
pub struct Ids(String);

impl Ids {
    pub fn of(cluster: &str, run: &str) -> Self {
        Self(format!("{cluster}/{run}"))
    }

    /// 16 bytes: the first of the SHA-256 of `CLUSTER/RUN`.
    pub fn trace(&self) -> Vec<u8> {
        first(16, &self.0)
    }

    /// 8 bytes, for what has this name within the run.
    pub fn span(&self, name: &str) -> Vec<u8> {
        first(8, &format!("{}/{name}", self.0))
    }

    /// The span that all others are below.
    pub fn root(&self) -> Vec<u8> {
        self.span("run")
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn first(count: usize, text: &str) -> Vec<u8> {
    Digest::of(text.as_bytes()).bytes()[..count].to_vec()
}
