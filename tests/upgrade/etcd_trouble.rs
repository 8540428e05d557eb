//! Trouble with Calico's own etcd: out of reach, ill, without a majority, with a full disk or other certificates in the middle of a run.

use std::{path::PathBuf, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};
use harness::{CalicoEtcd, EtcdSetup, Fault, Flavour, Kubernetes, Release, Size, WornIn};
use serde_json::json;

use crate::{
    etcd::{CONFIG_MAP, LEFTOVER, etcd, joined, runbook, with_etcd, without_leftover},
    lab::{Lab, Ran, lab, small, upgrade},
    rolls::wait_until_stuck,
};

const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const WAIT: [&str; 2] = ["--ready-within", "180s"];

#[test]
fn what_kubernetes_shows_is_told_though_etcd_gives_no_answer_and_no_run_begins() {
    let lab = lab(Kubernetes::V1_34, on_etcd());
    lab.etcd().stop_member(0).unwrap();
    let before = lab.resource_versions().unwrap();
    lab.tool(&["discover"]).exits(0).says("etcd       not known: CU-E042").says("Calico v2.5.1").says("node-2");
    let json = lab.tool(&["discover", "-o", "json"]).exits(0).json();
    assert!(json["etcd"]["unknown"]["why"].as_str().unwrap().contains("CU-E042"), "{}", json["etcd"]);
    assert_eq!(json["nodes"].as_array().unwrap().len(), crate::lab::NODES);
    lab.tool(&["check"]).exits(15).says("CU-C027").says("CU-E042").says("--etcd-endpoints");
    lab.tool(&["check", "CU-C007"]).exits(0);
    lab.tool(&["plan", "--to", "v2.6", "--allow-untested"]).exits(15).says("CU-E042");
    lab.tool(&upgrade("run")).exits(15).says("CU-E042");
    assert!(lab.resource_versions().unwrap() == before, "a refused run changed something");
}

fn on_etcd() -> WornIn {
    WornIn { release: Release::V2_5_1, flavour: Flavour::Etcd, size: Size::Small }
}

#[test]
fn an_etcd_that_raised_an_alarm_stops_a_run_unless_people_know_better() {
    let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), etcd(EtcdSetup::default()));
    let before = etcd.keys().unwrap();
    etcd.raise_no_space().unwrap();
    Ran::of(until_nodes(&lab, &etcd)).exits(3).says("CU-C028").says("NOSPACE");
    // Its v2 API takes writes all the same.
    let knows_better = ["--ignore", "CU-C028=only its v3 API is full"];
    Ran::of(until_nodes(&lab, &etcd).args(knows_better)).exits(0);
    assert_eq!(etcd.keys().unwrap(), without_leftover(before));
}

fn until_nodes(lab: &Lab, etcd: &CalicoEtcd) -> Command {
    let mut command = with_etcd(lab, etcd, &upgrade("run"));
    let text = std::fs::read_to_string(runbook(lab)).unwrap();
    command.args(WAIT).env("CALICO_UPGRADER_RUNBOOK", keys_last(lab, &text));
    command
}

/// A runbook that removes leftovers after the nodes, so that a node can hold a run up before its keys.
fn keys_last(lab: &Lab, text: &str) -> PathBuf {
    let start = text.find("  # A policy of old controllers").unwrap();
    let (before, rest) = text.split_at(start);
    let (step, rest) = rest.split_at(rest.find("  - name: roll-nodes").unwrap());
    let (nodes, verify) = rest.split_once("  - name: verify").unwrap();
    let file = lab.state().join("keys-last.yaml");
    std::fs::write(&file, format!("{before}{nodes}{step}  - name: verify{verify}")).unwrap();
    file
}

/// Holds a run up at its second node, lets something happen, and lets the run go on to the keys.
fn meanwhile(lab: &Lab, mut run: Command, happens: impl FnOnce()) -> Ran {
    lab.nodes().fail("node-2", Fault::NeverReady).unwrap();
    let mut run = run.spawn().unwrap();
    let reached = wait_until_stuck(lab, "node-2");
    if let Err(error) = reached {
        run.kill().unwrap();
        panic!("{error}: {:?}", Ran::end_of(run));
    }
    happens();
    lab.nodes().repair("node-2").unwrap();
    Ran::end_of(run)
}

fn three_members() -> CalicoEtcd {
    etcd(EtcdSetup { members: 3, ..EtcdSetup::default() })
}

#[test]
fn a_run_goes_on_with_the_other_members_when_the_one_it_spoke_to_dies_or_hangs() {
    let trouble: [fn(&CalicoEtcd); 2] = [|etcd| etcd.stop_member(0).unwrap(), |etcd| etcd.freeze_member(0).unwrap()];
    for happens in trouble {
        let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), three_members());
        let before = etcd.keys().unwrap();
        meanwhile(&lab, until_nodes(&lab, &etcd), || happens(&etcd)).exits(0);
        let json = Ran::of(with_etcd(&lab, &etcd, &["discover", "-o", "json"])).exits(0).json();
        let silent: Vec<&String> = json["etcd"]["known"]["silent"].as_object().unwrap().keys().collect();
        assert_eq!(silent, [&etcd.endpoints()[0]]);
        etcd.thaw_member(0).unwrap();
        etcd.wait_until_healthy().unwrap();
        assert_eq!(etcd.keys().unwrap(), without_leftover(before));
    }
}

#[test]
fn a_run_without_a_majority_of_etcd_stops_and_goes_on_once_the_members_are_back() {
    let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), three_members());
    let before = etcd.keys().unwrap();
    let stopped = meanwhile(&lab, until_nodes(&lab, &etcd), || {
        etcd.stop_member(1).unwrap();
        etcd.stop_member(2).unwrap();
    });
    stopped.exits(15).says("CU-R015").says("majority").says("calico-upgrader resume");
    let resume = || Ran::of(with_etcd(&lab, &etcd, &["resume", "--yes"]));
    resume().exits(15).says("CU-E042");
    etcd.start_member(1).unwrap();
    etcd.start_member(2).unwrap();
    etcd.wait_until_healthy().unwrap();
    resume().exits(0);
    assert_eq!(etcd.keys().unwrap(), without_leftover(before));
}

#[test]
fn a_run_stops_when_the_disk_of_etcd_is_full_and_goes_on_once_there_is_room() {
    let (lab, etcd) = (lab(Kubernetes::V1_34, small(Release::V2_5_1)), etcd(EtcdSetup::default()));
    let before = etcd.keys().unwrap();
    let stopped = meanwhile(&lab, until_nodes(&lab, &etcd), || etcd.fill_disk_of_member(0).unwrap());
    stopped.exits(15).says("CU-R015").says("room on its disk").says("calico-upgrader resume");
    etcd.stop_member(0).unwrap();
    etcd.start_member(0).unwrap();
    etcd.wait_until_healthy().unwrap();
    assert_eq!(etcd.value(LEFTOVER).unwrap().as_ref(), Some(&before[LEFTOVER].0));
    Ran::of(with_etcd(&lab, &etcd, &["resume", "--yes"])).exits(0);
    assert_eq!(etcd.keys().unwrap(), without_leftover(before));
}

#[test]
fn certificates_that_are_renewed_midway_stop_the_run_and_resume_takes_the_new_ones() {
    let lab = lab(Kubernetes::V1_34, on_etcd());
    let etcd = etcd(EtcdSetup { wants_client_certificates: true, ..EtcdSetup::default() });
    keep_certificates(&lab, &etcd);
    let config = json!({"data": {"etcd_endpoints": joined(etcd.secure_endpoints()), "etcd_ca": "/calico-secrets/etcd-ca",
        "etcd_cert": "/calico-secrets/etcd-cert", "etcd_key": "/calico-secrets/etcd-key"}});
    lab.api().merge_patch(CONFIG_MAP, &config).unwrap();
    // The node that holds the run up must not get the new controller, which calico-node would wait for.
    let taint = json!({"spec": {"taints": [{"key": "dedicated", "value": "edge", "effect": "NoSchedule"}]}});
    lab.api().merge_patch("/api/v1/nodes/node-2", &taint).unwrap();
    let before = etcd.keys().unwrap();
    let as_installed = |arguments: &[&str]| {
        let mut command = lab.command(arguments);
        command.env_remove("CALICO_UPGRADER_ETCD_ENDPOINTS");
        command
    };
    let mut run = as_installed(&upgrade("run"));
    let runbook = keys_last(&lab, include_str!("../../runbooks/v2.6.yaml"));
    run.args(WAIT).env("CALICO_UPGRADER_RUNBOOK", runbook);
    let stopped = meanwhile(&lab, run, || etcd.renew_certificates().unwrap());
    stopped.exits(15).says("CU-R015").says("resume reads the Secret");
    let resume = || Ran::of(as_installed(&upgrade("resume")));
    resume().exits(15).says("CU-E043");
    assert_eq!(etcd.keys().unwrap(), before);
    keep_certificates(&lab, &etcd);
    resume().exits(0);
    assert_eq!(etcd.keys().unwrap(), without_leftover(before));
}

/// Puts the certificates of now where the install has them.
fn keep_certificates(lab: &Lab, etcd: &CalicoEtcd) {
    let (certificate, key) = etcd.client();
    let encoded = |path: PathBuf| BASE64_STANDARD.encode(std::fs::read(path).unwrap());
    let data =
        json!({"etcd-ca": encoded(etcd.authority()), "etcd-cert": encoded(certificate), "etcd-key": encoded(key)});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
        "metadata": {"name": "calico-etcd-secrets", "namespace": "kube-system"}});
    if lab.api().merge_patch(&format!("{SECRETS}/calico-etcd-secrets"), &json!({"data": data})).is_err() {
        lab.api().create(SECRETS, &secret).unwrap();
    }
}
