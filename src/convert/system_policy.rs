//! Converts a system network policy, on request only: `SystemNetworkPolicy` becomes `GlobalNetworkPolicy`.

use serde_json::{Value, json};

use super::draft::{Draft, Refusal};
use super::go_json::Expected;
use super::names::name_fault;
use super::old_object::OldObject;
use super::outcome::{NewKind, Outcome, SystemPolicyChoice};

/// What calicoctl put before the object's name to name the policy.
const PREFIX: &str = "snp.projectcalico.org/";

/// Converts one system policy, or says that a person must choose first.
pub(super) fn convert(old: &OldObject, choice: Option<SystemPolicyChoice>) -> Result<Draft, Refusal> {
    match choice {
        Some(SystemPolicyChoice::Convert) => as_global_policy(old),
        Some(SystemPolicyChoice::Drop) => Err(Refusal::new(Outcome::Ignored, "dropped on request")),
        None => Err(undecided(old)),
    }
}

fn undecided(old: &OldObject) -> Refusal {
    let advice = match as_global_policy(old) {
        Ok(draft) => format!("convert it to `{}` or drop it", draft.target()),
        Err(refusal) => format!("it can only be dropped, or corrected first ({})", refusal.reason),
    };
    Refusal::new(
        Outcome::Undecided,
        format!("Calico v2.5 no longer reads system policies, so it would cease silently: {advice}"),
    )
}

fn as_global_policy(old: &OldObject) -> Result<Draft, Refusal> {
    check_shape(old)?;
    let name = old.name.strip_prefix(PREFIX).unwrap_or(old.name).to_owned();
    if let Some(fault) = name_fault(&name) {
        return Err(Refusal::new(Outcome::Rejected, fault));
    }
    let mut draft = Draft::new(NewKind::GlobalNetworkPolicy, name, old.spec());
    draft.notes.push(format!("calicoctl showed it as `{PREFIX}{}` before", draft.name));
    draft.notes.extend(keep_both_directions(old, &mut draft.spec));
    draft.notes.extend(old.lost_texts_notes());
    Ok(draft)
}

// One level deep only: rules are passed on unread, and the new Calico reads them with the same types.
fn check_shape(old: &OldObject) -> Result<(), Refusal> {
    let fields = old.fields();
    for (name, expected) in [
        ("order", Expected::Number),
        ("selector", Expected::Text),
        ("ingress", Expected::Objects),
        ("egress", Expected::Objects),
        ("doNotTrack", Expected::Flag),
        ("preDNAT", Expected::Flag),
    ] {
        fields.checked(name, expected)?;
    }
    Ok(())
}

// Calico v2.6 gives a policy without `types` the directions that it has rules for, or ingress if it has none
// (libcalico-go v1.7.3 lib/converter/policy.go). Before, a policy always isolated both, so both are written down; else a
// conversion would open what was closed. A policy before DNAT has no egress in either release.
fn keep_both_directions(old: &OldObject, spec: &mut Value) -> Option<String> {
    let fields = old.fields();
    let is_before_dnat = fields.values("preDNAT").last().is_some_and(|flag| *flag == true);
    if is_before_dnat || fields.values("types").next().is_some() {
        return None;
    }
    spec.as_object_mut()?.insert("types".to_owned(), json!(["ingress", "egress"]));
    Some("`types` names both directions, which the policy isolated before and Calico v2.6 would open".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::convert_third_party_resources;
    use super::super::test_objects::system_policy;
    use super::*;

    fn convert_with(choice: Option<SystemPolicyChoice>, old: Value) -> super::super::Conversion {
        convert_third_party_resources([old], choice)
    }

    #[test]
    fn a_system_policy_becomes_a_global_policy_with_the_same_spec_only_on_request() {
        let spec = json!({"order": 100, "selector": "role == 'x'", "ingress": [{"action": "deny"}]});
        let old = system_policy("deny-x", spec.clone());
        let undecided = convert_with(None, old.clone());
        assert_eq!((undecided.verdicts[0].outcome, undecided.objects.len()), (Outcome::Undecided, 0));
        let dropped = convert_with(Some(SystemPolicyChoice::Drop), old.clone());
        assert_eq!(
            (dropped.verdicts[0].outcome, dropped.verdicts[0].reason.as_str()),
            (Outcome::Ignored, "dropped on request")
        );
        let converted = convert_with(Some(SystemPolicyChoice::Convert), old);
        assert_eq!(converted.verdicts[0].outcome, Outcome::Converted);
        assert_eq!(converted.objects[0].name, "deny-x");
        assert_eq!(converted.objects[0].body()["kind"], "GlobalNetworkPolicy");
        let both = json!({"order": 100, "selector": "role == 'x'", "ingress": [{"action": "deny"}], "types": ["ingress", "egress"]});
        assert_eq!(converted.objects[0].spec, both);
    }

    #[test]
    fn the_prefix_of_the_shown_name_is_not_part_of_the_new_one() {
        let converted =
            convert_with(Some(SystemPolicyChoice::Convert), system_policy("snp.projectcalico.org/a", json!({})));
        assert_eq!(converted.objects[0].name, "a");
    }

    #[test]
    fn a_policy_that_cannot_be_converted_says_so_before_the_choice() {
        for (old, part) in [
            (system_policy("Deny", json!({})), "`Deny`"),
            (system_policy("deny", json!({"ingress": "all"})), "`spec.ingress`"),
        ] {
            let verdict = &convert_with(None, old.clone()).verdicts[0];
            assert!(verdict.outcome == Outcome::Undecided && verdict.reason.contains(part), "{}", verdict.reason);
            assert!(convert_with(Some(SystemPolicyChoice::Convert), old).verdicts[0].outcome.blocks());
        }
    }

    #[test]
    fn what_was_closed_in_both_directions_stays_closed() {
        let types = |spec| {
            let converted = convert_with(Some(SystemPolicyChoice::Convert), system_policy("a", spec));
            converted.objects[0].spec["types"].clone()
        };
        assert_eq!(types(json!({"ingress": [{}]})), json!(["ingress", "egress"]));
        assert_eq!(types(json!({})), json!(["ingress", "egress"]));
        assert_eq!(types(json!({"ingress": [{}], "types": ["ingress"]})), json!(["ingress"]));
        assert_eq!(types(json!({"ingress": [{}], "preDNAT": true})), Value::Null);
    }
}
