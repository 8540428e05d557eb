use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    FORMAT, MANIFEST, Manifest,
    contents::{open_plain, read_each},
};
use crate::{
    cluster,
    resource::{Digest, ObjectRef},
};

/// A manifest larger than this is no manifest of ours.
const MANIFEST_LIMIT: u64 = 16 << 20;

/// A backup cannot be relied upon.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("cannot read `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("`{path}` is no manifest of a backup: {what}")]
    Manifest { path: PathBuf, what: String },
    #[error("`{path}` is damaged: {what}")]
    Damaged { path: PathBuf, what: String },
    #[error("the backup does not hold `{object}` as the plan knows it")]
    Lacks { object: ObjectRef },
}

/// What a drill found in a backup.
#[derive(Clone, Debug, PartialEq)]
pub struct Drilled {
    pub manifest: Manifest,
    pub digest: Digest,
}

/// Reads the manifest of a backup.
pub fn read_manifest(directory: &Path) -> Result<Manifest, BackupError> {
    let path = directory.join(MANIFEST);
    let text = read_capped(&path, MANIFEST_LIMIT)?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .map_err(|error| BackupError::Manifest { path: path.clone(), what: error.to_string() })?;
    if manifest.format != FORMAT {
        return Err(BackupError::Manifest { path, what: format!("it has format {}", manifest.format) });
    }
    Ok(manifest)
}

/// Reads a whole backup back from disk and checks every byte of it. Hands out of each object that is asked for what it says, as
/// a digest: nothing is kept here.
pub fn drill(
    directory: &Path,
    is_asked_for: impl Fn(&ObjectRef) -> bool,
    mut found: impl FnMut(&ObjectRef, &Digest),
) -> Result<Drilled, BackupError> {
    let manifest = read_manifest(directory)?;
    read_each(directory, &manifest, |object, body| {
        if is_asked_for(&object) {
            found(&object, &cluster::document_of(object.kind, body).digest());
        }
    })?;
    manifest.etcd_snapshot.as_ref().map_or(Ok(()), |snapshot| snapshot.check(directory))?;
    Ok(Drilled { digest: manifest.digest(), manifest })
}

fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>, BackupError> {
    let wrong = |source| BackupError::Read { path: path.to_owned(), source };
    let mut content = Vec::new();
    open_plain(path).map_err(wrong)?.take(limit).read_to_end(&mut content).map_err(wrong)?;
    Ok(content)
}
