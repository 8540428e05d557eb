//! Readings are repeated until two agree.
//!
//! No two writes of an etcd cluster share an index. Where two readings, one after the other, found the same keys at the same
//! indexes, no key changed between its two reads; all of those spans hold the moment between the readings, so the whole is
//! what was stored at that moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Etcd, EtcdError, Key, KeyKind, Undecodable,
    layout::{self, Looked},
    read::Found,
};
use crate::resource::Digest;

/// Readings after which a store that keeps changing is taken as it is, and that is said.
const ROUNDS: u32 = 6;

/// What is known of a whole reading besides the keys themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// X-Etcd-Index when the last reading began.
    pub index: u64,
    pub rounds: u32,
    pub keys: usize,
    pub by_kind: BTreeMap<KeyKind, usize>,
    /// Keys that changed between the last two readings. Keys that go by themselves are not counted among them.
    pub moving: BTreeSet<String>,
    /// Keys that the reading before found and the last one did not; their names are not kept.
    pub gone: usize,
    /// Keys with a time to live: they come and go by themselves.
    pub passing: usize,
    pub empty_directories: Vec<String>,
    pub undecodable: Vec<Undecodable>,
    /// Keys that hold U+FFFD: the v2 API writes it for bytes that are no UTF-8, so those may have been other bytes.
    pub inexact: Vec<String>,
    pub hidden: Hidden,
}

impl Reading {
    /// Answers whether it found what the reading before had found.
    fn agrees(&self) -> bool {
        self.moving.is_empty() && self.gone == 0
    }
}

/// Keys whose last element begins with `_`: etcd lists none of them, but answers for an exact name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// Such names that other keys mention, and that were asked for.
    pub asked: BTreeSet<String>,
    /// Those that are there; they are in the reading.
    pub found: BTreeSet<String>,
}

/// Where keys were last written, by the first half of the digest of their names: the names of 100,000 keys would be 13 MB.
type Stamps = HashMap<[u8; 16], Stamp>;

/// Where a reading found a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: u64,
    /// Which reading found it last.
    round: u32,
}

fn name_of(key: &Key) -> [u8; 16] {
    Digest::of(key.path.as_bytes()).bytes()[..16].try_into().expect("a digest has 32 bytes")
}

impl Etcd {
    /// Reads all keys until two readings agree, and answers the last one with what was made of its keys.
    pub async fn read_settled<S>(
        &self,
        fresh: impl Fn() -> S,
        take: impl Fn(&mut S, Key),
    ) -> Result<(Reading, S), EtcdError> {
        let mut stamps = Stamps::new();
        self.read_once(1, drop, Some(&mut stamps)).await?;
        for round in 2.. {
            let mut sink = fresh();
            let mut reading = self.read_once(round, |key| take(&mut sink, key), Some(&mut stamps)).await?;
            // What the reading before had, and this one did not come across.
            reading.gone = stamps.extract_if(|_, stamp| stamp.round < round).count();
            if reading.agrees() || round == ROUNDS {
                return Ok((reading, sink));
            }
        }
        unreachable!("the loop above ends only by returning")
    }

    /// Reads all keys once, to look at them: in the order of `order`, and then those that no list shows.
    pub async fn read_all(&self, take: impl FnMut(Key)) -> Result<Reading, EtcdError> {
        self.read_once(1, take, None).await
    }

    async fn read_once(
        &self,
        number: u32,
        take: impl FnMut(Key),
        stamps: Option<&mut Stamps>,
    ) -> Result<Reading, EtcdError> {
        let reading = Reading { rounds: number, ..Reading::default() };
        let mut round = Round { reading, stamps, take };
        round.reading.index = self.visit(|found| round.note(found)).await?;
        // What is found by name may mention further names.
        let mut asked = BTreeSet::new();
        while let Some(name) = round.reading.hidden.asked.difference(&asked).next().cloned() {
            asked.insert(name.clone());
            if self.visit_one(&name, &mut |found| round.note(found)).await? {
                round.reading.hidden.found.insert(name);
            }
        }
        Ok(round.reading)
    }
}

/// One reading under way.
struct Round<'s, T> {
    reading: Reading,
    /// Where the readings before found each key, if there are several.
    stamps: Option<&'s mut Stamps>,
    take: T,
}

impl<T: FnMut(Key)> Round<'_, T> {
    fn note(&mut self, found: Found) {
        let key = match found {
            Found::Key(key) => key,
            Found::EmptyDirectory(name) => return self.reading.empty_directories.push(name),
        };
        let reading = &mut self.reading;
        let Looked { kind, trouble, mentions } = layout::look(&key.path, &key.value);
        reading.keys += 1;
        *reading.by_kind.entry(kind).or_default() += 1;
        reading.undecodable.extend(trouble.map(|why| Undecodable { key: key.path.clone(), why }));
        reading.hidden.asked.extend(mentions);
        if key.may_be_inexact() {
            reading.inexact.push(key.path.clone());
        }
        if key.ttl.is_some() {
            reading.passing += 1;
        } else {
            self.stamp(&key);
        }
        (self.take)(key);
    }

    /// Notes where a key was written, and whether the reading before had found it otherwise.
    fn stamp(&mut self, key: &Key) {
        let Some(stamps) = &mut self.stamps else { return };
        let stamp = Stamp { modified: key.modified, round: self.reading.rounds };
        let before = stamps.insert(name_of(key), stamp);
        if stamp.round > 1 && before.is_none_or(|before| before.modified != key.modified) {
            self.reading.moving.insert(key.path.clone());
        }
    }
}
