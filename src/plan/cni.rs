//! The two shapes of a CNI configuration: one plug-in, or a list of plug-ins.

use serde_json::{Map, Value, json};

/// Reads texts as configurations of one shape; `None` if one of them is no JSON.
///
/// Where one is a list, a single plug-in becomes a list of one: people chain plug-ins behind the one that a release ships.
pub(super) fn read<const N: usize>(texts: [Option<&str>; N]) -> Option<[Option<Value>; N]> {
    let mut configurations = [const { None }; N];
    for (place, text) in configurations.iter_mut().zip(texts) {
        *place = text.map(serde_json::from_str::<Value>).transpose().ok()?;
    }
    let has_list = configurations.iter().flatten().any(|one| one.get("plugins").is_some());
    Some(if has_list { configurations.map(|one| one.map(as_list)) } else { configurations })
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
