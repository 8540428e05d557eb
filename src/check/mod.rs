//! Checks: what in a cluster speaks against an upgrade, all at once.
//!
//! A finding has a stable id. Mandatory ones stop a run before anything is changed; some of those yield to
//! `--ignore ID=reason`, and the reason is kept in the plan.

mod clock;
mod cluster;
mod etcd;
mod install;
mod owners;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use clock::clocks;
pub use cluster::shorten;
pub use owners::{owners_of_changed, signs};

use crate::inventory::Inventory;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub id: String,
    pub severity: Severity,
    /// What is wrong, with the object and the numbers.
    pub title: String,
    pub evidence: Vec<String>,
    pub why: String,
    /// What to do now; a command where there is one.
    pub now: String,
    /// Why the operator goes on in spite of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored_because: Option<String>,
    /// The gate that it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gated>,
}

/// A gate of a release that is crossed, and what it applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gated {
    pub id: String,
    pub severity: String,
    /// The first objects by name; how many there are is the count.
    pub objects: Vec<String>,
    pub count: usize,
    /// Why it could not be told whether it applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    pub source: String,
}

/// What a finding does to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It is told.
    Advisory,
    /// It stops the run with this exit code unless it is ignored with a reason.
    Mandatory { exit: u8 },
    /// It stops the run with this exit code, whatever the operator says.
    Final { exit: u8 },
}

/// Blocked before anything changed.
pub const BLOCKED: u8 = 3;
/// Something is not what a plan knows.
pub const DRIFT: u8 = 13;
/// A store or a server is out of reach, or does not let us.
pub const NO_ACCESS: u8 = 15;
/// No supported path.
pub const NO_PATH: u8 = 16;
/// A conversion needs a decision.
pub const NEEDS_DECISION: u8 = 17;

impl Finding {
    pub fn new(id: &str, severity: Severity, title: impl Into<String>) -> Self {
        let (evidence, why, now) = (Vec::new(), String::new(), String::new());
        Self { id: id.to_owned(), severity, title: title.into(), evidence, why, now, ignored_because: None, gate: None }
    }

    pub fn evidence(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.evidence.extend(lines);
        self
    }

    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    pub fn now(mut self, now: impl Into<String>) -> Self {
        self.now = now.into();
        self
    }

    pub fn gated(mut self, gate: Gated) -> Self {
        self.gate = Some(gate);
        self
    }

    /// The id by which it is ignored: that of its gate, or its own.
    pub fn name(&self) -> &str {
        self.gate.as_ref().map_or(&self.id, |gate| &gate.id)
    }

    /// The word of its level, where it stops nothing.
    pub fn word(&self) -> &'static str {
        match &self.gate {
            Some(gate) if gate.severity == "note" => "note",
            _ => "warning",
        }
    }

    /// Whether what is advised is to be done once the nodes are new: tools that would put the old release back, files, cordons and keys that stay.
    pub fn is_for_after(&self) -> bool {
        ["CU-C014", "CU-C017", "CU-C019", "CU-C024"].contains(&self.id.as_str())
    }

    /// The exit code with which this finding stops a run, if it does.
    pub fn blocks(&self) -> Option<u8> {
        match self.severity {
            Severity::Advisory => None,
            Severity::Mandatory { .. } if self.ignored_because.is_some() => None,
            Severity::Mandatory { exit } | Severity::Final { exit } => Some(exit),
        }
    }
}

/// Holds all checks against an inventory.
pub fn findings(inventory: &Inventory) -> Vec<Finding> {
    let all = [
        install::findings(inventory),
        cluster::findings(inventory),
        owners::findings(inventory),
        etcd::findings(inventory),
    ];
    all.into_iter().flatten().collect()
}

/// Marks the findings that the operator ignores, by id and reason.
pub fn ignore(findings: &mut [Finding], reasons: &BTreeMap<String, String>) {
    for finding in findings.iter_mut().filter(|finding| !matches!(finding.severity, Severity::Final { .. })) {
        finding.ignored_because = reasons.get(finding.name()).cloned();
    }
}

/// Every check, with one line on what it looks at.
pub const CHECKS: [(&str, &str); 29] = [
    ("CU-C001", "a Calico is installed"),
    ("CU-C002", "there is one Calico, not two"),
    ("CU-C003", "no operator manages Calico"),
    ("CU-C004", "the installed release is known from its images"),
    ("CU-C005", "the datastore and the manifests of the install are known and supported"),
    ("CU-C006", "we hold the rights that a run needs"),
    ("CU-C007", "all nodes are Ready"),
    ("CU-C008", "calico-node runs and is ready on every node"),
    ("CU-C009", "no namespace is being deleted"),
    ("CU-C010", "the isolation of every namespace can be read"),
    ("CU-C011", "all of Calico's data can be converted without loss"),
    ("CU-C012", "the API server serves the old data, and can hold the new"),
    ("CU-C013", "every hand-made change can be told from the release's own"),
    ("CU-C014", "no other tool puts back what we change"),
    ("CU-C015", "fields that cannot be changed fit the release"),
    ("CU-C016", "every decision of the operator answers a question"),
    ("CU-C017", "the CNI configuration keeps the name of its file"),
    ("CU-C018", "the ConfigMap that calico-node reads is there"),
    ("CU-C019", "no run of ours left a node cordoned"),
    ("CU-C020", "the etcd of an install on etcd was asked"),
    ("CU-C021", "one datastore is in use, not two"),
    ("CU-C022", "every endpoint of etcd answers"),
    ("CU-C023", "Calico is not paused in its etcd"),
    ("CU-C024", "Calico can read every key of its own"),
    ("CU-C025", "etcd gives every key byte by byte"),
    ("CU-C026", "old controllers left nothing behind in etcd"),
    ("CU-C027", "the etcd of Calico's data answers us"),
    ("CU-C028", "etcd has raised no alarm"),
    ("CU-C030", "our clock and that of the API server agree"),
];
