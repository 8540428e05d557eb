//! What the program costs, held against a bare client that does the same on the same servers in the same run.
//!
//! `cargo bench` measures everything, `cargo bench -- plan` only what is named. Everything runs on 127.0.0.1.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is all that a benchmark does")]

mod copy;
mod etcdctl;
mod figure;
mod keys;
mod keys_bare;
mod measure;
mod namespaces;
mod plan;
mod policies;
mod pull;
mod roll;

use std::process::ExitCode;
use std::time::Instant;

use figure::{Figure, table};
use measure::Result;

type Bench = (&'static str, fn() -> Result<Vec<Figure>>);

const BENCHES: [Bench; 7] = [
    ("plan", plan::measure),
    ("copy", copy::measure),
    ("policies", policies::measure),
    ("roll", roll::measure),
    ("large-roll", roll::measure_many),
    ("keys", keys::measure_backup),
    ("restore-keys", keys::measure_restore),
];

fn main() -> ExitCode {
    // cargo adds `--bench` by itself.
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let Some(unknown) = names.iter().find(|name| BENCHES.iter().all(|(known, _)| known != name)) {
        eprintln!("there is no benchmark `{unknown}`: there are {}", BENCHES.map(|(known, _)| known).join(", "));
        return ExitCode::FAILURE;
    }
    let mut figures = Vec::new();
    let ended = measure_all(&names, &mut figures);
    println!("\n{}", table(&figures));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmarks stopped: {error}{}", causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// What was measured before an error is kept.
fn measure_all(names: &[String], figures: &mut Vec<Figure>) -> Result<()> {
    for (name, measure) in BENCHES {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            let started = Instant::now();
            figures.extend(measure()?);
            note(&format!("{name} is measured, after {:.0} s", started.elapsed().as_secs_f64()));
        }
    }
    Ok(())
}

/// Says on stderr how far the benchmarks are.
fn note(words: &str) {
    eprintln!("{words}");
}

fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source()).map(|cause| format!(": {cause}")).collect()
}
