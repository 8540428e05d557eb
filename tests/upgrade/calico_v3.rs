//! Calico v3, of which the operator gives the manifests: whole upgrades, kills, the way back, and files that do not fit.

use std::{fs, path::PathBuf};

use harness::{
    Kubernetes, Seen, State, differences, lay_out_published, published, variation::calico_node_path, wait_until,
};
use serde_json::{Value, json};

use crate::{
    kills::Course,
    lab::{Lab, lab_laid_out, lab_of_v3},
    printed::InCluster,
    rollbacks::BACK,
};

const DAEMON_SET: &str = "apps/daemonsets/kube-system/calico-node";
const TYPHA: &str = "apps/deployments/kube-system/calico-typha";
/// The tool's own records, and what a Deployment makes, which has a name of its own each time.
const IS_OURS_OR_MADE: [&str; 3] = ["calico-upgrader", "/calico-kube-controllers-", "/calico-typha-"];
const NEW_IMAGE: &str = "quay.io/calico/node:v3.31.7";

#[test]
fn v3_is_upgraded_with_its_hand_edits_and_taken_back() {
    let lab = lab_of_v3();
    let plan = lab.state().join("plan.json");
    lab.tool(&with("plan", &["--out", plan.to_str().unwrap()])).exits(0).says("runbook v3.31");
    lab.tool(&["run", plan.to_str().unwrap(), "--yes"]).exits(0).says("Calico v3.31.7 runs on every node");
    is_upgraded(&lab.cluster_state().unwrap());
    lab.tool(&with("plan", &["--detailed-exitcode"])).exits(0).says("Nothing to do");
    lab.tool(&["verify"]).exits(0);
    lab.tool(&BACK).exits(0).says("Calico v3.29.7 runs on every node").says("CustomResourceDefinitions");
    let controllers = lab.pods("k8s-app=calico-kube-controllers").unwrap();
    let images: Vec<&Value> = controllers.iter().map(|pod| &pod["spec"]["containers"][0]["image"]).collect();
    assert_eq!(images, ["docker.io/calico/kube-controllers:v3.29.7"], "it was waited for");
    assert_eq!(since_start(&lab), Vec::<String>::new());
}

fn is_upgraded(state: &State) {
    let pod = &state[DAEMON_SET]["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], NEW_IMAGE);
    let variables = pod["containers"][0]["env"].as_array().unwrap();
    assert!(variables.iter().any(|one| one["name"] == "FELIX_IPV6SUPPORT"), "people added it");
    let first: Vec<&str> =
        pod["initContainers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(first, ["install-cni", "ebpf-bootstrap"]);
    assert_eq!(state[DAEMON_SET]["spec"]["updateStrategy"]["type"], "RollingUpdate", "it rolls by itself again");
    assert_eq!(state[DAEMON_SET]["metadata"]["labels"]["team"], "network");
    let config = state["/configmaps/kube-system/calico-config"]["data"]["cni_network_config"].as_str().unwrap();
    let config: Value = serde_json::from_str(config).unwrap();
    assert_eq!((&config["cniVersion"], &config["plugins"][0]["mtu"]), (&"1.0.0".into(), &1440.into()));
    assert_eq!(config["plugins"].as_array().unwrap().len(), 1, "the release took a plug-in away");
    let typha = &state[TYPHA]["spec"];
    assert_eq!(typha["template"]["spec"]["containers"][0]["image"], "quay.io/calico/typha:v3.31.7");
    assert_eq!(typha["revisionHistoryLimit"], 5, "people set it");
    let pools = &state["apiextensions.k8s.io/customresourcedefinitions//ippools.crd.projectcalico.org"]["spec"];
    let spec = &pools["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    assert_eq!(spec["assignmentMode"]["type"], "string", "the definition has the new schema");
}

#[test]
fn killed_at_any_write_boundary_v3_goes_on_to_the_same_end() {
    on_v3(without_records, |lab, course| course.killed_once(lab, 5));
}

#[test]
fn killed_again_while_it_recovers_v3_goes_on_to_the_same_end() {
    on_v3(without_records, |lab, course| course.killed_twice(lab, (2, 2)));
}

#[test]
fn killed_at_random_again_and_again_v3_goes_on_to_the_same_end() {
    on_v3(without_records, |lab, course| course.killed_at_random(lab, (2, 30)));
}

/// Both were dead ends: new controllers were taken for old ones that do not go, and a DaemonSet that rolls by itself again stopped the roll.
#[test]
fn killed_when_all_of_a_step_is_made_and_nothing_says_so_yet_v3_goes_on() {
    on_v3(without_records, |lab, course| course.killed_at_the_end_of_each_step(lab));
}

#[test]
fn killed_at_any_write_boundary_v3_goes_back_to_its_start() {
    on_v3(
        |_| State::new(),
        |lab, course| {
            course.killed_and(lab, 4, |number, lab| {
                let back = lab.tool(&BACK);
                assert!(back.exit == Some(0) || back.words.contains("no run"), "{}", back.words);
                assert_eq!(since_start(lab), Vec::<String>::new(), "kill {number}");
            });
        },
    );
}

fn on_v3(look: fn(&Lab) -> State, matrix: impl Fn(&mut Lab, &Course<'_>)) {
    let mut lab = lab_of_v3();
    let (from, call) = (lab.moment(), with("run", &["--yes"]));
    matrix(&mut lab, &Course { call: &call, from: &from, within: "", look });
}

#[test]
fn an_old_template_that_leaves_out_a_node_is_not_put_back_until_the_node_has_its_label_again() {
    let lab = lab_of_v3();
    let label = |node: &str, edge: Value| {
        let patch = json!({"metadata": {"labels": {"edge": edge}}});
        lab.api().merge_patch(&format!("/api/v1/nodes/{node}"), &patch).unwrap();
    };
    ["node-1", "node-2", "node-3"].iter().for_each(|node| label(node, json!("yes")));
    let on_edge = json!({"spec": {"template": {"spec": {"nodeSelector": {"edge": "yes"}}}}});
    let daemon_set = calico_node_path(&lab);
    lab.api().merge_patch(daemon_set, &on_edge).unwrap();
    wait_until("its controller to have made all pods anew", || {
        let live = lab.api().get(daemon_set).unwrap();
        let (status, generation) = (&live["status"], &live["metadata"]["generation"]);
        let are_all = status["updatedNumberScheduled"] == 3 && status["numberAvailable"] == 3;
        let is_so = status["observedGeneration"] == *generation && are_all;
        Ok(if is_so { Seen::Yes(()) } else { Seen::NotYet(status.to_string()) })
    })
    .unwrap();
    let old = text("v3.29.7").replace("nodeSelector: {", "nodeSelector: {edge: \"yes\", ");
    let files = ["--manifests", files()[1], "--manifests-before", &file(&lab, "old", &old)];
    lab.tool(&[["run", "--yes"].as_slice(), &files].concat()).exits(0);
    label("node-2", Value::Null);
    let pods = lab.calico_pods().unwrap();
    lab.tool(&BACK).exits(3).says("CU-P007").says("for 1 nodes").says("node-2").says("kubectl label nodes");
    assert_eq!(lab.calico_pods().unwrap(), pods, "a pod was touched");
    label("node-2", json!("yes"));
    lab.tool(&BACK).exits(0).says("Calico v3.29.7 runs on every node");
}

/// The whole cluster but for what tells of more runners after a kill.
fn without_records(lab: &Lab) -> State {
    let mut state = lab.snapshot().unwrap().state().clone();
    state.retain(|key, _| !IS_OURS_OR_MADE.iter().any(|one| key.contains(one)));
    state
}

/// Where the cluster differs from its start. Definitions stay as they are.
pub fn since_start(lab: &Lab) -> Vec<String> {
    let is_allowed = |line: &String| {
        ["calico-upgrader", "/calico-kube-controllers-", "/calico-typha-", "/customresourcedefinitions/"]
            .iter()
            .any(|one| line.contains(one))
    };
    let found = differences(lab.start().state(), lab.snapshot().unwrap().state());
    found.into_iter().filter(|line| !is_allowed(line)).collect()
}

#[test]
fn an_account_with_the_rights_that_are_printed_for_the_manifests_runs_and_goes_back() {
    let lab = lab_of_v3();
    let run = InCluster::with(&lab, "run", &files());
    run.tool(&with("run", &["--yes"])).exits(0);
    let back = InCluster::with(&lab, "rollback", &files());
    back.tool(&BACK).exits(0);
    assert_eq!(since_start(&lab), Vec::<String>::new());
    for account in [run, back] {
        let (granted, used) = (account.granted(), account.used());
        assert_eq!(used.difference(&granted).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}

#[test]
fn the_backup_holds_the_data_of_v3_and_gives_it_back() {
    let lab = lab_of_v3();
    let settings = "/apis/crd.projectcalico.org/v1/felixconfigurations/default";
    let backup = lab.state().join("copy");
    let backup = backup.to_str().unwrap();
    lab.tool(&["backup", "create", "--out", backup]).exits(0);
    lab.api().delete(settings).unwrap();
    lab.tool(&["restore", backup, "--only", "FelixConfiguration/default", "--yes"]).exits(0);
    assert_eq!(lab.api().get(settings).unwrap()["spec"]["logSeverityScreen"], "Info");
}

#[test]
fn a_manifest_that_does_not_fit_is_refused_before_anything_is_read_or_changed() {
    let lab = lab_of_v3();
    let versions = lab.resource_versions().unwrap();
    lab.tool(&["plan"]).exits(16).says("CU-P002").says("--manifests FILE --manifests-before FILE");
    let (new, old) = (text("v3.31.7"), text("v3.29.7"));
    let only_new = file(&lab, "new", &new);
    lab.tool(&["plan", "--manifests", &only_new]).exits(3).says("CU-P004").says("--manifests-before: none");
    let before = |old: &str, exit: i32| {
        lab.tool(&["plan", "--manifests", &only_new, "--manifests-before", &file(&lab, "old", old)]).exits(exit)
    };
    before(&old.replace(":v3.29.7", ":v3.28.5"), 3).says("--manifests-before: v3.28.5");
    before(&old.replace("  name: calico-node\n  namespace", "  name: canal\n  namespace"), 3)
        .says("another kind of manifest");
    let untyphaed = old.replace("typha_service_name: \"calico-typha\"", "typha_service_name: none");
    before(&untyphaed, 3)
        .says("CU-P005")
        .says("installed: networking, with Typha (calico-typha)")
        .says("--manifests-before: networking, without Typha");
    let elsewhere = new.replace("nodeSelector: {", "nodeSelector: {edge: \"yes\", ");
    let files = ["--manifests", &file(&lab, "elsewhere", &elsewhere), "--manifests-before", &file(&lab, "old", &old)];
    lab.tool(&[["plan"].as_slice(), &files].concat())
        .exits(3)
        .says("CU-P007")
        .says("for 3 nodes")
        .says("\"edge\":\"yes\"");
    before("some-host", 65).says("it has no kind");
    before("kind: [", 65).says("old.yaml");
    before("kind: ConfigMap\nmetadata: {name: a}\n", 65).says("no manifest of Calico");
    let other =
        "\n---\nkind: Ingress\napiVersion: networking.k8s.io/v1\nmetadata: {name: calico, namespace: kube-system}\n";
    before(&(old.clone() + other), 65).says("Ingress calico, which this version cannot apply");
    let twice = format!(
        "{old}\n---\nkind: ServiceAccount\napiVersion: v1\nmetadata: {{name: calico-node, namespace: kube-system}}\n"
    );
    before(&twice, 65).says("ServiceAccount kube-system/calico-node twice");
    lab.tool(&["plan", "--manifests", &file(&lab, "v2", &new.replace("v3.31.7", "v2.6.12"))])
        .exits(64)
        .says("--to v2.6.12");
    lab.tool(&["plan", "--manifests", &only_new, "--to", "v2.6"]).exits(64).says("cannot be used with");
    let ours = file(&lab, "old", &untyphaed);
    let known = ["--manifests-before", &ours, "--ignore", "CU-P005=Typha came later"];
    lab.tool(&[["plan", "--manifests", &only_new].as_slice(), &known].concat()).exits(0).says("CU-P005");
    assert!(lab.resource_versions().unwrap() == versions, "something was changed");
}

#[test]
fn the_step_over_v3_32_is_refused_with_typha() {
    let lab = lab_of_v3();
    let new = file(&lab, "new", &text("v3.31.7").replace("v3.31.7", "v3.32.1"));
    let plan = ["plan", "--manifests", &new, "--manifests-before", files()[3], "--allow-untested"];
    lab.tool(&plan).exits(16).says("CU-P008").says("stop at v3.31");
}

const POOL: &str = "/apis/crd.projectcalico.org/v1/ippools/default-ipv4-ippool";

/// A lab whose nodes speak to no Typha and whose pool Calico v2 wrote, and the files of a way over v3.32, whose definition drops what it wrote.
fn with_pool_of_v2() -> (Lab, [String; 4]) {
    let lab = lab_of_v3();
    let old = json!({"spec": {"ipip": {"enabled": true, "mode": "cross-subnet"}, "nat-outgoing": true}});
    lab.api().merge_patch(POOL, &old).unwrap();
    let without = json!({"data": {"typha_service_name": "none"}});
    lab.api().merge_patch("/api/v1/namespaces/kube-system/configmaps/calico-config", &without).unwrap();
    lab.api().delete("/apis/apps/v1/namespaces/kube-system/deployments/calico-typha").unwrap();
    let untyphaed = |text: String| {
        let is_typha = |part: &&str| part.contains("kind: Deployment") && part.contains("name: calico-typha");
        let kept: Vec<&str> = text.split("\n---\n").filter(|part| !is_typha(part)).collect();
        assert_eq!(text.split("\n---\n").count() - kept.len(), 1, "it had one Deployment of Typha");
        kept.join("\n---\n").replace("typha_service_name: \"calico-typha\"", "typha_service_name: none")
    };
    let new = untyphaed(text("v3.31.7")).replace("v3.31.7", "v3.32.1");
    let dropped = |line: &&str| ["ipip: {", "nat-outgoing: {"].iter().any(|start| line.trim_start().starts_with(start));
    let kept: Vec<&str> = new.lines().filter(|line| !dropped(line)).collect();
    assert_eq!(new.lines().count() - kept.len(), 2, "the definition had both fields");
    let new =
        kept.join("\n").replace("assignmentMode: {type: string}", "assignmentMode: {type: string, default: Automatic}");
    let (new, old) = (file(&lab, "new", &new), file(&lab, "old", &untyphaed(text("v3.29.7"))));
    (lab, ["--manifests".to_owned(), new, "--manifests-before".to_owned(), old])
}

#[test]
fn pools_that_v2_wrote_are_mended_before_the_definition_drops_their_fields_and_stay_so() {
    let (lab, files) = with_pool_of_v2();
    let call = |verb: &'static str, more: &[&'static str]| -> Vec<String> {
        [
            &[verb.to_owned(), "--allow-untested".to_owned()],
            files.as_slice(),
            &more.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>(),
        ]
        .concat()
    };
    let tool = |verb, more: &[&'static str]| {
        let call = call(verb, more);
        lab.tool(&call.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let spec = || lab.api().get(POOL).unwrap()["spec"].clone();
    let before = spec();
    let planned = tool("plan", &[]).exits(0).says("1 IPPools that Calico v2 wrote get the fields of v3");
    assert!(!planned.data.contains("ippool-v1-fields"), "{planned}");
    planned.says("nftables-follows-kube-proxy").says("(skipped: it cannot be told whether this is so)");
    tool("run", &["--dry-run"]).exits(0).says("IPPool default-ipv4-ippool").says("spec.ipipMode");
    tool("run", &["--yes", "--until", "Mend data"]).exits(0);
    let mended = json!({"cidr": "10.244.0.0/16", "blockSize": 26, "ipipMode": "CrossSubnet", "natOutgoing": true, "vxlanMode": "Never"});
    assert_eq!(spec(), mended);
    lab.tool(&BACK).exits(0);
    assert_eq!(spec(), before, "the definition is the old one, so the pool goes back");
    let account = InCluster::with(&lab, "run", &files.each_ref().map(String::as_str));
    let run = call("run", &["--yes"]);
    let run: Vec<&str> = run.iter().map(String::as_str).collect();
    account.tool(&run).exits(0).says("Calico v3.32.1 runs on every node");
    lab.tool(&["verify"]).exits(0);
    let mut after = mended;
    after["assignmentMode"] = "Automatic".into();
    assert_eq!(spec(), after);
    lab.tool(&BACK).exits(0).says("Calico v3.29.7 runs on every node");
    assert_eq!(spec(), after, "the definition has no room for the old fields");
}

#[test]
fn killed_when_all_of_a_step_is_made_a_run_that_mends_pools_goes_on_to_the_same_end() {
    let (mut lab, files) = with_pool_of_v2();
    lab.snapshot().unwrap();
    let call: Vec<&str> =
        ["run", "--yes", "--allow-untested"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let from = lab.moment();
    Course { call: &call, from: &from, within: "", look: without_records }.killed_at_the_end_of_each_step(&mut lab);
}

#[test]
fn a_pool_of_v2_that_nobody_can_mend_blocks_with_its_name() {
    let (lab, files) = with_pool_of_v2();
    lab.api().merge_patch(POOL, &json!({"spec": {"vxlanMode": "Always"}})).unwrap();
    let plan: Vec<&str> = ["plan", "--allow-untested"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let why = "ippool-v1-fields=x";
    lab.tool(&plan).exits(3).says("CU-P009").says("ippool-v1-fields").says("IPPool default-ipv4-ippool");
    lab.tool(&[plan.as_slice(), &["--ignore", why]].concat()).exits(3).says("ippool-v1-fields");
}

#[test]
fn gates_that_apply_here_block_warn_or_are_ignored_with_a_reason() {
    let lab = lab_of_v3();
    let pools = "/apis/crd.projectcalico.org/v1/ippools";
    let old = json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": "of-v2"},
        "spec": {"cidr": "10.9.0.0/16", "ipip": {"enabled": true, "mode": ""}}});
    lab.api().create(pools, &old).unwrap();
    let plan = with("plan", &[]);
    let blocked = lab.tool(&plan).exits(3).says("CU-P009").says("ippool-without-vxlan-mode").says("IPPool of-v2");
    assert!(!blocked.words.contains("ippool-v1-fields"), "v3.32 is not crossed: {blocked}");
    lab.tool(&with("check", &["ippool-without-vxlan-mode"])).exits(3).says("IPPool of-v2");
    let found = lab.tool(&with("check", &["ippool-without-vxlan-mode", "-o", "json"])).exits(3).json();
    let gate = &found[0]["gate"];
    assert_eq!(
        (&gate["severity"], &gate["objects"], &gate["count"]),
        (&"block".into(), &json!(["IPPool of-v2"]), &1.into())
    );
    assert!(gate["source"].as_str().unwrap().contains("felix/daemon/daemon.go@v3.31.7"));
    let reason = "ippool-without-vxlan-mode=nothing uses that pool";
    let ignoring = with("plan", &["--ignore", reason]);
    lab.tool(&ignoring)
        .exits(0)
        .says("ignored: nothing uses that pool")
        .says("images-come-from-quay")
        .says("quay.io/calico");
    lab.tool(&with("plan", &["--ignore", "no-such-gate=x"])).exits(64).says("no gate");
    lab.tool(&with("run", &["--ignore", reason, "--dry-run"])).exits(0);
    lab.tool(&with("run", &["--ignore", reason, "--yes"])).exits(0);
    lab.tool(&["report"]).exits(0).says("ippool-without-vxlan-mode ignored: nothing uses that pool");
}

/// The controllers of v3.32 rename policies once they see the DaemonSet rolled out, and must not see the old one.
#[test]
fn controllers_of_v3_32_start_after_the_last_node_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let old = write("old.yaml", without_typha(&text("v3.31.7")));
    let new = write("new.yaml", without_typha(&text("v3.31.7")).replace("v3.31.7", "v3.32.1"));
    let lab = lab_laid_out(Kubernetes::V1_34, "v3.31.7 without Typha", |plane| lay_out_published(plane, old.as_ref()));
    let plan = ["plan", "--manifests", &new, "--manifests-before", &old, "-o", "json"];
    let steps = lab.tool(&plan).exits(0).json()["plan"]["steps"].clone();
    let names: Vec<&str> = steps.as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    let at = |name: &str| names.iter().position(|one| *one == name);
    assert!(at("roll-nodes") < at("replace-controllers-last") && at("roll-nodes").is_some(), "{names:?}");
    assert_eq!(at("replace-controllers"), None);
    lab.tool(&[&["run", "--yes"], &plan[1..5]].concat()).exits(0).says("Calico v3.32.1 runs on every node");
    let changes = lab.journalled_changes();
    let place = |of: &str| changes.iter().rposition(|change| change.contains(of)).unwrap();
    assert!(place("delete Pod on node-1") < place("Deployment kube-system/calico-kube-controllers"), "{changes:?}");
    lab.tool(&BACK).exits(0);
    assert_eq!(since_start(&lab), Vec::<String>::new());
}

fn without_typha(text: &str) -> String {
    let is_of_typha =
        |document: &&str| document.contains("name: calico-typha") && !document.contains("kind: ConfigMap");
    let documents: Vec<&str> = text.split("\n---\n").filter(|document| !is_of_typha(document)).collect();
    documents.join("\n---\n").replace("typha_service_name: \"calico-typha\"", "typha_service_name: none")
}

fn text(release: &str) -> String {
    fs::read_to_string(published(release)).unwrap()
}

fn file(lab: &Lab, name: &str, text: &str) -> String {
    let path: PathBuf = lab.state().join(format!("{name}.yaml"));
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A call that leads from the one release to the other.
fn with<'a>(verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&[verb], files().as_slice(), more].concat()
}

fn files() -> [&'static str; 4] {
    let path = |release| -> &'static str { published(release).to_str().unwrap().to_owned().leak() };
    ["--manifests", path("v3.31.7"), "--manifests-before", path("v3.29.7")]
}
