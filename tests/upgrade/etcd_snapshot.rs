//! A snapshot of etcd's v3 keys beside a backup.

use std::{fs, path::Path};

use harness::{CalicoEtcd, EtcdSetup, Kubernetes, Release};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    etcd::{etcd, with_etcd},
    lab::{Lab, Ran, lab, small, upgrade},
};

#[test]
fn a_snapshot_lies_beside_the_keys_whole_and_named_with_what_it_does_not_hold() {
    let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), etcd(EtcdSetup::default()));
    for part in 0..8 {
        etcd.put_v3(&format!("/other/{part}"), &vec![part; 1 << 20]).unwrap();
    }
    let kept = lab.state().join("kept");
    create(&lab, &etcd, &kept).says("no v2 keys");
    let file = kept.join("etcd.snapshot.db");
    let bytes = fs::read(&file).unwrap();
    let (body, sum) = bytes.split_at(bytes.len() - 32);
    assert!(Sha256::digest(body).as_slice() == sum && bytes.len() > 8 << 20);
    let text = fs::read_to_string(kept.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["etcd_snapshot"]["taken"]["bytes"], bytes.len());
    assert!(kept.join("etcdkey.ndjson.zst").exists(), "the keys themselves are in the backup all the same");
    let shown = kept.to_str().unwrap();
    lab.tool(&["backup", "verify", shown]).exits(0).says("its sum is right");
    lab.tool(&["backup", "show", shown]).exits(0).says("no v2 keys");
    let mut damaged = bytes;
    damaged[5000] ^= 1;
    fs::write(&file, damaged).unwrap();
    lab.tool(&["backup", "verify", shown]).exits(14).says("etcd.snapshot.db").says("sum at its end");
    fs::remove_file(&file).unwrap();
    lab.tool(&["backup", "verify", shown]).exits(14).says("etcd.snapshot.db");
}

#[test]
fn a_run_that_is_killed_before_its_snapshot_is_there_keeps_another_one() {
    let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), etcd(EtcdSetup::default()));
    let fault = ["--etcd-snapshot", "--fault", "file/backup/etcd.snapshot.db:pre"];
    Ran::of(with_etcd(&lab, &etcd, &[upgrade("run"), fault.to_vec()].concat())).was_killed();
    let file = lab.run_directory().join("backup/etcd.snapshot.db");
    assert!(!file.exists());
    Ran::of(with_etcd(&lab, &etcd, &["resume", "--yes"])).exits(0).says("its sum is right");
    assert!(file.exists());
}

#[test]
fn where_there_is_no_snapshot_it_is_said_why() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let etcd = etcd(EtcdSetup { serves_gateway: false, ..EtcdSetup::default() });
    create(&lab, &etcd, &lab.state().join("kept")).says("skipped (this etcd serves no v3 API over HTTP)");
    let other = lab.state().join("other");
    let arguments = ["backup", "create", "--etcd-snapshot", "--out", other.to_str().unwrap()];
    lab.tool(&arguments).exits(0).says("skipped (Calico keeps no data in an etcd of its own)");
}

fn create(lab: &Lab, etcd: &CalicoEtcd, directory: &Path) -> Ran {
    let arguments = ["backup", "create", "--etcd-snapshot", "--out", directory.to_str().unwrap()];
    Ran::of(with_etcd(lab, etcd, &arguments)).exits(0)
}
