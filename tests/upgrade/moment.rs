//! A moment of a case: the cluster, the etcd of Calico's data, and the files of the program. A case goes back to it as often as it likes.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use harness::Snapshot;
use tempfile::TempDir;

use crate::{etcd::values, lab::Lab};

/// Everything that a case can go back to.
pub struct Moment {
    pub cluster: Snapshot,
    keys: Option<BTreeMap<String, String>>,
    files: TempDir,
}

impl Lab {
    /// Remembers everything as it is once the cluster is at rest.
    pub fn moment(&self) -> Moment {
        let (cluster, files) = (self.snapshot().unwrap(), tempfile::tempdir().unwrap());
        copy(self.state(), files.path());
        Moment { cluster, keys: self.has_etcd().then(|| values(self.etcd())), files }
    }

    /// Takes everything back to a moment. The files get their old paths, since the record of a run names them.
    pub fn back_to(&self, moment: &Moment) {
        self.take_back(&moment.cluster);
        fs::remove_dir_all(self.state()).unwrap();
        fs::create_dir(self.state()).unwrap();
        copy(moment.files.path(), self.state());
        moment.keys.iter().for_each(|keys| self.put_back(keys));
    }

    /// Only what differs is written: a key that is written again gets another index.
    fn put_back(&self, keys: &BTreeMap<String, String>) {
        let now = values(self.etcd());
        for key in now.keys().filter(|key| !keys.contains_key(*key)) {
            self.etcd().remove(key).unwrap();
        }
        for (key, value) in keys.iter().filter(|(key, value)| now.get(*key) != Some(value)) {
            self.etcd().put(key, value.as_bytes()).unwrap();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().unwrap();
    assert!(status.success(), "the files of {} could not be copied", from.display());
}
