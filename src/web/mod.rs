//! HTTP to and from what is neither the cluster nor its etcd: alerts asked for, news and traces sent, metrics served.

mod client;
mod serve;

pub use client::{Address, Client, WebError, is_loopback};
pub use serve::{Page, serve};
