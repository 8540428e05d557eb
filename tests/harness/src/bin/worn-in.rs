//! Prints a worn-in cluster as `kubectl create` takes it, for clusters that this crate does not start.

use std::process::ExitCode;

use harness::{Kubernetes, WornIn};
use serde_json::json;

const USAGE: &str = "Usage: worn-in RELEASE FLAVOUR SIZE, for example: worn-in v2.5.1 policy-only small";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match printed(&arguments) {
        Ok(list) => {
            println!("{list}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("worn-in: {message}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn printed(arguments: &[String]) -> Result<String, String> {
    let [release, flavour, size] = arguments else { return Err("three words are needed".to_owned()) };
    let cluster = WornIn { release: parsed(release)?, flavour: parsed(flavour)?, size: parsed(size)? };
    let items = cluster.objects_on(Kubernetes::V1_34).map_err(|error| error.to_string())?;
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(word: &str) -> Result<T, String> {
    word.parse().map_err(|error: T::Err| error.to_string())
}
