//! Converts settings: `GlobalConfig` becomes `GlobalFelixConfig`, `GlobalBgpConfig` becomes `GlobalBGPConfig`.

use serde_json::json;

use super::draft::{Draft, Refusal};
use super::names::name_fault;
use super::old_object::OldObject;
use super::outcome::{NewKind, Outcome};

/// kubectl's copy of an old manifest, which would contradict the new object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Converts one setting; the name inside decides, not the old object's name.
pub(super) fn convert(old: &OldObject, kind: NewKind) -> Result<Draft, Refusal> {
    let fields = old.fields();
    let (name, value) = (fields.text("name")?, fields.text("value")?);
    let new_name = name.to_ascii_lowercase();
    if let Some(fault) = name_fault(&new_name) {
        return Err(Refusal::new(Outcome::Rejected, format!("`spec.name` is `{name}`, but {fault}")));
    }
    let mut draft = Draft::new(kind, new_name, json!({"name": name, "value": value}));
    draft.labels.clone_from(&old.labels);
    draft.annotations.clone_from(&old.annotations);
    let last_applied = draft.annotations.remove(LAST_APPLIED);
    draft.notes.extend(last_applied.map(|_| format!("the annotation `{LAST_APPLIED}` is left out")));
    draft.notes.extend(fields.unknown_note(&["name", "value"]));
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::super::test_objects::{config, convert_one};
    use super::*;

    fn outcome_of(name: &str) -> Outcome {
        convert_one(&config("some", json!({"name": name, "value": "x"}))).0.outcome
    }

    #[test]
    fn a_setting_whose_lower_case_name_kubernetes_refuses_is_rejected() {
        for name in ["", "Log_Level", "Größe", "-a", "a-", &"a".repeat(254)] {
            assert_eq!(outcome_of(name), Outcome::Rejected, "{name}");
        }
        for name in ["LogLevel", "Log.Level", &"A".repeat(253)] {
            assert_eq!(outcome_of(name), Outcome::Converted, "{name}");
        }
    }

    #[test]
    fn an_absent_value_is_empty_and_an_absent_name_is_rejected() {
        let (verdict, objects) = convert_one(&config("x", json!({"name": "X"})));
        assert_eq!((verdict.outcome, &objects[0].spec), (Outcome::Converted, &json!({"name": "X", "value": ""})));
        assert_eq!(convert_one(&config("x", json!({"value": "y"}))).0.outcome, Outcome::Rejected);
        assert_eq!(convert_one(&config("x", json!(null))).0.outcome, Outcome::Rejected);
        assert_eq!(convert_one(&config("x", json!("X=y"))).0.outcome, Outcome::Invalid);
    }

    #[test]
    fn labels_and_annotations_stay_but_what_binds_the_old_object_goes() {
        let mut old = config("x", json!({"name": "X", "value": "y", "extra": 1}));
        old["metadata"]["labels"] = json!({"team": "net"});
        old["metadata"]["annotations"] = json!({"owner": "sre", LAST_APPLIED: "{}"});
        old["metadata"]["finalizers"] = json!(["example.com/hold"]);
        old["metadata"]["ownerReferences"] = json!([{"name": "owner"}]);
        let (verdict, objects) = convert_one(&old);
        let metadata = json!({"name": "x", "labels": {"team": "net"}, "annotations": {"owner": "sre"}});
        assert_eq!(objects[0].body()["metadata"], metadata);
        for part in [LAST_APPLIED, "example.com/hold", "owners", "`extra`"] {
            assert!(verdict.notes.iter().any(|note| note.contains(part)), "{part} in {:?}", verdict.notes);
        }
    }
}
