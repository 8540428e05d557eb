//! Fields of an object by their path, and what may be asked of their values.

use std::{fmt, str::FromStr};

use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// A path like `spec.ingress[].action` (each element of a list) or `metadata.annotations[corp.example/team]` (a name with dots).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Bracketed(String),
    Each,
}

/// What is asked of the values of a field: one of them must pass, but for `absent` and `not`, which ask of all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Test {
    Present,
    Absent,
    Equals(Plain),
    /// A regular expression finds something in the text.
    Matches(Pattern),
    Below(i64),
    Above(i64),
    /// A list has more elements, or a text more characters.
    LongerThan(usize),
    /// A CIDR of IPv4 or IPv6 whose address has bits behind its prefix.
    CidrWithHostBits,
    Not(Box<Test>),
}

/// A value that is no list and no map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Plain {
    Bool(bool),
    Number(i64),
    Text(String),
}

/// A regular expression that was read once.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Path {
    /// The values at the path; `null` counts as none.
    pub fn values<'v>(&self, body: &'v Value) -> Vec<&'v Value> {
        let mut all = vec![body];
        for step in &self.0 {
            all = match step {
                Step::Key(key) | Step::Bracketed(key) => all.into_iter().filter_map(|value| value.get(key)).collect(),
                Step::Each => all.into_iter().filter_map(Value::as_array).flatten().collect(),
            };
        }
        all.retain(|value| !value.is_null());
        all
    }
}

impl Test {
    pub fn passes(&self, values: &[&Value]) -> bool {
        match self {
            Test::Present => !values.is_empty(),
            Test::Absent => values.is_empty(),
            Test::Not(test) => !test.passes(values),
            other => values.iter().any(|value| other.holds(value)),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        match self {
            Test::Equals(Plain::Bool(wanted)) => value.as_bool() == Some(*wanted),
            Test::Equals(Plain::Number(wanted)) => value.as_i64() == Some(*wanted),
            Test::Equals(Plain::Text(wanted)) => value.as_str() == Some(wanted),
            Test::Matches(Pattern(pattern)) => value.as_str().is_some_and(|text| pattern.is_match(text)),
            Test::Below(limit) => value.as_i64().is_some_and(|number| number < *limit),
            Test::Above(limit) => value.as_i64().is_some_and(|number| number > *limit),
            Test::LongerThan(limit) => length(value).is_some_and(|length| length > *limit),
            Test::CidrWithHostBits => value.as_str().is_some_and(has_host_bits),
            Test::Present | Test::Absent | Test::Not(_) => self.passes(&[value]),
        }
    }
}

fn length(value: &Value) -> Option<usize> {
    match value {
        Value::Array(list) => Some(list.len()),
        Value::String(text) => Some(text.chars().count()),
        _ => None,
    }
}

fn has_host_bits(cidr: &str) -> bool {
    let Some((address, prefix)) = cidr.split_once('/') else { return false };
    let (Ok(address), Ok(prefix)) = (address.parse::<std::net::IpAddr>(), prefix.parse::<u32>()) else { return false };
    let (bits, width) = match address {
        std::net::IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        std::net::IpAddr::V6(address) => (u128::from(address), 128),
    };
    let behind = u32::saturating_sub(width, prefix);
    behind > 0 && bits & (u128::MAX >> (128 - behind)) != 0
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no path of a field: write it like spec.ingress[].action");
        let (mut steps, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('[') {
                let (name, after) = inside.split_once(']').ok_or_else(wrong)?;
                steps.push(if name.is_empty() { Step::Each } else { Step::Bracketed(name.to_owned()) });
                rest = after;
                continue;
            }
            let from = if steps.is_empty() { rest } else { rest.strip_prefix('.').ok_or_else(wrong)? };
            let end = from.find(['.', '[']).unwrap_or(from.len());
            steps.push(Step::Key(Some(&from[..end]).filter(|key| !key.is_empty()).ok_or_else(wrong)?.to_owned()));
            rest = &from[end..];
        }
        if steps.is_empty() { Err(wrong()) } else { Ok(Self(steps)) }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(index, step)| match step {
            Step::Key(key) if index == 0 => formatter.write_str(key),
            Step::Key(key) => write!(formatter, ".{key}"),
            Step::Bracketed(key) => write!(formatter, "[{key}]"),
            Step::Each => formatter.write_str("[]"),
        })
    }
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Regex::new(&String::deserialize(deserializer)?).map(Self).map_err(de::Error::custom)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_through_lists_and_names_with_dots() {
        let body =
            json!({"spec": {"rules": [{"ports": [1, 2]}, {"ports": null}, {}]}, "notes": {"corp.example/a": "x"}});
        let at = |path: &str| path.parse::<Path>().unwrap().values(&body).into_iter().cloned().collect::<Vec<_>>();
        assert_eq!(at("spec.rules[].ports[]"), [json!(1), json!(2)]);
        assert_eq!(at("notes[corp.example/a]"), [json!("x")]);
        assert_eq!(at("spec.rules[].ports"), [json!([1, 2])]);
        assert!(at("spec.none").is_empty());
        assert_eq!("spec.rules[].ports[]".parse::<Path>().unwrap().to_string(), "spec.rules[].ports[]");
        for wrong in ["", ".a", "a..b", "a[b", "a[]b"] {
            assert!(wrong.parse::<Path>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_test_passes_and_fails() {
        let passes = |test: Value, value: Value| serde_json::from_value::<Test>(test).unwrap().passes(&[&value]);
        for (test, good, bad) in [
            (json!({"equals": true}), json!(true), json!(false)),
            (json!({"equals": 3}), json!(3), json!("3")),
            (json!({"equals": "a"}), json!("a"), json!("b")),
            (json!({"matches": "^a"}), json!("ab"), json!("ba")),
            (json!({"below": 3}), json!(2), json!(3)),
            (json!({"above": 3}), json!(4), json!(3)),
            (json!({"longer-than": 2}), json!([1, 2, 3]), json!("ab")),
            (json!("cidr-with-host-bits"), json!("192.168.1.0/16"), json!("192.168.0.0/16")),
            (json!("cidr-with-host-bits"), json!("fd00::1/64"), json!("fd00::/64")),
            (json!({"not": {"equals": "a"}}), json!("b"), json!("a")),
        ] {
            assert!(passes(test.clone(), good) && !passes(test.clone(), bad), "{test}");
        }
        assert!(Test::Absent.passes(&[]) && !Test::Present.passes(&[]));
    }
}
