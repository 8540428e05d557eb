//! What is too large for one Secret, in parts: a plan, and the lines of a backup that it names.

use std::io::Read;

use serde_json::Value;

use super::{
    Faults, FileError, Phase, RecordError,
    record::{NAMESPACE, bytes_of, put_secret},
};
use crate::{
    cluster::{Cluster, ClusterError, Precondition},
    plan::Sealed,
    resource::{Kind, ObjectRef},
};

/// A Secret may hold 1 MiB; half of it leaves room for the encoding.
const CHUNK: u64 = 384 * 1024;

/// Writes something in parts, and answers how many there are.
pub(super) async fn put_parts(
    cluster: &Cluster,
    run: &str,
    part: &str,
    mut from: impl Read,
    faults: &Faults,
) -> Result<usize, RecordError> {
    for index in 0.. {
        let mut chunk = Vec::new();
        let read = (&mut from).take(CHUNK).read_to_end(&mut chunk);
        read.map_err(|source| FileError { path: part.into(), source })?;
        if chunk.is_empty() {
            return Ok(index);
        }
        faults.at(&format!("record/{part}-{index}"), Phase::Pre);
        put_part(cluster, run, (part, index), &chunk).await?;
        faults.at(&format!("record/{part}-{index}"), Phase::Acked);
    }
    unreachable!("the loop above ends only by returning")
}

/// Writes one part. One that is there is left by a record that was deleted, or by somebody who handed the same plan over; what it
/// holds is checked whenever it is read.
async fn put_part(
    cluster: &Cluster,
    run: &str,
    (part, index): (&str, usize),
    chunk: &[u8],
) -> Result<(), ClusterError> {
    let name = part_name(run, part, index);
    match put_secret(cluster, &name, run, (part, chunk), &Value::Null, &Precondition::Absent).await {
        Ok(_) | Err(ClusterError::AlreadyExists { .. }) => Ok(()),
        Err(other) => Err(other),
    }
}

/// Reads one part.
pub(super) async fn part_of(cluster: &Cluster, run: &str, part: &str, index: usize) -> Result<Vec<u8>, RecordError> {
    let reference = ObjectRef::namespaced(Kind::Secret, NAMESPACE, part_name(run, part, index));
    let missing =
        || RecordError::Damaged { run: run.to_owned(), what: format!("part {index} of its {part} is missing") };
    bytes_of(run, &cluster.get(&reference).await?.ok_or_else(missing)?, part)
}

/// Puts a plan together from its parts, and checks its seal.
pub(super) async fn plan_of(cluster: &Cluster, run: &str, parts: usize) -> Result<Sealed, RecordError> {
    let mut packed = Vec::new();
    for index in 0..parts {
        packed.extend(part_of(cluster, run, "plan", index).await?);
    }
    Sealed::read_from(|| zstd::Decoder::new(packed.as_slice()))
        .map_err(|error| RecordError::Damaged { run: run.to_owned(), what: error.to_string() })
}

/// The text of a plan as it is written in parts.
pub(super) fn packed(text: impl Read) -> impl Read {
    zstd::stream::read::Encoder::new(text, 6).expect("6 is a level")
}

fn part_name(run: &str, part: &str, index: usize) -> String {
    format!("calico-upgrader-run-{run}-{part}-{index}")
}
