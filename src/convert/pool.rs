//! Converts an address pool: `IpPool` becomes `IPPool`.

use serde_json::{Map, Value};

use super::draft::{Draft, Refusal};
use super::go_net::Network;
use super::names::{is_network_name, name_fault, name_of_network};
use super::old_object::OldObject;
use super::outcome::{NewKind, Outcome};
use super::pool_value::PoolValue;

/// Converts one pool; the CIDR inside decides, not the old name.
pub(super) fn convert(old: &OldObject) -> Result<Draft, Refusal> {
    let fields = old.fields();
    let text = fields.text("value")?;
    if !is_network_name(old.name) {
        let reason =
            format!("Calico skips it silently: its name `{}` is not a CIDR name such as `10-0-0-0-16`", old.name);
        return Err(Refusal::new(Outcome::Dropped, reason));
    }
    let value = PoolValue::parse(text).map_err(|error| {
        let reason = format!("Calico skips it silently: its `spec.value` is not readable as a pool ({error})");
        Refusal::new(Outcome::Dropped, reason)
    })?;
    let network = accepted_network(&value)?;
    let mut draft = Draft::new(NewKind::IpPool, name_of_network(network), spec_of(&value, network));
    draft.enables_ipip = is_ipip_on(&value);
    draft.notes.extend(value_notes(&value, network));
    draft.notes.extend(fields.unknown_note(&["value"]));
    draft.notes.extend(old.lost_texts_notes());
    Ok(draft)
}

/// Gives the pool's network if Calico v2.5 takes the pool, or names everything that it refuses.
fn accepted_network(value: &PoolValue) -> Result<Network, Refusal> {
    let rejected = |reason: String| Refusal::new(Outcome::Rejected, reason);
    let Some(network) = value.network else {
        return Err(rejected("the pool has no `cidr`".to_owned()));
    };
    let faults: Vec<String> = [
        ipip_fault(value, network),
        size_fault(value, network),
        host_bits_fault(network),
        link_local_fault(network),
        mode_fault(&value.ipip_mode),
        name_fault(&name_of_network(network)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if faults.is_empty() { Ok(network) } else { Err(rejected(faults.join("; "))) }
}

fn is_ipip_on(value: &PoolValue) -> bool {
    !value.ipip_interface.is_empty()
}

fn ipip_fault(value: &PoolValue, network: Network) -> Option<String> {
    (network.is_v6() && is_ipip_on(value)).then(|| format!("`{network}` is IPv6, and IPIP works on IPv4 pools only"))
}

fn size_fault(value: &PoolValue, network: Network) -> Option<String> {
    let longest = if network.is_v6() { 122 } else { 26 };
    (!value.disabled && network.prefix() > longest)
        .then(|| format!("`{network}` is too small: an enabled pool needs at least a /{longest}"))
}

fn host_bits_fault(network: Network) -> Option<String> {
    let masked = network.masked();
    (masked != network).then(|| format!("`{network}` has bits set after its prefix: the network is `{masked}`"))
}

fn link_local_fault(network: Network) -> Option<String> {
    network.link_local_overlap().map(|range| format!("`{network}` overlaps the link-local range `{range}`"))
}

fn mode_fault(mode: &str) -> Option<String> {
    let is_known = matches!(mode, "" | "always" | "cross-subnet");
    (!is_known).then(|| format!("`ipip_mode` is `{mode}`, and only `always` and `cross-subnet` are known"))
}

fn spec_of(value: &PoolValue, network: Network) -> Value {
    let mut spec = Map::from_iter([("cidr".to_owned(), Value::from(network.to_string()))]);
    let mut ipip = Map::new();
    if is_ipip_on(value) {
        ipip.insert("enabled".to_owned(), true.into());
    }
    if !value.ipip_mode.is_empty() {
        ipip.insert("mode".to_owned(), value.ipip_mode.as_str().into());
    }
    if !ipip.is_empty() {
        spec.insert("ipip".to_owned(), ipip.into());
    }
    for (field, is_on) in [("nat-outgoing", value.masquerade), ("disabled", value.disabled)] {
        if is_on {
            spec.insert(field.to_owned(), true.into());
        }
    }
    spec.into()
}

fn value_notes(value: &PoolValue, network: Network) -> impl Iterator<Item = String> {
    let printed = network.to_string();
    let (interface, written) = (&value.ipip_interface, &value.written_cidr);
    [
        (*written != printed).then(|| format!("`cidr` was written `{written}` and means `{printed}`")),
        (is_ipip_on(value) && interface != "tunl0")
            .then(|| format!("the tunnel interface `{interface}` becomes `tunl0`")),
        (is_ipip_on(value) && value.ipip_mode.is_empty())
            .then(|| "`mode` stays absent, which means `always`".to_owned()),
        (value.ipam == Some(false) && !value.disabled)
            .then(|| "`ipam` false is not carried over: `disabled` alone decides, and the pool is enabled".to_owned()),
        super::go_json::unknown_keys_note("spec.value", value.unknown_keys.iter().map(String::as_str)),
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::super::test_objects::{convert_one, pool};
    use super::*;

    fn outcome_of(value: &str) -> (Outcome, String) {
        let verdict = convert_one(&pool("10-0-0-0-16", value)).0;
        (verdict.outcome, verdict.reason)
    }

    #[test]
    fn every_reason_for_a_refusal_is_given_at_once() {
        let (outcome, reason) = outcome_of(r#"{"cidr":"169.254.1.1/30","ipip_mode":"Always"}"#);
        assert_eq!(outcome, Outcome::Rejected);
        for part in ["at least a /26", "bits set after its prefix", "link-local range `169.254.0.0/16`", "`Always`"] {
            assert!(reason.contains(part), "{part} in {reason}");
        }
    }

    #[test]
    fn the_size_limit_is_26_and_122_and_only_for_enabled_pools() {
        assert_eq!(outcome_of(r#"{"cidr":"10.0.0.0/26"}"#).0, Outcome::Converted);
        assert_eq!(outcome_of(r#"{"cidr":"10.0.0.0/27"}"#).0, Outcome::Rejected);
        assert_eq!(outcome_of(r#"{"cidr":"10.0.0.1","disabled":true}"#).0, Outcome::Converted);
        assert_eq!(outcome_of(r#"{"cidr":"fd00::/122"}"#).0, Outcome::Converted);
        assert_eq!(outcome_of(r#"{"cidr":"fd00::/123"}"#).0, Outcome::Rejected);
    }

    #[test]
    fn the_whole_address_space_overlaps_link_local() {
        assert_eq!(outcome_of(r#"{"cidr":"0.0.0.0/0"}"#).0, Outcome::Rejected);
        assert_eq!(outcome_of(r#"{"cidr":"::/0"}"#).0, Outcome::Rejected);
    }

    #[test]
    fn an_ipv6_pool_may_carry_a_mode_but_no_interface() {
        assert_eq!(outcome_of(r#"{"cidr":"fd00::/64","ipip_mode":"always"}"#).0, Outcome::Converted);
        assert_eq!(outcome_of(r#"{"cidr":"fd00::/64","ipip":"tunl0"}"#).0, Outcome::Rejected);
    }

    #[test]
    fn a_pool_whose_new_name_would_start_with_a_dash_is_rejected() {
        let (outcome, reason) = outcome_of(r#"{"cidr":"::1:0:0/96"}"#);
        assert_eq!(outcome, Outcome::Rejected);
        assert!(reason.contains("`--1-0-0-96`"), "{reason}");
    }

    #[test]
    fn a_mapped_address_becomes_an_ipv4_pool() {
        let (verdict, objects) = convert_one(&pool("10-0-0-0-16", r#"{"cidr":"::ffff:10.7.0.0/112"}"#));
        assert_eq!(verdict.target.unwrap().name, "10-7-0-0-16");
        assert_eq!(objects[0].spec, serde_json::json!({"cidr": "10.7.0.0/16"}));
    }

    #[test]
    fn an_address_that_programs_read_differently_is_not_guessed_at() {
        let (verdict, objects) = convert_one(&pool("10-0-0-0-16", r#"{"cidr":"010.010.0.0/16"}"#));
        assert!(
            objects.is_empty() && verdict.outcome.blocks() && verdict.reason.contains("010.010.0.0/16"),
            "{}",
            verdict.reason
        );
    }

    #[test]
    fn settings_that_are_lost_are_noted() {
        let (verdict, _) =
            convert_one(&pool("10-0-0-0-16", r#"{"cidr":"10.0.0.0/16","ipip":"tunl7","ipam":false,"vxlan":1}"#));
        for part in ["`tunl7`", "`mode` stays absent", "`ipam` false", "`vxlan`"] {
            assert!(verdict.notes.iter().any(|note| note.contains(part)), "{part} in {:?}", verdict.notes);
        }
    }
}
