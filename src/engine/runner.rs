use crate::{
    door::{Door, DoorError, RecordError},
    plan::{Plan, Purpose},
    step::{Step, StepError},
};

use crate::event::{Event, Voice};

/// A rollback stopped and cannot go on by itself.
pub const ROLLBACK_FAILED: u8 = 7;

/// What a run that was paused on request ends with.
pub const PAUSED: u8 = 11;

/// What the record says of such a run; other ends may have the same exit code.
pub const ASKED_TO_PAUSE: &str = "a pause was asked for";

/// How a run ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Finished,
    /// It stopped after the phase that the operator named.
    AfterPhase,
    /// Someone asked for a pause, or sent a signal.
    Paused {
        exit: u8,
    },
}

/// Why a run stopped. It can go on: `resume`.
#[derive(Debug, thiserror::Error)]
#[error("run `{run}` stopped in step `{step}`")]
pub struct RunError {
    pub run: String,
    pub step: String,
    pub exit: u8,
    #[source]
    pub source: StepError,
}

/// Takes the steps that are not done yet; `until` is the last phase to take.
pub async fn run(plan: &Plan, until: Option<&str>, mut door: Door, voice: &Voice) -> Result<Ending, RunError> {
    let run = door.state().run.clone();
    let steps: Vec<_> = plan.steps.iter().filter(|step| !door.state().steps_done.contains(&step.name)).collect();
    let last = until.and_then(|phase| steps.iter().rposition(|step| step.phase.eq_ignore_ascii_case(phase)));
    for (index, planned) in steps.iter().enumerate() {
        let step = Step { plan, planned };
        let grounded = step.check_ground(index == 0, &mut door, voice).await;
        let taken = match grounded {
            Ok(()) => step.take(&mut door, voice).await,
            Err(error) => Err(error),
        };
        match taken {
            Ok(()) => {}
            Err(StepError::Door(DoorError::PauseWanted)) => {
                return Ok(pause(door, voice, PAUSED, ASKED_TO_PAUSE).await);
            }
            Err(StepError::Door(DoorError::Interrupted { exit })) => {
                return Ok(pause(door, voice, exit, "a signal asked to stop").await);
            }
            Err(source) => return Err(stop(door, voice, plan, &planned.name, source).await),
        }
        if last == Some(index) && index + 1 < steps.len() {
            pause(door, voice, 0, &format!("phase `{}` is done, and the run was to go no further", planned.phase))
                .await;
            return Ok(Ending::AfterPhase);
        }
    }
    let cluster = door.cluster.clone();
    match door.finish(0).await {
        Ok(()) => {
            voice.tell(Event::RunFinished { run, exit: 0, requests: cluster.requests() });
            Ok(Ending::Finished)
        }
        Err(source) => Err(RunError { run, step: "finish".to_owned(), exit: 1, source: source.into() }),
    }
}

async fn pause(door: Door, voice: &Voice, exit: u8, why: &str) -> Ending {
    let run = door.state().run.clone();
    if let Err(error) = door.stop(exit, why).await {
        unrecorded(&error);
    }
    voice.tell(Event::RunStopped { now: format!("calico-upgrader resume {run}"), run, exit, why: why.to_owned() });
    Ending::Paused { exit }
}

fn unrecorded(error: &DoorError) {
    tracing::warn!(%error, "the stop could not be recorded everywhere");
}

async fn stop(door: Door, voice: &Voice, plan: &Plan, step: &str, source: StepError) -> RunError {
    let (run, exit) = (door.state().run.clone(), exit_of(plan, &source));
    let why = source.to_string();
    let (source, exit, why) = match door.stop(exit, &why).await {
        // Who has the run by now explains whatever else was found.
        Err(lost @ DoorError::Record(RecordError::Lost { .. })) => {
            (StepError::from(lost), 8, "another runner has it".to_owned())
        }
        Err(other) => {
            unrecorded(&other);
            (source, exit, why)
        }
        Ok(()) => (source, exit, why),
    };
    voice.tell(Event::RunStopped { now: format!("calico-upgrader resume {run}"), run: run.clone(), exit, why });
    RunError { run, step: step.to_owned(), exit, source }
}

/// A rollback that cannot go on by itself leaves a cluster that nobody planned: a person must look.
fn exit_of(plan: &Plan, error: &StepError) -> u8 {
    let code = exit_code(error);
    let needs_a_person = match error {
        StepError::Pull(_) | StepError::Roll(_) | StepError::NotYet { .. } | StepError::NotProven(_) => true,
        StepError::Door(DoorError::Change(_)) => code == 1,
        StepError::Door(_)
        | StepError::Cluster(_)
        | StepError::Drift(_)
        | StepError::SourceChanged { .. }
        | StepError::Backup(_) => false,
    };
    match plan.purpose {
        Purpose::Rollback { .. } if needs_a_person => ROLLBACK_FAILED,
        Purpose::Rollback { .. } | Purpose::Upgrade | Purpose::Completion { .. } | Purpose::Restore { .. } => code,
    }
}

/// The exit code that a script can act on.
fn exit_code(error: &StepError) -> u8 {
    use crate::{cluster::ClusterError, door::ChangeError};
    let of_cluster = |error: &ClusterError| if error.is_about_access() { 15 } else { 1 };
    match error {
        StepError::Drift(_) | StepError::SourceChanged { .. } => 13,
        StepError::Door(DoorError::Change(ChangeError::Drift(_))) => 13,
        StepError::Door(DoorError::Change(ChangeError::Refused { source, .. })) => of_cluster(source),
        StepError::Door(DoorError::Change(ChangeError::StoredOtherwise { .. })) => 13,
        StepError::Door(DoorError::LeaseLost | DoorError::Record(RecordError::Lost { .. })) => 8,
        StepError::Door(DoorError::Record(RecordError::Cluster(source))) => of_cluster(source),
        StepError::Door(DoorError::Record(_) | DoorError::Journal(_) | DoorError::File(_)) => 1,
        StepError::Door(DoorError::PauseWanted) => PAUSED,
        StepError::Door(DoorError::Interrupted { exit }) => *exit,
        StepError::Cluster(source) => of_cluster(source),
        StepError::Pull(_) | StepError::Roll(_) | StepError::NotYet { .. } => 4,
        StepError::Backup(_) => 14,
        StepError::NotProven(_) => 5,
    }
}
