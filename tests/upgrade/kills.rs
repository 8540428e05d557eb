//! Kills at write boundaries: which there are, which of them a test takes, and the kill itself.

use std::{collections::BTreeSet, fs};

use crate::lab::{Lab, Ran};

/// An undisturbed call: every write boundary that it passes.
pub fn record(lab: &Lab, arguments: &[&str]) -> BTreeSet<String> {
    let file = lab.state().join("boundaries");
    lab.tool(&[arguments, &["--fault-record", file.to_str().unwrap()]].concat()).exits(0);
    let boundaries: BTreeSet<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    assert!(boundaries.len() > 50, "{arguments:?} passed only {} boundaries", boundaries.len());
    boundaries
}

/// Every so many-th boundary, or the part of all of them that `KILL_PART` names: `2/5` is the second of five parts, which
/// together are the whole matrix, and `1/1` is the whole at once.
#[expect(clippy::print_stderr, reason = "how much of a matrix was tried must be seen")]
pub fn sample(boundaries: &BTreeSet<String>, every: usize) -> Vec<&str> {
    let (first, every) = std::env::var("KILL_PART").map_or((0, every), |part| {
        let (part, parts) = part.split_once('/').expect("KILL_PART is written as PART/PARTS");
        let (part, parts): (usize, usize) = (part.parse().unwrap(), parts.parse().unwrap());
        assert!((1..=parts).contains(&part), "KILL_PART names no part");
        (part - 1, parts)
    });
    let taken: Vec<&str> = boundaries.iter().skip(first).step_by(every).map(String::as_str).collect();
    eprintln!("kills at {} of {} boundaries", taken.len(), boundaries.len());
    taken
}

/// Calls the program and expects it to die at the boundary.
#[track_caller]
pub fn kill_at(lab: &Lab, arguments: &[&str], boundary: &str) {
    Ran::of(lab.command(&[arguments, &["--fault", boundary]].concat())).was_killed();
}
