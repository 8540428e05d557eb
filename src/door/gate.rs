//! The gate: what a run asks before it begins something. Is it to pause, was its plan approved, is it the time, and is all well?

use std::time::Duration;

use jiff::Zoned;

use super::{Alarm, AlertGate};
use crate::{
    probe::Budget,
    resource::Digest,
    window::{Calendar, Shut},
};

/// What a run heeds besides a wish to pause.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    pub calendar: Calendar,
    /// Asked before each node alone: other changes are small, and a node is where an alert shows.
    pub alerts: Option<AlertGate>,
    /// What may be lost between the nodes; looked at after each.
    pub loss: Option<Budget>,
}

/// What is to be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A step, or changes of objects: each is over in a moment, and the run can stop between them.
    Changes,
    /// Nodes, which must come to their end.
    Nodes { within: Duration },
}

/// Why a run goes no further for now, though nothing is wrong: `resume` goes on.
#[derive(Debug, thiserror::Error)]
pub enum Hold {
    #[error("a pause was asked for")]
    PauseWanted,
    #[error("{0}")]
    Shut(Shut),
    #[error("nobody approved plan {}", .plan.short())]
    NotApproved { plan: Digest },
    #[error(transparent)]
    Alarm(#[from] Alarm),
}

impl Hold {
    /// The exit code that a script can act on.
    pub fn exit(&self) -> u8 {
        match self {
            Hold::PauseWanted => 11,
            Hold::Shut(_) => 9,
            Hold::NotApproved { .. } => 10,
            Hold::Alarm(_) => 4,
        }
    }

    /// What to do so that the run goes on.
    pub fn now(&self, run: &str) -> String {
        match self {
            Hold::PauseWanted | Hold::Shut(_) | Hold::Alarm(_) => format!("calico-upgrader resume {run}"),
            Hold::NotApproved { .. } => format!("calico-upgrader approve {run}"),
        }
    }
}

impl super::Door {
    /// What may be lost between the nodes, where that was limited.
    pub fn loss_budget(&self) -> Option<Budget> {
        self.gate.loss
    }

    /// Asks whether something may be begun now, and answers until when; `None` where there is no end.
    ///
    /// What others wish is known as of the last reservation.
    ///
    /// # Errors
    /// Why the run is to stop here, where it can go on.
    pub async fn may_begin(&self, beginning: Beginning) -> Result<Option<Zoned>, Hold> {
        let state = &self.record.state;
        if state.is_pause_wanted {
            return Err(Hold::PauseWanted);
        }
        if state.needs_approval && self.record.approved_plan() != Some(state.plan.text().as_str()) {
            return Err(Hold::NotApproved { plan: state.plan.clone() });
        }
        let needs = match beginning {
            Beginning::Changes => Duration::ZERO,
            Beginning::Nodes { within } => within,
        };
        let until = self.gate.calendar.may_begin(self.faults.now(), needs).map_err(Hold::Shut)?;
        match (beginning, &self.gate.alerts) {
            (Beginning::Nodes { .. }, Some(alerts)) => alerts.ask().await?,
            (Beginning::Changes, _) | (Beginning::Nodes { .. }, None) => {}
        }
        Ok(until)
    }
}
