//! Upgrades Calico on Kubernetes with one resumable command.
//!
//! Look at the cluster, decide everything, write it down, change it through one door one provable step at a time, and be able
//! to stop anywhere. The rooms, from the nouns up; each uses only those above it:
//!
//! | room | what it holds |
//! |---|---|
//! | `version`, `window`, `resource`, `inventory` | the nouns: releases, times, objects, what is known of a cluster |
//! | `convert`, `check`, `runbook`, `probe`, `plan` | decisions, pure: no client, no file, no clock |
//! | `web`, `echo`, `datastore`, `cluster`, `backup` | hands: HTTP to others, packets between nodes, Calico's own etcd, the Kubernetes API, archives |
//! | `event`, `journal`, `door`, `observe`, `step`, `engine`, `notice` | work: tell, remember, change, look, take steps, run, report to others |
//! | `report`, `cli` | the door to people |
#![forbid(unsafe_code)]

pub mod backup;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod convert;
pub mod datastore;
pub mod door;
pub mod echo;
pub mod engine;
pub mod event;
pub mod inventory;
pub mod journal;
pub mod notice;
pub mod observe;
pub mod plan;
pub mod probe;
pub mod report;
pub mod resource;
pub mod runbook;
pub mod step;
pub mod version;
pub mod web;
pub mod window;
