//! The keys of Calico's own etcd: read until two readings agree, written away one by one while they come.
//!
//! A key is written in the shape of an object, so it is drilled and read back like one. Keys stand in the order of the tree.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use serde::{Deserialize, Serialize};
use zstd::Encoder;

use super::{Archive, Entry, archive::file_stem};
use crate::{
    datastore::{Etcd, EtcdError, Key, Reading},
    resource::{Digest, Kind},
};

/// What a manifest says of the etcd that keys are from, and of what its API cannot give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdSource {
    /// The id of the etcd cluster.
    pub cluster: String,
    /// X-Etcd-Index when the last reading began.
    pub index: u64,
    /// How often all keys were read; the last two readings agree but for `moving` and `gone`.
    pub readings: u32,
    /// Keys that changed between the last two readings: they are from different moments.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub moving: BTreeSet<String>,
    /// How many keys went between the last two readings: they are not in the backup.
    #[serde(default)]
    pub gone: usize,
    /// Keys with a time to live, which come and go by themselves.
    pub passing: usize,
    /// Directories without a key in them; of a hidden one etcd does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty_directories: Vec<String>,
    /// Keys whose values Calico cannot read, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub undecodable: BTreeMap<String, String>,
    /// Keys whose bytes may be others: the API writes U+FFFD for what is no UTF-8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inexact: Vec<String>,
    /// Keys that no list shows, since their last element begins with `_`, found because others mention them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hidden_found: BTreeSet<String>,
    /// What may be missing.
    pub not_seen: String,
}

/// What no reading can rule out.
const NOT_SEEN: &str = "keys whose last element begins with _ and that no other key mentions: etcd lists them nowhere";

/// Reads all keys and packs them into a file of the archive.
pub(super) async fn add_keys(archive: &mut Archive, etcd: &Etcd) -> Result<(), EtcdError> {
    let (reading, packer) = etcd.read_settled(Packer::new, Packer::take).await?;
    let Packer { encoder, bytes } = packer;
    let packed = encoder.finish().expect("memory can be written to");
    if reading.keys > 0 {
        let file = format!("{}.ndjson.zst", file_stem(Kind::EtcdKey));
        // The digest is of what can be read back.
        let sha256 = Digest::of_written(|hash| zstd::stream::copy_decode(packed.as_slice(), hash));
        let sha256 = sha256.expect("what was packed here can be unpacked");
        archive.manifest.files.push(Entry {
            kind: Kind::EtcdKey,
            file: file.clone(),
            objects: reading.keys,
            bytes,
            sha256,
        });
        archive.files.push((file, packed));
    }
    archive.manifest.etcd = Some(source(etcd, reading));
    Ok(())
}

fn source(etcd: &Etcd, reading: Reading) -> EtcdSource {
    EtcdSource {
        cluster: etcd.connection().cluster.clone(),
        index: reading.index,
        readings: reading.rounds,
        moving: reading.moving,
        gone: reading.gone,
        passing: reading.passing,
        empty_directories: reading.empty_directories,
        undecodable: reading.undecodable.into_iter().map(|one| (one.key, one.why)).collect(),
        inexact: reading.inexact,
        hidden_found: reading.hidden.found,
        not_seen: NOT_SEEN.to_owned(),
    }
}

/// Lines that are packed as they come: a hundred thousand keys are 60 MB, and packed a tenth of that.
struct Packer {
    encoder: Encoder<'static, Vec<u8>>,
    bytes: u64,
}

impl Packer {
    fn new() -> Self {
        Self { encoder: Encoder::new(Vec::new(), 3).expect("memory can be written to"), bytes: 0 }
    }

    fn take(&mut self, key: Key) {
        let line = format!("{}\n", key.to_object());
        self.encoder.write_all(line.as_bytes()).expect("memory can be written to");
        self.bytes += line.len() as u64;
    }
}
