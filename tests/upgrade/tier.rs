//! How much is tried. `make prove` tries everything, in parts that together are the whole; `make test` tries a slice of each
//! matrix, and most behaviours on one version of Kubernetes. The digest of the tree chooses which, so that each commit tries
//! another part, and a failure comes again with the same tree.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    process::Command,
    sync::OnceLock,
    thread,
};

use harness::Kubernetes;

use crate::times;

/// What this process tries.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Tier {
    /// A slice that this text chooses.
    Slice { digest: String },
    /// The part of everything: the first is 0.
    Part { part: usize, parts: usize },
}

/// `CALICO_UPGRADER_PROVE=2/8` asks for the second of eight parts of everything. `CALICO_UPGRADER_SLICE` takes the place of the
/// digest of the tree.
fn tier() -> &'static Tier {
    static TIER: OnceLock<Tier> = OnceLock::new();
    TIER.get_or_init(|| match std::env::var("CALICO_UPGRADER_PROVE") {
        Ok(part) => part_of(&part).expect("CALICO_UPGRADER_PROVE is written as PART/PARTS"),
        Err(_) => Tier::Slice { digest: std::env::var("CALICO_UPGRADER_SLICE").unwrap_or_else(|_| tree()) },
    })
}

fn part_of(text: &str) -> Option<Tier> {
    let (part, parts) = text.split_once('/')?;
    let (part, parts): (usize, usize) = (part.parse().ok()?, parts.parse().ok()?);
    (1..=parts).contains(&part).then(|| Tier::Part { part: part - 1, parts })
}

/// The digest of the tree that was committed last; of a copy without history it is empty.
fn tree() -> String {
    let asked = Command::new("git").args(["rev-parse", "HEAD^{tree}"]).output();
    asked.map(|answer| String::from_utf8_lossy(&answer.stdout).trim().to_owned()).unwrap_or_default()
}

/// The versions on which a behaviour is tried that is the same on all: one of them, or all in `make prove`.
pub fn versions() -> Vec<Kubernetes> {
    match tier() {
        Tier::Slice { digest } => vec![Kubernetes::ALL[number(digest, &case()) % Kubernetes::ALL.len()]],
        Tier::Part { .. } => Kubernetes::ALL.to_vec(),
    }
}

/// Takes at most so many of the boundaries, evenly spread, or this part of all of them in `make prove`.
pub fn slice(of: &str, all: &[String], most: usize) -> Vec<String> {
    match tier() {
        Tier::Slice { digest } => spread(digest, of, all, most),
        Tier::Part { part, parts } => told(of, all, all.iter().skip(*part).step_by(*parts).cloned().collect()),
    }
}

/// The same below a place that was taken from a slice: in `make prove` all of them, since the place is in one part alone.
pub fn below(of: &str, all: &[String], most: usize) -> Vec<String> {
    match tier() {
        Tier::Slice { digest } => spread(digest, of, all, most),
        Tier::Part { .. } => told(of, all, all.to_vec()),
    }
}

fn spread(digest: &str, of: &str, all: &[String], most: usize) -> Vec<String> {
    let (first, most, count) = (number(digest, &format!("{} {of}", case())), most.min(all.len()), all.len());
    told(of, all, (0..most).map(|index| all[(first + index * count / most) % count].clone()).collect())
}

/// Tells how much of a matrix is tried, and by what a failure comes again.
#[expect(clippy::print_stderr, reason = "how much of a matrix was tried must be seen")]
fn told(of: &str, all: &[String], taken: Vec<String>) -> Vec<String> {
    let again = match tier() {
        Tier::Slice { digest } => format!("CALICO_UPGRADER_SLICE={digest}"),
        Tier::Part { part, parts } => format!("CALICO_UPGRADER_PROVE={}/{parts}", part + 1),
    };
    eprintln!("{of}: {} of {} ({again})", taken.len(), all.len());
    times::count(&format!("{} {of}", case()), taken.len(), all.len());
    taken
}

/// How often something is tried that is drawn by chance: so often, or its part of the second number in `make prove`; and the seed
/// of the first.
pub fn draws(of: &str, some: usize, all: usize) -> Vec<u64> {
    let name = format!("{} {of}", case());
    let (seeds, whole): (Vec<u64>, usize) = match tier() {
        Tier::Slice { digest } => {
            ((0..some).map(|index| number(digest, &format!("{name} {index}")) as u64).collect(), all)
        }
        Tier::Part { part, parts } => ((0..all).skip(*part).step_by(*parts).map(|index| index as u64).collect(), all),
    };
    times::count(&name, seeds.len(), whole);
    seeds
}

fn case() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

fn number(digest: &str, name: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    (digest, name).hash(&mut hasher);
    usize::try_from(hasher.finish() >> 16).expect("48 bits fit")
}

#[test]
fn the_parts_of_a_matrix_are_the_whole_and_a_slice_is_spread_over_it() {
    assert_eq!(part_of("3/8"), Some(Tier::Part { part: 2, parts: 8 }));
    for wrong in ["0/8", "9/8", "3", "a/b"] {
        assert_eq!(part_of(wrong), None, "{wrong}");
    }
    let all: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    let taken = slice("a matrix", &all, 5);
    if let Tier::Slice { .. } = tier() {
        let distinct: std::collections::BTreeSet<&String> = taken.iter().collect();
        assert_eq!(distinct.len(), 5);
    }
}
