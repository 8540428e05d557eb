//! Keys of etcd that become again what lines of a backup say. The plan names each line and holds none of its text.
//!
//! Of an object of Kubernetes a plan holds the text before and after: there are hundreds, and people read them. Of keys there are
//! 100,000, whose texts would be 120 MB in memory. A line is named by its place and by the digest of what stands on it, so the
//! seal covers the text as well. The run copies the named lines into its directory and into its record before it changes
//! anything: `resume` needs neither the backup nor the machine that it lies on. What a key was before is in the run's own backup,
//! and its digest here.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Desired, Plan, PlannedStep, Stage};
use crate::resource::{Digest, Kind, ObjectRef};

/// Lines in the order of the backup. Their names are one text: each in a place of its own would need twice the memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    names: String,
    all: Vec<Packed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Packed {
    /// Where its name ends; it begins where the one before ends.
    name_end: u32,
    number: u32,
    before: Option<Digest>,
    after: Digest,
}

/// One line of a backup, and the key that becomes again what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its place in the file of keys, from 0.
    pub number: usize,
    pub key: &'a str,
    /// What the key holds before; it is missing if there is none.
    pub before: Option<&'a Digest>,
    /// What stands on the line.
    pub after: &'a Digest,
}

impl Line<'_> {
    pub fn object(&self) -> ObjectRef {
        ObjectRef::cluster(Kind::EtcdKey, self.key)
    }

    pub fn verb(&self) -> &'static str {
        if self.before.is_some() { "replace" } else { "create" }
    }

    pub fn why(&self) -> &'static str {
        if self.before.is_some() { "it is not as in the backup" } else { "it is missing" }
    }
}

impl Lines {
    /// Adds a line that stands after all others.
    pub fn push(&mut self, line: Line<'_>) {
        self.names.push_str(line.key);
        let small = |number: usize| u32::try_from(number).expect("a backup has at most 2 GiB");
        let (name_end, number) = (small(self.names.len()), small(line.number));
        self.all.push(Packed { name_end, number, before: line.before.cloned(), after: line.after.clone() });
    }

    /// Gives back the room that further lines would have taken.
    pub fn shrink(&mut self) {
        self.names.shrink_to_fit();
        self.all.shrink_to_fit();
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn get(&self, index: usize) -> Line<'_> {
        let start = index.checked_sub(1).map_or(0, |before| self.all[before].name_end);
        let Packed { name_end, number, before, after } = &self.all[index];
        let key = &self.names[start as usize..*name_end as usize];
        Line { number: *number as usize, key, before: before.as_ref(), after }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = Line<'_>> + Clone {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Leaves out the lines of which something is so.
    pub fn without(self, is_out: impl Fn(&Line<'_>) -> bool) -> Self {
        if !self.iter().any(|line| is_out(&line)) {
            return self;
        }
        let mut kept = Self::default();
        self.iter().filter(|line| !is_out(line)).for_each(|line| kept.push(line));
        kept
    }
}

impl Stage {
    /// The lines of the backup that the stage names, and what is to be known of them.
    pub fn lines(&self) -> Option<(&Lines, Option<&str>)> {
        match self {
            Stage::Lines { lines, note } => Some((lines, note.as_deref())),
            Stage::Changes(_)
            | Stage::Recreated(_)
            | Stage::UntilEstablished(_)
            | Stage::UntilObserved(_)
            | Stage::Unchanged(_)
            | Stage::Uncordoned(_)
            | Stage::NoOrphans
            | Stage::NoProbes
            | Stage::UntilGone { .. }
            | Stage::UntilReady { .. } => None,
        }
    }
}

impl PlannedStep {
    /// The lines of the backup that this step names, with what is to be known of them.
    pub fn lines(&self) -> impl Iterator<Item = (&Lines, Option<&str>)> {
        let stages: &[Stage] = match &self.desired {
            Desired::Objects { stages } => stages,
            Desired::Roll(_) | Desired::BackUp | Desired::Pull(_) | Desired::Verify(_) => &[],
        };
        stages.iter().filter_map(Stage::lines)
    }

    /// How many objects and keys this step changes.
    pub fn count(&self) -> usize {
        self.changes().count() + self.lines().map(|(lines, _)| lines.len()).sum::<usize>()
    }
}

impl Plan {
    /// The lines of the backup that the whole plan names, in their order.
    pub fn lines(&self) -> impl Iterator<Item = &Lines> {
        self.steps.iter().flat_map(PlannedStep::lines).map(|(lines, _)| lines)
    }

    /// The same lines one by one in the order of the backup, each with what is to be known of its stage.
    pub fn lines_by_place(&self) -> impl Iterator<Item = (Line<'_>, Option<&str>)> {
        let all: Vec<_> = self.steps.iter().flat_map(PlannedStep::lines).collect();
        let mut places: Vec<(usize, usize)> =
            all.iter().enumerate().flat_map(|(of, (lines, _))| (0..lines.len()).map(move |at| (of, at))).collect();
        places.sort_by_key(|(of, at)| all[*of].0.get(*at).number);
        places.into_iter().map(move |(of, at)| (all[of].0.get(at), all[of].1))
    }
}

/// A line as a plan is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    line: usize,
    key: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Digest>,
    after: Digest,
}

impl Serialize for Lines {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|line| Written {
            line: line.number,
            key: line.key.into(),
            before: line.before.cloned(),
            after: line.after.clone(),
        }))
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Reading)
    }
}

/// Takes the lines one by one: a list of them would need three times the memory.
struct Reading;

impl<'de> de::Visitor<'de> for Reading {
    type Value = Lines;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("lines of a backup")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Lines, A::Error> {
        let mut lines = Lines::default();
        while let Some(Written { line, key, before, after }) = sequence.next_element::<Written<'_>>()? {
            if lines.all.last().is_some_and(|last| last.number as usize >= line) {
                return Err(de::Error::custom("lines of a backup stand in their order"));
            }
            lines.push(Line { number: line, key: &key, before: before.as_ref(), after: &after });
        }
        lines.shrink();
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(of: &[(usize, &str, Option<&str>)]) -> Lines {
        let mut lines = Lines::default();
        for (number, key, before) in of {
            let before = before.map(|text| Digest::of(text.as_bytes()));
            lines.push(Line { number: *number, key, before: before.as_ref(), after: &Digest::of(key.as_bytes()) });
        }
        lines
    }

    #[test]
    fn lines_are_read_as_they_were_written_and_only_in_their_order() {
        let some = lines(&[(3, "/calico/a", None), (7, "/calico/ä", Some("old"))]);
        let text = serde_json::to_string(&some).unwrap();
        assert_eq!(serde_json::from_str::<Lines>(&text).unwrap(), some);
        assert_eq!(some.get(1).verb(), "replace");
        assert_eq!(some.iter().map(|line| line.key).collect::<Vec<_>>(), ["/calico/a", "/calico/ä"]);
        assert!(serde_json::from_str::<Lines>(&text.replace("\"line\":7", "\"line\":3")).is_err());
    }

    #[test]
    fn what_is_left_out_leaves_the_others_as_they_are() {
        let all = lines(&[(0, "/calico/a", None), (1, "/calico/b", None), (2, "/calico/c", Some("x"))]);
        let kept = all.clone().without(|line| line.key == "/calico/b");
        assert_eq!(kept, lines(&[(0, "/calico/a", None), (2, "/calico/c", Some("x"))]));
        assert_eq!(all.clone().without(|_| false), all);
    }
}
