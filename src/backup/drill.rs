use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Entry, FORMAT, MANIFEST, Manifest, archive::file_stem};
use crate::resource::{Digest, Document, ObjectRef};

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

/// Reads a whole backup back from disk and checks every byte of it.
pub fn drill(directory: &Path) -> Result<Drilled, BackupError> {
    let manifest = read_manifest(directory)?;
    let mut documents = BTreeMap::new();
    for entry in &manifest.files {
        check_file(directory, entry, &mut documents)?;
    }
    Ok(Drilled { digest: manifest.digest(), manifest, documents })
}

fn check_file(directory: &Path, entry: &Entry, documents: &mut BTreeMap<ObjectRef, Digest>) -> Result<(), BackupError> {
    // The name is derived from the kind: what the manifest says of it is never used as a path.
    let path = directory.join(format!("{}.ndjson.zst", file_stem(entry.kind)));
    let damaged = |what: String| BackupError::Damaged { path: path.clone(), what };
    let content = unpack(&path, entry.bytes)?;
    if Digest::of(&content) != entry.sha256 {
        return Err(damaged("its digest is not the one in the manifest".to_owned()));
    }
    let text = String::from_utf8(content).map_err(|_| damaged("it is not text".to_owned()))?;
    let mut objects = 0;
    for line in text.lines() {
        let body: Value = serde_json::from_str(line).map_err(|error| damaged(error.to_string()))?;
        if body.to_string().as_str() != line {
            return Err(damaged(format!("line {} is not written as we write it", objects + 1)));
        }
        let name = |key: &str| body["metadata"][key].as_str().map(str::to_owned);
        let reference = ObjectRef {
            kind: entry.kind,
            namespace: name("namespace").filter(|one| !one.is_empty()),
            name: name("name").unwrap_or_default(),
        };
        documents.insert(reference, Document::new(body).digest());
        objects += 1;
    }
    if objects == entry.objects {
        Ok(())
    } else {
        Err(damaged(format!("it holds {objects} objects instead of {}", entry.objects)))
    }
}

fn unpack(path: &Path, bytes: u64) -> Result<Vec<u8>, BackupError> {
    let wrong = |source| BackupError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(wrong)?;
    let mut content = Vec::new();
    // One byte more than promised is enough to see that it is another file.
    let damaged = |error: io::Error| BackupError::Damaged { path: path.to_owned(), what: error.to_string() };
    let decoder = zstd::Decoder::new(file).map_err(damaged)?;
    decoder.take(bytes + 1).read_to_end(&mut content).map_err(damaged)?;
    Ok(content)
}

fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>, BackupError> {
    let wrong = |source| BackupError::Read { path: path.to_owned(), source };
    let mut content = Vec::new();
    std::fs::File::open(path).map_err(wrong)?.take(limit).read_to_end(&mut content).map_err(wrong)?;
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
