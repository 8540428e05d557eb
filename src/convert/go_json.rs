//! Reads fields as Go's JSON decoder did, so that we see what the old Calico saw.

use std::fmt;

use serde_json::{Map, Value};

/// A part of an object has a shape that Calico cannot decode.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShapeError {
    #[error("`{field}` is `{found}`, which is not {expected}")]
    WrongType { field: String, expected: Expected, found: String },
    #[error("`{field}` is missing")]
    Missing { field: String },
}

impl ShapeError {
    pub fn wrong_type(field: impl Into<String>, expected: Expected, found: &Value) -> Self {
        Self::WrongType { field: field.into(), expected, found: shortened(found) }
    }
}

fn shortened(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The shapes that the old types have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Text,
    Number,
    Flag,
    Object,
    Objects,
    Texts,
    AsNumber,
}

impl Expected {
    fn admits(self, value: &Value) -> bool {
        match self {
            Self::Text | Self::AsNumber => value.is_string(),
            Self::Number => value.is_number(),
            Self::Flag => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Objects => value.as_array().is_some_and(|items| items.iter().all(is_object_or_null)),
            Self::Texts => value.as_object().is_some_and(|texts| texts.values().all(Value::is_string)),
        }
    }
}

fn is_object_or_null(value: &Value) -> bool {
    value.is_object() || value.is_null()
}

impl fmt::Display for Expected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Flag => "true or false",
            Self::Object => "an object",
            Self::Objects => "a list of objects",
            Self::Texts => "a map of texts",
            Self::AsNumber => "an AS number: 0 to 4294967295, as a number or a text, or dotted such as 1.10",
        })
    }
}

/// Answers whether Go takes `key` for the field `name`: any case, and two letters outside ASCII.
pub(super) fn is_key_of(key: &str, name: &str) -> bool {
    key.chars().map(folded).eq(name.chars().map(folded))
}

// U+212A (the Kelvin sign) and U+017F (the long s) fold to ASCII letters in Unicode, and Go honours that.
fn folded(letter: char) -> char {
    match letter {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        other => other.to_ascii_lowercase(),
    }
}

/// The fields of a `spec`, in the order in which the API server sends them.
pub(super) struct SpecFields<'a>(Vec<(&'a str, &'a Value)>);

impl<'a> SpecFields<'a> {
    // The API server keeps third-party objects as maps and sends their keys sorted.
    pub fn of(fields: Option<&'a Map<String, Value>>) -> Self {
        let mut fields: Vec<_> = fields.into_iter().flatten().map(|(key, value)| (key.as_str(), value)).collect();
        fields.sort_by_key(|(key, _)| *key);
        Self(fields)
    }

    /// Lists the values that Go decodes into the field `name`, the deciding one last.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a Value> {
        // A null leaves what the field held before.
        self.0.iter().filter(move |(key, value)| is_key_of(key, name) && !value.is_null()).map(|(_, value)| *value)
    }

    /// Checks every value that Go decodes into the field `name`, and gives the deciding one.
    pub fn checked(&self, name: &str, expected: Expected) -> Result<Option<&'a Value>, ShapeError> {
        match self.values(name).find(|value| !expected.admits(value)) {
            Some(wrong) => Err(ShapeError::wrong_type(format!("spec.{name}"), expected, wrong)),
            None => Ok(self.values(name).last()),
        }
    }

    /// Gives the text of the field `name`; an absent one is empty.
    pub fn text(&self, name: &str) -> Result<&'a str, ShapeError> {
        Ok(self.checked(name, Expected::Text)?.and_then(Value::as_str).unwrap_or_default())
    }

    /// Says which keys belong to none of the fields `known`, if any.
    pub fn unknown_note(&self, known: &[&str]) -> Option<String> {
        let is_known = |key: &str| known.iter().any(|name| is_key_of(key, name));
        unknown_keys_note("spec", self.0.iter().map(|(key, _)| *key).filter(|key| !is_known(key)))
    }
}

/// Says which keys are left out because Calico does not know them.
pub(super) fn unknown_keys_note<'a>(place: &str, keys: impl Iterator<Item = &'a str>) -> Option<String> {
    let keys: Vec<_> = keys.map(|key| format!("`{key}`")).collect();
    (!keys.is_empty()).then(|| format!("unknown keys in `{place}` are left out: {}", keys.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text_of(spec: Value) -> Result<String, ShapeError> {
        SpecFields::of(spec.as_object()).text("value").map(str::to_owned)
    }

    #[test]
    fn a_key_counts_in_any_case_and_the_last_in_sorted_order_decides() {
        assert_eq!(text_of(json!({"VALUE": "a"})).unwrap(), "a");
        assert_eq!(text_of(json!({"value": "c", "Value": "b", "VALUE": "a"})).unwrap(), "c");
        assert!(is_key_of("ma\u{17f}querade", "masquerade"));
        assert!(!is_key_of("value ", "value"));
    }

    #[test]
    fn null_counts_as_absent_and_does_not_hide_another_spelling() {
        assert_eq!(text_of(json!({"value": null})).unwrap(), "");
        assert_eq!(text_of(json!({"Value": "kept", "value": null})).unwrap(), "kept");
    }

    #[test]
    fn a_wrong_type_is_found_even_where_another_spelling_decides() {
        let error = text_of(json!({"Value": 7, "value": "fine"})).unwrap_err();
        assert_eq!(error.to_string(), "`spec.value` is `7`, which is not a text");
    }
}
