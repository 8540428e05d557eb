//! What a step changes, as people read it: alike changes together, and each field as lines taken away and added.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::{
    plan::{Line, ObjectChange, PlannedStep},
    resource::{Difference, Kind, ObjectRef, differences, masked_field},
};

/// Objects of one group that are named; the plan holds all.
pub const NAMED: usize = 500;

/// Changes of one step that do the same to objects of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeGroup {
    pub verb: String,
    pub kind: String,
    pub count: usize,
    pub objects: Vec<ChangedObject>,
}

/// One object that is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedObject {
    pub object: String,
    pub why: String,
    pub fields: Vec<ChangedField>,
}

/// One field that is changed: lines that begin with `-` go, lines that begin with `+` come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedField {
    pub path: String,
    pub lines: Vec<String>,
}

/// The planned changes of a step, with secrets masked; of keys that the plan names lines for, what they hold stands beside it.
pub fn change_groups(step: &PlannedStep, keys: &BTreeMap<String, ObjectChange>) -> Vec<ChangeGroup> {
    let mut groups: Vec<ChangeGroup> = Vec::new();
    for change in step.changes() {
        add(&mut groups, change.verb(), change.object.kind, || changed_object(change));
    }
    for (lines, note) in step.lines() {
        for line in lines.iter() {
            add(&mut groups, line.verb(), Kind::EtcdKey, || changed_key(&line, note, keys));
        }
    }
    groups
}

fn add(groups: &mut Vec<ChangeGroup>, verb: &str, kind: Kind, object: impl FnOnce() -> ChangedObject) {
    let place = groups.iter().position(|group| group.verb == verb && group.kind == kind.name()).unwrap_or_else(|| {
        let (verb, kind) = (verb.to_owned(), kind.name().to_owned());
        groups.push(ChangeGroup { verb, kind, count: 0, objects: Vec::new() });
        groups.len() - 1
    });
    let group = &mut groups[place];
    group.count += 1;
    if group.count <= NAMED {
        group.objects.push(object());
    }
}

/// Of a key that becomes what a line of a backup says the plan has no text.
fn changed_key(line: &Line<'_>, note: Option<&str>, keys: &BTreeMap<String, ObjectChange>) -> ChangedObject {
    let note = note.map(|note| format!("; {note}")).unwrap_or_default();
    let fields = keys.get(line.key).map(|change| changed_object(change).fields).unwrap_or_default();
    ChangedObject { object: line.key.to_owned(), why: format!("{}{note}", line.why()), fields }
}

fn changed_object(change: &ObjectChange) -> ChangedObject {
    let ObjectRef { namespace, name, .. } = &change.object;
    let object = namespace.as_ref().map_or_else(|| name.clone(), |namespace| format!("{namespace}/{name}"));
    let fields = change.fields().iter().flat_map(|field| changed_fields(&change.object, field)).collect();
    ChangedObject { object, why: change.why.clone(), fields }
}

/// A text that is a configuration in JSON counts by its own fields; how it is written changes nothing.
fn changed_fields(object: &ObjectRef, field: &Difference) -> Vec<ChangedField> {
    let parsed = |value: &Option<Value>| -> Option<Value> {
        serde_json::from_str(value.as_ref()?.as_str()?).ok().filter(Value::is_object)
    };
    let (Some(found), Some(wanted)) = (parsed(&field.found), parsed(&field.wanted)) else {
        return vec![changed_field(object, field)];
    };
    let inner = differences(&wanted, &found);
    if inner.is_empty() {
        let lines = vec!["  only how it is written changes".to_owned()];
        return vec![ChangedField { path: field.path.clone(), lines }];
    }
    let path = |one: &Difference| format!("{}:.{}", field.path, one.path);
    inner.into_iter().map(|one| changed_field(object, &Difference { path: path(&one), ..one })).collect()
}

fn changed_field(object: &ObjectRef, field: &Difference) -> ChangedField {
    let shown = |value: &Option<Value>| value.as_ref().map(|value| masked_field(object, &field.path, value));
    let lines = match (shown(&field.found), shown(&field.wanted)) {
        (Some(Value::String(old)), Some(Value::String(new))) if old == new => vec![format!("  {old}")],
        (Some(Value::String(old)), Some(Value::String(new))) if old.contains('\n') || new.contains('\n') => {
            text_lines(&old, &new)
        }
        (found, wanted) => {
            let line = |sign: &str, value: Option<Value>| value.map(|value| format!("{sign} {}", plain(&value)));
            line("-", found).into_iter().chain(line("+", wanted)).collect()
        }
    };
    ChangedField { path: field.path.clone(), lines }
}

/// A value as people write it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The lines of a text that change, each with the one before and after it.
fn text_lines(old: &str, new: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for (index, group) in diff.grouped_ops(1).iter().enumerate() {
        if index > 0 {
            lines.push("  …".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => "-",
                ChangeTag::Insert => "+",
                ChangeTag::Equal => " ",
            };
            lines.push(format!("{sign} {}", change.value().trim_end_matches('\n')));
        }
    }
    lines
}
