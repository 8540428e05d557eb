use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use super::{Entry, History, News, Progress};
use crate::resource::Digest;

/// Room kept on the disk so that a full one cannot keep us from recording that we stopped.
const RESERVE_BYTES: usize = 64 * 1024;

/// The journal file of one run, open for appending.
pub struct Journal {
    file: File,
    path: PathBuf,
    epoch: u64,
    next: u64,
    chain: String,
    /// How far the file holds whole entries.
    end: u64,
    /// How far it is known to be on the disk, and the newest entry there.
    durable: (u64, String),
    /// What the entries add up to. It is asked before each entry is written.
    progress: Progress,
    is_poisoned: bool,
}

/// What followed the last good line of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    Clean,
    /// The last line was cut short by a kill: this many bytes are no entry.
    Torn(u64),
}

/// The journal cannot be written, or what it says cannot be true.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot write the journal `{path}`")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read the journal `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("an earlier write to the journal `{path}` was lost, so nothing more may be changed")]
    Poisoned { path: PathBuf },
    #[error("the journal `{path}` is damaged at line {line}: {what}, and good lines follow it")]
    Damaged { path: PathBuf, line: usize, what: String },
    #[error("the journal `{path}` contradicts itself")]
    History { path: PathBuf, source: History },
    #[error("what happened cannot follow what the journal `{path}` says, so it was not written")]
    Refused { path: PathBuf, source: History },
}

impl Journal {
    /// Starts a journal that must not exist yet.
    pub fn create(path: &Path, epoch: u64) -> Result<Self, JournalError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
        let wrong = |source| JournalError::Write { path: path.to_owned(), source };
        let file = open(path, flags).map_err(wrong)?;
        write_reserve(path).map_err(wrong)?;
        let (path, durable, progress) = (path.to_owned(), (0, String::new()), Progress::default());
        Ok(Self { file, path, epoch, next: 0, chain: String::new(), end: 0, durable, progress, is_poisoned: false })
    }

    /// Opens a journal to go on with it, and shows each entry. A torn tail is cut off and kept beside the journal.
    pub fn go_on(path: &Path, epoch: u64, mut show: impl FnMut(&Entry)) -> Result<Self, JournalError> {
        let (mut progress, mut history) = (Progress::default(), Ok(()));
        let Scanned { entries, chain, tail } = scan(path, |entry| {
            show(&entry);
            history = history.clone().and_then(|()| progress.take(&entry));
        })?;
        history.map_err(|source| JournalError::History { path: path.to_owned(), source })?;
        let wrong = |source| JournalError::Write { path: path.to_owned(), source };
        let mut file = open(path, OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC).map_err(wrong)?;
        let mut end = file.metadata().map_err(wrong)?.len();
        if let Tail::Torn(bytes) = tail {
            end -= bytes;
            keep_torn_tail(&mut file, path, end).map_err(wrong)?;
        }
        file.seek(SeekFrom::Start(end)).map_err(wrong)?;
        write_reserve(path).map_err(wrong)?;
        let (path, durable) = (path.to_owned(), (end, chain.clone()));
        Ok(Self { file, path, epoch, next: entries, chain, end, durable, progress, is_poisoned: false })
    }

    /// Appends news and makes them durable; they are in the file before this returns.
    ///
    /// # Errors
    /// After a failed write or sync nothing more is accepted: what the disk holds is unknown then. News that cannot follow what
    /// the journal says are not written.
    pub fn append(&mut self, news: News) -> Result<(), JournalError> {
        self.append_unsynced(news)?;
        self.sync()
    }

    /// Appends news that may be lost with the power: the next `append` makes them durable with its own.
    pub fn append_unsynced(&mut self, news: News) -> Result<(), JournalError> {
        if self.is_poisoned {
            return Err(JournalError::Poisoned { path: self.path.clone() });
        }
        let at = jiff::Timestamp::now().to_string();
        let entry = Entry { seq: self.next, epoch: self.epoch, at, prev: self.chain.clone(), news };
        self.progress.take(&entry).map_err(|source| JournalError::Refused { path: self.path.clone(), source })?;
        let line = line_of(&entry);
        (self.chain, self.next) = (digest_of(&line), self.next + 1);
        self.write(format!("{line}\n").as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        let written = match self.file.write_all(bytes) {
            Err(full) if full.kind() == io::ErrorKind::StorageFull => self.write_into_reserve(bytes),
            other => other,
        };
        self.end += bytes.len() as u64;
        written.map_err(|source| {
            self.is_poisoned = true;
            JournalError::Write { path: self.path.clone(), source }
        })
    }

    fn write_into_reserve(&mut self, bytes: &[u8]) -> io::Result<()> {
        std::fs::remove_file(reserve_path(&self.path))?;
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(bytes)
    }

    /// Makes everything appended so far durable.
    fn sync(&mut self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(|source| {
            self.is_poisoned = true;
            JournalError::Write { path: self.path.clone(), source }
        })?;
        self.durable = (self.end, self.chain.clone());
        Ok(())
    }

    /// What the entries add up to.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The hash of the newest entry that no loss of power takes away.
    pub fn chain(&self) -> &str {
        &self.durable.1
    }

    /// Cuts the file back to what was made durable and leaves half a line, as a power cut would.
    #[cfg(feature = "faults")]
    pub fn lose_unsynced(&mut self) {
        let (durable, _) = self.durable;
        let _ = self.file.set_len(durable + (self.end - durable) / 2);
    }
}

/// Reads a journal up to its last good line.
///
/// # Errors
/// `Damaged` if a bad line is followed by good ones: that is no torn tail but a changed file.
pub fn read(path: &Path) -> Result<(Vec<Entry>, Tail), JournalError> {
    let mut entries = Vec::new();
    let tail = read_each(path, |entry| entries.push(entry))?;
    Ok((entries, tail))
}

/// The same, one entry at a time: the journal of 100,000 changes is 60 MB. What was handed out counts only once this returns.
pub fn read_each(path: &Path, take: impl FnMut(Entry)) -> Result<Tail, JournalError> {
    Ok(scan(path, take)?.tail)
}

/// What a journal adds up to.
struct Scanned {
    entries: u64,
    /// The hash of the last good line.
    chain: String,
    tail: Tail,
}

fn scan(path: &Path, mut take: impl FnMut(Entry)) -> Result<Scanned, JournalError> {
    let wrong = |source| JournalError::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(open(path, OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC).map_err(wrong)?);
    let mut scanned = Scanned { entries: 0, chain: String::new(), tail: Tail::Clean };
    let (mut line, mut number, mut torn, mut first_bad) = (Vec::new(), 0, 0, None);
    while reader.read_until(b'\n', &mut line).map_err(wrong)? > 0 {
        number += 1;
        if let Some((line, what)) = first_bad.take_if(|_| looks_good(&line)) {
            return Err(JournalError::Damaged { path: path.to_owned(), line, what });
        }
        match entry_of(&line, scanned.entries, &scanned.chain) {
            Ok(entry) if torn == 0 => {
                scanned.chain = digest_of(&line_of(&entry));
                scanned.entries += 1;
                take(entry);
            }
            Ok(_) => {}
            Err(what) => {
                first_bad.get_or_insert((number, what));
            }
        }
        torn += if first_bad.is_some() { line.len() as u64 } else { 0 };
        line.clear();
    }
    scanned.tail = if torn == 0 { Tail::Clean } else { Tail::Torn(torn) };
    Ok(scanned)
}

/// A line is an entry, a tab, and the first digits of the entry's own hash.
fn line_of(entry: &Entry) -> String {
    let body = serde_json::to_string(entry).expect("an entry is plain data");
    let sum = digest_of(&body);
    format!("{body}\t{}", &sum[..16])
}

fn entry_of(line: &[u8], seq: u64, chain: &str) -> Result<Entry, String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not text".to_owned())?;
    let text = text.strip_suffix('\n').ok_or("it has no end")?;
    let (body, sum) = text.split_once('\t').ok_or("it has no check sum")?;
    if digest_of(body)[..16] != *sum {
        return Err("its check sum is wrong".to_owned());
    }
    let entry: Entry = serde_json::from_str(body).map_err(|error| error.to_string())?;
    if entry.seq != seq || entry.prev != chain {
        return Err("it does not follow the line before it".to_owned());
    }
    Ok(entry)
}

fn looks_good(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    text.trim_end().split_once('\t').is_some_and(|(body, sum)| digest_of(body)[..16] == *sum)
}

fn digest_of(text: &str) -> String {
    Digest::of(text.as_bytes()).text()
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    Ok(File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

fn keep_torn_tail(file: &mut File, path: &Path, good: u64) -> io::Result<()> {
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(good))?;
    file.read_to_end(&mut tail)?;
    std::fs::write(path.with_extension("torn"), tail)?;
    file.set_len(good)?;
    file.sync_data()
}

fn reserve_path(journal: &Path) -> PathBuf {
    journal.with_extension("reserve")
}

fn write_reserve(journal: &Path) -> io::Result<()> {
    let path = reserve_path(journal);
    if path.exists() {
        return Ok(());
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(&vec![0; RESERVE_BYTES])?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal_of_three(directory: &Path) -> PathBuf {
        let path = directory.join("journal.jsonl");
        let mut journal = Journal::create(&path, 1).unwrap();
        for step in ["back-up", "convert-policies", "verify"] {
            journal.append(News::StepStarted { step: step.to_owned() }).unwrap();
        }
        path
    }

    #[test]
    fn a_journal_cut_at_any_byte_gives_its_whole_lines_and_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let path = journal_of_three(home.path());
        let whole = std::fs::read(&path).unwrap();
        let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let entries = read(&path).unwrap().0.len();
            assert_eq!(entries, ends.iter().filter(|end| **end < cut).count());
            let mut journal = Journal::go_on(&path, 2, |_| ()).unwrap();
            journal.append(News::Resumed { holder: "b".to_owned(), after: Vec::new() }).unwrap();
            assert_eq!(read(&path).unwrap().0.len(), entries + 1);
        }
    }

    #[test]
    fn what_cannot_follow_is_not_written_and_the_journal_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let path = journal_of_three(home.path());
        let before = std::fs::read(&path).unwrap();
        let mut journal = Journal::go_on(&path, 2, |_| ()).unwrap();
        let not_begun = News::StepDone { step: "back-up".to_owned() };
        assert!(matches!(journal.append(not_begun), Err(JournalError::Refused { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        journal.append(News::Resumed { holder: "b".to_owned(), after: Vec::new() }).unwrap();
        assert_eq!(read(&path).unwrap().0.len(), 4);
    }

    #[test]
    fn any_flipped_bit_before_the_last_line_is_damage_and_never_read_over() {
        let home = tempfile::tempdir().unwrap();
        let path = journal_of_three(home.path());
        let whole = std::fs::read(&path).unwrap();
        let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        for at in 0..last {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            std::fs::write(&path, &flipped).unwrap();
            assert!(matches!(read(&path), Err(JournalError::Damaged { .. })), "byte {at}");
        }
    }
}
