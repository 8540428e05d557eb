//! Bad input gets a clear error and changes nothing.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use harness::{Kubernetes, Release, User, differences, variation};

use crate::lab::{Lab, Ran, lab, small, upgrade};

/// Makes the cluster odd, runs the upgrade, and holds the exit code, the words, and that nothing changed.
#[track_caller]
pub fn refuses(lab: &Lab, exit: i32, words: &[&str]) {
    // What was made odd settles first.
    lab.snapshot().unwrap();
    let before = lab.resource_versions().unwrap();
    let mut ran = lab.tool(&upgrade("run")).exits(exit);
    for word in words {
        ran = ran.says(word);
    }
    assert!(lab.resource_versions().unwrap() == before, "a refused run changed something");
}

#[test]
fn data_that_cannot_be_converted_is_listed_and_blocks() {
    for block in variation::Block::ALL {
        let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
        variation::blocking_object(&lab, block).unwrap();
        refuses(&lab, 17, &["CU-C011", "--accept-loss"]);
    }
}

#[test]
fn objects_that_were_named_one_by_one_may_be_lost() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    variation::blocking_object(&lab, variation::Block::Dropped).unwrap();
    let json = lab.tool(&["check", "CU-C011", "-o", "json"]).exits(17).json();
    let line = json[0]["evidence"][0].as_str().unwrap();
    let name = line.split(' ').nth(1).unwrap().trim_end_matches(':');
    let file = lab.state().join("losses");
    fs::write(&file, format!("# agreed with the network team\n{name}\n")).unwrap();
    lab.tool(&[upgrade("run"), vec!["--accept-loss", file.to_str().unwrap()]].concat()).exits(0);
}

#[test]
fn an_annotation_that_cannot_be_read_blocks_with_its_namespace() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    variation::broken_annotation(&lab).unwrap();
    refuses(&lab, 17, &["CU-C010", "half-typed"]);
}

#[test]
fn a_terminating_namespace_is_reported_and_skipped() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    variation::terminating_namespace(&lab).unwrap();
    lab.tool(&upgrade("run")).exits(0).says("CU-C009");
    lab.tool(&["check", "CU-C009"]).exits(0).says("half-gone");
}

#[test]
fn system_policies_need_a_decision() {
    let lab = lab(Kubernetes::V1_34, harness::WornIn { size: harness::Size::Full, ..small(Release::V2_4_1) });
    lab.tool(&["run", "--to", "v2.6", "--allow-untested", "--yes"]).exits(17).says("--system-policies");
}

#[test]
fn installs_that_are_not_ours_to_change_are_named() {
    type MakeOdd = fn(&harness::ControlPlane) -> harness::Result<()>;
    let cases: [(MakeOdd, i32, &str); 4] = [
        (variation::second_install, 3, "CU-C002"),
        (variation::operator_install, 16, "CU-C003"),
        (variation::no_calico, 3, "CU-C001"),
        (variation::unknown_image_tag, 3, "CU-C004"),
    ];
    for (make_odd, exit, code) in cases {
        let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
        make_odd(&lab).unwrap();
        refuses(&lab, exit, &[code]);
    }
}

#[test]
fn targets_that_lead_nowhere_are_refused() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let plan = |to: &str| lab.tool(&["plan", "--allow-untested", "--to", to]);
    plan("v2.4.1").exits(16).says("CU-P001");
    plan("v2.6.3").exits(16).says("v2.6.12");
    plan("v9.9").exits(16).says("runbook list");
    plan("latest").exits(64).says("`latest`");
    lab.tool(&["plan", "--to", "v2.6"]).exits(16).says("missing: Calico v2.5 · kubernetes · Kubernetes v1.34");
}

#[test]
fn the_one_combination_that_upstream_tested_needs_no_flag() {
    let lab = lab(Kubernetes::V1_8, small(Release::V2_5_1));
    lab.tool(&["plan", "--to", "v2.6", "--detailed-exitcode"]).exits(2);
}

#[test]
fn missing_rights_are_named_up_front() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.tool_as(User::Viewer, &["plan", "--to", "v2.6", "--allow-untested"]).exits(0);
    let run = lab.tool_as(User::Viewer, &upgrade("run")).exits(15);
    run.says("patch Node").says("delete Pod in kube-system").says("create Secret in calico-upgrader");
    lab.tool_as(User::Nobody, &["discover"]).exits(15).says("list Node");
}

#[test]
fn a_cluster_that_cannot_be_reached_is_named() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.tool(&["discover", "--context", "not-there"]).exits(15).says("not-there");
    lab.tool(&["discover", "--kubeconfig", "/does/not/exist"]).exits(15);
    let mut nowhere: serde_json::Value = serde_json::json!({"apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}], "users": [{"name": "a", "user": {}}]});
    nowhere["clusters"] = serde_json::json!([{"name": "a", "cluster": {"server": "http://127.0.0.1:9"}}]);
    let file = lab.state().join("nowhere");
    fs::write(&file, nowhere.to_string()).unwrap();
    lab.tool(&["discover", "--kubeconfig", file.to_str().unwrap()]).exits(15).says("does not answer");
}

#[test]
fn without_a_terminal_and_without_yes_nothing_runs() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    lab.tool(&["run", "--to", "v2.6", "--allow-untested"]).exits(10).says("--yes");
    lab.tool(&["resume"]).exits(0).says("nothing to resume");
}

#[test]
fn files_that_were_cut_or_changed_are_refused() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let plan = lab.state().join("up.plan");
    lab.tool(&["plan", "--to", "v2.6", "--allow-untested", "--out", plan.to_str().unwrap()]).exits(0);
    let whole = fs::read_to_string(&plan).unwrap();
    for (text, word) in [
        (whole.replacen("v2.6.12", "v2.6.11", 1), "changed after it was made"),
        (whole[..whole.len() / 2].to_owned(), "no plan"),
        (whole.replacen("\"format\": 1", "\"format\": 9", 1), "format 9"),
    ] {
        fs::write(&plan, text).unwrap();
        lab.tool(&["run", plan.to_str().unwrap(), "--yes"]).exits(65).says(word);
    }
}

#[test]
fn a_backup_that_cannot_be_read_back_is_no_backup() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let place = lab.state().join("safe");
    let place = place.to_str().unwrap();
    lab.tool(&["backup", "create", "--out", place]).exits(0).says("were read back");
    lab.tool(&["backup", "verify", place]).exits(0);
    lab.tool(&["backup", "show", place]).exits(0).says("NetworkPolicy");
    let file = Path::new(place).join("networkpolicy.ndjson.zst");
    let whole = fs::read(&file).unwrap();
    for damage in [whole[..whole.len() / 2].to_vec(), Vec::new(), [whole.clone(), vec![0; 8]].concat()] {
        fs::write(&file, damage).unwrap();
        lab.tool(&["backup", "verify", place]).exits(14).says("networkpolicy");
    }
}

#[test]
fn a_damaged_journal_is_not_believed_and_the_record_goes_on_elsewhere() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&[upgrade("run"), vec!["--until", "convert policies"]].concat()).exits(0);
    let journal = lab.run_directory().join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("back-up", "back-op", 1)).unwrap();
    lab.tool(&upgrade("resume")).exits(65).says("line 2").says("--state-dir");
    let elsewhere = tempfile::tempdir().unwrap();
    Ran::of(lab.command_in(elsewhere.path(), &upgrade("resume"))).exits(0);
}

#[test]
fn a_state_directory_that_cannot_be_written_is_refused_before_anything_changes() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let taken = lab.state().join("a-file");
    fs::write(&taken, "").unwrap();
    fs::set_permissions(&taken, fs::Permissions::from_mode(0o400)).unwrap();
    let before = lab.cluster_state().unwrap();
    let ran = Ran::of(lab.command_in(&taken, &upgrade("run")));
    ran.exits(3).says("--state-dir");
    assert_eq!(lab.cluster_state().unwrap(), before);
}

/// Runs the program with a state directory on a disk of that size, as far as this machine lets us make one.
fn run_on_a_small_disk(lab: &Lab, kilobytes: u32) -> Option<Ran> {
    let tool = lab.command(&upgrade("run"));
    let script = r#"mount -t tmpfs -o size="$0k" none "$CALICO_UPGRADER_STATE_DIR" || exit 99; exec "$@""#;
    let mut command = std::process::Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, &kilobytes.to_string()]).arg(tool.get_program()).args(tool.get_args());
    command.envs(tool.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of(command);
    (ran.exit != Some(99)).then_some(ran)
}

#[test]
fn a_full_disk_stops_a_run_cleanly_wherever_it_fills_up() {
    let mut lab = lab(Kubernetes::V1_8, small(Release::V2_2_1));
    for kilobytes in [4, 64, 128, 192, 256, 320, 384] {
        lab.again();
        let Some(ran) = run_on_a_small_disk(&lab, kilobytes) else {
            crate::lab::skipped("this machine lets us make no small disk");
            return;
        };
        let has_run = ran.words.contains("stopped:");
        assert!(matches!(ran.exit, Some(0 | 1 | 3)), "{kilobytes} kB: {ran:?}");
        assert!(ran.exit == Some(0) || ran.words.contains("No space left on device"), "{kilobytes} kB: {ran:?}");
        let state = lab.cluster_state().unwrap();
        let is_untouched = differences(lab.start().state(), &state).iter().all(|one| one.contains("calico-upgrader"));
        assert!(has_run || ran.exit == Some(0) || is_untouched, "{kilobytes} kB: {ran:?}");
        lab.tool(&upgrade(if has_run { "resume" } else { "run" })).exits(0);
    }
}

/// Files that nobody can write any more, not even root, as on a disk that became read-only; until this is dropped.
struct ReadOnly(std::path::PathBuf);

impl ReadOnly {
    /// None where this machine or its disk cannot do that.
    fn make(directory: &Path) -> Option<Self> {
        let made = std::process::Command::new("chattr").args(["-R", "+i"]).arg(directory).output().ok()?;
        let read_only = Self(directory.to_owned());
        made.status.success().then_some(read_only)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = std::process::Command::new("chattr").args(["-R", "-i"]).arg(&self.0).output();
    }
}

#[test]
fn a_state_directory_that_becomes_read_only_midway_stops_the_run_and_another_one_goes_on() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let mut run = crate::interruptions::hang_at_a_node(&lab);
    let Some(read_only) = ReadOnly::make(&lab.run_directory()) else {
        run.kill().and_then(|()| run.wait()).unwrap();
        return crate::lab::skipped("this machine lets us make no file read-only for root");
    };
    lab.nodes().repair("node-2").unwrap();
    let stopped = Ran::end_of(run).exits(1).says("cannot write the journal");
    stopped.says("calico-upgrader resume").says("The report could not be written");
    lab.tool(&["status"]).exits(0).says("stopped with exit 1: cannot write the journal");
    lab.tool(&upgrade("resume")).exits(3).says("CU-E005").says("--state-dir");
    let elsewhere = tempfile::tempdir().unwrap();
    Ran::of(lab.command_in(elsewhere.path(), &upgrade("resume"))).exits(0);
    drop(read_only);
}
