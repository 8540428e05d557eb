//! Many small requests at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::Result;

const WORKERS: usize = 8;

/// Calls the function for each item on a few threads; the first error is returned.
pub fn for_each<T: Sync>(items: &[T], call: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    map(items, call).map(drop)
}

/// The results of the calls in the order of the items; the first error is returned.
pub fn map<T: Sync, R: Send>(items: &[T], call: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<(usize, R)>> {
        let mut results = Vec::new();
        while let Some((index, item)) = take(items, &next) {
            results.push((index, call(item)?));
        }
        Ok(results)
    };
    let mut results = thread::scope(|scope| -> Result<Vec<(usize, R)>> {
        let workers: Vec<_> = (0..WORKERS.min(items.len())).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().expect("the calls return errors and do not panic")?);
        }
        Ok(all)
    })?;
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

fn take<'a, T>(items: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    items.get(index).map(|item| (index, item))
}
