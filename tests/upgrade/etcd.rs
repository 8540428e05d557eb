//! Keys of Calico's own etcd beside the cluster: found, checked, backed up, changed by the door alone.
//!
//! The cluster is one on the Kubernetes datastore that is told to use an etcd, so that each case shows the keys alone.

use std::{collections::BTreeMap, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use harness::{CalicoEtcd, EtcdSetup, Kubernetes, PASSWORD, READER, ROOT_USER, Release, worn_in_keys};
use serde_json::{Value, json};

use crate::lab::{Lab, Ran, lab, small, upgrade};

pub const LEFTOVER: &str = "/calico/v1/policy/tier/default/policy/k8s-policy-no-match";
const DAEMON_SET: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets/calico-node";
/// A key that no list shows.
pub const HIDDEN: &str = "/calico/v1/policy/profile/_hidden/tags";
pub const CONFIG_MAP: &str = "/api/v1/namespaces/kube-system/configmaps/calico-config";

/// An etcd with worn-in keys.
pub fn etcd(setup: EtcdSetup) -> CalicoEtcd {
    CalicoEtcd::start_with(setup, &worn_in_keys()).unwrap()
}

pub fn joined(endpoints: Vec<String>) -> String {
    endpoints.join(",")
}

/// A runbook that removes leftovers on the Kubernetes datastore too.
pub fn runbook(lab: &Lab) -> PathBuf {
    let text = include_str!("../../runbooks/v2.6.yaml");
    let step = "    step: remove-leftovers\n    when:\n      - {datastore: ";
    assert!(text.contains(step));
    let file = lab.state().join("runbook.yaml");
    std::fs::write(&file, text.replace(&format!("{step}etcd}}"), &format!("{step}kubernetes}}"))).unwrap();
    file
}

/// The upgrade, told of an etcd.
pub fn with_etcd(lab: &Lab, etcd: &CalicoEtcd, arguments: &[&str]) -> std::process::Command {
    let mut command = lab.command(arguments);
    command.env("CALICO_UPGRADER_DATASTORE", "etcdv2");
    command.env("CALICO_UPGRADER_ETCD_ENDPOINTS", joined(etcd.endpoints()));
    command
}

fn upgrade_with(lab: &Lab, etcd: &CalicoEtcd) -> std::process::Command {
    let mut command = with_etcd(lab, etcd, &upgrade("run"));
    command.env("CALICO_UPGRADER_RUNBOOK", runbook(lab));
    command
}

/// Every key with its value, and the hidden one that no list shows. A key that was created again has another index.
pub fn values(etcd: &CalicoEtcd) -> BTreeMap<String, String> {
    let listed = etcd.keys().unwrap().into_iter().map(|(key, (value, _))| (key, value));
    listed.chain(etcd.value(HIDDEN).unwrap().map(|value| (HIDDEN.to_owned(), value))).collect()
}

pub fn without_leftover(mut keys: BTreeMap<String, (String, u64)>) -> BTreeMap<String, (String, u64)> {
    assert!(keys.remove(LEFTOVER).is_some());
    keys
}

#[test]
fn a_leftover_is_removed_by_the_door_and_every_other_key_stays_as_it_was() {
    let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), etcd(EtcdSetup::default()));
    let before = etcd.keys().unwrap();
    Ran::of(upgrade_with(&lab, &etcd)).exits(0).says("CU-C026").says("CU-C024");
    assert_eq!(etcd.keys().unwrap(), without_leftover(before));
    assert!(lab.journalled_changes().contains(&format!("delete EtcdKey {LEFTOVER}")));
    let backup = lab.run_directory().join("backup");
    let manifest: Value = serde_json::from_slice(&std::fs::read(backup.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["etcd"]["hidden_found"], json!(["/calico/v1/policy/profile/_hidden"]));
    assert_eq!(backed_up(&lab), written());
    Ran::of(with_etcd(&lab, &etcd, &["verify"])).exits(0).says("1 EtcdKey objects are as planned");
}

/// Every key of Calico's that the backup of the only run holds.
fn backed_up(lab: &Lab) -> BTreeMap<String, String> {
    let files = lab.run_files();
    let (_, text) = files.iter().find(|(path, _)| path.ends_with("etcdkey.ndjson.zst")).unwrap();
    let key = |line: &str| {
        let key: Value = serde_json::from_str(line).unwrap();
        (key["metadata"]["name"].as_str().unwrap().to_owned(), key["value"].as_str().unwrap().to_owned())
    };
    text.lines().map(key).collect()
}

fn written() -> BTreeMap<String, String> {
    let keys = worn_in_keys().into_iter().filter(|(key, _)| key.starts_with("/calico/"));
    keys.map(|(key, value)| (key, String::from_utf8(value).unwrap())).collect()
}

#[test]
fn a_kill_at_any_point_of_a_key_is_taken_up_where_it_was() {
    for boundary in [
        format!("remove-leftovers/delete EtcdKey {LEFTOVER}:pre"),
        format!("remove-leftovers/delete EtcdKey {LEFTOVER}:sent"),
        "remove-leftovers/done:logged".to_owned(),
        "remove-leftovers/done:acked".to_owned(),
    ] {
        let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), etcd(EtcdSetup::default()));
        let before = etcd.keys().unwrap();
        Ran::of(upgrade_with(&lab, &etcd).args(["--fault", &boundary])).was_killed();
        Ran::of(with_etcd(&lab, &etcd, &["resume", "--yes"])).exits(0);
        assert_eq!(etcd.keys().unwrap(), without_leftover(before), "{boundary}");
    }
}

#[test]
fn a_key_that_others_change_after_the_review_is_left_to_them() {
    let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), etcd(EtcdSetup::default()));
    let plan = lab.state().join("up.plan");
    let out = plan.to_str().unwrap();
    let mut command = with_etcd(&lab, &etcd, &["plan", "--to", "v2.6", "--allow-untested", "--out", out]);
    Ran::of(command.env("CALICO_UPGRADER_RUNBOOK", runbook(&lab))).exits(0).says("remove");
    etcd.put(LEFTOVER, b"{\"order\": 1}").unwrap();
    let before = etcd.keys().unwrap();
    Ran::of(with_etcd(&lab, &etcd, &["run", out, "--yes"])).exits(13).says("CU-E011");
    assert_eq!(etcd.keys().unwrap(), before);
}

#[test]
fn a_run_with_keys_goes_on_with_the_same_etcd_alone() {
    let (lab, etcd, other) =
        (lab(Kubernetes::V1_34, small(Release::V2_5_1)), etcd(EtcdSetup::default()), etcd(EtcdSetup::default()));
    Ran::of(upgrade_with(&lab, &etcd).args(["--until", "Back up"])).exits(0);
    let before = other.keys().unwrap();
    Ran::of(with_etcd(&lab, &other, &["resume", "--yes"])).exits(13).says("CU-E013");
    lab.tool(&["resume", "--yes"]).exits(13);
    assert_eq!(other.keys().unwrap(), before);
    Ran::of(with_etcd(&lab, &etcd, &["resume", "--yes"])).exits(0);
}

#[test]
fn a_backup_by_hand_holds_every_key_and_a_damaged_one_is_refused() {
    let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), etcd(EtcdSetup::default()));
    let out = lab.state().join("kept");
    let kept = out.to_str().unwrap();
    Ran::of(with_etcd(&lab, &etcd, &["backup", "create", "--out", kept])).exits(0);
    let shown =
        lab.tool(&["backup", "show", kept]).exits(0).says("EtcdKey").says("_hidden").says("not seen: keys whose");
    assert!(!shown.data.contains('\u{1b}'), "{}", shown.data);
    let file = out.join("etcdkey.ndjson.zst");
    let text = zstd::decode_all(std::fs::File::open(&file).unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap().replacen("64512", "64513", 1);
    std::fs::write(&file, zstd::encode_all(text.as_bytes(), 3).unwrap()).unwrap();
    lab.tool(&["backup", "verify", kept]).exits(14).says("digest");
}

#[test]
fn an_install_on_etcd_says_itself_where_its_etcd_is() {
    let setup = EtcdSetup { wants_client_certificates: true, ..EtcdSetup::default() };
    let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), etcd(setup));
    point_to_etcd(&lab, &etcd);
    let json = lab.tool(&["discover", "-o", "json"]).exits(0).json();
    assert_eq!(json["etcd"]["known"]["endpoints"], json!(etcd.secure_endpoints()));
    let known = &json["etcd"]["known"];
    assert_eq!((&known["calico_version"], &known["ready"]), (&json!("v2.5.1"), &json!("true")));
    assert_eq!(known["leftovers"][0]["object"]["name"], LEFTOVER);
    lab.tool(&["discover"]).exits(0).says("left behind by an old controller").says("Keys       ");
    // The custom resources of the cluster are there as well, and nobody said which of the two counts.
    lab.tool(&["check", "CU-C021"]).exits(3).says("two datastores");
    lab.tool(&["check", "CU-C021", "--datastore", "etcdv2"]).exits(0);
    lab.tool(&["check", "CU-C020", "--datastore", "kubernetes"]).exits(3).says("was not asked");
}

/// Makes the install one on etcd, as the manifests of upstream write it: addresses in the ConfigMap, certificates in a Secret.
fn point_to_etcd(lab: &Lab, etcd: &CalicoEtcd) {
    let (certificate, key) = etcd.client();
    let encoded = |path: PathBuf| BASE64_STANDARD.encode(std::fs::read(path).unwrap());
    let secret = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "calico-etcd-secrets", "namespace": "kube-system"}, "type": "Opaque",
        "data": {"etcd-ca": encoded(etcd.authority()), "etcd-cert": encoded(certificate), "etcd-key": encoded(key)}});
    lab.api().create("/api/v1/namespaces/kube-system/secrets", &secret).unwrap();
    let config = json!({"data": {"etcd_endpoints": joined(etcd.secure_endpoints()), "etcd_ca": "/calico-secrets/etcd-ca",
        "etcd_cert": "/calico-secrets/etcd-cert", "etcd_key": "/calico-secrets/etcd-key"}});
    lab.api().merge_patch(CONFIG_MAP, &config).unwrap();
    let mut daemon_set = lab.api().get(DAEMON_SET).unwrap();
    for container in daemon_set["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap() {
        let environment = container["env"].as_array_mut().unwrap();
        environment.retain(|one| one["name"] != "DATASTORE_TYPE");
        environment.push(json!({"name": "ETCD_ENDPOINTS",
            "valueFrom": {"configMapKeyRef": {"name": "calico-config", "key": "etcd_endpoints"}}}));
    }
    lab.api().merge_patch(DAEMON_SET, &json!({"spec": daemon_set["spec"]})).unwrap();
}

#[test]
fn a_password_is_read_from_its_file_and_written_nowhere() {
    let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), etcd(users()));
    let file = lab.state().join("password");
    let as_user = |mut command: std::process::Command, user: &str, password: &str| {
        std::fs::write(&file, format!("{password}\n")).unwrap();
        command.env("CALICO_UPGRADER_ETCD_USERNAME", user).env("CALICO_UPGRADER_ETCD_PASSWORD_FILE", &file);
        Ran::of(command.arg("-vvv"))
    };
    let before = etcd.keys().unwrap();
    as_user(upgrade_with(&lab, &etcd), ROOT_USER, "wrong").exits(15).says("CU-E044");
    as_user(upgrade_with(&lab, &etcd), READER, PASSWORD).exits(15).says("CU-C006").says(LEFTOVER);
    let mut begun = upgrade_with(&lab, &etcd);
    begun.args(["--until", "Back up"]);
    as_user(begun, ROOT_USER, PASSWORD).exits(0);
    // A user who may only read gets as far as the key, and no further.
    let ran = as_user(with_etcd(&lab, &etcd, &["resume", "--yes"]), READER, PASSWORD).exits(15);
    let ran = ran.says("CU-R015").says("delete");
    assert_eq!(etcd.keys().unwrap(), before);
    let rest = as_user(with_etcd(&lab, &etcd, &["resume", "--yes"]), ROOT_USER, PASSWORD).exits(0);
    assert_eq!(etcd.keys().unwrap(), without_leftover(before));
    let secret = BASE64_STANDARD.encode(format!("{ROOT_USER}:{PASSWORD}"));
    for text in [&ran.words, &ran.data, &rest.words, &rest.data] {
        assert!(!text.contains(PASSWORD) && !text.contains(&secret), "{text}");
    }
    for (path, text) in lab.run_files() {
        assert!(!text.contains(PASSWORD) && !text.contains(&secret), "the password is in {path}");
    }
}

fn users() -> EtcdSetup {
    EtcdSetup { has_users: true, ..EtcdSetup::default() }
}

#[test]
fn every_way_of_not_reaching_etcd_has_its_own_words_and_changes_nothing() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let (one, other) = (etcd(EtcdSetup::default()), etcd(EtcdSetup::default()));
    let off = CalicoEtcd::start(EtcdSetup { serves_v2: false, ..EtcdSetup::default() }).unwrap();
    let wrong = one.other_authority().display().to_string();
    let (before, keys) = (lab.resource_versions().unwrap(), one.keys().unwrap());
    let secure = joined(one.secure_endpoints());
    let two = joined([one.endpoints(), other.endpoints()].concat());
    let no_v2 = joined(off.endpoints());
    for (endpoints, more, exit, code) in [
        (two.as_str(), vec![], 3, "CU-E046"),
        (no_v2.as_str(), vec![], 16, "CU-E045"),
        (secure.as_str(), vec!["--etcd-ca-cert-file", wrong.as_str()], 15, "CU-E043"),
        (secure.as_str(), vec![], 65, "CU-E041"),
        ("http://192.0.2.1:2379", vec![], 64, "CU-E040"),
        ("http://127.0.0.1:1", vec![], 15, "CU-E042"),
    ] {
        let arguments = [upgrade("run"), vec!["--datastore", "etcdv2", "--etcd-endpoints", endpoints], more].concat();
        lab.tool(&arguments).exits(exit).says(code);
    }
    assert!(lab.resource_versions().unwrap() == before, "a refused run changed something");
    assert_eq!(one.keys().unwrap(), keys);
}
