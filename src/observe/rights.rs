use futures::{StreamExt, TryStreamExt};

use super::IN_FLIGHT;
use crate::{
    cluster::{Cluster, ClusterError, Right, Verb},
    inventory::{Datastore, Install},
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

/// The further rights that looking at controllers needs, which are there on etcd only.
pub(super) fn of_controllers(namespace: &str) -> Vec<Right> {
    let kinds = [Kind::Deployment, Kind::ReplicaSet].into_iter();
    kinds.flat_map(|kind| [Verb::Get, Verb::List].map(|verb| right(verb, kind, Some(namespace)))).collect()
}

/// The further rights that a run needs.
pub fn write_rights(cluster: &Cluster, installs: &[Install]) -> Vec<Right> {
    let own = Some(crate::door::NAMESPACE);
    let lock = if cluster.serves(Kind::Lease) { Kind::Lease } else { Kind::ConfigMap };
    let mut rights = Vec::new();
    let mut add = |kind: Kind, namespace: Option<&str>, verbs: &[Verb]| {
        rights.extend(verbs.iter().map(|verb| right(*verb, kind, namespace)));
    };
    add(Kind::Namespace, None, &[Verb::Create]);
    add(Kind::Secret, own, &[Verb::Get, Verb::List, Verb::Create, Verb::Update]);
    add(lock, own, &[Verb::Get, Verb::Create, Verb::Update]);
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
    if installs.iter().any(|install| install.datastore.known() == Some(&Datastore::Etcd)) {
        add(Kind::Deployment, Some("kube-system"), &[Verb::Create, Verb::Update]);
        add(Kind::ReplicaSet, Some("kube-system"), &[Verb::Update]);
    }
    add(Kind::Node, None, &[Verb::Get, Verb::Patch]);
    add(Kind::Pod, Some("kube-system"), &[Verb::Get, Verb::Delete]);
    rights
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
