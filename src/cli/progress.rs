//! The live screen of a run: a bar on a terminal, plain lines elsewhere, and NDJSON for scripts.

use std::{fmt, fs::File, io::Write, sync::OnceLock, time::Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle as BarStyle};
use tokio::sync::{mpsc, watch};

use super::{
    arguments::{Global, ProgressStyle},
    failure::Failure,
    terminal,
};
use crate::{
    event::{Event, Voice},
    notice::Listeners,
    report,
};

/// Shows the events of a run as they come.
pub struct Screen {
    sender: Option<mpsc::UnboundedSender<Event>>,
    task: tokio::task::JoinHandle<()>,
}

impl Screen {
    pub fn start(global: &Global, listeners: Listeners) -> Result<Self, Failure> {
        let style = resolve(global);
        let mut events = match global.events.as_deref() {
            None => None,
            Some("-") => Some(Sink::Stdout),
            Some(path) => {
                Some(Sink::File(File::create(path).map_err(|error| Failure::bad_file(path, error.to_string()))?))
            }
        };
        let (sender, mut receiver) = mpsc::unbounded_channel::<Event>();
        let mut lines = Lines::new(style);
        let task = tokio::spawn(async move {
            while let Some(event) = receiver.recv().await {
                if let Some(sink) = &mut events {
                    sink.write(&event);
                }
                lines.show(&event);
                listeners.tell(&event);
            }
            lines.end();
            listeners.end().await;
        });
        Ok(Self { sender: Some(sender), task })
    }

    pub fn voice(&self) -> Voice {
        self.sender.clone().map_or_else(Voice::silent, Voice::new)
    }

    /// Shows what is left and gives the terminal back. Every voice must be gone.
    pub async fn end(mut self) {
        self.sender.take();
        let _ = self.task.await;
    }
}

enum Sink {
    Stdout,
    File(File),
}

impl Sink {
    /// A full disk or a closed pipe never changes what is done.
    fn write(&mut self, event: &Event) {
        let mut value = serde_json::to_value(event).unwrap_or_default();
        value["at"] = jiff::Timestamp::now().to_string().into();
        match self {
            Sink::Stdout => terminal::data(&format!("{value}\n")),
            Sink::File(file) => {
                let _ = writeln!(file, "{value}");
            }
        }
    }
}

fn resolve(global: &Global) -> ProgressStyle {
    let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
    match global.progress {
        _ if global.quiet => ProgressStyle::None,
        ProgressStyle::Auto if terminal::is_interactive() && !is_ci => ProgressStyle::Bar,
        ProgressStyle::Auto => ProgressStyle::Plain,
        chosen => chosen,
    }
}

struct Lines {
    style: ProgressStyle,
    bar: ProgressBar,
    started: Instant,
}

/// The time that the rest takes; nothing is known of it before something was done.
fn left(state: &ProgressState, to: &mut dyn fmt::Write) {
    // A bar without its time is still a bar.
    let _ = match state.per_sec() {
        0.0 => to.write_char('–'),
        _ => write!(to, "{:#}", HumanDuration(state.eta())),
    };
}

impl Lines {
    fn new(style: ProgressStyle) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Self { style, bar, started: Instant::now() }
    }

    fn show(&mut self, event: &Event) {
        match event {
            Event::StepStarted { changes, .. } if *changes > 0 => self.open_bar(*changes as u64, 0),
            // Nodes that a runner before us had replaced are done, and took no time of this one.
            Event::NodeStarted { done, of, .. } if self.bar.position() == 0 && *done > 0 => {
                self.open_bar(*of as u64, *done as u64);
            }
            Event::NodeStarted { done, of, .. }
            | Event::StepProgress { done, of, .. }
            | Event::NodeDone { done, of, .. }
            | Event::NodeGone { done, of, .. } => self.move_bar(*of as u64, *done as u64),
            _ => {}
        }
        let elapsed = || report::duration(self.started.elapsed().as_secs());
        match (self.line(event), event) {
            (Some(line), _) => self.write(&format!("{:>7}  {line}", elapsed())),
            (None, Event::Said { line }) => self.write(line),
            (None, _) => {}
        }
        if matches!(event, Event::StepDone { .. } | Event::RunStopped { .. } | Event::RunFinished { .. }) {
            self.end();
        }
    }

    /// Nodes come and go midway, so the length may change; what is known of the pace stays.
    fn move_bar(&mut self, length: u64, done: u64) {
        if self.bar.length().is_none() {
            self.open_bar(length, 0);
        }
        self.bar.set_length(length);
        self.bar.set_position(done);
    }

    fn write(&self, line: &str) {
        let line = report::clean(line);
        match self.style {
            ProgressStyle::Bar if !self.bar.is_hidden() => self.bar.suspend(|| terminal::chatter_line(&line)),
            ProgressStyle::Bar | ProgressStyle::Plain | ProgressStyle::Auto => terminal::chatter_line(&line),
            ProgressStyle::None => {}
        }
    }

    /// Begins at what was done before, which says nothing of how fast the rest goes.
    fn open_bar(&mut self, length: u64, done: u64) {
        if self.style != ProgressStyle::Bar {
            return;
        }
        self.bar.finish_and_clear();
        static STYLE: OnceLock<BarStyle> = OnceLock::new();
        let style = STYLE.get_or_init(|| {
            BarStyle::with_template("         {bar:30} {pos}/{len}  ETA {left}")
                .unwrap_or_else(|_| BarStyle::default_bar())
                .with_key("left", left)
        });
        self.bar = ProgressBar::new(length).with_style(style.clone()).with_position(done);
        self.bar.reset_eta();
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }

    fn line(&self, event: &Event) -> Option<String> {
        Some(match event {
            // What it is for was shown before: it leads to no other release.
            Event::RunStarted { run, plan, from, to, .. } if from == to => format!("run {run} · plan {plan}"),
            Event::RunStarted { run, plan, from, to, .. } => format!("run {run} · Calico {from} → {to} · plan {plan}"),
            Event::RunResumed { run, epoch, after } => {
                let after = if after.is_empty() { "nothing".to_owned() } else { after.join(", ") };
                format!("run {run} goes on (epoch {epoch}); done before: {after}")
            }
            Event::LockAwaited { seconds } => {
                format!("someone holds the lock: looking up to {seconds}s whether they are alive")
            }
            Event::StepStarted { step, phase, summary, .. } => format!("{phase}: {step} · {summary}"),
            Event::Changed { verb, object, .. } if self.style != ProgressStyle::Bar => format!("  {verb} {object}"),
            Event::Changed { .. }
            | Event::StepProgress { .. }
            | Event::WaitDone { .. }
            | Event::NodeReady { .. }
            | Event::Failed { .. }
            | Event::Said { .. } => return None,
            Event::WaitStarted { what, limit_seconds, .. } => format!("  waiting for {what}, at most {limit_seconds}s"),
            Event::NodesTimed { seconds, known, until } => {
                let known = if *known == 0 { "none is done yet".to_owned() } else { format!("from {known} done") };
                format!("  a node may take {} ({known}); the window ends {until}", report::duration(*seconds))
            }
            Event::NodeStarted { node, done, of } => format!("  {node}: replacing calico-node ({done} of {of} done)"),
            Event::NodeWaiting { node, why } => format!("  {node}: {why}"),
            Event::NodeDone { node, seconds, done, of } => {
                format!("  {node}: ready after {} ({done} of {of} done)", report::duration(*seconds))
            }
            Event::NodeFound { node } => format!("  {node}: replaced before the stop; looked at again, it is ready"),
            Event::NodeGone { node, done, of } => {
                format!("  {node}: the node is gone, and left out ({done} of {of} done)")
            }
            Event::Skipped { what, why } => format!("  skipped {what} ({why})"),
            Event::Watching { pairs, left_out } => format!("  {}", report::watching_words(*pairs, left_out)),
            Event::Lost { node, loss } => format!("  {node}: {}", report::loss_words(loss)),
            Event::Watched { whole } => format!("  {}", report::whole_words(whole)),
            Event::Proven { claim, .. } => format!("  proven: {claim}"),
            Event::StepDone { step, seconds } => format!("{step} done in {}", report::duration(*seconds)),
            Event::RunStopped { run, why, .. } => format!("run {run} stopped: {why}"),
            Event::RunFinished { run, .. } => format!("run {run} finished"),
        })
    }
}

/// What a runner does once it was asked to stop.
pub const AFTER_THIS_CHANGE: &str = "Stopping after the current change; once more to end at once.";

/// Asks to stop at the first signal, and says what that does; the second one ends the program at once, which is safe too.
pub async fn stop_on_signals(switch: watch::Sender<Option<u8>>, first_words: &'static str) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return;
    };
    let mut is_first = true;
    loop {
        let exit = tokio::select! {
            _ = interrupt.recv() => 130,
            _ = terminate.recv() => 143,
            _ = hangup.recv() => 129,
        };
        if !is_first {
            terminal::chatter_line("Ended at once. Next: calico-upgrader resume");
            end_now(exit);
        }
        is_first = false;
        terminal::chatter_line(first_words);
        switch.send_replace(Some(exit));
    }
}

#[expect(clippy::exit, reason = "the second signal asks for exactly this; the journal is safe against it")]
fn end_now(exit: u8) -> ! {
    std::process::exit(exit.into())
}
