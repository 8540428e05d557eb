//! How much is tried. `make prove` tries everything, in parts that together are the whole; `make test` tries a slice of each
//! matrix, and most behaviours on one version of Kubernetes. The digest of the tree chooses which, so that each commit tries
//! another part, and a failure comes again with the same tree.

use std::{
    collections::BTreeSet,
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

/// Takes at most so many of them, evenly spread, or this part of all of them in `make prove`.
pub fn slice<T: Clone>(of: &str, all: &[T], most: usize) -> Vec<T> {
    let places = match tier() {
        Tier::Slice { digest } => spread(number(digest, &name(of)), all.len(), most),
        Tier::Part { part, parts } => (*part..all.len()).step_by(*parts).collect(),
    };
    taken(of, all, &places)
}

/// The same below a place that was taken from a slice: in `make prove` all of them, since the place is in one part alone.
pub fn below<T: Clone>(of: &str, all: &[T], most: usize) -> Vec<T> {
    let places = match tier() {
        Tier::Slice { digest } => spread(number(digest, &name(of)), all.len(), most),
        Tier::Part { .. } => (0..all.len()).collect(),
    };
    taken(of, all, &places)
}

/// The seeds of what is drawn by chance: so many, or this part of the second number in `make prove`.
pub fn draws(of: &str, some: usize, all: usize) -> Vec<u64> {
    let seeds = match tier() {
        Tier::Slice { digest } => (0..some).map(|index| number(digest, &format!("{} {index}", name(of)))).collect(),
        Tier::Part { part, parts } => (*part..all).step_by(*parts).collect::<Vec<_>>(),
    };
    count(of, seeds.len(), all);
    seeds.into_iter().map(|seed| seed as u64).collect()
}

fn spread(first: usize, count: usize, most: usize) -> Vec<usize> {
    let most = most.min(count);
    (0..most).map(|index| (first + index * count / most) % count).collect()
}

fn taken<T: Clone>(of: &str, all: &[T], places: &[usize]) -> Vec<T> {
    count(of, places.len(), all.len());
    places.iter().map(|place| all[*place].clone()).collect()
}

/// Each of these takes its share of a matrix in every part of `make prove`; `tests/suite.sh` reads them as well.
const MATRICES: &str = include_str!("matrices.txt");

/// Tells how much of a matrix is tried, and by what a failure comes again.
#[expect(clippy::print_stderr, reason = "how much of a matrix was tried must be seen")]
fn count(of: &str, tried: usize, all: usize) {
    let is_known = MATRICES.lines().any(|line| line == case());
    // The only thread of a runner has no case's name.
    assert!(is_known || case() == "main", "`{}` is missing in matrices.txt", case());
    let again = match tier() {
        Tier::Slice { digest } => format!("CALICO_UPGRADER_SLICE={digest}"),
        Tier::Part { part, parts } => format!("CALICO_UPGRADER_PROVE={}/{parts}", part + 1),
    };
    eprintln!("{of}: {tried} of {all} ({again})");
    times::count(&name(of), tried, all);
}

fn name(of: &str) -> String {
    format!("{} {of}", case())
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
    for (count, most) in [(50, 5), (3, 8), (0, 4), (7, 7)] {
        let distinct: BTreeSet<usize> = spread(number("a tree", "a case"), count, most).into_iter().collect();
        assert_eq!(distinct.len(), most.min(count));
        assert!(distinct.iter().all(|place| *place < count));
    }
}
