use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::Value;

use super::{Ended, arguments::Restore, backup, dry_run, failure::Failure, run, session::Session, terminal};
use crate::{
    backup::{Backed, Contents, Manifest, contents},
    cluster::{Cluster, ClusterError},
    inventory::Inventory,
    observe::{self, read_all, read_each},
    plan::{
        Plan, Sealed,
        restore::{self, Compared, Keys, Materials, NO_ROLL, Nodes, Unmatched, Verdict},
    },
    report::{self, RestoreReport, Row},
    resource::{Document, Kind, Live, ObjectRef, selector_of},
    runbook,
};

pub async fn restore(session: &Session, arguments: &Restore) -> Ended {
    let home = session.home(&arguments.lease.lease_duration, arguments.abandon.clone())?;
    let directory = backup::find(session, &arguments.backup);
    // Before anything else: what cannot be read back whole is never looked at further.
    let contents = contents(&directory).map_err(|error| Failure::from(error).now("calico-upgrader backup list"))?;
    let asked = Asked::of(arguments, &contents)?;
    let cluster = session.connect_with_data().await?;
    observe::may_look_back(&cluster).await?;
    check_same_cluster(&cluster, &contents).await?;
    let inventory = session.look(&cluster, &runbook::catalogue(), None).await?;
    let (sealed, count) = plan(session, &cluster, (&directory, contents), &inventory, &asked, arguments).await?;
    if let Some(mode) = arguments.trial.dry_run {
        return dry_run::dry_run(session, &cluster, &sealed, mode).await;
    }
    if arguments.diff {
        return Ok(0);
    }
    if sealed.plan.is_empty() {
        terminal::chatter_line("Nothing to restore.");
        return Ok(0);
    }
    may_restore(&cluster, &sealed.plan).await?;
    run::approve(arguments.consent.yes, &format!("Restore {count} objects on {}?", sealed.plan.cluster.server))?;
    let started = run::start(session, &home, &cluster, &sealed, &inventory).await?;
    run::drive_to_the_end(session, &home, &sealed, started).await
}

/// Compares, plans, and shows what would change. The backup and the comparison are let go: the plan holds what is needed.
async fn plan(
    session: &Session,
    cluster: &Cluster,
    (directory, mut contents): (&Path, Contents),
    inventory: &Inventory,
    asked: &Asked,
    arguments: &Restore,
) -> Result<(Sealed, usize), Failure> {
    let objects = std::mem::take(&mut contents.objects);
    let known = Known::read(cluster, inventory, objects, &contents.manifest).await?;
    let materials = known.materials(&contents, asked.only.as_ref(), &asked.named, inventory);
    let compared = restore::compare(&materials);
    let sealed = Sealed::new(restore::make(&materials, &compared));
    if arguments.trial.dry_run.is_none() {
        show(session, directory, &contents, &known, &compared, &sealed, arguments);
    }
    Ok((sealed, changed(&compared).count()))
}

fn changed(compared: &[Compared]) -> impl Iterator<Item = &Compared> {
    compared.iter().filter(|one| matches!(one.verdict, Verdict::Create { .. } | Verdict::Replace { .. }))
}

/// The objects that `--only` names, and those of them that it names one by one.
struct Asked {
    only: Option<BTreeSet<ObjectRef>>,
    named: BTreeSet<ObjectRef>,
}

impl Asked {
    fn of(arguments: &Restore, contents: &Contents) -> Result<Self, Failure> {
        let by_name: Vec<String> = arguments.only.iter().filter(|name| name.contains('/')).cloned().collect();
        Ok(Self { only: only(&arguments.only, contents)?, named: only(&by_name, contents)?.unwrap_or_default() })
    }
}

fn only(names: &[String], contents: &Contents) -> Result<Option<BTreeSet<ObjectRef>>, Failure> {
    if names.is_empty() {
        return Ok(None);
    }
    restore::select(names, contents.objects.keys()).map(Some).map_err(|error| {
        let what = error.to_string();
        let (evidence, now) = match error {
            Unmatched::Nothing { near, .. } => (near, "name an object of the backup; near ones are in the evidence"),
            Unmatched::Several { all, .. } => (all, "name it with its namespace: --only KIND/NAMESPACE/NAME"),
        };
        Failure::usage(what).evidence(evidence).why("nothing was changed").now(now)
    })
}

async fn check_same_cluster(cluster: &Cluster, contents: &Contents) -> Result<(), Failure> {
    let uid = observe::cluster_uid(cluster).await?;
    if uid == contents.manifest.cluster {
        return Ok(());
    }
    Err(Failure::new(13, "CU-E013", "the backup is of another cluster")
        .evidence([format!("backup: {}; here: {uid} ({})", contents.manifest.cluster, cluster.server)])
        .why("its objects would overwrite those of this one; nothing was changed")
        .now("check the context: kubectl config current-context"))
}

/// What is known of the cluster beside its inventory.
struct Known {
    backup: BTreeMap<ObjectRef, Document>,
    was_terminating: BTreeSet<ObjectRef>,
    live: BTreeMap<ObjectRef, Document>,
    terminating: BTreeSet<ObjectRef>,
    served: BTreeSet<Kind>,
    owners: BTreeSet<String>,
    nodes: Nodes,
    keys: Keys,
    etcd: Option<String>,
    left: BTreeMap<Kind, usize>,
}

impl Known {
    async fn read(
        cluster: &Cluster,
        inventory: &Inventory,
        objects: BTreeMap<ObjectRef, Backed>,
        manifest: &Manifest,
    ) -> Result<Self, Failure> {
        let was_going = objects.iter().filter(|(_, backed)| backed.is_terminating);
        let passing =
            objects.iter().filter(|(_, backed)| backed.is_passing).map(|(object, _)| object.clone()).collect();
        let was_terminating = was_going.map(|(object, _)| object.clone()).collect();
        let backup: BTreeMap<ObjectRef, Document> =
            objects.into_iter().map(|(object, backed)| (object, backed.document)).collect();
        let namespaces = backup.keys().filter_map(|object| object.namespace.as_ref());
        let namespaces: BTreeSet<ObjectRef> =
            namespaces.map(|name| ObjectRef::cluster(Kind::Namespace, name)).collect();
        // What is as in the backup shares its text: 100,000 keys are not there twice.
        let keep = |object: &ObjectRef, live: Live| {
            let same = backup.get(object).filter(|document| **document == live.document).cloned();
            (live.is_terminating, same.unwrap_or(live.document))
        };
        let found = read_each(cluster, namespaces.iter().chain(backup.keys()), keep).await?;
        let found: BTreeMap<ObjectRef, (bool, Document)> =
            found.into_iter().map(|(object, live)| (object.clone(), live)).collect();
        let going =
            |(object, (is_terminating, _)): (&ObjectRef, &(bool, Document))| is_terminating.then(|| object.clone());
        let live_keys = live_keys(cluster, manifest).await?;
        Ok(Self {
            was_terminating,
            terminating: found.iter().filter_map(going).collect(),
            served: backup
                .keys()
                .map(|object| object.kind)
                .filter(|kind| cluster.serves(*kind) || (*kind == Kind::EtcdKey && cluster.etcd().is_some()))
                .collect(),
            owners: living_owners(cluster, &backup).await?,
            nodes: nodes(cluster, inventory, &backup).await?,
            keys: Keys {
                passing,
                inexact: inexact(manifest),
                live: live_keys.iter().map(|key| key.name.clone()).collect(),
            },
            etcd: of_another_etcd(cluster, manifest),
            left: restore::left(&backup, inventory, &live_keys),
            live: found.into_iter().map(|(object, (_, document))| (object, document)).collect(),
            backup,
        })
    }

    fn materials<'a>(
        &'a self,
        contents: &'a Contents,
        only: Option<&'a BTreeSet<ObjectRef>>,
        named: &'a BTreeSet<ObjectRef>,
        inventory: &'a Inventory,
    ) -> Materials<'a> {
        Materials {
            digest: &contents.digest,
            backup: &self.backup,
            was_terminating: &self.was_terminating,
            only,
            named,
            live: &self.live,
            terminating: &self.terminating,
            served: &self.served,
            keys: &self.keys,
            owners: &self.owners,
            nodes: self.nodes.clone(),
            inventory,
        }
    }
}

fn inexact(manifest: &Manifest) -> BTreeSet<ObjectRef> {
    let keys = manifest.etcd.iter().flat_map(|etcd| &etcd.inexact);
    keys.map(|key| ObjectRef::cluster(Kind::EtcdKey, key)).collect()
}

/// An etcd that was rebuilt or restored from a snapshot has a new id, so another id is said and refuses nothing.
fn of_another_etcd(cluster: &Cluster, manifest: &Manifest) -> Option<String> {
    let (here, there) = (&cluster.etcd()?.connection().cluster, &manifest.etcd.as_ref()?.cluster);
    (here != there).then(|| {
        format!(
            "{here} is not the etcd of the backup ({there}): right if it was rebuilt, else look at --etcd-endpoints"
        )
    })
}

/// Every key that is listed now, if the backup holds keys at all.
async fn live_keys(cluster: &Cluster, manifest: &Manifest) -> Result<Vec<ObjectRef>, ClusterError> {
    if cluster.etcd().is_none() || manifest.etcd.is_none() {
        return Ok(Vec::new());
    }
    let name = |key: Value| ObjectRef::cluster(Kind::EtcdKey, key["metadata"]["name"].as_str().unwrap_or_default());
    cluster.list_as(Kind::EtcdKey, None, name).await
}

/// Kinds that may own an object of ours, and that are looked up. An owner of another kind cannot be proven to live.
const OWNERS: [Kind; 6] =
    [Kind::Namespace, Kind::Node, Kind::ConfigMap, Kind::DaemonSet, Kind::Deployment, Kind::CustomResourceDefinition];

/// The uids of owners in the backup that are those of live objects.
async fn living_owners(
    cluster: &Cluster,
    backup: &BTreeMap<ObjectRef, Document>,
) -> Result<BTreeSet<String>, ClusterError> {
    let owners = backup.iter().filter(|(_, document)| document.text().contains("\"ownerReferences\"")).flat_map(
        |(object, document)| {
            let owners = document.value()["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
            owners.iter().filter_map(|owner| owner_of(object, owner)).collect::<Vec<_>>()
        },
    );
    let (objects, uids): (BTreeSet<ObjectRef>, BTreeSet<String>) = owners.unzip();
    let found = read_all(cluster, &objects.into_iter().collect::<Vec<_>>()).await?;
    Ok(found.into_values().map(|live| live.uid).filter(|uid| uids.contains(uid)).collect())
}

/// Names the owner of an object: it lives in the object's namespace, or in none.
fn owner_of(object: &ObjectRef, owner: &Value) -> Option<(ObjectRef, String)> {
    let kind = OWNERS.into_iter().find(|kind| owner["kind"] == kind.name())?;
    let namespace = if kind.is_namespaced() { Some(object.namespace.clone()?) } else { None };
    let name = owner["name"].as_str()?.to_owned();
    Some((ObjectRef { kind, namespace, name }, owner["uid"].as_str()?.to_owned()))
}

/// What runs on the nodes: pods may be left of a DaemonSet that is gone.
async fn nodes(
    cluster: &Cluster,
    inventory: &Inventory,
    backup: &BTreeMap<ObjectRef, Document>,
) -> Result<Nodes, ClusterError> {
    let Some(install) = inventory.installs.first() else {
        return Ok(Nodes { images: images_of_orphans(cluster, backup).await?, are_current: false });
    };
    let pods = inventory.nodes.iter().filter_map(|node| node.pod.as_ref());
    let images = pods.map(|pod| pod.image.clone()).collect();
    let body = cluster.get_raw(&install.daemon_set).await?.unwrap_or_default();
    let count = |key: &str| body["status"][key].as_i64().unwrap_or_default();
    let is_observed = body["status"]["observedGeneration"] == body["metadata"]["generation"];
    let are_current = is_observed && count("updatedNumberScheduled") == count("desiredNumberScheduled");
    Ok(Nodes { images, are_current })
}

async fn images_of_orphans(
    cluster: &Cluster,
    backup: &BTreeMap<ObjectRef, Document>,
) -> Result<BTreeSet<String>, ClusterError> {
    let Some((object, document)) = backup.iter().find(|(object, _)| object.kind == Kind::DaemonSet) else {
        return Ok(BTreeSet::new());
    };
    let body = document.value();
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let feed = cluster.follow_pods(namespace, &selector_of(&body)).await?;
    Ok(feed.pods().values().flat_map(|pod| pod.images.first()).cloned().collect())
}

fn show(
    session: &Session,
    directory: &Path,
    contents: &Contents,
    known: &Known,
    compared: &[Compared],
    sealed: &Sealed,
    arguments: &Restore,
) {
    let same = compared.iter().filter(|one| one.verdict == Verdict::Same).count();
    let is_shown = |one: &&Compared| arguments.diff || one.verdict != Verdict::Same;
    let report = RestoreReport {
        backup: directory.display().to_string(),
        digest: contents.digest.to_string(),
        cluster: format!("{} · Kubernetes {}", sealed.plan.cluster.server, sealed.plan.cluster.kubernetes),
        written: backup::written(directory),
        plan: sealed.digest.to_string(),
        same,
        etcd: known.etcd.clone(),
        objects: compared.iter().filter(is_shown).map(Row::of).collect(),
        left: arguments.only.is_empty().then(|| known.left.clone()),
    };
    terminal::show(session.global.output, &report, || {
        if arguments.diff { report::restore_comparison(&report) } else { report::restore_preview(&report) }
    });
}

async fn may_restore(cluster: &Cluster, plan: &Plan) -> Result<(), Failure> {
    let missing = observe::missing_for(cluster, plan).await?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(15, "CU-C006", format!("{} rights that the restore needs are missing", missing.len()))
        .evidence(missing)
        .why("it would stop midway; nothing was changed")
        .now("use an account that may do the above"))
}

/// What holds once a restore is done, and what is left to do.
pub fn finished(plan: &Plan) -> String {
    let mut out = "The objects are as the backup says. ".to_owned();
    if !plan.omitted.is_empty() {
        out.push_str(&format!("{} were skipped, as told. ", plan.omitted.len()));
    }
    if plan.changes().any(|change| change.why.contains(NO_ROLL)) {
        let namespace = plan.daemon_set.namespace.as_deref().unwrap_or_default();
        out.push_str(&format!(
            "\nNo node was replaced. Delete the pod of calico-node on one node after the other and wait until it is ready:\n  \
             kubectl -n {namespace} delete pod NAME\nThen the same restore once more, which puts the update strategy back.\n"
        ));
    }
    out
}
