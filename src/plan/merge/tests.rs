//! The three-way merge, field by field.

use super::*;
use crate::resource::Kind;
use serde_json::json;

fn merge(base: Value, live: Value, new: Value) -> (Value, Vec<String>, Vec<String>) {
    let object = ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node");
    let preferences = Preferences::default();
    let mut merge = Merge::new(&object, &preferences, &[]);
    let merged = merge.object(Some(&base), &live, &new);
    let of = |verdict| merge.decisions.iter().filter(move |one| one.verdict == verdict).map(|one| one.path.clone());
    (merged, of(Verdict::Kept).collect(), of(Verdict::Asked).collect())
}

#[test]
fn a_hand_edit_stays_and_the_release_brings_the_rest() {
    let env = |list: &[(&str, &str)]| {
        let list: Vec<_> = list.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        json!({"env": list})
    };
    let (merged, kept, conflicts) = merge(
        env(&[("MTU", "1440"), ("LOG", "info"), ("GONE", "x")]),
        env(&[("MTU", "1430"), ("LOG", "info"), ("GONE", "x"), ("MINE", "1")]),
        env(&[("MTU", "1440"), ("LOG", "warning"), ("NEW", "y")]),
    );
    assert_eq!(merged, env(&[("MTU", "1430"), ("LOG", "warning"), ("MINE", "1"), ("NEW", "y")]));
    assert_eq!(kept, ["env[MTU].value", "env[MINE]"]);
    assert_eq!(conflicts, Vec::<String>::new());
}

#[test]
fn a_field_that_both_changed_is_asked_for() {
    let (_, _, conflicts) = merge(json!({"a": 1}), json!({"a": 2}), json!({"a": 3}));
    assert_eq!(conflicts, ["a"]);
}

#[test]
fn a_field_that_people_added_stays_even_if_the_release_now_sets_it() {
    let (merged, kept, conflicts) = merge(json!({}), json!({"mtu": 1450}), json!({"mtu": 1500}));
    assert_eq!((merged, kept, conflicts), (json!({"mtu": 1450}), vec!["mtu".to_owned()], vec![]));
}

#[test]
fn what_the_release_was_also_published_with_is_no_hand_edit() {
    let object = ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node");
    let published = |value| Published { object: object.clone(), field: "grace".to_owned(), value };
    let published = [published(Some(json!(10))), published(None)];
    for live in [json!({"grace": 10}), json!({})] {
        let preferences = Preferences::default();
        let mut merge = Merge::new(&object, &preferences, &published);
        let merged = merge.object(Some(&json!({"grace": 20})), &live, &json!({"grace": 5}));
        let kept = merge.decisions.iter().filter_map(Decision::kept).count();
        assert_eq!((merged, kept), (json!({"grace": 5}), 0));
    }
}

#[test]
fn a_private_registry_stays_and_the_tag_follows_the_release() {
    let image = |text: &str| json!({"c": {"image": text}});
    let (merged, kept, _) = merge(
        image("quay.io/calico/node:v1.2.1"),
        image("registry.corp:5000/calico/node:v1.2.1"),
        image("quay.io/calico/node:v2.6.12"),
    );
    assert_eq!(merged, image("registry.corp:5000/calico/node:v2.6.12"));
    assert_eq!(kept, ["c.image (repository)"]);
}

#[test]
fn a_cni_configuration_merges_inside_its_string() {
    let data = |text: &str| json!({"data": {"cni_network_config": text}});
    let (merged, kept, _) = merge(
        data(r#"{"mtu": 1500, "type": "calico"}"#),
        data(r#"{"mtu": 1450, "type": "calico"}"#),
        data(r#"{"mtu": 1500, "type": "calico", "log_level": "info"}"#),
    );
    let text = merged["data"]["cni_network_config"].as_str().unwrap();
    let inside: Value = serde_json::from_str(text).unwrap();
    assert_eq!(inside, json!({"mtu": 1450, "type": "calico", "log_level": "info"}));
    assert_eq!(kept, ["data.cni_network_config:.mtu"]);
}

#[test]
fn what_a_server_filled_in_is_no_hand_edit() {
    let (merged, kept, _) =
        merge(json!({"spec": {}}), json!({"spec": {"progressDeadlineSeconds": 600}}), json!({"spec": {}}));
    assert_eq!((merged, kept), (json!({"spec": {"progressDeadlineSeconds": 600}}), vec![]));
}

#[test]
fn a_configuration_of_one_plugin_keeps_its_edits_when_it_becomes_a_list() {
    let data = |text: &str| json!({"data": {"cni_network_config": text}});
    let (merged, kept, _) = merge(
        data(r#"{"name": "n", "type": "calico", "mtu": 1500}"#),
        data(r#"{"name": "n", "type": "calico", "mtu": 1450}"#),
        data(
            r#"{"name": "n", "cniVersion": "0.3.0", "plugins": [{"type": "calico", "mtu": 1500}, {"type": "portmap"}]}"#,
        ),
    );
    let inside: Value = serde_json::from_str(merged["data"]["cni_network_config"].as_str().unwrap()).unwrap();
    let plugins = json!([{"type": "calico", "mtu": 1450}, {"type": "portmap"}]);
    assert_eq!(inside, json!({"name": "n", "cniVersion": "0.3.0", "plugins": plugins}));
    assert_eq!(kept, ["data.cni_network_config:.plugins[calico].mtu"]);
}

#[test]
fn the_container_of_flannel_stays_as_it_is() {
    let pod = |flannel: Value| json!({"x": {"containers": [{"name": "kube-flannel", "a": flannel}]}});
    let (merged, kept, conflicts) = merge(pod(json!(1)), pod(json!(2)), json!({"x": {"containers": []}}));
    assert_eq!((merged, kept.len(), conflicts.len()), (pod(json!(2)), 0, 0));
}

#[test]
fn the_rights_of_the_old_release_stay_while_its_nodes_run() {
    let (merged, _, _) =
        merge(json!({"rules": [{"a": 1}]}), json!({"rules": [{"a": 1}]}), json!({"rules": [{"b": 2}]}));
    assert_eq!(merged, json!({"rules": [{"a": 1}, {"b": 2}]}));
}
