//! etcdctl in place of the program: a list and a `get` for each key, and a snapshot of the v3 API.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use harness::CalicoEtcd;

use crate::figure::{Aim, Figure};
use crate::measure::Result;
use crate::note;

/// Each `get` is a process of its own: all would take a third of an hour.
const GETS: usize = 200;
/// A key of the v3 API, which a snapshot must hold.
const V3_KEY: &str = "written-by-the-v3-api";

type Keys = [(String, Vec<u8>)];

struct Etcdctl<'a> {
    program: &'a Path,
    endpoints: String,
}

/// Measures etcdctl beside the seconds that a backup of the program took; nothing if it cannot be built here.
pub fn measure(etcd: &CalicoEtcd, keys: &Keys, root: &str, backup: f64) -> Result<Vec<Figure>> {
    let program = match harness::etcdctl() {
        Ok(program) => program,
        Err(error) => {
            note(&format!("keys: etcdctl is left out: {error}"));
            return Ok(Vec::new());
        }
    };
    let etcdctl = Etcdctl { program: &program, endpoints: etcd.endpoints().join(",") };
    let listing = etcdctl.list(keys, root)?;
    let getting = etcdctl.get(keys)?;
    let reckoned = listing + getting * keys.len() as f64;
    let (snapshot, found) = etcdctl.snapshot(root)?;
    Ok(vec![
        Figure::new("keys: etcdctl ls, time", " s", listing, Aim::None),
        Figure::new("keys: etcdctl get, time of one", " ms", getting * 1e3, Aim::None),
        Figure::new("keys: backup, time, etcdctl ls and get (reckoned)", " s", backup, Aim::None).beside(reckoned),
        Figure::new("keys: etcdctl v3 snapshot, time", " s", snapshot, Aim::None),
        Figure::new("keys: etcdctl v3 snapshot, v2 keys in it", "", found as f64, Aim::None),
    ])
}

impl Etcdctl<'_> {
    fn list(&self, keys: &Keys, root: &str) -> Result<f64> {
        let started = Instant::now();
        let text = self.call("2", &["--no-sync", "ls", "-r", "-p", root])?;
        let seconds = started.elapsed().as_secs_f64();
        let listed = text.lines().filter(|line| !line.ends_with('/')).count();
        if listed != keys.len() {
            return Err(format!("etcdctl lists {listed} of {} keys", keys.len()).into());
        }
        Ok(seconds)
    }

    /// The mean of some keys from all over.
    fn get(&self, keys: &Keys) -> Result<f64> {
        let some: Vec<_> = keys.iter().step_by((keys.len() / GETS).max(1)).collect();
        let started = Instant::now();
        for (key, value) in &some {
            if self.call("2", &["--no-sync", "get", key])?.trim_end().as_bytes() != value.trim_ascii_end() {
                return Err(format!("etcdctl gives another value of `{key}`").into());
            }
        }
        Ok(started.elapsed().as_secs_f64() / some.len() as f64)
    }

    /// Gives the seconds, and how often the root of the v2 keys is in the file.
    fn snapshot(&self, root: &str) -> Result<(f64, usize)> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("snapshot");
        self.call("3", &["put", V3_KEY, "value"])?;
        let started = Instant::now();
        self.call("3", &["snapshot", "save", &file.display().to_string()])?;
        let seconds = started.elapsed().as_secs_f64();
        let content = std::fs::read(file)?;
        if occurrences(&content, V3_KEY) == 0 {
            return Err("the snapshot does not even hold the key of the v3 API".into());
        }
        Ok((seconds, occurrences(&content, &format!("{root}/"))))
    }

    fn call(&self, api: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.program);
        command.env("ETCDCTL_API", api).args(["--endpoints", &self.endpoints]).args(arguments);
        let output = command.output()?;
        if !output.status.success() {
            return Err(format!("etcdctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn occurrences(content: &[u8], text: &str) -> usize {
    content.windows(text.len()).filter(|part| *part == text.as_bytes()).count()
}
