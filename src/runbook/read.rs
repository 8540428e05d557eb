use super::{Parameters, Runbook, StepKind};

/// The text is no runbook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", suggestion.as_ref().map(|known| format!("; did you mean `{known}`?")).unwrap_or_default())]
pub struct ReadError {
    pub message: String,
    pub line: Option<u64>,
    pub column: Option<u64>,
    pub suggestion: Option<String>,
}

/// Reads a runbook strictly: unknown keys, unknown steps and steps named twice are errors.
pub fn read(text: &str) -> Result<Runbook, ReadError> {
    let runbook: Runbook = parse(text)?;
    let plain = |message: String| ReadError { message, line: None, column: None, suggestion: None };
    if runbook.steps.is_empty() {
        return Err(plain("the runbook has no steps".to_owned()));
    }
    for (index, step) in runbook.steps.iter().enumerate() {
        if runbook.steps[..index].iter().any(|earlier| earlier.name == step.name) {
            return Err(plain(format!("two steps are named `{}`", step.name)));
        }
        if step.when.is_empty() {
            return Err(plain(format!("step `{}` has no `when`, so it would never be taken", step.name)));
        }
    }
    let kind = |step: Option<&super::RunbookStep>| step.map(|step| step.step);
    if kind(runbook.steps.first()) != Some(StepKind::BackUp) || kind(runbook.steps.last()) != Some(StepKind::Verify) {
        return Err(plain("the first step must be a back-up and the last one a verify".to_owned()));
    }
    for step in &runbook.steps {
        check_durations(&step.parameters).map_err(|what| plain(format!("step `{}`: {what}", step.name)))?;
    }
    Ok(runbook)
}

fn check_durations(parameters: &Parameters) -> Result<(), String> {
    let Parameters {
        batch: _,
        watching: _,
        pull_within,
        ready_within,
        stable_for_networking,
        stable_for_policy_only,
        usually_ready_in,
    } = parameters;
    let texts = [pull_within, ready_within, stable_for_networking, stable_for_policy_only, usually_ready_in];
    for text in texts.into_iter().flatten() {
        text.parse::<jiff::SignedDuration>()
            .map_err(|_| format!("`{text}` is no duration: write it like 90s or 10m"))?;
    }
    Ok(())
}

/// Reads YAML strictly; an error has its place and, for a misspelt word, the right one.
///
/// # Errors
/// The text is not what `T` is written like.
pub fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, ReadError> {
    serde_saphyr::from_str(text).map_err(|error| told(&error))
}

/// Reads a text of several documents, with numbers as kubectl reads them: `0440` is octal.
pub(super) fn parse_all<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, ReadError> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| told(&error))
}

fn told(error: &serde_saphyr::Error) -> ReadError {
    let location = error.location();
    let message = error.without_snippet().to_string();
    ReadError {
        suggestion: suggestion(&message),
        message,
        line: location.map(|at| at.line()),
        column: location.map(|at| at.column()),
    }
}

/// Finds the known key nearest to an unknown one, from serde's list of what it expected.
fn suggestion(message: &str) -> Option<String> {
    let (before, expected) = message.split_once("expected")?;
    let unknown = before.split_once("unknown")?.1.split('`').nth(1)?;
    let known =
        expected.split([' ', ',', '`']).filter(|word| !["", "one", "of", "at", "line", "column"].contains(word));
    let nearest = known.map(|word| (strsim::damerau_levenshtein(unknown, word), word)).min()?;
    (nearest.0 <= 3).then(|| nearest.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_named_with_its_place_and_the_right_one() {
        let error = read("target: v2.6\nfrom: {at_least: v2.0.0, at_moost: v2.6.12}\n").unwrap_err();
        assert_eq!((error.line, error.suggestion.as_deref()), (Some(2), Some("at_most")), "{error}");
    }

    #[test]
    fn a_number_that_begins_with_zero_is_octal_as_it_is_to_kubectl() {
        assert_eq!(
            parse_all::<serde_json::Value>("mode: 0440\nname: 08a\n").unwrap(),
            [serde_json::json!({"mode": 288, "name": "08a"})]
        );
    }

    #[test]
    fn a_key_given_twice_is_an_error() {
        assert!(read("target: v2.6\ntarget: v2.5\n").unwrap_err().message.contains("duplicate"));
    }
}
