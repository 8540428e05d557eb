//! Restores: what is gone or changed becomes again what the backup says, whatever stops the run on its way; and nothing else.

use std::{collections::BTreeSet, fs, path::Path};

use harness::{
    Flavour, Kubernetes, Release, Seen, Size, State, User, WornIn, differences,
    variation::{calico_node_path, no_calico},
    wait_until,
};
use serde_json::{Value, json};

use crate::{
    kills::Course,
    lab::{Lab, Ran, lab, small, upgrade},
    tier::versions,
};

const OLD_DATA: &str = "/apis/projectcalico.org/v1/namespaces/kube-system";
const SETTINGS: &str = "/apis/crd.projectcalico.org/v1/globalfelixconfigs";
const POLICIES: [(&str, &str); 3] = [("payments", "allow-web"), ("payments", "default-deny"), ("shop", "allow-web")];

/// A cluster with old and new data of Calico, as it is between an upgrade and the end of its old data.
fn with_old_and_new_data(kubernetes: Kubernetes) -> Lab {
    let lab = lab(kubernetes, small(Release::V2_2_1));
    let newer = WornIn { release: Release::V2_5_1, flavour: Flavour::Networking, size: Size::Small };
    let is_custom = |object: &Value| {
        object["kind"] == "CustomResourceDefinition" || object["apiVersion"] == "crd.projectcalico.org/v1"
    };
    let mut objects: Vec<Value> = newer.objects().unwrap().into_iter().filter(is_custom).collect();
    objects.push(policy("payments", "default-deny"));
    lab.create_all(&objects).unwrap();
    lab
}

fn policy(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": {}}})
}

fn policy_path(namespace: &str, name: &str) -> String {
    format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies/{name}")
}

/// A backup outside of the state directory, so that it lives longer than that.
fn back_up(lab: &Lab, place: &Path) -> String {
    let place = place.join("safe").to_str().unwrap().to_owned();
    lab.tool(&["backup", "create", "--out", &place]).exits(0);
    place
}

/// Takes three policies and all old data away, changes a setting, and adds one that the backup does not know.
fn harm(lab: &Lab) {
    for (namespace, name) in POLICIES {
        lab.api().delete(&policy_path(namespace, name)).unwrap();
    }
    for plural in ["ippools", "globalconfigs"] {
        for object in lab.api().list(&format!("{OLD_DATA}/{plural}")).unwrap() {
            let name = object["metadata"]["name"].as_str().unwrap();
            lab.api().delete(&format!("{OLD_DATA}/{plural}/{name}")).unwrap();
        }
    }
    lab.api().merge_patch(&format!("{SETTINGS}/logseverityscreen"), &json!({"spec": {"value": "debug"}})).unwrap();
}

/// The whole cluster but for the tool's own records.
fn state_of(lab: &Lab) -> State {
    let mut state = lab.cluster_state().unwrap();
    state.retain(|key, _| !key.contains("calico-upgrader"));
    state
}

#[track_caller]
fn same(expected: &State, found: &State) {
    let found = differences(expected, found);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_was_lost_is_back_object_by_object_and_a_second_restore_has_nothing_to_do() {
    for kubernetes in versions() {
        let (lab, place) = (with_old_and_new_data(kubernetes), tempfile::tempdir().unwrap());
        let backup = back_up(&lab, place.path());
        let before = state_of(&lab);
        harm(&lab);
        lab.api().create(policy_path("sandbox", "").trim_end_matches('/'), &policy("sandbox", "newer")).unwrap();
        let mut expected = before.clone();
        let newer = "networking.k8s.io/networkpolicies/sandbox/newer".to_owned();
        expected.insert(newer.clone(), state_of(&lab)[&newer].clone());
        lab.tool(&["restore", &backup]).exits(10).says("1 NetworkPolicy: live, and not in the backup").says("--yes");
        let ran = lab.tool(&["restore", &backup, "--yes"]).exits(0);
        ran.says("create NetworkPolicy shop/allow-web").says("verify");
        same(&expected, &state_of(&lab));
        lab.tool(&["verify"]).exits(0).says("objects are as planned");
        lab.tool(&["restore", &backup, "--yes"]).exits(0).says("Nothing to restore");
        // The backup that a restore makes first takes it back, as far as a restore goes: it deletes nothing.
        let run = lab.run_directory().file_name().unwrap().to_str().unwrap().to_owned();
        lab.tool(&["backup", "list"]).exits(0).says(&format!("run {run}"));
        lab.tool(&["restore", &run, "--yes"]).exits(0);
        let setting = lab.api().get(&format!("{SETTINGS}/logseverityscreen")).unwrap();
        assert_eq!(setting["spec"]["value"], "debug");
    }
}

#[test]
fn a_dry_run_and_a_comparison_tell_everything_and_write_nothing() {
    for kubernetes in versions() {
        let (lab, place) = (with_old_and_new_data(kubernetes), tempfile::tempdir().unwrap());
        let backup = back_up(&lab, place.path());
        harm(&lab);
        lab.snapshot().unwrap();
        let before = lab.resource_versions().unwrap();
        let dry = lab.tool(&["restore", &backup, "--dry-run", "-o", "json"]).exits(0);
        let tried = if kubernetes == Kubernetes::V1_34 { "the API server tried them" } else { "has no dry run" };
        let promised: BTreeSet<String> =
            dry.json().as_array().unwrap().iter().map(|one| text(&one["change"])).collect();
        dry.says(tried);
        let words = lab.tool(&["restore", &backup, "--diff"]).exits(0).says("missing  NetworkPolicy shop/allow-web");
        words
            .says("spec.value\n             backup  \"info\"\n             live    \"debug\"")
            .says("same     2 IPPool");
        let rows = lab.tool(&["restore", &backup, "--diff", "-o", "json"]).exits(0).json();
        let live = |name: &str| {
            text(&rows["objects"].as_array().unwrap().iter().find(|row| row["object"] == name).unwrap()["live"])
        };
        assert_eq!(live("GlobalFelixConfig logseverityscreen"), "differs");
        assert!(lab.resource_versions().unwrap() == before, "a dry run changed something");
        lab.tool(&["restore", &backup, "--yes"]).exits(0);
        assert_eq!(lab.journalled_changes().into_iter().collect::<BTreeSet<_>>(), promised);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn only_what_is_named_is_touched() {
    let (lab, place) = (with_old_and_new_data(Kubernetes::V1_34), tempfile::tempdir().unwrap());
    let backup = back_up(&lab, place.path());
    let before = state_of(&lab);
    harm(&lab);
    let mut expected = state_of(&lab);
    for key in [
        "networking.k8s.io/networkpolicies/shop/allow-web",
        "crd.projectcalico.org/globalfelixconfigs//logseverityscreen",
    ] {
        expected.insert(key.to_owned(), before[key].clone());
    }
    let only = |name: &str| lab.tool(&["restore", &backup, "--yes", "--only", name]);
    only("NetworkPolicy/shop/alow-web").exits(64).says("NetworkPolicy/shop/allow-web");
    only("NetworkPolicy/allow-web").exits(64).says("NetworkPolicy/payments/allow-web");
    only("NetworkPolicy/shop/allow-web").exits(0);
    only("GlobalFelixConfig/logseverityscreen").exits(0);
    same(&expected, &state_of(&lab));
}

#[test]
fn a_namespace_that_is_gone_comes_back_with_what_was_in_it() {
    for kubernetes in versions() {
        let (lab, place) = (with_old_and_new_data(kubernetes), tempfile::tempdir().unwrap());
        let labels = json!({"metadata": {"labels": {"team": "shop"}}});
        lab.api().merge_patch("/api/v1/namespaces/shop", &labels).unwrap();
        let backup = back_up(&lab, place.path());
        let before = state_of(&lab);
        lab.api().delete("/api/v1/namespaces/shop").unwrap();
        wait_until("the namespace to go", || {
            let is_gone = lab.api().get("/api/v1/namespaces/shop").is_err_and(|error| error.is_not_found());
            Ok(if is_gone { Seen::Yes(()) } else { Seen::NotYet("it is there".to_owned()) })
        })
        .unwrap();
        lab.tool(&["restore", &backup, "--yes", "--only", "NetworkPolicy/shop/allow-web"]).exits(0);
        // Controllers put their own things into a new namespace.
        wait_until("the namespace to be as it was", || {
            let found = differences(&before, &state_of(&lab));
            Ok(if found.is_empty() { Seen::Yes(()) } else { Seen::NotYet(found.join("\n")) })
        })
        .unwrap();
    }
}

#[test]
fn a_backup_that_is_damaged_or_of_another_cluster_changes_nothing() {
    let (lab, place) = (with_old_and_new_data(Kubernetes::V1_34), tempfile::tempdir().unwrap());
    let backup = back_up(&lab, place.path());
    harm(&lab);
    lab.snapshot().unwrap();
    let before = lab.resource_versions().unwrap();
    let manifest = Path::new(&backup).join("manifest.json");
    let whole = fs::read_to_string(&manifest).unwrap();
    let here: Value = serde_json::from_str(&whole).unwrap();
    fs::write(&manifest, whole.replace(here["cluster"].as_str().unwrap(), "another-cluster")).unwrap();
    lab.tool(&["restore", &backup, "--yes"]).exits(13).says("CU-E013").says("another-cluster");
    fs::write(&manifest, &whole).unwrap();
    lab.tool_as(User::Viewer, &["restore", &backup, "--yes"]).exits(15).says("create NetworkPolicy");
    // The damage is in a file that the restore of one policy would not need.
    let file = Path::new(&backup).join("ippool.ndjson.zst");
    let packed = fs::read(&file).unwrap();
    for damage in [packed[..packed.len() / 2].to_vec(), [packed.clone(), vec![0; 8]].concat()] {
        fs::write(&file, damage).unwrap();
        lab.tool(&["restore", &backup, "--yes", "--only", "NetworkPolicy/shop/allow-web"]).exits(14).says("ippool");
    }
    fs::remove_file(&manifest).unwrap();
    lab.tool(&["restore", &backup, "--yes"]).exits(14).says("backup list");
    assert!(lab.resource_versions().unwrap() == before, "a refused restore changed something");
}

#[test]
fn what_somebody_changed_after_the_preview_stops_the_restore_with_the_three_ways() {
    let (lab, place) = (with_old_and_new_data(Kubernetes::V1_34), tempfile::tempdir().unwrap());
    let path = policy_path("shop", "allow-web");
    let backup = back_up(&lab, place.path());
    let select = |app: &str| json!({"spec": {"podSelector": {"matchLabels": {"app": app}}}});
    lab.api().merge_patch(&path, &select("changed-before")).unwrap();
    Ran::of(lab.command(&["restore", &backup, "--yes", "--fault", "back-up/done:acked"])).was_killed();
    lab.api().merge_patch(&path, &select("changed-after")).unwrap();
    let stopped = lab.tool(&["resume", "--yes"]).exits(13).says("NetworkPolicy shop/allow-web");
    stopped
        .says("since the plan: spec.podSelector.matchLabels.app: \"changed-before\" is now \"changed-after\"")
        .says("the plan wants: spec.podSelector.matchLabels.app: \"api\" is now \"changed-after\"");
    assert_eq!(lab.api().get(&path).unwrap()["spec"]["podSelector"]["matchLabels"]["app"], "changed-after");
    lab.tool(&["restore", &backup, "--yes"]).exits(3).says("CU-E009");
    lab.api().merge_patch(&path, &select("changed-before")).unwrap();
    lab.tool(&["resume", "--yes"]).exits(0);
    assert_eq!(lab.api().get(&path).unwrap()["spec"]["podSelector"]["matchLabels"]["app"], "api");
}

#[test]
fn killed_at_write_boundaries_a_restore_goes_on_to_the_same_end() {
    on_restore(|lab, course| course.killed_once(lab, 5));
}

#[test]
fn killed_again_while_it_recovers_a_restore_goes_on_to_the_same_end() {
    on_restore(|lab, course| course.killed_twice(lab, (2, 2)));
}

#[test]
fn killed_at_random_again_and_again_a_restore_goes_on_to_the_same_end() {
    on_restore(|lab, course| course.killed_at_random(lab, (2, 30)));
}

fn on_restore(matrix: impl Fn(&mut Lab, &Course<'_>)) {
    for kubernetes in versions() {
        let (mut lab, place) = (with_old_and_new_data(kubernetes), tempfile::tempdir().unwrap());
        let backup = back_up(&lab, place.path());
        let expected = state_of(&lab);
        harm(&lab);
        let harmed = lab.moment();
        lab.tool(&["restore", &backup, "--yes"]).exits(0);
        same(&expected, &state_of(&lab));
        matrix(&mut lab, &Course { call: &["restore", &backup, "--yes"], from: &harmed, within: "", look: state_of });
    }
}

#[test]
fn a_restored_template_waits_for_people_to_replace_the_pods() {
    let (lab, place) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), tempfile::tempdir().unwrap());
    let (backup, path) = (back_up(&lab, place.path()), calico_node_path(&lab));
    let mut changed = lab.api().get(path).unwrap();
    let old = changed["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("quay.io/calico/node:v2.6.2");
    lab.api().replace(path, &changed).unwrap();
    let uids = || -> Vec<Value> {
        lab.calico_pods().unwrap().into_values().flatten().map(|pod| pod["metadata"]["uid"].clone()).collect()
    };
    lab.snapshot().unwrap();
    let before = uids();
    lab.tool(&["restore", &backup, "--yes"]).exits(0).says("No node was replaced").says("delete pod NAME");
    lab.snapshot().unwrap();
    assert_eq!(uids(), before, "a node was replaced");
    let restored = lab.api().get(path).unwrap();
    assert_eq!(restored["spec"]["updateStrategy"]["type"], "OnDelete");
    assert_eq!(restored["spec"]["template"]["spec"]["containers"][0]["image"], old);
    lab.tool(&["restore", &backup, "--yes"]).exits(0).says("waits until every node runs its template");
    for pod in lab.calico_pods().unwrap().into_values().flatten() {
        let name = pod["metadata"]["name"].as_str().unwrap();
        lab.api().delete_at_once(&format!("/api/v1/namespaces/kube-system/pods/{name}")).unwrap();
    }
    lab.snapshot().unwrap();
    lab.wait_for_calico().unwrap();
    lab.tool(&["restore", &backup, "--yes"]).exits(0);
    lab.snapshot().unwrap();
    same(lab.start().state(), &state_of(&lab));
}

#[test]
fn a_calico_that_was_deleted_comes_back_as_it_was() {
    for kubernetes in versions() {
        let (lab, place) = (lab(kubernetes, small(Release::V2_5_1)), tempfile::tempdir().unwrap());
        let backup = back_up(&lab, place.path());
        no_calico(&lab).unwrap();
        let ran = lab.tool(&["restore", &backup, "--yes"]).exits(0);
        ran.says("create ServiceAccount kube-system/calico-node").says("create DaemonSet kube-system/calico-node");
        lab.wait_for_calico().unwrap();
        lab.snapshot().unwrap();
        same(lab.start().state(), &state_of(&lab));
        lab.tool(&["restore", &backup, "--yes"]).exits(0).says("Nothing to restore");
    }
}

/// Calico's own data, old and new, and every policy.
fn data_of(lab: &Lab) -> State {
    let mut state = state_of(lab);
    state.retain(|key, _| {
        let is_definition = key.starts_with("apiextensions.k8s.io/");
        !is_definition && (key.contains("projectcalico.org") || key.contains("/networkpolicies/"))
    });
    state
}

fn empty(lab: &Lab) {
    let new = ["ippools", "bgppeers", "globalfelixconfigs", "globalbgpconfigs", "globalnetworkpolicies"];
    let lists = new.map(|plural| format!("/apis/crd.projectcalico.org/v1/{plural}"));
    for list in lists.iter().map(String::as_str).chain(["/apis/networking.k8s.io/v1/networkpolicies"]) {
        for object in lab.api().list(list).unwrap() {
            let name = text(&object["metadata"]["name"]);
            // Old servers write an empty namespace into objects of the whole cluster.
            let path = match object["metadata"]["namespace"].as_str().filter(|namespace| !namespace.is_empty()) {
                Some(namespace) => policy_path(namespace, &name),
                None => format!("{list}/{name}"),
            };
            lab.api().delete(&path).unwrap();
        }
    }
}

#[test]
fn an_upgrade_and_its_completion_leave_backups_that_fill_an_emptied_store_again() {
    let canal = WornIn { flavour: Flavour::Canal, ..small(Release::V2_4_1) };
    [small(Release::V2_2_1), canal].into_iter().for_each(fill_an_emptied_store);
}

/// The kinds of old data, as `--only` names them.
const OLD_KINDS: [(&str, &str); 5] = [
    ("ippools", "IpPool"),
    ("globalconfigs", "GlobalConfig"),
    ("globalbgpconfigs", "GlobalBgpConfig"),
    ("globalbgppeers", "GlobalBgpPeer"),
    ("systemnetworkpolicies", "SystemNetworkPolicy"),
];

fn fill_an_emptied_store(cluster: WornIn) {
    let lab = lab(Kubernetes::V1_8, cluster);
    let newest_run = || text(&lab.tool(&["status", "-o", "json"]).exits(0).json()["run"]);
    lab.tool(&upgrade("run")).exits(0);
    let (upgraded, whole) = (newest_run(), data_of(&lab));
    lab.tool(&["complete", "--confirm", &upgraded]).exits(0);
    let (completed, new) = (newest_run(), data_of(&lab));
    assert!(new.len() > 8 && new.len() < whole.len(), "{} of {}", new.len(), whole.len());
    empty(&lab);
    assert!(data_of(&lab).is_empty(), "{:?}", data_of(&lab).keys());

    // The backup of a completion holds the old data as well: it is made before that goes.
    lab.tool(&["restore", &completed, "--yes"]).exits(0);
    same(&whole, &data_of(&lab));
    let mut restore = vec!["restore", &upgraded, "--yes"];
    for key in whole.keys().filter(|key| !new.contains_key(*key)) {
        let (plural, name) = (key.split('/').nth(1).unwrap(), key.rsplit('/').next().unwrap());
        lab.api().delete(&format!("{OLD_DATA}/{plural}/{name}")).unwrap();
        let (_, kind) = OLD_KINDS.iter().find(|(known, _)| *known == plural).unwrap();
        restore.extend(["--only", kind]);
    }
    same(&new, &data_of(&lab));
    lab.tool(&restore).exits(0);
    same(&whole, &data_of(&lab));

    let status = lab.tool(&["status"]).exits(0).says("restore from backup");
    assert!(!status.data.contains("Nodes"), "{}", status.data);
    let page = lab.tool(&["report", "--format", "html"]).exits(0).says("restore from backup");
    assert!(!page.data.contains(" → v2.6") && !page.data.contains("nodes replaced"), "{}", page.data);
}
