//! Reads what probes counted from their logs, and has a new pod try a node.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    FRESH_WITHIN, Place, Probes,
    objects::{refusal, words_of},
};
use crate::{
    door::{Action, Change, Door, NAMESPACE},
    plan::{Probe, Probing},
    probe::{ACCOUNT_MS, Account, Net, TIMEOUT_MS},
    resource::ObjectRef,
    step::StepError,
};

/// A kubelet that cannot be reached is asked again later.
const LOG_WITHIN: Duration = Duration::from_secs(5);

/// News of pods that are taken in before a look: those that there are, as a rule.
const NEWS: usize = 10_000;

/// Logs that are read at once.
const IN_FLIGHT: usize = 24;

/// How long a new pod may take from its creation until it has reached its neighbours.
const NEW_POD_WITHIN: Duration = Duration::from_secs(90);

/// Accounts by place, and why others could not be read.
type Read = (BTreeMap<Place, Account>, Vec<(Place, String)>);

impl Probes {
    /// The newest account of each probe.
    pub(super) async fn read(&mut self, places: &[Place], door: &Door) -> Result<Read, StepError> {
        for _ in 0..NEWS {
            if !self.feed.next(Instant::now()).await? {
                break;
            }
        }
        let pods = places.iter().map(|place| (place.clone(), self.pod_at(place)));
        let reads = pods.map(|(place, pod)| async move {
            let account = match pod {
                Ok(pod) => newest(door, &pod).await,
                Err(why) => Err(why),
            };
            (place, account)
        });
        let (mut read, mut unread) = (BTreeMap::new(), Vec::new());
        for (place, account) in futures::stream::iter(reads).buffered(IN_FLIGHT).collect::<Vec<_>>().await {
            match account {
                Ok(account) => drop(read.insert(place, account)),
                Err(why) => unread.push((place, why)),
            }
        }
        Ok((read, unread))
    }

    /// Accounts in which everything that was sent until now is decided.
    pub(super) async fn read_fresh(&mut self, places: &[Place], door: &Door) -> Result<Read, StepError> {
        let started = Instant::now();
        let (first, _) = self.read(places, door).await?;
        loop {
            let (read, unread) = self.read(places, door).await?;
            let is_fresh = |(place, account): (&Place, &Account)| {
                let first = first.get(place).filter(|first| first.began == account.began);
                first.is_none_or(|first| account.at >= first.at + TIMEOUT_MS + ACCOUNT_MS)
            };
            // One that could never be read will not be now.
            let is_lost = |(place, _): &(Place, String)| self.before.contains_key(place);
            if (read.iter().all(is_fresh) && !unread.iter().any(is_lost)) || started.elapsed() >= FRESH_WITHIN {
                return Ok((read, unread));
            }
            self.pause().await?;
        }
    }

    pub(super) fn all_run(&self, places: &[Place]) -> bool {
        places.iter().all(|place| self.pod_at(place).is_ok())
    }

    /// The pod of a probe that runs, or why there is none.
    fn pod_at(&self, (node, net): &Place) -> Result<String, String> {
        let prefix = format!("{}-{}-", crate::plan::PROBE_NAME, net.name());
        let is_its = |name: &str| name.starts_with(&prefix);
        let mut pods = self.feed.pods().values().filter(|pod| pod.node == *node && is_its(&pod.name));
        let Some(pod) = pods.find(|pod| !pod.is_terminating) else { return Err("it has no pod".to_owned()) };
        match (&pod.trouble, pod.has_run) {
            (Some(trouble), _) => Err(trouble.clone()),
            (None, false) => Err("it does not run yet".to_owned()),
            (None, true) => Ok(pod.name.clone()),
        }
    }

    /// Has a new pod on a node reach its neighbours. Answers what it did, or why it did not work.
    pub(super) async fn try_new_pod(&self, node: &str, door: &mut Door) -> Result<Result<String, String>, StepError> {
        // Where the probe of the pod network saw nobody before, a new one would not either.
        if !self.sound.iter().any(|ends| ends.from == node && ends.from_net == Net::Pod) {
            return Ok(Ok("skipped (no pair of its pods was sound before)".to_owned()));
        }
        let probe = Probe { image: self.image.clone() };
        let probing = Probing { probe: &probe, namespace: NAMESPACE, run: &self.run };
        let (object, document) = probing.new_pod(node);
        self.remove_new_pod(node, &object, door).await?;
        let label = format!("create new Pod to check {node}");
        let create = Change { label, object: object.clone(), action: Action::Create { after: document } };
        if let Err(error) = door.apply(&self.step, vec![create], |_| {}).await {
            let why = refusal(error)?;
            self.remove_new_pod(node, &object, door).await?;
            return Ok(Ok(format!("skipped ({why})")));
        }
        let ended = self.wait_for_end(&object, door).await?;
        self.remove_new_pod(node, &object, door).await?;
        Ok(ended)
    }

    /// One that a killed runner left is in the way of the next.
    async fn remove_new_pod(&self, node: &str, object: &ObjectRef, door: &mut Door) -> Result<(), StepError> {
        let Some(body) = door.cluster.get_raw(object).await? else { return Ok(()) };
        let uid = body["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let label = format!("delete new Pod to check {node}");
        let change = Change { label, object: object.clone(), action: Action::DeletePod { uid } };
        door.apply(&self.step, vec![change], |_| {}).await?;
        let started = Instant::now();
        while door.cluster.get_raw(object).await?.is_some() && started.elapsed() < FRESH_WITHIN {
            self.pause().await?;
        }
        Ok(())
    }

    async fn wait_for_end(&self, object: &ObjectRef, door: &Door) -> Result<Result<String, String>, StepError> {
        let started = Instant::now();
        loop {
            let Some(body) = door.cluster.get_raw(object).await? else {
                return Ok(Err("someone deleted it".to_owned()));
            };
            let phase = body["status"]["phase"].as_str().unwrap_or_default();
            let address = body["status"]["podIP"].as_str().unwrap_or("no address").to_owned();
            if ["Succeeded", "Failed"].contains(&phase) {
                let account = newest(door, &object.name).await;
                return Ok(reached(phase, &address, account));
            }
            if started.elapsed() >= NEW_POD_WITHIN {
                return Ok(Err(format!("{} after {}s", state_of(&body, phase), NEW_POD_WITHIN.as_secs())));
            }
            self.pause().await?;
        }
    }
}

/// What a new pod that ended did.
fn reached(phase: &str, address: &str, account: Result<Account, String>) -> Result<String, String> {
    let reached = account.map(|account| {
        let answered = account.pairs.iter().filter(|pair| pair.answered > 0).count();
        format!("{answered} of {} neighbours", account.pairs.len())
    });
    let reached = reached.unwrap_or_else(|why| format!("a neighbour (which ones is not known: {why})"));
    match phase {
        "Succeeded" => Ok(format!("got {address} and reached {reached}")),
        _ => Err(format!("it got {address} and reached no neighbour")),
    }
}

/// Why a pod has not ended, as its kubelet says.
fn state_of(body: &Value, phase: &str) -> String {
    let waiting = &body["status"]["containerStatuses"][0]["state"]["waiting"];
    let reason = waiting["reason"].as_str().unwrap_or_default();
    let message = waiting["message"].as_str().unwrap_or_default();
    format!("{phase} {reason} {message}").split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn newest(door: &Door, pod: &str) -> Result<Account, String> {
    let line = tokio::time::timeout(LOG_WITHIN, door.cluster.newest_log_line(NAMESPACE, pod)).await;
    let silent = |_| format!("its kubelet gave no log in {}s", LOG_WITHIN.as_secs());
    let line = line.map_err(silent)?.map_err(|error| words_of(&error))?;
    Account::read(&line)
        .ok_or_else(|| format!("its log is no account: {}", line.trim().chars().take(200).collect::<String>()))
}
