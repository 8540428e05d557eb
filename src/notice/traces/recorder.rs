//! From events to spans: a run, below it its steps, below a step its nodes and waits.

use std::collections::BTreeMap;

use jiff::Timestamp;
use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::{Span, span::Link, status::StatusCode},
};

use super::{
    About, Before,
    ids::Ids,
    span::{end, explain, note, number, open, text, truth},
};
use crate::{event::Event, notice::words::news};

/// What is open of a run.
pub struct Recorder {
    about: About,
    ids: Ids,
    run: String,
    /// What this runner does, below which its steps are: the run itself, unless a runner before has told that.
    leg: Option<Span>,
    step: Option<Span>,
    /// Nodes and waits of the step.
    below: BTreeMap<String, Span>,
    /// Spans of a run that stopped, which wait for the code of its message.
    stopped: Vec<Span>,
    epoch: u64,
    opened: u64,
}

impl Recorder {
    pub fn new(about: About) -> Self {
        let ids = Ids::of(&about.cluster, "");
        let (run, leg, step, below) = (String::new(), None, None, BTreeMap::new());
        Self { about, ids, run, leg, step, below, stopped: Vec::new(), epoch: 0, opened: 0 }
    }

    /// The names of this run's spans.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Takes an event, and answers the spans that ended with it.
    pub fn take(&mut self, event: &Event, now: Timestamp) -> Vec<Span> {
        let at = nanoseconds(now);
        match event {
            Event::RunStarted { run, plan, steps, .. } => {
                let told = self.last(now);
                self.begin(run, 1, at);
                let more = [text("calico_upgrader.plan", plan), number("calico_upgrader.steps", steps.len() as u64)];
                self.leg.iter_mut().for_each(|leg| leg.attributes.extend(more.clone()));
                return told;
            }
            Event::RunResumed { run, epoch, .. } => {
                let told = self.last(now);
                self.begin(run, *epoch, at);
                return told;
            }
            Event::StepStarted { step, phase, changes, .. } => self.begin_step(step, phase, *changes, at),
            Event::StepDone { .. } => return self.end_step("done", StatusCode::Ok, at),
            Event::WaitStarted { what, .. } => {
                self.begin_below("wait", what, text("calico_upgrader.wait", what), at);
            }
            Event::WaitDone { what, .. } => return self.end_below(what, "done", at),
            Event::NodeStarted { node, .. } => self.begin_below("replace-node", node, text("k8s.node.name", node), at),
            Event::NodeWaiting { node, .. } => self.note(node, "not-ready", at, Vec::new()),
            Event::NodeReady { node, seen } => self.note(node, "ready", nanoseconds(*seen), Vec::new()),
            Event::NodeDone { node, .. } => return self.end_below(node, "done", at),
            Event::NodeGone { node, .. } => return self.end_below(node, "gone", at),
            Event::NodeFound { node } => self.note("", "node-found-ready", at, vec![text("k8s.node.name", node)]),
            Event::Changed { verb, object, .. } => {
                self.note("", verb, at, vec![text("calico_upgrader.object", object)]);
            }
            Event::Lost { node, loss } => {
                let of = [text("k8s.node.name", node), number("calico_upgrader.longest_gap_ms", loss.longest_ms)];
                self.note("", "packets-counted", at, of.to_vec());
            }
            Event::RunStopped { exit, .. } => {
                let is_error = news(event).is_some_and(|news| news.is_warning);
                self.stop(Some(*exit), is_error, at);
            }
            Event::Failed { exit, code, .. } => self.fail(*exit, code, at),
            Event::RunFinished { requests, .. } => {
                self.leg.iter_mut().for_each(|leg| leg.attributes.push(number("calico_upgrader.requests", *requests)));
                return self.end_leg("finished", StatusCode::Ok, at).into_iter().collect();
            }
            Event::LockAwaited { .. }
            | Event::StepProgress { .. }
            | Event::NodesTimed { .. }
            | Event::Skipped { .. }
            | Event::Watching { .. }
            | Event::Watched { .. }
            | Event::Proven { .. }
            | Event::Said { .. } => {}
        }
        Vec::new()
    }

    /// What is left once nothing more is told; a run that said nothing of its end was cut off.
    pub fn last(&mut self, now: Timestamp) -> Vec<Span> {
        self.stop(None, true, nanoseconds(now));
        std::mem::take(&mut self.stopped)
    }

    /// A runner that takes up a run that was cut off goes on with its span, since nobody told it. One that takes up a run that stopped has a span
    /// of its own below it.
    fn begin(&mut self, run: &str, epoch: u64, at: u64) {
        (self.ids, self.run, self.epoch) = (Ids::of(&self.about.cluster, run), run.to_owned(), epoch);
        // Whatever this process takes up from now on, it has itself stopped in order.
        let before = std::mem::replace(&mut self.about.before, Before::Stopped);
        let (ids, trace) = (&self.ids, self.ids.trace());
        let mut leg = match &before {
            Before::Nobody => open("run", trace, ids.root(), Vec::new(), at),
            Before::CutOff { started } => {
                let started = started.parse().map_or(at, nanoseconds);
                open("run", trace, ids.root(), Vec::new(), started.min(at))
            }
            Before::Stopped => open("resume", trace, ids.span(&format!("resume/{epoch}")), ids.root(), at),
        };
        if before != Before::Stopped {
            leg.attributes = self.of_the_run();
            leg.links = self.about.of.iter().map(|other| link(&Ids::of(&self.about.cluster, other))).collect();
        }
        if epoch > 1 {
            note(&mut leg, "taken-up", at, vec![truth("calico_upgrader.cut_off", before != Before::Stopped)]);
        }
        leg.attributes.push(text("calico_upgrader.run", run));
        leg.attributes.push(number("calico_upgrader.epoch", epoch));
        self.leg = Some(leg);
    }

    fn of_the_run(&self) -> Vec<KeyValue> {
        let About { purpose, from, to, .. } = &self.about;
        vec![
            text("calico_upgrader.purpose", purpose),
            text("calico_upgrader.from", from),
            text("calico_upgrader.to", to),
        ]
    }

    /// A step that was cut off is taken once more below the same span, and so has the same name: nodes that were done stay below it.
    fn begin_step(&mut self, step: &str, phase: &str, changes: usize, at: u64) {
        let Some(leg) = &self.leg else { return };
        let name = format!("{}/{step}", super::ids::hex(&leg.span_id));
        let mut span = open(step, self.ids.trace(), self.ids.span(&name), leg.span_id.clone(), at);
        span.attributes = vec![
            text("calico_upgrader.run", &self.run),
            text("calico_upgrader.step", step),
            text("calico_upgrader.phase", phase),
            number("calico_upgrader.changes", changes as u64),
        ];
        self.step = Some(span);
    }

    fn begin_below(&mut self, name: &str, key: &str, what: KeyValue, at: u64) {
        let Some(step) = &self.step else { return };
        self.opened += 1;
        let id = self.ids.span(&format!("{}/{}", self.epoch, self.opened));
        let mut span = open(name, self.ids.trace(), id, step.span_id.clone(), at);
        span.attributes = vec![text("calico_upgrader.run", &self.run), text("calico_upgrader.step", &step.name), what];
        self.below.insert(key.to_owned(), span);
    }

    fn end_below(&mut self, key: &str, outcome: &str, at: u64) -> Vec<Span> {
        self.below.remove(key).map(|span| end(span, at, outcome, StatusCode::Ok)).into_iter().collect()
    }

    /// Notes a moment on what is open below the step, else on the step.
    fn note(&mut self, key: &str, name: &str, at: u64, attributes: Vec<KeyValue>) {
        if let Some(span) = self.below.get_mut(key).or(self.step.as_mut()) {
            note(span, name, at, attributes);
        }
    }

    fn end_step(&mut self, outcome: &str, code: StatusCode, at: u64) -> Vec<Span> {
        let below = std::mem::take(&mut self.below).into_values();
        below.chain(self.step.take()).map(|span| end(span, at, outcome, code)).collect()
    }

    fn end_leg(&mut self, outcome: &str, code: StatusCode, at: u64) -> Option<Span> {
        self.leg.take().map(|leg| end(leg, at, outcome, code))
    }

    fn stop(&mut self, exit: Option<u8>, is_error: bool, at: u64) {
        let (outcome, code) = if is_error { ("failed", StatusCode::Error) } else { ("stopped", StatusCode::Unset) };
        let mut ended = self.end_step(outcome, code, at);
        ended.extend(self.end_leg(outcome, code, at));
        let exit = exit.map(|exit| number("calico_upgrader.exit", exit.into()));
        ended.iter_mut().for_each(|span| span.attributes.extend(exit.clone()));
        self.stopped.extend(ended);
    }

    /// A run that could not even record its end told no stop before.
    fn fail(&mut self, exit: u8, code: &str, at: u64) {
        self.stop(Some(exit), true, at);
        self.stopped.iter_mut().for_each(|span| explain(span, code));
    }
}

fn link(ids: &Ids) -> Link {
    Link { trace_id: ids.trace(), span_id: ids.root(), ..Link::default() }
}

fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder() -> Recorder {
        let (from, to) = ("v2.5.1".to_owned(), "v2.6.12".to_owned());
        let (cluster, purpose) = ("uid".to_owned(), "upgrade");
        Recorder::new(About { cluster, purpose, of: None, from, to, before: Before::Nobody })
    }

    fn started() -> Event {
        let text = |text: &str| text.to_owned();
        Event::RunStarted { run: text("77fada"), plan: text("ab"), from: text("a"), to: text("b"), steps: Vec::new() }
    }

    fn step() -> Event {
        let text = |text: &str| text.to_owned();
        Event::StepStarted { step: text("verify"), phase: text("Verify"), summary: String::new(), changes: 0 }
    }

    /// All spans of what is told, one millisecond after the other.
    fn spans(events: &[Event]) -> Vec<Span> {
        let mut recorder = recorder();
        let at = |index: usize| Timestamp::from_millisecond(i64::try_from(index).unwrap()).unwrap();
        let told = events.iter().enumerate();
        let mut spans: Vec<Span> = told.flat_map(|(index, event)| recorder.take(event, at(index))).collect();
        spans.extend(recorder.last(at(events.len())));
        spans
    }

    fn names_and_codes(spans: &[Span]) -> Vec<(&str, StatusCode, &str)> {
        let with_status = spans.iter().filter_map(|span| Some((span, span.status.as_ref()?)));
        with_status.map(|(span, status)| (span.name.as_str(), status.code(), status.message.as_str())).collect()
    }

    #[test]
    fn a_run_that_told_no_end_failed_and_its_code_is_told_where_it_is_known() {
        let failed = Event::Failed { run: "77fada".to_owned(), exit: 15, code: "CU-R001".to_owned() };
        let (told, silent) = (spans(&[started(), step(), failed]), spans(&[started(), step()]));
        assert_eq!(
            names_and_codes(&told),
            [("verify", StatusCode::Error, "CU-R001"), ("run", StatusCode::Error, "CU-R001")]
        );
        assert_eq!(names_and_codes(&silent), [("verify", StatusCode::Error, ""), ("run", StatusCode::Error, "")]);
    }

    #[test]
    fn a_run_that_stopped_for_a_job_and_goes_on_has_one_root_and_the_rest_below_it() {
        let text = |text: &str| text.to_owned();
        let stopped = Event::RunStopped { run: text("77fada"), exit: 0, why: String::new(), now: String::new() };
        let resumed = Event::RunResumed { run: text("77fada"), epoch: 3, after: Vec::new() };
        let finished = Event::RunFinished { run: text("77fada"), exit: 0, requests: 7 };
        let spans = spans(&[started(), stopped, resumed, finished]);
        assert_eq!(names_and_codes(&spans), [("run", StatusCode::Unset, ""), ("resume", StatusCode::Ok, "")]);
        assert_eq!(spans[1].parent_span_id, spans[0].span_id);
        assert_eq!(spans[1].trace_id, spans[0].trace_id);
    }

    #[test]
    fn a_step_with_many_changes_holds_some_and_counts_the_others() {
        let (step_name, verb, object) = ("verify".to_owned(), "create".to_owned(), "IPPool a".to_owned());
        let changed = Event::Changed { step: step_name, verb, object };
        let spans = spans(&[vec![started(), step()], vec![changed; 200]].concat());
        assert_eq!((spans[0].events.len(), spans[0].dropped_events_count), (128, 72));
    }
}
