//! Gates: what must be looked at in a cluster before a release is crossed. They are data, `runbooks/gates.yaml`.

use serde::{Deserialize, Serialize};

use super::{ReadError, read::parse};
use crate::{
    inventory::{Ask, Fact, Flavour, Sight},
    resource::{Kind, ObjectRef},
    version::Version,
};

/// Every gate, in the order of the releases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gates {
    pub gates: Vec<Gate>,
}

/// One thing that a release breaks for some clusters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    pub id: String,
    /// It is looked at by who goes from below one of these releases to it or past it.
    pub crosses: Vec<Version>,
    pub when: Condition,
    pub severity: Level,
    /// Whether a person may go on in spite of it, with a reason.
    #[serde(default = "yes")]
    pub ignorable: bool,
    pub title: String,
    pub why: String,
    /// What to do; where the facts have commands that mend, those are told instead.
    pub now: String,
    pub source: String,
}

fn yes() -> bool {
    true
}

/// What a gate does to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Block,
    Warn,
    Note,
}

/// When a gate applies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    Always,
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// The cluster has objects, nodes or a kube-proxy of this sort.
    Has(Ask),
    Flavour(Flavour),
    /// Whether the nodes get their data from Typha.
    Typha(bool),
    Kubernetes(Span),
    /// The release to go to.
    Target(Span),
}

/// Versions from one on, or before one, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Span {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Version>,
}

/// What conditions are held against.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    pub to: Version,
    pub kubernetes: Version,
    pub flavour: Flavour,
    pub has_typha: bool,
    pub sights: &'a [Sight],
}

/// Whether a gate applies to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Applies(Hits),
    Not,
    /// It cannot be told, and why.
    Skipped(String),
}

/// What a gate applies to. None where it is the cluster as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    pub count: usize,
    pub first: Vec<ObjectRef>,
    /// Commands that mend them.
    pub commands: Vec<String>,
}

/// Reads gates strictly.
///
/// # Errors
/// An unknown key, a gate named twice, one that nothing crosses, or one that asks for Secrets.
pub fn read_gates(text: &str) -> Result<Gates, ReadError> {
    let gates: Gates = parse(text)?;
    let plain = |message: String| ReadError { message, line: None, column: None, suggestion: None };
    for (index, gate) in gates.gates.iter().enumerate() {
        let is_kebab = gate.id.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !is_kebab || gates.gates[..index].iter().any(|earlier| earlier.id == gate.id) {
            return Err(plain(format!("`{}` is no id, or two gates have it", gate.id)));
        }
        if gate.crosses.is_empty() {
            return Err(plain(format!("gate `{}` stands at no release", gate.id)));
        }
        if gate.when.asks().iter().any(|ask| matches!(ask, Ask::Objects(objects) if objects.kind == Kind::Secret)) {
            return Err(plain(format!("gate `{}` asks for Secrets, which no plan reads", gate.id)));
        }
    }
    Ok(gates)
}

impl Gates {
    pub fn find(&self, id: &str) -> Option<&Gate> {
        self.gates.iter().find(|gate| gate.id == id)
    }

    /// The gates between two releases.
    pub fn crossed(&self, from: Version, to: Version) -> impl Iterator<Item = &Gate> {
        self.gates.iter().filter(move |gate| gate.crosses.iter().any(|release| from < *release && *release <= to))
    }

    /// What must be asked of a cluster to answer for them, each once.
    pub fn asks(&self, from: Version, to: Version) -> Vec<Ask> {
        let mut all: Vec<Ask> = self.crossed(from, to).flat_map(|gate| gate.when.asks()).cloned().collect();
        all.sort();
        all.dedup();
        all
    }
}

impl Gate {
    /// Its id and what it is about.
    pub fn heading(&self) -> String {
        format!("{}: {}", self.id, self.title)
    }

    pub fn answer(&self, here: Here<'_>) -> Answer {
        self.when.answer(here)
    }
}

impl Condition {
    fn asks(&self) -> Vec<&Ask> {
        match self {
            Condition::All(parts) | Condition::Any(parts) => parts.iter().flat_map(Condition::asks).collect(),
            Condition::Not(part) => part.asks(),
            Condition::Has(ask) => vec![ask],
            Condition::Always
            | Condition::Flavour(_)
            | Condition::Typha(_)
            | Condition::Kubernetes(_)
            | Condition::Target(_) => Vec::new(),
        }
    }

    fn answer(&self, here: Here<'_>) -> Answer {
        match self {
            Condition::Always => Answer::of(true),
            Condition::All(parts) => all(parts.iter().map(|part| part.answer(here))),
            Condition::Any(parts) => any(parts.iter().map(|part| part.answer(here))),
            Condition::Not(part) => match part.answer(here) {
                Answer::Applies(_) => Answer::Not,
                Answer::Not => Answer::of(true),
                skipped @ Answer::Skipped(_) => skipped,
            },
            Condition::Has(ask) => seen(ask, here.sights),
            Condition::Flavour(flavour) => Answer::of(here.flavour == *flavour),
            Condition::Typha(wanted) => Answer::of(here.has_typha == *wanted),
            Condition::Kubernetes(span) => Answer::of(span.contains(here.kubernetes)),
            Condition::Target(span) => Answer::of(span.contains(here.to)),
        }
    }
}

fn seen(ask: &Ask, sights: &[Sight]) -> Answer {
    let found = sights.iter().find(|sight| sight.asked == *ask).map(|sight| &sight.found);
    match found {
        None => Answer::Skipped("it was not looked at".to_owned()),
        Some(Fact::Unknown { why }) => Answer::Skipped(why.clone()),
        Some(Fact::Known(found)) if found.count == 0 => Answer::Not,
        Some(Fact::Known(found)) => {
            let mend = |object: &ObjectRef| match ask {
                Ask::Objects(objects) => objects.command(object),
                Ask::Nodes(_) | Ask::KubeProxy(_) => None,
            };
            let commands = found.first.iter().filter_map(mend).collect();
            Answer::Applies(Hits { count: found.count, first: found.first.clone(), commands })
        }
    }
}

/// One that does not apply decides, then one that is not known.
fn all(answers: impl Iterator<Item = Answer>) -> Answer {
    let (mut hits, mut skipped) = (Hits::default(), None);
    for answer in answers {
        match answer {
            Answer::Applies(more) => hits.add(more),
            Answer::Not => return Answer::Not,
            Answer::Skipped(why) => skipped = skipped.or(Some(why)),
        }
    }
    skipped.map_or(Answer::Applies(hits), Answer::Skipped)
}

/// One that applies decides, then one that is not known.
fn any(answers: impl Iterator<Item = Answer>) -> Answer {
    let (mut hits, mut skipped) = (None, None);
    for answer in answers {
        match answer {
            Answer::Applies(more) => hits.get_or_insert_with(Hits::default).add(more),
            Answer::Not => {}
            Answer::Skipped(why) => skipped = skipped.or(Some(why)),
        }
    }
    hits.map(Answer::Applies).or(skipped.map(Answer::Skipped)).unwrap_or(Answer::Not)
}

impl Answer {
    fn of(applies: bool) -> Self {
        if applies { Answer::Applies(Hits::default()) } else { Answer::Not }
    }
}

impl Hits {
    /// An object that several facts pick is one.
    fn add(&mut self, more: Hits) {
        let new: Vec<ObjectRef> = more.first.into_iter().filter(|object| !self.first.contains(object)).collect();
        self.count = (self.count + new.len()).max(more.count);
        self.first.extend(new);
        self.commands.extend(more.commands);
    }
}

impl Span {
    fn contains(self, version: Version) -> bool {
        self.at_least.is_none_or(|first| version >= first) && self.below.is_none_or(|end| version < end)
    }
}

impl Level {
    pub const fn name(self) -> &'static str {
        match self {
            Level::Block => "block",
            Level::Warn => "warn",
            Level::Note => "note",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Here<'_> = Here {
        to: Version::new(3, 31, 7),
        kubernetes: Version::new(1, 34, 1),
        flavour: Flavour::Networking,
        has_typha: false,
        sights: &[],
    };

    fn answer(condition: &str) -> Answer {
        serde_saphyr::from_str::<Condition>(condition).unwrap().answer(HERE)
    }

    #[test]
    fn what_is_not_known_decides_nothing_that_another_fact_decides() {
        let unknown = "has: {kube-proxy: nftables}";
        assert!(matches!(answer(unknown), Answer::Skipped(_)));
        assert!(matches!(answer(&format!("not: {{{unknown}}}")), Answer::Skipped(_)));
        assert_eq!(answer(&format!("all: [{{{unknown}}}, {{typha: true}}]")), Answer::Not);
        assert!(matches!(answer(&format!("all: [{{{unknown}}}, {{typha: false}}]")), Answer::Skipped(_)));
        assert!(matches!(answer(&format!("any: [{{{unknown}}}, {{typha: false}}]")), Answer::Applies(_)));
        assert!(matches!(answer(&format!("any: [{{{unknown}}}, {{typha: true}}]")), Answer::Skipped(_)));
    }

    #[test]
    fn a_gate_is_crossed_from_below_its_release_to_it_or_past_it() {
        let text =
            "gates: [{id: a, crosses: [v3.30.0], when: always, severity: note, title: t, why: w, now: n, source: s}]";
        let gates = read_gates(text).unwrap();
        let crossed = |from: &str, to: &str| gates.crossed(from.parse().unwrap(), to.parse().unwrap()).count();
        assert_eq!(
            (crossed("v3.29.7", "v3.30.0"), crossed("v3.30.0", "v3.31.7"), crossed("v3.28.0", "v3.29.7")),
            (1, 0, 0)
        );
        for wrong in [text.replace("always", "alwys"), text.replace("id: a", "id: A"), text.replace("[v3.30.0]", "[]")]
        {
            assert!(read_gates(&wrong).is_err(), "{wrong}");
        }
    }
}
