//! What others do to the objects of a run is never passed over in silence.

use super::*;
use crate::plan::Omitted;

/// What a person may do to an object midway; `None` deletes it.
fn edits(live: &Document) -> Vec<Option<Document>> {
    let edited = |path: &[&str], value: serde_json::Value| {
        let mut body = live.value();
        if !body["spec"].is_object() {
            body["spec"] = json!({"was": body["spec"]});
        }
        let last = path.iter().fold(&mut body, |at, key| &mut at[*key]);
        *last = value;
        Some(Document::new(body))
    };
    let image = json!([{"name": "calico-node", "image": "of:another"}]);
    vec![
        None,
        edited(&["spec", "replicas"], json!(0)),
        edited(&["spec", "template", "spec", "containers"], image),
        edited(&["metadata", "annotations"], json!({"by": "a person"})),
    ]
}

/// Answers whether the way back speaks of the object: as a change, a finding, or as left with its reason.
fn speaks_of(found: &Result<Plan, RollbackError>, object: &ObjectRef) -> bool {
    let (name, is_definition) = (object.to_string(), object.kind == Kind::CustomResourceDefinition);
    let is_told = |all: &[Finding]| all.iter().flat_map(|one| &one.evidence).any(|line| line.contains(&name));
    match found {
        Ok(back) => {
            let is_left =
                |one: &Omitted| one.name == name || (is_definition && one.name == "CustomResourceDefinitions");
            back.changes().any(|change| change.object == *object)
                || back.omitted.iter().any(is_left)
                || is_told(&back.findings)
        }
        Err(RollbackError::Blocked(all)) => is_told(all),
        Err(RollbackError::Step { .. }) => false,
    }
}

#[test]
fn whatever_others_did_to_an_object_of_the_run_the_way_back_speaks_of_it_unless_it_is_as_before() {
    let mut plan = upgrade("RollingUpdate");
    let typha = |tag: &str| {
        let containers = json!([{"image": format!("calico/typha:{tag}")}]);
        Some(Document::new(json!({"spec": {"replicas": 1, "template": {"spec": {"containers": containers}}}})))
    };
    let Desired::Objects { stages } = &mut plan.steps[2].desired else { panic!("manifests are objects") };
    let object = system(Kind::Deployment, "calico-typha");
    stages.insert(0, Stage::Changes(vec![change(object, typha("v3.30.0"), typha("v3.31.7"))]));
    let (before, mut ended) = (start(&plan), start(&plan));
    make(&mut ended, &plan, usize::MAX);
    for (object, live) in &ended {
        for edit in edits(live) {
            let mut world = ended.clone();
            set(&mut world, object, &edit);
            let is_as_before = before.get(object) == edit.as_ref();
            assert!(is_as_before || speaks_of(&back(&plan, &world, None), object), "{object}: {edit:?}");
        }
    }
}
