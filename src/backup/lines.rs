//! The keys of a backup one by one, and the copy of the lines that a plan names.
//!
//! A run takes the lines of its plan along, in the order in which it makes them true: so it needs the backup for as long as it
//! begins and no longer. Each line is held against the digest in the plan when it is copied, and again when it is used.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use super::{
    BackupError, Manifest,
    archive::file_stem,
    contents::{KindFile, RawLines, Unpacked, read_line, unpack},
};
use crate::{
    cluster,
    plan::{Line, Lines},
    resource::{Document, Kind},
};

/// The file of a run that holds the lines which its plan names.
pub const LINES: &str = "lines.ndjson.zst";

/// So many packed bytes are handed on at once.
const PART: usize = 64 << 10;

/// A key as a backup holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct BackedKey {
    /// The line it stands on, from 0.
    pub number: usize,
    pub name: String,
    pub document: Document,
    /// etcd would have removed it by itself.
    pub is_passing: bool,
}

/// The keys of a backup, one after the other.
pub struct KeyFile<'m> {
    file: KindFile<'m>,
    next: usize,
}

impl<'m> KeyFile<'m> {
    /// Opens the keys of a backup, if it holds any.
    pub fn open(directory: &Path, manifest: &'m Manifest) -> Result<Option<Self>, BackupError> {
        let entry = manifest.files.iter().find(|entry| entry.kind == Kind::EtcdKey);
        entry.map(|entry| Ok(Self { file: KindFile::open(directory, entry)?, next: 0 })).transpose()
    }

    /// Reads the next key; after the last one it has checked that the file is what the manifest promises.
    pub fn read(&mut self) -> Result<Option<BackedKey>, BackupError> {
        let Some((object, body)) = self.file.next()? else { return Ok(None) };
        let is_passing = body.get("status").is_some_and(|status| !status.is_null());
        let (number, document) = (self.next, cluster::document_of(Kind::EtcdKey, body));
        self.next += 1;
        Ok(Some(BackedKey { number, name: object.name, document, is_passing }))
    }
}

/// Copies the lines that a plan names, in its order and packed, and checks each on the way. What is written comes in parts.
pub fn copy_lines<'l, E: From<BackupError>>(
    backup: &Path,
    all: impl Iterator<Item = &'l Lines>,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let path = backup.join(format!("{}.ndjson.zst", file_stem(Kind::EtcdKey)));
    let mut packer = zstd::Encoder::new(Vec::new(), 3).expect("3 is a level");
    for lines in all {
        let (mut source, mut at) = (RawLines::new(BufReader::new(unpack(&path)?)), 0);
        for line in lines.iter() {
            let bytes = seek(&mut source, line.number - at).map_err(|what| damaged(&path, what))?;
            at = line.number + 1;
            document_of(&line, bytes).map_err(|()| BackupError::Lacks { object: line.object() })?;
            packer.write_all(&[bytes, b"\n"].concat()).expect("memory can be written to");
            if packer.get_ref().len() >= PART {
                write(packer.get_ref())?;
                packer.get_mut().clear();
            }
        }
    }
    write(&packer.finish().expect("memory can be written to"))
}

/// Leaves out as many lines as said and reads the next.
fn seek<R: BufRead>(source: &mut RawLines<R>, left_out: usize) -> Result<&[u8], String> {
    for _ in 0..left_out {
        source.next().map_err(|error| error.to_string())?;
    }
    let line = source.next().map_err(|error| error.to_string())?;
    line.ok_or_else(|| "it ends before the last line that the plan names".to_owned())
}

/// What stands on a line, if it is what the plan says.
fn document_of(line: &Line<'_>, bytes: &[u8]) -> Result<Document, ()> {
    let (object, body) = read_line(Kind::EtcdKey, bytes).map_err(drop)?;
    let document = cluster::document_of(Kind::EtcdKey, body);
    if object.name == line.key && document.digest() == *line.after { Ok(document) } else { Err(()) }
}

fn damaged(path: &Path, what: String) -> BackupError {
    BackupError::Damaged { path: path.to_owned(), what }
}

/// The lines of a run, read in the order of its plan.
pub struct CopiedLines {
    path: PathBuf,
    source: RawLines<BufReader<Unpacked>>,
}

impl CopiedLines {
    /// Opens the copy in the directory of a run, after so many lines.
    pub fn open(run: &Path, after: usize) -> Result<Self, BackupError> {
        let path = run.join(LINES);
        let mut source = RawLines::new(BufReader::new(unpack(&path)?));
        if after > 0 {
            seek(&mut source, after - 1).map_err(|what| damaged(&path, what))?;
        }
        Ok(Self { path, source })
    }

    /// Reads what the next line says.
    pub fn next(&mut self, line: &Line<'_>) -> Result<Document, BackupError> {
        let bytes = seek(&mut self.source, 0).map_err(|what| damaged(&self.path, what))?;
        document_of(line, bytes).map_err(|()| damaged(&self.path, format!("it does not hold {} as planned", line.key)))
    }
}

/// Reads the lines of a run once, and holds each against its plan.
pub fn check_copy<'l>(run: &Path, all: impl Iterator<Item = &'l Lines>) -> Result<(), BackupError> {
    let mut all = all.flat_map(Lines::iter).peekable();
    // Most plans name none, and take no copy along.
    if all.peek().is_none() {
        return Ok(());
    }
    let mut copied = CopiedLines::open(run, 0)?;
    all.try_for_each(|line| copied.next(&line).map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Digest;
    use serde_json::json;

    fn line(key: &str, value: &str) -> String {
        let metadata = json!({"name": key, "uid": "1", "resourceVersion": "2"});
        json!({"apiVersion": "etcd/v2", "kind": "EtcdKey", "metadata": metadata, "value": value}).to_string() + "\n"
    }

    fn digest(key: &str, value: &str) -> Digest {
        Document::new(json!({"metadata": {"name": key}, "value": value})).digest()
    }

    fn backup_of(lines: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let packed = zstd::encode_all(lines.as_bytes(), 3).unwrap();
        std::fs::write(directory.path().join("etcdkey.ndjson.zst"), packed).unwrap();
        directory
    }

    fn three() -> tempfile::TempDir {
        backup_of(&(line("/calico/a", "1") + &line("/calico/b", "2") + &line("/calico/c", "3")))
    }

    /// Two stages: the last line first, then the first.
    fn named() -> [Lines; 2] {
        [("/calico/c", "3", 2), ("/calico/a", "1", 0)].map(|(key, value, number)| {
            let mut lines = Lines::default();
            lines.push(Line { number, key, before: None, after: &digest(key, value) });
            lines
        })
    }

    fn copy(backup: &Path, run: &Path) -> Result<(), BackupError> {
        let mut packed = Vec::new();
        copy_lines(backup, named().iter(), |part| {
            packed.extend_from_slice(part);
            Ok::<_, BackupError>(())
        })?;
        std::fs::write(run.join(LINES), packed).unwrap();
        Ok(())
    }

    #[test]
    fn the_lines_of_a_plan_are_copied_in_its_order_and_read_from_any_of_them_on() {
        let (backup, run) = (three(), tempfile::tempdir().unwrap());
        copy(backup.path(), run.path()).unwrap();
        check_copy(run.path(), named().iter()).unwrap();
        let second = &named()[1];
        let found = CopiedLines::open(run.path(), 1).unwrap().next(&second.get(0)).unwrap();
        assert_eq!(found.digest(), digest("/calico/a", "1"));
    }

    #[test]
    fn a_line_that_says_something_else_than_the_plan_knows_is_never_copied() {
        let run = tempfile::tempdir().unwrap();
        for other in [line("/calico/c", "4"), line("/calico/d", "3"), "{}\n".to_owned()] {
            let backup = backup_of(&(line("/calico/a", "1") + &line("/calico/b", "2") + &other));
            let refused = copy(backup.path(), run.path()).unwrap_err();
            assert!(matches!(&refused, BackupError::Lacks { object } if object.name == "/calico/c"), "{refused}");
        }
        let cut = backup_of(&line("/calico/a", "1"));
        let refused = copy(cut.path(), run.path()).unwrap_err().to_string();
        assert!(refused.contains("ends before the last line"), "{refused}");
        let refused = copy(run.path(), run.path()).unwrap_err();
        assert!(matches!(refused, BackupError::Read { .. }), "{refused}");
    }

    #[test]
    fn a_copy_that_was_changed_or_cut_or_is_not_there_is_no_copy() {
        let run = tempfile::tempdir().unwrap();
        assert!(matches!(check_copy(run.path(), named().iter()), Err(BackupError::Read { .. })));
        for text in [line("/calico/c", "3"), line("/calico/c", "3") + &line("/calico/a", "2")] {
            std::fs::write(run.path().join(LINES), zstd::encode_all(text.as_bytes(), 3).unwrap()).unwrap();
            assert!(matches!(check_copy(run.path(), named().iter()), Err(BackupError::Damaged { .. })), "{text}");
        }
        check_copy(run.path(), std::iter::empty()).unwrap();
    }
}
