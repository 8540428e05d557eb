//! The names of versions and clusters on a command line.

use std::str::FromStr;

use crate::control_plane::Kubernetes;
use crate::worn_in::{Flavour, Release, Size};

/// A word that names nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no `{word}`; there are {choices}")]
pub struct UnknownWord {
    word: String,
    choices: String,
}

impl FromStr for Kubernetes {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        find(word, &Kubernetes::ALL, |kubernetes| kubernetes.part().trim_start_matches('v'))
    }
}

impl FromStr for Release {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        find(word, &Release::ALL, Release::name)
    }
}

impl FromStr for Flavour {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        find(word, &Flavour::ALL, Flavour::name)
    }
}

impl FromStr for Size {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        find(word, &Size::ALL, Size::name)
    }
}

fn find<T: Copy>(word: &str, choices: &[T], name: impl Fn(T) -> &'static str) -> Result<T, UnknownWord> {
    let names: Vec<&str> = choices.iter().map(|choice| name(*choice)).collect();
    let position = names.iter().position(|name| *name == word);
    let unknown = || UnknownWord { word: word.to_owned(), choices: names.join(", ") };
    position.map(|position| choices[position]).ok_or_else(unknown)
}
