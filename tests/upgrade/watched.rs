//! Runs that others watch: figures for Prometheus, its alerts as a gate, news to a webhook, logs with fields.

use std::net::TcpListener;

use harness::{Kubernetes, Release};
use serde_json::Value;

use crate::{
    interruptions::hang,
    lab::{Ran, lab, small, upgrade},
    stand::{Stand, fetch},
    windows::replaced,
};

/// What no screen, log or file may show.
const SECRET: &str = "canary-never-print-me";

const NONE: &str = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
const FIRING: &str = r#"{"status":"success","data":{"resultType":"vector","result":[
    {"metric":{"alertname":"PodsLoseTheirNetwork"},"value":[1,"1"]}]}}"#;

#[test]
fn figures_of_a_run_are_served_while_it_goes_on_and_a_port_that_is_taken_is_refused_before_it() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = [upgrade("run"), vec!["--metrics", &address]].concat();
    lab.tool(&run).exits(64).says("CU-E033").says(&address);
    assert!(!lab.state().join("runs").exists(), "a run was begun");
    lab.tool(&[upgrade("run"), vec!["--metrics", "nowhere"]].concat()).exits(64).says("no address like 127.0.0.1:9099");
    drop(taken);
    let run = hang(&lab, "node-3", lab.command(&run));
    let figures = fetch(&address, "GET /metrics");
    for figure in [
        "application/openmetrics-text",
        "calico_upgrader_nodes{state=\"done\"} 1",
        "calico_upgrader_nodes{state=\"in_hand\"} 1",
        "calico_upgrader_nodes{state=\"waiting\"} 1",
        "calico_upgrader_steps{state=\"planned\"}",
        "calico_upgrader_node_gap_seconds{node=\"node-2\"}",
        "calico_upgrader_last_success_timestamp_seconds 0.0",
        "calico_upgrader_api_retries_total 0",
        "# EOF",
    ] {
        assert!(figures.contains(figure), "{figure} is not in\n{figures}");
    }
    assert!(fetch(&address, "GET /other").starts_with("HTTP/1.1 404"));
    assert!(fetch(&address, "POST /metrics").starts_with("HTTP/1.1 404"));
    lab.nodes().repair("node-3").unwrap();
    Ran::end_of(run).exits(0);
}

#[test]
fn no_node_is_begun_while_alerts_fire_or_nobody_can_tell() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let prometheus = Stand::start(&[(200, NONE), (200, FIRING)]);
    let token = lab.state().join("token");
    std::fs::write(&token, format!("{SECRET}\n")).unwrap();
    let query = "ALERTS{alertstate=\"firing\"}";
    let gate = ["--alert-gate", &prometheus.address, query, "--alert-token-file", token.to_str().unwrap(), "-vvv"];
    let stopped = lab.tool(&[upgrade("run"), gate.to_vec()].concat()).exits(4);
    let stopped = stopped.says("CU-R012").says("1 alerts fire: PodsLoseTheirNetwork");
    assert!(!stopped.words.contains(SECRET));
    assert_eq!(replaced(&lab), 1, "only the first node was begun");
    let asked = prometheus.asked();
    assert!(asked[0].line.starts_with("GET /api/v1/query?query=ALERTS%7Balertstate%3D%22firing%22%7D "));
    assert!(asked[0].headers.contains(&format!("Bearer {SECRET}")));
    for (status, answer, why) in
        [(503, "", "answers 503"), (200, "<html>", "no JSON"), (200, "{\"status\":\"error\"}", "no success")]
    {
        prometheus.answer(&[(status, answer)]);
        lab.tool(&[upgrade("resume"), gate.to_vec()].concat()).exits(4).says("cannot be asked for").says(why);
    }
    let nobody = ["--alert-gate", "http://127.0.0.1:1", query];
    lab.tool(&[upgrade("resume"), nobody.to_vec()].concat()).exits(4).says("http://127.0.0.1:1 does not answer");
    assert_eq!(replaced(&lab), 1);
    prometheus.answer(&[(200, NONE)]);
    lab.tool(&[upgrade("resume"), gate.to_vec()].concat()).exits(0);
}

#[test]
fn news_go_to_a_webhook_again_if_need_be_and_its_address_stays_secret() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let hook = Stand::start(&[(500, ""), (200, "ok")]);
    let file = lab.state().join("hook");
    std::fs::write(&file, format!("{}/services/{SECRET}\n", hook.address)).unwrap();
    let notify = ["--notify-url-file", file.to_str().unwrap(), "-vvv"];
    let ran = lab.tool(&[upgrade("run"), notify.to_vec()].concat()).exits(0);
    assert!(!ran.words.contains(SECRET));
    lab.run_files().iter().for_each(|(path, text)| assert!(!text.contains(SECRET), "the address is in {path}"));
    let news: Vec<Value> = hook.asked().iter().map(|asked| serde_json::from_str(&asked.body()).unwrap()).collect();
    let reasons: Vec<&str> = news.iter().map(|one| one["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["RunStarted", "RunStarted", "RunFinished"], "the first was sent again");
    assert_eq!(news[2]["event"]["event"], "run-finished");
    hook.answer(&[(404, "")]);
    let slack = ["--notify-url-file", file.to_str().unwrap(), "--notify-format", "slack"];
    let ran = lab.tool(&[vec!["rollback", "--yes"], slack.to_vec()].concat()).exits(0);
    assert_eq!(ran.words.matches("Notify     skipped (http://127.0.0.1").count(), 1, "{}", ran.words);
    let last: Value = serde_json::from_str(&hook.asked().last().unwrap().body()).unwrap();
    let fields: Vec<&String> = last.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["text"]);
}

#[test]
fn each_line_of_the_log_of_a_step_names_run_and_step() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let ran = lab.tool(&[upgrade("run"), vec!["--log-format", "json", "-v"]].concat()).exits(0);
    let lines: Vec<Value> = ran.words.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let rolled: Vec<&Value> = lines.iter().filter(|line| line["span"]["step"] == "roll-nodes").collect();
    assert!(rolled.len() >= 2, "{}", ran.words);
    assert!(rolled.iter().all(|line| line["span"]["run"].as_str().is_some_and(|run| run.len() == 6)));
}
