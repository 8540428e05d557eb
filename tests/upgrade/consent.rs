//! What a rollback asks for: nothing, a yes, or the name of the run, by what would be lost.

use harness::{Kubernetes, Release, differences};
use serde_json::json;

use crate::{
    kills::kill_at,
    lab::{lab, small, upgrade},
    rollbacks::{BACK, is_as_at_the_start, newest_run, since_start},
};

const POOLS: &str = "/apis/crd.projectcalico.org/v1/ippools";
const CONFIGS: &str = "/apis/crd.projectcalico.org/v1/globalfelixconfigs";

#[test]
fn before_anything_that_runs_is_touched_a_rollback_asks_nothing_and_then_for_a_yes() {
    let mut lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    for phase in ["Back up", "Pull images", "Convert policies", "Copy data"] {
        lab.again();
        lab.tool(&[upgrade("run"), vec!["--until", phase]].concat()).exits(0);
        lab.tool(&["rollback"]).exits(0).says("is taken back");
        is_as_at_the_start(&lab, phase);
    }
    lab.again();
    kill_at(&lab, &upgrade("run"), "roll-nodes/delete Pod on node-2:sent");
    lab.tool(&["rollback"]).exits(10).says("--yes");
    lab.tool(&["rollback", "--confirm", "another"]).exits(10).says("--confirm");
    lab.tool(&["rollback", "--confirm", &newest_run(&lab)]).exits(0);
    is_as_at_the_start(&lab, "a kill at a node");
}

#[test]
fn what_others_wrote_to_the_new_store_is_listed_and_the_name_of_the_run_is_asked_for() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&upgrade("run")).exits(0);
    let run = newest_run(&lab);
    let name = |path: &str| lab.api().list(path).unwrap().remove(0)["metadata"]["name"].as_str().unwrap().to_owned();
    let (pool, config) = (name(POOLS), name(CONFIGS));
    lab.api().merge_patch(&format!("{POOLS}/{pool}"), &json!({"spec": {"disabled": true}})).unwrap();
    lab.api().delete(&format!("{CONFIGS}/{config}")).unwrap();
    let made = json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": "made-since"},
        "spec": {"cidr": "10.9.0.0/16"}});
    lab.api().create(POOLS, &made).unwrap();
    let before = lab.snapshot().unwrap();
    let asked = lab.tool(&BACK).exits(10).says("CU-P023").says(&format!("--confirm {run}"));
    for line in
        [format!("IPPool {pool}: spec.disabled"), "IPPool made-since".into(), format!("GlobalFelixConfig {config}")]
    {
        assert!(asked.words.contains(&line), "`{line}` is not named:\n{}", asked.words);
    }
    lab.tool(&["rollback", "--confirm", "another", "--yes"]).exits(10);
    lab.tool(&["rollback", "--dry-run"]).exits(0).says("CU-P023");
    assert_eq!(differences(before.state(), &lab.cluster_state().unwrap()), Vec::<String>::new());
    lab.tool(&["rollback", "--confirm", &run]).exits(0).says("Left       IPPool made-since");
    let mut kept = [pool, "made-since".to_owned()].map(|name| format!("new: crd.projectcalico.org/ippools//{name}"));
    kept.sort();
    assert_eq!(since_start(&lab), kept);
}
