//! Everything that the plan touches, written down and read back before anything is changed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use super::{Step, StepError, backup_directory, snapshot::keep_snapshot};
use crate::{
    backup::{self, BackupError, Drilled},
    door::{BackupPlace, Door},
    event::{Event, Voice},
    journal::News,
    plan::{Lines, Plan},
    resource::{Digest, Kind, ObjectRef},
};

pub(super) async fn take(step: &Step<'_>, door: &mut Door, voice: &Voice) -> Result<BackupPlace, StepError> {
    let name = &step.planned.name;
    let directory = backup_directory(door.files.directory());
    if check_backup(step.plan, &directory).is_err() {
        write(step.plan, door).await?;
    }
    let drilled = check_backup(step.plan, &directory)?;
    let snapshot = drilled.manifest.etcd_snapshot.as_ref().map(|snapshot| format!("; {}", snapshot.words()));
    let objects = drilled.manifest.objects();
    let claim = format!("{objects} objects are backed up and were read back{}", snapshot.unwrap_or_default());
    let facts = drilled.manifest.files.iter().map(|entry| format!("{} {} {}", entry.file, entry.objects, entry.sha256));
    door.note(News::Proven { step: name.clone(), claim: claim.clone(), facts: facts.collect() })?;
    voice.tell(Event::Proven { step: name.clone(), claim });
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Ok(BackupPlace { host, path: directory.display().to_string(), digest: drilled.digest })
}

async fn write(plan: &Plan, door: &mut Door) -> Result<(), StepError> {
    // Every key of etcd is backed up in any case.
    let named = plan.changes().map(|change| &change.object).filter(|object| object.kind != Kind::EtcdKey);
    let mut objects: Vec<ObjectRef> = named.chain([&plan.daemon_set]).cloned().collect();
    objects.sort();
    objects.dedup();
    let mut archive = backup::collect(&door.cluster, &plan.cluster.uid, &objects).await?;
    for (file, content) in &archive.files {
        door.write_file(&format!("backup/{file}"), content)?;
    }
    if plan.request.wants_etcd_snapshot {
        let kept = keep_snapshot(&door.cluster, &door.files, "backup", &door.faults).await?;
        archive.manifest.etcd_snapshot = Some(kept);
    }
    // The manifest comes last: a backup without one was never finished.
    Ok(door.write_file(&format!("backup/{}", backup::MANIFEST), archive.manifest.to_text().as_bytes())?)
}

/// Reads a backup back from disk and checks that it holds all that the plan will change, as the plan knows it.
pub fn check_backup(plan: &Plan, directory: &Path) -> Result<Drilled, BackupError> {
    let mut wanted = as_it_was(plan);
    let mut keys: HashMap<&str, &Digest> =
        plan.lines().flat_map(Lines::iter).filter_map(|line| Some((line.key, line.before?))).collect();
    // Digests are taken of those objects alone that the plan knows: of the others it has nothing to say.
    let objects: BTreeSet<&ObjectRef> = wanted.keys().copied().collect();
    let has_keys = !keys.is_empty();
    let is_asked_for = |object: &ObjectRef| objects.contains(object) || (has_keys && object.kind == Kind::EtcdKey);
    let drilled = backup::drill(directory, is_asked_for, |object, digest| {
        if wanted.get(object) == Some(digest) {
            wanted.remove(object);
        }
        if object.kind == Kind::EtcdKey && keys.get(object.name.as_str()) == Some(&digest) {
            keys.remove(object.name.as_str());
        }
    })?;
    let key = keys.into_keys().next().map(|key| ObjectRef::cluster(Kind::EtcdKey, key));
    let lacked = wanted.into_keys().next().cloned().or(key);
    lacked.map_or(Ok(drilled), |object| Err(BackupError::Lacks { object }))
}

/// The objects that the plan replaces or removes, as it knows them.
fn as_it_was(plan: &Plan) -> BTreeMap<&ObjectRef, Digest> {
    let (mut seen, mut all) = (BTreeSet::new(), BTreeMap::new());
    for change in plan.changes() {
        // Of an object that changes twice only the first state was ever in the cluster before.
        if seen.insert(&change.object)
            && let Some(before) = &change.before
        {
            all.insert(&change.object, before.digest());
        }
    }
    all
}
