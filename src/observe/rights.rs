use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};

use super::{
    IN_FLIGHT, is_newer, shipped,
    table::{self, Scope, right},
};
use crate::{
    cluster::{Cluster, ClusterError, Granted, Right, Verb},
    inventory::{Datastore, Install},
    plan::{Desired, Lines, ObjectChange, Plan, PlannedStep, Stage},
    resource::{Document, Kind, ObjectRef},
};

/// The rights that a plan needs before it is known where Calico keeps its data: to look, and nothing more.
pub fn read_rights(cluster: &Cluster) -> Vec<Right> {
    let scope = Scope {
        places: &cluster.places(),
        datastore: Datastore::Kubernetes,
        has_namespace: true,
        recreates: false,
        has_probes: false,
        supplied: None,
    };
    served_or_to_come(cluster, table::reading(&scope))
}

/// The further rights that looking back needs.
pub(super) fn of_looking_back(cluster: &Cluster) -> Vec<Right> {
    served_or_to_come(cluster, table::looking_back())
}

/// The further rights that a run needs.
pub(super) async fn write_rights(cluster: &Cluster, installs: &[Install]) -> Result<Vec<Right>, ClusterError> {
    let is_on_etcd = installs.iter().any(|install| install.datastore.known() == Some(&Datastore::Etcd));
    let datastore = if is_on_etcd { Datastore::Etcd } else { Datastore::Kubernetes };
    let scope = Scope {
        places: &cluster.places(),
        datastore,
        has_namespace: has_namespace(cluster).await?,
        recreates: false,
        has_probes: false,
        supplied: None,
    };
    // What a plan by given manifests writes is asked for once there is the plan.
    let upgrading = if installs.iter().any(is_newer) { table::rolling() } else { table::upgrading(&scope) };
    Ok(served_or_to_come(cluster, table::recording(&scope).into_iter().chain(upgrading).collect()))
}

async fn has_namespace(cluster: &Cluster) -> Result<bool, ClusterError> {
    Ok(cluster.get(&ObjectRef::cluster(Kind::Namespace, crate::door::NAMESPACE)).await?.is_some())
}

pub(super) fn served(cluster: &Cluster, rights: Vec<Right>) -> Vec<Right> {
    rights.into_iter().filter(|right| cluster.serves(right.kind)).collect()
}

/// Custom resources are looked for before they have a definition, and written as soon as the run has defined them: without the right to
/// list a kind nobody learns that it has no definition yet.
fn served_or_to_come(cluster: &Cluster, rights: Vec<Right>) -> Vec<Right> {
    let comes = |kind| cluster.serves(Kind::CustomResourceDefinition) && Kind::CUSTOM.contains(&kind);
    rights.into_iter().filter(|right| cluster.serves(right.kind) || comes(right.kind)).collect()
}

/// Names the rights that a run of exactly this plan needs, and that we do not hold.
pub async fn missing_for(cluster: &Cluster, plan: &Plan) -> Result<Vec<String>, ClusterError> {
    let of_change = |change: &ObjectChange| {
        // Rights on keys are etcd's own, and no API server answers for them.
        let verbs: &[Verb] = match (&change.before, &change.after) {
            (None, None) => &[],
            _ if change.object.kind == Kind::EtcdKey => &[],
            (None, Some(_)) => &[Verb::Create],
            (Some(_), None) => &[Verb::Delete],
            (Some(_), Some(_)) if change.recreated_for().is_some() => &[Verb::Delete, Verb::Create],
            (Some(_), Some(_)) => &[Verb::Update],
        };
        let ObjectRef { kind, namespace, name } = change.object.clone();
        // Policies and data may be thousands in as many namespaces: they are asked for at once. No name limits a create.
        let namespace = namespace.filter(|_| !is_countless(kind));
        verbs.iter().map(move |verb| {
            let is_one = *verb != Verb::Create && !is_countless(kind);
            Right { verb: *verb, kind, namespace: namespace.clone(), name: is_one.then(|| name.clone()), part: None }
        })
    };
    let scope = Scope {
        places: &cluster.places(),
        datastore: Datastore::Kubernetes,
        has_namespace: has_namespace(cluster).await?,
        recreates: false,
        has_probes: false,
        supplied: None,
    };
    let rights: BTreeSet<Right> = table::recording(&scope)
        .into_iter()
        .chain(plan.changes().flat_map(of_change))
        .chain(plan.steps.iter().flat_map(of_step))
        .chain(of_backup(cluster))
        .collect();
    let mut missing = missing(cluster, &rights.into_iter().collect::<Vec<_>>()).await?;
    missing.extend(missing_to_probe(cluster, plan).await?);
    missing.extend(missing_to_give(cluster, plan).await?);
    missing.extend(missing_in_etcd(cluster, plan).await?);
    Ok(missing)
}

fn is_countless(kind: Kind) -> bool {
    kind == Kind::NetworkPolicy || kind.is_custom() || Kind::THIRD_PARTY.contains(&kind)
}

/// Names the rights of the roles that the plan writes or binds and that we do not hold: the server lets nobody give them then, not even
/// where a role or a binding gives afterwards what it gave before (Kubernetes source v1.34, `pkg/registry/rbac/*/policybased`).
pub async fn missing_to_give(cluster: &Cluster, plan: &Plan) -> Result<Vec<String>, ClusterError> {
    let written = |kind| plan.changes().filter(move |change: &&ObjectChange| change.object.kind == kind);
    let roles = written(Kind::ClusterRole).filter_map(|change| change.after.as_ref());
    let mut given: BTreeSet<Granted> = roles.flat_map(|role| shipped::given_by(&role.value())).collect();
    if !given.is_empty() && cluster.may_escalate().await? {
        given.clear();
    }
    for binding in written(Kind::ClusterRoleBinding).filter_map(|change| change.after.as_ref()) {
        given.extend(bound_by(cluster, plan, binding).await?);
    }
    let asked = given.iter().map(|granted| async move { Ok((granted.to_string(), cluster.may_give(granted).await?)) });
    not_held(asked).await
}

/// The rights that a binding gives, from its role as it will be then; none where we may bind that role whatever it gives.
async fn bound_by(cluster: &Cluster, plan: &Plan, binding: &Document) -> Result<Vec<Granted>, ClusterError> {
    let name = binding.value()["roleRef"]["name"].take();
    let role = ObjectRef::cluster(Kind::ClusterRole, name.as_str().unwrap_or_default());
    if cluster.may_bind(&role.name).await? {
        return Ok(Vec::new());
    }
    let planned =
        plan.changes().filter(|change| change.object == role).filter_map(|change| change.after.clone()).last();
    let role = match planned {
        Some(planned) => Some(planned),
        None => cluster.get(&role).await?.map(|live| live.document),
    };
    Ok(role.map(|role| shipped::given_by(&role.value())).unwrap_or_default())
}

/// Names the keys that the plan writes and that our account of etcd may not.
///
/// Roles of etcd give rights by path. Of the lines of a backup, which may be 100,000, one is asked for in each directory.
async fn missing_in_etcd(cluster: &Cluster, plan: &Plan) -> Result<Vec<String>, ClusterError> {
    let Some(etcd) = cluster.etcd() else { return Ok(Vec::new()) };
    let changed = plan.changes().map(|change| &change.object).filter(|object| object.kind == Kind::EtcdKey);
    // One by one: a map that is collected would hold them all first.
    let mut of_lines: BTreeMap<&str, &str> = BTreeMap::new();
    for line in plan.lines().flat_map(Lines::iter) {
        of_lines.insert(directory_of(line.key), line.key);
    }
    let keys: BTreeSet<&str> = changed.map(|object| object.name.as_str()).chain(of_lines.into_values()).collect();
    let asked = keys.into_iter().map(|key| async move {
        Ok((format!("write `{key}` in Calico's etcd"), etcd.may_write_key(key).await.map_err(ClusterError::of_key)?))
    });
    not_held(asked).await
}

/// The directory of a key that a role may be for, such as `/calico/v1/policy`.
fn directory_of(key: &str) -> &str {
    /// Elements of its path, with the empty one before the first `/`.
    const ELEMENTS: usize = 4;
    key.match_indices('/').nth(ELEMENTS - 1).map_or(key, |(end, _)| &key[..end])
}

/// Names the rights that a plan with probes needs for them, and that we do not hold.
async fn missing_to_probe(cluster: &Cluster, plan: &Plan) -> Result<Vec<String>, ClusterError> {
    let removes = |step: &PlannedStep| match &step.desired {
        Desired::Objects { stages } => stages.contains(&Stage::NoProbes),
        Desired::BackUp | Desired::Pull(_) | Desired::Roll(_) | Desired::Verify(_) => false,
    };
    let has_probes = plan.roll().is_some_and(|roll| roll.probe.is_some()) || plan.steps.iter().any(removes);
    if has_probes { missing(cluster, &table::probing()).await } else { Ok(Vec::new()) }
}

/// All of Calico's data is read for the backup; that of v2 is read for the plan already.
fn of_backup(cluster: &Cluster) -> Vec<Right> {
    served(cluster, Kind::V3.into_iter().map(|kind| right(Verb::List, kind, None)).collect())
}

/// What a step does beside changes of objects.
fn of_step(step: &PlannedStep) -> Vec<Right> {
    let cordon = || [Verb::Get, Verb::Patch].map(|verb| right(verb, Kind::Node, None));
    match &step.desired {
        Desired::BackUp | Desired::Verify(_) => Vec::new(),
        Desired::Objects { stages } => {
            let sweep = right(Verb::Delete, Kind::Secret, Some(crate::door::NAMESPACE));
            let sweeps = stages.contains(&Stage::NoOrphans).then_some(sweep);
            let uncordons = stages.iter().any(|stage| matches!(stage, Stage::Uncordoned(_)));
            let labelled = stages.iter().filter_map(|stage| match stage {
                Stage::Recreated(anew) if !anew.labels.is_empty() => anew.change.object.namespace.as_deref(),
                _ => None,
            });
            let labels = labelled.map(|namespace| right(Verb::Patch, Kind::Pod, Some(namespace)));
            sweeps.into_iter().chain(cordon().into_iter().filter(|_| uncordons)).chain(labels).collect()
        }
        Desired::Pull(pull) => {
            let namespace = pull.daemon_set.namespace.as_deref();
            let name = Some(pull.daemon_set.name.clone());
            let delete = Right { name, ..right(Verb::Delete, Kind::DaemonSet, namespace) };
            vec![right(Verb::Create, Kind::DaemonSet, namespace), delete]
        }
        Desired::Roll(roll) => {
            let pods = right(Verb::Delete, Kind::Pod, roll.daemon_set.namespace.as_deref());
            cordon().into_iter().chain([pods]).collect()
        }
    }
}

/// Asks for all rights side by side and names the ones we do not hold.
pub(super) async fn missing(cluster: &Cluster, rights: &[Right]) -> Result<Vec<String>, ClusterError> {
    // An admin is asked once instead of some hundred times.
    if rights.is_empty() || cluster.may_do_everything().await? {
        return Ok(Vec::new());
    }
    not_held(rights.iter().map(|right| async move { Ok((right.to_string(), cluster.may(right).await?)) })).await
}

async fn not_held(
    asked: impl Iterator<Item = impl Future<Output = Result<(String, bool), ClusterError>>>,
) -> Result<Vec<String>, ClusterError> {
    let answers: Vec<(String, bool)> = futures::stream::iter(asked).buffered(IN_FLIGHT).try_collect().await?;
    Ok(answers.into_iter().filter(|(_, is_held)| !is_held).map(|(name, _)| name).collect())
}
