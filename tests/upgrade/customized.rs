//! What people changed: shown field by field with who holds it, and decided from a file where the release changed it, too.

use std::fs;

use harness::{Kubernetes, Release};
use serde_json::{Value, json};

use crate::lab::{Lab, lab, small, upgrade};

const CONFIG_MAP: &str = "/api/v1/namespaces/kube-system/configmaps/calico-config";
const LOG_LEVEL: &str = "ConfigMap/calico-config:data.cni_network_config:.log_level";

/// Edits the CNI configuration as `kubectl edit` does.
fn edit_cni(lab: &Lab, key: &str, value: Value) {
    let live = lab.api().get(CONFIG_MAP).unwrap();
    let mut inside: Value = serde_json::from_str(live["data"]["cni_network_config"].as_str().unwrap()).unwrap();
    inside[key] = value;
    let patch = json!({"data": {"cni_network_config": inside.to_string()}});
    lab.api().merge_patch(&format!("{CONFIG_MAP}?fieldManager=kubectl-edit"), &patch).unwrap();
}

fn cni_of(lab: &Lab) -> Value {
    let live = lab.api().get(CONFIG_MAP).unwrap();
    serde_json::from_str(live["data"]["cni_network_config"].as_str().unwrap()).unwrap()
}

fn row<'a>(rows: &'a Value, field: &str) -> &'a Value {
    rows.as_array()
        .unwrap()
        .iter()
        .find(|row| row["field"] == field)
        .unwrap_or_else(|| panic!("no {field} in {rows:#}"))
}

#[test]
fn a_diff_shows_the_three_states_of_each_field_and_who_holds_it_and_changes_nothing() {
    let mtu = "ConfigMap/calico-config:data.cni_network_config:.mtu";
    for (kubernetes, holder) in
        [(Kubernetes::V1_34, json!({"managers": ["kubectl-edit"]})), (Kubernetes::V1_8, json!("unknown"))]
    {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        edit_cni(&lab, "mtu", json!(1430));
        edit_cni(&lab, "log_level", json!("warning"));
        let token = json!({"metadata": {"annotations": {"corp.example/token": "canary-never-print-me"}}});
        lab.api().merge_patch(CONFIG_MAP, &token).unwrap();
        lab.snapshot().unwrap();
        let before = lab.resource_versions().unwrap();
        let rows = lab.tool(&["diff", "-o", "json"]).exits(0).json();
        let one = row(&rows, mtu);
        assert_eq!((&one["shipped"], &one["live"], &one["new"]), (&json!(1500), &json!(1430), &json!(1500)));
        assert_eq!((&one["plan"], &one["holder"]), (&json!("kept"), &holder));
        assert_eq!(row(&rows, LOG_LEVEL)["plan"], "asked");
        let image = "DaemonSet/calico-node:spec.template.spec.containers[calico-node].image";
        assert_eq!(row(&rows, image)["plan"], "follows");
        lab.tool(&["diff", "--detailed-exitcode"]).exits(2).says("asked: --keep or --take").says(LOG_LEVEL);
        let only = lab.tool(&["diff", "configmap/calico-config", "--keep", LOG_LEVEL, "-o", "markdown"]).exits(0);
        assert!(!only.data.contains("DaemonSet/"), "{}", only.data);
        only.says("kept, as you said");
        lab.tool(&["diff", "ConfigMap/calico"]).exits(64).says("ConfigMap/calico-config");
        for output in ["table", "json", "yaml", "markdown"] {
            let shown = lab.tool(&["diff", "-o", output]).exits(0);
            assert!(!shown.data.contains("canary") && shown.data.contains("(hidden)"), "{}", shown.data);
        }
        assert!(lab.resource_versions().unwrap() == before, "a diff changed something");
    }
}

#[test]
fn without_field_owners_the_last_apply_tells_what_was_edited_later() {
    let lab = lab(Kubernetes::V1_8, small(Release::V2_5_1));
    let live = lab.api().get(CONFIG_MAP).unwrap();
    let applied = json!({"data": live["data"]}).to_string();
    let note = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}}});
    lab.api().merge_patch(CONFIG_MAP, &note).unwrap();
    edit_cni(&lab, "log_level", json!("warning"));
    let rows = lab.tool(&["diff", "-o", "json"]).exits(0).json();
    assert_eq!(row(&rows, LOG_LEVEL)["holder"], "edited-later");
    assert_eq!(row(&rows, "ConfigMap/calico-config:data.cni_network_config:.mtu")["holder"], "applied");
}

#[test]
fn a_run_that_nobody_watches_is_decided_by_a_file_and_by_nothing_that_is_open_or_stale() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    edit_cni(&lab, "log_level", json!("warning"));
    lab.tool(&upgrade("run")).exits(17).says("CU-C013").says("--write-decisions");
    let file = lab.state().join("decisions.yaml");
    let file = file.to_str().unwrap();
    lab.tool(&["plan", "--write-decisions", file]).exits(0).says("1 fields to decide");
    lab.tool(&["plan", "--write-decisions", file]).exits(65);
    let decided = |text: &str| {
        fs::write(file, text).unwrap();
        lab.tool(&[upgrade("run"), vec!["--decisions", file]].concat())
    };
    let open = fs::read_to_string(file).unwrap();
    decided(&open).exits(65).says(LOG_LEVEL).says("is not decided").says(&format!("{file}:3:"));
    let whole = open.replace("decision:\n", "decision: keep\n").replace("why:\n", "why: CHG-9, less noise\n");
    decided(&whole.replace("decision: keep", "decision: kept")).exits(65).says("did you mean `keep`");
    decided(&(whole.clone() + "- field: ConfigMap/calico-config:data.gone\n  decision: take\n  why: old\n"))
        .exits(17)
        .says("CU-C016")
        .says("ConfigMap/calico-config:data.gone");
    fs::write(file, &whole).unwrap();
    lab.tool(&[upgrade("run"), vec!["--decisions", file, "--take", LOG_LEVEL]].concat()).exits(64).says(LOG_LEVEL);
    decided(&whole).exits(0);
    assert_eq!(cni_of(&lab)["log_level"], "warning");
    assert!(
        lab.run_files().iter().any(|(path, text)| path.ends_with("plan.json") && text.contains("CHG-9, less noise"))
    );
    // What was decided for the way there does not stand in the way of looking again.
    lab.tool(&["plan", "--allow-untested", "--decisions", file, "--detailed-exitcode"]).exits(0);
}
