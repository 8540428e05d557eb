//! The controllers on their way back: at no time do two of them run.

use super::{Back, objects};
use crate::{
    plan::{
        ObjectChange, PlannedStep, Recreation, Stage,
        steps::{replicas, stopped},
        way::{Part, Place, Way},
    },
    resource::{Document, selector_of},
};

/// How long the pods of controllers may take to go and to come, by default.
const WITHIN: u64 = 600;

impl Back<'_> {
    /// Those that the run brought go, and only when their pods are gone the old ones come back.
    pub(super) fn controllers(&self) -> Option<PlannedStep> {
        let beyond = || self.of(Part::Controllers, Place::Beyond);
        let within_seconds = self.aftermath.plan.request.ready_within_seconds.unwrap_or(WITHIN);
        let (back, gone): (Vec<_>, Vec<_>) = beyond().partition(|way| way.wanted().is_some());
        let (anew, in_place): (Vec<_>, Vec<_>) =
            back.iter().copied().partition(|way| self.change(way).recreated_for().is_some());
        let stops: Vec<ObjectChange> = anew.iter().map(|way| stop(self.change(way))).collect();
        let changes: Vec<ObjectChange> = gone.iter().map(|way| self.change(way)).chain(stops).collect();
        let pods = gone.iter().chain(&anew).map(|way| pods_gone(way, within_seconds));
        let mut stages: Vec<Stage> = some(changes).into_iter().chain(pods).collect();
        stages.extend(some(in_place.iter().map(|way| self.change(way)).collect()));
        stages.extend(anew.iter().map(|way| Stage::Recreated(Recreation::of(from_stopped(self.change(way)), &[]))));
        let runs = back.iter().filter(|way| way.wanted().is_some_and(|wanted| replicas(wanted) != 0));
        stages.extend(runs.map(|way| Stage::UntilReady { object: way.object.clone(), within_seconds }));
        objects("take-back-controllers", "Controllers back", "changes, one controller at any time", stages)
    }
}

fn some(changes: Vec<ObjectChange>) -> Option<Stage> {
    (!changes.is_empty()).then_some(Stage::Changes(changes))
}

fn pods_gone(way: &Way<'_>, within_seconds: u64) -> Stage {
    Stage::UntilGone {
        namespace: way.object.namespace.clone().unwrap_or_default(),
        selector: way.live.map(|live| selector_of(&live.value())).unwrap_or_default(),
        within_seconds,
    }
}

/// One that is made anew runs no pod any more when it goes.
fn stop(change: ObjectChange) -> ObjectChange {
    let after = change.before.as_ref().map(stopped).map(Document::new);
    ObjectChange { after, why: "two controllers must never run at once".to_owned(), ..change }
}

fn from_stopped(change: ObjectChange) -> ObjectChange {
    ObjectChange { before: change.before.as_ref().map(stopped).map(Document::new), ..change }
}
