//! The etcd of Calico's own data, through its v2 keys API: connect, read, and (for the door alone) write.
//!
//! Calico v2 on the etcd datastore keeps everything below `/calico`. No maintained crate speaks the v2 API, and clients of
//! etcd's v3 API see none of these keys. The API is plain HTTP with JSON, so the HTTP and TLS stack that is in the tree anyway
//! (hyper, rustls) carries it; another client would bring a second one of each.
//!
//! The server's certificate is always verified. Every read is a quorum read. Every write is of one key and names what must
//! hold: that the key is not there, or the index at which it was read. There is no other way to write.
//!
//! What the API cannot give is said, never guessed: keys whose last element begins with `_` are in no list, and bytes that are
//! no UTF-8 come as U+FFFD.

mod access;
mod answer;
mod error;
mod etcd_v2;
mod key;
mod layout;
mod read;
mod settle;
mod transport;
mod write;

pub use access::{Access, Authority, Credentials, Identity};
pub use error::{EtcdError, TlsProblem};
pub use etcd_v2::{Connection, Etcd, Member, escape, is_key_name};
pub use key::Key;
pub use layout::{KeyKind, Undecodable};
pub use settle::{Hidden, Reading};

/// The directory of all of Calico's keys.
pub const ROOT: &str = "/calico";
