//! The account of a run as one page that needs nothing but itself: no script, no font, no request.
//!
//! Written with maud: its markup is checked when the program is built, every text is escaped unless it says otherwise, and it
//! brings two small crates that the tree does not have. The finished page goes through `clean` once, so no control character
//! passes, wherever it came from. Nothing here is `PreEscaped` but our own style sheet.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    account::{gap_words, node_words, status},
    change::{ChangeGroup, ChangedField, ChangedObject},
    chart::{chart, clock_time},
    loss::loss_words,
    run::RunReport,
    steps::{StepReport, StepStatus},
    summary::{Tone, figures, gap_note, sentences},
    text::{clean, duration},
    timeline::{NodeSpan, What, millis},
    verdict::Verdict,
};

const STYLE: &str = include_str!("page.css");

/// Tables longer than this are folded.
const FOLDED_FROM: usize = 60;

/// The account as a page.
pub fn run_html(report: &RunReport) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (word(report.verdict)) " · run " (report.run) " · " (report.purpose) }
                style { (PreEscaped(STYLE)) }
            }
            body class=(tone(report.verdict)) {
                a.skip href="#main" { "Skip to the account" }
                (top(report))
                main id="main" { (sections(report)) }
                footer {
                    p { "Made by calico-upgrader " (env!("CARGO_PKG_VERSION")) " from what run " (report.run) " wrote down while it went on. "
                        "All times are UTC. Secrets are masked; the run directory holds the whole." }
                }
            }
        }
    };
    clean(&page.into_string())
}

fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Well => "tone-well",
        Verdict::Waiting | Verdict::Open | Verdict::Abandoned => "tone-wait",
        Verdict::Wrong => "tone-wrong",
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Well => "All is well",
        Verdict::Waiting => "Waiting to go on",
        Verdict::Wrong => "Needs attention",
        Verdict::Open => "No end recorded",
        Verdict::Abandoned => "Given up",
    }
}

fn sign(verdict: Verdict) -> Markup {
    html! {
        svg viewBox="0 0 48 48" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="4.5" stroke-linecap="round" stroke-linejoin="round" {
            circle cx="24" cy="24" r="21" stroke-width="3.5" {}
            @match verdict {
                Verdict::Well => { path d="M14.5 25l6.5 6.5L34 18" {} }
                Verdict::Wrong => { path d="M24 13v13M24 34v.4" {} }
                Verdict::Waiting => { path d="M19 17v14M29 17v14" {} }
                Verdict::Open | Verdict::Abandoned => { path d="M16 24h16" {} }
            }
        }
    }
}

fn top(report: &RunReport) -> Markup {
    html! {
        header {
            div.brand { span { "calico-upgrader · report of run " strong { (report.run) } } span { (report.cluster) } }
            div.verdict {
                (sign(report.verdict))
                div {
                    div.word { (word(report.verdict)) }
                    h1 { (report.headline) }
                    p { (sentences(report).join(" ")) }
                }
            }
            ul.figures {
                @for figure in figures(report) {
                    li.tone[figure.tone != Tone::Plain].tone-well[figure.tone == Tone::Good].tone-wrong[figure.tone == Tone::Bad].tone-wait[figure.tone == Tone::Warning] {
                        b { (figure.number) } span { (figure.what) }
                    }
                }
            }
            nav aria-label="Sections" { ul {
                @for (id, title) in [("next", "Next"), ("facts", "Facts"), ("nodes", "Nodes"), ("steps", "Steps and claims"), ("changes", "Changes"),
                    ("attention", "Warnings and waivers"), ("kept", "Kept settings"), ("backup", "Backup"), ("journal", "Journal")] {
                    li { a href=(format!("#{id}")) { (title) } }
                }
            } }
        }
    }
}

fn sections(report: &RunReport) -> Markup {
    html! {
        @if !report.skipped.is_empty() {
            section.note { h2 { "What this report cannot tell" } ul { @for line in &report.skipped { li { "skipped: " (line) } } } }
        }
        section id="next" { h2 { "Next" } ul.commands {
            @for next in &report.next { li { code { (next.command) } span.muted { (next.why) } } }
        } }
        (facts(report))
        (nodes(report))
        section.long id="steps" {
            h2 { "Steps and claims" }
            ul.rows { @for step in &report.steps { (step_row(step)) } }
            @if !report.omitted.is_empty() { p.muted.small { "Left out: " (report.omitted.join("; ")) } }
        }
        (changes(report))
        (attention(report))
        (kept(report))
        (backup(report))
        section.long id="journal" { h2 { "Journal" }
            @if report.journal.is_empty() { p.muted { "skipped: the journal is not here" } } @else {
                details { summary { (report.journal.len()) " entries, in the order in which they were written" }
                    div.inside { ul.plain.mono { @for line in &report.journal { li { (line) } } } } }
            }
        }
    }
}

fn facts(report: &RunReport) -> Markup {
    let runners = if report.runners.is_empty() { "not recorded".to_owned() } else { report.runners.join(", ") };
    let length = match report.paused_seconds {
        0 => duration(report.seconds),
        paused => format!("{}, of which nobody held the run for {}", duration(report.seconds), duration(paused)),
    };
    let rows = [
        ("Cluster", format!("{} · Kubernetes {}", report.cluster, report.kubernetes)),
        ("What", format!("{} · {}", report.purpose, report.flavour)),
        ("Run by", runners),
        ("Begun", moment(&report.started)),
        ("Last entry", moment(&report.ended)),
        ("Duration", length),
        (
            "Changes made",
            format!(
                "{} writes, cordons and pods among them; {} changes of objects by plan",
                report.changes,
                report.planned_changes()
            ),
        ),
    ];
    html! {
        section id="facts" { h2 { "Facts" } dl.facts {
            @for (name, value) in rows { div { dt { (name) } dd { (value) } } }
            div.wide { dt { "Plan digest (SHA-256)" } dd.hash.mono { (report.plan) } }
        } }
    }
}

/// A time of the journal as people read it.
fn moment(time: &str) -> String {
    let read = time.parse::<jiff::Timestamp>();
    read.map_or_else(|_| "not recorded".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

fn nodes(report: &RunReport) -> Markup {
    let nodes = &report.timeline.nodes;
    html! {
        section.long id="nodes" {
            h2 { "Nodes" }
            @if let Some(chart) = chart(&report.timeline, &report.started) {
                p.lead { (gap_note(report)) }
                ul.legend {
                    li { svg aria-hidden="true" { rect.c-bar y="5" width="26" height="4" {} } "cordoned" }
                    li { svg aria-hidden="true" { rect.c-gap width="26" height="14" rx="1" {} } "no ready calico-node" }
                    li { svg aria-hidden="true" { rect.c-new x="11" width="4" height="14" {} } "new pod ready" }
                    @if nodes.iter().any(|node| node.gap_ms.is_some() && !node.is_gap_measured) {
                        li { svg aria-hidden="true" { rect."c-gap c-most" width="26" height="14" rx="1" {} } "the same, at most" }
                    }
                    @if nodes.iter().filter_map(|node| node.loss.as_ref()).any(|loss| loss.lost > 0) {
                        li { svg aria-hidden="true" { rect.c-loss y="9" width="26" height="5" {} } "packets between nodes were lost" }
                    }
                    @if !report.timeline.pauses.is_empty() {
                        li { svg aria-hidden="true" { rect.c-pause width="26" height="14" {} } "nobody held the run (drawn short)" }
                    }
                }
                (chart)
            } @else { p.lead { "No node was touched, as far as is known here." } }
            @if nodes.len() > FOLDED_FROM {
                details { summary { "All " (nodes.len()) " nodes with their times" } (node_table(report)) }
            } @else if !nodes.is_empty() { (node_table(report)) }
        }
    }
}

fn node_table(report: &RunReport) -> Markup {
    let start = millis(&report.started).unwrap_or_default();
    let is_watched = report.timeline.nodes.iter().any(|node| node.loss.is_some());
    let time = |node: &NodeSpan, what| node.first(what).map_or("–".to_owned(), |at| clock_time(start + at));
    html! {
        div.scroll tabindex="0" role="region" aria-label="Nodes and times" { table {
            thead { tr { @for title in ["Node", "Cordoned", "Pod deleted"] { th scope="col" { (title) } }
                th scope="col" { "Ready" } th scope="col" { "Uncordoned" } th.number scope="col" { "Gap" }
                @if is_watched { th scope="col" { "Packets lost" } }
                th scope="col" { "Note" } } }
            tbody { @for node in &report.timeline.nodes { tr {
                td.name { (node.node) }
                td.time { (time(node, What::Cordoned)) } td.time { (time(node, What::Deleted)) }
                td.time { (ready_time(node, start)) }
                td.time { (node.last(What::Uncordoned).map_or("–".to_owned(), |at| clock_time(start + at))) }
                td.number { (gap_words(node).unwrap_or_else(|| "–".to_owned())) }
                @if is_watched { td { (node.loss.as_ref().map_or("–".to_owned(), loss_words)) } }
                td.muted.note-cell { (node_note(node)) }
            } } }
        } }
    }
}

fn ready_time(node: &NodeSpan, start: i64) -> String {
    let sign = if node.is_gap_measured { "" } else { "≤ " };
    node.last(What::Ready).map_or("–".to_owned(), |at| format!("{sign}{}", clock_time(start + at)))
}

/// What the times do not say.
fn node_note(node: &NodeSpan) -> String {
    let mut notes = Vec::new();
    if node.is_control_plane {
        notes.push("control plane".to_owned());
    }
    if node.state != super::timeline::NodeState::Replaced || node.is_cordoned {
        notes.push(node_words(node));
    }
    notes.join(", ")
}

fn step_row(step: &StepReport) -> Markup {
    html! {
        li {
            span.pill.tone-well[step.status == StepStatus::Done].tone-wrong[step.status == StepStatus::Begun] { (status(step.status)) }
            div {
                h3 { (step.name) span.muted.small { " · " (step.summary) @if let Some(seconds) = step.seconds { " · " (duration(seconds)) } } }
                ul.rows.claims { @for claim in &step.claims { li {
                    span.pill.tone-well[claim.holds].tone-wrong[!claim.holds] { (if claim.holds { "holds" } else { "BROKEN" }) }
                    div { (claim.text) (facts_of(&claim.facts)) }
                } } }
            }
        }
    }
}

fn facts_of(facts: &[String]) -> Markup {
    html! {
        @if facts.len() > 3 {
            details { summary.muted.small { (facts.len()) " facts" } ul.plain { @for fact in facts { li.hash { (fact) } } } }
        } @else { ul.plain { @for fact in facts { li.hash { (fact) } } } }
    }
}

fn changes(report: &RunReport) -> Markup {
    let steps: Vec<&StepReport> = report.steps.iter().filter(|step| !step.changes.is_empty()).collect();
    html! {
        section.long id="changes" {
            h2 { "Changes" }
            p.lead { "As the plan has them. Lines with − go, lines with + come. Secrets are masked." }
            @if steps.is_empty() { p.muted { "The plan changes no object." } }
            @for step in steps {
                h3 { (step.name) " " span.muted.small { (status(step.status)) } }
                @for group in &step.changes { (group_row(group)) }
            }
        }
    }
}

fn group_row(group: &ChangeGroup) -> Markup {
    let has_fields = group.objects.iter().any(|object| !object.fields.is_empty());
    html! {
        details open[has_fields && group.objects.len() <= 3] {
            summary { (group.verb) " " (group.count) " " (group.kind) }
            div.inside {
                @if has_fields { @for object in &group.objects { (object_row(object)) } }
                @else { ul.plain { @for object in &group.objects { li { span.mono { (object.object) } " – " (object.why) } } } }
                @if group.count > group.objects.len() { p.muted { "and " (group.count - group.objects.len()) " more, in plan.json" } }
            }
        }
    }
}

fn object_row(object: &ChangedObject) -> Markup {
    html! {
        p { strong.mono { (object.object) } span.muted.small { " – " (object.why) } }
        @for field in &object.fields { (field_row(field)) }
    }
}

fn field_row(field: &ChangedField) -> Markup {
    html! {
        div.field { div.mono.hash { (field.path) } pre.diff { @for line in &field.lines {
            span.gone[line.starts_with('-')].come[line.starts_with('+')] { (line) }
        } } }
    }
}

fn attention(report: &RunReport) -> Markup {
    html! {
        section.long id="attention" {
            h2 { "Warnings and waivers" }
            @if report.warnings.is_empty() && report.waived.is_empty() { p.muted { "No check warned, and nothing was waived." } }
            ul.rows {
                @for finding in &report.warnings { li {
                    span.pill.tone-wait { (finding.id) }
                    div { (finding.title)
                        @if let Some(reason) = &finding.ignored_because { p { strong { "Ignored: " } (reason) } }
                        p.muted.small { (finding.why) } (facts_of(&finding.evidence)) }
                } }
                @for waiver in &report.waived { li { span.pill { "waived" } div { (waiver) } } }
            }
        }
    }
}

fn kept(report: &RunReport) -> Markup {
    html! {
        section.long id="kept" {
            h2 { "Kept settings" }
            @if report.kept.is_empty() { p.muted { "No setting made by hand was found." } } @else {
                p.lead { "Made by hand before the run, and still in force." }
                div.scroll tabindex="0" role="region" aria-label="Kept settings" { table {
                    thead { tr { th scope="col" { "Object" } th scope="col" { "Field" } th scope="col" { "Value" } } }
                    tbody { @for kept in &report.kept { tr {
                        td { (kept.object) } td.mono.hash { (kept.path) } td.mono.hash { (kept.value) }
                    } } }
                } }
            }
        }
    }
}

fn backup(report: &RunReport) -> Markup {
    html! {
        section.long id="backup" {
            h2 { "Backup" }
            @if let Some(backup) = &report.backup {
                p.lead { (backup.objects) " objects in " (backup.files.len()) " files. This report did not read them again; the command under Next does." }
                dl.facts {
                    div.wide { dt { "Place" } dd.hash.mono { (backup.place) } }
                    div.wide { dt { "Digest of its manifest (SHA-256)" } dd.hash.mono { (backup.digest) } }
                }
                div.scroll tabindex="0" role="region" aria-label="Files of the backup" { table {
                    thead { tr { th scope="col" { "File" } th.number scope="col" { "Objects" } th.number scope="col" { "Bytes" } th scope="col" { "SHA-256" } } }
                    tbody { @for file in &backup.files { tr {
                        td { (file.file) } td.number { (file.objects) } td.number { (file.bytes) } td.mono title=(file.sha256) { (file.sha256.chars().take(16).collect::<String>()) "…" }
                    } } }
                } }
            } @else { p.muted { "skipped: no backup of this run is here" } }
        }
    }
}
