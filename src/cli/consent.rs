//! What is asked for before a way back is taken, or given up. The more is lost, the harder it is to say yes by accident.

use super::{arguments::Rollback, failure::Failure, run::approve, terminal};
use crate::plan::{self, Consent, Plan};

/// Asks what the stage of the run calls for: nothing, a yes, or the name of the run.
pub fn to_roll_back(plan: &Plan, run: &str, arguments: &Rollback) -> Result<(), Failure> {
    let given = arguments.confirm.as_deref();
    let refused = || {
        refused("the rollback was not confirmed with the name of the run")
            .why("others wrote to the new store since, and nothing will read that; nothing was changed")
            .now(format!("review what would be lost, then add --confirm {run}"))
    };
    match plan::consent(plan) {
        Consent::NotNeeded | Consent::Yes if given.is_some_and(|given| given != run) => Err(refused()),
        Consent::NotNeeded => Ok(()),
        Consent::Yes => {
            let question = format!("Take run {run} back on {}?", plan.cluster.server);
            approve(arguments.consent.yes || given.is_some(), &question)
        }
        Consent::Name => {
            let question = format!("The above will be read by nothing. Type the name of the run, {run}, to go on:");
            by_name(given, run, &question, refused)
        }
    }
}

/// After a completion there is no rollback.
pub fn to_complete(given: Option<&str>, run: &str) -> Result<(), Failure> {
    let question = format!("After this there is no rollback. Type the name of the run, {run}, to go on:");
    by_name(given, run, &question, || {
        refused("the completion was not confirmed with the name of the run")
            .why("the old data goes for good, and with it the way back; nothing was changed")
            .now(format!("review the plan, then add --confirm {run}"))
    })
}

fn refused(what: &str) -> Failure {
    Failure::new(10, "CU-E012", what)
}

/// A `y` is typed too easily for what cannot be taken back: the name of the run must be given.
fn by_name(given: Option<&str>, run: &str, question: &str, refused: impl Fn() -> Failure) -> Result<(), Failure> {
    let typed = match given {
        Some(given) => given.to_owned(),
        None if terminal::is_interactive() => terminal::ask(question),
        None => String::new(),
    };
    if typed == run { Ok(()) } else { Err(refused()) }
}
