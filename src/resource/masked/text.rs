//! Text as others may read it: a configuration, a message, a whole object as JSON.

use serde_json::Value;

use super::{
    HIDDEN, hide_within,
    words::{is_placeholder, is_telling},
};

/// Text without PEM, without what stands under a telling name, without logins of addresses, and without tokens.
pub fn masked_text(text: &str) -> String {
    if text.contains("-----BEGIN") {
        return HIDDEN.to_owned();
    }
    match serde_json::from_str::<Value>(text) {
        Ok(inside @ (Value::Object(_) | Value::Array(_))) => masked_json(text, &inside),
        Ok(_) | Err(_) => masked_lines(text),
    }
}

/// JSON in which nothing was hidden stays as it was written.
fn masked_json(text: &str, inside: &Value) -> String {
    let shown = hide_within(inside);
    match (shown == *inside, text.contains('\n')) {
        (true, _) => text.to_owned(),
        (false, true) => format!("{shown:#}"),
        (false, false) => shown.to_string(),
    }
}

fn masked_lines(text: &str) -> String {
    let mut out = Vec::new();
    // A key whose value follows on deeper lines, as YAML writes long ones.
    let mut hidden_below = None;
    for line in text.split('\n') {
        let depth = line.len() - line.trim_start().len();
        if hidden_below.is_some_and(|key| depth > key || line.trim().is_empty()) {
            continue;
        }
        hidden_below = None;
        match telling_key_end(line) {
            Some(end) => {
                let rest = line[end..].trim();
                if rest.is_empty() || rest.starts_with(['|', '>', '{', '[']) {
                    hidden_below = Some(depth);
                }
                out.push(format!("{} {HIDDEN}", &line[..end]));
            }
            None => out.push(masked_words(line)),
        }
    }
    out.join("\n")
}

/// Where the first key of a line ends that says that its value is a secret.
fn telling_key_end(line: &str) -> Option<usize> {
    let separators = line.match_indices([':', '=']).map(|(at, _)| at);
    separators.filter(|at| !line[*at..].starts_with("://")).find_map(|at| {
        let before = line[..at].trim_end_matches(['"', '\'', ' ', '\\']);
        let start = before.rfind(|one: char| !one.is_alphanumeric() && !"_-./".contains(one));
        let key = start.map_or(before, |start| &before[start..]);
        let value = line[at + 1..].trim_matches(['"', '\'', ' ', ',']);
        (is_telling(key) && !is_placeholder(value)).then_some(at + 1)
    })
}

/// Names and passwords in addresses, values of telling flags, and tokens that stand by themselves.
fn masked_words(line: &str) -> String {
    let mut is_after_flag = false;
    let words = line.split_inclusive(char::is_whitespace).map(|word| {
        let (end, space) = word.split_at(word.trim_end().len());
        let is_value = std::mem::replace(&mut is_after_flag, is_telling_flag(end)) && !end.starts_with('-');
        let shown = if is_value && !end.is_empty() { HIDDEN.to_owned() } else { masked_word(end) };
        shown + space
    });
    words.collect()
}

/// A flag whose value is the next word.
pub(super) fn is_telling_flag(word: &str) -> bool {
    word.starts_with('-') && !word.contains('=') && is_telling(word)
}

fn masked_word(word: &str) -> String {
    let account = word.find("://").and_then(|start| {
        let rest = &word[start + 3..];
        let host = &rest[..rest.find('/').unwrap_or(rest.len())];
        host.rfind('@').map(|end| format!("{}{HIDDEN}{}", &word[..start + 3], &rest[end..]))
    });
    match account {
        Some(address) => address,
        // The first bytes of each JSON Web Token.
        None if word.contains("eyJ") && word.len() > 40 => HIDDEN.to_owned(),
        None => word.to_owned(),
    }
}
