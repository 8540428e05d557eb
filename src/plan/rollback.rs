//! Takes a run back: decides from its plan and from what is there now which object becomes again what it was.
//!
//! Nothing is replayed backwards. Each object that the run's plan changes is looked at: in a state that the plan knows it goes
//! back, in one that nobody knows others changed it. So it makes no difference where the run stopped, or whether an earlier
//! rollback of it stopped midway. What is written back is the whole object as the plan keeps it; `before` is the object as it is
//! now, so that the backup holds it to the byte.
//!
//! The order is not the upgrade's from the end: a new calico-node enforces dormant policies and reads the copied data, so the
//! nodes go back first, the newest first, and only then rights, data and policies. The definitions of custom resources stay:
//! whoever deletes one deletes all data of its kind, also that of others.

mod controllers;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Desired, ObjectChange, Order, Plan, PlannedStep, Purpose, Roll, Stage, Verify, crossing,
    recreation::{Recreation, differs_in, stages_of},
    steps::{not_picked, on_delete},
    way::{Part, Place, Way, is_same},
};
use crate::{
    check::{BLOCKED, Finding, Severity},
    inventory::Inventory,
    resource::{Document, Kind, ObjectRef, selector_of},
    runbook::{StepKind, node_image_of},
};

const BEFORE_THE_RUN: &str = "as it was before the run";

/// What a run left behind, and how far it shall go back.
#[derive(Clone, Copy, Debug)]
pub struct Aftermath<'a> {
    pub run: &'a str,
    pub plan: &'a Plan,
    pub steps_done: &'a [String],
    /// Whether nobody will go on with the run; one that is open is closed even if it changed nothing.
    pub is_over: bool,
    /// Whether an earlier rollback of it did not come to its end.
    pub is_going_back: bool,
    pub inventory: &'a Inventory,
    /// The objects of the plan as they are now.
    pub live: &'a BTreeMap<ObjectRef, Document>,
    /// Runs whose cordons are ours to take away: the run, and earlier rollbacks of it.
    pub cordoned_by: &'a [String],
    /// The last step that stays done.
    pub keep: Option<&'a str>,
}

/// Why there is no plan for a rollback.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    #[error("the run cannot go back to step `{step}`; it can to: {}", steps.join(", "))]
    Step { step: String, steps: Vec<String> },
    #[error("{} findings block the rollback", .0.len())]
    Blocked(Vec<Finding>),
}

/// Makes the plan that takes the run back, or names what speaks against it.
pub fn roll_back(aftermath: &Aftermath<'_>) -> Result<Plan, RollbackError> {
    let ways = Way::all(aftermath.plan, kept_steps(aftermath)?, aftermath.live);
    let back = Back { aftermath, ways };
    let unsafe_back = crossing::no_way_back(aftermath, &back.ways);
    let blocking = [unsafe_back, back.foreign_finding(), lost_data(aftermath), back.lost_nodes()];
    let findings: Vec<Finding> = blocking.into_iter().flatten().collect();
    if !findings.is_empty() {
        return Err(RollbackError::Blocked(findings));
    }
    let Plan { from, to, .. } = aftermath.plan;
    let purpose = Purpose::Rollback { run: aftermath.run.to_owned() };
    Ok(Plan {
        to: if back.nodes_stay() { *to } else { *from },
        steps: back.steps(),
        omitted: back.left(),
        findings: back.loss().into_iter().collect(),
        ..aftermath.plan.follow_up(purpose, &aftermath.inventory.cluster)
    })
}

/// How many steps stay done. The nodes and the template of their pods can only go back together.
fn kept_steps(aftermath: &Aftermath<'_>) -> Result<usize, RollbackError> {
    let Some(step) = aftermath.keep else { return Ok(0) };
    let (plan, steps) = (aftermath.plan, &aftermath.plan.steps);
    let has_template = |step: &PlannedStep| step.changes().any(|change| change.object == plan.daemon_set);
    let is_roll = |step: &PlannedStep| matches!(step.desired, Desired::Roll(_));
    let can_stay = |at: usize| !(steps[..=at].iter().any(has_template) && steps[at + 1..].iter().any(is_roll));
    let places: Vec<usize> = (0..steps.len()).filter(|at| can_stay(*at)).collect();
    let found = places.iter().find(|at| steps[**at].name == step);
    found.map(|at| at + 1).ok_or_else(|| RollbackError::Step {
        step: step.to_owned(),
        steps: places.iter().map(|at| steps[*at].name.clone()).collect(),
    })
}

/// An old Calico without its data would start with default pools and no configuration.
fn lost_data(aftermath: &Aftermath<'_>) -> Option<Finding> {
    let there: BTreeSet<&ObjectRef> = aftermath.inventory.third_party.iter().map(|stored| &stored.object).collect();
    let known = aftermath.plan.verification()?.third_party.iter().map(|(object, _)| object);
    let gone: Vec<&ObjectRef> = known.filter(|one| !there.contains(one)).collect();
    if gone.is_empty() || !reads_old_data(aftermath.plan) {
        return None;
    }
    let title = format!("{} objects of the old data are gone", gone.len());
    let finding = Finding::new("CU-P022", Severity::Final { exit: BLOCKED }, title);
    let why =
        format!("Calico {} reads them, and would start without its pools and its configuration", aftermath.plan.from);
    Some(
        finding
            .evidence(gone.iter().take(10).map(ToString::to_string))
            .why(why)
            .now("calico-upgrader restore BACKUP, then the same command again"),
    )
}

/// Answers whether the old release keeps its data where the run copied it from.
pub(super) fn reads_old_data(plan: &Plan) -> bool {
    let copy = plan.runbook.steps.iter().find(|step| step.step == StepKind::CopyResources);
    copy.is_some_and(|step| step.is_needed((plan.from, plan.to), plan.datastore, plan.flavour))
}

/// The ways of all objects, and what is there now.
pub(super) struct Back<'a> {
    pub aftermath: &'a Aftermath<'a>,
    pub ways: Vec<Way<'a>>,
}

impl<'a> Back<'a> {
    pub(super) fn of(&self, part: Part, place: Place) -> impl Iterator<Item = &Way<'a>> {
        self.ways.iter().filter(move |way| Part::of(way.object.kind) == part && way.place == place)
    }

    /// The DaemonSet, if it or its pods go back.
    pub(super) fn daemon_set(&self) -> Option<&Way<'a>> {
        let way = self.ways.iter().find(|way| *way.object == self.aftermath.plan.daemon_set)?;
        match way.place {
            Place::Beyond => Some(way),
            Place::There => self.has_new_pods(way).then_some(way),
            Place::Foreign => None,
        }
    }

    /// A DaemonSet that never rolls by itself looks as it was while an earlier rollback still had pods to replace.
    fn has_new_pods(&self, way: &Way<'_>) -> bool {
        let Aftermath { plan, inventory, .. } = self.aftermath;
        let (Some(old), Some(live)) = (way.wanted(), way.live) else { return false };
        let image = node_image_of(old);
        let new = plan.verification().map(|verify| &verify.image).filter(|new| Some(*new) != image.as_ref());
        let mut pods = inventory.nodes.iter().filter_map(|node| node.pod.as_ref());
        let is_frozen = is_same(Some(&frozen(old, Some(live))), Some(live));
        let is_midway = self.aftermath.is_going_back && self.has_template_step_done();
        is_frozen && (is_midway || pods.any(|pod| Some(&pod.image) == new))
    }

    /// Only then did the run replace pods.
    fn has_template_step_done(&self) -> bool {
        let Aftermath { plan, steps_done, .. } = self.aftermath;
        let is_template = |step: &&PlannedStep| step.changes().any(|change| change.object == plan.daemon_set);
        plan.steps.iter().find(is_template).is_some_and(|step| steps_done.contains(&step.name))
    }

    /// Answers whether the nodes are to stay with the new release.
    fn nodes_stay(&self) -> bool {
        let way = self.ways.iter().find(|way| *way.object == self.aftermath.plan.daemon_set);
        way.is_some_and(|way| is_same(way.wanted(), way.last()))
    }

    fn steps(&self) -> Vec<PlannedStep> {
        let changes: Vec<PlannedStep> = [
            self.pull(),
            self.probes(),
            self.release(),
            self.roll(),
            self.cordons(),
            self.controllers(),
            self.rights(),
            self.data(),
            self.policies(),
        ]
        .into_iter()
        .flatten()
        .collect();
        if changes.is_empty() && self.aftermath.is_over && !self.aftermath.is_going_back {
            return Vec::new();
        }
        let summary = "every object that goes back, as it is now, and all of Calico's data".to_owned();
        let back_up = step("back-up", "Back up", summary, Desired::BackUp);
        [back_up].into_iter().chain(changes).chain(self.verify()).collect()
    }

    /// A run that died while it pulled left its DaemonSet.
    fn pull(&self) -> Option<PlannedStep> {
        let pull = self.aftermath.plan.pull()?;
        let live =
            self.aftermath.live.get(&pull.daemon_set).filter(|live| is_same(Some(&pull.document), Some(live)))?;
        let why = "the run made it to pull images".to_owned();
        let change = ObjectChange { object: pull.daemon_set.clone(), before: Some(live.clone()), after: None, why };
        objects("stop-pulling", "Clean up", "DaemonSet of ours", vec![Stage::Changes(vec![change])])
    }

    /// Those of a run that died before its first node stay; where nodes go back, that step makes and removes its own.
    fn probes(&self) -> Option<PlannedStep> {
        self.aftermath.plan.roll()?.probe.as_ref().filter(|_| self.daemon_set().is_none())?;
        let (summary, stages) = ("probes of the run".to_owned(), vec![Stage::NoProbes]);
        let is_begun = !self.aftermath.is_over || self.aftermath.is_going_back;
        is_begun.then(|| step("stop-probing", "Clean up", summary, Desired::Objects { stages }))
    }

    /// The DaemonSet stops rolling by itself, then it and what its pods read become as they were.
    fn release(&self) -> Option<PlannedStep> {
        let is_there = |way: &&Way<'_>| way.wanted().is_some() && way.object.kind != Kind::DaemonSet;
        let others: Vec<ObjectChange> =
            self.of(Part::Nodes, Place::Beyond).filter(is_there).map(|way| self.change(way)).collect();
        let others = (!others.is_empty()).then_some(Stage::Changes(others));
        let mut stages = Vec::new();
        match self.templates() {
            None => stages.extend(others),
            Some((way, Some(live), old)) if differs_in(Kind::DaemonSet, old, live).is_none() => {
                let frozen = frozen(live, Some(live));
                stages.extend(change_stages(way.object, live, &frozen, "the nodes go back one by one, by us"));
                stages.extend(others);
                stages.extend(change_stages(way.object, &frozen, &self::frozen(old, Some(live)), BEFORE_THE_RUN));
                stages.push(Stage::UntilObserved(way.object.clone()));
            }
            Some((way, live, old)) => {
                let (before, after) = (live.cloned(), Some(frozen(old, live)));
                let why = BEFORE_THE_RUN.to_owned();
                let anew = ObjectChange { object: way.object.clone(), before, after, why };
                stages.extend(others);
                stages.push(Stage::Recreated(Recreation::of(anew, &way.forms())));
                stages.push(Stage::UntilObserved(way.object.clone()));
            }
        }
        objects("take-back-release", "Nodes back", "changes, as the release was before the run", stages)
    }

    /// The DaemonSet that goes back, as it is now, if it is there, and as it was.
    fn templates(&self) -> Option<(&Way<'a>, Option<&'a Document>, &'a Document)> {
        let way = self.daemon_set()?;
        Some((way, way.live, way.wanted()?))
    }

    /// Nodes that came, or were labelled anew, since the run.
    fn lost_nodes(&self) -> Option<Finding> {
        let (way, _, old) = self.templates()?;
        let now = "label the nodes as the old template wants them (kubectl label nodes), then the same command again";
        not_picked(self.aftermath.inventory, way.object, old).map(|finding| finding.now(now))
    }

    fn roll(&self) -> Option<PlannedStep> {
        let (way, live, old) = self.templates()?;
        let frozen = frozen(old, live);
        let then = (!is_same(Some(old), Some(&frozen))).then(|| ObjectChange {
            object: way.object.clone(),
            before: Some(frozen),
            after: Some(old.clone()),
            why: "the update strategy is put back as it was".to_owned(),
        });
        let (image, selector) = (node_image_of(old)?, selector_of(&old.value()));
        let roll = Roll { image, selector, order: Order::NewestFirst, then, ..self.aftermath.plan.roll()?.clone() };
        let summary = format!("the nodes that were replaced, {} at a time, the newest first", roll.batch);
        Some(step("roll-nodes-back", "Nodes back", summary, Desired::Roll(roll)))
    }

    /// A run that died at a node left it cordoned.
    fn cordons(&self) -> Option<PlannedStep> {
        let runs = self.aftermath.cordoned_by;
        let is_ours = |run: &String| runs.contains(run);
        let nodes = self.aftermath.inventory.nodes.iter().filter(|node| node.cordoned_by.as_ref().is_some_and(is_ours));
        let count = nodes.count();
        let stages = vec![Stage::Uncordoned(runs.to_vec())];
        let summary = format!("{count} nodes that the run left cordoned");
        (count > 0).then(|| step("uncordon-nodes", "Nodes back", summary, Desired::Objects { stages }))
    }

    /// New rights are more than the old pods need, so they go after the new pods are gone; so does what only those read.
    fn rights(&self) -> Option<PlannedStep> {
        let only_new = self.of(Part::Nodes, Place::Beyond).filter(|way| way.wanted().is_none());
        let rights = self.of(Part::Rights, Place::Beyond);
        let changes: Vec<ObjectChange> = only_new.chain(rights).map(|way| self.change(way)).collect();
        objects("take-back-rights", "Rights back", "changes", stages_of(changes))
    }

    fn data(&self) -> Option<PlannedStep> {
        let beyond = self.of(Part::Data, Place::Beyond).filter(|way| self.can_hold(way));
        let changes: Vec<ObjectChange> = beyond.map(|way| self.change(way)).collect();
        let stages = (!changes.is_empty()).then_some(Stage::Changes(changes));
        objects("take-back-data", "Data back", "objects of data become as before the run", stages.into_iter().collect())
    }

    /// Definitions stay, and a new one may have no room for what an object was.
    pub(super) fn can_hold(&self, way: &Way<'_>) -> bool {
        way.wanted().is_none()
            || crossing::can_hold(way.object, |object| self.aftermath.live.get(object).map(Document::value))
    }

    /// Denying policies of ours go last: at no time is a namespace more open than before and after.
    fn policies(&self) -> Option<PlannedStep> {
        let beyond = self.of(Part::Policy, Place::Beyond).filter(|way| self.has_namespace(way));
        let (created, removed): (Vec<_>, Vec<_>) =
            beyond.map(|way| self.change(way)).partition(|change| change.after.is_some());
        let stages: Vec<Stage> =
            [created, removed].into_iter().filter(|all| !all.is_empty()).map(Stage::Changes).collect();
        objects("restore-policies", "Policies back", "policies as they were; those created again have new uids", stages)
    }

    /// A policy cannot come back into a namespace that is gone or going.
    pub(super) fn has_namespace(&self, way: &Way<'_>) -> bool {
        let mut namespaces = self.aftermath.inventory.namespaces.iter().filter(|namespace| !namespace.is_terminating);
        way.wanted().is_none() || namespaces.any(|one| Some(&one.name) == way.object.namespace.as_ref())
    }

    fn verify(&self) -> Option<PlannedStep> {
        let Aftermath { plan, inventory, .. } = self.aftermath;
        let way = self.ways.iter().find(|way| *way.object == plan.daemon_set);
        let live = || inventory.installs.iter().find(|install| install.daemon_set == plan.daemon_set);
        let (image, selector) = match way.and_then(Way::wanted) {
            Some(wanted) => (node_image_of(wanted)?, selector_of(&wanted.value())),
            None => live().map(|live| (live.node_image.clone(), live.selector.clone()))?,
        };
        let third_party = inventory.third_party.iter().map(|stored| (stored.object.clone(), stored.digest()));
        let verify = Verify {
            daemon_set: plan.daemon_set.clone(),
            selector,
            image,
            isolated: Vec::new(),
            opened: Vec::new(),
            third_party: third_party.collect(),
            controllers: None,
        };
        Some(step("verify", "Verify", "nodes, objects and old data".to_owned(), Desired::Verify(verify)))
    }

    fn change(&self, way: &Way<'_>) -> ObjectChange {
        let (before, after) = (way.live.cloned(), way.wanted().cloned());
        let why = if after.is_some() { BEFORE_THE_RUN } else { "the run created it, and nobody changed it" };
        ObjectChange { object: way.object.clone(), before, after, why: why.to_owned() }
    }
}

fn step(name: &str, phase: &str, summary: String, desired: Desired) -> PlannedStep {
    let undo = desired.undo();
    PlannedStep { name: name.to_owned(), phase: phase.to_owned(), summary, undo, desired }
}

fn objects(name: &str, phase: &str, what: &str, stages: Vec<Stage>) -> Option<PlannedStep> {
    if stages.is_empty() {
        return None;
    }
    let planned = step(name, phase, String::new(), Desired::Objects { stages });
    Some(PlannedStep { summary: format!("{} {what}", planned.changes().count()), ..planned })
}

/// A DaemonSet that does not roll by itself; the live one itself where it says so already, since the backup holds that.
fn frozen(document: &Document, live: Option<&Document>) -> Document {
    let frozen = Document::new(on_delete(document.value()));
    live.filter(|live| is_same(Some(&frozen), Some(live))).cloned().unwrap_or(frozen)
}

/// One change of the DaemonSet, if there is any, and the controller has seen it.
fn change_stages(object: &ObjectRef, before: &Document, after: &Document, why: &str) -> Vec<Stage> {
    if is_same(Some(after), Some(before)) {
        return Vec::new();
    }
    let (before, after) = (Some(before.clone()), Some(after.clone()));
    let change = ObjectChange { object: object.clone(), before, after, why: why.to_owned() };
    vec![Stage::Changes(vec![change]), Stage::UntilObserved(object.clone())]
}

#[cfg(test)]
mod tests;
