//! Recorded conversions of Calico's third-party resources, replayed.
//!
//! The records come from the real old and new Calico code. They judge each object on its own: a good object next to
//! a bad one is in the output, although the original tool would have written neither.
//!
//! | recorded outcome     | ours                                                                         |
//! |----------------------|------------------------------------------------------------------------------|
//! | converted            | Converted                                                                    |
//! | converted + conflict | Conflict; the one that the old Calico kept is in the output                  |
//! | dropped              | Dropped                                                                      |
//! | rejected             | Rejected                                                                     |
//! | invalid              | Invalid                                                                      |
//! | ignored              | Ignored                                                                      |
//! | not-migrated         | Undecided without a choice; Ignored if dropped; Converted if to be converted |

use std::collections::{BTreeMap, BTreeSet};

use calico_upgrader::convert::{
    Conversion, NewKind, NewObject, Outcome, SourceObject, SystemPolicyChoice, TargetObject,
    convert_third_party_resources,
};
use serde_json::Value;

const CHOICES: [Option<SystemPolicyChoice>; 3] =
    [None, Some(SystemPolicyChoice::Convert), Some(SystemPolicyChoice::Drop)];

struct Vector {
    name: String,
    input: Vec<Value>,
    objects: Vec<Value>,
    outcomes: Vec<Value>,
}

fn vectors() -> Vec<Vector> {
    let recorded: Vec<Value> =
        serde_json::from_str(include_str!("vectors/tpr-to-crd.json")).expect("the records are JSON");
    let list = |vector: &Value, field: &str| vector[field].as_array().expect("a list").clone();
    recorded
        .iter()
        .map(|vector| Vector {
            name: vector["name"].as_str().expect("a text").to_owned(),
            input: list(vector, "input"),
            objects: list(vector, "objects"),
            outcomes: list(vector, "outcomes"),
        })
        .collect()
}

fn expected_outcome(recorded: &Value, choice: Option<SystemPolicyChoice>) -> Outcome {
    let is_conflict = recorded.get("conflict").is_some_and(|conflict| conflict == true);
    match (recorded["outcome"].as_str().expect("a text"), is_conflict) {
        ("converted", false) => Outcome::Converted,
        ("converted", true) => Outcome::Conflict,
        ("dropped", false) => Outcome::Dropped,
        ("rejected", false) => Outcome::Rejected,
        ("invalid", false) => Outcome::Invalid,
        ("ignored", false) => Outcome::Ignored,
        ("not-migrated", false) => match choice {
            None => Outcome::Undecided,
            Some(SystemPolicyChoice::Convert) => Outcome::Converted,
            Some(SystemPolicyChoice::Drop) => Outcome::Ignored,
        },
        other => panic!("the record holds an outcome that the table above does not name: {other:?}"),
    }
}

fn sorted<'a>(objects: impl Iterator<Item = &'a Value>) -> Vec<&'a Value> {
    let mut objects: Vec<&Value> = objects.collect();
    objects.sort_by_key(|object| (object["kind"].as_str(), object["metadata"]["name"].as_str()));
    objects
}

#[test]
fn every_recorded_conversion_gives_the_recorded_objects() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 60);
    for vector in vectors {
        let conversion = convert_third_party_resources(&vector.input, None);
        let given: Vec<Value> = conversion.objects.iter().map(NewObject::body).collect();
        assert_eq!(sorted(given.iter()), sorted(vector.objects.iter()), "{}", vector.name);
    }
}

#[test]
fn every_recorded_object_gets_the_recorded_outcome_and_target() {
    for vector in vectors() {
        for choice in CHOICES {
            let verdicts = convert_third_party_resources(&vector.input, choice).verdicts;
            assert_eq!(verdicts.len(), vector.outcomes.len(), "{}", vector.name);
            for recorded in &vector.outcomes {
                let source = recorded["source"].as_str().unwrap();
                let verdict = verdicts.iter().find(|verdict| verdict.source.to_string() == source).unwrap();
                let about = format!("{}: {source}: {}", vector.name, verdict.reason);
                assert_eq!(verdict.outcome, expected_outcome(recorded, choice), "{about}");
                if let Some(target) = recorded.get("target").and_then(Value::as_str) {
                    assert_eq!(
                        verdict.target.as_ref().map(TargetObject::to_string).as_deref(),
                        Some(target),
                        "{about}"
                    );
                }
                let renamed = recorded.get("renamed").is_some();
                assert_eq!(verdict.notes.iter().any(|note| note.starts_with("renamed ")), renamed, "{about}");
            }
        }
    }
}

#[test]
fn whatever_is_mixed_nothing_is_lost_silently() {
    let vectors = vectors();
    for first in &vectors {
        for second in &vectors {
            for choice in CHOICES {
                let input = [first.input.as_slice(), second.input.as_slice()].concat();
                assert_nothing_is_lost(&input, &convert_third_party_resources(&input, choice));
            }
        }
    }
    let all: Vec<Value> = vectors.into_iter().flat_map(|vector| vector.input).collect();
    assert_nothing_is_lost(&all, &convert_third_party_resources(&all, None));
}

#[test]
fn the_order_of_the_input_does_not_matter() {
    let mut all: Vec<Value> = vectors().into_iter().flat_map(|vector| vector.input).collect();
    let forward = convert_third_party_resources(&all, None);
    all.reverse();
    assert_eq!(convert_third_party_resources(&all, None), forward);
    all.sort_by_key(Value::to_string);
    assert_eq!(convert_third_party_resources(&all, None), forward);
}

fn assert_nothing_is_lost(input: &[Value], conversion: &Conversion) {
    assert_eq!(
        counted(input.iter().map(SourceObject::of)),
        counted(conversion.verdicts.iter().map(|verdict| verdict.source.clone())),
        "each object has exactly one verdict"
    );
    let written: BTreeSet<TargetObject> = conversion.objects.iter().map(identity).collect();
    assert_eq!(written.len(), conversion.objects.len(), "no object is written twice");
    let mut accounted: BTreeSet<TargetObject> = BTreeSet::new();
    for verdict in &conversion.verdicts {
        assert!(!verdict.reason.is_empty(), "{}", verdict.source);
        let has_object = match verdict.outcome {
            Outcome::Converted | Outcome::Conflict => true,
            Outcome::Dropped | Outcome::Rejected | Outcome::Invalid | Outcome::Ignored | Outcome::Undecided => false,
        };
        assert_eq!(verdict.target.is_some(), has_object, "{}: {}", verdict.source, verdict.reason);
        accounted.extend(verdict.target.clone());
    }
    let by_itself = TargetObject { kind: NewKind::GlobalFelixConfig, name: "ipinipenabled".to_owned() };
    accounted.extend(written.get(&by_itself).cloned());
    assert_eq!(
        written, accounted,
        "what is written is what the verdicts say, and the setting that an IPIP pool brings"
    );
}

fn identity(object: &NewObject) -> TargetObject {
    assert_eq!(object.body()["metadata"]["name"], object.name);
    assert_eq!(object.body()["kind"], object.kind.as_str());
    TargetObject { kind: object.kind, name: object.name.clone() }
}

fn counted(sources: impl Iterator<Item = SourceObject>) -> BTreeMap<SourceObject, usize> {
    let mut counts = BTreeMap::new();
    for source in sources {
        *counts.entry(source).or_default() += 1;
    }
    counts
}
