//! `--only`: the objects of a backup that are named one by one.

use std::collections::BTreeSet;

use crate::resource::ObjectRef;

/// Names shown where one was not found.
const NEAR: usize = 3;

/// A name of `--only` that names no single object of the backup.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmatched {
    #[error("`--only {name}` names nothing in the backup")]
    Nothing { name: String, near: Vec<String> },
    #[error("`--only {name}` names {} objects of the backup", .all.len())]
    Several { name: String, all: Vec<String> },
}

/// Finds the named objects among those of a backup.
pub fn select<'a>(
    names: &[String],
    backup: impl Iterator<Item = &'a ObjectRef> + Clone,
) -> Result<BTreeSet<ObjectRef>, Unmatched> {
    let mut all = BTreeSet::new();
    for name in names {
        let of_kind = select_kind(name, backup.clone());
        if of_kind.is_empty() {
            all.insert(select_one(name, backup.clone())?);
        }
        all.extend(of_kind);
    }
    Ok(all)
}

/// A kind alone stands for all its objects. Old and new kinds differ by capitals alone, so those count.
fn select_kind<'a>(name: &str, backup: impl Iterator<Item = &'a ObjectRef>) -> Vec<ObjectRef> {
    backup.filter(|object| object.kind.name() == name).cloned().collect()
}

fn select_one<'a>(name: &str, backup: impl Iterator<Item = &'a ObjectRef> + Clone) -> Result<ObjectRef, Unmatched> {
    // Old and new kinds of Calico differ by capitals alone, so those count if they lead somewhere.
    let exact = || backup.clone().filter(|object| is_named(object, name, str::eq)).collect::<Vec<_>>();
    let loose = || backup.clone().filter(|object| is_named(object, name, str::eq_ignore_ascii_case)).collect();
    let found = Some(exact()).filter(|found| !found.is_empty()).unwrap_or_else(loose);
    match found.as_slice() {
        [object] => Ok((*object).clone()),
        [] => Err(Unmatched::Nothing { name: name.to_owned(), near: near(name, backup) }),
        [..] => Err(Unmatched::Several { name: name.to_owned(), all: found.into_iter().map(full_name).collect() }),
    }
}

fn is_named(object: &ObjectRef, text: &str, is_kind: impl Fn(&str, &str) -> bool) -> bool {
    let Some((kind, rest)) = text.split_once('/') else { return false };
    let in_namespace = object.namespace.as_ref().map(|namespace| format!("{namespace}/{}", object.name));
    is_kind(object.kind.name(), kind) && (rest == object.name || in_namespace.as_deref() == Some(rest))
}

/// An object as `--only` names it.
pub(super) fn full_name(object: &ObjectRef) -> String {
    match &object.namespace {
        Some(namespace) => format!("{}/{namespace}/{}", object.kind, object.name),
        None => format!("{}/{}", object.kind, object.name),
    }
}

fn near<'a>(name: &str, backup: impl Iterator<Item = &'a ObjectRef>) -> Vec<String> {
    let wanted = name.to_ascii_lowercase();
    let distance = |known: &str| {
        let known = known.to_ascii_lowercase();
        let last = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        let by_name = strsim::damerau_levenshtein(&last(&wanted), &last(&known)) + 1;
        strsim::damerau_levenshtein(&wanted, &known).min(by_name)
    };
    let mut known: Vec<(usize, String)> = backup.map(full_name).map(|known| (distance(&known), known)).collect();
    known.sort();
    known.into_iter().take(NEAR).map(|(_, known)| known).collect()
}
