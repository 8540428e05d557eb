//! The two shapes of a CNI configuration: one plug-in, or a list of plug-ins.
//!
//! From v3 on a place that calico/cni fills in with a number stands in the text without quotes, as `__CNI_MTU__`, which is no JSON.
//! Such names are quoted to be read, and written without quotes again.

use std::{borrow::Cow, collections::BTreeSet};

use serde_json::{Map, Value, json};

/// Reads texts as configurations of one shape; `None` if one of them is no JSON.
///
/// Where one is a list, a single plug-in becomes a list of one: people chain plug-ins behind the one that a release ships.
pub(super) fn read<const N: usize>(texts: [Option<&str>; N]) -> Option<[Option<Value>; N]> {
    let mut configurations = [const { None }; N];
    for (place, text) in configurations.iter_mut().zip(texts) {
        *place = text.map(|text| serde_json::from_str::<Value>(&quoted(text))).transpose().ok()?;
    }
    let has_list = configurations.iter().flatten().any(|one| one.get("plugins").is_some());
    Some(if has_list { configurations.map(|one| one.map(as_list)) } else { configurations })
}

/// Writes a configuration like a text that it is to replace: names without quotes there have none here.
pub(super) fn write(configuration: &Value, like: [&str; 2]) -> String {
    let bare: BTreeSet<&str> = like.into_iter().flat_map(bare_names).map(|(_, name)| name).collect();
    bare.into_iter().fold(format!("{configuration:#}"), |text, name| text.replace(&format!("\"{name}\""), name))
}

fn quoted(text: &str) -> Cow<'_, str> {
    let mut out = Cow::Borrowed(text);
    // From the last on, so that the places of those before stay.
    for (at, name) in bare_names(text).into_iter().rev() {
        out.to_mut().replace_range(at..at + name.len(), &format!("\"{name}\""));
    }
    out
}

/// The names like `__CNI_MTU__` that stand where a value does, with their places.
fn bare_names(text: &str) -> Vec<(usize, &str)> {
    let is_of_name = |letter: char| letter.is_ascii_uppercase() || letter == '_';
    let starts = text.match_indices("__").map(|(at, _)| at);
    let is_in_quotes = |at: usize| text[..at].matches('"').count() % 2 == 1;
    let values = starts.filter(|at| text[..*at].trim_end().ends_with(':') && !is_in_quotes(*at));
    values.map(|at| (at, text[at..].split(|letter| !is_of_name(letter)).next().unwrap_or_default())).collect()
}

fn as_list(configuration: Value) -> Value {
    match configuration {
        Value::Object(fields) if !fields.contains_key("plugins") => {
            let of_list = |key: &String| key == "name" || key == "cniVersion";
            let (mut list, plugin): (Map<_, _>, Map<_, _>) = fields.into_iter().partition(|(key, _)| of_list(key));
            list.insert("plugins".to_owned(), json!([plugin]));
            Value::Object(list)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_filled_in_later_is_read_and_written_as_it_stands() {
        let text = "{\"plugins\": [{\"type\": \"calico\", \"mtu\": __CNI_MTU__, \"nodename\": \"__NODE__\"}]}";
        let [read] = read([Some(text)]).unwrap();
        let url = "{\"root\": \"https://__HOST__:__PORT__\"}";
        assert_eq!(quoted(url), url);
        let written = write(&read.unwrap(), [text, text]);
        assert!(written.contains("\"mtu\": __CNI_MTU__") && written.contains("\"__NODE__\""), "{written}");
        assert_eq!(
            written.split_whitespace().collect::<String>().len(),
            text.split_whitespace().collect::<String>().len()
        );
    }
}
