//! One reading of all keys, directory by directory.
//!
//! The upper levels are read entry by entry, and what lies deeper with one answer for each directory: a host, all profiles, all
//! policies, all handles. So no answer holds more than one of them, and no more than one answer is held.

use std::cmp::Ordering;

use super::{Etcd, EtcdError, Key, ROOT, answer::Node};

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
            let Some((node, index)) = self.directory(&directory, is_deep).await? else { continue };
            start.get_or_insert(index);
            if is_deep || !node.dir {
                visit_deep(node, &mut visit);
            } else {
                visit_entries(node, &mut visit, &mut todo);
            }
        }
        Ok(start.unwrap_or(0))
    }

    /// Visits a key by its exact name, or all that is below it if it is a directory; answers whether it is there.
    pub(super) async fn visit_one(&self, key: &str, visit: &mut impl FnMut(Found)) -> Result<bool, EtcdError> {
        let Some((node, _)) = self.directory(key, true).await? else { return Ok(false) };
        visit_deep(node, visit);
        Ok(true)
    }
}

fn visit_entries(node: Node, visit: &mut impl FnMut(Found), todo: &mut Vec<String>) {
    if node.nodes.is_empty() {
        visit(Found::EmptyDirectory(node.key));
        return;
    }
    let (directories, keys): (Vec<Node>, Vec<Node>) = node.nodes.into_iter().partition(|one| one.dir);
    keys.into_iter().for_each(|key| visit(Found::Key(key.into_key())));
    todo.extend(directories.into_iter().rev().map(|directory| directory.key));
}

fn visit_deep(mut node: Node, visit: &mut impl FnMut(Found)) {
    if !node.dir {
        visit(Found::Key(node.into_key()));
    } else if node.nodes.is_empty() {
        visit(Found::EmptyDirectory(node.key));
    } else {
        std::mem::take(&mut node.nodes).into_iter().for_each(|below| visit_deep(below, visit));
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

    fn node(key: &str, nodes: Vec<Node>) -> Node {
        let of = |node: &Node| serde_json::json!({"key": node.key, "dir": node.dir});
        let (children, dir) = (nodes.iter().map(of).collect::<Vec<_>>(), !nodes.is_empty());
        let mut made: Node =
            serde_json::from_value(serde_json::json!({"key": key, "dir": dir, "nodes": children})).unwrap();
        if dir {
            made.nodes = nodes;
        }
        made
    }

    #[test]
    fn keys_are_visited_in_their_order_whether_their_directory_is_read_by_entry_or_whole() {
        let by_entry = vec![
            node("/calico/v1/Ready", vec![]),
            node("/calico/v1/a", vec![node("/calico/v1/a/x", vec![])]),
            node("/calico/v1/z", vec![]),
        ];
        let (mut found, mut todo) = (Vec::new(), Vec::new());
        let mut take = |one| match one {
            Found::Key(key) => found.push(key.path),
            Found::EmptyDirectory(name) => panic!("{name}"),
        };
        visit_entries(node("/calico/v1", by_entry), &mut take, &mut todo);
        assert_eq!(todo, ["/calico/v1/a"]);
        visit_deep(node("/calico/v1/a/x", vec![]), &mut take);
        let whole = vec![
            node("/calico/v1/host/n/a", vec![node("/calico/v1/host/n/a/b", vec![])]),
            node("/calico/v1/host/n/a-b", vec![]),
        ];
        visit_deep(node("/calico/v1/host/n", whole), &mut take);
        let ordered = ["Ready", "z", "a/x", "host/n/a/b", "host/n/a-b"].map(|end| format!("/calico/v1/{end}"));
        assert_eq!(found, ordered);
        for (place, one) in ordered.iter().enumerate() {
            for (other_place, other) in ordered.iter().enumerate() {
                assert_eq!(order(one, other), place.cmp(&other_place), "{one} {other}");
            }
        }
    }
}
