//! All keys of Calico's own etcd, read until two readings agree, packed and read back.

use std::time::Instant;

use harness::{
    CalicoEtcd, ControlPlane, EtcdSetup, Flavour, Kubernetes, Release, Size, WornIn, synthetic_keys, worn_in,
};

use crate::figure::{Aim, Figure};
use crate::measure::{Measured, Result, run_program};
use crate::note;

/// Objects of the cluster; each is one to three keys.
const SIZES: [usize; 2] = [20_000, 100_000];

pub fn measure() -> Result<Vec<Figure>> {
    let plane = ControlPlane::start(Kubernetes::V1_34)?;
    plane.add_node_count(3)?;
    worn_in(&plane, &WornIn { release: Release::V2_5_1, flavour: Flavour::Networking, size: Size::Small })?;
    let mut figures = Vec::new();
    for objects in SIZES {
        let etcd = CalicoEtcd::start(EtcdSetup::default())?;
        etcd.load(&synthetic_keys(objects))?;
        let started = Instant::now();
        let keys = etcd.keys()?.len();
        let bare = started.elapsed().as_secs_f64();
        note(&format!("keys: {keys} keys are there"));
        let looked = call(&plane, &etcd, &["discover"])?;
        let out = tempfile::tempdir()?;
        let out = out.path().join("backup").display().to_string();
        let backed = call(&plane, &etcd, &["backup", "create", "--out", &out])?;
        let figure =
            |what: &str, unit, measured, aim| Figure::new(format!("keys: {what} of {keys}"), unit, measured, aim);
        figures.extend([
            figure("look, time", " s", looked.seconds, Aim::None).beside(bare),
            figure("look, memory", " MB", looked.peak, Aim::AtMost(64.0)),
            figure("backup, time", " s", backed.seconds, Aim::None).beside(bare),
            figure("backup, memory", " MB", backed.peak, Aim::AtMost(64.0)),
        ]);
    }
    Ok(figures)
}

fn call(plane: &ControlPlane, etcd: &CalicoEtcd, arguments: &[&str]) -> Result<Measured> {
    let endpoints = etcd.endpoints().join(",");
    run_program(plane, &[arguments, &["--datastore", "etcdv2", "--etcd-endpoints", &endpoints]].concat())
}
