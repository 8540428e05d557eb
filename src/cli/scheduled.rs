//! `run --or-resume` goes on with what is there, else it plans and runs. `run --scheduled`, what a CronJob calls again and again, is
//! the same, and content where there is nothing to do for it now.

use super::{
    Ended,
    arguments::{Consent, Resume, Run},
    failure::Failure,
    resume,
    run::run_now,
    session::Session,
    terminal,
};
use crate::{
    cluster::Cluster,
    door::{self, Notice, RunPhase, RunState},
    engine::StartError,
    plan::Purpose,
    resource::{Kind, ObjectRef},
};

/// What a schedule has to do now.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Begin,
    /// The plan that was handed over was run to its end, by a pod before this one.
    Nothing {
        run: String,
    },
    GoOn {
        run: String,
        needs_approval: bool,
    },
}

pub async fn run(session: &Session, arguments: &Run) -> Ended {
    // What is wrong with the flags is told before anything else.
    super::gates::read(&arguments.gates)?;
    let cluster = session.connect().await?;
    let runs = door::runs(&cluster).await?;
    let ended = match due(&runs, arguments.handed_over.as_deref())? {
        Due::Begin => run_now(session, arguments).await,
        Due::Nothing { run } => {
            terminal::chatter_line(&format!("Run {run} of this plan is finished: nothing to do."));
            Ok(0)
        }
        Due::GoOn { run, needs_approval } => {
            let (gates, lease) = (arguments.gates.clone(), arguments.lease.clone());
            let consent = Consent { yes: arguments.consent.yes || needs_approval };
            let (until, pods) = (arguments.until.clone(), arguments.pods.clone());
            resume::resume(session, &Resume { until, pods, ..Resume::of(run, consent, gates, lease) }).await
        }
    };
    match ended {
        Err(failure) if arguments.scheduled && [8, 9].contains(&failure.exit) => {
            failure.note(&session.global);
            tell(&cluster, runs.last(), &failure).await;
            Ok(0)
        }
        other => other,
    }
}

/// Decides from the runs so far, the newest last. What people stopped or took back is theirs to go on with.
fn due(runs: &[RunState], plan: Option<&str>) -> Result<Due, Failure> {
    let is_by_it = |state: &RunState| plan == Some(state.plan.text().as_str());
    match runs.iter().rev().find(|state| !state.phase.is_over()) {
        Some(open) if plan.is_some() && !is_by_it(open) => {
            return Err(StartError::Unfinished { run: open.run.clone() }.into());
        }
        Some(open) => return go_on(open),
        None => {}
    }
    let is_done = |state: &&RunState| is_by_it(state) && matches!(state.phase, RunPhase::Finished { .. });
    if let Some(done) = runs.iter().rev().find(is_done) {
        return Ok(Due::Nothing { run: done.run.clone() });
    }
    match runs.iter().rev().find(|state| state.purpose == Purpose::Upgrade) {
        Some(RunState { run, phase: RunPhase::RolledBack { by }, .. }) => {
            let failure = Failure::from(StartError::RolledBack { run: run.clone(), by: by.clone() });
            Err(failure.why("a schedule does not repeat what was taken back").now("calico-upgrader run, by hand"))
        }
        Some(_) | None => Ok(Due::Begin),
    }
}

fn go_on(open: &RunState) -> Result<Due, Failure> {
    let run = open.run.clone();
    if open.purpose != Purpose::Upgrade {
        return Err(StartError::Unfinished { run }.into());
    }
    match &open.phase {
        RunPhase::Stopped { exit: 11, .. } => Err(paused(&run)),
        RunPhase::Stopped { .. }
        | RunPhase::Running
        | RunPhase::Finished { .. }
        | RunPhase::Abandoned
        | RunPhase::RolledBack { .. } => Ok(Due::GoOn { run, needs_approval: open.needs_approval }),
    }
}

/// Who goes on by itself leaves alone what a person stopped.
pub fn paused(run: &str) -> Failure {
    Failure::new(11, "CU-E032", format!("run `{run}` was paused"))
        .why("a schedule does not go on with what a person paused; nothing was changed")
        .now(format!("calico-upgrader resume {run}"))
}

/// Tells in the cluster why nothing was done; whether that works changes nothing.
async fn tell(cluster: &Cluster, newest: Option<&RunState>, failure: &Failure) {
    let about = match newest {
        Some(state) => door::record_of(&state.run),
        None => ObjectRef::cluster(Kind::Namespace, "kube-system"),
    };
    let reason = if failure.exit == 8 { "RunLocked" } else { "RunOutsideWindow" };
    let notice = Notice { about, reason, message: failure.what.clone(), is_warning: false };
    if let Err(error) = door::announce(cluster, &notice).await {
        terminal::chatter_line(&format!("Events     skipped ({error})"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Digest;

    fn state(run: &str, purpose: Purpose, phase: RunPhase) -> RunState {
        RunState { phase, ..RunState::begun(run, purpose, Digest::of(b"plan")) }
    }

    fn stopped(exit: u8) -> RunPhase {
        RunPhase::Stopped { exit, why: String::new() }
    }

    #[test]
    fn a_schedule_begins_where_nothing_is_unfinished_and_goes_on_where_something_is() {
        let finished = state("one", Purpose::Upgrade, RunPhase::Finished { exit: 0 });
        assert_eq!(due(&[], None).unwrap(), Due::Begin);
        assert_eq!(due(std::slice::from_ref(&finished), None).unwrap(), Due::Begin);
        for phase in [RunPhase::Running, stopped(4), stopped(9), stopped(143)] {
            let runs = [finished.clone(), state("two", Purpose::Upgrade, phase)];
            assert_eq!(due(&runs, None).unwrap(), Due::GoOn { run: "two".to_owned(), needs_approval: false });
        }
    }

    #[test]
    fn a_schedule_leaves_what_people_paused_or_took_back() {
        let back = Purpose::Rollback { run: "one".to_owned() };
        let taken = state("one", Purpose::Upgrade, RunPhase::RolledBack { by: "two".to_owned() });
        let paused = due(&[state("one", Purpose::Upgrade, stopped(11))], None).unwrap_err();
        let rolling = due(&[taken.clone(), state("two", back.clone(), stopped(7))], None).unwrap_err();
        let rolled = due(&[taken, state("two", back, RunPhase::Finished { exit: 0 })], None).unwrap_err();
        assert_eq!([paused.exit, rolling.exit, rolled.exit], [11, 3, 6]);
    }

    #[test]
    fn a_plan_that_was_handed_over_goes_on_alone_and_is_done_once() {
        let digest = Digest::of(b"plan");
        let other = Digest::of(b"other");
        let open = [state("one", Purpose::Upgrade, stopped(4))];
        let done = [state("one", Purpose::Upgrade, RunPhase::Finished { exit: 0 })];
        let of = |runs: &[RunState], plan: &Digest| due(runs, Some(&plan.text())).map_err(|failure| failure.exit);
        assert_eq!(of(&open, &digest), Ok(Due::GoOn { run: "one".to_owned(), needs_approval: false }));
        assert_eq!(of(&open, &other), Err(3));
        assert_eq!(of(&done, &digest), Ok(Due::Nothing { run: "one".to_owned() }));
        assert_eq!(of(&done, &other), Ok(Due::Begin));
    }
}
