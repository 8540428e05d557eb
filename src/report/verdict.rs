//! The one thing that a reader must see first: is all well, and if not, what now.

use serde::{Deserialize, Serialize};

use super::steps::{StepReport, StepStatus};
use crate::{
    door::{RunPhase, RunState},
    engine::ROLLBACK_FAILED,
    journal::Progress,
    plan::{Plan, Purpose},
};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every step is done, and no claim failed.
    Well,
    /// Someone asked it to stop; it can go on.
    Waiting,
    /// It stopped because something was wrong.
    Wrong,
    /// No end is recorded: it runs still, or it was killed.
    Open,
    /// It was given up for a new plan.
    Abandoned,
}

/// A command to use now, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    pub command: String,
    pub why: String,
}

/// Exit codes of a run that stopped because someone wanted it so: after a phase, at the end of a window, until its approval,
/// on request, by a signal.
const WANTED: [u8; 6] = [0, 9, 10, 11, 130, 143];

/// Judges a run; a claim that does not hold or a step that is not done is never well, whatever the end says.
pub fn verdict(progress: &Progress, steps: &[StepReport], record: Option<&RunState>) -> (Verdict, Option<u8>, String) {
    let broken = steps.iter().flat_map(|step| &step.claims).filter(|claim| !claim.holds).count();
    let undone = steps.iter().filter(|step| step.status != StepStatus::Done).count();
    let is_abandoned = record.is_some_and(|record| record.phase == RunPhase::Abandoned);
    match (progress.finished, &progress.stopped) {
        _ if is_abandoned => (Verdict::Abandoned, None, "it was given up for a new plan".to_owned()),
        (Some(exit), _) if broken > 0 => (Verdict::Wrong, Some(exit), format!("{broken} claims do not hold")),
        (Some(0), _) if undone == 0 => (Verdict::Well, Some(0), String::new()),
        (Some(0), _) if is_told_elsewhere(progress, steps) => (Verdict::Well, Some(0), String::new()),
        (Some(exit), _) => {
            (Verdict::Wrong, Some(exit), format!("it ended with exit code {exit}, and {undone} steps are not done"))
        }
        (None, Some((exit, why))) if WANTED.contains(exit) && broken == 0 => {
            (Verdict::Waiting, Some(*exit), why.clone())
        }
        (None, Some((exit, why))) => (Verdict::Wrong, Some(*exit), why.clone()),
        (None, None) => (Verdict::Open, None, "no end is recorded: it runs still, or it was killed".to_owned()),
    }
}

/// A run that another machine began is done, though its first steps are not in this journal.
fn is_told_elsewhere(progress: &Progress, steps: &[StepReport]) -> bool {
    let first = steps.iter().position(|step| step.status == StepStatus::Done).unwrap_or(steps.len());
    let is_taken_up = progress.epoch > 1 && first < steps.len();
    is_taken_up
        && steps[..first].iter().all(|step| step.status == StepStatus::NotReached)
        && steps[first..].iter().all(|step| step.status == StepStatus::Done)
}

/// The verdict as one line.
pub fn headline(verdict: Verdict, exit: Option<u8>, plan: &Plan) -> String {
    let what = match &plan.purpose {
        Purpose::Upgrade => format!("Upgrade from Calico {} to {}", plan.from, plan.to),
        Purpose::Rollback { run } => format!("Rollback of run {run} to Calico {}", plan.to),
        Purpose::Completion { run } => format!("Completion of run {run}"),
        Purpose::Restore { backup } => format!("Restore of backup {}", backup.short()),
    };
    let how = match (verdict, exit) {
        (Verdict::Well, _) => "is done",
        (Verdict::Waiting, _) => "was stopped, and can go on",
        (Verdict::Wrong, Some(0 | 5)) => "is done, but not all that was claimed holds",
        (Verdict::Wrong, _) => "stopped before its end",
        (Verdict::Open, _) => "has no recorded end",
        (Verdict::Abandoned, _) => "was given up",
    };
    format!("{what} {how}")
}

/// The commands to use next.
pub fn next(verdict: Verdict, exit: Option<u8>, plan: &Plan, run: &str, has_backup: bool) -> Vec<Next> {
    let next = |command: String, why: &str| Next { command: format!("calico-upgrader {command}"), why: why.to_owned() };
    let mut all = match verdict {
        Verdict::Well => vec![next(format!("verify {run}"), "looks at everything again, now")],
        Verdict::Waiting => vec![next(format!("resume {run}"), "goes on where it stopped")],
        Verdict::Wrong if exit == Some(ROLLBACK_FAILED) => vec![
            next(format!("explain {ROLLBACK_FAILED}"), "a person must look: the rollback cannot go on by itself"),
            next(format!("status {run}"), "says in which step it stopped, and why"),
            next(format!("resume {run}"), "goes on once a person has repaired what is named"),
        ],
        Verdict::Wrong => {
            let code = exit.unwrap_or(1);
            vec![
                next(format!("explain {code}"), "says what the exit code means, and where to look"),
                next(format!("resume {run}"), "looks again and goes on, once the cause is gone"),
            ]
        }
        Verdict::Open => vec![
            next(format!("status {run}"), "says whether someone runs it"),
            next(format!("resume {run}"), "takes it up if nobody does"),
        ],
        Verdict::Abandoned => vec![next("discover".to_owned(), "shows what is there now")],
    };
    let is_open = matches!(verdict, Verdict::Waiting | Verdict::Wrong | Verdict::Open);
    if is_open && plan.purpose == Purpose::Upgrade {
        all.push(next(format!("rollback {run}"), "takes back what it did, if it shall not go on"));
    }
    if has_backup {
        all.push(next(format!("backup verify {run}"), "reads the backup back, every byte of it"));
    }
    all
}
