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

/// Runs a shell on a script; none where the shell is not installed.
fn shell(program: &str, arguments: &[&str], script: &std::path::Path) -> Option<Output> {
    let ran = Command::new(program).args(arguments).arg(script).output();
    if ran.is_err() {
        skipped(&format!("{program} is not installed"));
    }
    ran.ok()
}

#[expect(clippy::print_stderr, reason = "a case that was left out must not look like one that passed")]
fn skipped(why: &str) {
    eprintln!("skipped ({why})");
}

#[test]
fn shells_can_read_their_completions() {
    let home = tempfile::tempdir().expect("a directory can be made");
    for (name, only_read) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = tool(&["completion", name], "").stdout;
        let file = home.path().join(name);
        std::fs::write(&file, script).expect("the file can be written");
        if let Some(ran) = shell(name, &[only_read], &file) {
            assert!(ran.status.success() && ran.stderr.is_empty(), "{name}: {ran:?}");
        }
    }
}

#[test]
fn bash_completes_verbs_and_their_flags() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let completion = String::from_utf8(tool(&["completion", "bash"], "").stdout).expect("a script is text");
    let function =
        completion.split("complete -F ").nth(1).and_then(|rest| rest.split(' ').next()).expect("it names one");
    for (line, expected) in [("calico-upgrader re", "report restore resume"), ("calico-upgrader run --fre", "--freeze")]
    {
        let words: Vec<&str> = line.split(' ').collect();
        let asked = format!(
            "{completion}\nCOMP_WORDS=({line}) COMP_CWORD={}\n{function} calico-upgrader {} {}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\" | sort\n",
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let file = home.path().join("ask");
        std::fs::write(&file, asked).expect("the file can be written");
        let Some(ran) = shell("bash", &["--norc"], &file) else { return };
        let found = String::from_utf8_lossy(&ran.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(found, expected, "{ran:?}");
    }
}

#[test]
fn every_verb_has_a_man_page_with_its_flags() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let out = home.path().join("man1");
    assert_eq!(tool(&["man", "--out", out.to_str().expect("the path is text")], "").status.code(), Some(0));
    let page = |name: &str| std::fs::read_to_string(out.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let help = String::from_utf8(tool(&["--help"], "").stdout).expect("help is text");
    let commands =
        help.split("Commands:").nth(1).and_then(|rest| rest.split("Options:").next()).expect("it lists them");
    let verbs: Vec<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    assert!(verbs.contains(&"run") && verbs.contains(&"man"), "{verbs:?}");
    verbs.iter().for_each(|verb| assert!(page(&format!("calico-upgrader-{verb}.1")).starts_with(".ie"), "{verb}"));
    assert!(page("calico-upgrader-run.1").contains("\\-\\-window"));
    assert!(page("calico-upgrader-backup-create.1").contains("etcd\\-snapshot"));
    let whole = String::from_utf8(tool(&["man"], "").stdout).expect("a page is text");
    assert!(whole.contains("Exit codes: 0 done") && !whole.contains("\\-\\-fault"), "{whole}");
    let taken = home.path().join("taken");
    std::fs::write(&taken, "").expect("the file can be written");
    assert_eq!(tool(&["man", "--out", taken.to_str().expect("the path is text")], "").status.code(), Some(65));
}

#[test]
fn as_a_plugin_of_kubectl_it_names_its_commands_as_kubectl_does() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let plugin = home.path().join("kubectl-calico_upgrader");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_calico-upgrader"), &plugin).expect("a link can be made");
    let ran = |arguments: &[&str]| {
        let ran = Command::new(&plugin).args(arguments).output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (ran.status.code(), text(&ran.stdout) + &text(&ran.stderr))
    };
    for (arguments, code, what) in [
        (vec!["--help"], 0, "Usage: kubectl calico-upgrader [OPTIONS] <COMMAND>"),
        (vec!["resume", "--help"], 0, "Usage: kubectl calico-upgrader resume"),
        (vec!["resume", "--rnu"], 64, "Usage: kubectl calico-upgrader resume"),
        (vec!["explain", "CU-R013"], 0, "kubectl calico-upgrader resume"),
        (vec!["version"], 0, "calico-upgrader 0.1.0"),
    ] {
        let (exit, text) = ran(&arguments);
        assert!(exit == Some(code) && text.contains(what), "{arguments:?}: {text}");
    }
    let (_, text) = ran(&["version"]);
    assert!(!text.contains("kubectl"), "{text}");
}
