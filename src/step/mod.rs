//! Steps: each a desired state, its moves from what is observed now, and the evidence once no move is left.
//!
//! A step is taken in units, one after the other. A unit is looked at, its moves are made, and it is looked at again until
//! there are none: so a unit may be taken any number of times, and going on after a kill is taking it once more.

mod back_up;
mod controllers;
mod cordon;
mod held;
mod lines;
mod objects;
mod order;
mod pace;
mod probe;
mod pull;
mod recreate;
mod roll;
mod snapshot;
mod template;
mod tidy;
mod verify;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

pub use back_up::check_backup;
pub use lines::{pending_lines, replaced_keys};
pub use objects::{State, pending, state_of};
pub use order::planned_moves;
pub use pace::expected_for_a_node;
pub use probe::ProbeError;
pub use pull::{PullError, planned_pull};
pub use recreate::planned_recreation;
pub use roll::RollError;
pub use snapshot::{SnapshotError, keep_snapshot};
pub use tidy::planned_uncordons;
pub use verify::{Claim, claims, nodes_run_the_release};

use crate::{
    backup::BackupError,
    cluster::{ClusterError, looks},
    door::{BackupPlace, Door, DoorError, Drift},
    event::{Event, Voice},
    journal::News,
    plan::{Desired, Plan, PlannedStep, Stage},
    resource::ObjectRef,
};

/// A step of a plan, ready to be taken.
pub struct Step<'p> {
    pub plan: &'p Plan,
    pub planned: &'p PlannedStep,
}

/// Why a step did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    #[error(transparent)]
    Door(#[from] DoorError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Drift(#[from] Box<Drift>),
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error(transparent)]
    Roll(#[from] RollError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("waited {}s for {what}", .waited.as_secs())]
    NotYet { what: String, waited: Duration },
    #[error("`{object}` changed while its copy was made")]
    SourceChanged { object: ObjectRef },
    #[error("{} claims do not hold", .0.len())]
    NotProven(Vec<Claim>),
}

impl StepError {
    /// What the cluster, or the etcd of Calico's data, refused, if that is what it is about.
    pub fn refusal(&self) -> Option<&ClusterError> {
        match self {
            StepError::Door(error) => error.refusal(),
            StepError::Cluster(error) => Some(error),
            StepError::Drift(_)
            | StepError::Pull(_)
            | StepError::Roll(_)
            | StepError::Probe(_)
            | StepError::Backup(_)
            | StepError::NotYet { .. }
            | StepError::SourceChanged { .. }
            | StepError::NotProven(_) => None,
        }
    }
}

/// How long a server may take to establish a definition, or a controller to see a change.
const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// How often, at least, what is waited for is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Step<'_> {
    /// Takes the step to its end and records the evidence.
    pub async fn take(&self, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
        let started = Instant::now();
        let step = self.planned.name.clone();
        let (phase, summary) = (self.planned.phase.clone(), self.planned.summary.clone());
        voice.tell(Event::StepStarted { step: step.clone(), phase, summary, changes: self.planned.count() });
        door.note(News::StepStarted { step: step.clone() })?;
        let backup = self.take_units(door, voice).await?;
        door.finish_step(&step, backup).await?;
        voice.tell(Event::StepDone { step, seconds: started.elapsed().as_secs() });
        Ok(())
    }

    /// Makes sure that the steps before this one still hold. The first step of a runner takes up what was put back while
    /// nobody ran; later on, whoever puts something back is at work right now, and stops the run.
    pub async fn check_ground(&self, is_first: bool, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
        if is_first {
            held::restore(self, door, voice).await
        } else {
            held::check(&door.cluster, self.plan, &self.planned.name).await?;
            lines::check(self, door).await
        }
    }

    async fn take_units(&self, door: &mut Door, voice: &Voice) -> Result<Option<BackupPlace>, StepError> {
        match &self.planned.desired {
            Desired::BackUp => return back_up::take(self, door, voice).await.map(Some),
            Desired::Objects { stages } => {
                for (at, stage) in stages.iter().enumerate() {
                    if !self.is_passed(stage, &stages[at + 1..], door).await? {
                        self.take_stage(stage, door, voice).await?;
                    }
                }
            }
            Desired::Pull(pull) => pull::take(self, pull, door, voice).await?,
            Desired::Roll(roll) => {
                if !template::is_over(self, roll, &door.cluster).await? {
                    roll::take(self, roll, door, voice).await?;
                }
                if let Some(change) = &roll.then {
                    objects::take(self, std::slice::from_ref(change), door, voice).await?;
                    self.take_stage(&Stage::UntilObserved(change.object.clone()), door, voice).await?;
                }
            }
            Desired::Verify(verify) => {
                self.prove(verify::claims(&door.cluster, self.plan, verify).await?, door, voice)?
            }
        }
        Ok(None)
    }

    /// Answers whether a runner before us came past a wait for pods to go: what waited for that is made. From then on the pods that are there may
    /// be new ones with the same labels.
    async fn is_passed(&self, stage: &Stage, later: &[Stage], door: &Door) -> Result<bool, StepError> {
        let next = later.iter().map(Stage::changes).find(|changes| !changes.is_empty());
        let (Stage::UntilGone { .. }, Some(changes)) = (stage, next) else { return Ok(false) };
        for change in changes {
            let live = door.cluster.get(&change.object).await?;
            if state_of(self.plan, change, live.as_ref()) != State::Done {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn take_stage(&self, stage: &Stage, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
        match stage {
            Stage::Changes(changes) => objects::take(self, changes, door, voice).await,
            Stage::Recreated(recreation) => recreate::take(self, recreation, door, voice).await,
            Stage::Lines { lines, .. } => lines::take(self, lines, door, voice).await,
            Stage::UntilEstablished(names) => {
                for name in names {
                    let reached = async || door.cluster.is_established(name).await;
                    self.wait(door, format!("CustomResourceDefinition {name} to be established"), reached, voice)
                        .await?;
                }
                Ok(())
            }
            Stage::UntilObserved(object) => {
                let reached = async || {
                    let live = door.cluster.get(object).await?;
                    Ok(live.is_some_and(|live| live.generation.is_observed()))
                };
                self.wait(door, format!("the controller to see the change of {object}"), reached, voice).await
            }
            Stage::Unchanged(source) => objects::check_unchanged(&door.cluster, source).await,
            Stage::Uncordoned(runs) => tidy::uncordon(self, runs, door, voice).await,
            Stage::NoOrphans => tidy::sweep(self, door, voice).await,
            Stage::NoProbes => probe::remove_all(self, door, voice).await,
            Stage::UntilGone { namespace, selector, within_seconds } => {
                controllers::until_gone(self, namespace, selector, *within_seconds, door, voice).await
            }
            Stage::UntilReady { object, within_seconds } => {
                controllers::until_ready(self, object, *within_seconds, door, voice).await
            }
        }
    }

    /// Looks again and again until something is so, and says what it waits for.
    async fn wait(
        &self,
        door: &Door,
        what: String,
        reached: impl AsyncFn() -> Result<bool, ClusterError>,
        voice: &Voice,
    ) -> Result<(), StepError> {
        self.wait_within(SETTLE_LIMIT, door, what, reached, voice).await
    }

    async fn wait_within(
        &self,
        limit: Duration,
        door: &Door,
        what: String,
        reached: impl AsyncFn() -> Result<bool, ClusterError>,
        voice: &Voice,
    ) -> Result<(), StepError> {
        let (started, mut looks) = (Instant::now(), looks(LOOK_AGAIN));
        let mut is_told = false;
        while !reached().await? {
            if let Some(exit) = door.stop.asked() {
                return Err(DoorError::Interrupted { exit }.into());
            }
            door.check_hope()?;
            if started.elapsed() > limit {
                return Err(StepError::NotYet { what, waited: started.elapsed() });
            }
            if !is_told {
                is_told = true;
                let (step, limit_seconds) = (self.planned.name.clone(), limit.as_secs());
                voice.tell(Event::WaitStarted { step, what: what.clone(), limit_seconds });
            }
            tokio::time::sleep(looks.next().unwrap_or(LOOK_AGAIN)).await;
        }
        if is_told {
            voice.tell(Event::WaitDone { step: self.planned.name.clone(), what });
        }
        Ok(())
    }

    fn prove(&self, claims: Vec<Claim>, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
        let step = &self.planned.name;
        for claim in &claims {
            let (text, facts) = (claim.text.clone(), claim.facts.clone());
            if claim.holds {
                voice.tell(Event::Proven { step: step.clone(), claim: text.clone() });
                door.note(News::Proven { step: step.clone(), claim: text, facts })?;
            } else {
                door.note(News::Broken { step: step.clone(), claim: text, facts })?;
            }
        }
        let broken: Vec<_> = claims.into_iter().filter(|claim| !claim.holds).collect();
        if broken.is_empty() { Ok(()) } else { Err(StepError::NotProven(broken)) }
    }
}

/// Where the backup of a run lies, inside its directory.
pub fn backup_directory(run: &std::path::Path) -> PathBuf {
    run.join("backup")
}
