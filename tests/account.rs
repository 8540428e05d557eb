//! The account of a run, from directories of recorded runs: every format, without a cluster.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    process::Command,
};

use calico_upgrader::{
    backup,
    journal::{self, Entry, News, Progress},
    plan::{Desired, Purpose, Sealed},
    probe::{Ends, Net, NodeLoss, PairGap},
    report::{self, Remains, RunReport, Verdict},
};
use serde_json::{Value, json};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs").join(name)
}

fn remains(name: &str) -> Remains<'static> {
    let directory = fixture(name);
    let (entries, _) = journal::read(&directory.join("journal.jsonl")).unwrap();
    let inventory = std::fs::read_to_string(directory.join("inventory.json")).unwrap();
    Remains {
        sealed: Cow::Owned(Sealed::read(&std::fs::read_to_string(directory.join("plan.json")).unwrap()).unwrap()),
        progress: Progress::of(&entries).unwrap(),
        journal: entries.iter().map(report::journal_line).collect(),
        entries,
        inventory: serde_json::from_str(&inventory).unwrap(),
        backup: Some((
            "/var/lib/calico-upgrader/backup".to_owned(),
            backup::read_manifest(&directory.join("backup")).unwrap(),
        )),
        keys: std::collections::BTreeMap::new(),
        record: None,
        skipped: Vec::new(),
    }
}

fn account(name: &str) -> RunReport {
    report::run_report(&remains(name))
}

/// The account after the given news follow the journal.
fn account_after(name: &str, edit: impl FnOnce(&mut Vec<News>)) -> RunReport {
    let mut remains = remains(name);
    let mut news: Vec<News> = remains.entries.iter().map(|entry| entry.news.clone()).collect();
    let at = |index: usize| remains.entries[index.min(remains.entries.len() - 1)].at.clone();
    edit(&mut news);
    let entry = |(index, news)| Entry { seq: index as u64, epoch: 1, at: at(index), prev: String::new(), news };
    remains.entries = news.into_iter().enumerate().map(entry).collect();
    report::run_report(&remains)
}

/// The program on the directory of a recorded run, without a cluster.
fn tool(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calico-upgrader"));
    command.args(arguments).env("HOME", "/nowhere").env_remove("KUBECONFIG").env("NO_COLOR", "1");
    let ran = command.env("CALICO_UPGRADER_STATE_DIR", fixture("nothing-here")).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

#[test]
fn a_finished_run_is_well_in_every_format() {
    let account = account("finished");
    assert_eq!((account.verdict, account.exit), (Verdict::Well, Some(0)));
    let page = report::run_html(&account);
    assert!(page.contains("All is well") && page.contains("class=\"tone-well\""));
    assert!(report::run_markdown(&account).contains("is done"));
    assert!(report::run_text(&account).contains("is done"));
}

#[test]
fn a_page_names_every_node_every_claim_and_what_to_do_next() {
    for name in ["finished", "stopped"] {
        let account = account(name);
        let page = report::run_html(&account);
        let nodes = account.timeline.nodes.iter().map(|node| node.node.clone());
        let claims = account.claims().map(|(_, claim)| claim.text.clone());
        let next = account.next.iter().map(|next| next.command.clone());
        for text in nodes.chain(claims).chain(next).chain([account.plan.clone(), account.run.clone()]) {
            assert!(page.contains(&text.replace('"', "&quot;")), "{name}: `{text}` is not on the page");
        }
        assert!(account.timeline.nodes.len() >= 3);
    }
}

#[test]
fn lost_packets_are_told_with_the_node_that_was_replaced_in_every_format() {
    let start = remains("finished").entries[0].at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let ends = Ends { from: "node-1".to_owned(), from_net: Net::Pod, to: "node-2".to_owned(), to_net: Net::Host };
    let gap = PairGap { ends, at: start + 500, ms: 1400, lost: 7 };
    let new_pod = "got 10.0.0.9 and reached 4 of 4 neighbours".to_owned();
    let (pairs, sent, lost, longest_ms, resolution_ms) = (4, 100, 7, 1400, 200);
    let loss = NodeLoss { pairs, sent, lost, longest_ms, resolution_ms, gaps: vec![gap], new_pod, skipped: Vec::new() };
    let lost = News::Lost { step: "roll-nodes".to_owned(), node: "node-2".to_owned(), loss: loss.clone() };
    let account = account_after("finished", |news| news.insert(news.len() - 1, lost));
    let node = account.timeline.nodes.iter().find(|node| node.node == "node-2").unwrap();
    assert_eq!(node.loss.as_ref(), Some(&loss));
    let words = "7 of 100 packets between 4 pairs were lost, the longest gap 1.4 s";
    for text in [report::run_html(&account), report::run_markdown(&account), report::run_text(&account)] {
        assert!(text.contains(words) && text.contains("reached 4 of 4 neighbours"), "{text}");
    }
    let page = report::run_html(&account);
    assert!(page.contains("node-1 (pod) to node-2 (host): 7 packets lost in 1.4 s") && page.contains("\"c-loss\""));
    assert!(!report::run_html(&self::account("finished")).contains("\"c-loss\""));
}

#[test]
fn a_node_that_went_while_no_runner_looked_is_neither_replaced_nor_cordoned() {
    let is_of_it = |label: &str| ["uncordon Node node-2", "calico-node on node-2"].contains(&label);
    let account = account_after("finished", |news| {
        news.retain(|one| match one {
            News::Ready { node, .. } => node != "node-2",
            News::Waited { what, .. } => !is_of_it(what),
            _ => true,
        });
        for one in news {
            match one {
                News::Intended { changes, .. } => changes.retain(|change| !is_of_it(&change.label)),
                News::Settled { changes, .. } => changes.retain(|change| !is_of_it(&change.label)),
                _ => {}
            }
        }
    });
    let text = report::run_text(&account);
    assert!(text.contains("node-2: went away meanwhile\n"), "{text}");
    assert!(report::run_html(&account).contains("All is well"));
}

#[test]
fn a_page_needs_nothing_but_itself() {
    let page = report::run_html(&account("finished"));
    for word in ["<script", "src=", "<link", "url(", "@import", "http-equiv=\"refresh", "<iframe"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.matches("href=").count() == page.matches("href=\"#").count());
}

#[test]
fn a_stopped_run_says_where_and_why_and_how_it_goes_on() {
    let account = account("stopped");
    assert_eq!((account.verdict, account.exit), (Verdict::Wrong, Some(4)));
    let page = report::run_html(&account);
    for text in [
        "Needs attention",
        "in step roll-nodes",
        "pod calico-node-",
        "calico-upgrader resume",
        "still cordoned by this run",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn a_claim_that_does_not_hold_is_never_shown_as_good() {
    let broken = |news: &mut Vec<News>| {
        let end = news.iter().rposition(|one| matches!(one, News::Proven { .. })).unwrap();
        let News::Proven { step, claim, facts } = news[end].clone() else { unreachable!() };
        news[end] = News::Broken { step, claim, facts };
    };
    let account = account_after("finished", broken);
    assert_eq!(account.verdict, Verdict::Wrong);
    let claim = account.claims().find(|(_, claim)| !claim.holds).unwrap().1.text.clone();
    let page = report::run_html(&account);
    assert!(page.contains("BROKEN") && !page.contains("All is well") && !page.contains("class=\"tone-well\">"));
    assert!(report::run_text(&account).contains(&format!("BROKEN: {claim}")));
    assert!(report::run_markdown(&account).contains(&format!("| BROKEN | {claim}")));
    let cases = cases(&report::run_junit(&account));
    assert!(cases.iter().any(|(name, outcome)| name.ends_with(&claim) && outcome == "failure"), "{cases:?}");
}

#[test]
fn a_claim_that_was_proven_before_and_does_not_hold_now_is_broken() {
    let account = account_after("finished", |news| {
        let finished = news.pop().unwrap();
        let News::Proven { step, claim, facts } =
            news.iter().rfind(|one| matches!(one, News::Proven { .. })).unwrap().clone()
        else {
            unreachable!()
        };
        news.push(News::StepStarted { step: step.clone() });
        news.push(News::Broken { step, claim, facts });
        news.push(finished);
    });
    let of_verify: Vec<bool> =
        account.claims().filter(|(step, _)| step.name == "verify").map(|(_, claim)| claim.holds).collect();
    assert_eq!((account.verdict, of_verify), (Verdict::Wrong, vec![false]));
}

#[test]
fn a_run_without_an_end_is_not_called_well() {
    let mut remains = remains("finished");
    remains.entries.pop();
    remains.progress = Progress::of(&remains.entries).unwrap();
    assert_eq!(report::run_report(&remains).verdict, Verdict::Open);
    remains.progress.finished = Some(0);
    remains.progress.steps_done.pop();
    assert_eq!(report::run_report(&remains).verdict, Verdict::Wrong);
}

#[test]
fn nothing_of_a_cluster_becomes_markup_and_no_control_character_passes() {
    let evil = "<script>alert(1)</script>\u{1b}[31m\u{202e}\"'&]]>";
    let mut remains = remains("stopped");
    let mut text = serde_json::to_value(&remains.sealed.plan).unwrap();
    text["cluster"]["server"] = json!(evil);
    text["findings"][0]["title"] = json!(evil);
    text["kept"][0]["value"] = json!(evil);
    remains.sealed.to_mut().plan = serde_json::from_value(text).unwrap();
    for entry in &mut remains.entries {
        match &mut entry.news {
            News::Proven { claim, facts, .. } => (*claim, facts[0]) = (evil.to_owned(), evil.to_owned()),
            News::Intended { changes, .. } => changes.iter_mut().for_each(|one| one.label.push_str(evil)),
            News::Settled { changes, .. } => changes.iter_mut().for_each(|one| one.label.push_str(evil)),
            News::Resumed { holder, .. } => *holder = evil.to_owned(),
            _ => {}
        }
    }
    remains.progress.stopped = Some((4, evil.to_owned()));
    let account = report::run_report(&remains);
    assert!(account.timeline.nodes.iter().any(|node| node.node.contains("<script>")));
    let harmful = |one: char| (one.is_control() && one != '\n') || one == '\u{202e}';
    for (format, text) in [
        ("html", report::run_html(&account)),
        ("junit", report::run_junit(&account)),
        ("markdown", report::run_markdown(&account)),
    ] {
        assert!(text.contains("alert(1)") && !text.contains("<script"), "{format}");
        assert!(!text.contains(harmful), "{format}");
    }
    assert!(!report::run_text(&account).contains(harmful));
    roxmltree::Document::parse(&report::run_junit(&account)).unwrap();
}

#[test]
fn no_secret_gets_into_any_format() {
    let mut remains = remains("stopped");
    let mut text = serde_json::to_value(&remains.sealed.plan).unwrap();
    let object = |kind: &str, name: &str| json!({"kind": kind, "namespace": "kube-system", "name": name});
    let config =
        |word: &str, mtu: u32| format!("{{\n  \"mtu\": {mtu},\n  \"policy\": {{\"k8s_auth_token\": \"{word}\"}}\n}}");
    let change = |object: Value, before: Value, after: Value| json!({"object": object, "before": before, "after": after, "why": "test"});
    text["steps"][1]["desired"]["stages"] = json!([{"changes": [
        change(object("Secret", "etcd"), json!({"data": {"a": "hunter2old"}}), json!({"data": {"a": "hunter2new"}})),
        change(object("ConfigMap", "calico-config"), json!({"data": {"cni_network_config": config("hunter2", 1), "etcd_key": "hunter2"}}),
            json!({"data": {"cni_network_config": config("hunter2b", 2), "etcd_key": "hunter2b"}})),
    ]}]);
    text["kept"][0]["value"] = json!("password: hunter2");
    text["findings"][0]["evidence"] = json!(["at https://root:hunter2@10.0.0.1:2379"]);
    remains.sealed.to_mut().plan = serde_json::from_value(text).unwrap();
    remains.progress.stopped = Some((1, "the server said token=hunter2".to_owned()));
    let account = report::run_report(&remains);
    let page = report::run_html(&account);
    assert!(page.contains("cni_network_config:.mtu") && page.contains("+ 2<"), "what is no secret is shown");
    let json = serde_json::to_string(&account).unwrap();
    for text in [page, json, report::run_markdown(&account), report::run_junit(&account), report::run_text(&account)] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// The test cases of a JUnit file with what became of each.
fn cases(xml: &str) -> Vec<(String, String)> {
    let document = roxmltree::Document::parse(xml).unwrap();
    let count = |name: &str| document.descendants().filter(|node| node.has_tag_name(name)).count().to_string();
    for suite in document.descendants().filter(|node| node.has_tag_name("testsuite")) {
        assert_eq!(suite.attribute("tests"), Some(count("testcase").as_str()));
        assert_eq!(suite.attribute("failures"), Some(count("failure").as_str()));
        assert_eq!(suite.attribute("skipped"), Some(count("skipped").as_str()));
    }
    let outcome = |case: roxmltree::Node<'_, '_>| {
        case.first_element_child().map_or("passed", |child| child.tag_name().name()).to_owned()
    };
    let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
    cases.map(|case| (case.attribute("name").unwrap().to_owned(), outcome(case))).collect()
}

#[test]
fn each_step_and_each_claim_is_a_test_case_for_a_ci_server() {
    let finished = account("finished");
    let all = cases(&report::run_junit(&finished));
    assert_eq!(all.len(), 1 + finished.steps.len() + finished.claims().count());
    assert!(all.iter().all(|(_, outcome)| outcome == "passed"), "{all:?}");
    let stopped = cases(&report::run_junit(&account("stopped")));
    let of = |outcome: &str| -> Vec<&str> {
        stopped.iter().filter(|case| case.1 == outcome).map(|case| case.0.as_str()).collect()
    };
    assert_eq!(of("failure")[1..], ["roll-nodes"]);
    assert!(of("failure")[0].ends_with("comes to its end"));
    assert_eq!(of("skipped"), ["verify"]);
}

#[test]
fn a_gap_is_measured_where_one_runner_watched_and_else_an_upper_bound() {
    let account = account("finished");
    let span = |name: &str| account.timeline.nodes.iter().find(|node| node.node == name).unwrap();
    // The runner was ended while node-4 was being replaced.
    assert!(!span("node-4").is_gap_measured && span("node-2").is_gap_measured);
    assert!(span("node-4").gap_ms > span("node-2").gap_ms);
    let mut older = remains("finished");
    older.entries.retain(|entry| !matches!(entry.news, News::Ready { .. }));
    let older = report::run_report(&older);
    for (bound, exact) in older.timeline.nodes.iter().map(|node| (node, span(&node.node))) {
        assert!(!bound.is_gap_measured && bound.gap_ms >= exact.gap_ms, "{bound:?} {exact:?}");
    }
}

#[test]
fn the_markdown_of_a_stopped_run_is_as_reviewed() {
    let snapshot = fixture("stopped.md");
    let written = report::run_markdown(&account("stopped"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&snapshot, &written).unwrap();
    }
    assert_eq!(written, std::fs::read_to_string(&snapshot).unwrap());
}

#[test]
fn a_report_needs_no_cluster_where_the_directory_is() {
    let directory = fixture("finished");
    for (format, word) in [
        ("text", "proven"),
        ("html", "<!DOCTYPE html>"),
        ("markdown", "## Claims"),
        ("junit", "<testsuites"),
        ("json", "\"verdict\": \"well\""),
    ] {
        let (exit, data, words) = tool(&["report", directory.to_str().unwrap(), "--format", format]);
        assert!(exit == Some(0) && data.contains(word), "{format}: {data}{words}");
    }
}

#[test]
fn a_run_that_is_nowhere_is_refused_with_a_code_and_a_way_on() {
    let (exit, data, words) = tool(&["report", "abc123"]);
    assert_eq!((exit, data.as_str()), (Some(65), ""));
    for word in ["CU-E069", "abc123", "calico-upgrader report DIRECTORY", "calico-upgrader explain CU-E069"] {
        assert!(words.contains(word), "{word}: {words}");
    }
}

#[test]
fn every_command_that_a_report_names_is_a_command_of_the_program() {
    let help = tool(&["--help"]).1;
    let open = account_after("finished", |news| news.truncate(3));
    for next in [account("finished"), account("stopped"), open].iter().flat_map(|account| &account.next) {
        let verb = next.command.split(' ').nth(1).unwrap();
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb}");
    }
}

#[test]
fn a_stopped_upgrade_names_its_rollback_and_a_rollback_that_cannot_go_on_a_person() {
    let stopped = account("stopped");
    let back = format!("calico-upgrader rollback {}", stopped.run);
    let names = |account: &RunReport, command: &str| account.next.iter().any(|next| next.command == command);
    assert!(names(&stopped, &back) && !names(&account("finished"), &back));
    let mut remains = remains("stopped");
    remains.sealed.to_mut().plan.purpose = Purpose::Rollback { run: "abc123".to_owned() };
    remains.progress.stopped = Some((7, "a node is gone".to_owned()));
    let account = report::run_report(&remains);
    assert!(account.next[0].why.contains("a person must look") && !names(&account, &back), "{:?}", account.next);
}

#[test]
fn an_account_of_a_restore_speaks_of_no_release_and_no_node() {
    let mut remains = remains("finished");
    let backup = remains.sealed.digest.clone();
    remains.sealed.to_mut().plan.purpose = Purpose::Restore { backup: backup.clone() };
    remains.sealed.to_mut().plan.steps.retain(|step| !matches!(step.desired, Desired::Roll(_)));
    remains.entries.truncate(1);
    let account = report::run_report(&remains);
    let page = report::run_html(&account);
    assert!(page.contains(&format!("restore from backup {}", backup.short())), "{page}");
    assert!(account.timeline.nodes.is_empty() && !page.contains(" → v2.6"), "{page}");
}

#[test]
fn a_code_or_an_exit_code_is_explained_and_an_unknown_one_leads_to_its_neighbours() {
    let (exit, data, _) = tool(&["explain", "cu-r004", "-o", "json"]);
    let explained: Value = serde_json::from_str(&data).unwrap();
    assert_eq!((exit, &explained["code"], &explained["exit"]), (Some(0), &json!("CU-R004"), &json!([4])));
    for key in ["cause", "look", "next"] {
        assert!(explained[key].as_str().unwrap().len() > 10, "{key}");
    }
    assert!(tool(&["explain", "13"]).1.contains("CU-R013"));
    assert!(tool(&["explain"]).1.contains("CU-E069"));
    let (exit, gate, _) = tool(&["explain", "ippool-v1-fields"]);
    assert!(exit == Some(0) && gate.contains("v3.32.0 (block)") && gate.contains("cannot be ignored"), "{gate}");
    assert!(tool(&["explain"]).1.contains("ippool-v1-fields"));
    assert!(tool(&["explain", "ippool-v1-field"]).2.contains("nearest: ippool-v1-fields"));
    let (exit, _, words) = tool(&["explain", "CU-R03"]);
    assert!(exit == Some(64) && words.contains("CU-R013"), "{words}");
}
