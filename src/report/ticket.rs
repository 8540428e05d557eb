//! The account of a run for a ticket.

use super::{
    account::{gap_words, node_words, status},
    loss::loss_words,
    run::RunReport,
    steps::StepReport,
    summary::{figures, gap_note, sentences},
    text::{clean, duration},
    timeline::NodeSpan,
};

/// The account as Markdown.
pub fn run_markdown(report: &RunReport) -> String {
    let mut out = format!("# {}\n\n{}\n\n", escape(&report.headline), escape(&sentences(report).join(" ")));
    list(&report.skipped.iter().map(|line| format!("skipped: {line}")).collect::<Vec<_>>(), &mut out);
    let numbers = figures(report).into_iter().map(|figure| vec![figure.what, figure.number]);
    table(&["what", "number"], numbers.chain(facts(report)), &mut out);
    section("Next", &mut out);
    for next in &report.next {
        out.push_str(&format!("- {}: {}\n", escape(&next.command), escape(&next.why)));
    }
    section("Steps", &mut out);
    table(&["step", "status", "took", "what"], report.steps.iter().map(step), &mut out);
    claims(report, &mut out);
    nodes(report, &mut out);
    attention(report, &mut out);
    clean(&out)
}

fn facts(report: &RunReport) -> impl Iterator<Item = Vec<String>> {
    let runners = if report.runners.is_empty() { "not recorded".to_owned() } else { report.runners.join(", ") };
    let rows = [
        ("run", report.run.clone()),
        ("cluster", format!("{}, Kubernetes {}", report.cluster, report.kubernetes)),
        ("run by", runners),
        ("begun", report.started.clone()),
        ("last entry", report.ended.clone()),
        ("plan digest", report.plan.clone()),
        (
            "backup",
            report.backup.as_ref().map_or("skipped: not here".to_owned(), |backup| {
                format!("{} objects in {}, digest {}", backup.objects, backup.place, backup.digest)
            }),
        ),
    ];
    rows.into_iter().map(|(name, value)| vec![name.to_owned(), value])
}

fn step(step: &StepReport) -> Vec<String> {
    let took = step.seconds.map_or("–".to_owned(), duration);
    vec![step.name.clone(), status(step.status).to_owned(), took, step.summary.clone()]
}

fn claims(report: &RunReport, out: &mut String) {
    if report.claims().next().is_some() {
        section("Claims", out);
        let rows = report.claims().map(|(_, claim)| {
            vec![
                if claim.holds { "holds" } else { "BROKEN" }.to_owned(),
                claim.text.clone(),
                claim.facts.first().cloned().unwrap_or_default(),
            ]
        });
        table(&["", "claim", "fact"], rows, out);
    }
}

fn nodes(report: &RunReport, out: &mut String) {
    if !report.timeline.nodes.is_empty() {
        section("Nodes", out);
        out.push_str(&format!("{}\n\n", escape(&gap_note(report))));
        let is_watched = report.timeline.nodes.iter().any(|node| node.loss.is_some());
        let loss = |node: &NodeSpan| node.loss.as_ref().map_or("–".to_owned(), loss_words);
        let rows = report.timeline.nodes.iter().map(|node| {
            let gap = gap_words(node).unwrap_or_else(|| "–".to_owned());
            let cells = [Some(node.node.clone()), Some(gap), is_watched.then(|| loss(node)), Some(node_words(node))];
            cells.into_iter().flatten().collect()
        });
        let titles = [Some("node"), Some("gap"), is_watched.then_some("packets lost"), Some("")];
        table(&titles.into_iter().flatten().collect::<Vec<_>>(), rows, out);
    }
}

fn attention(report: &RunReport, out: &mut String) {
    let warned: Vec<String> = report.warnings.iter().map(|one| format!("{} {}", one.id, one.title)).collect();
    let kept: Vec<String> =
        report.kept.iter().map(|one| format!("{} {} = {}", one.object, one.path, one.value)).collect();
    for (title, lines) in [("Warnings", &warned), ("Waivers", &report.waived), ("Kept settings", &kept)] {
        if !lines.is_empty() {
            section(title, out);
            list(lines, out);
        }
    }
}

fn section(title: &str, out: &mut String) {
    out.push_str(&format!("\n## {title}\n\n"));
}

fn list(lines: &[String], out: &mut String) {
    lines.iter().for_each(|line| out.push_str(&format!("- {}\n", escape(line))));
    if !lines.is_empty() {
        out.push('\n');
    }
}

fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>, out: &mut String) {
    out.push_str(&format!("| {} |\n|{}\n", headings.join(" | "), "---|".repeat(headings.len())));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| escape(cell)).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}

/// Makes text from a cluster plain words of Markdown: no markup, no link, no mention of people.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for one in clean(text).chars() {
        match one {
            '\n' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '@' => out.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' => out.extend(['\\', one]),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_cluster_becomes_markup_of_a_ticket() {
        assert_eq!(
            escape("a|b\n<img> [x](y) @ops `c` __d__"),
            "a\\|b &lt;img&gt; \\[x\\](y) &#64;ops \\`c\\` \\_\\_d\\_\\_"
        );
    }
}
