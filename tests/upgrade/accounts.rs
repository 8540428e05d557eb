//! The account of a run, here and on a machine that knows only the cluster's record.

use harness::{Kubernetes, Release};
use tempfile::tempdir;

use crate::lab::{Ran, lab, small, upgrade};

#[test]
fn a_run_leaves_its_page_and_any_machine_can_tell_what_the_record_knows() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    lab.tool(&upgrade("run")).exits(0);
    let page = std::fs::read_to_string(lab.run_directory().join("report.html")).unwrap();
    assert!(page.contains("All is well") && page.contains("node-1"), "{page}");
    let here = lab.tool(&["report", "-o", "json"]).exits(0).json();
    let unseen = serde_json::json!(["packets between nodes (no --probe-image)"]);
    assert_eq!((&here["verdict"], &here["skipped"]), (&"well".into(), &unseen));
    let measured = here["timeline"]["nodes"].as_array().unwrap().iter().filter(|node| node["is_gap_measured"] == true);
    assert_eq!(measured.count(), crate::lab::NODES);

    let elsewhere = tempdir().unwrap();
    let far = Ran::of(lab.command_in(elsewhere.path(), &["report", "--format", "text"]));
    far.exits(0).says("is done").says("skipped  claims").says("skipped  what the backup holds");
    let missing = Ran::of(lab.command_in(elsewhere.path(), &["report", "000000"]));
    missing.exits(65).says("CU-E067");
}
