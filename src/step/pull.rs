//! Brings the new images to every node: a DaemonSet of ours comes, runs once on each node that can run pods, and goes.
//!
//! What is looked at decides what is done, so a kill at any instant is only a reason to look again: the DaemonSet is made if
//! it is missing, waited for, and removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{Step, StepError, order::names_of};
use crate::{
    cluster::{Cluster, ClusterError, Followed, PodFeed, looks},
    door::{Action, Change, Door, DoorError, Drift},
    event::{Event, Voice},
    observe,
    plan::Pull,
    resource::{Live, ObjectRef, differences},
};

/// How often, at least, the nodes and how many pods there shall be are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A node did not get the new images in time. No pod of calico-node was touched.
#[derive(Debug, thiserror::Error)]
#[error("`{node}` has not pulled the new images after {}s ({done} of {of} nodes have): {trouble}", .waited.as_secs())]
pub struct PullError {
    pub node: String,
    pub waited: Duration,
    pub done: usize,
    pub of: usize,
    pub trouble: String,
}

/// Names the changes that the step makes, in their order, for a dry run.
pub fn planned_pull(pull: &Pull) -> impl Iterator<Item = String> {
    ["create", "delete"].into_iter().map(|verb| format!("{verb} {}", pull.daemon_set))
}

pub(super) async fn take(step: &Step<'_>, pull: &Pull, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    let name = &step.planned.name;
    match state_of(door.cluster.get(&pull.daemon_set).await?, pull)? {
        State::There => {}
        State::Missing => create(name, pull, door).await?,
        State::Stale(live) => {
            remove(step, pull, live, door, voice).await?;
            create(name, pull, door).await?;
        }
    }
    wait_for_images(name, pull, door, voice).await?;
    match door.cluster.get(&pull.daemon_set).await? {
        Some(live) => remove(step, pull, Box::new(live), door, voice).await,
        None => Ok(()),
    }
}

/// What of the DaemonSet is there.
enum State {
    Missing,
    There,
    /// One of a run that was given up.
    Stale(Box<Live>),
}

/// One that says something else goes if it bears our label; else it is of others.
fn state_of(live: Option<Live>, pull: &Pull) -> Result<State, StepError> {
    let Some(live) = live else { return Ok(State::Missing) };
    let (wanted, found) = (pull.document.value(), live.document.value());
    if differences(&wanted, &found).is_empty() {
        return Ok(State::There);
    }
    if found["metadata"]["labels"] == wanted["metadata"]["labels"] {
        return Ok(State::Stale(Box::new(live)));
    }
    Err(Box::new(Drift::between(&pull.daemon_set, &wanted, &wanted, &found)).into())
}

async fn create(name: &str, pull: &Pull, door: &mut Door) -> Result<(), StepError> {
    door.apply(name, vec![change(pull, Action::Create { after: pull.document.clone() })], |_| {}).await?;
    Ok(())
}

async fn remove(
    step: &Step<'_>,
    pull: &Pull,
    live: Box<Live>,
    door: &mut Door,
    voice: &Voice,
) -> Result<(), StepError> {
    door.apply(&step.planned.name, vec![change(pull, Action::Delete { before: live })], |_| {}).await?;
    let are_gone = async || Ok(follow(&door.cluster, pull).await?.pods().is_empty());
    step.wait(door, "the pods that pulled the images to go".to_owned(), are_gone, voice).await
}

fn change(pull: &Pull, action: Action) -> Change {
    let mut change = Change { label: String::new(), object: pull.daemon_set.clone(), action };
    change.label = format!("{} {}", change.intent().action.name(), change.object);
    change
}

async fn follow(cluster: &Cluster, pull: &Pull) -> Result<PodFeed, ClusterError> {
    cluster.follow_pods(pull.daemon_set.namespace.as_deref().unwrap_or_default(), &pull.selector).await
}

/// Waits until every pod that shall be has run, but for those on nodes that run no pods.
async fn wait_for_images(name: &str, pull: &Pull, door: &Door, voice: &Voice) -> Result<(), StepError> {
    let (cluster, limit, started) = (&door.cluster, Duration::from_secs(pull.within_seconds), Instant::now());
    let mut feed = follow(cluster, pull).await?;
    let mut stop = door.stop.clone();
    let (mut told, mut looks) = (BTreeMap::new(), looks(LOOK_AGAIN));
    loop {
        let wanted = wanted_pods(cluster, &pull.daemon_set).await?;
        let able = names_of(&observe::nodes(cluster).await?, |node| node.is_ready);
        let until = Instant::now() + looks.next().unwrap_or(LOOK_AGAIN);
        loop {
            let lacking: Vec<&Followed> = feed.pods().values().filter(|pod| is_lacking(pod, &able)).collect();
            let of = feed.pods().len();
            voice.tell(Event::StepProgress { step: name.to_owned(), done: of - lacking.len(), of });
            if lacking.is_empty() && wanted == Some(of) {
                return Ok(());
            }
            tell_troubles(&lacking, &mut told, voice);
            door.check_hope()?;
            if started.elapsed() >= limit {
                return Err(late(&lacking, of, started.elapsed()).into());
            }
            tokio::select! {
                is_news = feed.next(until) => if !is_news? { break },
                exit = stop.wait() => return Err(DoorError::Interrupted { exit }.into()),
            }
        }
    }
}

fn is_lacking(pod: &Followed, able: &BTreeSet<String>) -> bool {
    !pod.has_run && !pod.is_terminating && able.contains(&pod.node)
}

/// How many pods the controller wants, once it has seen the newest form of the DaemonSet.
pub(super) async fn wanted_pods(cluster: &Cluster, daemon_set: &ObjectRef) -> Result<Option<usize>, ClusterError> {
    let body = cluster.get_raw(daemon_set).await?.unwrap_or_default();
    let is_seen = body["status"]["observedGeneration"].as_i64() >= body["metadata"]["generation"].as_i64();
    let wanted = body["status"]["desiredNumberScheduled"].as_u64().and_then(|count| usize::try_from(count).ok());
    Ok(wanted.filter(|_| is_seen))
}

/// Tells what keeps a node, once for each reason.
fn tell_troubles(lacking: &[&Followed], told: &mut BTreeMap<String, String>, voice: &Voice) {
    for pod in lacking {
        let Some(why) = pod.trouble.clone() else { continue };
        if told.insert(pod.node.clone(), why.clone()).as_ref() != Some(&why) {
            voice.tell(Event::NodeWaiting { node: pod.node.clone(), why });
        }
    }
}

fn late(lacking: &[&Followed], of: usize, waited: Duration) -> PullError {
    let (node, trouble) = match lacking.first() {
        Some(pod) => (pod.node.clone(), pod.trouble.clone()),
        None => ("a node".to_owned(), Some("its pod has not been made".to_owned())),
    };
    let trouble = trouble.unwrap_or_else(|| "still pulling".to_owned());
    PullError { node, waited, done: of - lacking.len(), of, trouble }
}
