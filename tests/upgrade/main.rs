//! The whole program against real control planes: worn-in clusters, dry runs, kills, faults, bad input.
//!
//! Three control planes of each Kubernetes version serve all cases; each case has one for itself and starts from a snapshot.
//! Needs the feature `faults`, which `make test` switches on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod accounts;
mod as_job;
mod calico_v3;
mod config;
mod consent;
mod controllers;
mod customized;
mod etcd;
mod etcd_accounts;
mod etcd_snapshot;
mod etcd_trouble;
mod flavours;
mod full_store;
mod in_cluster;
mod interruptions;
mod kill_matrix;
mod kills;
mod kubelet;
mod lab;
mod moment;
mod owners;
mod printed;
mod probe_pods;
mod probes;
mod published;
mod recreated;
mod refusals;
mod restored_keys;
mod restores;
mod restricted;
mod rollback_kills;
mod rollbacks;
mod rolls;
mod scheduled;
mod screens;
mod stand;
mod tier;
mod times;
#[cfg(feature = "otel")]
mod traces;
mod upgrades;
mod watched;
mod windows;
