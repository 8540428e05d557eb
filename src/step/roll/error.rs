//! Why a roll stops.

use std::time::Duration;

use crate::resource::{ObjectRef, Taint};

/// Why the roll stopped. The nodes that were not reached run as before.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    #[error("calico-node on `{node}` was not ready within {}s: {trouble}", .waited.as_secs())]
    NotReady { node: String, waited: Duration, trouble: String },
    #[error("calico-node on `{node}` was ready and is not any more, while it was still watched: {trouble}")]
    FellBack {
        node: String,
        trouble: String,
        /// The nodes that were begun after it was ready.
        since: Vec<String>,
    },
    #[error("the DaemonSet `{daemon_set}` has no revision of its template yet")]
    NoRevision { daemon_set: ObjectRef },
    #[error("the DaemonSet `{daemon_set}` would roll by itself (update strategy {strategy})")]
    NotFrozen { daemon_set: ObjectRef, strategy: String },
    #[error("`{node}` has the taint {taint}, which {daemon_set} does not tolerate")]
    KeptAway { node: String, taint: Taint, daemon_set: ObjectRef },
    #[error("`{node}` was made anew with an old template again and again")]
    NoEnd { node: String },
}
