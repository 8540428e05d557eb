use crate::event::Event;

/// What is told of an event outside of the screen.
pub struct News {
    /// One word for machines.
    pub reason: &'static str,
    pub message: String,
    pub is_warning: bool,
}

/// What is told of an event; nothing of small ones.
pub fn news(event: &Event) -> Option<News> {
    let (reason, message, is_warning) = words(event)?;
    Some(News { reason, message, is_warning })
}

fn words(event: &Event) -> Option<(&'static str, String, bool)> {
    Some(match event {
        // One that leads to no other release is a rollback, a completion or a restore.
        Event::RunStarted { run, from, to, .. } if from == to => {
            ("RunStarted", format!("run {run} of calico-upgrader began at Calico {from}"), false)
        }
        Event::RunStarted { run, from, to, .. } => {
            ("RunStarted", format!("run {run} of calico-upgrader began: Calico {from} to {to}"), false)
        }
        Event::RunResumed { run, .. } => ("RunResumed", format!("run {run} of calico-upgrader goes on"), false),
        Event::StepDone { step, .. } => ("RunStepDone", format!("step {step} is done"), false),
        Event::NodeStarted { done, of, .. } => {
            ("CalicoNodeReplacing", format!("calico-node is replaced ({done} of {of} nodes done)"), false)
        }
        Event::NodeWaiting { why, .. } => {
            ("CalicoNodeWaiting", format!("the new calico-node is not ready: {why}"), true)
        }
        Event::NodeDone { seconds, done, of, .. } => {
            let message = format!("calico-node was replaced in {seconds}s ({done} of {of} nodes done)");
            ("CalicoNodeReplaced", message, false)
        }
        Event::RunStopped { run, exit, why, now } => {
            let message = format!("run {run} stopped with exit {exit}: {why}. Next: {now}");
            ("RunStopped", message, ![0, 9, 10, 11].contains(exit))
        }
        Event::RunFinished { run, .. } => ("RunFinished", format!("run {run} of calico-upgrader is finished"), false),
        Event::LockAwaited { .. }
        | Event::StepStarted { .. }
        | Event::StepProgress { .. }
        | Event::Changed { .. }
        | Event::WaitStarted { .. }
        | Event::WaitDone { .. }
        | Event::NodesTimed { .. }
        | Event::NodeReady { .. }
        | Event::NodeFound { .. }
        | Event::NodeGone { .. }
        | Event::Failed { .. }
        | Event::Said { .. }
        | Event::Skipped { .. }
        | Event::Watching { .. }
        | Event::Lost { .. }
        | Event::Watched { .. }
        | Event::Proven { .. } => return None,
    })
}
