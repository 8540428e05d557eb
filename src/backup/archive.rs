use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::{EtcdSnapshot, EtcdSource, FORMAT, keys::add_keys};
use crate::{
    cluster::{Cluster, ClusterError},
    resource::{Digest, Kind, ObjectRef},
};

/// What a backup holds, file by file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    /// The uid of namespace kube-system.
    pub cluster: String,
    pub files: Vec<Entry>,
    /// Where the keys of etcd are from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdSource>,
    /// What became of a snapshot of etcd, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd_snapshot: Option<EtcdSnapshot>,
}

/// One file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub kind: Kind,
    pub file: String,
    pub objects: usize,
    /// Size and digest of the content before compression.
    pub bytes: u64,
    pub sha256: Digest,
}

/// A backup in memory, ready to be written.
pub struct Archive {
    pub manifest: Manifest,
    pub files: Vec<(String, Vec<u8>)>,
}

/// Kinds of which everything is kept.
const WHOLE: [Kind; 2] = [Kind::Namespace, Kind::NetworkPolicy];

/// Kinds of which Calico's own objects are kept.
const PARTS: [Kind; 10] = [
    Kind::CustomResourceDefinition,
    Kind::ServiceAccount,
    Kind::ClusterRole,
    Kind::ClusterRoleBinding,
    Kind::ConfigMap,
    Kind::DaemonSet,
    Kind::Deployment,
    Kind::ReplicaSet,
    Kind::PodDisruptionBudget,
    Kind::Service,
];

/// Reads all of Calico's data, all namespaces and policies, and the given objects of the install.
pub async fn collect(cluster: &Cluster, uid: &str, objects: &[ObjectRef]) -> Result<Archive, ClusterError> {
    let mut archive = Archive {
        manifest: Manifest {
            format: FORMAT,
            cluster: uid.to_owned(),
            files: Vec::new(),
            etcd: None,
            etcd_snapshot: None,
        },
        files: Vec::new(),
    };
    let newer = Kind::V3.into_iter().filter(|kind| cluster.serves(*kind));
    for kind in WHOLE.into_iter().chain(Kind::THIRD_PARTY).chain(Kind::CUSTOM).chain(newer) {
        let lines = cluster.list_lines(kind).await?;
        archive.add(kind, lines);
    }
    for kind in PARTS {
        let mut lines = Vec::new();
        for object in objects.iter().filter(|object| object.kind == kind) {
            lines.extend(cluster.get_raw(object).await?.map(|body| body.to_string()));
        }
        archive.add(kind, lines);
    }
    if let Some(etcd) = cluster.etcd() {
        add_keys(&mut archive, etcd).await.map_err(ClusterError::of_key)?;
    }
    Ok(archive)
}

impl Archive {
    fn add(&mut self, kind: Kind, mut lines: Vec<String>) {
        if lines.is_empty() {
            return;
        }
        lines.sort();
        let objects = lines.len();
        let file = format!("{}.ndjson.zst", file_stem(kind));
        let (packed, bytes, sha256) = pack(lines).expect("memory can be written to");
        self.manifest.files.push(Entry { kind, file: file.clone(), objects, bytes, sha256 });
        self.files.push((file, packed));
    }
}

/// Packs lines one by one, and answers the size and the digest of what was packed.
fn pack(lines: Vec<String>) -> io::Result<(Vec<u8>, u64, Digest)> {
    let (mut packer, mut bytes) = (zstd::Encoder::new(Vec::new(), 3)?, 0);
    let sha256 = Digest::of_written(|hash| {
        for line in lines.into_iter().map(|line| line + "\n") {
            hash.write_all(line.as_bytes())?;
            packer.write_all(line.as_bytes())?;
            bytes += line.len() as u64;
        }
        Ok::<(), io::Error>(())
    })?;
    Ok((packer.finish()?, bytes, sha256))
}

/// Old and new pools have almost the same name, so the old kinds carry their API's; so do Calico's own NetworkPolicies.
pub(super) fn file_stem(kind: Kind) -> String {
    let name = kind.name().to_ascii_lowercase();
    match kind {
        Kind::CalicoNetworkPolicy => format!("calico-{name}"),
        _ if Kind::THIRD_PARTY.contains(&kind) => format!("thirdparty-{name}"),
        _ => name,
    }
}

impl Manifest {
    pub fn to_text(&self) -> String {
        format!("{:#}\n", serde_json::to_value(self).expect("a manifest is plain data"))
    }

    pub fn digest(&self) -> Digest {
        Digest::of(self.to_text().as_bytes())
    }

    pub fn objects(&self) -> usize {
        self.files.iter().map(|entry| entry.objects).sum()
    }
}
