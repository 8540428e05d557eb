use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::Value;

use super::{
    Ended,
    arguments::{Output, Restore},
    backup, dry_run,
    failure::Failure,
    run::{self, may},
    session::Session,
    terminal,
};
use crate::{
    backup::{Backed, BackedKey, Contents, KeyFile, Manifest, contents},
    cluster::{Cluster, ClusterError},
    inventory::Inventory,
    observe::{self, BesideError, read_all, read_each},
    plan::{
        Plan, PlannedStep, Sealed,
        restore::{
            self, AskedKeys, Compared, ComparedKeys, KeyBeside, KeyPlanner, Materials, NO_ROLL, Nodes, Unmatched,
            Verdict,
        },
    },
    report::{self, RestoreReport, Rows},
    resource::{Document, Kind, Live, ObjectRef, selector_of},
    runbook,
};

pub async fn restore(session: &Session, arguments: &Restore) -> Ended {
    let home = session.home(&arguments.lease.lease_duration, arguments.abandon.clone())?;
    let directory = backup::find(session, &arguments.backup);
    // Before anything else: what cannot be read back whole is never looked at further.
    let contents = contents(&directory).map_err(|error| Failure::from(error).now("calico-upgrader backup list"))?;
    let asked = Asked::of(arguments, &directory, &contents)?;
    let cluster = session.connect_with_data().await?;
    observe::may_look_back(&cluster).await?;
    check_same_cluster(&cluster, &contents).await?;
    let inventory = session.look(&cluster, &runbook::catalogue(), None).await?;
    let sealed = plan(session, &cluster, (&directory, contents), &inventory, &asked, arguments).await?;
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
    may(&observe::missing_for(&cluster, &sealed.plan).await?, None)?;
    let count = sealed.plan.steps.iter().map(changed).sum::<usize>();
    run::approve(arguments.consent.yes, &format!("Restore {count} objects on {}?", sealed.plan.cluster.server))?;
    let started = run::start(session, &home, &cluster, &sealed, &inventory, Some(&directory)).await?;
    run::drive_to_the_end(session, &home, &sealed, started).await
}

/// Objects of which a step makes several changes count once.
fn changed(step: &PlannedStep) -> usize {
    let objects: BTreeSet<&ObjectRef> = step.changes().map(|change| &change.object).collect();
    objects.len() + step.lines().map(|(lines, _)| lines.len()).sum::<usize>()
}

/// Compares, plans, and shows what would change. The backup and the comparison are let go: the plan holds what is needed.
async fn plan(
    session: &Session,
    cluster: &Cluster,
    (directory, mut contents): (&Path, Contents),
    inventory: &Inventory,
    asked: &Asked,
    arguments: &Restore,
) -> Result<Sealed, Failure> {
    let objects = std::mem::take(&mut contents.objects);
    let (mut keys, left) = keys(session, cluster, (directory, &contents.manifest), asked, arguments).await?;
    let known = Known::read(cluster, inventory, objects, &contents.manifest, left).await?;
    let materials = known.materials(&contents, asked.only.as_ref(), &asked.named, inventory);
    let compared = restore::compare(&materials);
    let sealed = Sealed::new(restore::make(&materials, &compared, &mut keys));
    if arguments.trial.dry_run.is_none() {
        show(session, directory, &contents, &known, (&compared, &keys), &sealed, arguments);
    }
    Ok(sealed)
}

/// Compares the keys as they go by; answers how many live ones the backup does not hold, too.
async fn keys(
    session: &Session,
    cluster: &Cluster,
    (directory, manifest): (&Path, &Manifest),
    asked: &Asked,
    arguments: &Restore,
) -> Result<(ComparedKeys, usize), Failure> {
    if !asked.keys.all && asked.keys.named.is_empty() {
        return Ok((ComparedKeys::default(), 0));
    }
    let inexact = manifest.etcd.iter().flat_map(|etcd| etcd.inexact.iter().cloned()).collect();
    let tells_all = arguments.diff || !matches!(session.global.output, Output::Table | Output::Markdown);
    let mut planner = KeyPlanner {
        asked: &asked.keys,
        is_served: cluster.etcd().is_some(),
        inexact: &inexact,
        shown: if tells_all { usize::MAX } else { report::SHOWN },
        keys: ComparedKeys::default(),
    };
    let left = observe::keys_beside(cluster, (directory, manifest), |backed, live| {
        let BackedKey { number, name, document, is_passing } = backed;
        planner.take(&KeyBeside { number: *number, name, document, is_passing: *is_passing, live });
    })
    .await?;
    Ok((planner.finish(&left), left.len()))
}

impl From<BesideError> for Failure {
    fn from(error: BesideError) -> Self {
        match error {
            BesideError::Cluster(error) => error.into(),
            BesideError::Backup(error) => error.into(),
        }
    }
}

/// The objects that `--only` names, and those of them that it names one by one.
struct Asked {
    only: Option<BTreeSet<ObjectRef>>,
    named: BTreeSet<ObjectRef>,
    keys: AskedKeys,
}

impl Asked {
    fn of(arguments: &Restore, directory: &Path, contents: &Contents) -> Result<Self, Failure> {
        let names = &arguments.only;
        let is_of_keys = |name: &String| *name == Kind::EtcdKey.name();
        let all = names.is_empty() || (contents.keys() > 0 && names.iter().any(is_of_keys));
        let others: Vec<String> = names.iter().filter(|name| !(all && is_of_keys(name))).cloned().collect();
        let by_name: Vec<String> = others.iter().filter(|name| name.contains('/')).cloned().collect();
        let objects = [contents.objects.keys().cloned().collect(), named_keys(&by_name, directory, contents)?].concat();
        let mut only = (!names.is_empty()).then(|| select(&others, &objects)).transpose()?;
        let named = select(&by_name, &objects)?;
        only.iter_mut().for_each(|only| only.retain(|object| object.kind != Kind::EtcdKey));
        let keys = named.iter().filter(|object| object.kind == Kind::EtcdKey).map(|object| object.name.clone());
        Ok(Self { keys: AskedKeys { all, named: keys.collect() }, only, named })
    }
}

/// The keys of the backup, if one is named: there may be 100,000.
fn named_keys(by_name: &[String], directory: &Path, contents: &Contents) -> Result<Vec<ObjectRef>, Failure> {
    let is_key = |name: &String| name.split('/').next().is_some_and(|kind| kind.eq_ignore_ascii_case("EtcdKey"));
    let mut keys = Vec::new();
    let file = if by_name.iter().any(is_key) { KeyFile::open(directory, &contents.manifest)? } else { None };
    let Some(mut file) = file else { return Ok(keys) };
    while let Some(key) = file.read()? {
        keys.push(ObjectRef::cluster(Kind::EtcdKey, key.name));
    }
    Ok(keys)
}

fn select(names: &[String], objects: &[ObjectRef]) -> Result<BTreeSet<ObjectRef>, Failure> {
    restore::select(names, objects.iter()).map_err(|error| {
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
    etcd: Option<String>,
    left: BTreeMap<Kind, usize>,
}

impl Known {
    async fn read(
        cluster: &Cluster,
        inventory: &Inventory,
        objects: BTreeMap<ObjectRef, Backed>,
        manifest: &Manifest,
        keys_left: usize,
    ) -> Result<Self, Failure> {
        let was_going = objects.iter().filter(|(_, backed)| backed.is_terminating);
        let was_terminating = was_going.map(|(object, _)| object.clone()).collect();
        let backup: BTreeMap<ObjectRef, Document> =
            objects.into_iter().map(|(object, backed)| (object, backed.document)).collect();
        let namespaces = backup.keys().filter_map(|object| object.namespace.as_ref());
        let namespaces: BTreeSet<ObjectRef> =
            namespaces.map(|name| ObjectRef::cluster(Kind::Namespace, name)).collect();
        // What is as in the backup shares its text.
        let keep = |object: &ObjectRef, live: Live| {
            let same = backup.get(object).filter(|document| **document == live.document).cloned();
            (live.is_terminating, same.unwrap_or(live.document))
        };
        let found = read_each(cluster, namespaces.iter().chain(backup.keys()), keep).await?;
        let found: BTreeMap<ObjectRef, (bool, Document)> =
            found.into_iter().map(|(object, live)| (object.clone(), live)).collect();
        let going =
            |(object, (is_terminating, _)): (&ObjectRef, &(bool, Document))| is_terminating.then(|| object.clone());
        Ok(Self {
            was_terminating,
            terminating: found.iter().filter_map(going).collect(),
            served: backup.keys().map(|object| object.kind).filter(|kind| cluster.serves(*kind)).collect(),
            owners: living_owners(cluster, &backup).await?,
            nodes: nodes(cluster, inventory, &backup).await?,
            etcd: of_another_etcd(cluster, manifest),
            left: restore::left(&backup, inventory, keys_left),
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
            owners: &self.owners,
            nodes: self.nodes.clone(),
            inventory,
        }
    }
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
    (compared, keys): (&[Compared], &ComparedKeys),
    sealed: &Sealed,
    arguments: &Restore,
) {
    let same = compared.iter().filter(|one| one.verdict == Verdict::Same).count() + keys.same;
    let report = RestoreReport {
        backup: directory.display().to_string(),
        digest: contents.digest.to_string(),
        cluster: format!("{} · Kubernetes {}", sealed.plan.cluster.server, sealed.plan.cluster.kubernetes),
        written: backup::written(directory),
        plan: sealed.digest.to_string(),
        same,
        etcd: known.etcd.clone(),
        objects: Rows { compared, with_same: arguments.diff, plan: &sealed.plan, keys },
        left: arguments.only.is_empty().then(|| known.left.clone()),
    };
    terminal::show(session.global.output, &report, || {
        if arguments.diff { report::restore_comparison(&report) } else { report::restore_preview(&report) }
    });
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
