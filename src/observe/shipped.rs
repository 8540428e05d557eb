//! What the manifests of the releases hold, for the table of rights: their objects, and the rights that their roles give.

use std::collections::BTreeSet;

use serde_json::Value;

use super::table::{Mode, Scope};
use crate::{
    cluster::Granted,
    inventory::{Datastore, Edition},
    resource::{Kind, ObjectRef},
    runbook::{self, Catalogue, Manifest, Supplied},
};

/// The rights that the roles give which a mode writes. A run adds to what the old pods need, and a rollback leaves that alone
/// again, so it is what any release ever needed.
pub fn given(mode: Mode, datastore: Datastore, supplied: Option<&Supplied>) -> BTreeSet<Granted> {
    let manifests = match (mode, supplied) {
        (Mode::Plan | Mode::AsJob, _) => Vec::new(),
        (Mode::Run | Mode::Rollback, Some(supplied)) => supplied.manifests(),
        (Mode::Run | Mode::Rollback, None) => all_releases(&runbook::catalogue(), datastore),
    };
    let objects = manifests.iter().flat_map(|manifest| &manifest.objects);
    let roles = objects.filter(|(object, _)| object.kind == Kind::ClusterRole);
    roles.flat_map(|(_, document)| given_by(&document.value())).collect()
}

/// The rights that one role gives.
pub(super) fn given_by(role: &Value) -> Vec<Granted> {
    let words = |rule: &Value, key: &str| -> Vec<String> {
        let list = rule[key].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut all = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for (group, resource) in words(rule, "apiGroups").iter().flat_map(|group| {
            let resources = words(rule, "resources").into_iter();
            resources.map(move |resource| (group.clone(), resource))
        }) {
            let names = words(rule, "resourceNames");
            let one = |verb| Granted { verb, group: group.clone(), resource: resource.clone(), names: names.clone() };
            all.extend(words(rule, "verbs").into_iter().map(one));
        }
    }
    all
}

/// The objects of the release to go to: those of the manifest that the operator gives, or those that the program has.
pub(super) fn shipped(scope: &Scope<'_>) -> impl Iterator<Item = ObjectRef> {
    let all: Vec<ObjectRef> = match scope.supplied {
        Some(supplied) => supplied.new.manifest().references(),
        None => of_program(scope.datastore).collect(),
    };
    all.into_iter()
}

/// The objects that the newest release ships, in any edition for the data store. An install that keeps its data in etcd is
/// looked at as any other first, so what is read of those counts as well.
pub(super) fn of_program(datastore: Datastore) -> impl Iterator<Item = ObjectRef> {
    let manifests = newest(&runbook::catalogue(), datastore);
    let all: BTreeSet<ObjectRef> = manifests.iter().flat_map(Manifest::references).collect();
    all.into_iter()
}

fn editions(datastore: Datastore) -> impl Iterator<Item = Edition> {
    let is_looked_at = move |edition: &Edition| match datastore {
        Datastore::Kubernetes => edition.datastore() == Datastore::Kubernetes,
        Datastore::Etcd => true,
    };
    Edition::ALL.into_iter().filter(is_looked_at)
}

fn newest(catalogue: &Catalogue, datastore: Datastore) -> Vec<Manifest> {
    let Some(newest) = catalogue.lines.iter().map(|line| line.latest).max() else { return Vec::new() };
    editions(datastore).filter_map(|edition| runbook::target(catalogue, newest, edition)).collect()
}

fn all_releases(catalogue: &Catalogue, datastore: Datastore) -> Vec<Manifest> {
    let releases = catalogue.releases.iter().map(|release| release.calico);
    releases
        .flat_map(|release| editions(datastore).filter_map(move |edition| runbook::base(catalogue, release, edition)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_that_is_written_gives_everything() {
        for mode in [Mode::Run, Mode::Rollback] {
            let given = given(mode, Datastore::Etcd, None);
            assert!(!given.is_empty());
            let is_all = |one: &&Granted| [&one.verb, &one.group, &one.resource].into_iter().any(|word| word == "*");
            assert_eq!(given.iter().find(is_all), None);
        }
    }
}
