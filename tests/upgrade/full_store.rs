//! The store of the API server is full: before a run, and in its middle.

use harness::{Fault, Release};

use crate::{
    lab::{Ran, lab_with_small_store, small, upgrade},
    rolls::wait_until_stuck,
    tier::versions,
};

#[test]
fn a_full_store_stops_a_run_before_it_begins_and_in_its_middle_and_with_room_it_goes_on() {
    for kubernetes in versions() {
        let lab = lab_with_small_store(kubernetes, small(Release::V2_4_1));
        let before = lab.resource_versions().unwrap();
        lab.fill_store().unwrap();
        lab.tool(&upgrade("run")).exits(3).says("CU-E048").says("database space exceeded").says("alarm disarm");
        assert!(lab.resource_versions().unwrap() == before, "a refused run changed something");
        lab.make_room().unwrap();
        lab.nodes().fail("node-2", Fault::NeverReady).unwrap();
        let run = lab.spawn(&[upgrade("run"), vec!["--ready-within", "30m"]].concat());
        wait_until_stuck(&lab, "node-2").unwrap();
        lab.fill_store().unwrap();
        // Nobody waits half an hour for a node that cannot get ready.
        let stopped = Ran::end_of(run).exits(4);
        stopped.says("CU-R016").says("database space exceeded").says("calico-upgrader resume");
        lab.tool(&["status"]).exits(0).says("stopped with exit 4: the store of the API server is full");
        lab.tool(&upgrade("resume")).exits(3).says("CU-E048");
        lab.make_room().unwrap();
        lab.nodes().repair("node-2").unwrap();
        lab.tool(&upgrade("resume")).exits(0);
        lab.tool(&["verify"]).exits(0);
        for node in lab.api().list("/api/v1/nodes").unwrap() {
            assert!(node["spec"]["unschedulable"].is_null(), "{} is cordoned", node["metadata"]["name"]);
        }
    }
}
