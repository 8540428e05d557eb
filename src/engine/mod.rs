//! Runs a plan: takes its steps in order, keeps the lock, and stops where the run can go on.

mod event;
mod runner;
mod start;

pub use event::{Event, Voice};
pub use runner::{Ending, RunError, run};
pub use start::{Home, StartError, begin, go_on, newest_unfinished};
