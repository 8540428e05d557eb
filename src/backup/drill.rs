use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    FORMAT, MANIFEST, Manifest,
    contents::{open_plain, read_each},
};
use crate::{
    cluster,
    resource::{Digest, Document, ObjectRef},
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
    /// Of the objects that were asked for: of 100,000 keys the others would only take memory.
    pub documents: BTreeMap<ObjectRef, Digest>,
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

/// Reads a whole backup back from disk and checks every byte of it; what objects say is kept of those that are asked for.
pub fn drill(directory: &Path, is_asked_for: impl Fn(&ObjectRef) -> bool) -> Result<Drilled, BackupError> {
    let manifest = read_manifest(directory)?;
    let mut documents = BTreeMap::new();
    read_each(directory, &manifest, |object, body| {
        if is_asked_for(&object) {
            let digest = cluster::document_of(object.kind, body).digest();
            documents.insert(object, digest);
        }
    })?;
    manifest.etcd_snapshot.as_ref().map_or(Ok(()), |snapshot| snapshot.check(directory))?;
    Ok(Drilled { digest: manifest.digest(), manifest, documents })
}

fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>, BackupError> {
    let wrong = |source| BackupError::Read { path: path.to_owned(), source };
    let mut content = Vec::new();
    open_plain(path).map_err(wrong)?.take(limit).read_to_end(&mut content).map_err(wrong)?;
    Ok(content)
}

impl Drilled {
    /// Checks that an object is in the backup exactly as the plan knows it.
    pub fn holds(&self, object: &ObjectRef, document: &Document) -> Result<(), BackupError> {
        if self.documents.get(object) == Some(&document.digest()) {
            return Ok(());
        }
        Err(BackupError::Lacks { object: object.clone() })
    }
}
