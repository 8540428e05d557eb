//! 100,000 keys of Calico's own etcd: looked at, backed up, and restored once all are gone.

use std::collections::BTreeMap;
use std::path::Path;

use harness::{
    CalicoEtcd, ControlPlane, EtcdSetup, Flavour, Kubernetes, Release, Size, WornIn, synthetic_keys, worn_in,
};
use serde_json::Value;

use crate::figure::{Aim, Figure};
use crate::keys_bare::{self as bare, Reading};
use crate::measure::{Measured, Result, run_program};
use crate::{etcdctl, note};

const KEYS: usize = 100_000;
/// Ten objects are fourteen keys.
const OBJECTS: usize = 71_000;
const ROOT: &str = "/calico";

struct Laid {
    plane: ControlPlane,
    etcd: CalicoEtcd,
    keys: Vec<(String, Vec<u8>)>,
}

/// What one call of the program took, and the requests for keys that etcd had meanwhile.
struct Called {
    measured: Measured,
    requests: f64,
}

/// Measures a look and a backup, beside bare readers and etcdctl.
pub fn measure_backup() -> Result<Vec<Figure>> {
    let laid = Laid::start()?;
    laid.etcd.load(&laid.keys)?;
    note(&format!("keys: {KEYS} keys are there"));
    let folder = tempfile::tempdir()?;
    laid.back_up(&folder.path().join("backup"))
}

/// Measures the restore of all keys, beside a bare writer.
pub fn measure_restore() -> Result<Vec<Figure>> {
    let laid = Laid::start()?;
    let first = bare::write(&laid.etcd, &laid.keys)?;
    let expected = laid.values()?;
    let folder = tempfile::tempdir()?;
    let backup = folder.path().join("backup").display().to_string();
    laid.call(&["backup", "create", "--out", &backup])?;
    laid.etcd.remove_directory(ROOT)?;
    // The better of two: the first warms the server up.
    let writing = first.min(bare::write(&laid.etcd, &laid.keys)?);
    laid.etcd.remove_directory(ROOT)?;
    note(&format!("restore-keys: {KEYS} keys are backed up and gone"));
    let restored = laid.restore(&backup, &expected)?;
    let largest = checked(bare::read_by_directory(&laid.etcd, ROOT)?)?.largest;
    let changed: Vec<_> =
        laid.keys.iter().map(|(key, value)| (key.clone(), [value.as_slice(), b" "].concat())).collect();
    bare::write(&laid.etcd, &changed)?;
    note(&format!("restore-keys: {KEYS} keys are changed"));
    let replaced = laid.restore(&backup, &expected)?;
    let figure = |what: &str, unit, measured, aim| Figure::new(format!("restore-keys: {what}"), unit, measured, aim);
    let (run, per_key) = (&restored.measured, |called: &Called| called.requests / KEYS as f64);
    Ok(vec![
        figure("time", " s", run.seconds, Aim::None).beside(writing),
        figure("memory beyond the largest answer", " MB", run.peak - largest, Aim::AtMost(64.0)),
        figure("requests to etcd per key", "", per_key(&restored), Aim::None).beside(1.0),
        figure("all replaced, time", " s", replaced.measured.seconds, Aim::None).beside(writing),
        figure("all replaced, memory beyond that answer", " MB", replaced.measured.peak - largest, Aim::AtMost(64.0)),
        figure("all replaced, requests to etcd per key", "", per_key(&replaced), Aim::None).beside(1.0),
    ])
}

impl Laid {
    fn start() -> Result<Self> {
        let plane = ControlPlane::start(Kubernetes::V1_34)?;
        plane.add_node_count(3)?;
        worn_in(&plane, &WornIn { release: Release::V2_5_1, flavour: Flavour::Networking, size: Size::Small })?;
        let mut keys = synthetic_keys(OBJECTS);
        keys.truncate(KEYS);
        Ok(Laid { plane, etcd: CalicoEtcd::start(EtcdSetup::default())?, keys })
    }

    fn back_up(&self, backup: &Path) -> Result<Vec<Figure>> {
        let whole = checked(bare::read_whole(&self.etcd, ROOT)?)?;
        let by_directory = checked(bare::read_by_directory(&self.etcd, ROOT)?)?;
        let looked = self.call(&["discover"])?;
        let backed = self.call(&["backup", "create", "--out", &backup.display().to_string()])?;
        check_manifest(backup)?;
        let (look, back_up) = (&looked.measured, &backed.measured);
        let beyond = |peak: f64| peak - by_directory.largest;
        let figure = |what: &str, unit, measured, aim| Figure::new(format!("keys: {what}"), unit, measured, aim);
        let mut figures = vec![
            figure("largest answer for a directory", " MB", by_directory.largest, Aim::None),
            figure("look, time", " s", look.seconds, Aim::None).beside(by_directory.seconds),
            figure("look, memory beyond that answer", " MB", beyond(look.peak), Aim::AtMost(64.0)),
            figure("backup, time", " s", back_up.seconds, Aim::None).beside(by_directory.seconds),
            figure("backup, time, bare reads all at once", " s", back_up.seconds, Aim::None).beside(whole.seconds),
            figure("backup, memory beyond that answer", " MB", beyond(back_up.peak), Aim::AtMost(64.0)),
            figure("backup, requests to etcd", "", backed.requests, Aim::None).beside(by_directory.requests as f64),
        ];
        figures.extend(etcdctl::measure(&self.etcd, &self.keys, ROOT, back_up.seconds)?);
        Ok(figures)
    }

    fn restore(&self, backup: &str, expected: &BTreeMap<String, String>) -> Result<Called> {
        let restored = self.call(&["restore", backup, "--yes"])?;
        if self.values()? == *expected { Ok(restored) } else { Err("the keys are not what they were before".into()) }
    }

    fn values(&self) -> Result<BTreeMap<String, String>> {
        Ok(self.etcd.keys()?.into_iter().map(|(key, (value, _))| (key, value)).collect())
    }

    fn call(&self, arguments: &[&str]) -> Result<Called> {
        let endpoints = self.etcd.endpoints().join(",");
        let before = self.etcd.requests()?;
        let arguments = [arguments, &["--datastore", "etcdv2", "--etcd-endpoints", &endpoints]].concat();
        let measured = run_program(&self.plane, &arguments)?;
        Ok(Called { measured, requests: self.etcd.requests()? - before })
    }
}

fn checked(reading: Reading) -> Result<Reading> {
    if reading.keys == KEYS { Ok(reading) } else { Err(format!("{} of {KEYS} keys were read", reading.keys).into()) }
}

fn check_manifest(backup: &Path) -> Result<()> {
    let manifest: Value = serde_json::from_slice(&std::fs::read(backup.join("manifest.json"))?)?;
    let file = manifest["files"].as_array().into_iter().flatten().find(|file| file["kind"] == "EtcdKey");
    match file.and_then(|file| file["objects"].as_u64()) {
        Some(count) if count == KEYS as u64 => Ok(()),
        found => Err(format!("the backup holds {found:?} of {KEYS} keys").into()),
    }
}
