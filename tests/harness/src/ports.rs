//! Ports of 127.0.0.1 for servers that are stopped and started again.
//!
//! They lie below those that the kernel gives to clients, so that no connection takes the port of a server that is down
//! for a while, and this process gives out none twice.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{HarnessError, Result};

const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

/// The ports that the servers of one cluster listen on.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    pub etcd: u16,
    pub etcd_peer: u16,
    pub api_server: u16,
}

impl Ports {
    /// Another process may still take one before the server does.
    pub fn free() -> Result<Self> {
        Ok(Ports { etcd: free()?, etcd_peer: free()?, api_server: free()? })
    }

    pub fn etcd_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd)
    }

    pub fn api_endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_server)
    }
}

/// The next port that nobody listens on; processes begin far from each other.
fn free() -> Result<u16> {
    static GIVEN_OUT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(7919);
    let next = || FIRST + begin.wrapping_add(GIVEN_OUT.fetch_add(1, Ordering::Relaxed)) % COUNT;
    let ports = (0..COUNT).filter_map(|_| u16::try_from(next()).ok());
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().ok_or(HarnessError::NoFreePort { first: FIRST, count: COUNT })
}
