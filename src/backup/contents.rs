//! Reads a backup back, one line at a time: every byte is held against the manifest, and nothing in it is believed.
//!
//! No path comes from the contents, no file is followed to another place, and what is kept in memory is bounded before
//! anything is unpacked.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{BackupError, Entry, Manifest, archive::file_stem, read_manifest};
use crate::{
    cluster,
    resource::{Digest, Document, Kind, ObjectRef},
};

/// No API server stores an object of this size: etcd takes 1.5 MiB by default.
const LINE_LIMIT: u64 = 16 << 20;

/// All of Calico's data in the largest clusters is a tenth of this.
const TOTAL_LIMIT: u64 = 2 << 30;

/// The longest name of an object (Kubernetes documentation, "Object Names and IDs").
const NAME_LIMIT: usize = 253;

/// An object as a backup holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Backed {
    pub document: Document,
    /// It was being deleted when the backup was made.
    pub is_terminating: bool,
}

/// All that a backup holds but for the keys of etcd, once every byte of it was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    pub manifest: Manifest,
    pub digest: Digest,
    pub objects: BTreeMap<ObjectRef, Backed>,
}

impl Contents {
    /// How many keys of etcd the backup holds.
    pub fn keys(&self) -> usize {
        self.manifest.files.iter().filter(|entry| entry.kind == Kind::EtcdKey).map(|entry| entry.objects).sum()
    }
}

/// Reads a whole backup from disk in one pass. Keys are checked like all else and not kept: 100,000 of them are 60 MB.
pub fn contents(directory: &Path) -> Result<Contents, BackupError> {
    let manifest = read_manifest(directory)?;
    let mut objects = BTreeMap::new();
    read_each(directory, &manifest, |object, body| {
        if object.kind != Kind::EtcdKey {
            let is_terminating = body["metadata"].get("deletionTimestamp").is_some_and(|time| !time.is_null());
            let document = cluster::document_of(object.kind, body);
            objects.insert(object, Backed { document, is_terminating });
        }
    })?;
    Ok(Contents { digest: manifest.digest(), manifest, objects })
}

/// Hands out every object of a backup, after the line it stands on was checked.
pub(super) fn read_each(
    directory: &Path,
    manifest: &Manifest,
    mut take: impl FnMut(ObjectRef, Value),
) -> Result<(), BackupError> {
    check_promises(directory, manifest)?;
    for entry in &manifest.files {
        let mut file = KindFile::open(directory, entry)?;
        while let Some((object, body)) = file.next()? {
            take(object, body);
        }
    }
    Ok(())
}

fn check_promises(directory: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let damaged = |what: String| Err(BackupError::Damaged { path: directory.to_owned(), what });
    let mut kinds = BTreeSet::new();
    if let Some(twice) = manifest.files.iter().find(|entry| !kinds.insert(entry.kind)) {
        return damaged(format!("its manifest names {} twice", file_stem(twice.kind)));
    }
    let total = manifest.files.iter().fold(0u64, |sum, entry| sum.saturating_add(entry.bytes));
    if total > TOTAL_LIMIT {
        return damaged(format!("its manifest promises {total} bytes, and at most {TOTAL_LIMIT} are read"));
    }
    Ok(())
}

/// The file of one kind, read line by line. At its end it is held against what the manifest promises.
pub(super) struct KindFile<'m> {
    path: PathBuf,
    entry: &'m Entry,
    lines: RawLines<BufReader<io::Take<Unpacked>>>,
    /// The first half of the digest of each name: of 100,000 keys the names would be 25 MB.
    seen: HashSet<[u8; 16]>,
}

/// A packed file as it is unpacked.
pub(super) type Unpacked = zstd::Decoder<'static, BufReader<File>>;

impl<'m> KindFile<'m> {
    pub fn open(directory: &Path, entry: &'m Entry) -> Result<Self, BackupError> {
        // The name is derived from the kind: what the manifest says of it is never used as a path.
        let path = directory.join(format!("{}.ndjson.zst", file_stem(entry.kind)));
        // One byte more than promised is enough to see that it is another file.
        let lines = RawLines::new(BufReader::new(unpack(&path)?.take(entry.bytes.saturating_add(1))));
        Ok(Self { path, entry, lines, seen: HashSet::new() })
    }

    pub fn next(&mut self) -> Result<Option<(ObjectRef, Value)>, BackupError> {
        let damaged = |what: String| BackupError::Damaged { path: self.path.clone(), what };
        let number = self.seen.len() + 1;
        let Some(line) = self.lines.next().map_err(|error| damaged(error.to_string()))? else {
            return self.lines.holds(self.entry, self.seen.len()).map_err(damaged).map(|()| None);
        };
        let read = read_line(self.entry.kind, line);
        let (object, body) = read.map_err(|what| damaged(format!("line {number} {what}")))?;
        if !self.seen.insert(fingerprint(&object)) {
            return Err(damaged(format!("line {number} holds {object} a second time")));
        }
        Ok(Some((object, body)))
    }
}

pub(super) fn unpack(path: &Path) -> Result<Unpacked, BackupError> {
    let file = open_plain(path).map_err(|source| BackupError::Read { path: path.to_owned(), source })?;
    let unpacked = zstd::Decoder::new(file);
    unpacked.map_err(|error| BackupError::Damaged { path: path.to_owned(), what: error.to_string() })
}

fn fingerprint(object: &ObjectRef) -> [u8; 16] {
    let hash = Sha256::digest(object.to_string());
    std::array::from_fn(|index| hash[index])
}

/// The lines of a file, counted and hashed as they go by.
pub(super) struct RawLines<R> {
    reader: R,
    line: Vec<u8>,
    bytes: u64,
    hash: Sha256,
}

impl<R: BufRead> RawLines<R> {
    pub fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), bytes: 0, hash: Sha256::new() }
    }

    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let read = (&mut self.reader).take(LINE_LIMIT).read_until(b'\n', &mut self.line)?;
        self.hash.update(&self.line);
        self.bytes += read as u64;
        match self.line.split_last() {
            None => Ok(None),
            Some((b'\n', line)) => Ok(Some(line)),
            Some(_) => Err(io::Error::other("a line of it has no end, or is longer than any object")),
        }
    }

    /// Holds what went by against what the manifest promises.
    fn holds(&self, entry: &Entry, objects: usize) -> Result<(), String> {
        if objects != entry.objects {
            return Err(format!("it holds {objects} objects instead of {}", entry.objects));
        }
        if self.bytes != entry.bytes || Digest::of_hash(self.hash.clone()) != entry.sha256 {
            return Err("its digest is not the one in the manifest".to_owned());
        }
        Ok(())
    }
}

/// Reads one object, or says what is wrong with its line.
pub(super) fn read_line(kind: Kind, line: &[u8]) -> Result<(ObjectRef, Value), String> {
    let text = std::str::from_utf8(line).map_err(|_| "is not text".to_owned())?;
    let body: Value = serde_json::from_str(text).map_err(|error| format!("cannot be read: {error}"))?;
    if body.to_string().as_str() != text {
        return Err("is not written as we write it".to_owned());
    }
    let field = |key: &str| body["metadata"][key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let object = ObjectRef { kind, namespace: field("namespace"), name: field("name").unwrap_or_default() };
    let is_named = if kind == Kind::EtcdKey { is_key(&object.name) } else { is_name(&object.name) };
    if !is_named || object.namespace.as_deref().is_some_and(|namespace| !is_name(namespace)) {
        return Err("has no name that an API server would give".to_owned());
    }
    if kind.is_namespaced() != object.namespace.is_some() {
        return Err("is in a namespace where its kind is not, or the other way round".to_owned());
    }
    Ok((object, body))
}

/// Keys of etcd are paths of their own; only Calico's are ever in a backup.
fn is_key(text: &str) -> bool {
    text.starts_with("/calico/") && text.split('/').skip(1).all(|part| !["", ".", ".."].contains(&part))
}

/// Names become parts of API paths: a character that ends or leaves such a part is in no name
/// (Kubernetes documentation, "Object Names and IDs", path segment names).
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"/%?#\\".contains(&byte);
    !text.is_empty() && text.len() <= NAME_LIMIT && ![".", ".."].contains(&text) && text.bytes().all(is_plain)
}

/// Opens a file that is one: no link to another place, no pipe and no device.
pub(super) fn open_plain(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no plain file")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::{FORMAT, MANIFEST};

    /// Writes a backup of one file as an attacker could: with a manifest that fits it.
    fn backup_of(lines: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let entry = Entry {
            kind: Kind::NetworkPolicy,
            file: "../../etc/passwd".to_owned(),
            objects: lines.lines().count(),
            bytes: lines.len() as u64,
            sha256: Digest::of(lines.as_bytes()),
        };
        let manifest =
            Manifest { format: FORMAT, cluster: "uid".to_owned(), files: vec![entry], etcd: None, etcd_snapshot: None };
        let packed = zstd::encode_all(lines.as_bytes(), 3).unwrap();
        std::fs::write(directory.path().join("networkpolicy.ndjson.zst"), packed).unwrap();
        std::fs::write(directory.path().join(MANIFEST), manifest.to_text()).unwrap();
        directory
    }

    fn line(namespace: &str, name: &str) -> String {
        format!("{{\"metadata\":{{\"name\":\"{name}\",\"namespace\":\"{namespace}\"}}}}\n")
    }

    fn refusal(lines: &str) -> String {
        contents(backup_of(lines).path()).unwrap_err().to_string()
    }

    #[test]
    fn a_whole_backup_is_read_object_by_object() {
        let directory = backup_of(&(line("shop", "a") + &line("shop", "b")));
        let found = contents(directory.path()).unwrap();
        let names: Vec<_> = found.objects.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["NetworkPolicy shop/a", "NetworkPolicy shop/b"]);
        assert_eq!(found.digest, crate::backup::drill(directory.path(), |_| false, |_, _| {}).unwrap().digest);
    }

    #[test]
    fn a_name_that_would_lead_elsewhere_in_the_api_is_refused() {
        for name in ["..", "../../secrets/x", "a?dryRun=All", "a%2fb", "a#b", "", "a b"] {
            assert!(refusal(&line("shop", name)).contains("no name"), "{name}");
            assert!(name.is_empty() || refusal(&line(name, "a")).contains("no name"), "{name}");
        }
        assert!(refusal(&line("", "a")).contains("namespace"));
    }

    #[test]
    fn what_stands_there_twice_or_is_no_object_is_damage() {
        assert!(refusal(&(line("shop", "a") + &line("shop", "a"))).contains("a second time"));
        assert!(refusal("{}\n").contains("no name"));
        assert!(refusal(&line("shop", "a").replace(':', ": ")).contains("as we write it"));
        assert!(refusal(line("shop", "a").trim_end()).contains("no end"));
        let deep = "[".repeat(100_000) + "\n";
        assert!(refusal(&deep).contains("recursion limit"));
    }

    #[test]
    fn a_bomb_is_given_up_long_before_it_fills_the_memory() {
        assert!(refusal(&" ".repeat((LINE_LIMIT + 1) as usize)).contains("longer than any object"));
        let mut manifest = read_manifest(backup_of("").path()).unwrap();
        manifest.files[0].bytes = u64::MAX;
        let wrong = check_promises(Path::new("b"), &manifest).unwrap_err().to_string();
        assert!(wrong.contains("at most"), "{wrong}");
    }

    #[test]
    fn a_file_that_leads_to_another_place_is_not_followed() {
        let directory = backup_of(&line("shop", "a"));
        let file = directory.path().join("networkpolicy.ndjson.zst");
        std::fs::rename(&file, directory.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(directory.path().join("elsewhere"), &file).unwrap();
        assert!(matches!(contents(directory.path()), Err(BackupError::Read { .. })));
    }

    #[test]
    fn one_changed_byte_is_damage() {
        let directory = backup_of(&line("shop", "a"));
        let other = zstd::encode_all(line("shop", "b").as_bytes(), 3).unwrap();
        std::fs::write(directory.path().join("networkpolicy.ndjson.zst"), other).unwrap();
        assert!(contents(directory.path()).unwrap_err().to_string().contains("digest"));
    }
}
