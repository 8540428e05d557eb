//! One reading of all keys, directory by directory.
//!
//! The upper levels are read entry by entry, and what lies deeper with one answer for each directory: a host, all profiles, all
//! policies, all handles. So no answer holds more than one of them, and no more than one answer is held.

use std::cmp::Ordering;

use super::{
    Etcd, EtcdError, Key, ROOT,
    answer::{Given, Node},
};

/// From this many elements on a directory is read with all that is below it: `/calico/v1/host/<host>` has four.
const DEEP_FROM: usize = 4;

/// What a reading comes across.
pub(super) enum Found {
    Key(Key),
    EmptyDirectory(String),
}

impl Etcd {
    /// Visits every key that is listed, in an order that depends on the names alone. Answers the index at the start.
    pub(super) async fn visit(&self, mut visit: impl FnMut(Found)) -> Result<u64, EtcdError> {
        let mut start = None;
        let mut todo = vec![ROOT.to_owned()];
        while let Some(directory) = todo.pop() {
            let is_deep = elements(&directory) >= DEEP_FROM;
            // A directory may go while its neighbours are read; the next reading will tell.
            let Some(given) = self.directory(&directory, is_deep).await? else { continue };
            start.get_or_insert(given.index);
            if is_deep {
                given.each(|entry| visit_deep(entry, &mut visit))?;
            } else {
                visit_entries(&given, &directory, &mut visit, &mut todo)?;
            }
        }
        Ok(start.unwrap_or(0))
    }

    /// Visits a key by its exact name, or all that is below it if it is a directory; answers whether it is there.
    pub(super) async fn visit_one(&self, key: &str, visit: &mut impl FnMut(Found)) -> Result<bool, EtcdError> {
        let Some(given) = self.directory(key, true).await? else { return Ok(false) };
        given.each(|entry| visit_deep(entry, visit))?;
        Ok(true)
    }
}

/// Visits the keys of a directory, and notes its directories as still to be read.
fn visit_entries(
    given: &Given,
    directory: &str,
    visit: &mut impl FnMut(Found),
    todo: &mut Vec<String>,
) -> Result<(), EtcdError> {
    let mut below = Vec::new();
    given.each(|entry| {
        // One that is its own only entry is empty.
        if entry.dir && entry.key != directory { below.push(entry.key) } else { visit_deep(entry, visit) }
    })?;
    todo.extend(below.into_iter().rev());
    Ok(())
}

fn visit_deep(node: Node, visit: &mut impl FnMut(Found)) {
    if !node.dir {
        visit(Found::Key(node.into_key()));
    } else if node.nodes.is_empty() {
        visit(Found::EmptyDirectory(node.key));
    } else {
        node.nodes.into_iter().for_each(|below| visit_deep(below, visit));
    }
}

/// The order in which keys are visited: of a directory that is read entry by entry first its keys, then its directories; of one
/// that is read whole all by name.
pub fn order(one: &str, other: &str) -> Ordering {
    let (mut ones, mut others) = (one.split('/').peekable(), other.split('/').peekable());
    // A path begins with an empty element, which counts for none.
    for depth in 0.. {
        let (Some(mine), Some(theirs)) = (ones.next(), others.next()) else { break };
        let is_by_entry = depth <= DEEP_FROM;
        let (is_key, is_other_key) = (ones.peek().is_none(), others.peek().is_none());
        match mine.cmp(theirs) {
            _ if is_by_entry && is_key != is_other_key => return is_other_key.cmp(&is_key),
            Ordering::Equal => {}
            by_name => return by_name,
        }
    }
    one.len().cmp(&other.len())
}

fn elements(key: &str) -> usize {
    key.split('/').filter(|element| !element.is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn key(key: &str) -> Value {
        json!({"key": key})
    }

    fn directory(key: &str, nodes: &[Value]) -> Value {
        json!({"key": key, "dir": true, "nodes": nodes})
    }

    #[test]
    fn keys_are_visited_in_their_order_whether_their_directory_is_read_by_entry_or_whole() {
        let (mut found, mut todo) = (Vec::new(), Vec::new());
        let mut take = |one| match one {
            Found::Key(key) => found.push(key.path),
            Found::EmptyDirectory(name) => panic!("{name}"),
        };
        let below = directory("/calico/v1/a", &[key("/calico/v1/a/x")]);
        let by_entry = directory("/calico/v1", &[key("/calico/v1/Ready"), below, key("/calico/v1/z")]);
        visit_entries(&Given::of("/calico/v1", &by_entry), "/calico/v1", &mut take, &mut todo).unwrap();
        assert_eq!(todo, ["/calico/v1/a"]);
        let below = directory("/calico/v1/host/n/a", &[key("/calico/v1/host/n/a/b")]);
        let host = directory("/calico/v1/host/n", &[below, key("/calico/v1/host/n/a-b")]);
        for whole in [key("/calico/v1/a/x"), host] {
            let given = Given::of(whole["key"].as_str().unwrap(), &whole);
            given.each(|entry| visit_deep(entry, &mut take)).unwrap();
        }
        let ordered = ["Ready", "z", "a/x", "host/n/a/b", "host/n/a-b"].map(|end| format!("/calico/v1/{end}"));
        assert_eq!(found, ordered);
        for (place, one) in ordered.iter().enumerate() {
            for (other_place, other) in ordered.iter().enumerate() {
                assert_eq!(order(one, other), place.cmp(&other_place), "{one} {other}");
            }
        }
    }

    #[test]
    fn an_empty_directory_is_told_as_one_however_it_is_read() {
        for is_deep in [false, true] {
            let (mut empty, mut todo) = (Vec::new(), Vec::new());
            let mut take = |one| match one {
                Found::Key(key) => panic!("{}", key.path),
                Found::EmptyDirectory(name) => empty.push(name),
            };
            let given = Given::of("/calico/v1", &json!({"key": "/calico/v1", "dir": true}));
            match is_deep {
                false => visit_entries(&given, "/calico/v1", &mut take, &mut todo).unwrap(),
                true => given.each(|entry| visit_deep(entry, &mut take)).unwrap(),
            }
            assert_eq!((empty, todo), (vec!["/calico/v1".to_owned()], vec![]));
        }
    }

    #[test]
    fn an_answer_for_another_key_is_none() {
        let given = Given::of("/calico/v1/a", &json!({"key": "/calico/v1/b", "dir": true, "nodes": [key("/x")]}));
        let refused = given.each(|_| panic!("nothing of it counts")).unwrap_err().to_string();
        assert!(refused.contains("it is for `/calico/v1/b`"), "{refused}");
    }
}
