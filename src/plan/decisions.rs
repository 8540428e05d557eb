//! A file of decisions: what shall be in force where people and the release changed the same field, and why.
//!
//! It is read strictly, for runs that nobody watches: what is misspelt, undecided, without a reason or said twice is an error.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::customize::{Choice, Decision, Preference, Preferences, Verdict};
use crate::{
    resource::masked_field,
    runbook::{ReadError, parse},
    version::Version,
};

/// One entry as it is written. What is left open in a file that was made by `draft` is absent here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    field: Spanned<String>,
    decision: Option<Preference>,
    why: Option<String>,
}

/// Reads a file of decisions.
///
/// # Errors
/// The first entry that cannot be followed, with its place and, for a misspelt word, the right one.
pub fn read(text: &str) -> Result<Preferences, ReadError> {
    let entries: Vec<Entry> = parse(text)?;
    let (mut said, mut seen) = (Preferences::default(), BTreeSet::new());
    for entry in entries {
        let place = entry.field.referenced;
        let field = entry.field.value;
        if !seen.insert(field.clone()) {
            return Err(wrong(place, format!("`{field}` is decided twice")));
        }
        if field.split_once(':').is_none_or(|(object, _)| object.split('/').count() != 2) {
            return Err(wrong(place, format!("`{field}` is not written as KIND/NAME:PATH")));
        }
        let open = |what: &str| wrong(place, format!("`{field}` {what}"));
        let decision =
            entry.decision.ok_or_else(|| open("is not decided: say `decision: keep` or `decision: take`"))?;
        let why = entry.why.filter(|why| !why.trim().is_empty()).ok_or_else(|| open("has no reason: say `why: …`"))?;
        said.0.insert(field, Choice { decision, why: Some(why) });
    }
    Ok(said)
}

fn wrong(place: Location, message: String) -> ReadError {
    ReadError { message, line: Some(place.line()), column: Some(place.column()), suggestion: None }
}

/// Writes a file of what is still to be decided; each entry lacks only its decision and its reason.
pub fn draft(decisions: &[Decision], to: Version) -> String {
    let mut out = format!(
        "# Fields that people and Calico {to} changed differently. Say for each `decision: keep` (as it is live) or\n\
         # `decision: take` (as the release ships it), and why. Then plan with --decisions and the name of this file.\n"
    );
    for one in decisions.iter().filter(|one| one.verdict == Verdict::Asked) {
        out.push_str(&format!("- field: {}\n", serde_json::Value::from(one.field())));
        for (state, value) in [("shipped", &one.base), ("live", &one.live), ("new", &one.new)] {
            let text = value
                .as_ref()
                .map_or("nothing".to_owned(), |value| masked_field(&one.object, &one.path, value).to_string());
            let text: String = text.chars().filter(|letter| !letter.is_control()).collect();
            out.push_str(&format!("  # {state:<8}{text}\n"));
        }
        out.push_str("  decision:\n  why:\n");
    }
    if out.lines().any(|line| line.starts_with('-')) { out } else { out + "[]\n" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Kind, ObjectRef};
    use serde_json::json;

    const FIELD: &str = "DaemonSet/calico-node:spec.env[A\"B].value";

    #[test]
    fn a_decision_is_read_with_its_reason() {
        let said = read("- field: ConfigMap/calico-config:data.a\n  decision: take\n  why: CHG-1\n").unwrap();
        let choice = Choice { decision: Preference::Take, why: Some("CHG-1".to_owned()) };
        assert_eq!(said.0.into_iter().collect::<Vec<_>>(), [("ConfigMap/calico-config:data.a".to_owned(), choice)]);
    }

    #[test]
    fn what_cannot_be_followed_is_named_with_its_place() {
        let start = "- field: A/b:c\n";
        for (text, line, word) in [
            ("- field: A/b:c\n  decison: keep\n  why: x\n".to_owned(), 2, "did you mean `decision`"),
            (format!("{start}  decision: kep\n  why: x\n"), 2, "did you mean `keep`"),
            (format!("{start}  decision:\n  why: x\n"), 1, "`A/b:c` is not decided"),
            (format!("{start}  decision: keep\n  why: ''\n"), 1, "`A/b:c` has no reason"),
            ("\n- field: a.b.c\n  decision: keep\n  why: x\n".to_owned(), 2, "KIND/NAME:PATH"),
            (format!("{start}  decision: keep\n  why: x\n{start}  decision: keep\n  why: x\n"), 4, "decided twice"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.line == Some(line) && error.to_string().contains(word), "{text}: {error} {:?}", error.line);
        }
    }

    #[test]
    fn a_draft_lacks_only_the_answers_and_shows_no_secret() {
        let object = ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node");
        let open = |path: &str, verdict| Decision {
            object: object.clone(),
            path: path.to_owned(),
            base: Some(json!("a\nb")),
            live: Some(json!("canary")),
            new: None,
            after: None,
            verdict,
        };
        let open = [
            open("spec.env[A\"B].value", Verdict::Asked),
            open("spec.env[MY_TOKEN].value", Verdict::Asked),
            open("spec.env[C].value", Verdict::Kept),
        ];
        let text = draft(&open, Version::new(2, 6, 12));
        assert_eq!(text.matches("canary").count(), 1, "{text}");
        let filled = text.replace("decision:\n", "decision: keep\n").replace("why:\n", "why: agreed\n");
        let fields: Vec<String> = read(&filled).unwrap().0.into_keys().collect();
        assert_eq!(fields, [FIELD, "DaemonSet/calico-node:spec.env[MY_TOKEN].value"]);
        assert_eq!(read(&draft(&[], Version::new(2, 6, 12))).unwrap(), Preferences::default());
    }
}
