use std::{collections::BTreeMap, pin::Pin, time::Duration};

use futures::{Stream, StreamExt};
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::time::Instant;

use super::{Cluster, ClusterError};
use crate::{
    datastore::escape,
    resource::{Kind, ObjectRef},
};

/// How long the server keeps one watch open; then it is opened again.
const WATCH_SECONDS: u32 = 240;

/// A pod of a DaemonSet, as far as a roll needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    pub name: String,
    pub uid: String,
    pub node: String,
    /// The hash of the template that the pod was made from; absent before Kubernetes v1.7.
    pub revision: Option<String>,
    pub images: Vec<String>,
    pub is_ready: bool,
    /// Since when, as the cluster says.
    pub ready_since: Option<jiff::Timestamp>,
    pub is_terminating: bool,
    /// Whether each container ran at least once, so that its image is on the node.
    pub has_run: bool,
    /// Why a container does not run, or why the pod cannot be placed.
    pub trouble: Option<String>,
    /// The DaemonSet that runs the pod, if one does.
    pub daemon_set: Option<String>,
}

/// The pods that a label selector picks, kept up to date by a watch.
///
/// A watch is only a hint: whenever it breaks or goes stale, the pods are listed again.
pub struct PodFeed {
    cluster: Cluster,
    namespace: String,
    selector: String,
    /// The DaemonSet whose pods alone count; a selector may pick those of others as well.
    daemon_set: Option<String>,
    pods: BTreeMap<String, Followed>,
    events: Events,
}

type Events = Pin<Box<dyn Stream<Item = Result<WatchEvent<Value>, kube::Error>> + Send>>;

impl Cluster {
    /// Lists the pods that a selector picks and goes on following them.
    pub async fn follow_pods(&self, namespace: &str, selector: &str) -> Result<PodFeed, ClusterError> {
        self.follow(namespace, selector, None).await
    }

    /// The same, but only those of the pods that the DaemonSet runs.
    pub async fn follow_pods_of(&self, daemon_set: &ObjectRef, selector: &str) -> Result<PodFeed, ClusterError> {
        let namespace = daemon_set.namespace.as_deref().unwrap_or_default();
        self.follow(namespace, selector, Some(daemon_set.name.clone())).await
    }

    async fn follow(
        &self,
        namespace: &str,
        selector: &str,
        daemon_set: Option<String>,
    ) -> Result<PodFeed, ClusterError> {
        let (namespace, selector) = (namespace.to_owned(), selector.to_owned());
        let events: Events = Box::pin(futures::stream::empty());
        let mut feed =
            PodFeed { cluster: self.clone(), namespace, selector, daemon_set, pods: BTreeMap::new(), events };
        feed.start_again().await?;
        Ok(feed)
    }
}

impl PodFeed {
    /// The pods as last heard of, by name.
    pub fn pods(&self) -> &BTreeMap<String, Followed> {
        &self.pods
    }

    /// Waits for the next news, at most until the given instant. Answers whether there was any.
    pub async fn next(&mut self, until: Instant) -> Result<bool, ClusterError> {
        match tokio::time::timeout_at(until, self.events.next()).await {
            Err(_) => Ok(false),
            Ok(Some(Ok(event))) => self.take(event).await.map(|()| true),
            // The watch ended, was cut off, or went stale.
            Ok(Some(Err(_)) | None) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
                self.start_again().await.map(|()| true)
            }
        }
    }

    async fn take(&mut self, event: WatchEvent<Value>) -> Result<(), ClusterError> {
        match event {
            WatchEvent::Added(body) | WatchEvent::Modified(body) => match Followed::read(&body) {
                Some(pod) if self.counts(&pod) => drop(self.pods.insert(pod.name.clone(), pod)),
                Some(pod) => drop(self.pods.remove(&pod.name)),
                None => {}
            },
            WatchEvent::Deleted(body) => {
                self.pods.remove(body["metadata"]["name"].as_str().unwrap_or_default());
            }
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(_) => self.start_again().await?,
        }
        Ok(())
    }

    fn counts(&self, pod: &Followed) -> bool {
        self.daemon_set.is_none() || self.daemon_set == pod.daemon_set
    }

    async fn start_again(&mut self) -> Result<(), ClusterError> {
        let read = |body: Value| Ok(Followed::read(&body));
        let (pods, revision) = self.cluster.collect(Kind::Pod, Some(&self.namespace), &self.selector, read).await?;
        let pods = pods.into_iter().flatten().filter(|pod| self.counts(pod));
        self.pods = pods.map(|pod| (pod.name.clone(), pod)).collect();
        self.events = self.open(&revision).await?;
        Ok(())
    }

    async fn open(&self, revision: &str) -> Result<Events, ClusterError> {
        let collection = self.cluster.place(Kind::Pod)?.collection(Some(&self.namespace));
        let selector = escape(&self.selector);
        let path = format!(
            "{collection}?watch=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={revision}&labelSelector={selector}"
        );
        self.cluster.count_request();
        let request = http::Request::get(&path)
            .body(Vec::new())
            .map_err(|source| ClusterError::Path { path: path.clone(), source })?;
        match self.cluster.client.request_events::<Value>(request).await {
            Ok(events) => Ok(Box::pin(events)),
            Err(source) => Err(ClusterError::of(&http::Method::GET, &path, source)),
        }
    }
}

impl Followed {
    fn read(body: &Value) -> Option<Self> {
        let metadata = &body["metadata"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let labels = &metadata["labels"];
        let containers = body["spec"]["containers"].as_array()?;
        let ready = condition(body, "Ready").filter(|ready| ready["status"] == "True");
        Some(Self {
            name: text(&metadata["name"])?,
            uid: text(&metadata["uid"])?,
            node: text(&body["spec"]["nodeName"]).or_else(|| wanted_node(body)).unwrap_or_default(),
            revision: text(&labels["controller-revision-hash"]),
            images: containers.iter().filter_map(|container| text(&container["image"])).collect(),
            is_ready: ready.is_some(),
            ready_since: ready.and_then(|ready| ready["lastTransitionTime"].as_str()?.parse().ok()),
            is_terminating: !metadata["deletionTimestamp"].is_null(),
            has_run: has_run(body, containers.len()),
            trouble: trouble(body),
            daemon_set: controller(body).filter(|one| one["kind"] == "DaemonSet").and_then(|one| text(&one["name"])),
        })
    }
}

/// What runs an object and makes it anew, if anything does.
pub fn controller(body: &Value) -> Option<&Value> {
    body["metadata"]["ownerReferences"].as_array()?.iter().find(|owner| owner["controller"] == true)
}

/// The node that a pod of a DaemonSet is meant for before it is placed (Kubernetes v1.12 and later place by affinity).
fn wanted_node(body: &Value) -> Option<String> {
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let fields = body.pointer(terms)?.get(0)?["matchFields"].as_array()?;
    let field = fields.iter().find(|field| field["key"] == "metadata.name")?;
    field["values"][0].as_str().map(str::to_owned)
}

pub(super) fn condition<'a>(body: &'a Value, kind: &str) -> Option<&'a Value> {
    body["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

pub(super) fn has_run(body: &Value, containers: usize) -> bool {
    let statuses = body["status"]["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ran = |status: &Value| {
        let ended = [&status["state"]["terminated"], &status["lastState"]["terminated"]];
        status["state"]["running"].is_object() || ended.into_iter().any(Value::is_object)
    };
    statuses.len() == containers && statuses.iter().all(ran)
}

/// What keeps a pod from getting ready, as far as its containers or the scheduler say.
pub(super) fn trouble(body: &Value) -> Option<String> {
    let statuses = ["initContainerStatuses", "containerStatuses"].into_iter();
    let mut containers = statuses.flat_map(|key| body["status"][key].as_array().into_iter().flatten());
    containers.find_map(trouble_of).or_else(|| not_placed(body))
}

/// Why a container waits, and how it ended before: one that fails again and again is seen at any of these moments.
fn trouble_of(status: &Value) -> Option<String> {
    let name = status["name"].as_str().unwrap_or_default();
    let waiting = &status["state"]["waiting"];
    let reason =
        waiting["reason"].as_str().filter(|reason| !["", "ContainerCreating", "PodInitializing"].contains(reason));
    let message = waiting["message"].as_str().unwrap_or_default();
    match (reason, failed_end(status)) {
        (Some(reason), Some(end)) => Some(format!("container {name}: {end}; {reason} {message}")),
        (Some(reason), None) => Some(format!("container {name}: {reason} {message}")),
        (None, Some(end)) => Some(format!("container {name}: {end}")),
        (None, None) => None,
    }
    .map(|text| text.trim_end().to_owned())
}

fn failed_end(status: &Value) -> Option<String> {
    let ends = [&status["state"]["terminated"], &status["lastState"]["terminated"]];
    let end = ends.into_iter().find(|end| end["exitCode"].as_i64().is_some_and(|code| code != 0))?;
    Some(format!("ended with exit {}, {}", end["exitCode"], end["reason"].as_str().unwrap_or("no reason given")))
}

fn not_placed(body: &Value) -> Option<String> {
    let placed = condition(body, "PodScheduled").filter(|condition| condition["status"] == "False")?;
    Some(format!(
        "not placed: {}",
        placed["message"].as_str().or(placed["reason"].as_str()).unwrap_or("no reason given")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod_with(status: Value) -> Value {
        json!({"status": {"containerStatuses": [{"name": "calico-node", "state": {"running": {}}}, status]}})
    }

    #[test]
    fn a_container_that_fails_again_and_again_says_how_it_ends_at_any_moment() {
        let end = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        let waits = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
        let moments = [
            (json!({"name": "install-cni", "state": end}), "container install-cni: ended with exit 1, Error"),
            (
                json!({"name": "install-cni", "state": waits, "lastState": end}),
                "container install-cni: ended with exit 1, Error; CrashLoopBackOff back-off 10s",
            ),
            (
                json!({"name": "install-cni", "state": {"running": {}}, "lastState": end}),
                "container install-cni: ended with exit 1, Error",
            ),
        ];
        for (status, told) in moments {
            assert_eq!(trouble(&pod_with(status)).as_deref(), Some(told));
        }
    }

    #[test]
    fn a_container_that_starts_or_came_to_its_end_is_no_trouble() {
        let starts = json!({"name": "install-cni", "state": {"waiting": {"reason": "ContainerCreating"}}});
        let done = json!({"name": "install-cni", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        for status in [starts, done] {
            assert_eq!(trouble(&pod_with(status)), None);
        }
    }
}
