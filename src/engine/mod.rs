//! Runs a plan: takes its steps in order, keeps the lock, and stops where the run can go on.

mod found;
mod guard;
mod runner;
mod start;

pub use found::{Found, find, unrecorded};
pub use runner::{Course, Ending, ROLLBACK_FAILED, RunError, Until, run};
pub use start::{Home, StartError, begin, go_on, newest_unfinished};
