//! Bare clients of etcd's v2 API: they read or write the keys, and neither check nor record anything.

use std::time::Instant;

use harness::CalicoEtcd;
use serde_json::Value;

use crate::measure::{Result, side_by_side};

/// From this many elements on, a directory is read with all that is below it, as the program does.
const DEEP_FROM: usize = 4;

/// What one bare reading took.
pub struct Reading {
    pub seconds: f64,
    pub requests: usize,
    pub keys: usize,
    /// The largest answer, in MB.
    pub largest: f64,
}

/// Reads everything with one recursive request.
pub fn read_whole(etcd: &CalicoEtcd, root: &str) -> Result<Reading> {
    read(etcd, root, 0)
}

/// Reads the upper levels entry by entry, and what is deeper with one recursive request for each directory.
pub fn read_by_directory(etcd: &CalicoEtcd, root: &str) -> Result<Reading> {
    read(etcd, root, DEEP_FROM)
}

fn read(etcd: &CalicoEtcd, root: &str, deep_from: usize) -> Result<Reading> {
    let (started, mut todo) = (Instant::now(), vec![root.to_owned()]);
    let mut reading = Reading { seconds: 0.0, requests: 0, keys: 0, largest: 0.0 };
    while let Some(directory) = todo.pop() {
        let is_deep = directory.matches('/').count() >= deep_from;
        let answer = etcd.directory(&directory, is_deep)?;
        reading.requests += 1;
        reading.largest = reading.largest.max(answer.len() as f64 / 1e6);
        let answer: Value = serde_json::from_str(&answer)?;
        take(&answer["node"]["nodes"], is_deep, &mut reading.keys, &mut todo);
    }
    reading.seconds = started.elapsed().as_secs_f64();
    Ok(reading)
}

/// Counts the keys of a directory, and goes into its directories now or leaves them to further requests.
fn take(nodes: &Value, is_deep: bool, keys: &mut usize, todo: &mut Vec<String>) {
    for node in nodes.as_array().into_iter().flatten() {
        match node["key"].as_str() {
            Some(directory) if node["dir"] == true && !is_deep => todo.push(directory.to_owned()),
            Some(_) if node["dir"] == true => take(&node["nodes"], is_deep, keys, todo),
            Some(_) | None => *keys += 1,
        }
    }
}

/// Writes all keys with as many requests under way at once as the program has; gives the seconds.
pub fn write(etcd: &CalicoEtcd, keys: &[(String, Vec<u8>)]) -> Result<f64> {
    side_by_side(keys, |(key, value)| etcd.put(key, value))
}
