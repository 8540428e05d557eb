//! The whole program against real control planes: worn-in clusters, dry runs, kills, faults, bad input.
//!
//! One control plane of each Kubernetes version serves all cases, one after the other; each case starts from a snapshot.
//! Needs the feature `faults`, which `make test` switches on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod accounts;
mod customized;
mod etcd;
mod flavours;
mod interruptions;
mod kill_matrix;
mod lab;
mod owners;
mod refusals;
mod restored_keys;
mod restores;
mod rollbacks;
mod rolls;
mod scheduled;
mod screens;
mod stand;
mod upgrades;
mod watched;
mod windows;
