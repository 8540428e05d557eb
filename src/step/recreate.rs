//! Makes an object anew whose field cannot be changed: the old one goes, and with it what it owns or, of a DaemonSet, nothing;
//! pods that are left get the labels of the new template; the new one comes. `plan::Recreation` says why in this order.
//!
//! The run record knows that we deleted the object, so that one that others deleted is not taken for it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{State, Step, StepError, objects::drift, state_of};
use crate::{
    cluster::{Cluster, ClusterError, controller},
    door::{Action, BATCH, Change, Door},
    event::{Event, Voice},
    plan::{Plan, Recreation},
    resource::{Document, Kind, Live, ObjectRef},
};

/// The label of every pod that a DaemonSet made (Kubernetes v1.7 and later).
const OF_TEMPLATE: &str = "controller-revision-hash";

/// How long the controller gets to hear of the new labels before the new DaemonSet comes. It hears of pods and of DaemonSets by two
/// watches: if the second were faster, it would start pods beside those that it does not know for its own yet, and end them again.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn take(
    step: &Step<'_>,
    recreation: &Recreation,
    door: &mut Door,
    voice: &Voice,
) -> Result<(), StepError> {
    let object = &recreation.change.object;
    match at(step.plan, recreation, door).await? {
        At::New => return Ok(()),
        At::Old(live) => delete(step, recreation, live, door, voice).await?,
        At::Going | At::Gone => {}
    }
    let gone = async || Ok(door.cluster.get(object).await?.is_none());
    step.wait(door, format!("{object} to be gone"), gone, voice).await?;
    label_pods(step, recreation, door, voice).await?;
    send(step, creation(recreation).into_iter().collect(), door, voice).await
}

/// How far an object is on its way to be made anew.
enum At {
    Old(Box<Live>),
    /// It is deleted, and still there until all that it owns is let go of.
    Going,
    Gone,
    New,
}

async fn at(plan: &Plan, recreation: &Recreation, door: &Door) -> Result<At, StepError> {
    let change = &recreation.change;
    let live = door.cluster.get(&change.object).await?;
    let is_ours = change.before.is_none() || door.state().taken_down.contains(&change.object);
    let is_going = live.as_ref().is_none_or(|live| live.is_terminating);
    match (state_of(plan, change, live.as_ref()), live) {
        (_, Some(_)) if is_going && is_ours => Ok(At::Going),
        (_, None) if is_ours => Ok(At::Gone),
        (State::Done, Some(_)) if !is_going => Ok(At::New),
        (State::Before | State::Earlier, Some(live)) if !is_going => Ok(At::Old(Box::new(live))),
        (_, live) => Err(drift(change, live.as_ref()).into()),
    }
}

async fn delete(
    step: &Step<'_>,
    recreation: &Recreation,
    live: Box<Live>,
    door: &mut Door,
    voice: &Voice,
) -> Result<(), StepError> {
    // What the server would refuse must not be learnt when the old one is gone.
    if door.cluster.can_try_writes() {
        try_creation(recreation, &door.cluster).await?;
    }
    let object = recreation.change.object.clone();
    door.reserve(&step.planned.name, 1, |state| {
        if !state.taken_down.contains(&object) {
            state.taken_down.push(object.clone());
        }
    })
    .await?;
    send(step, vec![deletion(recreation, live)], door, voice).await
}

fn deletion(recreation: &Recreation, before: Box<Live>) -> Change {
    let object = recreation.change.object.clone();
    let action = if recreation.labels.is_empty() { Action::Delete { before } } else { Action::DeleteAlone { before } };
    Change { label: format!("delete {object}"), object, action }
}

fn creation(recreation: &Recreation) -> Option<Change> {
    let (object, after) = (recreation.change.object.clone(), recreation.change.after.clone()?);
    Some(Change { label: format!("create {object}"), object, action: Action::Create { after } })
}

/// Has the server try the new form under another name, since the old one still bears its own.
async fn try_creation(recreation: &Recreation, cluster: &Cluster) -> Result<(), StepError> {
    let Some(mut change) = creation(recreation) else { return Ok(()) };
    if let Action::Create { after } = &mut change.action {
        change.object.name.push_str("-tried");
        let mut body = after.value();
        body["metadata"]["name"] = json!(change.object.name);
        *after = Document::new(body);
    }
    change.try_out(cluster).await.map_err(|error| StepError::Door(error.into()))
}

/// Gives the pods that nobody runs any more the labels by which the new DaemonSet knows its own.
async fn label_pods(step: &Step<'_>, recreation: &Recreation, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    if recreation.labels.is_empty() {
        return Ok(());
    }
    let cluster = door.cluster.clone();
    let what = format!("the pods of {} to be let go of", recreation.change.object);
    let let_go = async || Ok(pods(&cluster, recreation).await?.iter().all(Pod::is_orphan));
    step.wait(door, what, let_go, voice).await?;
    loop {
        let mut left = pods(&cluster, recreation).await?;
        left.retain(|pod| pod.is_orphan() && pod.lacks(&recreation.labels));
        if left.is_empty() {
            break;
        }
        left.truncate(BATCH);
        send(step, left.into_iter().map(|pod| pod.labelling(&recreation.labels)).collect(), door, voice).await?;
    }
    let labelled = Instant::now();
    let heard = async || Ok(labelled.elapsed() >= HEARD_WITHIN);
    step.wait(door, "the controller to hear of the labels".to_owned(), heard, voice).await
}

async fn send(step: &Step<'_>, changes: Vec<Change>, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    if changes.is_empty() {
        return Ok(());
    }
    let name = &step.planned.name;
    let told = changes.iter().map(|change| (change.intent().action.name().to_owned(), change.object.to_string()));
    let told: Vec<_> = told.map(|(verb, object)| Event::Changed { step: name.clone(), verb, object }).collect();
    door.apply(name, changes, |_| {}).await?;
    told.into_iter().for_each(|event| voice.tell(event));
    Ok(())
}

/// A pod that the DaemonSet made.
struct Pod {
    live: Live,
    node: String,
    /// Whether a DaemonSet of the name runs it; while there is none, one that is gone.
    is_run: bool,
}

impl Pod {
    fn is_orphan(&self) -> bool {
        !self.is_run
    }

    fn lacks(&self, labels: &BTreeMap<String, Option<String>>) -> bool {
        let body = self.live.document.value();
        let found = |key: &str| body["metadata"]["labels"].get(key).and_then(Value::as_str);
        !self.live.is_terminating && labels.iter().any(|(key, wanted)| found(key) != wanted.as_deref())
    }

    fn labelling(self, labels: &BTreeMap<String, Option<String>>) -> Change {
        let namespace = self.live.namespace.clone().unwrap_or_default();
        Change {
            label: format!("label Pod on {}", self.node),
            object: ObjectRef::namespaced(Kind::Pod, namespace, &self.live.name),
            action: Action::Patch { before: Box::new(self.live), patch: json!({"metadata": {"labels": labels}}) },
        }
    }
}

/// The pods that a DaemonSet of this name made, whichever labels they have: a pod that people made has another `generateName`.
async fn pods(cluster: &Cluster, recreation: &Recreation) -> Result<Vec<Pod>, ClusterError> {
    let object = &recreation.change.object;
    let prefix = format!("{}-", object.name);
    let is_of_name = |owner: &Value| owner["kind"] == "DaemonSet" && owner["name"] == object.name.as_str();
    let read = |body: Value| {
        let owner = controller(&body);
        let is_ours = body["metadata"]["generateName"] == prefix.as_str() && owner.is_none_or(is_of_name);
        let (is_run, node) = (owner.is_some(), body["spec"]["nodeName"].as_str().unwrap_or_default().to_owned());
        let live = Live::read(body).ok().filter(|_| is_ours)?;
        Some(Pod { live, node, is_run })
    };
    let all = cluster.list_selected_as(Kind::Pod, object.namespace.as_deref(), OF_TEMPLATE, read).await?;
    Ok(all.into_iter().flatten().collect())
}

/// What a run would do now to make the object anew, tried by the server where it can, for a dry run.
pub async fn planned_recreation(
    cluster: &Cluster,
    plan: &Plan,
    recreation: &Recreation,
    is_tried: bool,
) -> Result<Vec<String>, StepError> {
    let change = &recreation.change;
    let live = cluster.get(&change.object).await?;
    let deletion = match (state_of(plan, change, live.as_ref()), live) {
        (State::Done, _) => return Ok(Vec::new()),
        (State::Foreign, Some(live)) => return Err(drift(change, Some(&live)).into()),
        (_, live) => live.map(|live| deletion(recreation, Box::new(live))),
    };
    if is_tried {
        try_creation(recreation, cluster).await?;
        if let Some(deletion) = &deletion {
            deletion.try_out(cluster).await.map_err(|error| StepError::Door(error.into()))?;
        }
    }
    let mut lacking = if recreation.labels.is_empty() { Vec::new() } else { pods(cluster, recreation).await? };
    lacking.retain(|pod| pod.lacks(&recreation.labels));
    let labelled = lacking.iter().map(|pod| format!("label Pod on {}", pod.node));
    let created = creation(recreation).map(|change| change.label);
    Ok(deletion.map(|change| change.label).into_iter().chain(labelled).chain(created).collect())
}
