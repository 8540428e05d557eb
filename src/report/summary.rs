//! A run in a few sentences and numbers, for those who read no further.

use super::{
    account::gap_words,
    run::RunReport,
    steps::StepStatus,
    text::duration,
    timeline::{NodeSpan, NodeState},
    verdict::Verdict,
};

/// One number with what it counts.
pub struct Figure {
    pub number: String,
    pub what: String,
    pub tone: Tone,
}

/// Whether a number speaks for or against a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
}

impl Tone {
    fn of(is_good: bool) -> Self {
        if is_good { Tone::Good } else { Tone::Bad }
    }
}

/// What happened, in a few sentences.
pub fn sentences(report: &RunReport) -> Vec<String> {
    let mut all = vec![how_it_stands(report)];
    let nodes = &report.timeline.nodes;
    let replaced = nodes.iter().filter(|node| node.state == NodeState::Replaced).count();
    if !nodes.is_empty() {
        all.push(format!("calico-node was replaced on {replaced} of {} nodes.", nodes.len()));
    }
    let cordoned: Vec<&str> = nodes.iter().filter(|node| node.is_cordoned).map(|node| node.node.as_str()).collect();
    if !cordoned.is_empty() {
        all.push(format!("Still cordoned by this run: {}.", few(&cordoned)));
    }
    let broken: Vec<&str> =
        report.claims().filter(|(_, claim)| !claim.holds).map(|(_, claim)| claim.text.as_str()).collect();
    if !broken.is_empty() {
        all.push(format!("Does not hold: {}.", few(&broken)));
    }
    all
}

fn how_it_stands(report: &RunReport) -> String {
    let step = report.steps.iter().find(|step| step.status == StepStatus::Begun);
    let place = step.map(|step| format!(" in step {}", step.name)).unwrap_or_default();
    let exit = report.exit.map(|exit| format!(" with exit code {exit}")).unwrap_or_default();
    match report.verdict {
        Verdict::Well => format!("Every step is done, and {} claims were looked at and hold.", report.claims().count()),
        Verdict::Waiting | Verdict::Wrong => format!("It stopped{place}{exit}: {}.", report.reason),
        Verdict::Open => {
            format!("The journal ends{place} without a last word: the run goes on still, or it was killed.")
        }
        Verdict::Abandoned => "It was given up for a new plan.".to_owned(),
    }
}

fn few(names: &[&str]) -> String {
    let more = names.len().saturating_sub(5);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// The numbers that say most.
pub fn figures(report: &RunReport) -> Vec<Figure> {
    let figure = |number: String, what: &str, tone| Figure { number, what: what.to_owned(), tone };
    let (done, steps) =
        (report.steps.iter().filter(|step| step.status == StepStatus::Done).count(), report.steps.len());
    let mut all = vec![figure(format!("{done} of {steps}"), "steps done", Tone::of(done == steps))];
    let nodes = &report.timeline.nodes;
    let replaced = nodes.iter().filter(|node| node.state == NodeState::Replaced).count();
    if !nodes.is_empty() {
        // A node that went, or that had the new pod before, is no fault of a run that is well.
        let is_fine = report.verdict == Verdict::Well && replaced < nodes.len();
        let tone = if is_fine { Tone::Plain } else { Tone::of(replaced == nodes.len()) };
        all.push(figure(format!("{replaced} of {}", nodes.len()), "nodes replaced", tone));
    }
    if let Some(figure) = lost_packets(report) {
        all.push(figure);
    }
    if let Some((node, gap)) = longest_gap(report) {
        all.push(figure(gap, &format!("longest gap, on {}", node.node), Tone::Plain));
    }
    let (claims, holds) = (report.claims().count(), report.claims().filter(|(_, claim)| claim.holds).count());
    let are_good = if claims == 0 { Tone::Plain } else { Tone::of(claims == holds) };
    all.push(figure(format!("{holds} of {claims}"), "claims hold", are_good));
    let warned = if report.warnings.is_empty() { Tone::Plain } else { Tone::Warning };
    all.push(figure(report.warnings.len().to_string(), "checks warned", warned));
    all.push(figure(duration(report.seconds), &from_first_to_last(report), Tone::Plain));
    all
}

/// Of all packets between nodes that were watched while a node was replaced.
fn lost_packets(report: &RunReport) -> Option<Figure> {
    let losses = || report.timeline.nodes.iter().filter_map(|node| node.loss.as_ref());
    let (lost, sent): (u64, u64) = (losses().map(|loss| loss.lost).sum(), losses().map(|loss| loss.sent).sum());
    let tone = if lost == 0 { Tone::Good } else { Tone::Warning };
    (sent > 0).then(|| Figure { number: lost.to_string(), what: format!("of {sent} packets between nodes lost"), tone })
}

fn from_first_to_last(report: &RunReport) -> String {
    if report.paused_seconds == 0 {
        return "from first to last entry".to_owned();
    }
    format!("from first to last entry, {} of it stopped", duration(report.paused_seconds))
}

/// The node that was longest without a ready calico-node.
pub fn longest_gap(report: &RunReport) -> Option<(&NodeSpan, String)> {
    let node = report.timeline.nodes.iter().max_by_key(|node| node.gap_ms)?;
    Some((node, gap_words(node)?))
}

fn packets_note(report: &RunReport) -> &'static str {
    if report.timeline.nodes.iter().any(|node| node.loss.is_some()) {
        ": what was lost is beside it, as probes counted it between the nodes."
    } else {
        ": none were watched."
    }
}

/// How gaps were found, so that nobody reads more from them than they say.
pub fn gap_note(report: &RunReport) -> String {
    let gaps = || report.timeline.nodes.iter().filter(|node| node.gap_ms.is_some());
    let measured = gaps().filter(|node| node.is_gap_measured).count();
    format!(
        "A gap is the time from the instant the deletion of a pod was sent until its new pod was seen ready. {measured} of {} gaps were \
         measured by a watch (finer than a second); one with ≤ is an upper bound, since the journal knows only when the wait for the node \
         ended or a stop lies in it. A gap says nothing about packets{}",
        gaps().count(),
        packets_note(report),
    )
}
