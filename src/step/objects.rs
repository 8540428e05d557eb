//! Objects as they shall be. Each is one of four: as wanted, wanted later, as it was, or changed by others.

use std::collections::BTreeMap;

use super::{Step, StepError};
use crate::{
    cluster::Cluster,
    door::{Action, BATCH, Change, Door, Drift},
    event::{Event, Voice},
    observe::read_each,
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
    let wanted = missing(&door.cluster, step.plan, changes).await?;
    let of = wanted.len();
    let (mut wanted, mut done) = (wanted.into_iter(), 0);
    while done < of {
        // A batch is made when it is its turn: all at once, every text would be there twice.
        let batch: Vec<Change> = wanted.by_ref().take(BATCH).map(to_send).collect();
        done += batch.len();
        send(step, batch, (done, of), door, voice).await?;
    }
    Ok(())
}

/// Sends a batch, and tells of it: with it so many of all are done.
pub(super) async fn send(
    step: &Step<'_>,
    batch: Vec<Change>,
    (done, of): (usize, usize),
    door: &mut Door,
    voice: &Voice,
) -> Result<(), StepError> {
    let name = &step.planned.name;
    let told = batch.iter().map(|change| (change.intent().action.name().to_owned(), change.object.to_string()));
    let told: Vec<_> = told.map(|(verb, object)| Event::Changed { step: name.clone(), verb, object }).collect();
    door.apply(name, batch, |_| {}).await?;
    told.into_iter().for_each(|event| voice.tell(event));
    voice.tell(Event::StepProgress { step: name.clone(), done, of });
    Ok(())
}

/// Answers which changes are still to be made, with the preconditions of now.
pub async fn pending(cluster: &Cluster, plan: &Plan, changes: &[ObjectChange]) -> Result<Vec<Change>, StepError> {
    Ok(missing(cluster, plan, changes).await?.into_iter().map(to_send).collect())
}

/// A change that is still to be made, and the object as it is.
type Missing<'p> = (&'p ObjectChange, Option<Box<Live>>);

async fn missing<'p>(
    cluster: &Cluster,
    plan: &Plan,
    changes: &'p [ObjectChange],
) -> Result<Vec<Missing<'p>>, StepError> {
    let by_object: BTreeMap<&ObjectRef, &ObjectChange> = changes.iter().map(|one| (&one.object, one)).collect();
    let keep = |object: &ObjectRef, live: Live| {
        let known = by_object.get(object).and_then(|change| change.before.as_ref());
        Box::new(sharing(live, known))
    };
    let mut live = read_each(cluster, changes.iter().map(|change| &change.object), keep).await?;
    let mut wanted = Vec::new();
    for change in changes {
        let found = live.remove(&change.object);
        match state_of(plan, change, found.as_deref()) {
            State::Done => {}
            State::Before | State::Earlier => wanted.push((change, found)),
            State::Foreign => return Err(drift(change, found.as_deref()).into()),
        }
    }
    Ok(wanted)
}

/// An object that is as a plan has it needs no text of its own.
fn sharing(live: Live, known: Option<&Document>) -> Live {
    match known.filter(|known| **known == live.document) {
        Some(known) => Live { document: known.clone(), ..live },
        None => live,
    }
}

pub(super) fn drift(change: &ObjectChange, live: Option<&Live>) -> Box<Drift> {
    let value = |document: &Option<Document>| document.as_ref().map(Document::value).unwrap_or_default();
    let found = live.map(|live| live.document.value()).unwrap_or_default();
    Box::new(Drift::between(&change.object, &value(&change.before), &value(&change.after), &found))
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

/// What is neither wanted nor there is done already, and never comes here.
fn to_send((change, live): Missing<'_>) -> Change {
    let action = match (&change.after, live) {
        (Some(after), None) => Action::Create { after: after.clone() },
        (Some(after), Some(before)) => Action::Replace { before, after: after.clone() },
        (None, Some(before)) => Action::Delete { before },
        (None, None) => unreachable!("an object that shall not be and is not is done"),
    };
    labelled(change.object.clone(), action)
}

/// A change whose label names what is done to which object.
pub(super) fn labelled(object: ObjectRef, action: Action) -> Change {
    let mut change = Change { label: String::new(), object, action };
    change.label = format!("{} {}", change.intent().action.name(), change.object);
    change
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
