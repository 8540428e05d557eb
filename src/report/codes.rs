//! What a code means, read from the page that people read: one source serves both.

use serde::Serialize;

use crate::{
    check::BLOCKED,
    runbook::{self, Gate, Level},
};

const PAGE: &str = include_str!("../../docs/exit-codes.md");

/// One code, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// Absent where an exit code is explained.
    pub code: Option<String>,
    /// The exit codes that come with it; none if it blocks nothing, or if another code decides.
    pub exit: Vec<u8>,
    pub cause: String,
    /// What to look at; empty where there is nothing to look at.
    pub look: String,
    pub next: String,
}

/// Every code of the page, in its order, then every gate.
pub fn all_explained() -> Vec<Explained> {
    all_codes().into_iter().chain(runbook::gates().gates.iter().map(of_gate)).collect()
}

/// Explains a gate by its id.
pub fn explain_gate(id: &str) -> Option<Explained> {
    runbook::gates().find(id).map(of_gate)
}

fn of_gate(gate: &Gate) -> Explained {
    let Gate { id, crosses, severity, ignorable, title, why, now, source, .. } = gate;
    let releases: Vec<String> = crosses.iter().map(ToString::to_string).collect();
    let way_on = match (severity, ignorable) {
        (Level::Note, _) => String::new(),
        (Level::Block | Level::Warn, true) => format!("; --ignore {id}=REASON goes on in spite of it"),
        (Level::Block | Level::Warn, false) => "; it cannot be ignored".to_owned(),
    };
    Explained {
        code: Some(id.clone()),
        exit: if *severity == Level::Block { vec![BLOCKED] } else { Vec::new() },
        cause: format!("Gate of {} ({}): {title}. {}.", releases.join(", "), severity.name(), as_sentence(why)),
        look: format!("Look at what `check` and `plan` name under CU-P009. Source: {source}."),
        next: format!("{now}{way_on}"),
    }
}

fn as_sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Every code of the page, in its order.
pub fn all_codes() -> Vec<Explained> {
    let sections = PAGE.split("\n## ").skip(1);
    sections.filter_map(|section| section.split_once('\n')).map(|(code, text)| explained(code, text)).collect()
}

fn explained(code: &str, text: &str) -> Explained {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (before, next) = text.split_once("Next: ").unwrap_or((&text, ""));
    let look = before.find(" Look at ").map_or(before.len(), |at| at + 1);
    Explained {
        code: Some(code.trim().to_owned()),
        exit: exits(before),
        cause: before[..look].trim().to_owned(),
        look: before[look..].trim().to_owned(),
        next: next.trim().to_owned(),
    }
}

/// The numbers that follow the word `exit`.
fn exits(text: &str) -> Vec<u8> {
    let mut exits = Vec::new();
    for (at, word) in text.match_indices("exit ") {
        let digits: String = text[at + word.len()..].chars().take_while(char::is_ascii_digit).collect();
        exits.extend(digits.parse::<u8>().ok().filter(|exit| !exits.contains(exit)));
    }
    exits
}

/// Explains a code such as `CU-R004`; capitals and the `CU-` may be left out.
pub fn explain_code(code: &str) -> Option<Explained> {
    let wanted = full(code);
    all_codes().into_iter().find(|one| one.code.as_ref() == Some(&wanted))
}

fn full(code: &str) -> String {
    let code = code.trim().to_ascii_uppercase();
    if code.starts_with("CU-") { code } else { format!("CU-{code}") }
}

/// Explains an exit code, with the codes that come with it.
pub fn explain_exit(exit: u8) -> Option<Explained> {
    let (cause, next) =
        exit_rows().find(|(exits, _, _)| exits.contains(&exit)).map(|(_, cause, next)| (cause, next))?;
    let codes = all_codes().into_iter().filter(|one| one.exit.contains(&exit)).filter_map(|one| one.code);
    let codes = codes.collect::<Vec<_>>().join(", ");
    let look = if codes.is_empty() { String::new() } else { format!("the code in the message, one of {codes}") };
    Some(Explained { code: None, exit: vec![exit], cause, look, next })
}

/// The rows of the table of exit codes: numbers, meaning, what to do.
fn exit_rows() -> impl Iterator<Item = (Vec<u8>, String, String)> {
    PAGE.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim).collect();
        let [numbers, cause, next] = cells.as_slice() else { return None };
        let numbers: Vec<u8> = numbers.split(", ").map(str::parse).collect::<Result<_, _>>().ok()?;
        let next = if *next == "–" { "nothing" } else { next };
        Some((numbers, (*cause).to_owned(), next.to_owned()))
    })
}

/// The known codes that are written most alike.
pub fn nearest(code: &str) -> Vec<String> {
    let wanted = full(code);
    let lower = code.trim().to_ascii_lowercase();
    let is_like = |one: &Explained| one.code.as_ref().is_some_and(|id| strsim::damerau_levenshtein(id, &lower) <= 3);
    let gates: Vec<Explained> = runbook::gates().gates.iter().map(of_gate).filter(is_like).collect();
    if !gates.is_empty() {
        return gates.into_iter().filter_map(|one| one.code).collect();
    }
    let mut known: Vec<String> = all_codes().into_iter().filter_map(|one| one.code).collect();
    known.sort_by_cached_key(|one| strsim::damerau_levenshtein(one, &wanted));
    known.truncate(3);
    known
}

impl Explained {
    /// What the code is about, in one sentence.
    pub fn first_sentence(&self) -> &str {
        let ends = self.cause.match_indices(". ").map(|(at, _)| at + 1);
        let mut ends =
            ends.filter(|end| self.cause[end + 1..].starts_with(|next: char| next.is_uppercase() || next == '`'));
        &self.cause[..ends.next().unwrap_or(self.cause.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_cause_and_something_to_do() {
        let codes = all_codes();
        assert_eq!(codes.len(), PAGE.lines().filter(|line| line.starts_with("## CU-")).count());
        for one in codes {
            let code = one.code.as_deref().unwrap_or_default();
            assert!(code.starts_with("CU-") && code.len() == 7, "{one:?}");
            assert!(one.cause.len() > 10 && one.cause.ends_with(['.', ':']), "{code} has no cause: {one:?}");
            assert!(one.next.contains('`') || one.next.contains("the same command"), "{code} has no command: {one:?}");
            assert!(one.first_sentence().len() > 10, "{one:?}");
            assert_eq!(explain_code(&code[3..].to_lowercase()), Some(one.clone()));
        }
    }

    #[test]
    fn every_exit_code_of_the_table_is_explained_and_every_code_ends_with_one_of_them() {
        let known: Vec<u8> = exit_rows().flat_map(|(exits, _, _)| exits).collect();
        assert!(known.contains(&0) && known.contains(&143));
        for exit in all_codes().into_iter().flat_map(|one| one.exit) {
            assert!(known.contains(&exit), "{exit}");
        }
        let drift = explain_exit(13).unwrap();
        assert!(drift.look.contains("CU-R013") && !drift.look.contains("CU-R004"), "{drift:?}");
        assert_eq!(explain_exit(77), None);
    }

    #[test]
    fn a_mistyped_code_leads_to_its_neighbours() {
        assert!(nearest("CU-R03").contains(&"CU-R013".to_owned()));
    }
}
