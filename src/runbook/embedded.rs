use rust_embed::Embed;

use super::{Catalogue, ReadError, Runbook, read::parse};
use crate::version::Minor;

#[derive(Embed)]
#[folder = "runbooks"]
struct Runbooks;

#[derive(Embed)]
#[folder = "manifests/calico"]
pub(super) struct Manifests;

/// The name of the catalogue's file, which is no runbook.
const CATALOGUE: &str = "catalogue.yaml";

/// Reads the version catalogue.
pub fn catalogue() -> Catalogue {
    let text = file(CATALOGUE).expect("the catalogue is part of the program");
    parse(&text).unwrap_or_else(|error| panic!("the catalogue was read in a test: {error}"))
}

/// Lists the runbooks, by the line they lead to.
pub fn names() -> Vec<String> {
    let files = Runbooks::iter().filter(|name| *name != CATALOGUE);
    files.filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned)).collect()
}

/// The text of a runbook.
pub fn text(name: &str) -> Option<String> {
    names().iter().any(|known| known == name).then(|| file(&format!("{name}.yaml")))?
}

/// Finds the runbook that leads to a line.
pub fn find(line: Minor) -> Option<Result<Runbook, ReadError>> {
    text(&line.to_string()).map(|text| super::read(&text))
}

fn file(name: &str) -> Option<String> {
    Runbooks::get(name).map(|file| String::from_utf8_lossy(&file.data).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_file_can_be_read() {
        assert!(!catalogue().releases.is_empty());
        for name in names() {
            let runbook = find(name.parse().unwrap()).unwrap().unwrap();
            assert_eq!(runbook.target.to_string(), name);
        }
    }
}
