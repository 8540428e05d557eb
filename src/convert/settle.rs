//! Compares what the old objects become: several may claim one new object, and IPIP pools add a setting.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::draft::{Draft, Refusal};
use super::outcome::{Conversion, NewKind, NewObject, Outcome, SourceObject, TargetObject, Verdict};

/// The setting that Calico writes by itself when a pool with IPIP is applied.
const IPIP_SETTING: &str = "IpInIpEnabled";

/// One old object with its own result.
pub(super) struct Judged {
    pub source: SourceObject,
    pub result: Result<Draft, Refusal>,
}

/// The old objects that become one new object, the one that Calico would keep last.
type Claims<'a> = BTreeMap<TargetObject, Vec<(&'a SourceObject, &'a Draft)>>;

/// Makes the verdicts and the objects; `judged` is sorted, so that of several claims the last wins.
pub(super) fn settle(judged: Vec<Judged>) -> Conversion {
    let claims = claims(&judged);
    let verdicts = judged.iter().map(|one| verdict(one, &claims)).collect();
    let ipip_setting = missing_ipip_setting(&claims);
    let drafts = judged.into_iter().filter_map(|one| one.result.ok()).chain(ipip_setting);
    let objects: BTreeMap<TargetObject, NewObject> =
        drafts.map(|draft| (draft.target(), draft.into_object())).collect();
    Conversion { verdicts, objects: objects.into_values().collect() }
}

fn claims(judged: &[Judged]) -> Claims<'_> {
    let mut claims = Claims::new();
    for one in judged {
        if let Ok(draft) = &one.result {
            claims.entry(draft.target()).or_default().push((&one.source, draft));
        }
    }
    claims
}

fn verdict(judged: &Judged, claims: &Claims) -> Verdict {
    let source = judged.source.clone();
    match &judged.result {
        Err(refusal) => Verdict {
            source,
            outcome: refusal.outcome,
            reason: refusal.reason.clone(),
            target: None,
            notes: Vec::new(),
        },
        Ok(draft) => {
            let (outcome, reason) = outcome_of(draft, claims);
            let notes = draft.notes.iter().cloned().chain(shared_notes(&source, draft, claims)).collect();
            Verdict { source, outcome, reason, target: Some(draft.target()), notes }
        }
    }
}

fn outcome_of(draft: &Draft, claims: &Claims) -> (Outcome, String) {
    let target = draft.target();
    let claim = &claims[&target];
    if claim.iter().all(|(_, other)| other.spec == draft.spec) {
        return (Outcome::Converted, format!("becomes `{target}`"));
    }
    let named: Vec<_> = claim.iter().map(|(source, draft)| format!("`{source}` with {}", draft.spec)).collect();
    let reason = format!(
        "{} objects become `{target}` with different content, and Calico would keep the last by name: {}",
        named.len(),
        named.join(", ")
    );
    (Outcome::Conflict, reason)
}

fn shared_notes(source: &SourceObject, draft: &Draft, claims: &Claims) -> impl Iterator<Item = String> {
    let target = draft.target();
    let claim = &claims[&target];
    let renamed = (source.name != draft.name).then(|| format!("renamed from `{}` to `{}`", source.name, draft.name));
    let shared = (claim.len() > 1).then(|| {
        let named: Vec<_> = claim.iter().map(|(source, _)| format!("`{source}`")).collect();
        format!("one object is written for {}", named.join(", "))
    });
    [renamed, shared, draft.enables_ipip.then(|| ipip_note(claims))].into_iter().flatten()
}

fn ipip_note(claims: &Claims) -> String {
    match claims.get(&ipip_target()).and_then(|claim| claim.last()) {
        Some((source, draft)) => {
            format!("IPIP for the cluster stays as `{source}` says: {}", draft.spec["value"])
        }
        None => format!("also writes `{}`, which turns IPIP on for the cluster", ipip_target()),
    }
}

// Calico writes the setting while it applies the pools, then the old settings are copied over it.
fn missing_ipip_setting(claims: &Claims) -> Option<Draft> {
    let is_needed =
        claims.values().flatten().any(|(_, draft)| draft.enables_ipip) && !claims.contains_key(&ipip_target());
    is_needed.then(|| {
        let TargetObject { kind, name } = ipip_target();
        Draft::new(kind, name, json!({"name": IPIP_SETTING, "value": Value::from("true")}))
    })
}

fn ipip_target() -> TargetObject {
    TargetObject { kind: NewKind::GlobalFelixConfig, name: IPIP_SETTING.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::super::convert_third_party_resources;
    use super::super::test_objects::{config, peer, pool};
    use super::*;

    fn outcomes(objects: &[Value]) -> Vec<Outcome> {
        convert_third_party_resources(objects, None).verdicts.iter().map(|verdict| verdict.outcome).collect()
    }

    #[test]
    fn two_objects_with_one_content_are_no_conflict() {
        let both = [peer("fd00--1", json!({"asNumber": 7})), peer("fd00-0--1", json!({"asNumber": "7"}))];
        assert_eq!(outcomes(&both), [Outcome::Converted, Outcome::Converted]);
        assert_eq!(convert_third_party_resources(&both, None).objects.len(), 1);
    }

    #[test]
    fn all_objects_in_a_conflict_are_named_and_the_last_by_name_is_given() {
        let same = |name: &str, value: &str| config(name, json!({"name": "LogLevel", "value": value}));
        let conversion = convert_third_party_resources(&[same("c", "x"), same("a", "x"), same("b", "y")], None);
        for verdict in &conversion.verdicts {
            assert_eq!(verdict.outcome, Outcome::Conflict);
            for name in ["a", "b", "c"] {
                assert!(verdict.reason.contains(&format!("`GlobalConfig/kube-system/{name}`")), "{}", verdict.reason);
            }
        }
        assert_eq!(conversion.objects[0].spec["value"], "x");
    }

    #[test]
    fn names_that_differ_in_case_alone_are_a_conflict() {
        let both = [config("a", json!({"name": "LogLevel"})), config("b", json!({"name": "loglevel"}))];
        assert_eq!(outcomes(&both), [Outcome::Conflict, Outcome::Conflict]);
    }

    #[test]
    fn an_ipip_pool_that_loses_its_place_still_turns_ipip_on() {
        let first = pool("10-0-0-0-16", r#"{"cidr":"10.0.0.0/16","ipip":"tunl0"}"#);
        let last = pool("10-1-0-0-16", r#"{"cidr":"10.0.0.0/16"}"#);
        let conversion = convert_third_party_resources(&[first, last], None);
        let names: Vec<_> = conversion.objects.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["10-0-0-0-16", "ipinipenabled"]);
    }

    #[test]
    fn an_ipip_pool_that_is_refused_turns_nothing_on() {
        let refused = pool("10-0-0-0-16", r#"{"cidr":"10.0.0.0/30","ipip":"tunl0"}"#);
        assert!(convert_third_party_resources(&[refused], None).objects.is_empty());
    }

    #[test]
    fn an_old_setting_under_any_spelling_keeps_its_word_about_ipip() {
        let objects = [
            pool("10-0-0-0-16", r#"{"cidr":"10.0.0.0/16","ipip":"tunl0"}"#),
            config("old-name", json!({"name": "ipinipenabled", "value": "false"})),
        ];
        let conversion = convert_third_party_resources(&objects, None);
        assert_eq!(conversion.objects.len(), 2);
        assert_eq!(conversion.objects[1].spec, json!({"name": "ipinipenabled", "value": "false"}));
        let notes = &conversion.verdicts[1].notes;
        assert!(notes.iter().any(|note| note.contains("stays as `GlobalConfig/kube-system/old-name`")), "{notes:?}");
    }
}
