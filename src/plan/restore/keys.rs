//! Keys of Calico's own etcd: which are not restored, and where each stands in the order.
//!
//! Felix programs an endpoint once it knows it, by the policies that it knows then, and by profiles where no policy selects it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Compared, Verdict, order::Place};
use crate::{
    plan::{Line, Lines},
    resource::{Difference, Document, Kind, ObjectRef, differences},
};

/// Why a key waits until all other policies are back.
const LETS_GO: &str = "it may let go of endpoints that it holds now, after all other policies are back";

/// Which keys of a backup were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedKeys {
    /// All, since nothing was named or their kind was.
    pub all: bool,
    /// Those that were named one by one.
    pub named: BTreeSet<String>,
}

/// One key of the backup beside what is live of it.
#[derive(Clone, Copy, Debug)]
pub struct KeyBeside<'a> {
    /// The line it stands on, from 0.
    pub number: usize,
    pub name: &'a str,
    pub document: &'a Document,
    /// It had a time to live.
    pub is_passing: bool,
    pub live: Option<&'a Document>,
}

/// Decides about the keys of a backup one by one as they go by, and holds no text of them.
#[derive(Debug)]
pub struct KeyPlanner<'a> {
    pub asked: &'a AskedKeys,
    /// An etcd is there to write to.
    pub is_served: bool,
    /// Keys whose bytes may have been others.
    pub inexact: &'a BTreeSet<String>,
    /// Of how many keys that differ both values are kept, to be shown.
    pub shown: usize,
    pub keys: ComparedKeys,
}

/// What is to be done about the keys of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComparedKeys {
    pub same: usize,
    /// Those to be written, by their place in the order.
    pub(super) places: BTreeMap<Place, Lines>,
    /// Those that are not written, and why.
    pub skipped: Vec<Compared>,
    /// What is live against what is in the backup.
    pub fields: BTreeMap<String, Vec<Difference>>,
}

impl KeyPlanner<'_> {
    pub fn take(&mut self, key: &KeyBeside<'_>) {
        if !self.asked.all && !self.asked.named.contains(key.name) {
            return;
        }
        if key.live == Some(key.document) {
            self.keys.same += 1;
            return;
        }
        match self.obstacle(key) {
            Some(why) => {
                let fields = key.live.map(|live| differences(&key.document.value(), &live.value()));
                self.keys.skipped.push(skipped(key.name, why, fields.unwrap_or_default(), key.live.is_some()));
            }
            None => self.write(key),
        }
    }

    fn write(&mut self, key: &KeyBeside<'_>) {
        let before = key.live.map(Document::digest);
        let line = Line { number: key.number, key: key.name, before: before.as_ref(), after: &key.document.digest() };
        self.keys.places.entry(place(key.name, key.document, key.live)).or_default().push(line);
        if let Some(live) = key.live.filter(|_| self.keys.fields.len() < self.shown) {
            let fields = differences(&key.document.value(), &live.value());
            self.keys.fields.insert(key.name.to_owned(), fields);
        }
    }

    /// Why a key that differs is not restored.
    fn obstacle(&self, key: &KeyBeside<'_>) -> Option<String> {
        if !self.is_served {
            return Some("no etcd was named: say where it is with --datastore etcdv2 and --etcd-endpoints".to_owned());
        }
        if key.is_passing {
            return Some("it had a time to live: whoever wrote it writes it again".to_owned());
        }
        let is_inexact = self.inexact.contains(key.name) && !self.asked.named.contains(key.name);
        is_inexact
            .then(|| "etcd gave it with bytes replaced, so these may not be what was stored; or --only".to_owned())
    }

    /// Once all keys went by, and it is known which live ones the backup does not hold.
    pub fn finish(mut self, left: &BTreeSet<String>) -> ComparedKeys {
        for lines in self.keys.places.values_mut() {
            let blocked = |line: &Line<'_>| line.before.is_none() && in_the_way(left, line.key).is_some();
            for line in lines.iter().filter(blocked) {
                let other = in_the_way(left, line.key).map(String::as_str).unwrap_or_default();
                let why = format!("{other} is there now, and no name is a key and a directory at once");
                self.keys.skipped.push(skipped(line.key, why, Vec::new(), false));
            }
            *lines = std::mem::take(lines).without(blocked);
            lines.shrink();
        }
        self.keys.places.retain(|_, lines| !lines.is_empty());
        self.keys
    }
}

fn skipped(name: &str, why: String, fields: Vec<Difference>, is_live: bool) -> Compared {
    let object = ObjectRef::cluster(Kind::EtcdKey, name);
    Compared { object, verdict: Verdict::Skipped { why }, notes: Vec::new(), is_live, fields }
}

impl ComparedKeys {
    /// How many keys are to be written.
    pub fn changes(&self) -> usize {
        self.places.values().map(Lines::len).sum()
    }
}

/// What can be seen of a change while it is made, and cannot be avoided by any order.
pub(super) fn note(place: Place) -> Option<&'static str> {
    (place == Place::MovedKeys).then_some(LETS_GO)
}

/// A key below this one makes its name a directory; a key above it makes a directory impossible.
fn in_the_way<'a>(live: &'a BTreeSet<String>, key: &str) -> Option<&'a String> {
    let below = live.range(format!("{key}/")..).next().filter(|one| one.starts_with(&format!("{key}/")));
    below.or_else(|| key.match_indices('/').skip(1).find_map(|(end, _)| live.get(&key[..end])))
}

/// Answers where a key belongs: what denies before what allows, both before the endpoints that they are for.
///
/// The flag `Ready` is last: a node that starts before it is there programs nothing, rather than half of the policies.
pub(super) fn place(key: &str, after: &Document, before: Option<&Document>) -> Place {
    if is_policy(key) {
        return match (before.is_some_and(|before| selector(before) != selector(after)), lets_in(after)) {
            (true, _) => Place::MovedKeys,
            (false, false) => Place::DenyingKeys,
            (false, true) => Place::AllowingKeys,
        };
    }
    match key.strip_prefix("/calico/v1/") {
        Some("Ready") => Place::Ready,
        Some(rest) if rest.starts_with("policy/profile/") => Place::Profiles,
        Some(rest) if rest.starts_with("host/") && rest.contains("/endpoint/") => Place::Endpoints,
        Some(_) | None => Place::Data,
    }
}

/// A policy in a tier: `/calico/v1/policy/tier/TIER/policy/NAME`.
fn is_policy(key: &str) -> bool {
    let parts: Vec<&str> = key.strip_prefix("/calico/v1/policy/tier/").unwrap_or_default().split('/').collect();
    matches!(parts.as_slice(), [_, "policy", _])
}

fn selector(document: &Document) -> Option<String> {
    policy(document)?["selector"].as_str().map(str::to_owned)
}

/// A value that Calico cannot read is passed over, and lets nothing in.
fn policy(document: &Document) -> Option<Value> {
    serde_json::from_str(document.value()["value"].as_str()?).ok()
}

/// A rule without an action allows (libcalico-go, backend model, rule).
fn lets_in(document: &Document) -> bool {
    let Some(policy) = policy(document) else { return false };
    let rules = ["inbound_rules", "outbound_rules"].into_iter().filter_map(|way| policy[way].as_array()).flatten();
    let keeps_out = |rule: &Value| {
        rule["action"].as_str().is_some_and(|action| ["deny", "log", "next-tier", "pass"].contains(&action))
    };
    rules.into_iter().any(|rule| !keeps_out(rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(value: &str) -> Document {
        Document::new(json!({"metadata": {"name": "k"}, "value": value}))
    }

    fn places(keys: &[(&str, &str)]) -> Vec<Place> {
        keys.iter().map(|(name, value)| place(name, &key(value), None)).collect()
    }

    #[test]
    fn what_denies_comes_before_what_allows_and_the_flag_for_nodes_comes_last() {
        let policy = "/calico/v1/policy/tier/default/policy/a";
        let found = places(&[
            ("/calico/v1/config/LogSeverityScreen", "info"),
            (policy, r#"{"inbound_rules": [{"action": "deny"}]}"#),
            (policy, r#"{"inbound_rules": [{"action": "deny"}, {}]}"#),
            ("/calico/v1/policy/profile/a/rules", "{}"),
            ("/calico/v1/host/n/workload/k8s/w/endpoint/eth0", "{}"),
            ("/calico/v1/Ready", "true"),
        ]);
        assert_eq!(
            found,
            [Place::Data, Place::DenyingKeys, Place::AllowingKeys, Place::Profiles, Place::Endpoints, Place::Ready]
        );
        assert!(found.is_sorted());
    }

    #[test]
    fn a_key_does_not_come_back_where_its_name_is_a_directory_or_a_directory_would_be_a_key() {
        let live: BTreeSet<String> = ["/calico/a/b", "/calico/c"].map(str::to_owned).into();
        for (key, other) in [
            ("/calico/a", Some("/calico/a/b")),
            ("/calico/c/d/e", Some("/calico/c")),
            ("/calico/a/b", None),
            ("/calico/cc", None),
        ] {
            assert_eq!(in_the_way(&live, key).map(String::as_str), other, "{key}");
        }
    }

    #[test]
    fn a_policy_that_calico_cannot_read_lets_nothing_in_and_one_for_others_waits() {
        let policy = "/calico/v1/policy/tier/default/policy/a";
        assert_eq!(place(policy, &key("{\"selector\": "), None), Place::DenyingKeys);
        let (all, some) = (key(r#"{"selector": "all()"}"#), key(r#"{"selector": "a == 'b'"}"#));
        assert_eq!(place(policy, &some, Some(&all)), Place::MovedKeys);
    }

    fn planned(asked: &AskedKeys, is_served: bool, keys: &[(&str, bool)], left: &[&str]) -> ComparedKeys {
        let inexact = BTreeSet::from(["/calico/inexact".to_owned()]);
        let mut planner = KeyPlanner { asked, is_served, inexact: &inexact, shown: 1, keys: ComparedKeys::default() };
        for (number, (name, is_passing)) in keys.iter().enumerate() {
            let document = key(name);
            planner.take(&KeyBeside { number, name, document: &document, is_passing: *is_passing, live: None });
        }
        planner.finish(&left.iter().map(|name| (*name).to_owned()).collect())
    }

    fn words(keys: &ComparedKeys) -> Vec<String> {
        let created = keys.places.values().flat_map(Lines::iter).map(|line| format!("{} {}", line.verb(), line.key));
        let why = |one: &Compared| match &one.verdict {
            Verdict::Skipped { why } => format!("{}: {}", one.object.name, why.split(':').next().unwrap_or_default()),
            other => panic!("{other:?}"),
        };
        created.chain(keys.skipped.iter().map(why)).collect()
    }

    const ALL: AskedKeys = AskedKeys { all: true, named: BTreeSet::new() };

    #[test]
    fn keys_that_pass_or_whose_bytes_are_unknown_are_named_and_left() {
        let keys = [("/calico/passing", true), ("/calico/inexact", false)];
        let found = words(&planned(&ALL, true, &keys, &[]));
        assert_eq!(found[0], "/calico/passing: it had a time to live");
        assert!(found[1].starts_with("/calico/inexact: etcd gave it with bytes replaced"), "{found:?}");
        let named = AskedKeys { all: false, named: ["/calico/inexact".to_owned()].into() };
        assert_eq!(words(&planned(&named, true, &keys, &[])), ["create /calico/inexact"]);
    }

    #[test]
    fn keys_without_an_etcd_are_skipped_with_the_flags_that_name_one() {
        assert_eq!(words(&planned(&ALL, false, &[("/calico/a", false)], &[])), ["/calico/a: no etcd was named"]);
    }

    #[test]
    fn what_stands_in_the_way_of_a_key_is_named_and_the_others_are_written() {
        let keys = [("/calico/a", false), ("/calico/b", false)];
        let found = words(&planned(&ALL, true, &keys, &["/calico/a/x"]));
        let why = "/calico/a: /calico/a/x is there now, and no name is a key and a directory at once";
        assert_eq!(found, ["create /calico/b", why]);
    }

    #[test]
    fn of_what_differs_the_plan_has_digests_and_no_more_is_kept_than_is_shown() {
        let (inexact, old) = (BTreeSet::new(), key("old"));
        let mut planner =
            KeyPlanner { asked: &ALL, is_served: true, inexact: &inexact, shown: 1, keys: ComparedKeys::default() };
        for (number, (name, value)) in
            [("/calico/a", "new"), ("/calico/b", "new"), ("/calico/c", "old")].into_iter().enumerate()
        {
            let (document, live) = (key(value), Some(&old));
            planner.take(&KeyBeside { number, name, document: &document, is_passing: false, live });
        }
        let keys = planner.finish(&BTreeSet::new());
        assert_eq!((keys.same, keys.changes(), keys.fields.len()), (1, 2, 1));
        let line = keys.places[&Place::Data].get(0);
        assert_eq!((line.before, line.after), (Some(&old.digest()), &key("new").digest()));
    }
}
