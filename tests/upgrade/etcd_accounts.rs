//! Accounts of an etcd where users count: with the printed role all is done, and without any part of it nothing is begun.

use std::process::Command;

use harness::{CLIENT_NAME, CalicoEtcd, EtcdSetup, Flavour, Kubernetes, PASSWORD, Release, Size, WornIn};

use crate::{
    etcd::{LEFTOVER, etcd, joined, values, with_etcd, without_leftover},
    lab::{Lab, Ran, lab, upgrade},
    rollbacks::newest_run,
};

const WORN_IN: WornIn = WornIn { release: Release::V2_5_1, flavour: Flavour::Etcd, size: Size::Small };

fn on_etcd(kubernetes: Kubernetes) -> (Lab, CalicoEtcd) {
    (lab(kubernetes, WORN_IN), etcd(EtcdSetup { has_users: true, ..EtcdSetup::default() }))
}

/// Paths to read, and paths to write.
#[derive(Clone, Debug, PartialEq)]
struct Role {
    read: Vec<String>,
    write: Vec<String>,
}

/// What is printed for an account of etcd: its role, and what a restore needs besides.
fn printed(lab: &Lab, mode: &str) -> (Role, Role) {
    let text = lab.tool(&["install", "rbac", "--mode", mode, "--datastore", "etcdv2"]).exits(0).data;
    let (role, of_restore) = text.split_once("`restore`").unwrap_or((&text, ""));
    (Role::read(role), Role::read(of_restore))
}

impl Role {
    /// Reads the paths of `etcdctl role grant NAME --path 'PATH' --RIGHT`.
    fn read(text: &str) -> Self {
        let grants = text.lines().filter_map(|line| line.split_once("--path '")?.1.split_once("' --"));
        let grants: Vec<(&str, &str)> = grants.collect();
        let of = |right: &str| grants.iter().filter(|one| one.1 == right).map(|one| one.0.to_owned()).collect();
        let role = Self { read: of("read"), write: of("write") };
        assert_eq!(role.read.len() + role.write.len(), grants.len(), "{text}");
        role
    }

    fn and(&self, other: &Self) -> Self {
        Self { read: [&self.read[..], &other.read].concat(), write: [&self.write[..], &other.write].concat() }
    }

    /// The role with all but one of its paths, for each path.
    fn each_missing(&self) -> Vec<(String, Self)> {
        let but = |paths: &[String], path: &String| paths.iter().filter(|one| *one != path).cloned().collect();
        let reads = self.read.iter().map(|path| (path.clone(), Self { read: but(&self.read, path), ..self.clone() }));
        let writes =
            self.write.iter().map(|path| (path.clone(), Self { write: but(&self.write, path), ..self.clone() }));
        reads.chain(writes).collect()
    }
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
        Ran::of(self.command(arguments))
    }
}

// etcd takes a tenth of a second for each password, so each Kubernetes tries one way on.
#[test]
fn with_the_printed_roles_of_etcd_a_run_is_made_taken_back_and_its_keys_are_restored() {
    let (lab, etcd) = on_etcd(Kubernetes::V1_34);
    let (before, values_before) = (etcd.keys().unwrap(), values(&etcd));
    let (role, of_restore) = printed(&lab, "run");
    let run = Account::new(&lab, &etcd, "run", &role);
    run.tool(&upgrade("run")).exits(0);
    let upgraded = newest_run(&lab);
    assert_eq!(etcd.keys().unwrap(), without_leftover(before));
    let back = Account::new(&lab, &etcd, "rollback", &printed(&lab, "rollback").0);
    back.tool(&["rollback", "--yes"]).exits(0);
    assert_eq!(values(&etcd), values_before);
    etcd.remove_directory("/calico/v1/policy").unwrap();
    run.tool(&["restore", &upgraded, "--yes"])
        .exits(15)
        .says("CU-C006")
        .says("write `/calico/v1/policy/")
        .says("none is printed");
    let restore = Account::new(&lab, &etcd, "restore", &role.and(&of_restore));
    restore.tool(&["restore", &upgraded, "--yes"]).exits(0);
    assert_eq!(values(&etcd), values_before);
}

#[test]
fn with_the_printed_roles_of_etcd_a_run_is_planned_made_and_completed() {
    let (lab, etcd) = on_etcd(Kubernetes::V1_8);
    let plan = Account::new(&lab, &etcd, "plan", &printed(&lab, "plan").0);
    plan.tool(&["plan", "--to", "v2.6", "--allow-untested", "--detailed-exitcode"]).exits(2);
    plan.tool(&["backup", "create"]).exits(0);
    let run = Account::new(&lab, &etcd, "run", &printed(&lab, "run").0);
    run.tool(&upgrade("run")).exits(0);
    run.tool(&["complete", "--confirm", &newest_run(&lab)]).exits(0);
    assert!(etcd.value(LEFTOVER).unwrap().is_none());
}

#[test]
fn without_any_path_of_the_printed_roles_a_run_and_its_way_back_are_refused_before_they_change_anything() {
    let (lab, etcd) = on_etcd(Kubernetes::V1_34);
    for (mode, arguments) in [("run", upgrade("run")), ("rollback", upgrade("rollback"))] {
        let (whole, _) = printed(&lab, mode);
        let (keys, versions) = (etcd.keys().unwrap(), lab.resource_versions().unwrap());
        let each = whole.each_missing();
        assert!(each.len() > 2, "{whole:?}");
        for (number, (path, role)) in each.into_iter().enumerate() {
            let refused = Account::new(&lab, &etcd, &format!("{mode}-{number}"), &role).tool(&arguments).exits(15);
            // What may not be read is refused before anyone knows which way to go.
            let account = if refused.words.contains("CU-C006") { mode } else { "run" };
            refused.says(path.trim_end_matches("/*")).says(&format!("install rbac --mode {account} "));
            assert_eq!(etcd.keys().unwrap(), keys, "without {path}");
            assert!(lab.resource_versions().unwrap() == versions, "without {path} something was changed");
        }
        Account::new(&lab, &etcd, mode, &whole).tool(&arguments).exits(0);
    }
}

#[test]
fn a_directory_that_the_account_may_not_read_is_named_by_all_that_reads_and_nothing_is_begun() {
    let (lab, etcd) = on_etcd(Kubernetes::V1_34);
    let (keys, versions) = (etcd.keys().unwrap(), lab.resource_versions().unwrap());
    let others = ["/calico", "/calico/bgp*", "/calico/v1*", "/calico/others*"].map(str::to_owned).to_vec();
    let account = Account::new(&lab, &etcd, "partial", &Role { read: others, write: vec!["/calico/*".to_owned()] });
    let out = lab.state().join("kept").display().to_string();
    for arguments in [upgrade("run"), vec!["backup", "create", "--out", &out], vec!["plan", "--to", "v2.6"]] {
        account.tool(&arguments).exits(15).says("CU-E044").says("`partial` read `/calico/ipam`");
    }
    // Who only looks is told what Kubernetes shows.
    account.tool(&["discover"]).exits(0).says("etcd       not known: CU-E044").says("node-2");
    assert!(!std::path::Path::new(&out).exists(), "half a backup was left");
    assert_eq!(etcd.keys().unwrap(), keys);
    assert!(lab.resource_versions().unwrap() == versions, "something was changed");
}

#[test]
fn the_user_that_a_client_certificate_names_needs_the_printed_role_and_no_password() {
    let lab = lab(Kubernetes::V1_34, WORN_IN);
    let etcd = etcd(EtcdSetup { has_users: true, wants_client_certificates: true, ..EtcdSetup::default() });
    let before = etcd.keys().unwrap();
    let ((certificate, key), authority) = (etcd.client(), etcd.authority());
    let tool = |arguments: &[&str]| {
        let mut command = with_etcd(&lab, &etcd, arguments);
        command.env("CALICO_UPGRADER_ETCD_ENDPOINTS", joined(etcd.secure_endpoints()));
        command.env("CALICO_UPGRADER_ETCD_CA_CERT_FILE", &authority);
        command.env("CALICO_UPGRADER_ETCD_CERT_FILE", &certificate).env("CALICO_UPGRADER_ETCD_KEY_FILE", &key);
        Ran::of(command)
    };
    let named = certificate.display().to_string();
    // etcd has no such user yet, and whoever is none may do nothing.
    tool(&upgrade("run")).exits(15).says("CU-E044").says(&format!("the user of certificate `{named}` read `/calico`"));
    let (role, _) = printed(&lab, "run");
    etcd.add_user(CLIENT_NAME, &role.read, &role.write).unwrap();
    tool(&upgrade("run")).exits(0);
    assert_eq!(etcd.keys().unwrap(), without_leftover(before));
}
