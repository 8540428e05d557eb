//! The rules of the house, read from the sources: which room may use which, and who may touch what.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The rooms from the nouns up: each uses only those before it.
const ROOMS: [&str; 23] = [
    "version",
    "window",
    "resource",
    "inventory",
    "convert",
    "check",
    "runbook",
    "probe",
    "plan",
    "web",
    "echo",
    "datastore",
    "cluster",
    "backup",
    "event",
    "journal",
    "door",
    "observe",
    "step",
    "engine",
    "notice",
    "report",
    "cli",
];

/// Rooms that decide: the same values in give the same values out.
const PURE: [&str; 9] = ["version", "window", "resource", "inventory", "convert", "check", "runbook", "probe", "plan"];

/// Every source of the program without its tests, by room.
fn sources() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let mut rooms: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the sources can be listed").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).expect("a source is text");
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
                let place = path.strip_prefix(&root).expect("it is below the root");
                let room = place.iter().next().and_then(|name| Path::new(name).file_stem()).expect("it has a name");
                rooms.entry(room.to_string_lossy().into_owned()).or_default().push((path, code));
            }
        }
    }
    rooms
}

/// Lists the places outside the allowed rooms where one of the words stands.
fn trespasses(words: &[&str], allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (room, files) in sources() {
        for (path, code) in files.iter().filter(|_| !allowed.contains(&room.as_str())) {
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            let bad = lines.filter(|line| words.iter().any(|word| line.contains(word)));
            found.extend(bad.map(|line| format!("{}: {}", path.display(), line.trim())));
        }
    }
    found
}

#[test]
fn every_room_is_known_and_uses_only_those_below_it() {
    for (room, files) in sources() {
        if ["main", "lib"].contains(&room.as_str()) {
            continue;
        }
        let place =
            ROOMS.iter().position(|known| *known == room).unwrap_or_else(|| panic!("`{room}` is no known room"));
        for (path, code) in files {
            for above in &ROOMS[place + 1..] {
                for way in [format!("crate::{above}"), format!("\n    {above}::")] {
                    assert!(!code.contains(&way), "{} uses `{above}`, which stands above it", path.display());
                }
            }
        }
    }
}

#[test]
fn decisions_know_no_client_no_file_and_no_clock() {
    let words =
        ["async ", ".await", "std::fs", "std::env", "File::", "Instant", "SystemTime", "Timestamp::now", "tokio"];
    let impure: Vec<&str> = ROOMS.into_iter().filter(|room| !PURE.contains(room)).chain(["main", "lib"]).collect();
    assert_eq!(trespasses(&words, &impure), Vec::<String>::new());
}

#[test]
fn the_kubernetes_client_stays_in_its_room() {
    assert_eq!(trespasses(&["use kube::", " kube::", "k8s_openapi"], &["cluster"]), Vec::<String>::new());
}

#[test]
fn only_the_door_changes_the_cluster() {
    let words = ["cluster.store(", "cluster.merge(", "cluster.delete(", "cluster.post_event("];
    assert_eq!(trespasses(&words, &["door"]), Vec::<String>::new());
}

#[test]
fn keys_of_etcd_change_only_as_objects_of_the_cluster() {
    let words = ["create_key(", "replace_key(", "remove_key("];
    assert_eq!(trespasses(&words, &["datastore", "cluster"]), Vec::<String>::new());
}

#[test]
fn http_that_is_not_the_cluster_s_stays_in_its_rooms() {
    let words = ["hyper::", "hyper_util", "hyper_rustls", "http_body_util"];
    assert_eq!(trespasses(&words, &["web", "datastore"]), Vec::<String>::new());
}

#[test]
fn only_the_door_and_the_journal_write_files_of_a_run() {
    let words = ["fs::write(", "File::create", "OpenOptions", "OFlags::CREATE", "fs::rename", "fs::remove"];
    // `engine` opens the local lock and sets an older journal aside; `cli` writes what the operator asked for by name.
    assert_eq!(trespasses(&words, &["door", "journal", "engine", "cli"]), Vec::<String>::new());
}

#[test]
fn only_the_command_line_prints_asks_exits_and_reads_the_environment() {
    let words = [
        "println!",
        "eprintln!",
        "std::env",
        "stdin()",
        "stdout()",
        "stderr()",
        "process::exit",
        "clap::",
        "indicatif",
    ];
    assert_eq!(trespasses(&words, &["cli"]), Vec::<String>::new());
}

#[test]
fn no_source_grows_past_what_can_be_read_in_one_go() {
    for (path, code) in sources().into_values().flatten() {
        assert!(code.lines().count() <= 400, "{} has {} lines", path.display(), code.lines().count());
    }
}

/// The codes like `CU-E001` in a text.
fn codes(text: &str) -> std::collections::BTreeSet<String> {
    let starts = text.match_indices("CU-").map(|(at, _)| text[at..].chars().take(7).collect::<String>());
    starts.filter(|code| code.len() == 7 && code[4..].bytes().all(|byte| byte.is_ascii_digit())).collect()
}

#[test]
fn every_code_that_the_program_can_say_is_explained() {
    let said: std::collections::BTreeSet<String> =
        sources().into_values().flatten().flat_map(|(_, code)| codes(&code)).collect();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/exit-codes.md");
    let text = fs::read_to_string(docs).expect("the page is there");
    let explained = codes(&text.lines().filter(|line| line.starts_with("## ")).collect::<String>());
    assert_eq!(said, explained);
}

/// The README and every page of the book, by their paths.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).expect("the pages can be listed").flatten().map(|entry| entry.path());
    let pages = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).chain([root.join("README.md")]);
    let read = |path: PathBuf| (path.display().to_string(), fs::read_to_string(&path).expect("a page is text"));
    pages.map(read).collect()
}

#[test]
fn every_file_that_a_page_names_is_there() {
    let mut named = 0;
    for (page, text) in pages() {
        for name in text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "runbooks/", "image/", "manifests/", "e2e/"]
                .iter()
                .any(|start| name.starts_with(start));
            if is_path && !name.contains(['<', '*', ' ', '\n']) {
                named += 1;
                assert!(
                    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(),
                    "{page} names {name}, which is not there"
                );
            }
        }
    }
    assert!(named > 30, "only {named} files are named");
}

/// Lines that change whenever a check or a step of a runbook comes, as pages quote them and as tests hold them.
#[test]
fn what_pages_quote_of_screens_is_what_the_program_shows() {
    let screens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens");
    let screen = |name: &str| fs::read_to_string(screens.join(name)).expect("a screen is text");
    let shown = screen("check.txt") + &screen("runbooks.txt");
    let is_quoted = |line: &&str| line.contains(" checks hold, ") || line.contains("v2.0.0 to v2.6");
    let pages = pages();
    let quoted: Vec<&str> = pages.iter().flat_map(|(_, text)| text.lines().filter(is_quoted)).collect();
    assert!(quoted.len() >= 3, "{quoted:?}");
    quoted.iter().for_each(|line| assert!(shown.lines().any(|one| one == *line), "no screen has: {line}"));
}
