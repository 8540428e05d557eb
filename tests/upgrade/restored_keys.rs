//! Restores of keys: what was lost or changed in Calico's own etcd is again what the backup says, key by key.

use std::{collections::BTreeMap, fs, path::Path};

use harness::{CalicoEtcd, EtcdSetup, Flavour, Kubernetes, Release, Size, WornIn};
use serde_json::{Value, json};

use crate::{
    etcd::{HIDDEN, values},
    lab::{Lab, Ran, lab, upgrade},
    tier::versions,
};

const POLICY: &str = "/calico/v1/policy/tier/default/policy";
const PASSING: &str = "/calico/felix/v1/host/node-1/status";
const NEWER: &str = "/calico/v1/policy/tier/default/policy/newer";
const CHANGED: &str = "/calico/v1/config/LogSeverityScreen";

fn on_etcd(kubernetes: Kubernetes) -> Lab {
    lab(kubernetes, WornIn { release: Release::V2_5_1, flavour: Flavour::Etcd, size: Size::Small })
}

fn back_up(lab: &Lab, place: &Path) -> String {
    let place = place.join("safe").to_str().unwrap().to_owned();
    lab.tool(&["backup", "create", "--out", &place]).exits(0);
    place
}

/// Takes away keys with odd names, a hidden one, one that Calico cannot read and the flag for nodes, and changes two.
fn harm(etcd: &CalicoEtcd) {
    let odd = etcd.keys().unwrap().into_keys().filter(|key| key.starts_with(&format!("{POLICY}/")));
    odd.for_each(|key| etcd.remove(&key).unwrap());
    [HIDDEN, "/calico/v1/Ready"].iter().for_each(|key| etcd.remove(key).unwrap());
    etcd.put(CHANGED, b"debug").unwrap();
    etcd.put("/calico/v1/ipam/v4/pool/not-a-network", b"{").unwrap();
}

#[test]
fn lost_keys_are_back_with_their_values_whatever_their_names_and_nothing_else_is_touched() {
    for kubernetes in versions() {
        let (lab, place) = (on_etcd(kubernetes), tempfile::tempdir().unwrap());
        lab.etcd().put_for(PASSING, b"{}", 600).unwrap();
        let backup = back_up(&lab, place.path());
        let before = values(lab.etcd());
        assert!(before.contains_key(HIDDEN) && before.len() > 100, "{}", before.len());
        harm(lab.etcd());
        lab.etcd().remove(PASSING).unwrap();
        lab.etcd().put(NEWER, b"{}").unwrap();
        let mut expected = before.clone();
        expected.remove(PASSING);
        expected.insert(NEWER.to_owned(), "{}".to_owned());

        let stamps = lab.etcd().keys().unwrap();
        let diff = lab.tool(&["restore", &backup, "--diff"]).exits(0);
        diff.says(&format!("missing  EtcdKey {HIDDEN}"))
            .says(&format!("missing  EtcdKey {PASSING}  skipped (it had a time to live"))
            .says(&format!("differs  EtcdKey {CHANGED}"))
            .says("value\n             backup  \"info\"\n             live    \"debug\"")
            .says("1 EtcdKey: live, and not in the backup");
        let dry = lab.tool(&["restore", &backup, "--dry-run", "-o", "json"]).exits(0).json();
        assert_eq!(lab.etcd().keys().unwrap(), stamps, "a look wrote something");

        lab.tool(&["restore", &backup, "--yes"]).exits(0);
        assert_eq!(values(lab.etcd()), expected);
        let made = lab.journalled_changes();
        let promised: Vec<Value> = dry.as_array().unwrap().iter().map(|one| one["change"].clone()).collect();
        assert_eq!(json!(made), json!(promised));
        in_order(&made);
        told_by_the_report(&lab, &made);
        let after = lab.etcd().keys().unwrap();
        let mut unchanged = stamps.iter().filter(|(key, stamp)| expected[*key] == stamp.0);
        assert!(unchanged.all(|(key, stamp)| after[key] == *stamp), "a key that was as in the backup was written");
        lab.tool(&["verify"]).exits(0);
        lab.tool(&["restore", &backup, "--yes"]).exits(0).says("Nothing to restore");
    }
}

/// The page and the data of the report name each key that was written.
fn told_by_the_report(lab: &Lab, made: &[String]) {
    let page = fs::read_to_string(lab.run_directory().join("report.html")).unwrap();
    let told = lab.tool(&["report", "-o", "json"]).exits(0).json();
    let groups = told["steps"][1]["changes"].as_array().unwrap();
    assert_eq!(groups.iter().map(|group| group["count"].as_u64().unwrap()).sum::<u64>(), made.len() as u64);
    for key in [CHANGED, HIDDEN] {
        let is_told = |group: &Value| group["objects"].as_array().unwrap().iter().any(|one| one["object"] == *key);
        assert!(page.contains(key) && groups.iter().any(is_told), "{key}");
    }
    let mut objects = groups.iter().flat_map(|group| group["objects"].as_array().unwrap());
    let changed = objects.find(|one| one["object"] == *CHANGED).unwrap();
    assert_eq!(changed["fields"][0]["lines"], json!(["- debug", "+ info"]));
}

/// Settings, then policies, then the profile, and last the flag for nodes.
fn in_order(made: &[String]) {
    let place = |end: &str| made.iter().position(|label| label.ends_with(end)).unwrap_or_else(|| panic!("no {end}"));
    let all = [CHANGED, "k8s-policy-no-match", "policy/policy-000000", HIDDEN, "/calico/v1/Ready"];
    assert!(all.map(place).is_sorted(), "{made:#?}");
}

#[test]
fn a_key_that_is_changed_after_the_preview_stops_the_restore_and_what_is_named_alone_is_touched() {
    let (lab, place) = (on_etcd(Kubernetes::V1_34), tempfile::tempdir().unwrap());
    let backup = back_up(&lab, place.path());
    let before = values(lab.etcd());
    harm(lab.etcd());
    let mut expected = values(lab.etcd());
    let odd = format!("{POLICY}/a%2fb%25c");
    let only = |name: &str| lab.tool(&["restore", &backup, "--yes", "--only", name]);
    only(&format!("EtcdKey/{POLICY}/a%2fb%25d")).exits(64).says(&format!("EtcdKey/{odd}"));
    only(&format!("EtcdKey/{odd}")).exits(0);
    expected.insert(odd.clone(), before[&odd].clone());
    assert_eq!(values(lab.etcd()), expected);

    Ran::of(lab.command(&["restore", &backup, "--yes", "--fault", "back-up/done:acked"])).was_killed();
    lab.etcd().put(CHANGED, b"warning").unwrap();
    lab.tool(&["resume", "--yes"]).exits(13).says("value: \"debug\" is now \"warning\"");
    assert_eq!(values(lab.etcd())[CHANGED], "warning");
    lab.etcd().put(CHANGED, b"debug").unwrap();
    lab.tool(&["resume", "--yes"]).exits(0);
    assert_eq!(values(lab.etcd()), before);
    // Midway, after the change was meant and before it was sent.
    harm(lab.etcd());
    let boundary = format!("restore-objects/replace EtcdKey {CHANGED}:pre");
    Ran::of(lab.command(&["restore", &backup, "--yes", "--fault", &boundary])).was_killed();
    lab.etcd().put(CHANGED, b"error").unwrap();
    lab.tool(&["resume", "--yes"]).exits(13).says("value: \"debug\" is now \"error\"");
    assert_eq!(values(lab.etcd())[CHANGED], "error");
}

#[test]
fn killed_while_keys_are_written_a_restore_goes_on_to_the_same_end() {
    let (lab, place) = (on_etcd(Kubernetes::V1_34), tempfile::tempdir().unwrap());
    let backup = back_up(&lab, place.path());
    let before = values(lab.etcd());
    for boundary in [
        format!("restore-objects/replace EtcdKey {CHANGED}:sent"),
        format!("restore-objects/create EtcdKey {HIDDEN}:pre"),
        format!("restore-objects/create EtcdKey {HIDDEN}:sent"),
        "restore-objects/create EtcdKey /calico/v1/Ready:sent".to_owned(),
    ] {
        harm(lab.etcd());
        Ran::of(lab.command(&["restore", &backup, "--yes", "--fault", &boundary])).was_killed();
        lab.tool(&["resume", "--yes"]).exits(0);
        assert_eq!(values(lab.etcd()), before, "{boundary}");
    }
}

#[test]
fn a_restore_goes_on_from_the_record_alone_where_neither_its_files_nor_its_backup_are() {
    let (lab, place) = (on_etcd(Kubernetes::V1_34), tempfile::tempdir().unwrap());
    let backup = back_up(&lab, place.path());
    let before = values(lab.etcd());
    let boundary = format!("restore-objects/create EtcdKey {HIDDEN}:sent");
    let harm_and_kill = || {
        harm(lab.etcd());
        Ran::of(lab.command(&["restore", &backup, "--yes", "--fault", &boundary])).was_killed();
    };
    harm_and_kill();
    fs::write(lab.run_directory().join("lines.ndjson.zst"), b"torn").unwrap();
    lab.tool(&["resume", "--yes"]).exits(0);
    assert_eq!(values(lab.etcd()), before);
    harm_and_kill();
    fs::remove_dir_all(&backup).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    lab.etcd().put(CHANGED, b"warning").unwrap();
    let on_another_machine = |arguments: &[&str]| Ran::of(lab.command_in(elsewhere.path(), arguments));
    on_another_machine(&["resume", "--yes"]).exits(13).says("the plan wants: value: \"info\" is now \"warning\"");
    lab.etcd().put(CHANGED, b"info").unwrap();
    on_another_machine(&["resume", "--yes"]).exits(0);
    assert_eq!(values(lab.etcd()), before);
    on_another_machine(&["verify"]).exits(0).says("EtcdKey objects are as planned");
}

#[test]
fn a_backup_that_is_cut_or_changed_changes_no_key() {
    let (lab, place) = (on_etcd(Kubernetes::V1_34), tempfile::tempdir().unwrap());
    let backup = back_up(&lab, place.path());
    harm(lab.etcd());
    let harmed = lab.etcd().keys().unwrap();
    let file = Path::new(&backup).join("etcdkey.ndjson.zst");
    let packed = fs::read(&file).unwrap();
    let lines = String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap();
    let other = lines.replace("\"value\":\"info\"", "\"value\":\"warn\"");
    assert!(other != lines && other.len() == lines.len());
    let without_last = &lines[..lines[..lines.len() - 1].rfind('\n').unwrap() + 1];
    for text in [other.as_str(), without_last] {
        fs::write(&file, zstd::encode_all(text.as_bytes(), 3).unwrap()).unwrap();
        lab.tool(&["restore", &backup, "--yes"]).exits(14).says("CU-E014").says("etcdkey.ndjson.zst");
    }
    fs::remove_file(&file).unwrap();
    lab.tool(&["restore", &backup, "--yes"]).exits(14).says("etcdkey.ndjson.zst");
    assert_eq!(lab.etcd().keys().unwrap(), harmed);
}

#[test]
fn an_etcd_that_was_rebuilt_is_said_and_filled_and_another_cluster_is_refused() {
    let (lab, place) = (on_etcd(Kubernetes::V1_34), tempfile::tempdir().unwrap());
    let backup = back_up(&lab, place.path());
    let expected = calico_of(values(lab.etcd()));
    let rebuilt = CalicoEtcd::start(EtcdSetup::default()).unwrap();
    rebuilt.put("/outside", b"").unwrap();
    let with_rebuilt = |arguments: &[&str]| {
        let mut command = lab.command(arguments);
        Ran::of(command.env("CALICO_UPGRADER_ETCD_ENDPOINTS", rebuilt.endpoints().join(",")))
    };
    let manifest = Path::new(&backup).join("manifest.json");
    let whole = fs::read_to_string(&manifest).unwrap();
    let here: Value = serde_json::from_str(&whole).unwrap();
    with_rebuilt(&["restore", &backup])
        .exits(10)
        .says("is not the etcd of the backup")
        .says(text(&here["etcd"]["cluster"]));
    fs::write(&manifest, whole.replace(text(&here["cluster"]), "another-cluster")).unwrap();
    with_rebuilt(&["restore", &backup, "--yes"]).exits(13).says("CU-E013");
    assert_eq!(rebuilt.keys().unwrap().len(), 1);
    fs::write(&manifest, &whole).unwrap();
    with_rebuilt(&["restore", &backup, "--yes"]).exits(0);
    assert_eq!(calico_of(values(&rebuilt)), expected);
    with_rebuilt(&["verify"]).exits(0);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn calico_of(mut keys: BTreeMap<String, String>) -> BTreeMap<String, String> {
    keys.retain(|key, _| key.starts_with("/calico/"));
    keys
}

/// Run, completion, restore on an emptied etcd: Calico's own of each flavour that keeps its data there.
#[test]
fn an_upgrade_and_its_completion_leave_backups_that_fill_an_emptied_etcd_again() {
    for (kubernetes, release, flavour) in
        [(Kubernetes::V1_34, Release::V2_5_1, Flavour::Etcd), (Kubernetes::V1_8, Release::V2_5_1, Flavour::CanalEtcd)]
    {
        let lab = lab(kubernetes, WornIn { release, flavour, size: Size::Small });
        let newest_run = || text(&lab.tool(&["status", "-o", "json"]).exits(0).json()["run"]).to_owned();
        let before = values(lab.etcd());
        lab.tool(&upgrade("run")).exits(0);
        let (upgraded, after) = (newest_run(), values(lab.etcd()));
        lab.tool(&["complete", "--confirm", &upgraded]).exits(0);
        for (backup, wanted) in [(newest_run(), &after), (upgraded, &before)] {
            empty(lab.etcd());
            lab.tool(&["restore", &backup, "--only", "EtcdKey", "--yes"])
                .exits(0)
                .says("objects are as the backup says");
            assert_eq!(values(lab.etcd()), *wanted, "{}", flavour.name());
        }
    }
}

fn empty(etcd: &CalicoEtcd) {
    let of_calico = |keys: BTreeMap<String, String>| keys.into_keys().filter(|key| key.starts_with("/calico/"));
    of_calico(values(etcd)).for_each(|key| etcd.remove(&key).unwrap());
    assert!(calico_of(values(etcd)).is_empty());
}
