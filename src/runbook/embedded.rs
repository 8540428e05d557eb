use std::sync::LazyLock;

use rust_embed::Embed;

use super::{Catalogue, Gates, ReadError, Runbook, gate::read_gates, read::parse};
use crate::version::Minor;

#[derive(Embed)]
#[folder = "runbooks"]
struct Runbooks;

#[derive(Embed)]
#[folder = "manifests/calico"]
pub(super) struct Manifests;

/// The files that are no runbooks.
const CATALOGUE: &str = "catalogue.yaml";
const GATES: &str = "gates.yaml";

/// The name of the file that leads to several lines.
const FAMILY: &str = "v3.yaml";

/// Reads the version catalogue.
pub fn catalogue() -> Catalogue {
    let text = file(CATALOGUE).expect("the catalogue is part of the program");
    parse(&text).unwrap_or_else(|error| panic!("the catalogue was read in a test: {error}"))
}

/// The gates, read once.
pub fn gates() -> &'static Gates {
    static READ: LazyLock<Gates> = LazyLock::new(|| {
        let text = file(GATES).expect("the gates are part of the program");
        read_gates(&text).unwrap_or_else(|error| panic!("the gates were read in a test: {error}"))
    });
    &READ
}

/// Lists the runbooks, by the line they lead to.
pub fn names() -> Vec<String> {
    let mut lines: Vec<Minor> = own_files().filter_map(|name| name.parse().ok()).chain(of_family()).collect();
    lines.sort_unstable();
    lines.iter().map(Minor::to_string).collect()
}

/// The text of a runbook.
pub fn text(name: &str) -> Option<String> {
    let line: Minor = name.parse().ok()?;
    if own_files().any(|own| own == name) {
        return file(&format!("{name}.yaml"));
    }
    super::family::text(&file(FAMILY)?, line).ok()?
}

/// Finds the runbook that leads to a line.
pub fn find(line: Minor) -> Option<Result<Runbook, ReadError>> {
    text(&line.to_string()).map(|text| super::read(&text))
}

/// The lines that have a file of their own.
fn own_files() -> impl Iterator<Item = String> {
    let files = Runbooks::iter().filter(|name| ![CATALOGUE, FAMILY, GATES].contains(&name.as_ref()));
    files.filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
}

fn of_family() -> Vec<Minor> {
    file(FAMILY).and_then(|text| super::family::lines(&text).ok()).unwrap_or_default()
}

fn file(name: &str) -> Option<String> {
    Runbooks::get(name).map(|file| String::from_utf8_lossy(&file.data).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_file_can_be_read() {
        assert!(!catalogue().releases.is_empty() && !gates().gates.is_empty());
        super::super::family::lines(&file(FAMILY).unwrap()).unwrap();
        for name in names() {
            let runbook = find(name.parse().unwrap()).unwrap().unwrap();
            assert_eq!(runbook.target.to_string(), name);
        }
    }
}
