//! Kills the program at write boundaries of a small upgrade and of what goes on from the kill, and expects the end that an unharmed run
//! has.

use harness::{Release, State};

use crate::{
    kills::Course,
    lab::{Lab, lab, small, upgrade},
    tier::versions,
};

#[test]
fn killed_at_any_write_boundary_the_run_goes_on_to_the_same_end() {
    each(|lab, course| course.killed_once(lab, 8));
}

#[test]
fn killed_again_while_it_recovers_the_run_goes_on_to_the_same_end() {
    each(|lab, course| course.killed_twice(lab, (3, 3)));
}

#[test]
fn killed_at_random_again_and_again_the_run_goes_on_to_the_same_end() {
    each(|lab, course| course.killed_at_random(lab, (3, 100)));
}

fn each(matrix: impl Fn(&mut Lab, &Course<'_>)) {
    for kubernetes in versions() {
        let mut lab = lab(kubernetes, small(Release::V2_2_1));
        let (from, call) = (lab.moment(), upgrade("run"));
        matrix(&mut lab, &Course { call: &call, from: &from, within: "", look: upgraded });
    }
}

/// What was seen: the journal had a step as done, its runner died before the record had it, and the next runner took the step again and
/// died as well. Then the journal could not be believed.
#[test]
fn a_step_that_the_journal_has_as_done_and_the_record_has_not_is_not_taken_again() {
    for step in ["pull-images", "back-up", "copy-resources"] {
        let lab = lab(versions()[0], small(Release::V2_2_1));
        crate::kills::kill_at(&lab, &upgrade("run"), &format!("{step}/done:logged"));
        let after = match step {
            "back-up" => "pull-images/done:logged",
            "pull-images" => "convert-policies/done:logged",
            _ => "apply-manifests/done:logged",
        };
        crate::kills::kill_at(&lab, &upgrade("resume"), after);
        lab.tool(&upgrade("resume")).exits(0).says(step);
        lab.tool(&["verify"]).exits(0);
        lab.tool(&["report"]).exits(0);
    }
}

/// The whole cluster but for the tool's own records, which tell of more runners after a kill.
pub fn upgraded(lab: &Lab) -> State {
    let mut state = lab.cluster_state().unwrap();
    state.retain(|key, _| !key.contains("calico-upgrader"));
    state
}
