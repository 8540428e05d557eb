//! What a rollback leaves as it is, and why; and what must not be left.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Omitted,
    rollback::{Aftermath, Back, reads_old_data},
    way::{Part, Place, Way},
};
use crate::{
    check::{DRIFT, Finding, Severity},
    inventory::Stored,
    resource::{Difference, ObjectRef},
};

impl<'a> Back<'a> {
    /// What the pods depend on must be in a state that is known; so must Typha and the controllers, since left as they are they would
    /// run beside nodes of a release that does not suit them.
    pub fn foreign_finding(&self) -> Option<Finding> {
        let parts = [Part::Nodes, Part::Controllers];
        let foreign: Vec<&Way<'_>> = parts.into_iter().flat_map(|part| self.of(part, Place::Foreign)).collect();
        let title = format!("{} objects that the nodes depend on were changed by someone else", foreign.len());
        let fields = |way: &&Way<'_>| way.foreign_fields().into_iter().map(|one| (way.object.clone(), one)).collect();
        let lines = foreign.iter().flat_map(|way| -> Vec<_> { fields(way) });
        let lines = lines.map(|(object, one)| difference_line(&object, &one));
        let finding = Finding::new("CU-P021", Severity::Final { exit: DRIFT }, title).evidence(lines.take(20));
        let why = "going back would overwrite what they did";
        let now = "put the fields back as the run left them (or roll the later run back), then the same command again";
        (!foreign.is_empty()).then(|| finding.why(why).now(now))
    }

    /// What does not go back, and why.
    pub fn left(&self) -> Vec<Omitted> {
        let mut left: Vec<Omitted> = self.definitions().into_iter().collect();
        let lines =
            |part: Part, why: &'static str| self.of(part, Place::Foreign).map(move |way| omitted(way.object, why));
        left.extend(lines(Part::Rights, "others changed it since the run"));
        left.extend(lines(Part::Policy, "others changed it since the run"));
        left.extend(lines(Part::Data, "others changed it since it was copied, and the old Calico does not read it"));
        let mended = self.of(Part::Data, Place::Beyond).filter(|way| !self.can_hold(way));
        left.extend(mended.map(|way| {
            omitted(
                way.object,
                "the definition has no room for its old fields, and the old Calico reads the new ones alike",
            )
        }));
        let homeless = self.of(Part::Policy, Place::Beyond).filter(|way| !self.has_namespace(way));
        left.extend(homeless.map(|way| omitted(way.object, "its namespace is gone")));
        left.extend(self.new_data().map(|stored| omitted(&stored.object, "the old Calico does not read it")));
        left.extend(
            self.deleted_copies().map(|way| {
                omitted(way.object, "others deleted it since it was copied, and the old object counts again")
            }),
        );
        left
    }

    fn definitions(&self) -> Option<Omitted> {
        let count =
            self.of(Part::Definition, Place::Beyond).count() + self.of(Part::Definition, Place::Foreign).count();
        let why = format!("{count} stay: whoever deletes a definition deletes all data of its kind");
        (count > 0).then(|| Omitted { name: "CustomResourceDefinitions".to_owned(), why })
    }

    /// Custom resources that are not of the run.
    pub(super) fn new_data(&self) -> impl Iterator<Item = &'a Stored> {
        let is_read_elsewhere = reads_old_data(self.aftermath.plan);
        let of_run: BTreeSet<&ObjectRef> = self.ways.iter().map(|way| way.object).collect();
        let custom = self.aftermath.inventory.custom.iter();
        custom.filter(move |stored| is_read_elsewhere && !of_run.contains(&stored.object))
    }

    pub(super) fn deleted_copies(&self) -> impl Iterator<Item = &Way<'a>> {
        let Aftermath { plan, steps_done, is_going_back, .. } = self.aftermath;
        let is_copied = !is_going_back
            && plan.steps.iter().any(|step| {
                steps_done.contains(&step.name)
                    && step.changes().any(|change| Part::of(change.object.kind) == Part::Data)
            });
        self.of(Part::Data, Place::There).filter(move |way| is_copied && way.last().is_some() && way.live.is_none())
    }
}

fn omitted(object: &ObjectRef, why: &str) -> Omitted {
    Omitted { name: object.to_string(), why: why.to_owned() }
}

pub(super) fn difference_line(object: &ObjectRef, one: &Difference) -> String {
    let text = |value: &Option<Value>| {
        let text = value.as_ref().map_or("nothing".to_owned(), Value::to_string);
        if text.chars().count() > 80 { text.chars().take(77).collect::<String>() + "..." } else { text }
    };
    format!("{object}: {}: the run left {}, now {}", one.path, text(&one.wanted), text(&one.found))
}
