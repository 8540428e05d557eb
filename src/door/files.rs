use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use super::{Faults, Phase};

/// The directory of one run: the only place on disk that the program writes to.
#[derive(Clone, Debug)]
pub struct RunFiles {
    directory: PathBuf,
}

/// A run file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`")]
pub struct FileError {
    pub path: PathBuf,
    pub source: io::Error,
}

impl RunFiles {
    /// Makes the directory (for us alone, under any umask), or takes one that is there.
    pub fn open(directory: &Path) -> Result<Self, FileError> {
        make_private_directory(directory).map_err(|source| FileError { path: directory.to_owned(), source })?;
        Ok(Self { directory: directory.to_owned() })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8], faults: &Faults) -> Result<(), FileError> {
        self.write_by(name, faults, |file| file.write_all(bytes))
    }

    /// Writes a file whole or not at all: under another name, synced, renamed, and the directory synced.
    pub fn write_by(
        &self,
        name: &str,
        faults: &Faults,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), FileError> {
        let path = self.path(name);
        faults.at(&format!("file/{name}"), Phase::Pre);
        write_whole(&path, write).map_err(|source| FileError { path, source })?;
        faults.at(&format!("file/{name}"), Phase::Acked);
        Ok(())
    }

    /// Takes away the directory of a run that never began.
    pub fn discard(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::warn!(%error, directory = %self.directory.display(), "a directory without a run is left behind");
        }
    }

    /// Begins a file that comes in parts. It is there once it is finished; until then it bears another name.
    pub fn receive(&self, name: &str) -> Result<Receiving, FileError> {
        let path = self.path(name);
        let (temporary, file) = begin(&path).map_err(|source| FileError { path: path.clone(), source })?;
        Ok(Receiving { path, temporary, file, name: name.to_owned() })
    }
}

/// A file that comes in parts.
pub struct Receiving {
    path: PathBuf,
    temporary: PathBuf,
    file: File,
    name: String,
}

impl Receiving {
    pub fn write(&mut self, part: &[u8]) -> Result<(), FileError> {
        self.file.write_all(part).map_err(|source| FileError { path: self.path.clone(), source })
    }

    pub fn finish(self, faults: &Faults) -> Result<(), FileError> {
        let Self { path, temporary, file, name } = self;
        faults.at(&format!("file/{name}"), Phase::Pre);
        settle(&path, &temporary, &file).map_err(|source| FileError { path, source })?;
        faults.at(&format!("file/{name}"), Phase::Acked);
        Ok(())
    }
}

fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let (temporary, file) = begin(path)?;
    let mut file = BufWriter::new(file);
    write(&mut file)?;
    settle(path, &temporary, &file.into_inner()?)
}

fn parent_of(path: &Path) -> &Path {
    path.parent().expect("a file of a run lies in a directory")
}

fn begin(path: &Path) -> io::Result<(PathBuf, File)> {
    make_private_directory(parent_of(path))?;
    let temporary = path.with_extension("part");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(&temporary, flags, Mode::RUSR | Mode::WUSR)?);
    Ok((temporary, file))
}

fn settle(path: &Path, temporary: &Path, file: &File) -> io::Result<()> {
    file.sync_all()?;
    std::fs::rename(temporary, path)?;
    File::open(parent_of(path))?.sync_all()
}

fn make_private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
