//! The three-way merge of one object: what the old release shipped, what is live, what the new release ships.
//!
//! A field that people changed stays as they made it; a field that only the release changed follows the release; where both
//! changed it differently nobody can tell, and the field is asked for. Named lists (containers, environment, volumes) merge by
//! name, other lists of objects as sets, and a CNI configuration, which is JSON inside a string, as JSON. Every field that is
//! not the same in all three leaves a decision.

use serde_json::{Map, Value};

use super::{
    cni,
    customize::{Decision, Preference, Preferences, Verdict},
    recreation::is_fixed,
    steps::READS,
};
use crate::{
    resource::{ObjectRef, differences},
    runbook::{Published, split_image},
};

/// The merge of one object, and what it decided on the way.
pub(super) struct Merge<'a> {
    object: &'a ObjectRef,
    preferences: &'a Preferences,
    /// Other values that the old release was published with.
    published: &'a [Published],
    /// Whether it is known what the old release shipped.
    has_base: bool,
    /// Labels that the pods need because the release's selector is taken.
    selected: Map<String, Value>,
    pub decisions: Vec<Decision>,
}

/// One field in its three states.
#[derive(Clone, Copy)]
struct Three<'v> {
    base: Option<&'v Value>,
    live: Option<&'v Value>,
    new: Option<&'v Value>,
}

/// The key by which elements of a list belong together.
const LIST_KEYS: [(&str, &str); 7] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("volumeMounts", "mountPath"),
    ("imagePullSecrets", "name"),
    ("plugins", "type"),
];

/// Fields that make sense only as a whole: parts of ours would not fit into one that people made.
const WHOLE: [&str; 4] = [".livenessProbe", ".readinessProbe", ".lifecycle", ".affinity"];

/// Fields of a pod of which an object has one at most: an API server refuses a mixture.
const ONE_OF: [&[&str]; 4] = [
    &["value", "valueFrom"],
    &["configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef"],
    &["httpGet", "exec", "tcpSocket"],
    &["hostPath", "configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected", "downwardAPI", "nfs", "csi"],
];

/// Containers of flannel, which stands beside Calico in canal and is not upgraded.
const NOT_OURS: [&str; 2] = [".containers[kube-flannel]", ".containers[flannel]"];

/// Fields that are not for a merge to change: another step does, or nobody can and people have to ask for it.
const LIVE_ONLY: [&str; 4] = [SELECTOR, "spec.updateStrategy", "roleRef", "metadata.name"];

const SELECTOR: &str = "spec.selector";

/// Where the mark of a template stands that made its pods read a ConfigMap anew; no release ships it, and no person wrote it.
fn is_our_mark(path: &str) -> bool {
    path.strip_prefix("spec.template.metadata.annotations.") == Some(READS)
}

impl<'v> Three<'v> {
    fn at(self, key: &str) -> Self {
        let at = |value: Option<&'v Value>| value.and_then(|value| value.get(key));
        Self { base: at(self.base), live: at(self.live), new: at(self.new) }
    }
}

impl<'a> Merge<'a> {
    pub fn new(object: &'a ObjectRef, preferences: &'a Preferences, published: &'a [Published]) -> Self {
        let selected = Map::new();
        Self { object, preferences, published, has_base: false, selected, decisions: Vec::new() }
    }

    /// Merges a whole object.
    pub fn object(&mut self, base: Option<&Value>, live: &Value, new: &Value) -> Value {
        self.has_base = base.is_some();
        if self.preferences.of(self.object, SELECTOR) == Some(Preference::Take) {
            let wanted = new.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
            self.selected = wanted.cloned().unwrap_or_default();
        }
        self.field("", Three { base, live: Some(live), new: Some(new) }).unwrap_or_default()
    }

    /// Merges one field and everything below it; `None` means that the field shall not be there.
    fn field(&mut self, path: &str, of: Three<'_>) -> Option<Value> {
        let Three { base, live, new } = of;
        let is_settled = is_same(path, live, new);
        let is_live_only =
            LIVE_ONLY.contains(&path) || is_our_mark(path) || NOT_OURS.iter().any(|end| path.ends_with(end));
        if is_live_only && !is_settled {
            return self.live_only(path, of);
        }
        if self.is_selected(path) && !is_settled {
            return self.decide(path, of, new, Verdict::Follows);
        }
        if is_settled && (!self.has_base || is_same(path, base, live)) {
            return live.or(new).cloned();
        }
        let is_whole = base.is_none() && live.is_some() && WHOLE.iter().any(|name| path.ends_with(name));
        if is_whole || (is_settled && base.is_none()) || is_of_another_kind(path, live, new) {
            return self.leaf(path, of);
        }
        match (live, new) {
            (Some(Value::Object(_)), Some(Value::Object(_))) => Some(self.map(path, of)),
            (Some(Value::Array(theirs)), Some(Value::Array(ours))) if is_list_of_objects(theirs, ours) => {
                Some(self.list(path, base.and_then(Value::as_array), theirs, ours))
            }
            (Some(Value::String(theirs)), Some(Value::String(ours))) if path.ends_with(".image") => {
                self.image(path, of, theirs, ours)
            }
            (Some(Value::String(theirs)), Some(Value::String(ours))) if path.ends_with(".cni_network_config") => {
                self.json_text(path, of, theirs, ours)
            }
            _ => self.leaf(path, of),
        }
    }

    /// Leaves a field alone, unless people said of one that cannot be changed what shall become of it.
    fn live_only(&mut self, path: &str, of: Three<'_>) -> Option<Value> {
        match self.preferences.of(self.object, path).filter(|_| is_fixed(path)) {
            Some(Preference::Take) => self.decide(path, of, of.new.or(of.live), Verdict::TakenAsSaid),
            Some(Preference::Keep) => self.decide(path, of, of.live.or(of.new), Verdict::KeptAsSaid),
            None => self.decide(path, of, of.live.or(of.new), Verdict::LeftAlone),
        }
    }

    /// Answers whether a label of the pods is one that the selector wants, which is taken from the release.
    fn is_selected(&self, path: &str) -> bool {
        path.strip_prefix("spec.template.metadata.labels.").is_some_and(|label| self.selected.contains_key(label))
    }

    /// Decides a field that has no parts.
    fn leaf(&mut self, path: &str, of: Three<'_>) -> Option<Value> {
        let Three { base, live, new } = of;
        if is_same(path, live, new) {
            return self.decide(path, of, live.or(new), Verdict::AlreadyThere);
        }
        if is_same(path, base, live) || self.is_also_published(path, live) {
            return self.decide(path, of, new, follow(live, new));
        }
        match (base, live, new) {
            // Added or changed by people, and the release does not have it.
            (_, Some(_), None) => self.keep(path, of),
            // Added by people before the release came to it.
            (None, Some(_), Some(_)) if self.has_base => self.keep(path, of),
            (Some(was), _, Some(ours)) if is_same(path, Some(was), Some(ours)) => self.keep(path, of),
            _ => self.ask(path, of),
        }
    }

    fn is_also_published(&self, path: &str, live: Option<&Value>) -> bool {
        let here = self.published.iter().filter(|one| one.object == *self.object && one.field == path);
        here.into_iter().any(|one| is_same(path, one.value.as_ref(), live))
    }

    fn keep(&mut self, path: &str, of: Three<'_>) -> Option<Value> {
        self.decide(path, of, of.live, Verdict::Kept)
    }

    fn ask(&mut self, path: &str, of: Three<'_>) -> Option<Value> {
        match self.preferences.of(self.object, path) {
            Some(Preference::Keep) => self.decide(path, of, of.live, Verdict::KeptAsSaid),
            Some(Preference::Take) => self.decide(path, of, of.new, Verdict::TakenAsSaid),
            None => self.decide(path, of, of.live, Verdict::Asked),
        }
    }

    fn decide(&mut self, path: &str, of: Three<'_>, after: Option<&Value>, verdict: Verdict) -> Option<Value> {
        // A copy of the whole object, which kubectl writes and nobody edits.
        if !path.ends_with("last-applied-configuration") {
            let [base, live, new, after] = [of.base, of.live, of.new, after].map(Option::<&Value>::cloned);
            self.decisions.push(Decision {
                object: self.object.clone(),
                path: path.to_owned(),
                base,
                live,
                new,
                after,
                verdict,
            });
        }
        after.cloned()
    }

    fn map(&mut self, path: &str, of: Three<'_>) -> Value {
        let fields = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
        let mut keys: Vec<String> = fields(of.live).into_iter().chain(fields(of.new)).map(|(key, _)| key).collect();
        keys.sort();
        keys.dedup();
        let merged = keys.into_iter().filter_map(|key| {
            let deeper = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.field(&deeper, of.at(&key)).map(|value| (key, value))
        });
        Value::Object(merged.collect())
    }

    /// Merges a list: live elements in their order, then what the release adds.
    fn list(&mut self, path: &str, base: Option<&Vec<Value>>, live: &[Value], new: &[Value]) -> Value {
        let name = path.rsplit(['.', ':']).next().unwrap_or(path);
        let key = LIST_KEYS.iter().find(|(list, _)| *list == name).map(|(_, key)| *key);
        let label = |element: &Value| match key {
            Some(key) => element[key].as_str().unwrap_or_default().to_owned(),
            None => element.to_string(),
        };
        // Of variables with one name the last is in force.
        let find = |list: &[Value], wanted: &str| list.iter().rfind(|element| label(element) == wanted).cloned();
        let mut labels: Vec<String> = Vec::new();
        for wanted in live.iter().map(label) {
            labels.retain(|earlier| *earlier != wanted);
            labels.push(wanted);
        }
        labels.extend(new.iter().map(label).filter(|wanted| find(live, wanted).is_none()));
        let merged = labels.iter().filter_map(|wanted| {
            let (was, is, shall) = (base.and_then(|base| find(base, wanted)), find(live, wanted), find(new, wanted));
            let of = Three { base: was.as_ref(), live: is.as_ref(), new: shall.as_ref() };
            self.element(&format!("{path}[{wanted}]"), of)
        });
        Value::Array(merged.collect())
    }

    /// Rules of a role only grow while nodes of both releases run; other elements are merged like fields.
    fn element(&mut self, path: &str, of: Three<'_>) -> Option<Value> {
        if !path.starts_with("rules[") && !path.starts_with("subjects[") {
            return self.field(path, of);
        }
        match of {
            Three { live: Some(_), new: Some(_), .. } => of.live.cloned(),
            Three { base: None, live: Some(_), new: None } if self.has_base => self.keep(path, of),
            Three { live: Some(_), new: None, .. } => self.decide(path, of, of.live, Verdict::Stays),
            Three { live: None, .. } => self.decide(path, of, of.new, Verdict::Added),
        }
    }

    /// The registry is the operator's choice, the tag is the release's. A digest pins an image that the release does not
    /// have, so it is asked for; what is taken instead still comes from the operator's registry.
    fn image(&mut self, path: &str, of: Three<'_>, live: &str, new: &str) -> Option<Value> {
        let (theirs, (ours, tag)) = (split_image(live).0, split_image(new));
        let shipped = of.base.and_then(Value::as_str).map(|image| split_image(image).0);
        let is_mirror = theirs != ours && Some(theirs) != shipped;
        let wanted = Value::from(if is_mirror { format!("{theirs}:{tag}") } else { new.to_owned() });
        if live.contains('@') {
            let is_news = !is_same(path, of.base, of.new);
            let of = Three { new: Some(&wanted), ..of };
            return if is_news { self.ask(path, of) } else { self.keep(path, of) };
        }
        if is_mirror {
            let (was, is, shall) = (shipped.map(Value::from), Value::from(theirs), Value::from(ours));
            let of = Three { base: was.as_ref(), live: Some(&is), new: Some(&shall) };
            self.decide(&format!("{path} (repository)"), of, Some(&is), Verdict::Kept);
        }
        if wanted == live {
            return Some(wanted);
        }
        self.decide(path, of, Some(&wanted), Verdict::Follows)
    }

    /// Merges the JSON in a text; a text that nobody changed stays as it is, to the byte.
    fn json_text(&mut self, path: &str, of: Three<'_>, live: &str, new: &str) -> Option<Value> {
        let Some([base, theirs, ours]) = cni::read([of.base.and_then(Value::as_str), Some(live), Some(new)]) else {
            return self.leaf(path, of);
        };
        let inside = Three { base: base.as_ref(), live: theirs.as_ref(), new: ours.as_ref() };
        let merged = self.field(&format!("{path}:"), inside);
        let text = match &merged {
            same if *same == theirs => live.to_owned(),
            same if cni::read([Some(new)]).is_some_and(|[read]| read == *same) => new.to_owned(),
            Some(value) => cni::write(value, [live, new]),
            None => live.to_owned(),
        };
        Some(Value::from(text))
    }
}

/// What following the release means where only it changed something.
fn follow(live: Option<&Value>, new: Option<&Value>) -> Verdict {
    match (live, new) {
        (None, Some(_)) => Verdict::Added,
        (Some(_), None) => Verdict::Removed,
        (Some(_), Some(_)) | (None, None) => Verdict::Follows,
    }
}

/// Two values are the same when no server could tell them apart; an absent value is like what servers fill in there.
fn is_same(path: &str, one: Option<&Value>, other: Option<&Value>) -> bool {
    let key = path.rsplit(['.', ':']).next().unwrap_or(path);
    let wrap =
        |value: Option<&Value>| Value::Object(value.map(|value| (key.to_owned(), value.clone())).into_iter().collect());
    differences(&wrap(one), &wrap(other)).is_empty()
}

/// Answers whether people made of a variable, a volume or a probe one of another kind, which cannot be mixed with ours.
fn is_of_another_kind(path: &str, live: Option<&Value>, new: Option<&Value>) -> bool {
    if !path.starts_with("spec.template.spec.") {
        return false;
    }
    let has = |value: Option<&Value>, key: &str| value.is_some_and(|value| value.get(key).is_some());
    ONE_OF.iter().any(|kinds| kinds.iter().filter(|kind| has(live, kind) || has(new, kind)).count() > 1)
}

fn is_list_of_objects(live: &[Value], new: &[Value]) -> bool {
    live.iter().chain(new).all(Value::is_object)
}

#[cfg(test)]
mod tests;
