//! Failures as the operator sees them: what failed, the evidence, why it matters, what now. And the exit code.

use std::error::Error;

use super::{arguments::Global, stores, terminal};
use crate::{
    backup::BackupError,
    check::Finding,
    cluster::ClusterError,
    door::{ChangeError, DoorError, Drift, FileError, LeaseError, RecordError},
    engine::{RunError, StartError},
    journal::JournalError,
    observe::ObserveError,
    plan::{PlanError, RollbackError},
    report,
    resource::{Difference, ObjectRef, masked_field},
    step::{ProbeError, PullError, RollError, StepError},
};

/// Why a command did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    pub exit: u8,
    pub code: &'static str,
    pub what: String,
    pub evidence: Vec<String>,
    pub why: String,
    pub now: String,
    /// Findings that say it all themselves.
    pub findings: Vec<Finding>,
}

impl Failure {
    pub fn new(exit: u8, code: &'static str, what: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            what: what.into(),
            evidence: Vec::new(),
            why: String::new(),
            now: String::new(),
            findings: Vec::new(),
        }
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

    pub fn unexpected(error: &(dyn Error + 'static)) -> Self {
        Self::new(1, "CU-E001", error.to_string())
            .evidence(causes(error))
            .why("this was not foreseen")
            .now("run again with -vv and look at the log")
    }

    /// A wrong flag or argument.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(64, "CU-E064", what).now("calico-upgrader --help")
    }

    /// A file that is not what it should be.
    pub fn bad_file(path: impl std::fmt::Display, what: impl Into<String>) -> Self {
        Self::new(65, "CU-E065", format!("`{path}` cannot be used")).evidence([what.into()]).why("nothing was changed")
    }

    /// Prints the failure and answers the exit code.
    pub fn tell(&self, global: &Global) -> u8 {
        self.print(global, "error");
        self.exit
    }

    /// Prints why nothing was done, where that is as it should be.
    pub fn note(&self, global: &Global) {
        self.print(global, "note");
    }

    fn print(&self, global: &Global, word: &str) {
        if global.output == super::arguments::Output::Json {
            return terminal::chatter_line(&serde_json::json!({word: self.to_json()}).to_string());
        }
        if !self.findings.is_empty() {
            terminal::chatter(&report::findings(&self.findings));
        }
        let mut text = format!("{word}[{}]: {}\n", self.code, report::clean(&self.what));
        for (index, line) in self.evidence.iter().enumerate() {
            text.push_str(&format!("  {:<8}  {}\n", if index == 0 { "evidence" } else { "" }, report::clean(line)));
        }
        for (label, line) in [("why", &self.why), ("now", &self.now)] {
            if !line.is_empty() {
                text.push_str(&format!("  {label:<8}  {}\n", report::clean(line)));
            }
        }
        if self.exit != 64 {
            text.push_str(&format!("  {:<8}  calico-upgrader explain {}\n", "more", self.code));
        }
        terminal::chatter(&text);
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"code": self.code, "exit": self.exit, "what": self.what, "evidence": self.evidence,
            "why": self.why, "now": self.now, "findings": self.findings})
    }
}

/// The chain of causes, each once.
pub(super) fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut lines = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let line = cause.to_string();
        if lines.last() != Some(&line) {
            lines.push(line);
        }
        next = cause.source();
    }
    lines
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        let error = match error {
            ClusterError::Etcd(error) => return error.into(),
            other => other,
        };
        let evidence = causes(&error);
        if let ClusterError::StoreFull { .. } = error {
            return stores::full(error.to_string());
        }
        if error.is_about_access() {
            let now = "kubectl config current-context; kubectl auth can-i --list";
            return Self::new(15, "CU-E015", error.to_string()).evidence(evidence).why("nothing was changed").now(now);
        }
        Self::new(1, "CU-E002", error.to_string())
            .evidence(evidence)
            .why("the API server answered otherwise than expected")
    }
}

impl From<ObserveError> for Failure {
    fn from(error: ObserveError) -> Self {
        match error {
            ObserveError::Cluster(error) => error.into(),
            ObserveError::MayNotRead { missing } => {
                Self::new(15, "CU-E016", format!("{} rights to read are missing", missing.len()))
                    .evidence(missing)
                    .why("what cannot be read cannot be planned for; nothing was changed")
                    .now("use an account that may do the above")
            }
            ObserveError::NoKubeSystem => Self::new(3, "CU-E003", error.to_string()).now("check the context"),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let exit = error.exit();
        let what = error.to_string();
        match error {
            PlanError::Blocked(findings) => {
                let blocking: Vec<Finding> =
                    findings.into_iter().filter(|finding| finding.blocks().is_some()).collect();
                let failure = Self::new(exit, "CU-E004", format!("{} findings block the upgrade", blocking.len()));
                let mut failure = failure
                    .why("nothing was changed")
                    .now("act on the findings above, then run the same command again");
                failure.findings = blocking;
                failure
            }
            PlanError::Duration { .. } => Self::new(exit, "CU-E065", what),
        }
    }
}

impl From<RollbackError> for Failure {
    fn from(error: RollbackError) -> Self {
        let what = error.to_string();
        match error {
            RollbackError::Step { .. } => Self::usage(what),
            RollbackError::Blocked(findings) => {
                let exit = findings.iter().filter_map(Finding::blocks).max().unwrap_or(crate::check::BLOCKED);
                let failure = Self::new(exit, "CU-E004", what).why("nothing was changed");
                let mut failure = failure.now("act on the findings above, then run the same command again");
                failure.findings = findings;
                failure
            }
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        unwritable(error.to_string(), causes(&error))
    }
}

fn unwritable(what: String, evidence: Vec<String>) -> Failure {
    Failure::new(3, "CU-E005", what)
        .evidence(evidence)
        .why("a run that cannot write its journal must not change anything; nothing was changed")
        .now("make room or choose another place with --state-dir")
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        let evidence = causes(&error);
        Self::new(14, "CU-E014", error.to_string())
            .evidence(evidence)
            .why("what cannot be read back is no backup")
            .now("calico-upgrader backup create")
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let (what, evidence) = (error.to_string(), causes(&error));
        match error {
            RecordError::Cluster(error) => error.into(),
            RecordError::Lost { .. } => {
                Self::new(8, "CU-E008", what).why("only one runner may write").now("calico-upgrader status")
            }
            RecordError::Damaged { .. } => {
                Self::new(65, "CU-E066", what).evidence(evidence).why("a run goes on only from a record that is whole")
            }
            RecordError::Missing { .. } => Self::new(65, "CU-E067", what).now("calico-upgrader status"),
            RecordError::File(error) => error.into(),
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let (what, evidence) = (error.to_string(), causes(&error));
        match error {
            StartError::LocallyHeld { .. } | StartError::Lease(LeaseError::Held { .. }) => {
                Self::new(8, "CU-E008", what)
                    .why("two runners would undo each other's work; nothing was changed")
                    .now("calico-upgrader status -w")
            }
            StartError::Lease(LeaseError::Cluster(error)) => error.into(),
            StartError::Record(error) => error.into(),
            StartError::File(error) => error.into(),
            StartError::Backup(error) => error.into(),
            StartError::Observe(error) => error.into(),
            StartError::Journal(JournalError::Write { .. } | JournalError::Poisoned { .. }) => {
                unwritable(what, evidence)
            }
            StartError::Journal(_) | StartError::History { .. } | StartError::OtherPlan { .. } => {
                Self::new(65, "CU-E068", what)
                    .evidence(evidence)
                    .why("the journal on this machine cannot be relied upon; the run record in the cluster can")
                    .now("go on from another state directory: calico-upgrader resume --state-dir DIR")
            }
            StartError::Unfinished { run } => Self::new(3, "CU-E009", what)
                .why("its changes are half made; nothing was changed now")
                .now(format!("calico-upgrader resume {run}; or give it up for a new plan: add --abandon {run}")),
            StartError::Finished { .. } => {
                Self::new(3, "CU-E010", what).why("there is nothing left to do").now("calico-upgrader verify")
            }
            StartError::RolledBack { by, .. } => Self::new(6, "CU-E017", what)
                .why("what it changed was put back, so there is nothing to go on with")
                .now(format!("calico-upgrader status {by}")),
            StartError::Overtaken { by, .. } => Self::new(3, "CU-E010", what)
                .why("a run that another one took the place of must not go on; nothing was changed")
                .now(format!("calico-upgrader status {by}")),
            StartError::OtherCluster { .. } => {
                Self::new(13, "CU-E013", what).why("nothing was changed").now("check the context")
            }
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let now = format!("calico-upgrader resume {}", error.run);
        let (what, evidence, hint) = told(&error.source);
        let why = format!(
            "run {} stopped in step {}; what was done is recorded, nothing else was touched. {hint}",
            error.run, error.step
        );
        let code = stores::code(&error.source).or(own_code(&error.source)).unwrap_or(code_of(error.exit));
        Self::new(error.exit, code, what).evidence(evidence).why(why.trim_end()).now(now)
    }
}

/// What a person has to see to at a node has codes of its own.
fn own_code(error: &StepError) -> Option<&'static str> {
    match error {
        StepError::Probe(ProbeError::OverBudget { .. }) => Some("CU-R030"),
        StepError::Probe(ProbeError::Blind { .. }) => Some("CU-R031"),
        StepError::Probe(ProbeError::NewPod { .. }) => Some("CU-R032"),
        StepError::Roll(RollError::KeptAway { .. }) => Some("CU-R033"),
        StepError::Roll(RollError::FellBack { .. }) => Some("CU-R034"),
        _ => None,
    }
}

fn code_of(exit: u8) -> &'static str {
    match exit {
        4 => "CU-R004",
        5 => "CU-R005",
        7 => "CU-R007",
        8 => "CU-R008",
        13 => "CU-R013",
        14 => "CU-R014",
        15 => "CU-R015",
        _ => "CU-R001",
    }
}

/// What failed, the evidence, and what to think of it.
fn told(error: &StepError) -> (String, Vec<String>, &'static str) {
    match error {
        StepError::Drift(drift) => drifted(drift),
        StepError::Door(DoorError::Change(ChangeError::Drift(drift))) => drifted(drift),
        StepError::Door(DoorError::Change(ChangeError::StoredOtherwise { object, differences })) => (
            error.to_string(),
            lines("stored", object, differences),
            "A webhook or an admission plug-in changes what is sent.",
        ),
        StepError::NotProven(claims) => {
            let facts = claims
                .iter()
                .flat_map(|claim| [format!("does not hold: {}", claim.text)].into_iter().chain(claim.facts.clone()));
            (error.to_string(), facts.collect(), "Every step before it is done.")
        }
        StepError::Pull(PullError { .. }) => (
            error.to_string(),
            Vec::new(),
            "No pod of calico-node was touched. Make the image reachable from that node, or go without with --no-pull.",
        ),
        StepError::Door(DoorError::Record(RecordError::Missing { .. })) => (
            error.to_string(),
            Vec::new(),
            "Someone deleted the run record. On this machine `resume` puts it back from the files of the run.",
        ),
        StepError::Roll(RollError::NotReady { .. }) => {
            (error.to_string(), Vec::new(), "The other nodes run and are not touched until this one is well.")
        }
        StepError::Roll(RollError::FellBack { since, .. }) => (
            error.to_string(),
            (!since.is_empty())
                .then(|| format!("begun since it was ready: {}", since.join(", ")))
                .into_iter()
                .collect(),
            "No further node is touched. Look at its pod and its log, and at those of the nodes that were begun since.",
        ),
        StepError::Roll(RollError::KeptAway { node, taint, .. }) => (
            error.to_string(),
            vec![format!("for the time of the run: {}", taint.removal(node))],
            "Its pod runs and was not touched: once it is deleted, no new one comes. Take the taint away until the run is done, or take the node out of the cluster.",
        ),
        StepError::Probe(ProbeError::OverBudget { pairs, .. }) => (
            error.to_string(),
            pairs.iter().take(12).cloned().collect(),
            "The node runs the new pod, and the others are not touched until you have looked.",
        ),
        StepError::Probe(ProbeError::Blind { .. }) => (
            error.to_string(),
            Vec::new(),
            "A gate that cannot be looked at is not open. To go on without it: no --gate-loss.",
        ),
        StepError::Probe(ProbeError::NewPod { .. }) => {
            (error.to_string(), Vec::new(), "New pods would fare the same on the next nodes, which are not touched.")
        }
        other => (stores::what(other).unwrap_or(other.to_string()), causes(other), stores::hint(other)),
    }
}

fn drifted(drift: &Drift) -> (String, Vec<String>, &'static str) {
    let evidence = lines("since the plan", &drift.object, &drift.since).into_iter().chain(lines(
        "the plan wants",
        &drift.object,
        &drift.wanted,
    ));
    (drift.to_string(), evidence.collect(), "Put the object back as it was, or make it as the plan wants it.")
}

fn lines(what: &str, object: &ObjectRef, differences: &[Difference]) -> Vec<String> {
    let text = |path: &str, value: &Option<serde_json::Value>| {
        value.as_ref().map_or("nothing".to_owned(), |value| masked_field(object, path, value).to_string())
    };
    let line = |one: &Difference| {
        format!("{what}: {}: {} is now {}", one.path, text(&one.path, &one.wanted), text(&one.path, &one.found))
    };
    // That the whole object came or went is said already.
    differences.iter().filter(|one| !one.path.is_empty()).take(12).map(line).collect()
}
