use std::path::PathBuf;

use super::{
    Ended,
    arguments::{Backup, BackupAction},
    failure::Failure,
    session::Session,
    terminal,
};
use crate::{
    backup::{self, Drilled, MANIFEST, Manifest},
    door::RunFiles,
    observe, report, runbook,
};

pub async fn backup(session: &Session, arguments: &Backup) -> Ended {
    match &arguments.action {
        BackupAction::Create { out } => create(session, out.clone()).await,
        BackupAction::List => list(session),
        BackupAction::Show { backup } => {
            let manifest = backup::read_manifest(&find(session, backup))?;
            terminal::show(session.global.output, &manifest, || words(&manifest));
            Ok(0)
        }
        BackupAction::Verify { backup } => verify(&find(session, backup)),
    }
}

async fn create(session: &Session, out: Option<PathBuf>) -> Ended {
    let cluster = session.connect_with_data().await?;
    let uid = observe::cluster_uid(&cluster).await?;
    let inventory = session.look(&cluster, &runbook::catalogue(), None).await?;
    let objects: Vec<_> = inventory.objects.iter().map(|stored| stored.object.clone()).collect();
    let archive = backup::collect(&cluster, &uid, &objects).await?;
    let name = || jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let directory = out.unwrap_or_else(|| session.state().join("backups").join(name()));
    if directory.join(MANIFEST).exists() {
        return Err(Failure::bad_file(directory.display(), "there is a backup already").now("choose another directory"));
    }
    let files = RunFiles::open(&directory)?;
    for (file, content) in &archive.files {
        files.write(file, content, &session.faults())?;
    }
    files.write(MANIFEST, archive.manifest.to_text().as_bytes(), &session.faults())?;
    verify(&directory)
}

fn verify(directory: &std::path::Path) -> Ended {
    let Drilled { manifest, digest, .. } = backup::drill(directory)?;
    let text = format!(
        "{} objects in {} files were read back and are whole\n{}  {digest}\n",
        manifest.objects(),
        manifest.files.len(),
        directory.display()
    );
    terminal::data(&text);
    Ok(0)
}

fn list(session: &Session) -> Ended {
    let mut rows = Vec::new();
    for directory in directories(session) {
        if let Ok(manifest) = backup::read_manifest(&directory) {
            rows.push(vec![
                directory.display().to_string(),
                manifest.objects().to_string(),
                manifest.digest().short().to_owned(),
            ]);
        }
    }
    terminal::show(session.global.output, &rows, || {
        report::table(&["BACKUP", "OBJECTS", "DIGEST"], rows.clone(), terminal::width())
    });
    Ok(0)
}

/// The backups made by hand, and those of runs.
fn directories(session: &Session) -> Vec<PathBuf> {
    let below = |name: &str| {
        std::fs::read_dir(session.state().join(name)).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    let mut all: Vec<PathBuf> = below("backups").chain(below("runs").map(|run| run.join("backup"))).collect();
    all.sort();
    all
}

/// A directory, the name of a backup, or a run.
fn find(session: &Session, name: &str) -> PathBuf {
    let state = session.state();
    let places = [PathBuf::from(name), state.join("backups").join(name), state.join("runs").join(name).join("backup")];
    places.iter().find(|place| place.join(MANIFEST).exists()).unwrap_or(&places[0]).clone()
}

fn words(manifest: &Manifest) -> String {
    let row = |entry: &backup::Entry| {
        vec![
            entry.kind.to_string(),
            entry.objects.to_string(),
            entry.bytes.to_string(),
            entry.sha256.short().to_owned(),
        ]
    };
    let rows = manifest.files.iter().map(row).collect();
    let table = report::table(&["KIND", "OBJECTS", "BYTES", "SHA256"], rows, terminal::width());
    let etcd = manifest.etcd.as_ref().map(report::keys_in_backup).unwrap_or_default();
    table + &etcd
}
