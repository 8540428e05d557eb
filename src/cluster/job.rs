//! Jobs and their pods: what became of them, and what they write.

use futures::{AsyncBufReadExt, Stream, StreamExt};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Cluster, ClusterError, REQUEST_LIMIT,
    watch::{condition, has_run, trouble},
};
use crate::{
    datastore::escape,
    resource::{Kind, Live, ObjectRef},
};

/// A Job, as far as whoever follows it needs to know it.
#[derive(Clone, Debug, PartialEq)]
pub struct JobState {
    pub live: Live,
    /// What its container is started with.
    pub arguments: Vec<String>,
    pub image: String,
    pub end: Option<JobEnd>,
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    Complete,
    Failed { why: String },
}

/// A pod of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPod {
    pub name: String,
    pub node: String,
    created: String,
    /// Whether its container ran at least once.
    pub has_run: bool,
    /// Why the container does not run, or why the pod cannot be placed.
    pub trouble: Option<String>,
    pub end: Option<PodEnd>,
}

/// How the container of a pod ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEnd {
    pub exit: u8,
    /// What it said last, where the kubelet kept it.
    pub words: String,
}

impl Cluster {
    /// Reads a Job; `None` if it is not there.
    pub async fn job(&self, namespace: &str, name: &str) -> Result<Option<JobState>, ClusterError> {
        let reference = ObjectRef::namespaced(Kind::Job, namespace, name);
        let Some(body) = self.get_raw(&reference).await? else { return Ok(None) };
        let container = &body["spec"]["template"]["spec"]["containers"][0];
        let words = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let (arguments, image) = (words.map(str::to_owned).collect(), text(&container["image"]));
        let end = job_end(&body);
        Ok(Some(JobState { live: self.live(Kind::Job, name, body)?, arguments, image, end }))
    }

    /// Lists the pods of a Job, the newest last. Every Kubernetes labels them with the uid of their Job.
    pub async fn job_pods(&self, namespace: &str, uid: &str) -> Result<Vec<JobPod>, ClusterError> {
        let selector = format!("controller-uid={uid}");
        let read = |body: Value| Ok(JobPod::read(&body));
        let (mut pods, _) = self.collect(Kind::Pod, Some(namespace), &selector, read).await?;
        pods.sort_by(|one, other| (&one.created, &one.name).cmp(&(&other.created, &other.name)));
        Ok(pods)
    }

    /// Follows what a pod writes, each line with the time at which it was written; only what is newer than `since`.
    pub async fn pod_log(
        &self,
        namespace: &str,
        pod: &str,
        since: Option<Timestamp>,
    ) -> Result<impl Stream<Item = (Timestamp, String)> + use<>, ClusterError> {
        let place = self.place(Kind::Pod)?.collection(Some(namespace));
        // The server knows whole seconds only.
        let from = since.map_or(String::new(), |since| {
            format!("&sinceTime={}", escape(&since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
        });
        let path = format!("{place}/{pod}/log?follow=true&timestamps=true{from}");
        self.count_request();
        let request = http::Request::get(&path)
            .body(Vec::new())
            .map_err(|source| ClusterError::Path { path: path.clone(), source })?;
        let answer = tokio::time::timeout(REQUEST_LIMIT, self.client.request_stream(request)).await;
        let answer = answer.map_err(|_| ClusterError::TimedOut { path: path.clone(), limit: REQUEST_LIMIT })?;
        let lines = answer.map_err(|source| ClusterError::of(&http::Method::GET, &path, source))?.lines();
        let parsed = lines.filter_map(|line| std::future::ready(line.ok().and_then(|line| timed(&line))));
        Ok(parsed.filter(move |(at, _)| std::future::ready(since.is_none_or(|since| *at > since))))
    }
}

fn timed(line: &str) -> Option<(Timestamp, String)> {
    let (at, words) = line.split_once(' ').unwrap_or((line, ""));
    Some((at.parse().ok()?, words.to_owned()))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn job_end(body: &Value) -> Option<JobEnd> {
    let holds = |kind| condition(body, kind).filter(|condition| condition["status"] == "True");
    if holds("Complete").is_some() {
        return Some(JobEnd::Complete);
    }
    let failed = holds("Failed")?;
    let words = [text(&failed["reason"]), text(&failed["message"])];
    Some(JobEnd::Failed { why: words.join(": ").trim_matches([':', ' ']).to_owned() })
}

impl JobPod {
    fn read(body: &Value) -> Self {
        let containers = body["spec"]["containers"].as_array().map_or(0, Vec::len);
        Self {
            name: text(&body["metadata"]["name"]),
            node: text(&body["spec"]["nodeName"]),
            created: text(&body["metadata"]["creationTimestamp"]),
            has_run: has_run(body, containers),
            trouble: trouble(body),
            end: pod_end(body),
        }
    }
}

/// A pod whose node went away has a phase and no container that tells its exit code.
fn pod_end(body: &Value) -> Option<PodEnd> {
    let status = &body["status"];
    let terminated = &status["containerStatuses"][0]["state"]["terminated"];
    if let Some(exit) = terminated["exitCode"].as_u64() {
        return Some(PodEnd { exit: u8::try_from(exit).unwrap_or(u8::MAX), words: text(&terminated["message"]) });
    }
    let words = [text(&status["reason"]), text(&status["message"])].join(": ");
    // Ended from outside, as a kill ends it.
    (status["phase"] == "Failed").then_some(PodEnd { exit: 143, words })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_end_of_a_pod_is_that_of_its_program() {
        let of = |status: Value| pod_end(&json!({"status": status}));
        let terminated = json!({"exitCode": 4, "message": "not ready"});
        let ended = of(json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": terminated}}]}));
        assert_eq!(ended, Some(PodEnd { exit: 4, words: "not ready".to_owned() }));
        let evicted = of(json!({"phase": "Failed", "reason": "Evicted", "message": "disk"}));
        assert_eq!(evicted, Some(PodEnd { exit: 143, words: "Evicted: disk".to_owned() }));
        assert_eq!(of(json!({"phase": "Running", "containerStatuses": [{"state": {"running": {}}}]})), None);
    }

    #[test]
    fn a_job_has_ended_when_a_condition_says_so_and_it_holds() {
        let of = |kind: &str, status: &str| {
            job_end(&json!({"status": {"conditions": [{"type": kind, "status": status, "reason": "R"}]}}))
        };
        assert_eq!(of("Complete", "True"), Some(JobEnd::Complete));
        assert_eq!(of("Failed", "True"), Some(JobEnd::Failed { why: "R".to_owned() }));
        assert_eq!(of("FailureTarget", "True"), None);
        assert_eq!(of("Failed", "False"), None);
    }

    #[test]
    fn a_line_of_a_log_is_its_time_and_its_words() {
        let (at, words) = timed("2026-01-02T03:04:05.000000006Z a b").unwrap();
        assert_eq!((at.subsec_nanosecond(), words.as_str()), (6, "a b"));
        assert_eq!(timed("no time"), None);
    }
}
