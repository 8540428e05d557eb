//! Every place where people customize Calico, each with its proof: on the objects of every release the edit is in the plan's
//! objects afterwards, and nothing is asked unless the release changed the same field.

#[path = "../inventories/mod.rs"]
mod inventories;
mod points;
mod start;

use std::collections::BTreeSet;

use calico_upgrader::{
    inventory::{Flavour, Inventory},
    plan::{self, Choice, Preference, Preferences, Request, Verdict},
    resource::{Document, Kind, differences},
    runbook::{self, Catalogue, Runbook},
    version::Version,
};
use points::{ANYWHERE, ASKED, NETWORKING, Objects, UNSURE};
use serde_json::{Value, json};
use start::{Start, starts};

fn request(preferences: Preferences) -> Request {
    Request { allow_untested: true, preferences, ..Request::default() }
}

fn book() -> (Catalogue, Runbook) {
    let runbook = runbook::find("v2.6".parse().expect("a line")).expect("the program has it").expect("it can be read");
    (runbook::catalogue(), runbook)
}

/// The objects as a plan leaves them.
fn after(plan: &plan::Plan, before: &Objects) -> Objects {
    let last = |kind: Kind| {
        let of_kind = plan.changes().filter(|change| change.object.kind == kind);
        of_kind.filter_map(|change| change.after.as_ref()).last().map(Document::value)
    };
    Objects {
        daemon_set: last(Kind::DaemonSet).unwrap_or_else(|| before.daemon_set.clone()),
        config_map: last(Kind::ConfigMap).unwrap_or_else(|| before.config_map.clone()),
        // What was not there before the upgrade, people could not edit.
        role: before.role.as_ref().map(|role| last(Kind::ClusterRole).unwrap_or_else(|| role.clone())),
    }
}

#[test]
fn every_customization_point_survives_an_upgrade_from_every_release() {
    let (catalogue, runbook) = book();
    let (mut asked, mut lost) = (BTreeSet::new(), Vec::new());
    for start in starts() {
        let of_flavour = if start.flavour == Flavour::Networking { NETWORKING } else { &[] };
        for (name, edit) in ANYWHERE.iter().chain(of_flavour) {
            let mut live = start.objects();
            edit(&mut live);
            let inventory = start.inventory(&live);
            let place = format!("{name}, from {} {}", start.release.line(), start.flavour);
            let said = keep_what_is_asked(&inventory, &catalogue, &runbook, &place);
            asked.extend((!said.0.is_empty()).then(|| place.clone()));
            let made = plan::make(&inventory, &catalogue, &runbook, &request(said));
            let plan = made.unwrap_or_else(|error| panic!("{place}: {error:?}"));
            let mut merged = after(&plan, &live);
            let node = image_of_node(&merged.daemon_set);
            assert!(node.ends_with(":v2.6.12"), "{place}: {node}");
            let planned = merged.all();
            edit(&mut merged);
            let again = differences(&merged.all(), &planned);
            lost.extend(again.into_iter().map(|one| format!("{place}: {one:?}")));
        }
    }
    assert_eq!(lost, Vec::<String>::new());
    let expected = UNSURE.iter().map(|place| (*place).to_owned()).collect();
    assert_eq!(asked, expected, "nothing else is asked for");
}

/// Answers what is asked; only a field that the release changes, too, may be.
fn keep_what_is_asked(inventory: &Inventory, catalogue: &Catalogue, runbook: &Runbook, place: &str) -> Preferences {
    let mut said = Preferences::default();
    let decided = plan::decide(inventory, catalogue, runbook, &request(said.clone()));
    let (_, decisions) = decided.unwrap_or_else(|error| panic!("{place}: {error:?}"));
    for open in decisions.iter().filter(|one| one.verdict == Verdict::Asked) {
        assert_ne!(open.base, open.new, "{place}: only people changed {}", open.path);
        said.add(open.field(), Choice { decision: Preference::Keep, why: None });
    }
    said
}

fn image_of_node(daemon_set: &Value) -> String {
    let containers = daemon_set["spec"]["template"]["spec"]["containers"].as_array().expect("it has containers");
    let node = containers.iter().find(|one| one["name"] == "calico-node").expect("it has calico-node");
    node["image"].as_str().expect("it has an image").to_owned()
}

#[test]
fn nothing_is_asked_and_nothing_counts_as_made_by_hand_where_nobody_edited() {
    let (catalogue, runbook) = book();
    for start in starts() {
        let inventory = start.inventory(&start.objects());
        let plan = plan::make(&inventory, &catalogue, &runbook, &request(Preferences::default()));
        let plan = plan.unwrap_or_else(|error| panic!("{} {}: {error:?}", start.release, start.flavour));
        assert_eq!(plan.kept, [], "{} {}", start.release, start.flavour);
    }
}

#[test]
fn a_field_that_people_and_the_release_changed_is_asked_for_and_both_answers_are_followed() {
    let (catalogue, runbook) = book();
    for (path, lines, edit) in ASKED {
        let mut asked_from = BTreeSet::new();
        for start in starts().iter().filter(|start| start.flavour == Flavour::Networking) {
            let mut live = start.objects();
            edit(&mut live);
            let inventory = start.inventory(&live);
            let (_, all) =
                plan::decide(&inventory, &catalogue, &runbook, &request(Preferences::default())).expect("a way");
            let Some(open) = all.iter().find(|one| one.verdict == Verdict::Asked) else { continue };
            assert_eq!(open.path, *path);
            asked_from.insert(start.release.line().to_string());
            for (answer, wanted) in [("keep", &open.live), ("take", &open.new)] {
                let file = format!("- field: {}\n  decision: {answer}\n  why: a test\n", json!(open.field()));
                let said = plan::decisions::read(&file).expect("it is a file of decisions");
                let (_, all) = plan::decide(&inventory, &catalogue, &runbook, &request(said.clone())).expect("a way");
                let decided = all.iter().find(|one| one.path == *path).expect("it still differs");
                assert_eq!(&decided.after, wanted, "{path} {answer}");
                plan::make(&inventory, &catalogue, &runbook, &request(said)).expect("nothing is asked any more");
            }
        }
        assert_eq!(asked_from, lines.iter().map(|line| (*line).to_owned()).collect(), "{path}");
    }
}

#[test]
fn a_pinned_image_that_gives_way_still_comes_from_the_registry_of_people() {
    let (catalogue, runbook) = book();
    let start = starts().pop().expect("there are some");
    let (_, _, pin) = ASKED.last().expect("the last one pins an image");
    for release in [start.release, Version::new(2, 5, 1)] {
        let start = Start { release, flavour: Flavour::Networking };
        let mut live = start.objects();
        pin(&mut live);
        let decided = plan::decide(&start.inventory(&live), &catalogue, &runbook, &request(Preferences::default()));
        let (_, all) = decided.expect("a way");
        let image = all.iter().find(|one| one.path.ends_with("[calico-node].image")).expect("it differs");
        assert_eq!(image.new, Some(json!("registry.corp:5000/calico/node:v2.6.12")));
        // Where the release is installed already it brings nothing new, and a pin is a pin.
        let expected = if release.line() == "v2.6".parse().expect("a line") { Verdict::Kept } else { Verdict::Asked };
        assert_eq!(image.verdict, expected, "{release}");
    }
}

#[test]
fn a_chain_of_plug_ins_that_people_made_takes_what_the_release_changes_in_its_own_plug_in() {
    let (catalogue, runbook) = book();
    for start in starts().iter().filter(|start| start.flavour == Flavour::Networking) {
        let mut live = start.objects();
        live.edit_cni(|cni| {
            let fields = cni.as_object_mut().expect("a plug-in is an object");
            let (name, _) = (fields.remove("name").expect("it has one"), fields.remove("cniVersion"));
            let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
            *cni = json!({"name": name, "cniVersion": "0.3.0", "plugins": [cni.clone(), portmap]});
        });
        let plan = plan::make(&start.inventory(&live), &catalogue, &runbook, &request(Preferences::default()));
        let merged = after(&plan.unwrap_or_else(|error| panic!("{}: {error:?}", start.release)), &live);
        let text = merged.config_map["data"]["cni_network_config"].as_str().expect("it has one").to_owned();
        let list: Value = serde_json::from_str(&text).expect("it is JSON");
        let types: Vec<&str> =
            list["plugins"].as_array().expect("a list").iter().filter_map(|one| one["type"].as_str()).collect();
        assert_eq!(types, ["calico", "portmap"], "{text}");
        assert_eq!((&list["cniVersion"], &list["type"]), (&json!("0.3.0"), &Value::Null), "{text}");
        assert_eq!(list["plugins"][0]["log_level"], "info", "{text}");
    }
}

#[test]
fn a_decision_that_answers_no_question_stops_the_plan_by_its_name() {
    let (catalogue, runbook) = book();
    let start = Start { release: Version::new(2, 5, 1), flavour: Flavour::Networking };
    let inventory = start.inventory(&start.objects());
    let stale = "- field: DaemonSet/calico-node:spec.gone\n  decision: keep\n  why: an older plan\n";
    let said = plan::decisions::read(stale).expect("it is a file of decisions");
    let refused = plan::make(&inventory, &catalogue, &runbook, &request(said)).expect_err("it is stale");
    let text = format!("{refused:?}");
    assert!(
        refused.exit() == 17 && text.contains("CU-C016") && text.contains("DaemonSet/calico-node:spec.gone"),
        "{text}"
    );
}

#[test]
fn a_selector_or_a_role_that_cannot_be_changed_stops_the_plan() {
    let (catalogue, runbook) = book();
    let start = Start { release: Version::new(2, 5, 1), flavour: Flavour::Networking };
    let mut odd = start.objects();
    odd.daemon_set["spec"]["selector"] = json!({"matchExpressions": [{"key": "k8s-app", "operator": "Exists"}]});
    let refused = plan::make(&start.inventory(&odd), &catalogue, &runbook, &request(Preferences::default()));
    assert!(format!("{refused:?}").contains("CU-C015"), "{refused:?}");
    let mut inventory = start.inventory(&start.objects());
    let binding = inventory.objects.iter_mut().find(|one| one.object.kind == Kind::ClusterRoleBinding);
    let binding = binding.expect("v2.5 has one");
    let mut body = binding.document.value();
    body["roleRef"]["name"] = json!("corp-calico");
    binding.document = Document::new(body);
    let mut asked = request(Preferences::default());
    assert_eq!(plan::make(&inventory, &catalogue, &runbook, &asked).expect_err("another role").exit(), 3);
    asked.ignore.insert("CU-C015".to_owned(), "the role has the rights".to_owned());
    plan::make(&inventory, &catalogue, &runbook, &asked).expect("people said that it has the rights");
}

#[test]
fn a_selector_that_is_taken_from_the_release_makes_the_daemon_set_anew_with_all_else_that_people_made() {
    let (catalogue, runbook) = book();
    for start in starts() {
        let mut live = start.objects();
        live.daemon_set["spec"]["selector"] = json!({"matchLabels": {"app": "corp-net"}});
        live.daemon_set["spec"]["template"]["metadata"]["labels"] = json!({"app": "corp-net", "k8s-app": "corp"});
        let take = "- field: DaemonSet/calico-node:spec.selector\n  decision: take\n  why: back to upstream\n";
        let said = plan::decisions::read(take).expect("it is a file of decisions");
        let plan = plan::make(&start.inventory(&live), &catalogue, &runbook, &request(said));
        let plan = plan.unwrap_or_else(|error| panic!("{} {}: {error:?}", start.release, start.flavour));
        let changes: Vec<_> = plan.changes().filter(|change| change.object.kind == Kind::DaemonSet).collect();
        assert_eq!(changes.first().map(|change| change.verb()), Some("recreate"));
        let body = after(&plan, &live).daemon_set;
        assert_eq!(body["spec"]["selector"], json!({"matchLabels": {"k8s-app": "calico-node"}}));
        let labels = json!({"app": "corp-net", "k8s-app": "calico-node"});
        assert_eq!(body["spec"]["template"]["metadata"]["labels"], labels);
        let picked = [plan.roll().map(|roll| &roll.selector), plan.verification().map(|verify| &verify.selector)];
        assert_eq!(picked, [Some(&"k8s-app=calico-node".to_owned()); 2]);
    }
}
