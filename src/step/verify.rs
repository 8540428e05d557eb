//! What must hold once everything is done, and the facts that prove it. That a pod is Ready proves nothing by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{StepError, controllers, lines, objects, order::names_of, pull::wanted_pods};
use crate::{
    cluster::{Cluster, ClusterError, Followed},
    observe::{nodes, read_each},
    plan::{ObjectChange, Plan, Purpose, Verify},
    resource::{Kind, Live, ObjectRef},
};

/// Something that must hold, whether it does, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub text: String,
    pub holds: bool,
    pub facts: Vec<String>,
}

/// Looks at the cluster and answers for every claim whether it holds.
pub async fn claims(cluster: &Cluster, plan: &Plan, verify: &Verify) -> Result<Vec<Claim>, StepError> {
    let mut claims = Vec::new();
    // A restore replaces no node.
    if !matches!(plan.purpose, Purpose::Restore { .. }) {
        claims.push(nodes_run_the_release(cluster, verify).await?);
    }
    claims.extend(objects_are_as_planned(cluster, plan).await?);
    if let Some(controllers) = &verify.controllers {
        claims.push(controllers::one_runs(cluster, controllers).await?);
    }
    if !verify.third_party.is_empty() {
        claims.push(old_data_is_untouched(cluster, verify).await?);
    }
    claims.extend(policies_are_converted(cluster, verify).await?);
    Ok(claims)
}

/// Holds that every node runs the image, and that its pod is ready.
pub async fn nodes_run_the_release(cluster: &Cluster, verify: &Verify) -> Result<Claim, ClusterError> {
    let feed = cluster.follow_pods_of(&verify.daemon_set, &verify.selector).await?;
    let is_new = |pod: &&Followed| pod.is_ready && !pod.is_terminating && pod.images.contains(&verify.image);
    let (mut new, mut old): (Vec<_>, Vec<_>) = feed.pods().values().partition(is_new);
    let wanted = wanted_pods(cluster, &verify.daemon_set).await?;
    if !old.is_empty() || wanted != Some(new.len()) {
        let is_there = are_there(cluster).await?;
        new.retain(&is_there);
        old.retain(&is_there);
    }
    let mut facts = vec![match wanted {
        Some(wanted) => format!("{} of {wanted} wanted pods are ready and run {}", new.len(), verify.image),
        None => format!("the controller has not seen the newest form of {} yet", verify.daemon_set),
    }];
    facts.extend(
        old.iter()
            .map(|pod| format!("{} on {} runs {} ({})", pod.name, pod.node, pod.images.join(", "), readiness(pod))),
    );
    let holds = old.is_empty() && wanted == Some(new.len()) && !new.is_empty();
    Ok(Claim { text: format!("calico-node runs {} on every node", verify.image), holds, facts })
}

/// Tells the pods of nodes that were removed from the others: they stay until the garbage collector of pods comes, most of
/// a minute.
async fn are_there(cluster: &Cluster) -> Result<impl Fn(&&Followed) -> bool, ClusterError> {
    let there = names_of(&nodes(cluster).await?, |_| true);
    Ok(move |pod: &&Followed| pod.node.is_empty() || there.contains(&pod.node))
}

fn readiness(pod: &Followed) -> String {
    if pod.is_ready { "ready".to_owned() } else { pod.trouble.clone().unwrap_or_else(|| "not ready".to_owned()) }
}

/// One claim for each kind of object that the plan changes, with counts.
async fn objects_are_as_planned(cluster: &Cluster, plan: &Plan) -> Result<Vec<Claim>, ClusterError> {
    let mut last: BTreeMap<&ObjectRef, &ObjectChange> = BTreeMap::new();
    for change in plan.changes() {
        last.insert(&change.object, change);
    }
    // Compared as it is read: of 100,000 keys only the answers stay.
    let is_done = |object: &ObjectRef, live: Option<&Live>| {
        last.get(object).is_some_and(|change| objects::state_of(plan, change, live) == objects::State::Done)
    };
    let live = read_each(cluster, last.keys().copied(), |object, live| is_done(object, Some(&live))).await?;
    let mut by_kind: BTreeMap<Kind, (usize, Vec<String>)> = BTreeMap::new();
    for object in last.keys() {
        let (count, wrong) = by_kind.entry(object.kind).or_default();
        *count += 1;
        if !live.get(object).copied().unwrap_or_else(|| is_done(object, None)) {
            wrong.push(format!("{object} is not as planned"));
        }
    }
    let (count, wrong) = lines::as_planned(cluster, plan).await?;
    if count > 0 {
        let (all, of_kind) = by_kind.entry(Kind::EtcdKey).or_default();
        *all += count;
        of_kind.extend(wrong.into_iter().map(|object| format!("{object} is not as planned")));
    }
    let claim = |(kind, (count, wrong)): (Kind, (usize, Vec<String>))| Claim {
        text: format!("{count} {kind} objects are as planned"),
        holds: wrong.is_empty(),
        facts: if wrong.is_empty() { vec![format!("{count} compared, field by field")] } else { wrong },
    };
    Ok(by_kind.into_iter().map(claim).collect())
}

async fn old_data_is_untouched(cluster: &Cluster, verify: &Verify) -> Result<Claim, StepError> {
    let count = verify.third_party.len();
    let text = format!("the {count} objects of old data are untouched");
    match objects::check_unchanged(cluster, &verify.third_party).await {
        Ok(()) => Ok(Claim { text, holds: true, facts: vec![format!("{count} digests equal")] }),
        Err(StepError::SourceChanged { object }) => {
            Ok(Claim { text, holds: false, facts: vec![format!("{object} changed")] })
        }
        Err(other) => Err(other),
    }
}

async fn policies_are_converted(cluster: &Cluster, verify: &Verify) -> Result<Vec<Claim>, ClusterError> {
    if verify.isolated.is_empty() && verify.opened.is_empty() {
        return Ok(Vec::new());
    }
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for live in cluster.list(Kind::NetworkPolicy, None).await? {
        names.entry(live.namespace.unwrap_or_default()).or_default().push(live.name);
    }
    let has =
        |namespace: &String, name: &str| names.get(namespace).is_some_and(|all| all.iter().any(|one| one == name));
    let open: Vec<String> = verify.isolated.iter().filter(|one| !has(one, "default-deny")).cloned().collect();
    let closed: Vec<String> = verify.opened.iter().filter(|one| names.contains_key(*one)).cloned().collect();
    let claim = |count: usize, text: &str, wrong: Vec<String>| Claim {
        text: format!("{count} {text}"),
        holds: wrong.is_empty(),
        facts: if wrong.is_empty() { vec![format!("{count} namespaces looked at")] } else { wrong },
    };
    Ok(vec![
        claim(verify.isolated.len(), "isolated namespaces have their default-deny", open),
        claim(verify.opened.len(), "open namespaces have no policy left", closed),
    ])
}
