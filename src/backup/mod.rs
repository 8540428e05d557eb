//! Backups: every object as the server gave it, in compressed files with a manifest of digests, and the drill that proves that
//! they can be read back.
//!
//! A backup is a directory: `<kind>.ndjson.zst` with one object a line, sorted by name, and `manifest.json`. The same cluster
//! state gives the same manifest digest. Keys of Calico's own etcd are objects like any other (`keys`). Archives are hostile input: no path comes from their contents, and sizes are capped.

mod archive;
mod contents;
mod drill;
mod keys;
mod lines;
mod snapshot;

pub use archive::{Archive, Entry, Manifest, collect};
pub use contents::{Backed, Contents, contents};
pub use drill::{BackupError, Drilled, drill, read_manifest};
pub use keys::EtcdSource;
pub use lines::{BackedKey, CopiedLines, KeyFile, LINES, check_copy, copy_lines};
pub use snapshot::{EtcdSnapshot, SNAPSHOT, read_snapshot};

/// The file that names all others.
pub const MANIFEST: &str = "manifest.json";

/// The layout of backups; another number is refused.
pub const FORMAT: u32 = 1;
