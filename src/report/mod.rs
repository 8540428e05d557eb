//! What people read: the screens of a plan and an inventory, and the account of a run. Everything here is text; `cli` prints it.

mod discovery;
mod etcd;
mod planned;
mod run;
mod text;

pub use discovery::discovery;
pub use etcd::keys_in_backup;
pub use planned::{findings, markdown, plan, planned_changes};
pub use run::{RunReport, run_report, run_text};
pub use text::{clean, duration, table};
