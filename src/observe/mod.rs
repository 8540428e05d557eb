//! Looks at a cluster and writes down what is there.

mod beside;
mod controllers;
mod etcd;
mod install;
mod owners;
mod rights;
mod shipped;
mod sights;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;

use crate::{
    cluster::{Cluster, ClusterError, Right},
    inventory::{Ask, ClusterFacts, Datastore, Fact, Install, Inventory, NamespaceFacts, NodeFacts, PodFacts, Stored},
    resource::{Kind, Live, ObjectRef},
    runbook::{Catalogue, is_supplied},
};

pub use beside::{BesideError, keys_beside};
pub use etcd::{EtcdPaths, etcd_access};
pub use owners::ownership;
pub use rights::{missing_for, missing_to_give, read_rights};
pub use shipped::given;
pub use table::{ACCOUNT_OF_RUNS, INSTALL, Mode, Scope, rights as rights_of};

/// The annotation that isolated a namespace before NetworkPolicy v1 (Kubernetes documentation v1.6, network policies).
const ISOLATION: &str = "net.beta.kubernetes.io/network-policy";

/// The DaemonSet, before v2.0 the ReplicaSet, of the etcd that upstream ships for kubeadm (Calico docs, hosted/kubeadm).
const OWN_ETCD: &str = "calico-etcd";

/// Requests under way at once while looking.
const IN_FLIGHT: usize = 16;

/// The cluster could not be looked at whole.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    #[error("we may not read all that a plan needs; missing: {}", missing.join(", "))]
    MayNotRead { missing: Vec<String> },
    #[error("this is no cluster that can be told apart from others: it has no namespace kube-system")]
    NoKubeSystem,
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// Takes the inventory of a cluster; `objects` answers which ones an upgrade of an install would apply, and `asks` what the gates on its way ask for.
pub async fn inventory(
    cluster: &Cluster,
    catalogue: &Catalogue,
    objects: impl Fn(&Install) -> Vec<ObjectRef>,
    asks: impl Fn(&Install) -> Vec<Ask>,
) -> Result<Inventory, ObserveError> {
    may_read(cluster, &read_rights(cluster)).await?;
    let installs = installs(cluster, catalogue).await?;
    let mut objects: Vec<ObjectRef> =
        installs.iter().flat_map(|install| objects(install).into_iter().chain(install.controllers.clone())).collect();
    if installs.iter().any(is_newer) {
        objects.extend(cluster.definitions(Kind::V3.into_iter().chain(Kind::CUSTOM)));
    }
    objects.sort();
    objects.dedup();
    Ok(Inventory {
        cluster: cluster_facts(cluster).await?,
        operator: operator(cluster).await?,
        nodes: nodes_with_pods(cluster, installs.first()).await?,
        namespaces: namespaces(cluster).await?,
        third_party: stored(cluster, &Kind::THIRD_PARTY).await?,
        third_party_served: Kind::THIRD_PARTY.into_iter().filter(|kind| cluster.serves(*kind)).collect(),
        custom: stored(cluster, &Kind::CUSTOM).await?,
        objects: read_all(cluster, &objects)
            .await?
            .into_iter()
            .map(|(object, live)| Stored { object, document: live.document })
            .collect(),
        rights_missing: rights::missing(cluster, &rights::write_rights(cluster, &installs).await?).await?,
        owners: owners::owners(cluster, &objects, &installs).await?,
        sights: sights::sights(cluster, installs.iter().flat_map(asks)).await?,
        installs,
        etcd: etcd::etcd_facts(cluster).await?.map(Fact::Known),
    })
}

/// Names at once what is missing to look at the cluster and at the records of runs.
pub async fn may_look_back(cluster: &Cluster) -> Result<(), ObserveError> {
    may_read(cluster, &[read_rights(cluster), rights::of_looking_back(cluster)].concat()).await
}

/// Names the rights to start Jobs of ours and to follow them that we do not hold.
pub async fn missing_for_jobs(cluster: &Cluster) -> Result<Vec<String>, ClusterError> {
    rights::missing(cluster, &rights::served(cluster, table::starting_jobs())).await
}

async fn may_read(cluster: &Cluster, wanted: &[Right]) -> Result<(), ObserveError> {
    let missing = rights::missing(cluster, wanted).await?;
    if missing.is_empty() { Ok(()) } else { Err(ObserveError::MayNotRead { missing }) }
}

/// Reads objects one by one or, where many of a kind are asked for, by listing the kind.
pub async fn read_all(cluster: &Cluster, objects: &[ObjectRef]) -> Result<BTreeMap<ObjectRef, Live>, ClusterError> {
    let found = read_each(cluster, objects, |_, live| live).await?;
    Ok(found.into_iter().map(|(object, live)| (object.clone(), live)).collect())
}

/// The same, but keeps of each object only what is asked for, as soon as it is read.
pub async fn read_each<'o, T>(
    cluster: &Cluster,
    objects: impl IntoIterator<Item = &'o ObjectRef>,
    keep: impl Fn(&'o ObjectRef, Live) -> T,
) -> Result<BTreeMap<&'o ObjectRef, T>, ClusterError> {
    /// From how many objects of a kind on one list is less work than single reads.
    const LIST_FROM: usize = 8;
    let mut by_kind: BTreeMap<Kind, BTreeSet<&ObjectRef>> = BTreeMap::new();
    for object in objects {
        by_kind.entry(object.kind).or_default().insert(object);
    }
    let mut found = BTreeMap::new();
    for (kind, wanted) in by_kind {
        let single: Vec<&ObjectRef> = if wanted.len() < LIST_FROM {
            wanted.into_iter().collect()
        } else {
            let of_wanted = |live: Live| {
                let object: &'o ObjectRef = wanted.get(&reference(kind, &live))?;
                Some((object, keep(object, live)))
            };
            found.extend(cluster.list_each(kind, of_wanted).await?.into_iter().flatten());
            wanted.into_iter().filter(|object| is_listed_nowhere(object)).collect()
        };
        let reads = single.into_iter().map(|object| async move { Ok((object, cluster.get(object).await?)) });
        let read: Vec<_> = futures::stream::iter(reads).buffered(IN_FLIGHT).try_collect::<Vec<_>>().await?;
        found.extend(read.into_iter().filter_map(|(object, live)| Some((object, keep(object, live?)))));
    }
    Ok(found)
}

fn is_listed_nowhere(object: &ObjectRef) -> bool {
    object.kind == Kind::EtcdKey && beside::is_hidden(&object.name)
}

/// Answers what tells this cluster apart from others, and what its API server can do.
pub async fn cluster_facts(cluster: &Cluster) -> Result<ClusterFacts, ObserveError> {
    Ok(ClusterFacts {
        uid: cluster_uid(cluster).await?,
        server: cluster.server.clone(),
        kubernetes: cluster.kubernetes,
        has_leases: cluster.serves(Kind::Lease),
        has_definitions: cluster.serves(Kind::CustomResourceDefinition),
        can_try_writes: cluster.can_try_writes(),
        etcd: cluster.etcd().map(|etcd| etcd.connection().cluster.clone()),
    })
}

/// The uid of namespace kube-system: it lives as long as the cluster.
pub async fn cluster_uid(cluster: &Cluster) -> Result<String, ObserveError> {
    let kube_system = cluster.get(&ObjectRef::cluster(Kind::Namespace, "kube-system")).await?;
    Ok(kube_system.ok_or(ObserveError::NoKubeSystem)?.uid)
}

fn reference(kind: Kind, live: &Live) -> ObjectRef {
    ObjectRef { kind, namespace: live.namespace.clone(), name: live.name.clone() }
}

async fn installs(cluster: &Cluster, catalogue: &Catalogue) -> Result<Vec<Install>, ObserveError> {
    let daemon_sets = cluster.list(Kind::DaemonSet, None).await?;
    let mut found = Vec::new();
    for live in &daemon_sets {
        let config = match install::config_map_of(live) {
            Some(config_map) => cluster.get(&config_map).await?.map(|live| live.document.value()),
            None => None,
        };
        found.extend(install::recognise(live, &config.unwrap_or_default(), catalogue));
    }
    for install in found.iter_mut().filter(|install| has_controllers(install)) {
        add_controllers(cluster, install).await?;
    }
    for install in found.iter_mut().filter(|install| install.datastore.known() == Some(&Datastore::Etcd)) {
        add_own_etcd(cluster, install, &daemon_sets).await?;
    }
    Ok(found)
}

/// Controllers run on etcd and, from v3.6 on, on the Kubernetes datastore as well.
fn has_controllers(install: &Install) -> bool {
    is_newer(install) || install.datastore.known() == Some(&Datastore::Etcd)
}

/// Answers whether it is Calico v3: no object of it is known but by the cluster, and by the manifests that the operator gives.
fn is_newer(install: &Install) -> bool {
    install.release.known().is_some_and(|release| is_supplied(*release))
}

async fn add_controllers(cluster: &Cluster, install: &mut Install) -> Result<(), ObserveError> {
    let namespace = install.daemon_set.namespace.clone().unwrap_or_default();
    may_read(cluster, &table::of_controllers(&namespace)).await?;
    install.controllers = controllers::find(cluster, &namespace).await?;
    Ok(())
}

/// The etcd may run in the cluster itself.
async fn add_own_etcd(cluster: &Cluster, install: &mut Install, daemon_sets: &[Live]) -> Result<(), ObserveError> {
    let namespace = install.daemon_set.namespace.clone().unwrap_or_default();
    let etcd = |kind| ObjectRef::namespaced(kind, &namespace, OWN_ETCD);
    let as_daemon_set = daemon_sets.iter().map(|live| reference(Kind::DaemonSet, live));
    let mut own: Vec<_> = as_daemon_set.filter(|object| *object == etcd(Kind::DaemonSet)).collect();
    own.extend(cluster.get(&etcd(Kind::ReplicaSet)).await?.map(|live| reference(Kind::ReplicaSet, &live)));
    install.own_etcd = own.into_iter().next();
    install.is_kubeadm |= install.own_etcd.is_some();
    Ok(())
}

async fn operator(cluster: &Cluster) -> Result<Option<String>, ClusterError> {
    for sign in [
        ObjectRef::cluster(Kind::CustomResourceDefinition, "installations.operator.tigera.io"),
        ObjectRef::cluster(Kind::Namespace, "tigera-operator"),
    ] {
        if cluster.get(&sign).await?.is_some() {
            return Ok(Some(format!("{sign} is there")));
        }
    }
    Ok(None)
}

async fn nodes_with_pods(cluster: &Cluster, install: Option<&Install>) -> Result<Vec<NodeFacts>, ClusterError> {
    let mut facts = nodes(cluster).await?;
    if let Some(install) = install {
        let mut pods = pods_by_node(cluster, install).await?;
        facts.iter_mut().for_each(|node| node.pod = pods.remove(&node.name));
    }
    Ok(facts)
}

/// Lists the nodes by name, without their pods.
pub async fn nodes(cluster: &Cluster) -> Result<Vec<NodeFacts>, ClusterError> {
    let mut facts = cluster.list_as(Kind::Node, None, |node| install::node_facts(&node)).await?;
    facts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(facts)
}

async fn pods_by_node(cluster: &Cluster, install: &Install) -> Result<BTreeMap<String, PodFacts>, ClusterError> {
    let feed = cluster.follow_pods_of(&install.daemon_set, &install.selector).await?;
    let pods = feed.pods().values().map(|pod| {
        let image = pod.images.iter().find(|image| install::is_node_image(image)).or(pod.images.first());
        let facts =
            PodFacts { name: pod.name.clone(), image: image.cloned().unwrap_or_default(), is_ready: pod.is_ready };
        (pod.node.clone(), facts)
    });
    Ok(pods.collect())
}

async fn namespaces(cluster: &Cluster) -> Result<Vec<NamespaceFacts>, ClusterError> {
    let mut policies: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
    for live in cluster.list(Kind::NetworkPolicy, None).await? {
        let object = reference(Kind::NetworkPolicy, &live);
        let namespace = live.namespace.unwrap_or_default();
        policies.entry(namespace).or_default().push(Stored { object, document: live.document });
    }
    let listed = cluster.list(Kind::Namespace, None).await?;
    let facts = listed.into_iter().map(|live| NamespaceFacts {
        isolation: annotation(&live.document.value(), ISOLATION),
        policies: policies.remove(&live.name).unwrap_or_default(),
        is_terminating: live.is_terminating,
        name: live.name,
    });
    Ok(facts.collect())
}

fn annotation(body: &Value, name: &str) -> Option<String> {
    body["metadata"]["annotations"].get(name).and_then(Value::as_str).map(str::to_owned)
}

async fn stored(cluster: &Cluster, kinds: &[Kind]) -> Result<Vec<Stored>, ClusterError> {
    let mut all = Vec::new();
    for kind in kinds {
        let listed = cluster.list(*kind, None).await?;
        all.extend(listed.into_iter().map(|live| Stored { object: reference(*kind, &live), document: live.document }));
    }
    all.sort_by(|one, other| one.object.cmp(&other.object));
    Ok(all)
}
