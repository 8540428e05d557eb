//! What needs no cluster: offline conversion, runbook files, help, completion, usage errors.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

fn tool(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calico-upgrader"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.env("HOME", "/nowhere").env_remove("KUBECONFIG").spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // A program that does not read closes the pipe.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("the program ends")
}

fn pool(name: &str, value: &str) -> Value {
    json!({"apiVersion": "projectcalico.org/v1", "kind": "IpPool",
        "metadata": {"name": name, "namespace": "kube-system"}, "spec": {"value": value}})
}

#[test]
fn data_is_converted_offline_from_stdin_to_stdout() {
    let old = json!([pool("10-0-0-0-16", r#"{"cidr":"10.0.0.0/16","masquerade":true}"#)]).to_string();
    let ran = tool(&["convert", "--from", "tpr", "-", "--to", "crd"], &old);
    assert_eq!(ran.status.code(), Some(0));
    let new: Value = serde_json::from_slice(&ran.stdout).expect("stdout is JSON");
    assert_eq!(new[0]["spec"], json!({"cidr": "10.0.0.0/16", "nat-outgoing": true}));
}

#[test]
fn nothing_is_written_when_something_would_be_lost_unless_a_part_is_asked_for() {
    let old = json!([pool("10-0-0-0-16", r#"{"cidr":"10.0.0.0/16"}"#), pool("10-1-0-0-16", "{")]).to_string();
    let whole = tool(&["convert", "--from", "tpr", "-", "--to", "crd"], &old);
    assert_eq!((whole.status.code(), whole.stdout.as_slice()), (Some(17), [].as_slice()));
    assert!(String::from_utf8_lossy(&whole.stderr).contains("IpPool/kube-system/10-1-0-0-16"));
    let part = tool(&["convert", "--from", "tpr", "-", "--to", "crd", "--partial"], &old);
    let new: Value = serde_json::from_slice(&part.stdout).expect("stdout is JSON");
    assert_eq!((part.status.code(), new.as_array().map(Vec::len)), (Some(0), Some(1)));
}

#[test]
fn what_is_no_list_of_objects_is_a_bad_file() {
    for input in ["", "{", "7", "{\"kind\": \"IpPool\"}"] {
        assert_eq!(tool(&["convert", "--from", "tpr", "-", "--to", "crd"], input).status.code(), Some(65), "{input}");
    }
}

#[test]
fn a_broken_runbook_is_refused_with_its_place_and_a_suggestion() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let shown = tool(&["runbook", "show", "v2.6"], "");
    let good = String::from_utf8(shown.stdout).expect("a runbook is text");
    let file = home.path().join("mine.yaml");
    let lint = |text: &str| {
        std::fs::write(&file, text).expect("the file can be written");
        tool(&["runbook", "lint", file.to_str().expect("the path is text")], "")
    };
    assert_eq!(lint(&good).status.code(), Some(0));
    for (text, word) in [
        (good.replace("phase: Verify", "phaze: Verify"), "did you mean `phase`"),
        (good.replace("step: roll-nodes", "step: roll-node"), "did you mean `roll-nodes`"),
        (good.replace("ready_within: 10m", "ready_within: soon"), "`soon` is no duration"),
        (good.replace("step: back-up", "step: verify"), "the first step must be a back-up"),
        (good.replace("name: roll-nodes", "name: verify"), "two steps are named `verify`"),
    ] {
        let ran = lint(&text);
        let words = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.code() == Some(65) && words.contains(word), "`{word}` is not in {words}");
    }
}

#[test]
fn usage_errors_and_help_have_their_exit_codes() {
    for (arguments, code) in [
        (vec!["--help"], 0),
        (vec!["run", "--help"], 0),
        (vec!["version"], 0),
        (vec!["completion", "bash"], 0),
        (vec!["runbook", "list"], 0),
        (vec![], 64),
        (vec!["rnu"], 64),
        (vec!["plan", "--batch", "0"], 64),
        (vec!["check", "CU-C999"], 64),
        (vec!["check", "--ignore", "CU-C007"], 64),
        (vec!["runbook", "show", "v9"], 64),
        (vec!["run", "/does/not/exist"], 65),
    ] {
        assert_eq!(tool(&arguments, "").status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn windows_and_gates_that_cannot_be_read_are_told_before_any_cluster_is_asked() {
    for (arguments, what) in [
        (vec!["--window", "Tue,Wedd 22:00-02:00 UTC"], "at column 5"),
        (vec!["--window", "Tue 22:00-02:00 Berlin"], "Europe/Berlin"),
        (vec!["--window", "Tue 22:00-02:00 UTC", "--freeze", "2026-13-01..2026-13-02"], "`--freeze` cannot be read"),
        (vec!["--freeze", "2026-12-20..2027-01-05"], "--window"),
        (vec!["--alert-gate", "prometheus", "up == 0"], "no address like https://host:port/path"),
        (vec!["--alert-gate", "http://a", "up", "--alert-gate", "http://b", "up"], "can be given once"),
        (vec!["--scheduled", "--until", "verify"], "cannot be used with"),
    ] {
        let ran = tool(&[vec!["run", "--yes"], arguments.clone()].concat(), "");
        let words = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(64) && words.contains(what), "{arguments:?}: {words}");
    }
}
