//! Traces of runs, as whoever collects them gets them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    process::Command,
};

use calico_upgrader::resource::Digest;
use harness::{Fault, Kubernetes, Release, Seen, State, differences, wait_until};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, status::StatusCode},
};
use prost::Message;

use crate::{
    interruptions::hang,
    lab::{Lab, NODES, Ran, lab, small, upgrade},
    stand::{Asked, Stand},
};

/// What no screen, log, file or trace may show.
const SECRET: &str = "canary-never-print-me";

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// A call whose traces go to this address.
fn traced(lab: &Lab, arguments: &[&str], address: &str) -> Command {
    let mut command = lab.command(arguments);
    command.env(ENDPOINT, address);
    command
}

fn decoded(asked: &Asked) -> ExportTraceServiceRequest {
    assert_eq!(asked.line.trim(), "POST /v1/traces HTTP/1.1");
    assert!(asked.headers.contains("content-type: application/x-protobuf"), "{}", asked.headers);
    ExportTraceServiceRequest::decode(asked.bytes.as_slice()).unwrap()
}

fn spans(asked: &[Asked]) -> Vec<Span> {
    let resources = asked.iter().flat_map(|asked| decoded(asked).resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

fn said(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = attributes.iter().find(|one| one.key == key)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{key} is {other:?}"),
    })
}

fn of(span: &Span, key: &str) -> String {
    said(&span.attributes, key).unwrap_or_else(|| panic!("`{}` has no {key}: {:?}", span.name, span.attributes))
}

fn code(span: &Span) -> (StatusCode, &str) {
    let status = span.status.as_ref().unwrap();
    (status.code(), &status.message)
}

/// The name of the trace of the only run, as the docs say it is found.
fn trace_of(lab: &Lab, run: &str) -> Vec<u8> {
    let namespace = lab.api().get("/api/v1/namespaces/kube-system").unwrap();
    let cluster = namespace["metadata"]["uid"].as_str().unwrap();
    Digest::of(format!("{cluster}/{run}").as_bytes()).bytes()[..16].to_vec()
}

fn run_of(lab: &Lab) -> String {
    lab.run_directory().file_name().unwrap().to_str().unwrap().to_owned()
}

/// The one span that is below no other.
#[track_caller]
fn root(spans: &[Span]) -> &Span {
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    assert_eq!(roots.len(), 1, "{roots:#?}");
    roots[0]
}

/// The spans right below one, in their order.
fn below<'a>(spans: &'a [Span], parent: &Span) -> Vec<&'a Span> {
    let mut below: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == parent.span_id).collect();
    below.sort_by_key(|span| span.start_time_unix_nano);
    below
}

#[track_caller]
fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "`{name}`: {found:#?}");
    found[0]
}

/// One trace in which no name is there twice, every span is below one that was told, and none lies outside the root.
#[track_caller]
fn is_whole(spans: &[Span], trace: &[u8]) {
    let names: BTreeMap<&[u8], &Span> = spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    assert_eq!(names.len(), spans.len(), "a span was told twice");
    let root = root(spans);
    for span in spans {
        assert_eq!(span.trace_id, trace);
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        let is_root = span.parent_span_id.is_empty();
        assert!(is_root || names.contains_key(span.parent_span_id.as_slice()), "nothing is above {span:?}");
        assert!(lies_in(span, root), "{span:?} is not within {root:?}");
    }
}

fn lies_in(span: &Span, other: &Span) -> bool {
    other.start_time_unix_nano <= span.start_time_unix_nano && span.end_time_unix_nano <= other.end_time_unix_nano
}

fn is_node(span: &&Span) -> bool {
    span.name == "replace-node"
}

fn replaced(spans: &[Span]) -> BTreeSet<String> {
    spans.iter().filter(is_node).map(|span| of(span, "k8s.node.name")).collect()
}

#[test]
fn a_run_is_one_trace_with_its_steps_and_their_nodes_and_holds_no_secret() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    let collector = Stand::start(&[(503, ""), (200, "")]);
    let mut run = lab.command(&[upgrade("run"), vec!["--otlp-endpoint", &collector.address, "-vvv"]].concat());
    run.env(ENDPOINT, "http://127.0.0.1:1").env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-token=word%20{SECRET}"));
    run.env("OTEL_SERVICE_NAME", "upgrades").env("OTEL_RESOURCE_ATTRIBUTES", "team=net%20ops,service.name=other");
    let ran = Ran::of(run).exits(0).says("Trace      ");

    let asked = collector.asked();
    assert_eq!(asked[0].bytes, asked[1].bytes, "what was not taken is sent again");
    let (spans, trace) = (spans(&asked[1..]), trace_of(&lab, &run_of(&lab)));
    is_whole(&spans, &trace);
    let run = root(&spans);
    assert_eq!((run.name.as_str(), code(run)), ("run", (StatusCode::Ok, "")));
    assert_eq!(of(run, "calico_upgrader.run"), run_of(&lab));
    assert_eq!(
        (of(run, "calico_upgrader.purpose"), of(run, "calico_upgrader.outcome")),
        ("upgrade".into(), "finished".into())
    );
    let steps = below(&spans, run);
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(
        names,
        ["back-up", "pull-images", "convert-policies", "copy-resources", "apply-manifests", "roll-nodes", "verify"]
    );
    for (step, next) in steps.iter().zip(&steps[1..]) {
        assert!(step.end_time_unix_nano <= next.start_time_unix_nano, "{step:?} and {next:?}");
    }
    for step in &steps {
        assert_eq!(code(step), (StatusCode::Ok, ""));
        for one in below(&spans, step) {
            assert!(lies_in(one, step), "{one:?} is not within {step:?}");
        }
    }
    let nodes: Vec<&Span> = below(&spans, named(&spans, "roll-nodes")).into_iter().filter(is_node).collect();
    assert_eq!((nodes.len(), replaced(&spans).len()), (NODES, NODES));
    for node in nodes {
        assert_eq!(code(node), (StatusCode::Ok, ""));
        assert!(node.events.iter().any(|moment| moment.name == "ready"), "{node:?}");
    }
    let changes = &named(&spans, "copy-resources").events;
    let pool = changes.iter().find_map(|change| said(&change.attributes, "calico_upgrader.object"));
    assert!(changes.iter().any(|change| change.name == "create") && pool.is_some(), "{changes:?}");

    let resource = decoded(&asked[1]).resource_spans.remove(0).resource.unwrap().attributes;
    assert_eq!(said(&resource, "service.name").as_deref(), Some("upgrades"));
    assert_eq!(said(&resource, "team").as_deref(), Some("net ops"));
    for one in &asked {
        assert!(one.headers.contains(&format!("x-token: word {SECRET}")), "{}", one.headers);
        for secret in [SECRET, "cni_network_config"] {
            assert!(!one.body().contains(secret), "{secret} is in a trace");
        }
    }
    assert!(!ran.words.contains(SECRET));
    lab.run_files().iter().for_each(|(path, text)| assert!(!text.contains(SECRET), "the header is in {path}"));
}

#[test]
fn a_run_that_was_killed_and_taken_up_is_one_trace_with_one_root() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let collector = Stand::start(&[(200, "")]);
    let mut run = hang(&lab, "node-3", traced(&lab, &upgrade("run"), &collector.address));
    wait_until("the first node to be told", || {
        let told = replaced(&spans(&collector.asked()));
        Ok(if told.is_empty() { Seen::NotYet("no node was told".to_owned()) } else { Seen::Yes(()) })
    })
    .unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    let first = spans(&collector.asked());
    assert!(first.iter().all(|span| !span.parent_span_id.is_empty()), "the root was told before its end");

    lab.nodes().repair("node-3").unwrap();
    Ran::of(traced(&lab, &upgrade("resume"), &collector.address)).exits(0);
    let spans = spans(&collector.asked());
    is_whole(&spans, &trace_of(&lab, &run_of(&lab)));
    let run = root(&spans);
    assert_eq!((run.name.as_str(), code(run)), ("run", (StatusCode::Ok, "")));
    assert!(run.events.iter().any(|moment| moment.name == "taken-up"), "{run:?}");
    let roll = named(&spans, "roll-nodes");
    assert!(below(&spans, run).contains(&roll));
    let nodes: Vec<&Span> = below(&spans, roll).into_iter().filter(is_node).collect();
    assert!(first.iter().filter(is_node).all(|node| nodes.contains(&node)));
    let found: Vec<String> =
        roll.events.iter().filter_map(|moment| said(&moment.attributes, "k8s.node.name")).collect();
    assert_eq!((nodes.len(), found), (NODES - 1, vec!["node-3".to_owned()]), "the node that was in hand");
}

#[test]
fn a_run_that_stops_says_why_by_its_code_and_what_follows_is_told_below_it_or_linked() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let collector = Stand::start(&[(200, "")]);
    lab.nodes().fail("node-2", Fault::NeverReady).unwrap();
    let run = [upgrade("run"), vec!["--ready-within", "15s"]].concat();
    let stopped = Ran::of(traced(&lab, &run, &collector.address)).exits(4);
    let word = stopped.words.split("error[").nth(1).unwrap().split(']').next().unwrap().to_owned();
    let (first, trace) = (spans(&collector.asked()), trace_of(&lab, &run_of(&lab)));
    is_whole(&first, &trace);
    for failed in [root(&first), named(&first, "roll-nodes"), named(&first, "replace-node")] {
        assert_eq!(code(failed), (StatusCode::Error, word.as_str()), "{failed:?}");
        assert_eq!((of(failed, "error.type"), of(failed, "calico_upgrader.exit")), (word.clone(), "4".to_owned()));
    }
    assert_eq!(code(named(&first, "apply-manifests")).0, StatusCode::Ok);

    lab.nodes().repair("node-2").unwrap();
    Ran::of(traced(&lab, &upgrade("resume"), &collector.address)).exits(0);
    let (both, name) = (spans(&collector.asked()), run_of(&lab));
    let resume = named(&both, "resume");
    assert_eq!((&resume.trace_id, &resume.parent_span_id), (&trace, &root(&both).span_id));
    assert_eq!((code(resume).0, of(resume, "calico_upgrader.run")), (StatusCode::Ok, name));
    assert_eq!(below(&both, resume).last().unwrap().name, "verify");

    Ran::of(traced(&lab, &["rollback", "--yes"], &collector.address)).exits(0);
    let all = spans(&collector.asked());
    let back: Vec<Span> = all.into_iter().filter(|span| span.trace_id != trace).collect();
    let linked: Vec<_> = root(&back).links.iter().map(|link| (&link.trace_id, &link.span_id)).collect();
    assert_eq!(linked, [(&trace, &root(&both).span_id)]);
    assert_eq!((of(root(&back), "calico_upgrader.purpose"), code(root(&back)).0), ("rollback".into(), StatusCode::Ok));
}

/// The whole cluster but for the tool's own records.
fn upgraded(lab: &Lab) -> State {
    let mut state = lab.cluster_state().unwrap();
    state.retain(|key, _| !key.contains("calico-upgrader"));
    state
}

#[test]
fn whoever_collects_traces_changes_nothing_of_a_run_by_being_away_failing_or_hanging() {
    let mut lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let untraced = lab.tool(&upgrade("run")).exits(0);
    assert!(!untraced.words.contains("Trace"), "{}", untraced.words);
    let expected = upgraded(&lab);
    let failing = Stand::start(&[(500, "")]);
    // Connections are taken by the kernel, and nobody ever answers.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = (format!("http://{}", hanging.local_addr().unwrap()), hanging);
    for (address, why) in [
        ("http://127.0.0.1:1", "http://127.0.0.1:1 does not answer"),
        (failing.address.as_str(), "answers 500"),
        (hanging.0.as_str(), "did not take the last spans within 3s"),
        ("http://192.0.2.1:4318", "plain http to another machine"),
        ("not an address", "OTEL_EXPORTER_OTLP_ENDPOINT: it is no address"),
    ] {
        lab.again();
        let ran = Ran::of(traced(&lab, &upgrade("run"), address)).exits(0).says(why);
        assert_eq!(ran.words.matches("Traces     skipped (").count(), 1, "{}", ran.words);
        let found = differences(&expected, &upgraded(&lab));
        assert!(found.is_empty(), "{why}: {found:#?}");
    }
}

#[test]
fn a_collector_behind_tls_gets_a_trace_only_where_its_authority_is_known() {
    let mut lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let collector = Stand::start_with_tls(&[(200, "")], lab.certificate());
    let mut stranger = traced(&lab, &upgrade("run"), &collector.address);
    stranger.env_remove("SSL_CERT_FILE");
    Ran::of(stranger).exits(0).says("Traces     skipped (");
    assert!(collector.asked().is_empty(), "something was sent to a stranger");
    lab.again();
    let mut known = traced(&lab, &upgrade("run"), &collector.address);
    known.env("SSL_CERT_FILE", lab.authority());
    Ran::of(known).exits(0);
    is_whole(&spans(&collector.asked()), &trace_of(&lab, &run_of(&lab)));
}
