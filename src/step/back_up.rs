//! Everything that the plan touches, written down and read back before anything is changed.

use super::{Step, StepError, backup_directory, snapshot::keep_snapshot};
use crate::{
    backup::{self, BackupError, Drilled},
    door::{BackupPlace, Door},
    event::{Event, Voice},
    journal::News,
    plan::Plan,
    resource::{Kind, ObjectRef},
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
    // Every key of etcd is backed up in any case, and a restore names 100,000 of them.
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
pub fn check_backup(plan: &Plan, directory: &std::path::Path) -> Result<Drilled, BackupError> {
    let changed: std::collections::BTreeSet<&ObjectRef> = plan.changes().map(|change| &change.object).collect();
    let drilled = backup::drill(directory, |object| changed.contains(object))?;
    let mut seen = std::collections::BTreeSet::new();
    for change in plan.changes() {
        // Of an object that changes twice only the first state was ever in the cluster before.
        if seen.insert(&change.object)
            && let Some(before) = &change.before
        {
            drilled.holds(&change.object, before)?;
        }
    }
    Ok(drilled)
}
