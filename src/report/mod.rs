//! What people read: the screens of a plan and an inventory, and the account of a run. Everything here is text; `cli` prints it.
//!
//! The account is one value, `RunReport`, made from what a run left behind: `steps` and `timeline` fold the journal, `change` reads
//! the plan without secrets, `verdict` judges. `account`, `ticket`, `html` (with `chart`) and `junit` only show it.

mod account;
mod change;
mod chart;
mod codes;
mod diff;
mod discovery;
mod etcd;
mod html;
mod junit;
mod loss;
mod planned;
mod restored;
mod run;
mod steps;
mod summary;
mod text;
mod ticket;
mod timeline;
mod verdict;

pub use account::run_text;
pub use change::NAMED;
pub use codes::{Explained, all_codes, all_explained, explain_code, explain_exit, explain_gate, nearest};
pub use diff::{DiffRow, DiffTitle, diff_markdown, diff_rows, diff_text};
pub use discovery::discovery;
pub use etcd::keys_in_backup;
pub use html::run_html;
pub use junit::run_junit;
pub use loss::{loss_words, watching_words, whole_words};
pub use planned::{findings, markdown, plan, planned_changes};
pub use restored::{RestoreReport, Rows, SHOWN, restore_comparison, restore_preview};
pub use run::{Remains, RunReport, journal_line, run_report};
pub use text::{clean, duration, table};
pub use ticket::run_markdown;
pub use timeline::of_nodes;
pub use verdict::Verdict;
