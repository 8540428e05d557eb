//! The journal of a run: what was meant, what came of it, in the order it happened.
//!
//! One JSON entry a line, each bound to the one before by a hash. It is appended and made durable before a write is sent, so
//! that after a kill the journal names every object that may have been touched. `file` keeps it on disk, `progress` folds it
//! into how far the run is and refuses a history that could not have happened.

mod entry;
mod file;
mod progress;

pub use entry::{ActionKind, Entry, Intent, News, Outcome, Settled};
pub use file::{Journal, JournalError, Tail, read, read_each};
pub use progress::{History, Progress};
