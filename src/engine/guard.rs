//! The lock of one machine, which proves that a runner of the same machine is dead.

use std::{fs::File, io::Write, path::Path};

use super::{Home, StartError};
use crate::{
    door::{FileError, RunFiles},
    resource::Digest,
};

/// The lock of one cluster on one machine. Only a living process can hold it, so the names in it are of the dead.
pub(super) struct LocalGuard {
    pub file: File,
    pub token: String,
    pub name: String,
    pub dead: Vec<String>,
}

impl LocalGuard {
    pub fn take(home: &Home, cluster: &str) -> Result<Self, StartError> {
        let locks = RunFiles::open(&home.state.join("locks"))?;
        let path = locks.path(cluster);
        let wrong = |source| FileError { path: path.clone(), source };
        let mut file = open_private(&path).map_err(wrong)?;
        let names = std::fs::read_to_string(&path).map_err(wrong)?;
        let dead: Vec<String> = names.lines().map(str::to_owned).collect();
        if file.try_lock().is_err() {
            return Err(StartError::LocallyHeld { holder: dead.last().cloned().unwrap_or_default() });
        }
        let token = new_token();
        let name = format!("{} {token}", home.holder);
        // Appended: the lease may still carry the name of any earlier holder.
        writeln!(file, "{name}").and_then(|()| file.sync_all()).map_err(wrong)?;
        Ok(Self { file, token, name, dead })
    }
}

fn open_private(path: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

/// A word that no other process has: the time, the process and a bit of the kernel's randomness.
fn new_token() -> String {
    let mut noise = [0u8; 16];
    let random = File::open("/dev/urandom").and_then(|mut file| std::io::Read::read_exact(&mut file, &mut noise));
    if random.is_err() {
        noise[..8].copy_from_slice(&jiff::Timestamp::now().as_nanosecond().to_le_bytes()[..8]);
    }
    let seed = [noise.as_slice(), &std::process::id().to_le_bytes()].concat();
    Digest::of(&seed).short()
}

/// Short enough to say on the phone.
pub(super) fn new_run_name(token: &str) -> String {
    token[..6].to_owned()
}
