//! What people read: the screens of a plan and an inventory, and the account of a run. Everything here is text; `cli` prints it.

mod diff;
mod discovery;
mod planned;
mod run;
mod text;

pub use diff::{DiffRow, DiffTitle, diff_markdown, diff_rows, diff_text};
pub use discovery::discovery;
pub use planned::{findings, markdown, plan, planned_changes};
pub use run::{RunReport, run_report, run_text};
pub use text::{clean, duration, table};
