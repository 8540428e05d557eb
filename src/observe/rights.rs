use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};

use super::IN_FLIGHT;
use crate::{
    cluster::{Cluster, ClusterError, Right, Verb},
    inventory::{Datastore, Install},
    plan::{Desired, ObjectChange, Plan, PlannedStep, Stage},
    resource::Kind,
};

/// The rights that a plan needs: to look, and nothing more.
pub fn read_rights(cluster: &Cluster) -> Vec<Right> {
    let everywhere = [Kind::Namespace, Kind::Node, Kind::DaemonSet, Kind::NetworkPolicy];
    let mut rights: Vec<_> = everywhere.into_iter().map(|kind| right(Verb::List, kind, None)).collect();
    let single = [Kind::ClusterRole, Kind::ClusterRoleBinding, Kind::CustomResourceDefinition, Kind::Namespace];
    for kind in single.into_iter().filter(|kind| cluster.serves(*kind)) {
        rights.push(right(Verb::Get, kind, None));
    }
    for kind in [Kind::ConfigMap, Kind::ServiceAccount] {
        rights.push(right(Verb::Get, kind, Some("kube-system")));
    }
    rights.push(right(Verb::List, Kind::ControllerRevision, Some("kube-system")));
    rights.extend([Verb::List, Verb::Watch].map(|verb| right(verb, Kind::Pod, Some("kube-system"))));
    let data = Kind::THIRD_PARTY.into_iter().chain(Kind::CUSTOM).filter(|kind| cluster.serves(*kind));
    rights.extend(data.map(|kind| right(Verb::List, kind, None)));
    rights
}

/// The further rights that looking back needs: at the records of runs, and at single objects that a run or a backup names.
pub(super) fn of_looking_back(cluster: &Cluster) -> Vec<Right> {
    let mut rights =
        [Verb::Get, Verb::List].map(|verb| right(verb, Kind::Secret, Some(crate::door::NAMESPACE))).to_vec();
    rights.push(right(Verb::Get, Kind::DaemonSet, Some("kube-system")));
    rights.push(right(Verb::Get, Kind::NetworkPolicy, None));
    // Without the right to list a kind nobody learns that it has no definition yet.
    if cluster.serves(Kind::CustomResourceDefinition) {
        rights.extend(
            Kind::CUSTOM.into_iter().flat_map(|kind| [Verb::Get, Verb::List].map(|verb| right(verb, kind, None))),
        );
    }
    let old = Kind::THIRD_PARTY.into_iter().filter(|kind| cluster.serves(*kind));
    rights.extend(old.map(|kind| right(Verb::Get, kind, None)));
    rights
}

/// The further rights that looking at controllers needs, which are there on etcd only.
pub(super) fn of_controllers(namespace: &str) -> Vec<Right> {
    let kinds = [Kind::Deployment, Kind::ReplicaSet].into_iter();
    kinds.flat_map(|kind| [Verb::Get, Verb::List].map(|verb| right(verb, kind, Some(namespace)))).collect()
}

/// The rights that the record and the lock of any run need.
fn record_rights(cluster: &Cluster) -> Vec<Right> {
    let own = Some(crate::door::NAMESPACE);
    let lock = if cluster.serves(Kind::Lease) { Kind::Lease } else { Kind::ConfigMap };
    let secrets = [Verb::Get, Verb::List, Verb::Create, Verb::Update].map(|verb| right(verb, Kind::Secret, own));
    let locks = [Verb::Get, Verb::Create, Verb::Update].map(|verb| right(verb, lock, own));
    [right(Verb::Create, Kind::Namespace, None)].into_iter().chain(secrets).chain(locks).collect()
}

/// The further rights that a run needs.
pub fn write_rights(cluster: &Cluster, installs: &[Install]) -> Vec<Right> {
    let mut rights = record_rights(cluster);
    let mut add = |kind: Kind, namespace: Option<&str>, verbs: &[Verb]| {
        rights.extend(verbs.iter().map(|verb| right(*verb, kind, namespace)));
    };
    add(Kind::NetworkPolicy, None, &[Verb::Create, Verb::Delete]);
    if cluster.serves(Kind::CustomResourceDefinition) {
        add(Kind::CustomResourceDefinition, None, &[Verb::Create]);
        Kind::CUSTOM.iter().for_each(|kind| add(*kind, None, &[Verb::Create]));
    }
    for kind in [Kind::ClusterRole, Kind::ClusterRoleBinding] {
        add(kind, None, &[Verb::Create, Verb::Update]);
    }
    for kind in [Kind::ConfigMap, Kind::ServiceAccount, Kind::DaemonSet] {
        add(kind, Some("kube-system"), &[Verb::Create, Verb::Update]);
    }
    add(Kind::DaemonSet, Some("kube-system"), &[Verb::Delete]);
    if installs.iter().any(|install| install.datastore.known() == Some(&Datastore::Etcd)) {
        add(Kind::Deployment, Some("kube-system"), &[Verb::Create, Verb::Update]);
        add(Kind::ReplicaSet, Some("kube-system"), &[Verb::Update]);
    }
    add(Kind::Node, None, &[Verb::Get, Verb::Patch]);
    add(Kind::Pod, Some("kube-system"), &[Verb::Get, Verb::Delete]);
    rights
}

/// Names the rights that a run of exactly this plan needs, and that we do not hold.
pub async fn missing_for(cluster: &Cluster, plan: &Plan) -> Result<Vec<String>, ClusterError> {
    let of_change = |change: &ObjectChange| {
        // Rights on keys are etcd's own, and no API server answers for them.
        if change.object.kind == Kind::EtcdKey {
            return None;
        }
        let verb = match (&change.before, &change.after) {
            (None, Some(_)) => Verb::Create,
            (Some(_), None) => Verb::Delete,
            (Some(_), Some(_)) => Verb::Update,
            (None, None) => return None,
        };
        // Policies may lie in thousands of namespaces: they are asked for at once.
        let namespace = change.object.namespace.as_deref().filter(|_| change.object.kind != Kind::NetworkPolicy);
        Some(right(verb, change.object.kind, namespace))
    };
    let rights: BTreeSet<Right> = record_rights(cluster)
        .into_iter()
        .chain(plan.changes().filter_map(of_change))
        .chain(plan.steps.iter().flat_map(of_step))
        .collect();
    missing(cluster, &rights.into_iter().collect::<Vec<_>>()).await
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
            sweeps.into_iter().chain(cordon().into_iter().filter(|_| uncordons)).collect()
        }
        Desired::Pull(pull) => {
            let namespace = pull.daemon_set.namespace.as_deref();
            [Verb::Create, Verb::Delete].map(|verb| right(verb, Kind::DaemonSet, namespace)).into()
        }
        Desired::Roll(roll) => {
            let pods = right(Verb::Delete, Kind::Pod, roll.daemon_set.namespace.as_deref());
            cordon().into_iter().chain([pods]).collect()
        }
    }
}

fn right(verb: Verb, kind: Kind, namespace: Option<&str>) -> Right {
    Right { verb, kind, namespace: namespace.map(str::to_owned) }
}

/// Asks for all rights side by side and names the ones we do not hold.
pub(super) async fn missing(cluster: &Cluster, rights: &[Right]) -> Result<Vec<String>, ClusterError> {
    let asked = rights.iter().map(|right| async move { Ok((right.to_string(), cluster.may(right).await?)) });
    let answers: Vec<(String, bool)> = futures::stream::iter(asked).buffered(IN_FLIGHT).try_collect::<Vec<_>>().await?;
    Ok(answers.into_iter().filter(|(_, is_held)| !is_held).map(|(name, _)| name).collect())
}
