//! Whose tools and hands wrote the objects of the install.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};

use super::IN_FLIGHT;
use crate::{
    check,
    cluster::{Cluster, ClusterError, Raw},
    inventory::{Install, Owner, Tool},
    plan::Ownership,
    resource::{Kind, ObjectRef},
};

/// Looks for signs of tools in all objects of the install.
pub(super) async fn owners(
    cluster: &Cluster,
    objects: &[ObjectRef],
    installs: &[Install],
) -> Result<Vec<Owner>, ClusterError> {
    // RKE leaves its manifest in the cluster.
    let of_rke = ObjectRef::namespaced(Kind::ConfigMap, "kube-system", "rke-network-plugin");
    let found = installs.iter().flat_map(|install| [Some(&install.daemon_set), install.config_map.as_ref()]).flatten();
    let mut all: Vec<ObjectRef> = objects.iter().chain(found).chain([&of_rke]).cloned().collect();
    all.sort();
    all.dedup();
    let mut owners = Vec::new();
    for (object, raw) in raw_objects(cluster, &all).await? {
        owners.extend(check::signs(&object, &raw, Ownership::of(&raw).managers()));
        if object == of_rke {
            owners.push(Owner { tool: Tool::Rke, object, sign: "the manifest that RKE deploys".to_owned() });
        }
    }
    Ok(owners)
}

/// Reads what the objects tell about those who wrote their fields.
pub async fn ownership(
    cluster: &Cluster,
    objects: &[ObjectRef],
) -> Result<BTreeMap<ObjectRef, Ownership>, ClusterError> {
    let raw = raw_objects(cluster, objects).await?;
    Ok(raw.into_iter().map(|(object, raw)| (object, Ownership::of(&raw))).collect())
}

/// Reads objects as the server gives them; definitions are left out, nobody edits them.
async fn raw_objects(cluster: &Cluster, objects: &[ObjectRef]) -> Result<Vec<(ObjectRef, Raw)>, ClusterError> {
    let wanted =
        objects.iter().filter(|object| object.kind != Kind::CustomResourceDefinition && cluster.serves(object.kind));
    let reads = wanted.map(|object| async move { Ok((object.clone(), cluster.get_raw(object).await?)) });
    let read: Vec<_> = futures::stream::iter(reads).buffered(IN_FLIGHT).try_collect::<Vec<_>>().await?;
    Ok(read.into_iter().filter_map(|(object, raw)| Some((object, raw?))).collect())
}
