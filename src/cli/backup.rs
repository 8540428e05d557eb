use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

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
    observe, report,
    resource::Digest,
    runbook,
    step::{self, SnapshotError},
};

pub async fn backup(session: &Session, arguments: &Backup) -> Ended {
    match &arguments.action {
        BackupAction::Create { out, etcd_snapshot } => create(session, out.clone(), *etcd_snapshot).await,
        BackupAction::List => list(session),
        BackupAction::Show { backup } => show(session, &find(session, backup)),
        BackupAction::Verify { backup } => verify(&find(session, backup)),
    }
}

async fn create(session: &Session, out: Option<PathBuf>, wants_etcd_snapshot: bool) -> Ended {
    let cluster = session.connect_with_data().await?;
    let uid = observe::cluster_uid(&cluster).await?;
    let inventory = session.look(&cluster, &runbook::catalogue(), None).await?;
    let objects: Vec<_> = inventory.objects.iter().map(|stored| stored.object.clone()).collect();
    let mut archive = backup::collect(&cluster, &uid, &objects).await?;
    let name = || Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let directory = out.unwrap_or_else(|| session.state().join("backups").join(name()));
    if directory.join(MANIFEST).exists() {
        return Err(Failure::bad_file(directory.display(), "there is a backup already").now("choose another directory"));
    }
    let files = RunFiles::open(&directory)?;
    for (file, content) in &archive.files {
        files.write(file, content, &session.faults())?;
    }
    if wants_etcd_snapshot {
        archive.manifest.etcd_snapshot = Some(step::keep_snapshot(&cluster, &files, ".", &session.faults()).await?);
    }
    files.write(MANIFEST, archive.manifest.to_text().as_bytes(), &session.faults())?;
    verify(&directory)
}

fn verify(directory: &Path) -> Ended {
    let Drilled { manifest, digest } = backup::drill(directory, |_| false, |_, _| {})?;
    let text = format!(
        "{} objects in {} files were read back and are whole\n{}  {digest}\n",
        manifest.objects(),
        manifest.files.len(),
        directory.display()
    );
    terminal::data(&(text + &snapshot_line(&manifest)));
    Ok(0)
}

fn snapshot_line(manifest: &Manifest) -> String {
    manifest.etcd_snapshot.as_ref().map_or(String::new(), |snapshot| format!("{}\n", report::clean(&snapshot.words())))
}

impl From<SnapshotError> for Failure {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Cluster(error) => error.into(),
            SnapshotError::File(error) => error.into(),
            SnapshotError::Backup(error) => error.into(),
        }
    }
}

/// One backup of the state directory.
#[derive(Serialize)]
struct Listed {
    /// What other commands take it by.
    backup: String,
    /// The run that made it; by hand if there is none.
    run: Option<String>,
    written: Option<String>,
    objects: usize,
    cluster: String,
    digest: Digest,
    directory: PathBuf,
}

fn list(session: &Session) -> Ended {
    let listed: Vec<Listed> = listed(session);
    terminal::show(session.global.output, &listed, || {
        let rows = listed.iter().map(row).collect();
        report::table(&["BACKUP", "MADE BY", "WRITTEN", "OBJECTS", "DIGEST", "DIRECTORY"], rows, terminal::width())
    });
    Ok(0)
}

fn row(listed: &Listed) -> Vec<String> {
    vec![
        listed.backup.clone(),
        listed.run.as_ref().map_or("hand".to_owned(), |run| format!("run {run}")),
        listed.written.clone().unwrap_or_else(|| "unknown".to_owned()),
        listed.objects.to_string(),
        listed.digest.short(),
        listed.directory.display().to_string(),
    ]
}

/// The backups made by hand, and those of runs, the oldest first.
fn listed(session: &Session) -> Vec<Listed> {
    let below = |name: &str| {
        std::fs::read_dir(session.state().join(name)).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    let by_hand = below("backups").map(|directory| (directory, false));
    let of_runs = below("runs").map(|run| (run.join("backup"), true));
    let mut all: Vec<Listed> = by_hand.chain(of_runs).filter_map(|(place, is_run)| read(place, is_run)).collect();
    all.sort_by(|one, other| (&one.written, &one.backup).cmp(&(&other.written, &other.backup)));
    all
}

/// A directory without a manifest is no backup, or one that was never finished.
fn read(directory: PathBuf, is_of_run: bool) -> Option<Listed> {
    let manifest = backup::read_manifest(&directory).ok()?;
    let owner = if is_of_run { directory.parent()? } else { &directory };
    let name = owner.file_name()?.to_string_lossy().into_owned();
    Some(Listed {
        run: is_of_run.then(|| name.clone()),
        backup: name,
        written: written_at(&directory).map(|time| to_second(&time)),
        objects: manifest.objects(),
        digest: manifest.digest(),
        cluster: manifest.cluster,
        directory,
    })
}

/// When a backup was written. Its manifest has no time, so that the same cluster gives the same digest: the disk has it.
fn written_at(directory: &Path) -> Option<Timestamp> {
    let modified = std::fs::metadata(directory.join(MANIFEST)).and_then(|file| file.modified()).ok()?;
    Timestamp::try_from(modified).ok()
}

fn to_second(time: &Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// When a backup was written and how long ago that is, as far as the disk tells.
pub fn written(directory: &Path) -> String {
    let Some(time) = written_at(directory) else { return "at an unknown time".to_owned() };
    let seconds = Timestamp::now().duration_since(time).as_secs();
    match u64::try_from(seconds) {
        Ok(seconds) => format!("{} ({} ago)", to_second(&time), report::duration(seconds)),
        Err(_) => format!("{} (in the future of this machine's clock)", to_second(&time)),
    }
}

/// A backup as it is shown.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    manifest: Manifest,
    digest: Digest,
    written: Option<String>,
}

fn show(session: &Session, directory: &Path) -> Ended {
    let manifest = backup::read_manifest(directory)?;
    let written_at = written_at(directory).map(|time| to_second(&time));
    let shown = Shown { digest: manifest.digest(), manifest, written: written_at };
    terminal::show(session.global.output, &shown, || {
        let (digest, cluster) = (shown.digest.short(), report::clean(&shown.manifest.cluster));
        let heading = format!("Cluster    {cluster}\nWritten    {}\nDigest     {digest}\n\n", written(directory));
        heading + &words(&shown.manifest)
    });
    Ok(0)
}

/// A directory, the name of a backup, or a run.
pub fn find(session: &Session, name: &str) -> PathBuf {
    let state = session.state();
    let places = [PathBuf::from(name), state.join("backups").join(name), state.join("runs").join(name).join("backup")];
    places.iter().find(|place| place.join(MANIFEST).exists()).unwrap_or(&places[0]).clone()
}

fn words(manifest: &Manifest) -> String {
    let row = |entry: &backup::Entry| {
        vec![entry.kind.to_string(), entry.objects.to_string(), entry.bytes.to_string(), entry.sha256.short()]
    };
    let rows = manifest.files.iter().map(row).collect();
    let table = report::table(&["KIND", "OBJECTS", "BYTES", "SHA256"], rows, terminal::width());
    let etcd = manifest.etcd.as_ref().map(report::keys_in_backup).unwrap_or_default();
    table + &etcd + &snapshot_line(manifest)
}
