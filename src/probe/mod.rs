//! What probes say to each other, what they count, and what that means: pure, so that time is what the caller says it is.
//!
//! Probes are pods of ours, two on each node: one on the pod network, one on the host's. Each sends a small UDP packet to the
//! neighbours of its node every 200 ms, and their probes send it back. UDP, since raw sockets for ICMP need a privilege.
//! Neighbours are the next three nodes in a ring by name, so that the number of pairs grows with the number of nodes and not with
//! its square. The ring is the nodes as they were when the probes were started: it comes in a ConfigMap that is there before
//! the pods are, so that nothing has to reach them later. The addresses of hosts are in it. Those of pods are not known yet: the
//! probe on the pod network tells its address to that on its host, which adds it to each answer. So probes need no account, no
//! DNS and no Service, and a pod that comes back with another address is known at once.
//!
//! A packet that is not answered within a second is lost. What a probe counted stays with it from its start on and is
//! written to its log as one line, again and again: whoever takes up a run reads the newest line and has the whole.

mod account;
mod budget;
mod count;
mod packet;
mod ring;
mod roll;

pub use account::{Account, Ends, Net, PairAccount, PairLoss, SeenGap, seen_since};
pub use budget::{Budget, BudgetError};
pub use count::{Counter, Gap};
pub use packet::{LENGTH, Message, Packet, run_number};
pub use ring::{Ring, RingError};
pub use roll::{NodeLoss, PairGap, WholeLoss, losses_by_node};

/// How often a probe sends to each neighbour, in milliseconds. A gap is known to within this.
pub const INTERVAL_MS: u64 = 200;

/// A packet without an answer for this long is lost.
pub const TIMEOUT_MS: u64 = 1000;

/// How often a probe writes what it counted.
pub const ACCOUNT_MS: u64 = 2000;

/// Neighbours of a node.
pub const NEIGHBOURS: usize = 3;

/// Where probes listen: below the range of NodePorts and below that from which kernels choose.
pub const PORT: u16 = 29642;
