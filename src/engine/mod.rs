//! Runs a plan: takes its steps in order, keeps the lock, and stops where the run can go on.

mod runner;
mod start;

pub use runner::{ASKED_TO_PAUSE, Ending, PAUSED, ROLLBACK_FAILED, RunError, run};
pub use start::{Home, StartError, begin, go_on, newest_unfinished};
