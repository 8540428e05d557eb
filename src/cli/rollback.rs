use std::collections::BTreeMap;

use super::{
    Ended,
    arguments::{Gates, Resume, RightsFor, Rollback},
    consent, dry_run,
    failure::Failure,
    plan::show,
    run::{Started, drive_to_the_end, may, start},
    session::Session,
    terminal,
};
use crate::{
    cluster::Cluster,
    door::{self, Record, RunPhase, RunState},
    inventory::Inventory,
    observe,
    plan::{Aftermath, Plan, Purpose, Sealed, roll_back},
    report,
    resource::{Document, Live, ObjectRef},
    runbook,
};

pub async fn rollback(session: &Session, arguments: &Rollback) -> Ended {
    if !arguments.or_resume {
        return roll_back_now(session, arguments).await;
    }
    let runs = door::runs(&session.connect().await?).await?;
    match half_done(&runs, arguments.run.as_deref())? {
        None => roll_back_now(session, arguments).await,
        Some(run) => {
            let (consent, lease) = (arguments.consent, arguments.lease.clone());
            let resume = Resume::of(run, consent, Gates::default(), lease);
            super::resume::resume(session, &resume).await
        }
    }
}

/// The newest rollback that did not come to its end: of the named run, or of any. One that a person paused is left to people.
fn half_done(runs: &[RunState], of: Option<&str>) -> Result<Option<String>, Failure> {
    let is_meant = |state: &&RunState| match &state.purpose {
        Purpose::Rollback { run } => !state.phase.is_over() && of.is_none_or(|of| of == run),
        Purpose::Upgrade | Purpose::Completion { .. } | Purpose::Restore { .. } => false,
    };
    match runs.iter().rev().find(is_meant) {
        Some(RunState { run, phase: RunPhase::Stopped { exit: 11, .. }, .. }) => Err(super::scheduled::paused(run)),
        found => Ok(found.map(|state| state.run.clone())),
    }
}

async fn roll_back_now(session: &Session, arguments: &Rollback) -> Ended {
    let home = session.home(&arguments.lease.lease_duration, None)?;
    let cluster = session.connect_with_data().await?;
    observe::may_look_back(&cluster).await?;
    let Some(past) = Past::find(&cluster, arguments.run.as_deref()).await? else {
        terminal::chatter_line("No upgrade was ever recorded on this cluster: nothing to roll back.");
        return Ok(0);
    };
    past.check_not_completed()?;
    let (plan, inventory) = past.plan(session, &cluster, arguments.to.as_deref()).await?;
    let sealed = Sealed::new(plan);
    if sealed.plan.is_empty() {
        terminal::chatter_line(&format!("Run {}: nothing of it is left to take back.", past.state.run));
        return Ok(0);
    }
    if let Some(mode) = arguments.trial.dry_run {
        terminal::chatter(&report::findings(&sealed.plan.findings));
        return dry_run::dry_run(session, &cluster, &sealed, mode).await;
    }
    show(session, &sealed, &inventory);
    terminal::chatter(&report::findings(&sealed.plan.findings));
    may(&observe::missing_for(&cluster, &sealed.plan).await?, Some(RightsFor::Rollback))?;
    consent::to_roll_back(&sealed.plan, &past.state.run, arguments)?;
    let started = start(session, &home, &cluster, &sealed, &inventory, None).await?;
    let (again, _) = past.plan(session, &cluster, arguments.to.as_deref()).await?;
    let started = match is_same(&again, &sealed.plan) {
        true => started,
        false => return Err(give_up(started, &past.state.run).await),
    };
    drive_to_the_end(session, &home, &sealed, started).await
}

/// What goes back, and what would be lost, must be what was shown.
fn is_same(again: &Plan, shown: &Plan) -> bool {
    again.steps == shown.steps && again.findings == shown.findings
}

/// The run may have written until the lock was ours: then the plan is of a cluster that is no more.
async fn give_up(started: Started, run: &str) -> Failure {
    let Started { door, voice, progress } = started;
    if let Err(error) = door.stop(13, "the cluster changed while the rollback was planned").await {
        tracing::warn!(%error, "the stop could not be recorded everywhere");
    }
    drop(voice);
    progress.end().await;
    Failure::new(13, "CU-E011", "the cluster changed since the plan was made")
        .why("what was reviewed is no longer what would run; no object was changed")
        .now(format!("calico-upgrader rollback {run}"))
}

/// A run, and all others that the cluster has records of.
pub struct Past {
    pub state: RunState,
    pub plan: Plan,
    pub runs: Vec<RunState>,
}

impl Past {
    /// Finds the named run, or the newest upgrade.
    pub async fn find(cluster: &Cluster, named: Option<&str>) -> Result<Option<Self>, Failure> {
        let runs = door::runs(cluster).await?;
        let newest =
            || runs.iter().rev().find(|state| state.purpose == Purpose::Upgrade).map(|state| state.run.clone());
        let Some(run) = named.map(str::to_owned).or_else(newest) else { return Ok(None) };
        let record = Record::open(cluster, &run).await?;
        if record.state.purpose != Purpose::Upgrade {
            return Err(Failure::new(3, "CU-E019", format!("run `{run}` is no upgrade"))
                .why("only what an upgrade changed can be taken back or completed; nothing was changed")
                .now("calico-upgrader status"));
        }
        if observe::cluster_uid(cluster).await? != record.state.cluster {
            return Err(crate::engine::StartError::OtherCluster { run }.into());
        }
        let plan = record.plan().await?.plan;
        Ok(Some(Self { state: record.state, plan, runs }))
    }

    /// The run that gave up the way back, if there is one.
    fn completion(&self) -> Option<&RunState> {
        let purpose = Purpose::Completion { run: self.state.run.clone() };
        self.runs.iter().find(|other| other.purpose == purpose && other.phase != RunPhase::Abandoned)
    }

    fn check_not_completed(&self) -> Result<(), Failure> {
        let Some(completion) = self.completion() else { return Ok(()) };
        let backup = completion.backup.as_ref();
        let evidence = backup.map(|place| format!("its backup: {} on {}", place.path, place.host));
        let title = format!("run `{}` was completed by run `{}`", self.state.run, completion.run);
        Err(Failure::new(3, "CU-E018", title)
            .evidence(evidence)
            .why("the old data is gone, and an old Calico would start without it; nothing was changed")
            .now(format!("calico-upgrader restore {}", backup.map_or("BACKUP", |place| &place.path))))
    }

    /// The run and the rollbacks of it: their cordons are ours to take away.
    fn cordoned_by(&self) -> Vec<String> {
        let of_run = Purpose::Rollback { run: self.state.run.clone() };
        let rollbacks = self.runs.iter().filter(|other| other.purpose == of_run);
        [&self.state].into_iter().chain(rollbacks).map(|state| state.run.clone()).collect()
    }

    /// Looks at the cluster and decides what goes back.
    async fn plan(
        &self,
        session: &Session,
        cluster: &Cluster,
        keep: Option<&str>,
    ) -> Result<(Plan, Inventory), Failure> {
        let inventory = session.look(cluster, &runbook::catalogue(), None).await?;
        let pull = self.plan.pull().map(|pull| &pull.daemon_set);
        let objects: Vec<ObjectRef> = self.plan.changes().map(|change| &change.object).chain(pull).cloned().collect();
        let live = observe::read_all(cluster, &objects).await?;
        // One that a run deleted to make it anew is as good as gone.
        let is_going = |object: &ObjectRef, live: &Live| live.is_terminating && self.makes_anew(object);
        let live = live.into_iter().filter(|(object, live)| !is_going(object, live));
        let live: BTreeMap<ObjectRef, Document> = live.map(|(object, live)| (object, live.document)).collect();
        let plan = roll_back(&Aftermath {
            run: &self.state.run,
            plan: &self.plan,
            steps_done: &self.state.steps_done,
            is_over: self.state.phase.is_over(),
            is_going_back: self.is_going_back(),
            inventory: &inventory,
            live: &live,
            cordoned_by: &self.cordoned_by(),
            keep,
        })?;
        Ok((plan, inventory))
    }

    fn makes_anew(&self, object: &ObjectRef) -> bool {
        self.plan.changes().any(|change| change.object == *object && change.recreated_for().is_some())
    }

    /// Answers whether the newest rollback of the run did not come to its end, even if it was given up.
    fn is_going_back(&self) -> bool {
        let purpose = Purpose::Rollback { run: self.state.run.clone() };
        let newest = self.runs.iter().rev().find(|other| other.purpose == purpose);
        newest.is_some_and(|rollback| match rollback.phase {
            RunPhase::Finished { .. } => false,
            RunPhase::Running | RunPhase::Stopped { .. } | RunPhase::Abandoned | RunPhase::RolledBack { .. } => true,
        })
    }
}
