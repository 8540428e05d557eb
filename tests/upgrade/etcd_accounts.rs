//! Accounts of an etcd where users count: with the printed role all is done, and without any part of it nothing is begun.

use std::{collections::BTreeMap, process::Command};

use harness::{CalicoEtcd, EtcdSetup, Flavour, Kubernetes, PASSWORD, Release, Size, WornIn};

use crate::{
    etcd::{LEFTOVER, etcd, with_etcd, without_leftover},
    lab::{Lab, Ran, lab, upgrade},
    rollbacks::newest_run,
};

const DATA: &str = "/calico/*";

fn on_etcd(kubernetes: Kubernetes) -> (Lab, CalicoEtcd) {
    let lab = lab(kubernetes, WornIn { release: Release::V2_5_1, flavour: Flavour::Etcd, size: Size::Small });
    (lab, etcd(EtcdSetup { has_users: true, ..EtcdSetup::default() }))
}

/// Paths to read, and paths to write.
#[derive(Clone, Debug, PartialEq)]
struct Role {
    read: Vec<String>,
    write: Vec<String>,
}

/// The role that is printed for a mode.
fn printed(lab: &Lab, mode: &str) -> Role {
    let text = lab.tool(&["install", "rbac", "--mode", mode, "--datastore", "etcdv2"]).exits(0).data;
    let grants = text.lines().filter_map(|line| line.split_once("--path '")?.1.split_once("' --"));
    let grants: Vec<(&str, &str)> = grants.collect();
    let of = |right: &str| grants.iter().filter(|one| one.1 == right).map(|one| one.0.to_owned()).collect();
    let role = Role { read: of("read"), write: of("write") };
    assert_eq!(role.read.len() + role.write.len(), grants.len(), "{text}");
    role
}

/// The program with an account of its own, whose password is in a file.
struct Account<'a> {
    lab: &'a Lab,
    etcd: &'a CalicoEtcd,
    name: &'a str,
}

impl<'a> Account<'a> {
    fn new(lab: &'a Lab, etcd: &'a CalicoEtcd, name: &'a str, role: &Role) -> Self {
        etcd.add_user(name, &role.read, &role.write).unwrap();
        Self { lab, etcd, name }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let file = self.lab.state().join("password");
        std::fs::write(&file, PASSWORD).unwrap();
        let mut command = with_etcd(self.lab, self.etcd, arguments);
        command.env("CALICO_UPGRADER_ETCD_USERNAME", self.name).env("CALICO_UPGRADER_ETCD_PASSWORD_FILE", &file);
        command
    }

    #[track_caller]
    fn tool(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }
}

fn values(etcd: &CalicoEtcd) -> BTreeMap<String, String> {
    etcd.keys().unwrap().into_iter().map(|(key, (value, _))| (key, value)).collect()
}

// etcd takes a tenth of a second for each password, so each Kubernetes tries one way on.
#[test]
fn with_the_printed_roles_of_etcd_a_run_is_made_and_taken_back() {
    let (lab, etcd) = on_etcd(Kubernetes::V1_34);
    let (before, values_before) = (etcd.keys().unwrap(), values(&etcd));
    Account::new(&lab, &etcd, "run", &printed(&lab, "run")).tool(&upgrade("run")).exits(0);
    assert_eq!(etcd.keys().unwrap(), without_leftover(before));
    let back = Account::new(&lab, &etcd, "rollback", &printed(&lab, "rollback"));
    back.tool(&["rollback", "--yes"]).exits(0);
    assert_eq!(values(&etcd), values_before);
}

#[test]
fn with_the_printed_roles_of_etcd_a_run_is_planned_made_and_completed() {
    let (lab, etcd) = on_etcd(Kubernetes::V1_8);
    let plan = Account::new(&lab, &etcd, "plan", &printed(&lab, "plan"));
    plan.tool(&["plan", "--to", "v2.6", "--allow-untested", "--detailed-exitcode"]).exits(2);
    let run = Account::new(&lab, &etcd, "run", &printed(&lab, "run"));
    run.tool(&upgrade("run")).exits(0);
    run.tool(&["complete", "--confirm", &newest_run(&lab)]).exits(0);
    assert!(etcd.value(LEFTOVER).unwrap().is_none());
}

#[test]
fn without_any_path_of_the_printed_role_a_run_is_refused_before_it_changes_anything() {
    let (lab, etcd) = on_etcd(Kubernetes::V1_34);
    let whole = printed(&lab, "run");
    let (keys, versions) = (etcd.keys().unwrap(), lab.resource_versions().unwrap());
    let paths = whole.read.iter().chain(&whole.write);
    for (number, path) in paths.clone().enumerate() {
        let without = |paths: &[String]| paths.iter().filter(|one| *one != path).cloned().collect();
        let role = Role { read: without(&whole.read), write: without(&whole.write) };
        assert_ne!(role, whole);
        let name = format!("short-{number}");
        let refused = Account::new(&lab, &etcd, &name, &role).tool(&upgrade("run")).exits(15);
        refused.says(path.trim_end_matches("/*"));
        assert_eq!(etcd.keys().unwrap(), keys, "without {path}");
        assert!(lab.resource_versions().unwrap() == versions, "without {path} something was changed");
    }
    assert!(paths.count() > 2);
}

#[test]
fn a_restore_of_keys_needs_to_write_them_and_says_so_before_it_begins() {
    let (lab, etcd) = on_etcd(Kubernetes::V1_34);
    let before = values(&etcd);
    let reads = printed(&lab, "plan");
    let reader = Account::new(&lab, &etcd, "reads", &reads);
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("safe").to_str().unwrap().to_owned();
    reader.tool(&["backup", "create", "--out", &backup]).exits(0);
    etcd.remove_directory("/calico/v1/policy").unwrap();
    etcd.remove("/calico/v1/Ready").unwrap();
    let harmed = values(&etcd);
    reader.tool(&["restore", &backup, "--yes"]).exits(15).says("CU-C006").says("write `/calico/v1/");
    assert_eq!(values(&etcd), harmed);
    let writes = Role { write: vec![DATA.to_owned()], ..reads };
    Account::new(&lab, &etcd, "writes", &writes).tool(&["restore", &backup, "--yes"]).exits(0);
    assert_eq!(values(&etcd), before);
}
