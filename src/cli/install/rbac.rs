//! From rights to roles: one rule for each set of verbs, as few roles as there are namespaces.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::templates;
use crate::{
    cluster::{Granted, Places, Right},
    door::NAMESPACE,
    observe::{ACCOUNT_OF_RUNS, INSTALL, Mode},
    version::Version,
};

/// What names the objects of a mode.
pub fn account(mode: Mode) -> &'static str {
    match mode {
        Mode::Plan => "calico-upgrader-plan",
        Mode::Run => ACCOUNT_OF_RUNS,
        Mode::Rollback => "calico-upgrader-rollback",
        Mode::AsJob => "calico-upgrader-as-job",
    }
}

/// The account of a mode with its roles and bindings.
pub fn objects(
    mode: Mode,
    rights: &[Right],
    given: &BTreeSet<Granted>,
    places: &Places,
    kubernetes: Version,
) -> Vec<Value> {
    let name = account(mode);
    let [mut service_account] = templates::objects("account.yaml");
    service_account["metadata"]["name"] = json!(name);
    let mut all = templates::ground(kubernetes);
    all.push(service_account);
    let mut by_namespace: BTreeMap<Option<String>, Vec<Granted>> = BTreeMap::new();
    for right in rights {
        by_namespace.entry(right.namespace.clone()).or_default().extend(as_granted(right, places));
    }
    if mode == Mode::AsJob {
        by_namespace.entry(Some(NAMESPACE.to_owned())).or_default().push(reading_logs());
    }
    if let Mode::Run | Mode::Rollback = mode {
        telling().for_each(|(namespace, granted)| by_namespace.entry(Some(namespace)).or_default().push(granted));
    }
    for (namespace, granted) in by_namespace {
        all.extend(role(name, namespace.as_deref(), &granted, kubernetes));
    }
    if !given.is_empty() {
        let given: Vec<Granted> = given.iter().cloned().collect();
        // Of a role of its own, so that whoever reviews it sees what the program holds only to be able to give it to Calico.
        all.extend(bound(&format!("{name}-gives"), name, None, &given, kubernetes));
    }
    all
}

/// To write Events on the objects that a run touches; those on nodes lie in `default`. No run needs them, so no check asks for them.
fn telling() -> impl Iterator<Item = (String, Granted)> {
    let (verb, resource) = ("create".to_owned(), "events".to_owned());
    let granted = Granted { verb, group: String::new(), resource, names: Vec::new() };
    ["default", INSTALL, NAMESPACE].map(|namespace| (namespace.to_owned(), granted.clone())).into_iter()
}

/// To show what the pods of a Job write. Without it the run record is shown, so no check asks for it.
fn reading_logs() -> Granted {
    Granted { verb: "get".to_owned(), group: String::new(), resource: "pods/log".to_owned(), names: Vec::new() }
}

fn role(name: &str, namespace: Option<&str>, granted: &[Granted], kubernetes: Version) -> [Value; 2] {
    bound(name, name, namespace, granted, kubernetes)
}

/// A role with its binding to an account.
fn bound(name: &str, account: &str, namespace: Option<&str>, granted: &[Granted], kubernetes: Version) -> [Value; 2] {
    let file = if namespace.is_some() { "role.yaml" } else { "cluster-role.yaml" };
    let [mut role, mut binding] = templates::objects(file);
    role["rules"] = json!(rules(granted));
    binding["roleRef"]["name"] = json!(name);
    binding["subjects"][0]["name"] = json!(account);
    for object in [&mut role, &mut binding] {
        object["apiVersion"] = json!(templates::rbac_version(kubernetes));
        object["metadata"]["name"] = json!(name);
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
    }
    [role, binding]
}

fn as_granted(right: &Right, places: &Places) -> Option<Granted> {
    let place = places.find(right.kind)?;
    Some(Granted {
        verb: right.verb.name().to_owned(),
        group: place.group.to_owned(),
        resource: match &right.part {
            Some(part) => format!("{}/{part}", place.plural),
            None => place.plural.to_owned(),
        },
        names: right.name.clone().into_iter().collect(),
    })
}

/// What a rule is about: a group, resources of it, and the names that it is limited to.
type Subject = (String, Vec<String>, Vec<String>);

/// Gathers rights that differ in one thing only: first the verbs of an object, then the names, then the resources.
fn rules(granted: &[Granted]) -> Vec<Value> {
    let mut verbs: BTreeMap<(String, String, Vec<String>), BTreeSet<String>> = BTreeMap::new();
    for one in granted {
        let object = (one.group.clone(), one.resource.clone(), one.names.clone());
        verbs.entry(object).or_default().insert(one.verb.clone());
    }
    let mut names: BTreeMap<(String, String, bool, BTreeSet<String>), Vec<String>> = BTreeMap::new();
    for ((group, resource, limited), verbs) in verbs {
        names.entry((group, resource, limited.is_empty(), verbs)).or_default().extend(limited);
    }
    let mut resources: BTreeMap<(String, Vec<String>, BTreeSet<String>), Vec<String>> = BTreeMap::new();
    for ((group, resource, _, verbs), names) in names {
        resources.entry((group, names, verbs)).or_default().push(resource);
    }
    let rule = |((group, names, verbs), resources)| rule(&(group, resources, names), &verbs);
    resources.into_iter().map(rule).collect()
}

fn rule((group, resources, names): &Subject, verbs: &BTreeSet<String>) -> Value {
    let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(verb: &str, resource: &str, name: Option<&str>) -> Granted {
        let names = name.map(str::to_owned).into_iter().collect();
        Granted { verb: verb.to_owned(), group: String::new(), resource: resource.to_owned(), names }
    }

    #[test]
    fn rights_become_few_rules_and_none_wider_than_they_were() {
        let all = [
            granted("get", "pods", None),
            granted("list", "pods", None),
            granted("get", "secrets", Some("a")),
            granted("get", "secrets", Some("b")),
            granted("update", "secrets", Some("b")),
            granted("get", "configmaps", Some("a")),
        ];
        assert_eq!(
            rules(&all),
            [
                json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}),
                json!({"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get"], "resourceNames": ["a"]}),
                json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "update"], "resourceNames": ["b"]}),
            ]
        );
    }
}
