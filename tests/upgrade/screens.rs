//! The screens as people see them, held against files. `UPDATE_SNAPSHOTS=1` writes the files anew: read the change then.

use std::{fs, path::Path};

use harness::{Kubernetes, Release};

use crate::lab::{Lab, lab, small, upgrade};

/// What differs from run to run, taken out: addresses, paths, names of runs, digests, times.
fn redacted(lab: &Lab, text: &str) -> String {
    let text = text.replace(lab.state().to_str().unwrap(), "STATE");
    let lines =
        text.lines().map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" ").trim_end().to_owned() + "\n");
    lines.collect()
}

fn word(word: &str) -> String {
    if word.starts_with("https://127.0.0.1:") {
        return "https://SERVER".to_owned();
    }
    let plain = word.trim_matches(|one: char| !one.is_ascii_alphanumeric());
    let is_hex = plain.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let shown = match plain.len() {
        6 if is_hex => "RUN",
        12 if is_hex => "DIGEST",
        20.. if plain.ends_with('Z') && plain.contains("T") && plain.contains(':') => "TIME",
        _ => return word.to_owned(),
    };
    word.replace(plain, shown)
}

fn holds(lab: &Lab, name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens").join(format!("{name}.txt"));
    let shown = redacted(lab, text);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &shown).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == shown, "{} differs; now it is\n{shown}", file.display());
}

#[test]
fn every_screen_is_as_it_was_reviewed() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    let planning = ["--to", "v2.6", "--allow-untested"];
    let shown = |verb: &[&str]| lab.tool(verb).data;
    holds(&lab, "discover", &shown(&["discover"]));
    holds(&lab, "check", &shown(&["check"]));
    holds(&lab, "diff", &shown(&["diff", "--to", "v2.6", "ConfigMap/calico-config"]));
    holds(&lab, "plan", &shown(&[&["plan"], planning.as_slice()].concat()));
    holds(&lab, "plan-markdown", &shown(&[&["plan", "-o", "markdown"], planning.as_slice()].concat()));
    holds(&lab, "dry-run", &shown(&[&["run", "--dry-run"], planning.as_slice()].concat()));
    holds(&lab, "refusal", &lab.tool(&["run", "--to", "v2.6", "--yes"]).exits(16).words);
    lab.tool(&upgrade("run")).exits(0);
    holds(&lab, "verify", &shown(&["verify"]));
    holds(&lab, "rollback", &lab.tool(&["rollback"]).exits(10).data);
    holds(&lab, "complete", &lab.tool(&["complete"]).exits(10).data);
    holds(&lab, "explain", &shown(&["explain", "CU-R013"]));
    holds(&lab, "runbooks", &shown(&["runbook", "list"]));
}
