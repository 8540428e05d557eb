//! A snapshot of etcd's v3 keys beside a backup: an extra, and never instead of the keys, since it holds none of Calico's.

use std::{
    io::{self, Read, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{BackupError, contents::open_plain};
use crate::resource::Digest;

/// The file of the snapshot, as `etcdctl snapshot restore` takes it.
pub const SNAPSHOT: &str = "etcd.snapshot.db";

/// etcd writes the SHA-256 of all before it at the end (etcd source, `snapshot.go`).
const SUM: usize = 32;

const HOLDS: &str = "what is stored by etcd's v3 API; no v2 keys, so none of Calico's: those are in etcdkey.ndjson.zst";

/// What became of a snapshot that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum EtcdSnapshot {
    Taken { file: String, bytes: u64, sha256: Digest, holds: String },
    Skipped { why: String },
}

impl EtcdSnapshot {
    /// Answers in one line what there is.
    pub fn words(&self) -> String {
        match self {
            EtcdSnapshot::Taken { file, bytes, holds, .. } => {
                format!("etcd snapshot {file}: {bytes} bytes, its sum is right; it holds {holds}")
            }
            EtcdSnapshot::Skipped { why } => format!("etcd snapshot: skipped ({why})"),
        }
    }

    /// Checks that what the manifest says lies on disk.
    pub(super) fn check(&self, directory: &Path) -> Result<(), BackupError> {
        match self {
            EtcdSnapshot::Skipped { .. } => Ok(()),
            EtcdSnapshot::Taken { .. } if read_snapshot(directory)? == *self => Ok(()),
            EtcdSnapshot::Taken { .. } => {
                let what = "its digest is not the one in the manifest".to_owned();
                Err(BackupError::Damaged { path: directory.join(SNAPSHOT), what })
            }
        }
    }
}

/// Reads a snapshot back from disk, and holds it against the sum at its end.
pub fn read_snapshot(directory: &Path) -> Result<EtcdSnapshot, BackupError> {
    // The name is known: what a manifest says of it is never used as a path.
    let path = directory.join(SNAPSHOT);
    let file = open_plain(&path).map_err(|source| BackupError::Read { path: path.clone(), source })?;
    let mut checked = Checked::default();
    let sha256 = Digest::of_written(|hash| checked.read(file, hash));
    let sha256 = sha256.map_err(|source| BackupError::Read { path: path.clone(), source })?;
    if !checked.is_whole() {
        let what = "the sum at its end is not that of what is before it".to_owned();
        return Err(BackupError::Damaged { path, what });
    }
    Ok(EtcdSnapshot::Taken { file: SNAPSHOT.to_owned(), bytes: checked.bytes, sha256, holds: HOLDS.to_owned() })
}

/// A file that goes by, of which the newest bytes are held back: they may be the sum.
#[derive(Default)]
struct Checked {
    hash: Sha256,
    held: Vec<u8>,
    bytes: u64,
}

impl Checked {
    fn read(&mut self, mut file: impl Read, whole: &mut dyn Write) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            whole.write_all(&buffer[..read])?;
            self.bytes += read as u64;
            self.held.extend_from_slice(&buffer[..read]);
            let known = self.held.len().saturating_sub(SUM);
            self.hash.update(&self.held[..known]);
            self.held.drain(..known);
        }
    }

    fn is_whole(&self) -> bool {
        self.bytes > SUM as u64 && self.hash.clone().finalize().as_slice() == self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_whole(bytes: &[u8]) -> bool {
        let mut checked = Checked::default();
        checked.read(bytes, &mut io::sink()).unwrap();
        checked.is_whole()
    }

    #[test]
    fn a_file_is_whole_if_it_ends_with_the_sum_of_all_before() {
        let body = vec![7; 100_000];
        let sum = Sha256::digest(&body);
        let whole = [&body[..], sum.as_slice()].concat();
        assert!(is_whole(&whole));
        for damaged in [&whole[1..], &whole[..whole.len() - 1], &whole[..100_000], sum.as_slice(), &[]] {
            assert!(!is_whole(damaged), "{} bytes", damaged.len());
        }
    }
}
