//! Nothing may be left behind, however the process with the control plane ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::{Seen, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// Starts a lab whose only temporary folder is the given one, so that all it leaves behind can be seen.
fn lab(folder: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(arguments)
        .env("TMPDIR", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The processes whose command line names the folder.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let command_lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let command_lines = command_lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    command_lines.filter(|line| line.contains(folder)).collect()
}

fn files_in(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn wait_for_the_end(folder: &Path) {
    wait_until("nothing to be left", || {
        let left = processes_in(folder);
        let is_clean = left.is_empty() && files_in(folder) == 0;
        let files: Vec<_> = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
        Ok(if is_clean { Seen::Yes(()) } else { Seen::NotYet(format!("{left:?} {files:?}")) })
    })
    .unwrap();
}

fn wait_for_servers(folder: &Path, count: usize) {
    wait_until("servers", || {
        let running = processes_in(folder).len();
        Ok(if running >= count { Seen::Yes(()) } else { Seen::NotYet(running.to_string()) })
    })
    .unwrap();
}

fn first_line(lab: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(lab.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn a_killed_process_leaves_no_server_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = lab(folder.path(), &["--nodes", "1"]);
    assert!(Path::new(&first_line(&mut lab)).is_file());
    assert_eq!(processes_in(folder.path()).len(), 4);

    lab.kill().unwrap();
    lab.wait().unwrap();

    wait_for_the_end(folder.path());
}

#[test]
fn a_process_killed_while_it_starts_leaves_nothing_either() {
    for servers in [1, 2, 4] {
        let folder = tempfile::tempdir().unwrap();
        let mut lab = lab(folder.path(), &["--nodes", "1"]);
        wait_for_servers(folder.path(), servers);

        lab.kill().unwrap();
        lab.wait().unwrap();

        wait_for_the_end(folder.path());
    }
}

#[test]
fn an_interrupted_lab_is_gone_when_it_returns() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = lab(folder.path(), &["--nodes", "1"]);
    first_line(&mut lab);
    // Waiting for a child closes its input, which would end it too.
    let input = lab.stdin.take();

    kill_process(Pid::from_child(&lab), Signal::INT).unwrap();

    assert_eq!(lab.wait().unwrap().code(), Some(130));
    drop(input);
    assert_eq!(processes_in(folder.path()), Vec::<String>::new());
    assert_eq!(files_in(folder.path()), 0);
}

#[test]
fn a_lab_ends_with_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = lab(folder.path(), &["--nodes", "1"]);
    first_line(&mut lab);

    drop(lab.stdin.take());

    assert_eq!(lab.wait().unwrap().code(), Some(0));
    assert_eq!(files_in(folder.path()), 0);
}

#[test]
fn a_lab_with_a_command_passes_its_exit_code_on() {
    let folder = tempfile::tempdir().unwrap();
    let script = "grep -q current-context \"$KUBECONFIG\" && exit 7";
    let mut lab = lab(folder.path(), &["--nodes", "1", "--", "sh", "-c", script]);

    assert_eq!(lab.wait().unwrap().code(), Some(7));
    assert_eq!(files_in(folder.path()), 0);
}
