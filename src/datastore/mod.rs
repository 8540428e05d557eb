//! The etcd of Calico's own data, through its v2 keys API: connect, read, and (for the door alone) write.
//!
//! Calico v2 on the etcd datastore keeps everything below `/calico`. No maintained crate speaks the v2 API, and clients of
//! etcd's v3 API see none of these keys. The API is plain HTTP with JSON, so the HTTP and TLS stack that is in the tree anyway
//! (hyper, rustls) carries it; another client would bring a second one of each.
//!
//! The server's certificate is always verified. Every read is a quorum read. Every write is of one key and names what must
//! hold: that the key is not there, or the index at which it was read. There is no other way to write.
//!
//! A connection is settled when it is made: addresses, certificates and passwords are read once. When they change under a run
//! it stops at the first answer that is not trusted, and `resume` reads them anew. Reading them in the middle would be a second
//! way to decide which etcd is spoken to; that is decided in one place, before anything is changed.
//!
//! What the API cannot give is said, never guessed: keys whose last element begins with `_` are in no list, and bytes that are
//! no UTF-8 come as U+FFFD.

mod access;
mod answer;
mod error;
mod etcd_v2;
mod health;
mod key;
mod layout;
mod read;
mod settle;
mod snapshot;
mod transport;
mod write;

pub use access::{Access, Authority, Credentials, Identity};
pub use error::{EtcdError, TlsProblem};
pub use etcd_v2::{Connection, Etcd, Member, escape, is_key_name};
pub use key::Key;
pub use layout::{KeyKind, Undecodable};
pub use read::order;
pub use settle::{Hidden, Reading};
pub use snapshot::{Offer, Snapshot};

/// The directory of all of Calico's keys.
pub const ROOT: &str = "/calico";
