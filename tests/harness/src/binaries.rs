//! Where the programs of the control plane lie.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::control_plane::Kubernetes;
use crate::error::{HarnessError, Result, Trying};

const BUILD_SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../control-plane/build.sh");

/// Where the client of etcd lies; it is built if it never was.
pub fn etcdctl() -> Result<PathBuf> {
    Ok(Binaries::find_etcdctl()?.etcdctl().into())
}

pub struct Binaries {
    folders: BTreeMap<String, PathBuf>,
    kubernetes: &'static str,
}

impl Binaries {
    /// Finds the programs, and builds those that were never built on this machine (minutes, once).
    pub fn find(kubernetes: Kubernetes) -> Result<Self> {
        let kubernetes = kubernetes.part();
        Self::build(&["etcd", kubernetes], kubernetes)
    }

    /// Finds etcd alone.
    pub fn find_etcd() -> Result<Self> {
        Self::build(&["etcd"], "")
    }

    /// Finds the client of etcd, which only the benchmarks need.
    pub fn find_etcdctl() -> Result<Self> {
        Self::build(&["etcdctl"], "")
    }

    fn build(parts: &[&str], kubernetes: &'static str) -> Result<Self> {
        let output = Command::new(BUILD_SCRIPT)
            .args(parts)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .trying(|| format!("run `{BUILD_SCRIPT}`"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            return Err(HarnessError::Build { output: text });
        }
        let folders = text.lines().filter_map(|line| line.split_once(' '));
        let folders = folders.map(|(part, folder)| (part.to_owned(), PathBuf::from(folder))).collect();
        Ok(Binaries { folders, kubernetes })
    }

    pub fn etcd(&self) -> String {
        self.program("etcd", "etcd")
    }

    pub fn etcdctl(&self) -> String {
        self.program("etcdctl", "etcdctl")
    }

    pub fn kubernetes(&self, program: &str) -> String {
        self.program(self.kubernetes, program)
    }

    fn program(&self, part: &str, program: &str) -> String {
        let folder = self.folders.get(part).expect("build.sh prints a folder for each part it was asked for");
        folder.join(program).display().to_string()
    }
}
