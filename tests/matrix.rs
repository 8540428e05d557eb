//! Every way that leads to v2.6: which ones upstream tested and run without a word, and which row each of the others lacks.

mod ways;

use calico_upgrader::{
    check::Finding,
    inventory::{Datastore, Edition, Flavour, Inventory, Stored},
    plan::{self, PlanError, Request},
    resource::{Kind, ObjectRef},
    runbook,
    version::Version,
};
use ways::{Way, ways};

/// What upstream tested: Calico docs v2.6, getting-started/kubernetes/upgrade@4b281b28ed.
const TESTED: [&str; 5] = [
    "Calico v2.5 · kubernetes · Kubernetes v1.8",
    "Calico v2.5 · etcd · Kubernetes v1.8",
    "Calico v2.5 · etcd · Kubernetes v1.7",
    "Calico v2.4 · etcd · Kubernetes v1.8",
    "Calico v2.4 · etcd · Kubernetes v1.7",
];

/// The plan's findings, or the exit code with which there is none and what speaks against it.
fn planned(inventory: &Inventory, allow_untested: bool) -> Result<Vec<Finding>, (u8, Vec<Finding>)> {
    let runbook = runbook::find("v2.6".parse().expect("a line")).expect("it is built in").expect("it can be read");
    let request = Request { allow_untested, ..Request::default() };
    match plan::make(inventory, &runbook::catalogue(), &runbook, &request) {
        Ok(plan) => Ok(plan.findings),
        Err(error) => match (error.exit(), error) {
            (exit, PlanError::Blocked(findings)) => Err((exit, findings)),
            (_, other @ PlanError::Duration { .. }) => panic!("{other}"),
        },
    }
}

fn ids(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.id.as_str()).collect()
}

#[test]
fn what_upstream_tested_runs_without_a_word_and_every_other_way_names_the_row_that_is_missing() {
    let catalogue = runbook::catalogue();
    let (mut tested, mut others) = (std::collections::BTreeSet::new(), 0);
    for way in ways() {
        let (inventory, row) = (way.inventory(&catalogue), way.row());
        if TESTED.contains(&row.as_str()) {
            let findings = planned(&inventory, false).unwrap_or_else(|refused| panic!("{row}: {refused:?}"));
            assert!(!ids(&findings).contains(&"CU-P003"), "{row}: {findings:?}");
            tested.insert(row);
            continue;
        }
        others += 1;
        let (exit, findings) = planned(&inventory, false).expect_err(&row);
        let untested =
            findings.iter().find(|finding| finding.id == "CU-P003").unwrap_or_else(|| panic!("{findings:?}"));
        assert_eq!(exit, 16, "{row}: {findings:?}");
        assert_eq!(untested.evidence.last(), Some(&format!("missing: {row}")));
        assert!(untested.now.contains("--allow-untested"), "{row}: {untested:?}");
        let allowed = planned(&inventory, true).unwrap_or_else(|refused| panic!("{row}: {refused:?}"));
        assert!(ids(&allowed).contains(&"CU-P003"), "{row}: it is told of all the same");
    }
    assert_eq!(tested.len(), TESTED.len(), "{tested:?}");
    assert!(others > 100, "only {others} other ways");
}

#[test]
fn old_data_that_the_server_does_not_serve_beside_new_stops_every_way_with_what_to_do() {
    let catalogue = runbook::catalogue();
    let third_party = "v2.5".parse().expect("a line");
    let is_old = |way: &Way| way.datastore == Datastore::Kubernetes && way.release.line() < third_party;
    for way in ways().into_iter().filter(is_old) {
        let mut without_old = way.inventory(&catalogue);
        without_old.third_party_served.clear();
        let mut without_new = way.inventory(&catalogue);
        without_new.cluster.has_definitions = false;
        for (inventory, now) in
            [(without_old, "before Kubernetes v1.8"), (without_new, "upgrade Kubernetes to v1.7 first")]
        {
            let (exit, findings) = planned(&inventory, true).expect_err(&way.row());
            let finding = findings.iter().find(|one| one.id == "CU-C012").unwrap_or_else(|| panic!("{findings:?}"));
            assert!(exit == 3 && finding.now.contains(now), "{}: {finding:?}", way.row());
        }
    }
}

#[test]
fn a_config_map_that_changes_alone_makes_only_those_new_that_read_what_changes() {
    let catalogue = runbook::catalogue();
    let on_etcd = |way: &Way| way.row() == "Calico v2.1 · etcd · Kubernetes v1.8" && way.flavour == Flavour::Networking;
    let way = ways().into_iter().find(|way| on_etcd(way) && !way.is_kubeadm).expect("it is one of the ways");
    let (latest, edition) = (Version::new(2, 6, 12), Edition::of(Datastore::Etcd, Flavour::Networking, false));
    let target = runbook::target(&catalogue, latest, edition).expect("the program has it");
    let is_config = |one: &Stored| one.object.kind == Kind::ConfigMap;
    let new = |(object, document): &(ObjectRef, _)| Stored { object: object.clone(), document: Clone::clone(document) };
    let new: Vec<Stored> = target.objects.iter().map(new).collect();
    // Somebody did all but the ConfigMap by hand.
    let mut inventory = way.inventory(&catalogue);
    inventory.objects.retain(is_config);
    inventory.objects.extend(new.iter().filter(|one| !is_config(one)).cloned());
    inventory.installs[0].controllers =
        target.references().into_iter().filter(|one| one.kind == Kind::Deployment).collect();
    inventory.installs[0].node_image = "quay.io/calico/node:v2.6.12".to_owned();

    let mark = "calico-upgrader/reads";
    let changes: Vec<String> = made(&inventory)
        .changes()
        .map(|change| {
            let is_marked = change.after.as_ref().is_some_and(|after| after.text().contains(mark));
            format!("{}{}", change.object.kind, if is_marked { " with a mark" } else { "" })
        })
        .collect();
    // The controllers read where etcd is, and nothing of the CNI configuration, which is all that changes.
    assert_eq!(changes, ["ConfigMap", "DaemonSet with a mark"]);
    assert!(made(&inventory).roll().is_some(), "no node is replaced");

    inventory.objects = new;
    assert!(made(&inventory).is_empty(), "nothing changes, and something starts anew");
}

fn made(inventory: &Inventory) -> plan::Plan {
    let runbook = runbook::find("v2.6".parse().expect("a line")).expect("it is built in").expect("it can be read");
    let request = Request { allow_untested: true, ..Request::default() };
    plan::make(inventory, &runbook::catalogue(), &runbook, &request).expect("nothing speaks against it")
}
