//! Changes the shape of data, and nothing else: old Calico objects to new ones, and namespace isolation to policies.
//!
//! Pure: values in, values out, each with the reason. Every old object gets exactly one verdict, so that nothing
//! can be lost silently, and nothing should be written while one of them blocks.

mod config;
mod draft;
mod go_json;
mod go_net;
mod names;
mod old_object;
mod outcome;
mod peer;
mod policy;
mod pool;
mod pool_value;
mod settle;
mod system_policy;
#[cfg(test)]
mod test_objects;

use std::borrow::Borrow;

use serde_json::Value;

use draft::{Draft, Refusal};
use old_object::{OldKind, OldObject};
use settle::{Judged, settle};

pub use outcome::{Conversion, NewKind, NewObject, Outcome, SourceObject, SystemPolicyChoice, TargetObject, Verdict};
pub use policy::{
    ExistingPolicy, NamespacePhase, NamespacePolicies, PolicyConversion, conversion_for, is_default_deny,
};

/// Converts Calico's third-party resources, all kinds mixed, to the custom resources of Calico v2.5 and v2.6.
///
/// The result does not depend on the order of `objects`. An object in a [`Outcome::Conflict`] still has its place in
/// the output, held by the one that the old Calico would have kept.
pub fn convert_third_party_resources(
    objects: impl IntoIterator<Item = impl Borrow<Value>>,
    choice: Option<SystemPolicyChoice>,
) -> Conversion {
    // Each object is read once and let go: of 10,000 parsed at once the memory is missed elsewhere.
    let judge = |object: &Value| Judged { source: SourceObject::of(object), result: convert_object(object, choice) };
    let judged = objects.into_iter().map(|object| (object.borrow().to_string(), judge(object.borrow())));
    let mut judged: Vec<(String, Judged)> = judged.collect();
    // The text decides only between objects of one name, which no API server serves but a merged file may hold.
    judged.sort_by(|(text, one), (other_text, other)| (&one.source, text).cmp(&(&other.source, other_text)));
    settle(judged.into_iter().map(|(_, one)| one).collect())
}

fn convert_object(object: &Value, choice: Option<SystemPolicyChoice>) -> Result<Draft, Refusal> {
    let old = OldObject::read(object)?;
    let mut draft = match old.kind {
        OldKind::Pool => pool::convert(&old)?,
        OldKind::FelixConfig => config::convert(&old, NewKind::GlobalFelixConfig)?,
        OldKind::BgpConfig => config::convert(&old, NewKind::GlobalBgpConfig)?,
        OldKind::Peer => peer::convert(&old)?,
        OldKind::SystemPolicy => system_policy::convert(&old, choice)?,
    };
    draft.notes.extend(old.left_behind_notes());
    Ok(draft)
}

#[cfg(test)]
mod tests {
    use super::test_objects::{convert_one, pool};
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_that_calico_never_kept_is_invalid_and_named_as_far_as_possible() {
        for object in [
            json!(null),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "kube-system", "name": "x"}}),
            json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "IpPool", "metadata": {"name": "x"}}),
            json!({"apiVersion": "projectcalico.org/v1", "kind": "ippool", "metadata": {"name": "x"}}),
            json!({"apiVersion": "projectcalico.org/v1", "kind": "IpPool"}),
            json!({"apiVersion": "projectcalico.org/v1", "kind": "IpPool", "metadata": {"name": "x"}}),
            json!({"apiVersion": "projectcalico.org/v1", "kind": "IpPool", "metadata": {"namespace": "kube-system"}}),
        ] {
            assert_eq!(convert_one(&object).0.outcome, Outcome::Invalid, "{object}");
        }
    }

    #[test]
    fn labels_that_are_no_texts_make_an_object_invalid() {
        let mut object = pool("10-0-0-0-16", r#"{"cidr":"10.0.0.0/16"}"#);
        object["metadata"]["labels"] = json!({"a": 1});
        assert_eq!(convert_one(&object).0.outcome, Outcome::Invalid);
        object["metadata"]["labels"] = json!(null);
        assert_eq!(convert_one(&object).0.outcome, Outcome::Converted);
    }

    #[test]
    fn a_hundred_pools_give_a_hundred_pools_in_a_fixed_order() {
        let pools: Vec<Value> = (0..100)
            .map(|number| pool(&format!("10-{number}-0-0-16"), &format!(r#"{{"cidr":"10.{number}.0.0/16"}}"#)))
            .collect();
        let forward = convert_third_party_resources(&pools, None);
        let backward = convert_third_party_resources(pools.iter().rev(), None);
        assert_eq!(forward, backward);
        assert_eq!((forward.objects.len(), forward.blocking().count()), (100, 0));
    }
}
