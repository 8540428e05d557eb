//! One reading of all keys, directory by directory.
//!
//! The upper levels are read entry by entry, and what lies deeper with one answer for each directory: a host, all profiles, all
//! policies, all handles. So no answer holds more than one of them, and no more than one answer is held.

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

fn elements(key: &str) -> usize {
    key.split('/').filter(|element| !element.is_empty()).count()
}
