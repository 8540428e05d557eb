//! Policies of controllers that are gone: the new controllers do not know them, so they would stay for ever.
//!
//! Source: projectcalico/calico issue 1484.

use super::Draft;
use crate::{
    inventory::{EtcdFacts, Stored},
    plan::{Desired, ObjectChange, Stage},
};

pub fn remove_leftovers(etcd: Option<&EtcdFacts>) -> Draft {
    let leftovers = etcd.map(|etcd| etcd.leftovers.as_slice()).unwrap_or_default();
    if leftovers.is_empty() {
        return Draft::nothing("old controllers left nothing behind");
    }
    let summary = format!("{} policies of old controllers are removed", leftovers.len());
    let stages = vec![Stage::Changes(leftovers.iter().map(removal).collect())];
    Draft { desired: Some(Desired::Objects { stages }), summary, ..Draft::default() }
}

fn removal(stored: &Stored) -> ObjectChange {
    ObjectChange {
        object: stored.object.clone(),
        before: Some(stored.document.clone()),
        after: None,
        why: "it lets through what a default-deny selects, and no controller of today looks after it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::{Document, Kind, ObjectRef};

    #[test]
    fn a_leftover_is_removed_as_it_was_read() {
        let object = ObjectRef::cluster(Kind::EtcdKey, "/calico/v1/policy/tier/default/policy/k8s-policy-no-match");
        let document = Document::new(json!({"value": "{}"}));
        let stored = Stored { object: object.clone(), document: document.clone() };
        let draft = remove_leftovers(Some(&EtcdFacts { leftovers: vec![stored], ..EtcdFacts::default() }));
        let Some(Desired::Objects { stages }) = draft.desired else { panic!("{}", draft.summary) };
        let [Stage::Changes(changes)] = stages.as_slice() else { panic!("{stages:?}") };
        assert_eq!((&changes[0].object, &changes[0].before, &changes[0].after), (&object, &Some(document), &None));
    }

    #[test]
    fn without_a_leftover_there_is_nothing_to_do() {
        assert!(remove_leftovers(Some(&EtcdFacts::default())).desired.is_none());
        assert!(remove_leftovers(None).desired.is_none());
    }
}
