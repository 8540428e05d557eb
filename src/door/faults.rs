//! Places where a test can kill the program. A build without feature `faults` has none of it.

#[cfg(feature = "faults")]
use std::{io::Write, path::PathBuf, sync::Arc};

use jiff::Timestamp;

/// When, around one write, the program dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before it is sent.
    Pre,
    /// The server has made it, and nobody here looked at the answer.
    Sent,
    /// The answer was compared, and is not in the journal.
    Acked,
    /// The journal had it, but the disk lost it.
    LoggedUnsynced,
    /// The journal has it.
    Logged,
}

/// Which boundary kills the program, and where boundaries are listed.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    #[cfg(feature = "faults")]
    plan: Option<Arc<FaultPlan>>,
}

#[cfg(feature = "faults")]
#[derive(Debug)]
struct FaultPlan {
    kill: Option<String>,
    record: Option<PathBuf>,
    clock: Option<PathBuf>,
}

#[cfg(feature = "faults")]
impl Faults {
    /// Kills at the boundary `name:phase`, appends each boundary passed to a file, and reads from another by how many
    /// seconds the clock of this machine is wrong.
    pub fn new(kill: Option<String>, record: Option<PathBuf>, clock: Option<PathBuf>) -> Self {
        Self { plan: Some(Arc::new(FaultPlan { kill, record, clock })) }
    }

    /// What the clock of this machine shows, as wrong as the test wants it.
    pub fn now(&self) -> Timestamp {
        let clock = self.plan.as_ref().and_then(|plan| plan.clock.as_ref());
        let wrong = clock.map(|file| std::fs::read_to_string(file).expect("the test gave a file that can be read"));
        let seconds = wrong.map_or(0, |text| text.trim().parse().expect("the test gave seconds"));
        Timestamp::now() + jiff::SignedDuration::from_secs(seconds)
    }

    /// Dies here if this is the boundary that was asked for.
    pub fn at(&self, name: &str, phase: Phase) {
        let Some(plan) = &self.plan else { return };
        let boundary = format!("{name}:{}", phase.name());
        if let Some(record) = &plan.record {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(record);
            file.and_then(|mut file| writeln!(file, "{boundary}")).expect("the test gave a file that can be written");
        }
        if plan.kill.as_ref() == Some(&boundary) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }

    /// Answers whether the program dies at this boundary.
    pub fn is_set(&self, name: &str, phase: Phase) -> bool {
        let boundary = format!("{name}:{}", phase.name());
        self.plan.as_ref().is_some_and(|plan| plan.kill.as_ref() == Some(&boundary))
    }
}

#[cfg(feature = "faults")]
impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Phase::Pre => "pre",
            Phase::Sent => "sent",
            Phase::Acked => "acked",
            Phase::LoggedUnsynced => "logged-unsynced",
            Phase::Logged => "logged",
        }
    }
}

#[cfg(not(feature = "faults"))]
impl Faults {
    /// Does nothing: this build has no fault points.
    pub fn at(&self, _name: &str, _phase: Phase) {}

    /// What the clock of this machine shows.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
