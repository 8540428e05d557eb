//! The account of a run for a CI server: each step and each claim is a test case, and so is the run as a whole.

use maud::{Markup, PreEscaped, html};

use super::{
    run::RunReport,
    steps::{StepReport, StepStatus},
    summary::sentences,
    text::clean,
    verdict::Verdict,
};

/// What became of a test case.
enum Outcome {
    Passed,
    Failed { message: String, facts: Vec<String> },
    Skipped { why: String },
}

struct Case {
    suite: &'static str,
    name: String,
    seconds: u64,
    outcome: Outcome,
}

/// The account as JUnit XML. maud's escaping of markup is that of XML, too, and `clean` takes out what XML cannot hold.
pub fn run_junit(report: &RunReport) -> String {
    let cases = cases(report);
    let failed = cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed { .. })).count();
    let skipped = cases.iter().filter(|case| matches!(case.outcome, Outcome::Skipped { .. })).count();
    let suite = format!("calico-upgrader run {}", report.run);
    let page = html! {
        (PreEscaped("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"))
        testsuites name=(suite) tests=(cases.len()) failures=(failed) skipped=(skipped) time=(report.seconds) {
            testsuite name=(suite) tests=(cases.len()) failures=(failed) errors="0" skipped=(skipped) time=(report.seconds) timestamp=(timestamp(report)) {
                @for case in &cases { (case_element(case)) }
            }
        }
    };
    clean(&page.into_string()) + "\n"
}

/// JUnit knows no fractions of seconds and no zone.
fn timestamp(report: &RunReport) -> &str {
    report.started.split(['.', 'Z']).next().unwrap_or_default()
}

fn case_element(case: &Case) -> Markup {
    html! {
        (PreEscaped("\n"))
        testcase classname=(format!("calico-upgrader.{}", case.suite)) name=(case.name) time=(case.seconds) {
            @match &case.outcome {
                Outcome::Passed => {}
                Outcome::Failed { message, facts } => { failure message=(message) { (facts.join("\n")) } }
                Outcome::Skipped { why } => { skipped message=(why) {} }
            }
        }
    }
}

fn cases(report: &RunReport) -> Vec<Case> {
    let run = Case {
        suite: "run",
        name: format!("run {} comes to its end", report.run),
        seconds: report.seconds,
        outcome: of_run(report),
    };
    let steps = report.steps.iter().flat_map(|step| {
        let case = Case {
            suite: "step",
            name: step.name.clone(),
            seconds: step.seconds.unwrap_or_default(),
            outcome: of_step(report, step),
        };
        let claims = step.claims.iter().map(|claim| Case {
            suite: "claim",
            name: format!("{}: {}", step.name, claim.text),
            seconds: 0,
            outcome: if claim.holds {
                Outcome::Passed
            } else {
                Outcome::Failed { message: format!("does not hold: {}", claim.text), facts: claim.facts.clone() }
            },
        });
        [case].into_iter().chain(claims)
    });
    [run].into_iter().chain(steps).collect()
}

fn of_run(report: &RunReport) -> Outcome {
    match report.verdict {
        Verdict::Well => Outcome::Passed,
        // `run --until` ends with 0: what was asked for is done.
        Verdict::Waiting if report.exit == Some(0) => Outcome::Skipped { why: report.reason.clone() },
        Verdict::Waiting | Verdict::Wrong | Verdict::Open | Verdict::Abandoned => {
            Outcome::Failed { message: report.reason.clone(), facts: sentences(report) }
        }
    }
}

fn of_step(report: &RunReport, step: &StepReport) -> Outcome {
    match step.status {
        StepStatus::Done => Outcome::Passed,
        StepStatus::Begun => Outcome::Failed { message: report.reason.clone(), facts: vec![report.reason.clone()] },
        StepStatus::NotReached if report.verdict == Verdict::Well => {
            Outcome::Skipped { why: "done by a runner on another machine; its journal is not here".to_owned() }
        }
        StepStatus::NotReached => Outcome::Skipped { why: "the run did not come to it".to_owned() },
    }
}
