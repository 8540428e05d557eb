//! The table of rights: what each way of using the program does to which objects. The rights check asks for it, and
//! `install rbac` prints it, so what is granted is what is asked for.
//!
//! A right names its objects wherever RBAC can tell them: not for `list`, `watch` and `create`, and not where the names are
//! the cluster's own (nodes, pods, policies, data).

use std::collections::BTreeSet;

use super::shipped::{of_program, shipped};
use crate::{
    cluster::{Places, Right, Verb},
    door,
    inventory::{Datastore, Place},
    plan::{self, PROBE_DAEMON_SETS, PROBE_NAME, PULL_NAME},
    resource::{Kind, ObjectRef},
    runbook::{self, Supplied},
    version::Version,
};

/// The namespace of every install that the program knows.
pub const INSTALL: &str = "kube-system";

/// The Secret of Calico's manifests with the certificates of its etcd.
pub(super) const ETCD_SECRETS: &str = "calico-etcd-secrets";

/// What runs Calico's controllers on etcd, before v2.6 and since.
const CONTROLLERS: [&str; 2] = ["calico-policy-controller", "calico-kube-controllers"];

/// Where RKE keeps the manifest that it deploys.
const OF_RKE: &str = "rke-network-plugin";

/// What tells that the Tigera operator is there.
const OF_OPERATOR: [&str; 2] = ["installations.operator.tigera.io", "tigera-operator"];

/// The account of pods that run.
pub const ACCOUNT_OF_RUNS: &str = "calico-upgrader-run";

/// The Jobs that are started without anybody applying them: of a run, and of its steps.
const JOBS: [&str; 3] = ["calico-upgrader", "calico-upgrader-convert-policies", "calico-upgrader-copy-resources"];

/// A way of using the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Plan,
    Run,
    Rollback,
    /// To start a Job that runs, and follow it.
    AsJob,
}

/// What the table depends on.
pub struct Scope<'a> {
    pub places: &'a Places,
    /// Where Calico keeps its data; with etcd there is more to look at and to change.
    pub datastore: Datastore,
    /// Whether the program's own namespace is there already.
    pub has_namespace: bool,
    /// Whether objects shall be made anew that cannot be changed.
    pub recreates: bool,
    /// Whether probes are to watch packets between the nodes.
    pub has_probes: bool,
    /// The manifests that the operator gives for Calico v3.
    pub supplied: Option<&'a Supplied>,
}

/// Every right of a mode.
pub fn rights(mode: Mode, scope: &Scope<'_>) -> Vec<Right> {
    let mut all = if mode == Mode::AsJob { starting_jobs() } else { reading(scope) };
    match mode {
        Mode::Plan | Mode::AsJob => {}
        Mode::Run => all.extend([recording(scope), upgrading(scope), recreating(scope)].concat()),
        Mode::Rollback => all.extend([recording(scope), rolling_back(scope), recreating(scope)].concat()),
    }
    if scope.has_probes && [Mode::Run, Mode::Rollback].contains(&mode) {
        all.extend(probing());
    }
    let all: BTreeSet<Right> = all.into_iter().filter(|right| scope.places.serves(right.kind)).collect();
    all.into_iter().collect()
}

/// To look at a cluster and make a plan.
pub(super) fn reading(scope: &Scope<'_>) -> Vec<Right> {
    let mut rows = Rows::default();
    for kind in [Kind::Namespace, Kind::Node, Kind::DaemonSet, Kind::NetworkPolicy] {
        rows.add(kind, None, &[Verb::List]);
    }
    // Few policies, or few copies, are read one by one.
    rows.add(Kind::NetworkPolicy, None, &[Verb::Get]);
    Kind::CUSTOM.iter().for_each(|kind| rows.add(*kind, None, &[Verb::Get, Verb::List]));
    Kind::THIRD_PARTY.iter().for_each(|kind| rows.add(*kind, None, &[Verb::List]));
    rows.add(Kind::ControllerRevision, Some(INSTALL), &[Verb::List]);
    rows.add(Kind::Pod, Some(INSTALL), &[Verb::List, Verb::Watch]);
    rows.add_named(Kind::Namespace, None, &[INSTALL, OF_OPERATOR[1], door::NAMESPACE], &[Verb::Get]);
    rows.add_named(Kind::CustomResourceDefinition, None, &OF_OPERATOR[..1], &[Verb::Get]);
    rows.add_named(Kind::ConfigMap, Some(INSTALL), &[OF_RKE], &[Verb::Get]);
    // Before it is known what is installed, the objects of v2 are asked for as well.
    let all: BTreeSet<ObjectRef> = of_program(scope.datastore).chain(shipped(scope)).collect();
    for object in all.iter().filter(|object| object.kind != Kind::Deployment) {
        rows.add_object(object, &[Verb::Get]);
    }
    if scope.supplied.is_some() {
        rows.0.extend(of_controllers(INSTALL));
        rows.add(Kind::CustomResourceDefinition, None, &[Verb::Get, Verb::List]);
        Kind::V3.iter().for_each(|kind| rows.add(*kind, None, &[Verb::List]));
    }
    scope.supplied.iter().for_each(|supplied| rows.0.extend(of_gates(supplied)));
    match scope.datastore {
        Datastore::Kubernetes => {}
        Datastore::Etcd => {
            rows.0.extend(of_controllers(INSTALL));
            rows.add_named(Kind::Secret, Some(INSTALL), &[ETCD_SECRETS], &[Verb::Get]);
        }
    }
    rows.0
}

/// To look at what the gates between the given releases ask for.
fn of_gates(supplied: &Supplied) -> Vec<Right> {
    let mut rows = Rows::default();
    let from = supplied.old.as_ref().map_or(Version::new(0, 0, 0), |old| old.release);
    for ask in runbook::gates().asks(from, supplied.new.release) {
        match ask.place() {
            Place::All(kind) => rows.add(kind, None, &[Verb::List]),
            Place::One(object) => rows.add_object(&object, &[Verb::Get]),
        }
    }
    rows.0
}

/// To mend pools that Calico v2 wrote, and to put them back.
fn of_pools(scope: &Scope<'_>) -> Vec<Right> {
    let ways =
        scope.supplied.iter().filter_map(|supplied| Some((supplied.old.as_ref()?.release, supplied.new.release)));
    let mends = ways.filter(|(from, to)| plan::mends_pools(*from, *to));
    mends.map(|_| right(Verb::Update, Kind::IpPool, None)).collect()
}

/// To look at controllers, which are there on etcd only, whatever people named them.
pub(super) fn of_controllers(namespace: &str) -> Vec<Right> {
    let mut rows = Rows::default();
    for kind in [Kind::Deployment, Kind::ReplicaSet] {
        rows.add(kind, Some(namespace), &[Verb::Get, Verb::List]);
    }
    rows.0
}

/// To keep the record and the lock of any run. The record's names are made up, so Secrets of our own namespace are open.
pub(super) fn recording(scope: &Scope<'_>) -> Vec<Right> {
    let (mut rows, own) = (Rows::default(), Some(door::NAMESPACE));
    if !scope.has_namespace {
        rows.add(Kind::Namespace, None, &[Verb::Create]);
    }
    let lock = if scope.places.serves(Kind::Lease) { Kind::Lease } else { Kind::ConfigMap };
    rows.add(Kind::Secret, own, &[Verb::Get, Verb::List, Verb::Create, Verb::Update]);
    rows.add(lock, own, &[Verb::Create]);
    rows.add_named(lock, own, &[door::LOCK_NAME], &[Verb::Get, Verb::Update]);
    rows.0
}

/// To start Jobs of ours and follow them: what they are given, their pods, and the record of their run.
pub(super) fn starting_jobs() -> Vec<Right> {
    let (mut rows, own) = (Rows::default(), Some(door::NAMESPACE));
    rows.add_named(Kind::Namespace, None, &[INSTALL, door::NAMESPACE], &[Verb::Get]);
    rows.add_named(Kind::ServiceAccount, own, &[ACCOUNT_OF_RUNS], &[Verb::Get]);
    rows.add(Kind::Secret, own, &[Verb::Get, Verb::List, Verb::Create, Verb::Update, Verb::Delete]);
    rows.add_named(Kind::PriorityClass, None, &[JOBS[0]], &[Verb::Get]);
    rows.add(Kind::Job, own, &[Verb::Create]);
    rows.add_named(Kind::Job, own, &JOBS, &[Verb::Get, Verb::Delete]);
    rows.add(Kind::Pod, own, &[Verb::List]);
    rows.0
}

/// To look back: at the records of runs, and at single objects that a run or a backup names.
pub(super) fn looking_back() -> Vec<Right> {
    let mut rows = Rows::default();
    rows.add(Kind::Secret, Some(door::NAMESPACE), &[Verb::Get, Verb::List]);
    rows.add(Kind::DaemonSet, Some(INSTALL), &[Verb::Get]);
    rows.add(Kind::NetworkPolicy, None, &[Verb::Get]);
    Kind::CUSTOM.iter().for_each(|kind| rows.add(*kind, None, &[Verb::Get, Verb::List]));
    Kind::THIRD_PARTY.iter().for_each(|kind| rows.add(*kind, None, &[Verb::Get]));
    rows.0
}

/// To start probes on the nodes, read what they counted, check nodes with new pods, and take all of that away again.
pub(super) fn probing() -> Vec<Right> {
    let (mut rows, own) = (Rows::default(), Some(door::NAMESPACE));
    for (kind, names) in [(Kind::ConfigMap, &[PROBE_NAME][..]), (Kind::DaemonSet, &PROBE_DAEMON_SETS[..])] {
        rows.add(kind, own, &[Verb::Create]);
        rows.add_named(kind, own, names, &[Verb::Get, Verb::Delete]);
    }
    rows.add(Kind::Pod, own, &[Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Delete]);
    rows.0.push(Right { part: Some("log".to_owned()), ..right(Verb::Get, Kind::Pod, own) });
    rows.0
}

/// To upgrade.
pub(super) fn upgrading(scope: &Scope<'_>) -> Vec<Right> {
    let mut rows = Rows(rolling());
    rows.add(Kind::CustomResourceDefinition, None, &[Verb::Create]);
    if scope.supplied.is_none() {
        rows.add(Kind::NetworkPolicy, None, &[Verb::Create, Verb::Delete]);
        Kind::CUSTOM.iter().for_each(|kind| rows.add(*kind, None, &[Verb::Create]));
    }
    rows.0.extend(of_pools(scope));
    for object in shipped(scope).filter(|object| scope.supplied.is_some() || is_replaced(object.kind)) {
        // What pulls the images is a DaemonSet beside the one of the install.
        rows.add(object.kind, object.namespace.as_deref(), &[Verb::Create]);
        rows.add_object(&object, &[Verb::Update]);
    }
    match scope.datastore {
        Datastore::Kubernetes => {}
        Datastore::Etcd => {
            rows.add(Kind::Deployment, Some(INSTALL), &[Verb::Create]);
            rows.add_named(Kind::Deployment, Some(INSTALL), &CONTROLLERS, &[Verb::Update]);
            rows.add_named(Kind::ReplicaSet, Some(INSTALL), &CONTROLLERS, &[Verb::Update]);
        }
    }
    rows.0
}

/// To take a run back: what it changed becomes as it was, and what it made goes. Definitions stay.
pub(super) fn rolling_back(scope: &Scope<'_>) -> Vec<Right> {
    let mut rows = Rows(rolling());
    // Which one a run was about is in its record; who may list them all, as this account, learns nothing more by it.
    rows.add(Kind::DaemonSet, Some(INSTALL), &[Verb::Get]);
    if scope.supplied.is_none() {
        rows.add(Kind::NetworkPolicy, None, &[Verb::Create, Verb::Delete]);
        Kind::CUSTOM.iter().for_each(|kind| rows.add(*kind, None, &[Verb::Delete]));
    }
    rows.0.extend(of_pools(scope));
    let stays = |object: &ObjectRef| object.kind == Kind::CustomResourceDefinition;
    let is_changed = |object: &ObjectRef| scope.supplied.is_some() || is_replaced(object.kind);
    for object in shipped(scope).filter(|object| is_changed(object) && !stays(object)) {
        rows.add_object(&object, &[Verb::Update]);
        if object.kind != Kind::DaemonSet {
            rows.add_object(&object, &[Verb::Delete]);
        }
    }
    match scope.datastore {
        Datastore::Kubernetes => {}
        Datastore::Etcd => {
            rows.add_named(Kind::Deployment, Some(INSTALL), &CONTROLLERS, &[Verb::Update, Verb::Delete]);
            rows.add_named(Kind::ReplicaSet, Some(INSTALL), &CONTROLLERS, &[Verb::Update]);
        }
    }
    rows.0
}

/// To make objects anew whose fields cannot be changed, if that is wished for: only a plan with such a change asks for it.
fn recreating(scope: &Scope<'_>) -> Vec<Right> {
    let (mut rows, datastore) = (Rows::default(), scope.datastore);
    if !scope.recreates {
        return rows.0;
    }
    rows.add(Kind::Pod, Some(INSTALL), &[Verb::Patch]);
    for object in shipped(scope).filter(|object| [Kind::DaemonSet, Kind::ClusterRoleBinding].contains(&object.kind)) {
        rows.add(object.kind, object.namespace.as_deref(), &[Verb::Create]);
        rows.add_object(&object, &[Verb::Delete]);
    }
    match datastore {
        Datastore::Kubernetes => {}
        Datastore::Etcd => {
            rows.add(Kind::Deployment, Some(INSTALL), &[Verb::Create]);
            rows.add_named(Kind::Deployment, Some(INSTALL), &CONTROLLERS[1..], &[Verb::Delete]);
        }
    }
    rows.0
}

/// To replace pods node by node. What pulls the images before is taken away by a rollback, too, if the run died over it.
pub(super) fn rolling() -> Vec<Right> {
    let mut rows = Rows::default();
    rows.add(Kind::Node, None, &[Verb::Get, Verb::Patch]);
    rows.add(Kind::Pod, Some(INSTALL), &[Verb::Get, Verb::Delete]);
    rows.add_named(Kind::DaemonSet, Some(INSTALL), &[PULL_NAME], &[Verb::Get, Verb::Delete]);
    rows.0
}

fn is_replaced(kind: Kind) -> bool {
    [Kind::ClusterRole, Kind::ClusterRoleBinding, Kind::ConfigMap, Kind::ServiceAccount, Kind::DaemonSet]
        .contains(&kind)
}

/// Rights as they are gathered.
#[derive(Default)]
struct Rows(Vec<Right>);

impl Rows {
    fn add(&mut self, kind: Kind, namespace: Option<&str>, verbs: &[Verb]) {
        self.0.extend(verbs.iter().map(|verb| right(*verb, kind, namespace)));
    }

    fn add_named(&mut self, kind: Kind, namespace: Option<&str>, names: &[&str], verbs: &[Verb]) {
        for name in names {
            let object = ObjectRef { kind, namespace: namespace.map(str::to_owned), name: (*name).to_owned() };
            self.add_object(&object, verbs);
        }
    }

    fn add_object(&mut self, object: &ObjectRef, verbs: &[Verb]) {
        let ObjectRef { kind, namespace, name } = object;
        let named = |verb: &Verb| Right { name: Some(name.clone()), ..right(*verb, *kind, namespace.as_deref()) };
        self.0.extend(verbs.iter().map(named));
    }
}

/// A right on any object of a kind.
pub(super) fn right(verb: Verb, kind: Kind, namespace: Option<&str>) -> Right {
    Right { verb, kind, namespace: namespace.map(str::to_owned), name: None, part: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mode: Mode) -> Vec<Right> {
        let places = Places::of(Version::new(1, 34, 0));
        [Datastore::Kubernetes, Datastore::Etcd]
            .into_iter()
            .flat_map(|datastore| {
                rights(
                    mode,
                    &Scope {
                        places: &places,
                        datastore,
                        has_namespace: true,
                        recreates: true,
                        has_probes: true,
                        supplied: None,
                    },
                )
            })
            .collect()
    }

    #[test]
    fn a_plan_changes_nothing_and_reads_no_secret_of_a_run() {
        for right in all(Mode::Plan) {
            assert!([Verb::Get, Verb::List, Verb::Watch].contains(&right.verb), "{right}");
            assert!(right.kind != Kind::Secret || right.name.as_deref() == Some(ETCD_SECRETS), "{right}");
        }
    }

    #[test]
    fn what_is_written_is_named_or_of_a_kind_that_cannot_be() {
        let open = [Kind::NetworkPolicy, Kind::Node, Kind::Pod].into_iter().chain(Kind::CUSTOM).collect::<Vec<_>>();
        for right in [Mode::Run, Mode::Rollback].into_iter().flat_map(all) {
            let is_write = [Verb::Update, Verb::Patch, Verb::Delete].contains(&right.verb);
            let is_own = right.namespace.as_deref() == Some(door::NAMESPACE);
            assert!(!is_write || is_own || open.contains(&right.kind) || right.name.is_some(), "{right}");
        }
    }
}
