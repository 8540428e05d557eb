//! The nodes over time as a drawing: a row for each node, a bar from its cordon to its uncordon, and the gap in it.
//!
//! Time is drawn in percent, so that the page stretches it and the words keep their size. A time for which nobody held the run is
//! drawn short, else a night would leave no room for the nodes.

use maud::{Markup, html};

use super::{
    account::{gap_words, node_words},
    loss::loss_words,
    text::seconds,
    timeline::{NodeSpan, NodeState, Timeline, What, millis},
};

/// Height of the drawing below which rows are not made smaller.
const TALL: usize = 900;

/// Height of the line of times above the rows.
const HEAD: usize = 26;

/// A pause takes this much of the width at most.
const PAUSE_SHARE: f64 = 0.07;

/// Lengths of time between two marks, in seconds.
const STEPS: [i64; 19] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 604800];

/// Where a time is drawn, from 0 to 1.
struct Scale {
    from: i64,
    to: i64,
    pauses: Vec<(i64, i64)>,
    /// The time that a pause is drawn as long as, at most.
    pause_limit: f64,
    length: f64,
}

impl Scale {
    fn of(timeline: &Timeline) -> Option<Self> {
        let moments = || timeline.nodes.iter().flat_map(|node| &node.moments).map(|moment| moment.at_ms);
        let is_open = timeline.nodes.iter().any(|node| node.state == NodeState::Begun);
        let from = moments().min()?;
        let to = moments().max()?.max(if is_open { timeline.end_ms } else { from }).max(from + 1);
        let inside = |(start, end): &(i64, i64)| (*start.max(&from), *end.min(&to));
        let pauses: Vec<_> = timeline.pauses.iter().map(inside).filter(|(start, end)| start < end).collect();
        let paused: i64 = pauses.iter().map(|(start, end)| end - start).sum();
        let active = (to - from - paused).max(1) as f64;
        let mut scale = Self { from, to, pauses, pause_limit: active * PAUSE_SHARE, length: 1.0 };
        scale.length = scale.drawn(to);
        Some(scale)
    }

    /// The time drawn before an instant.
    fn drawn(&self, at: i64) -> f64 {
        let cut: f64 = self
            .pauses
            .iter()
            .filter(|(start, _)| *start < at)
            .map(|(start, end)| {
                let (passed, whole) = ((at.min(*end) - start) as f64, (end - start) as f64);
                passed - passed / whole * whole.min(self.pause_limit)
            })
            .sum();
        (at - self.from) as f64 - cut
    }

    fn at(&self, at: i64) -> f64 {
        self.drawn(at.clamp(self.from, self.to)) / self.length
    }

    /// Times to mark, on whole seconds, minutes or hours of the clock, with room between them.
    fn marks(&self, start: i64) -> Vec<(i64, f64)> {
        let step = STEPS.iter().map(|step| step * 1000).find(|step| self.length / (*step as f64) <= 5.0);
        let step = step.unwrap_or(STEPS[STEPS.len() - 1] * 1000);
        let is_paused = |at: i64| self.pauses.iter().any(|(from, to)| (*from..*to).contains(&at));
        let mut marks: Vec<(i64, f64)> = Vec::new();
        let mut clock = (start + self.from).div_euclid(step) * step + step;
        while clock - start <= self.to && marks.len() < 12 {
            let place = self.at(clock - start);
            let is_free = marks.last().is_none_or(|(_, last)| place - last > 0.16);
            if is_free && (0.04..0.96).contains(&place) && !is_paused(clock - start) {
                marks.push((clock, place));
            }
            clock += step;
        }
        marks
    }
}

/// Draws the nodes over time; nothing if nothing happened to any.
pub fn chart(timeline: &Timeline, started: &str) -> Option<Markup> {
    let scale = Scale::of(timeline)?;
    let start = millis(started).unwrap_or_default();
    let rows: Vec<&NodeSpan> = timeline.nodes.iter().filter(|node| !node.moments.is_empty()).collect();
    let row = (TALL / rows.len().max(1)).clamp(3, 22);
    // Where rows are too low for words, every so many have one.
    let named = 16_usize.div_ceil(row);
    let height = HEAD + rows.len() * row;
    Some(html! {
        div.chart {
            div.names aria-hidden="true" {
                @for chunk in rows.chunks(named) {
                    div style=(format!("height:{0}px;line-height:{0}px", row * chunk.len())) title=(chunk[0].node) { (chunk[0].node) }
                }
            }
            svg role="img" aria-label=(format!("{} nodes over time; the table below has the numbers", rows.len())) height=(height) {
                @for (from, to) in &scale.pauses {
                    rect.c-pause x=(percent(scale.at(*from))) width=(percent(scale.at(*to) - scale.at(*from))) y=(HEAD) height=(height - HEAD) {
                        title { "nobody held the run for " (seconds(to - from)) }
                    }
                }
                // A narrow page has room for every other one.
                @for (index, (clock, place)) in scale.marks(start).into_iter().enumerate() {
                    line.tick x1=(percent(place)) x2=(percent(place)) y1=(HEAD - 6) y2=(height) {}
                    text.spare[index % 2 == 1] x=(percent(place)) y="14" text-anchor="middle" { (clock_time(clock)) }
                }
                @for (index, node) in rows.iter().enumerate() {
                    (node_row(node, &scale, HEAD + index * row, row, timeline.end_ms))
                    (lost(node, &scale, start, HEAD + index * row, row))
                }
            }
        }
    })
}

fn node_row(node: &NodeSpan, scale: &Scale, top: usize, row: usize, end: i64) -> Markup {
    let pad = if row > 8 { 3 } else { 0 };
    let (high, thin) = (row.saturating_sub(2 * pad).max(2), (row / 4).max(1));
    let middle = top + (row - thin) / 2;
    let end = node.last(What::Gone).unwrap_or(end);
    let first = node.moments.first().map_or(0, |first| first.at_ms);
    let last = node.last(What::Uncordoned).filter(|_| !node.is_cordoned);
    let last = last
        .or(node
            .moments
            .last()
            .map(|last| last.at_ms)
            .filter(|_| node.state == NodeState::Replaced && !node.is_cordoned))
        .unwrap_or(end);
    html! {
        g.row {
            title {
                (node.node) ": " (node_words(node)) @if let Some(gap) = gap_words(node) { ", gap " (gap) }
                @if let Some(loss) = &node.loss { "; " (loss_words(loss)) }
            }
            (bar("c-bar", scale, first, last, middle, thin))
            @for (from, to) in gaps(node, end) {
                @if let Some(ready) = to {
                    (bar(if node.is_gap_measured { "c-gap" } else { "c-gap c-most" }, scale, from, ready, top + pad, high))
                    rect.c-new x=(percent(scale.at(ready))) width=(if pad > 0 { 3 } else { 1 }) y=(top + pad) height=(high) {}
                } @else {
                    (bar("c-gap", scale, from, end, top + pad, high))
                }
            }
        }
    }
}

/// Each time in which packets of a pair were lost, as a line on the lower edge of the node's row.
fn lost(node: &NodeSpan, scale: &Scale, start: i64, top: usize, row: usize) -> Markup {
    let high = (row / 3).max(2);
    let length = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    html! {
        @for gap in node.loss.iter().flat_map(|loss| &loss.gaps) {
            g { title { (gap.ends) ": " (gap.lost) " packets lost in " (seconds(length(gap.ms))) ", from " (clock_time(gap.at)) }
                (bar("c-loss", scale, gap.at - start, gap.at - start + length(gap.ms), top + row - high, high)) }
        }
    }
}

/// Each time without a ready pod: from a deletion to the pod that was seen ready, if one was.
fn gaps(node: &NodeSpan, end: i64) -> Vec<(i64, Option<i64>)> {
    let (mut gaps, mut open) = (Vec::new(), None);
    for moment in &node.moments {
        match moment.what {
            What::Deleted => open = open.or(Some(moment.at_ms)),
            What::Ready => gaps.extend(open.take().map(|from| (from, Some(moment.at_ms)))),
            What::Cordoned | What::Uncordoned | What::Gone => {}
        }
    }
    gaps.extend(open.map(|from| (from.min(end), None)));
    gaps
}

fn bar(class: &str, scale: &Scale, from: i64, to: i64, y: usize, height: usize) -> Markup {
    let (left, right) = (scale.at(from), scale.at(to));
    html! { rect class=(class) x=(percent(left)) width=(percent((right - left).max(0.002))) y=(y) height=(height) rx="1" {} }
}

fn percent(share: f64) -> String {
    format!("{:.3}%", share * 100.0)
}

/// The time of day in UTC.
pub fn clock_time(millis: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    time.strftime("%H:%M:%S").to_string()
}
