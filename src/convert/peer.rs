//! Converts a BGP peer of all nodes: `GlobalBgpPeer` becomes `BGPPeer`.

use serde_json::{Value, json};

use super::draft::{Draft, Refusal};
use super::go_json::{Expected, ShapeError, SpecFields};
use super::go_net::decimal;
use super::names::{address_of_name, name_of_address};
use super::old_object::OldObject;
use super::outcome::{NewKind, Outcome};

/// Converts one peer; its address stands in its name and nowhere else.
pub(super) fn convert(old: &OldObject) -> Result<Draft, Refusal> {
    let fields = old.fields();
    let as_number = as_number(&fields)?;
    let address = address_of_name(old.name).ok_or_else(|| {
        let reason = format!(
            "Calico skips it silently: its name `{}` is not an address with dashes such as `10-0-0-1`",
            old.name
        );
        Refusal::new(Outcome::Dropped, reason)
    })?;
    let spec = json!({"asNumber": as_number.unwrap_or(0), "peerIP": address.to_string(), "scope": "global"});
    let mut draft = Draft::new(NewKind::BgpPeer, name_of_address(address), spec);
    draft.notes.extend(as_number.is_none().then(|| "`asNumber` is absent and becomes 0".to_owned()));
    draft.notes.extend(fields.unknown_note(&["asNumber"]));
    draft.notes.extend(old.lost_texts_notes());
    Ok(draft)
}

fn as_number(fields: &SpecFields) -> Result<Option<u32>, ShapeError> {
    let wrong = |value| ShapeError::wrong_type("spec.asNumber", Expected::AsNumber, value);
    let numbers = fields.values("asNumber").map(|value| read_as_number(value).ok_or_else(|| wrong(value)));
    Ok(numbers.collect::<Result<Vec<_>, _>>()?.pop())
}

fn read_as_number(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64()?.try_into().ok(),
        Value::String(text) => decimal(text, u32::MAX).or_else(|| dotted(text)),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn dotted(text: &str) -> Option<u32> {
    let (high, low) = text.split_once('.')?;
    Some((decimal(high, 0xffff)? << 16) + decimal(low, 0xffff)?)
}

#[cfg(test)]
mod tests {
    use super::super::test_objects::{convert_one, peer};
    use super::*;

    #[test]
    fn an_as_number_is_a_number_a_text_or_dotted() {
        for (written, number) in [
            (json!(0), 0_u32),
            (json!(4_294_967_295_u32), u32::MAX),
            (json!("4294967295"), u32::MAX),
            (json!("0064512"), 64512),
            (json!("1.10"), 65546),
            (json!("0.64512"), 64512),
            (json!("65535.65535"), u32::MAX),
        ] {
            assert_eq!(read_as_number(&written), Some(number), "{written}");
        }
    }

    #[test]
    fn an_as_number_out_of_range_or_of_another_form_is_wrong() {
        for written in [
            json!(4_294_967_296_u64),
            json!(-1),
            json!(64512.0),
            json!(1.5),
            json!("4294967296"),
            json!("65536.1"),
            json!("1.65536"),
            json!("1.2.3"),
            json!("1."),
            json!(".1"),
            json!(""),
            json!("+1"),
            json!("-1"),
            json!(" 1"),
            json!("0x10"),
            json!(true),
            json!([1]),
            json!({}),
        ] {
            assert_eq!(read_as_number(&written), None, "{written}");
        }
    }

    #[test]
    fn a_wrong_as_number_makes_the_peer_invalid_even_under_a_bad_name() {
        let (verdict, objects) = convert_one(&peer("rack-router", json!({"asNumber": "many"})));
        assert_eq!((verdict.outcome, objects.len()), (Outcome::Invalid, 0));
        assert!(verdict.reason.contains("many"), "{}", verdict.reason);
    }

    #[test]
    fn a_mapped_peer_address_becomes_ipv4() {
        let (_, objects) = convert_one(&peer("--ffff-a00-1", json!({"asNumber": null, "ASNumber": 7})));
        assert_eq!(objects[0].name, "10-0-0-1");
        assert_eq!(objects[0].spec, json!({"asNumber": 7, "peerIP": "10.0.0.1", "scope": "global"}));
    }
}
