use crate::{
    cluster::ClusterError,
    door::{Beginning, Door, DoorError, Hold, RecordError},
    plan::{Plan, PlannedStep, Purpose},
    step::{Step, StepError},
};

use tracing::Instrument;

use crate::event::{Event, Voice};

/// A rollback stopped and cannot go on by itself.
pub const ROLLBACK_FAILED: u8 = 7;

/// A run waits for room in the store of the API server, as it waits for a node.
const STORE_FULL: u8 = 4;

/// A record that somebody deleted is something else than what was planned.
const RECORD_GONE: u8 = 13;

/// How far a runner goes, and what it leaves to others.
#[derive(Clone, Debug, Default)]
pub struct Course {
    pub until: Option<Until>,
    /// Steps that another runner takes. The run stops before each, and its lock is free then.
    pub others: Vec<String>,
}

/// Where a runner stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// After this phase.
    Phase(String),
    /// After this step, which is the next one, or done.
    Step(String),
}

/// How a run ended without an error.
#[derive(Debug)]
pub enum Ending {
    Finished,
    /// It stopped after the phase or the step that was named.
    AsFarAsNamed,
    /// The next step is for another runner to take; then the run goes on.
    HandedOver {
        step: String,
    },
    /// It goes on when what holds it is over.
    Held(Hold),
    /// Someone sent a signal.
    Interrupted {
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

/// Takes the steps that are not done yet, as far as the course goes.
pub async fn run(plan: &Plan, course: &Course, mut door: Door, voice: &Voice) -> Result<Ending, RunError> {
    let run = door.state().run.clone();
    let steps: Vec<_> = plan.steps.iter().filter(|step| !door.state().steps_done.contains(&step.name)).collect();
    let last = course.until.as_ref().map(|until| steps.iter().rposition(|step| until.is_met_by(step)));
    if last == Some(None) {
        pause(door, voice, 0, "what was to be done is done", resume(&run)).await;
        return Ok(Ending::AsFarAsNamed);
    }
    for (index, planned) in steps.iter().enumerate() {
        if course.others.contains(&planned.name) {
            let step = planned.name.clone();
            pause(door, voice, 0, &format!("step `{step}` is for a Job of its own"), resume(&run)).await;
            return Ok(Ending::HandedOver { step });
        }
        let step = Step { plan, planned };
        // An error span, so that warnings have its fields where the log is quiet.
        let span = tracing::error_span!("step", %run, step = planned.name);
        match take(&step, index == 0, &mut door, voice).instrument(span).await {
            Ok(()) => {}
            Err(StepError::Door(DoorError::Held(hold))) => {
                pause(door, voice, hold.exit(), &hold.to_string(), hold.now(&run)).await;
                return Ok(Ending::Held(hold));
            }
            Err(StepError::Door(DoorError::Interrupted { exit })) => {
                pause(door, voice, exit, "a signal asked to stop", resume(&run)).await;
                return Ok(Ending::Interrupted { exit });
            }
            Err(source) => return Err(stop(door, voice, plan, &planned.name, source).await),
        }
        if last == Some(Some(index)) && index + 1 < steps.len() {
            let why = format!("{} is done, and the run was to go no further", course.end_of(planned));
            pause(door, voice, 0, &why, resume(&run)).await;
            return Ok(Ending::AsFarAsNamed);
        }
    }
    let cluster = door.cluster.clone();
    match door.finish(0).await {
        Ok(()) => {
            voice.tell(Event::RunFinished { run, exit: 0, requests: cluster.requests() });
            Ok(Ending::Finished)
        }
        Err(source) => {
            let source = StepError::from(source);
            Err(RunError { run, step: "finish".to_owned(), exit: exit_of(plan, &source), source })
        }
    }
}

impl Until {
    fn is_met_by(&self, step: &PlannedStep) -> bool {
        match self {
            Until::Phase(phase) => step.phase.eq_ignore_ascii_case(phase),
            Until::Step(name) => step.name == *name,
        }
    }
}

impl Course {
    /// What ends with the last step to take, in words.
    fn end_of(&self, step: &PlannedStep) -> String {
        match self.until {
            Some(Until::Step(_)) => format!("step `{}`", step.name),
            Some(Until::Phase(_)) | None => format!("phase `{}`", step.phase),
        }
    }
}

async fn take(step: &Step<'_>, is_first: bool, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    door.may_begin(Beginning::Changes).await.map_err(DoorError::from)?;
    tracing::info!("the step begins");
    step.check_ground(is_first, door, voice).await?;
    step.take(door, voice).await?;
    tracing::info!("the step is done");
    Ok(())
}

fn resume(run: &str) -> String {
    format!("calico-upgrader resume {run}")
}

/// Stops the run where it can go on; `now` is what makes it do so.
async fn pause(door: Door, voice: &Voice, exit: u8, why: &str, now: String) {
    let run = door.state().run.clone();
    if let Err(error) = door.stop(exit, why).await {
        unrecorded(&error);
    }
    voice.tell(Event::RunStopped { now, run, exit, why: why.to_owned() });
}

fn unrecorded(error: &DoorError) {
    tracing::warn!(%error, "the stop could not be recorded everywhere");
}

async fn stop(door: Door, voice: &Voice, plan: &Plan, step: &str, source: StepError) -> RunError {
    let (run, exit) = (door.state().run.clone(), exit_of(plan, &source));
    let why = reason(&source);
    let (source, exit, why) = match door.stop(exit, &why).await {
        // Who has the run by now explains whatever else was found.
        Err(lost @ DoorError::Record(RecordError::Lost { .. })) => {
            (StepError::from(lost), 8, "another runner has it".to_owned())
        }
        // So does one who deleted the record.
        Err(gone @ DoorError::Record(RecordError::Missing { .. })) => {
            let why = gone.to_string();
            (StepError::from(gone), RECORD_GONE, why)
        }
        // So does a store that takes no writes: no node gets ready, and no wait comes to its end.
        Err(full) if is_full(full.refusal()) && !is_full(source.refusal()) => {
            let full = StepError::from(full);
            let why = format!("{}; so {why}", reason(&full));
            (full, STORE_FULL, why)
        }
        Err(other) => {
            unrecorded(&other);
            (source, exit, why)
        }
        Ok(()) => (source, exit, why),
    };
    voice.tell(Event::RunStopped { now: resume(&run), run: run.clone(), exit, why });
    RunError { run, step: step.to_owned(), exit, source }
}

/// A full store says more than what could not be written to it.
fn reason(error: &StepError) -> String {
    error.refusal().filter(|refusal| is_full(Some(refusal))).map_or_else(|| error.to_string(), ClusterError::to_string)
}

fn is_full(error: Option<&ClusterError>) -> bool {
    matches!(error, Some(ClusterError::StoreFull { .. }))
}

/// A rollback that cannot go on by itself leaves a cluster that nobody planned: a person must look.
fn exit_of(plan: &Plan, error: &StepError) -> u8 {
    let code = exit_code(error);
    let needs_a_person = match error {
        StepError::Pull(_)
        | StepError::Roll(_)
        | StepError::Probe(_)
        | StepError::NotYet { .. }
        | StepError::NotProven(_) => true,
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
    use crate::door::ChangeError;
    let of_cluster = |error: &ClusterError| {
        if is_full(Some(error)) {
            STORE_FULL
        } else if error.is_about_access() {
            15
        } else {
            1
        }
    };
    match error {
        StepError::Drift(_) | StepError::SourceChanged { .. } => 13,
        StepError::Door(DoorError::Change(ChangeError::Drift(_))) => 13,
        StepError::Door(DoorError::Change(ChangeError::Refused { source, .. })) => of_cluster(source),
        StepError::Door(DoorError::Change(ChangeError::StoredOtherwise { .. })) => 13,
        StepError::Door(DoorError::LeaseLost | DoorError::Record(RecordError::Lost { .. })) => 8,
        StepError::Door(DoorError::Record(RecordError::Cluster(source))) => of_cluster(source),
        StepError::Door(DoorError::Record(RecordError::Missing { .. })) => RECORD_GONE,
        StepError::Door(
            DoorError::Record(RecordError::Damaged { .. } | RecordError::File(_))
            | DoorError::Journal(_)
            | DoorError::File(_),
        ) => 1,
        StepError::Door(DoorError::Held(hold)) => hold.exit(),
        StepError::Door(DoorError::Interrupted { exit }) => *exit,
        StepError::Cluster(source) => of_cluster(source),
        StepError::Pull(_) | StepError::Roll(_) | StepError::Probe(_) | StepError::NotYet { .. } => 4,
        StepError::Backup(_) => 14,
        StepError::NotProven(_) => 5,
    }
}
