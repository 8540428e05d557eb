use super::{Entry, Intent, News, Outcome};
use crate::resource::Digest;

/// How far a run is, folded from its journal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    pub run: String,
    pub plan: Option<Digest>,
    pub cluster: String,
    pub epoch: u64,
    pub steps_done: Vec<String>,
    pub step: Option<String>,
    /// Changes that were meant, and of which no outcome is recorded.
    pub open: Vec<Intent>,
    pub batches: u64,
    pub changes_applied: u64,
    pub stopped: Option<(u8, String)>,
    pub finished: Option<u8>,
    open_batch: Option<u64>,
}

/// The journal tells a history that could not have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("journal entry {seq} cannot be true: {why}")]
pub struct History {
    pub seq: u64,
    pub why: String,
}

impl Progress {
    /// Folds a journal into how far the run is.
    pub fn of(entries: &[Entry]) -> Result<Self, History> {
        let mut progress = Self::default();
        entries.iter().try_for_each(|entry| progress.take(entry))?;
        Ok(progress)
    }

    /// Takes the next entry, if it can follow what came before.
    pub fn take(&mut self, entry: &Entry) -> Result<(), History> {
        self.follow(entry).map_err(|why| History { seq: entry.seq, why: why.to_owned() })
    }

    fn follow(&mut self, entry: &Entry) -> Result<(), &'static str> {
        let is_resumed = matches!(entry.news, News::Resumed { .. });
        if self.finished.is_some() {
            return Err("the run was finished before");
        }
        if entry.epoch < self.epoch || (entry.epoch > self.epoch && !is_resumed && entry.seq != 0) {
            return Err("it was written by a runner that does not hold the run");
        }
        self.epoch = entry.epoch;
        self.note(&entry.news)
    }

    fn note(&mut self, news: &News) -> Result<(), &'static str> {
        if self.stopped.is_some() && !matches!(news, News::Resumed { .. }) {
            return Err("the run had stopped and nobody resumed it");
        }
        match news {
            News::Started { run, plan, cluster, .. } => {
                self.run.clone_from(run);
                self.plan = Some(plan.clone());
                self.cluster.clone_from(cluster);
            }
            News::Resumed { after, .. } => {
                self.forget_open_questions();
                self.steps_done = self.done_with(after);
            }
            News::StepStarted { step } => self.start(step)?,
            News::Intended { batch, changes, .. } => self.intend(*batch, changes)?,
            News::Settled { batch, changes } => {
                self.settle(*batch, changes.len())?;
                let applied = changes.iter().filter(|change| change.outcome != Outcome::NotApplied);
                self.changes_applied += applied.count() as u64;
            }
            News::Waited { .. }
            | News::Ready { .. }
            | News::Gone { .. }
            | News::Skipped { .. }
            | News::Watching { .. }
            | News::Lost { .. }
            | News::Watched { .. }
            | News::Proven { .. }
            | News::Broken { .. } => {}
            News::StepDone { step } => self.finish(step)?,
            News::Stopped { exit, why } => self.stopped = Some((*exit, why.clone())),
            News::Finished { exit } => self.finished = Some(*exit),
        }
        Ok(())
    }

    /// Every step that is done: those of this journal, and those that the run record knows from runners on other machines.
    pub fn done_with(&self, recorded: &[String]) -> Vec<String> {
        let mut done = recorded.to_vec();
        done.extend(self.steps_done.iter().filter(|step| !recorded.contains(step)).cloned());
        done
    }

    fn forget_open_questions(&mut self) {
        self.open.clear();
        self.open_batch = None;
        self.stopped = None;
    }

    fn start(&mut self, step: &str) -> Result<(), &'static str> {
        if self.steps_done.iter().any(|done| done == step) {
            return Err("the step was done before");
        }
        self.step = Some(step.to_owned());
        Ok(())
    }

    fn finish(&mut self, step: &str) -> Result<(), &'static str> {
        if self.step.as_deref() != Some(step) || self.open_batch.is_some() {
            return Err("the step was not started, or its last changes have no outcome");
        }
        self.step = None;
        self.steps_done.push(step.to_owned());
        Ok(())
    }

    fn intend(&mut self, batch: u64, changes: &[Intent]) -> Result<(), &'static str> {
        if self.open_batch.is_some() {
            return Err("the batch before has no outcome");
        }
        self.open_batch = Some(batch);
        self.batches = self.batches.max(batch);
        self.open = changes.to_vec();
        Ok(())
    }

    fn settle(&mut self, batch: u64, changes: usize) -> Result<(), &'static str> {
        if self.open_batch != Some(batch) || self.open.len() != changes {
            return Err("it settles what nobody intended");
        }
        self.open_batch = None;
        self.open.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, epoch: u64, news: News) -> Entry {
        Entry { seq, epoch, at: String::new(), prev: String::new(), news }
    }

    fn resumed(after: &[&str]) -> News {
        News::Resumed { holder: "b".to_owned(), after: after.iter().copied().map(str::to_owned).collect() }
    }

    fn step(name: &str) -> News {
        News::StepStarted { step: name.to_owned() }
    }

    #[test]
    fn a_step_done_twice_could_not_have_happened() {
        let done = News::StepDone { step: "back-up".to_owned() };
        let history = [entry(0, 1, step("back-up")), entry(1, 1, done), entry(2, 1, step("back-up"))];
        assert_eq!(Progress::of(&history).unwrap_err().seq, 2);
    }

    #[test]
    fn a_runner_that_lost_the_run_cannot_write_on() {
        let history = [entry(0, 1, step("back-up")), entry(1, 2, resumed(&[])), entry(2, 1, step("verify"))];
        assert_eq!(Progress::of(&history).unwrap_err().seq, 2);
    }

    #[test]
    fn a_step_is_done_if_the_journal_or_the_record_says_so_and_then_cannot_begin_again() {
        let done = News::StepDone { step: "pull-images".to_owned() };
        let history = [entry(0, 1, step("pull-images")), entry(1, 1, done), entry(2, 2, resumed(&["back-up"]))];
        let progress = Progress::of(&history).unwrap();
        assert_eq!(progress.steps_done, ["back-up", "pull-images"]);
        for again in ["back-up", "pull-images"] {
            assert!(progress.clone().take(&entry(3, 2, step(again))).is_err(), "{again}");
        }
    }

    #[test]
    fn nothing_is_settled_that_nobody_intended() {
        let history = [entry(0, 1, News::Settled { batch: 1, changes: vec![] })];
        assert!(Progress::of(&history).is_err());
    }
}
