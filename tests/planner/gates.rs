//! Each gate on a cluster where it applies and on one where it does not, and the table of them in the book.

use std::{collections::BTreeMap, fs, path::Path};

use calico_upgrader::{
    inventory::{Answering, Flavour, Place, Sight},
    resource::{Kind, ObjectRef},
    runbook::{self, Answer, Gate, Here},
    version::Version,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Pair {
    applies: Case,
    does_not: Case,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    from: Version,
    to: Version,
    kubernetes: Version,
    flavour: Flavour,
    typha: bool,
    objects: BTreeMap<Kind, Vec<Value>>,
    picked: usize,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            from: Version::new(3, 31, 7),
            to: Version::new(3, 32, 1),
            kubernetes: Version::new(1, 34, 1),
            flavour: Flavour::Networking,
            typha: false,
            objects: BTreeMap::new(),
            picked: 0,
        }
    }
}

impl Case {
    fn sights(&self) -> Vec<Sight> {
        let asks = runbook::gates().asks(self.from, self.to);
        asks.into_iter()
            .map(|ask| {
                let (place, mut answering) = (ask.place(), Answering::of(ask));
                self.at(&place).for_each(|body| answering.see(body));
                answering.end()
            })
            .collect()
    }

    fn at<'c>(&'c self, place: &'c Place) -> impl Iterator<Item = &'c Value> {
        let kind = match place {
            Place::All(kind) => *kind,
            Place::One(object) => object.kind,
        };
        let is_there = move |body: &&Value| match place {
            Place::All(_) => true,
            Place::One(object) => {
                let text = |key: &str| body["metadata"][key].as_str().map(str::to_owned);
                *object == ObjectRef { kind, namespace: text("namespace"), name: text("name").unwrap_or_default() }
            }
        };
        self.objects.get(&kind).into_iter().flatten().filter(is_there)
    }

    /// The answer of a gate, where its release is crossed at all.
    fn answer(&self, gate: &Gate) -> Option<Answer> {
        let here = Here {
            to: self.to,
            kubernetes: self.kubernetes,
            flavour: self.flavour,
            has_typha: self.typha,
            sights: &self.sights(),
        };
        runbook::gates().crossed(self.from, self.to).any(|one| one.id == gate.id).then(|| gate.answer(here))
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn each_gate_applies_to_the_one_cluster_of_its_pair_and_not_to_the_other() {
    let mut pairs: BTreeMap<String, Pair> =
        serde_saphyr::from_str(&read("tests/fixtures/gates.yaml")).expect("pairs can be read");
    for gate in &runbook::gates().gates {
        let pair =
            pairs.remove(&gate.id).unwrap_or_else(|| panic!("{} has no pair in tests/fixtures/gates.yaml", gate.id));
        let Some(Answer::Applies(hits)) = pair.applies.answer(gate) else {
            panic!("{} does not apply: {:?}", gate.id, pair.applies.answer(gate));
        };
        assert_eq!(hits.count, pair.applies.picked, "{}: {hits:?}", gate.id);
        let other = pair.does_not.answer(gate);
        assert!(other.is_none() || other == Some(Answer::Not), "{}: {other:?}", gate.id);
    }
    assert_eq!(pairs.keys().collect::<Vec<_>>(), Vec::<&String>::new(), "these are pairs of no gate");
}

#[test]
fn the_commands_that_mend_name_the_object_and_what_it_lacks() {
    let pairs: BTreeMap<String, Pair> =
        serde_saphyr::from_str(&read("tests/fixtures/gates.yaml")).expect("pairs can be read");
    let gates = runbook::gates();
    let gate = gates.find("ippool-v1-fields").expect("it is a gate");
    let Some(Answer::Applies(hits)) = pairs[&gate.id].applies.answer(gate) else { panic!("it does not apply") };
    let patch = |name: &str, spec: &str| {
        format!("kubectl patch ippools.crd.projectcalico.org {name} --type=merge -p '{{\"spec\":{{{spec}}}}}'")
    };
    for (name, spec) in [
        ("a", "\"ipipMode\":\"CrossSubnet\""),
        ("a", "\"natOutgoing\":true"),
        ("b", "\"ipipMode\":\"Always\""),
        ("c", "\"ipipMode\":\"Never\""),
        ("d", "\"natOutgoing\":true"),
    ] {
        assert!(hits.commands.contains(&patch(name, spec)), "{name} {spec}: {:?}", hits.commands);
    }
}

#[test]
fn the_book_has_the_table_of_all_gates() {
    let row = |gate: &Gate| {
        let releases: Vec<String> = gate.crosses.iter().map(ToString::to_string).collect();
        let severity = if gate.ignorable {
            gate.severity.name().to_owned()
        } else {
            format!("{}, never ignored", gate.severity.name())
        };
        format!("| {} | `{}` | {severity} | {} |\n", releases.join(", "), gate.id, gate.title)
    };
    let rows: String = runbook::gates().gates.iter().map(row).collect();
    let table = format!("| crossed | gate | | applies when |\n|---|---|---|---|\n{rows}");
    assert!(read("docs/gates.md").contains(&table), "docs/gates.md is to hold this table:\n\n{table}");
}
