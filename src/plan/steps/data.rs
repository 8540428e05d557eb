//! Data that the new release would read otherwise gets fields that both read alike, before its definitions are there.

use super::Draft;
use crate::plan::{Desired, ObjectChange, Stage, crossing, make::Materials};

pub fn heal_data(materials: &Materials<'_>) -> Draft {
    let mended = crossing::mended(materials);
    if mended.is_empty() {
        return Draft::nothing("no data has fields that the release drops");
    }
    let summary = format!("{} IPPools that Calico v2 wrote get the fields of v3", mended.len());
    let changes = mended.into_iter().map(|(stored, after)| ObjectChange {
        object: stored.object.clone(),
        before: Some(stored.document.clone()),
        after: Some(after),
        why: "the new definition drops spec.ipip and spec.nat-outgoing; the old release reads both forms alike"
            .to_owned(),
    });
    let stages = vec![Stage::Changes(changes.collect())];
    Draft { desired: Some(Desired::Objects { stages }), summary, ..Draft::default() }
}
