//! Objects as they shall be. Each is one of four: as wanted, wanted later, as it was, or changed by others.

use std::collections::BTreeMap;

use super::{Step, StepError};
use crate::{
    cluster::Cluster,
    door::{Action, BATCH, Change, Door, Drift},
    event::{Event, Voice},
    observe::read_all,
    plan::{ObjectChange, Plan},
    resource::{Digest, Document, Kind, Live, ObjectRef, differences},
};

/// Where an object is on its way through the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// This change is made, or one that comes after it.
    Done,
    /// As the change expects to find it.
    Before,
    /// An earlier change of the same object is still to come.
    Earlier,
    /// Someone else changed it.
    Foreign,
}

pub(super) async fn take(
    step: &Step<'_>,
    changes: &[ObjectChange],
    door: &mut Door,
    voice: &Voice,
) -> Result<(), StepError> {
    let name = &step.planned.name;
    let wanted = pending(&door.cluster, step.plan, changes).await?;
    let of = wanted.len();
    let mut done = 0;
    for batch in wanted.chunks(BATCH) {
        door.apply(name, batch.to_vec(), |_| {}).await?;
        done += batch.len();
        for change in batch {
            let (verb, object) = (change.intent().action.name().to_owned(), change.object.to_string());
            voice.tell(Event::Changed { step: name.clone(), verb, object });
        }
        voice.tell(Event::StepProgress { step: name.clone(), done, of });
    }
    Ok(())
}

/// Answers which changes are still to be made, with the preconditions of now.
pub async fn pending(cluster: &Cluster, plan: &Plan, changes: &[ObjectChange]) -> Result<Vec<Change>, StepError> {
    let objects: Vec<ObjectRef> = changes.iter().map(|change| change.object.clone()).collect();
    let mut live = read_all(cluster, &objects).await?;
    let mut wanted = Vec::new();
    for change in changes {
        let found = live.remove(&change.object);
        match state_of(plan, change, found.as_ref()) {
            State::Done => {}
            State::Before | State::Earlier => wanted.extend(to_send(change, found)),
            State::Foreign => {
                let value = |document: &Option<Document>| document.as_ref().map(Document::value).unwrap_or_default();
                let found = found.map(|live| live.document.value()).unwrap_or_default();
                return Err(Box::new(Drift::between(
                    &change.object,
                    &value(&change.before),
                    &value(&change.after),
                    &found,
                ))
                .into());
            }
        }
    }
    Ok(wanted)
}

/// Tells where an object is: a plan may change one object several times.
pub fn state_of(plan: &Plan, change: &ObjectChange, live: Option<&Live>) -> State {
    // What is found has no use for a change of the same content: compare with all that the plan makes of the object.
    let is = |wanted: &Option<Document>| match (wanted, live) {
        (None, None) => true,
        (Some(wanted), Some(live)) => {
            wanted == &live.document || differences(&wanted.value(), &live.document.value()).is_empty()
        }
        (None, Some(_)) | (Some(_), None) => false,
    };
    if is(&change.after) {
        return State::Done;
    }
    if is(&change.before) {
        return State::Before;
    }
    let of_object: Vec<&ObjectChange> = plan.changes().filter(|other| other.object == change.object).collect();
    let place = of_object.iter().position(|other| *other == change).unwrap_or(0);
    if of_object[place..].iter().any(|later| is(&later.after)) {
        State::Done
    } else if of_object[..place].iter().any(|earlier| is(&earlier.before)) {
        State::Earlier
    } else {
        State::Foreign
    }
}

fn to_send(change: &ObjectChange, live: Option<Live>) -> Option<Change> {
    let action = match (&change.after, live) {
        (Some(after), None) => Action::Create { after: after.clone() },
        (Some(after), Some(live)) => Action::Replace { before: Box::new(live), after: after.clone() },
        (None, Some(live)) => Action::Delete { before: Box::new(live) },
        (None, None) => return None,
    };
    let mut change = Change { label: String::new(), object: change.object.clone(), action };
    change.label = format!("{} {}", change.intent().action.name(), change.object);
    Some(change)
}

/// Checks that the source of a copy is as it was, object by object, and that nothing was added to it.
pub(super) async fn check_unchanged(cluster: &Cluster, source: &[(ObjectRef, Digest)]) -> Result<(), StepError> {
    let mut expected: BTreeMap<&ObjectRef, &Digest> = source.iter().map(|(object, digest)| (object, digest)).collect();
    for kind in Kind::THIRD_PARTY {
        for live in cluster.list(kind, None).await? {
            let object = ObjectRef { kind, namespace: live.namespace.clone(), name: live.name.clone() };
            if expected.remove(&object) != Some(&live.document.digest()) {
                return Err(StepError::SourceChanged { object });
            }
        }
    }
    match expected.into_keys().next() {
        Some(gone) => Err(StepError::SourceChanged { object: gone.clone() }),
        None => Ok(()),
    }
}
