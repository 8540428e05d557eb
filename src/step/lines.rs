//! Keys become again what lines of the backup say. The text of a line is read when it is its turn, from the copy that the run took
//! along; what is live is compared by its digest as it goes by.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use futures::{StreamExt, TryStreamExt};

use super::{Step, StepError, backup_directory, objects};
use crate::{
    backup::{self, BackupError, CopiedLines, KeyFile},
    cluster::{Cluster, ClusterError},
    door::{Action, BATCH, Change, Door, Drift},
    event::Voice,
    plan::{Line, Lines, ObjectChange, Plan, PlannedStep},
    resource::{Difference, Digest, Document, Live, ObjectRef},
};

/// Reads of one batch that are under way at once, as many as its writes.
const IN_FLIGHT: usize = 24;

/// From how many keys on one list is less work than single reads.
const LIST_FROM: usize = 8;

/// Where a key is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Done,
    Before,
    /// Someone else changed it.
    Foreign,
}

fn state_of(line: &Line<'_>, live: Option<&Digest>) -> State {
    if live == Some(line.after) {
        State::Done
    } else if live == line.before {
        State::Before
    } else {
        State::Foreign
    }
}

/// Looks at all keys once, or at a few one by one, and answers for each line where its key is.
async fn look(cluster: &Cluster, lines: &Lines) -> Result<Vec<State>, ClusterError> {
    let is_few = lines.len() < LIST_FROM;
    let (mut states, mut seen): (Vec<State>, _) =
        (lines.iter().map(|line| state_of(&line, None)).collect(), vec![false; lines.len()]);
    let places: HashMap<&str, usize> = lines.iter().enumerate().map(|(place, line)| (line.key, place)).collect();
    let visit = |live: Live| {
        if let Some(place) = places.get(live.name.as_str()) {
            states[*place] = state_of(&lines.get(*place), Some(&live.document.digest()));
            seen[*place] = true;
        }
    };
    if !is_few {
        cluster.visit_keys(visit).await?;
    }
    // etcd lists no key below an element that begins with `_`, so that it was not listed says nothing.
    let is_asked_for = |place: &usize| is_few || lines.get(*place).key.contains("/_");
    let unseen: Vec<usize> = (0..lines.len()).filter(|place| !seen[*place]).filter(is_asked_for).collect();
    for (place, live) in get(cluster, lines, unseen.into_iter()).await? {
        states[place] = state_of(&lines.get(place), live.map(|live| live.document.digest()).as_ref());
    }
    Ok(states)
}

/// Reads the keys of some lines one by one.
async fn get(
    cluster: &Cluster,
    lines: &Lines,
    places: impl Iterator<Item = usize>,
) -> Result<Vec<(usize, Option<Live>)>, ClusterError> {
    let reads = places.map(|place| async move { Ok((place, cluster.get(&lines.get(place).object()).await?)) });
    futures::stream::iter(reads).buffered(IN_FLIGHT).try_collect().await
}

/// Opens the run's copy at the first of these lines of its plan.
fn copy(run: &Path, plan: &Plan, lines: &Lines) -> Result<CopiedLines, BackupError> {
    let before = plan.lines().take_while(|one| !std::ptr::eq(*one, lines)).map(Lines::len).sum();
    CopiedLines::open(run, before)
}

pub(super) async fn take(step: &Step<'_>, lines: &Lines, door: &mut Door, voice: &Voice) -> Result<(), StepError> {
    let states = look(&door.cluster, lines).await?;
    if let Some(place) = states.iter().position(|state| *state == State::Foreign) {
        let live = door.cluster.get(&lines.get(place).object()).await?;
        return Err(drift(step.plan, lines, place, live.as_ref(), door.files.directory())?.into());
    }
    let of = states.iter().filter(|state| **state == State::Before).count();
    let mut copied = copy(door.files.directory(), step.plan, lines)?;
    let (mut batch, mut done) = (Vec::new(), 0);
    for (place, line) in lines.iter().enumerate() {
        let after = copied.next(&line)?;
        if states[place] == State::Before {
            batch.push((place, after));
        }
        if batch.len() == BATCH || (place + 1 == lines.len() && !batch.is_empty()) {
            done += batch.len();
            let changes = changes(step.plan, lines, std::mem::take(&mut batch), door).await?;
            objects::send(step, changes, (done, of), door, voice).await?;
        }
    }
    Ok(())
}

/// Makes the changes of a batch. A key that is replaced is read once more: its index is the precondition.
async fn changes(
    plan: &Plan,
    lines: &Lines,
    batch: Vec<(usize, Document)>,
    door: &Door,
) -> Result<Vec<Change>, StepError> {
    let replaced = batch.iter().map(|(place, _)| *place).filter(|place| lines.get(*place).before.is_some());
    let mut found: BTreeMap<usize, Option<Live>> = get(&door.cluster, lines, replaced).await?.into_iter().collect();
    let mut changes = Vec::new();
    for (place, after) in batch {
        let line = lines.get(place);
        let live = found.remove(&place).flatten();
        let action = match (line.before, state_of(&line, live.as_ref().map(|live| live.document.digest()).as_ref())) {
            (None, _) => Action::Create { after },
            (Some(_), State::Done) => continue,
            (Some(_), State::Before) => {
                let before = Box::new(live.expect("what is as before is there"));
                Action::Replace { before, after }
            }
            (Some(_), State::Foreign) => {
                return Err(drift(plan, lines, place, live.as_ref(), door.files.directory())?.into());
            }
        };
        changes.push(objects::labelled(line.object(), action));
    }
    Ok(changes)
}

/// Names the changes that are still to be made; of a key that others changed the difference.
pub async fn pending_lines(cluster: &Cluster, lines: &Lines) -> Result<Vec<String>, StepError> {
    let states = look(cluster, lines).await?;
    if let Some(place) = states.iter().position(|state| *state == State::Foreign) {
        let line = lines.get(place);
        let live = cluster.get(&line.object()).await?;
        return Err(Box::new(unread(&line, live.as_ref())).into());
    }
    let wanted = lines.iter().zip(states).filter(|(_, state)| *state == State::Before);
    Ok(wanted.map(|(line, _)| format!("{} {}", line.verb(), line.object())).collect())
}

/// Finds a key that was replaced and is not any more what the step made of it. One that is gone went with its host or pod.
async fn put_back(cluster: &Cluster, lines: &Lines) -> Result<Option<usize>, ClusterError> {
    if lines.iter().all(|line| line.before.is_none()) {
        return Ok(None);
    }
    let states = look(cluster, lines).await?;
    Ok((0..lines.len()).find(|place| lines.get(*place).before.is_some() && states[*place] != State::Done))
}

/// Answers whether every key that a step replaced is as it left it.
pub(super) async fn are_held(cluster: &Cluster, planned: &PlannedStep) -> Result<bool, ClusterError> {
    for (lines, _) in planned.lines() {
        if put_back(cluster, lines).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Stops if a key is no longer as the steps before the named one left it.
pub(super) async fn check(step: &Step<'_>, door: &Door) -> Result<(), StepError> {
    let earlier = step.plan.steps.iter().take_while(|planned| planned.name != step.planned.name);
    for (lines, _) in earlier.flat_map(PlannedStep::lines) {
        if let Some(place) = put_back(&door.cluster, lines).await? {
            let live = door.cluster.get(&lines.get(place).object()).await?;
            return Err(drift(step.plan, lines, place, live.as_ref(), door.files.directory())?.into());
        }
    }
    Ok(())
}

/// Counts the keys that are as planned, and names those that are not.
pub(super) async fn as_planned(cluster: &Cluster, plan: &Plan) -> Result<(usize, Vec<ObjectRef>), ClusterError> {
    let (mut count, mut wrong) = (0, Vec::new());
    for lines in plan.lines() {
        let states = look(cluster, lines).await?;
        count += lines.len();
        wrong
            .extend(lines.iter().zip(states).filter(|(_, state)| *state != State::Done).map(|(line, _)| line.object()));
    }
    Ok((count, wrong))
}

/// Tells three ways apart: as it was by the run's own backup, as it shall be by the run's copy of the line, as it is.
fn drift(plan: &Plan, lines: &Lines, place: usize, live: Option<&Live>, run: &Path) -> Result<Box<Drift>, StepError> {
    let line = lines.get(place);
    let mut copied = copy(run, plan, lines)?;
    let mut after = None;
    for line in lines.iter().take(place + 1) {
        after = Some(copied.next(&line)?);
    }
    let after = after.map(|after| after.value()).unwrap_or_default();
    let found = live.map(|live| live.document.value()).unwrap_or_default();
    let before = match line.before {
        None => serde_json::Value::Null,
        // On another machine than the run began on its backup is not there: then only the two others are told apart.
        Some(digest) => match before(&backup_directory(run), line.key, digest) {
            Some(before) => before.value(),
            None => {
                return Ok(Box::new(Drift {
                    wanted: crate::resource::differences(&after, &found),
                    ..unread(&line, live)
                }));
            }
        },
    };
    Ok(Box::new(Drift::between(&line.object(), &before, &after, &found)))
}

/// What a key was, by the backup that the run made before it changed anything.
fn before(backup: &Path, key: &str, digest: &Digest) -> Option<Document> {
    let manifest = backup::read_manifest(backup).ok()?;
    let mut file = KeyFile::open(backup, &manifest).ok()??;
    while let Some(backed) = file.read().ok()? {
        if backed.name == key {
            return Some(backed.document).filter(|document| document.digest() == *digest);
        }
    }
    None
}

/// A difference of which only digests are known.
fn unread(line: &Line<'_>, live: Option<&Live>) -> Drift {
    let text = |digest: Digest| Some(format!("what has the digest {}", digest.short()).into());
    let found = live.map(|live| live.document.digest()).and_then(text);
    let field = |wanted: Option<&Digest>| Difference {
        path: "value".to_owned(),
        wanted: wanted.cloned().and_then(text),
        found: found.clone(),
    };
    let did = match (line.before, live) {
        (_, None) => "deleted",
        (None, Some(_)) => "made",
        (Some(_), Some(_)) => "changed",
    };
    Drift { object: line.object(), did, since: vec![field(line.before)], wanted: vec![field(Some(line.after))] }
}

/// The first keys that a run replaced, as they were and as the backup says, for its account: from what the run left on this machine.
pub fn replaced_keys(run: &Path, plan: &Plan, at_most: usize) -> Result<BTreeMap<String, ObjectChange>, BackupError> {
    let replaced = plan.lines().flat_map(Lines::iter).filter(|line| line.before.is_some());
    let wanted: BTreeSet<&str> = replaced.take(at_most).map(|line| line.key).collect();
    let mut found = BTreeMap::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    let mut copied = CopiedLines::open(run, 0)?;
    for line in plan.lines().flat_map(Lines::iter) {
        let after = copied.next(&line)?;
        if wanted.contains(line.key) {
            let change =
                ObjectChange { object: line.object(), before: None, after: Some(after), why: line.why().to_owned() };
            found.insert(line.key.to_owned(), change);
        }
    }
    let manifest = backup::read_manifest(&backup_directory(run))?;
    let Some(mut file) = KeyFile::open(&backup_directory(run), &manifest)? else { return Ok(BTreeMap::new()) };
    while let Some(backed) = file.read()? {
        if let Some(change) = found.get_mut(&backed.name) {
            change.before = Some(backed.document);
        }
    }
    found.retain(|_, change| change.before.is_some());
    Ok(found)
}
