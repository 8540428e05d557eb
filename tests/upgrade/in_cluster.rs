//! The program as it runs in a cluster: its account holds exactly the printed rights, and its pod is printed as well.

use std::{process::Command, time::Duration};

use harness::{Kubernetes, Release, Seen, wait_until};
use serde_json::{Value, json};

use crate::{
    lab::{Ran, lab, small, upgrade},
    printed::{InCluster, apply, collection, printed, token, uses_all_but, words},
    recreated::{customized, with_consent},
    tier::versions,
};

/// Rights that this upgrade does not use, and why they are granted.
const UNUSED_BY_A_RUN: [(&str, &str); 7] = [
    ("get pods in kube-system", "the answer to a deletion may get lost"),
    ("update clusterrolebindings", "people may have changed one"),
    ("update serviceaccounts in kube-system", "people may have changed one"),
    ("create clusterrolebindings", "an older release, or people, may have none"),
    ("create clusterroles", "an older release, or people, may have none"),
    ("create configmaps in kube-system", "an older release, or people, may have none"),
    ("create serviceaccounts in kube-system", "an older release, or people, may have none"),
];

/// Rights that this rollback does not use, and why they are granted.
const UNUSED_BY_A_ROLLBACK: [(&str, &str); 10] = [
    ("get pods in kube-system", "the answer to a deletion may get lost"),
    ("update clusterrolebindings", "the run may have changed one"),
    ("update serviceaccounts in kube-system", "the run may have changed one"),
    ("delete clusterrolebindings", "the run may have made one"),
    ("delete clusterroles", "the run may have made one"),
    ("delete configmaps in kube-system", "the run may have made one"),
    ("delete serviceaccounts in kube-system", "the run may have made one"),
    ("delete daemonsets in kube-system", "the run may have died while images were pulled"),
    ("create leases in calico-upgrader", "people may have removed the lock"),
    ("create configmaps in calico-upgrader", "people may have removed the lock, which this is before v1.14"),
];

/// What probes on simulated nodes do not use besides.
const UNUSED_BY_PROBES: [(&str, &str); 3] = [
    ("create pods in calico-upgrader", "no packet is sent here, so no node is checked with a new pod"),
    ("get pods in calico-upgrader", "no packet is sent here, so no node is checked with a new pod"),
    ("delete pods in calico-upgrader", "no packet is sent here, so no node is checked with a new pod"),
];

#[test]
fn each_mode_works_with_exactly_the_printed_rights() {
    for kubernetes in versions() {
        // Few policies and few data, which are read one by one as well as listed.
        let lab = lab(kubernetes, small(Release::V2_2_1));
        let plan = InCluster::new(&lab, "plan");
        plan.tool(&[upgrade("run"), vec!["--dry-run=client"]].concat()).exits(0);
        let run = InCluster::new(&lab, "run");
        run.tool(&[upgrade("run"), vec!["--until", "copy data"]].concat()).exits(0);
        run.tool(&[upgrade("run"), vec!["--or-resume"]].concat()).exits(0);
        let back = InCluster::new(&lab, "rollback");
        back.tool(&["rollback", "--yes", "--or-resume"]).exits(0);
        uses_all_but(&plan, &[]);
        uses_all_but(&run, &UNUSED_BY_A_RUN);
        uses_all_but(&back, &UNUSED_BY_A_ROLLBACK);
    }
}

#[test]
fn what_is_made_anew_needs_further_rights_which_are_printed_on_wish_and_named_before_anything_changes() {
    for kubernetes in versions() {
        let (lab, start) = customized(kubernetes);
        let plain = InCluster::new(&lab, "run");
        let versions = lab.resource_versions().unwrap();
        let refused = plain.tool(&with_consent("run")).exits(15).says("patch Pod in kube-system");
        refused.says("delete DaemonSet calico-node").says("delete ClusterRoleBinding calico-node");
        assert!(lab.resource_versions().unwrap() == versions, "something was changed");
        lab.back_to(&start);
        let able = InCluster::with(&lab, "run", &["--recreate"]);
        able.tool(&with_consent("run")).exits(0);
        let (granted, used) = (able.granted(), able.used());
        assert_eq!(used.difference(&granted).collect::<Vec<_>>(), Vec::<&String>::new());
        let anew =
            ["patch pods", "delete daemonsets", "create daemonsets"].map(|right| format!("{right} in kube-system"));
        let anew = anew.into_iter().chain(["delete", "create"].map(|verb| format!("{verb} clusterrolebindings")));
        assert_eq!(anew.filter(|right| !used.contains(right)).collect::<Vec<_>>(), Vec::<String>::new());
    }
}

#[test]
fn probes_need_the_rights_that_are_printed_for_them_and_no_other() {
    for kubernetes in versions() {
        let mut lab = lab(kubernetes, small(Release::V2_2_1));
        let watched = [upgrade("run"), vec!["--probe-image", "calico-upgrader:1"]].concat();
        let without = InCluster::new(&lab, "run");
        without.tool(&watched).exits(15).says("get Pod/log in calico-upgrader");
        lab.again();
        let run = InCluster::with(&lab, "run", &["--probes"]);
        run.tool(&[watched.clone(), vec!["--until", "copy data"]].concat()).exits(0);
        run.tool(&[watched, vec!["--or-resume"]].concat()).exits(0).says("skipped packets between nodes (");
        uses_all_but(&run, &[&UNUSED_BY_A_RUN[..], &UNUSED_BY_PROBES[..]].concat());
    }
}

/// Where the files of a pod's account are looked for.
const MOUNTED: &str = "/run/secrets/kubernetes.io/serviceaccount";

#[test]
fn a_pod_needs_no_kubeconfig() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let account = InCluster::new(&lab, "plan");
    let token = token(&lab, &account.account);
    let tool = lab.command(&["discover"]);
    let script = format!(
        "mount -t tmpfs none /run && mkdir -p {MOUNTED} && printf %s \"$TOKEN\" >{MOUNTED}/token && \
         cp \"$AUTHORITY\" {MOUNTED}/ca.crt && printf calico-upgrader >{MOUNTED}/namespace || exit 99; exec \"$@\""
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script, "sh"]).arg(tool.get_program()).args(tool.get_args());
    command.env_remove("KUBECONFIG").env("HOME", "/nowhere").env("TOKEN", token).env("AUTHORITY", lab.authority());
    let endpoint = lab.endpoint();
    let (host, port) = endpoint.trim_start_matches("https://").split_once(':').unwrap();
    command.env("KUBERNETES_SERVICE_HOST", host).env("KUBERNETES_SERVICE_PORT", port);
    let ran = Ran::of(command);
    if ran.exit == Some(99) {
        return crate::lab::skipped("this machine lets us mount nothing");
    }
    ran.exits(0).says("calico-node");
}

#[test]
fn a_verb_that_is_missing_is_named_and_nothing_is_begun() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_2_1));
    let account = InCluster::new(&lab, "run");
    let roles: Vec<&Value> = account.objects.iter().filter(|object| object["rules"].is_array()).collect();
    let mut tried = 0;
    for role in &roles {
        for (at, rule) in role["rules"].as_array().unwrap().iter().enumerate() {
            // One verb of each rule, another one each time; what another rule grants as well is not missing.
            let verbs = words(rule, "verbs");
            let verb = &verbs[at % verbs.len()];
            let resources = words(rule, "resources");
            let is_missed =
                |one: &&String| is_needed_here(rule, one) && !is_held_elsewhere(&roles, role, rule, one, verb);
            let Some(resource) = resources.iter().find(is_missed) else { continue };
            let path = format!("{}/{}", collection(role), role["metadata"]["name"].as_str().unwrap());
            lab.api().replace(&path, &without(role, at, verb)).unwrap();
            wait_until_refused(&account, role, rule, resource, verb);
            let refused = account.tool(&upgrade("run")).exits(15).words.to_lowercase();
            let kind = resource.trim_end_matches("ies").trim_end_matches('s');
            assert!(refused.contains(&format!("{verb} {kind}")), "without {verb} {resource}: {refused}");
            lab.api().replace(&path, role).unwrap();
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried} verbs were taken away");
    let secrets = lab.api().list("/api/v1/namespaces/calico-upgrader/secrets").unwrap();
    let records = secrets.iter().filter(|one| one["metadata"]["labels"]["calico-upgrader/run"].is_string());
    assert_eq!(records.count(), 0, "a run was begun");
}

/// Kinds of other releases, and what canal's flannel needs, are granted for other clusters than this one.
fn is_needed_here(rule: &Value, resource: &str) -> bool {
    let is_other = match rule["apiGroups"][0].as_str().unwrap() {
        "alpha.projectcalico.org" => true,
        "projectcalico.org" => resource.starts_with("globalbgp"),
        // Without Events a run says so and goes on.
        _ => ["nodes/status", "events"].contains(&resource),
    };
    !is_other
}

/// The role without one verb of one rule; a rule without verbs is none.
fn without(role: &Value, at: usize, verb: &str) -> Value {
    let mut less = role.clone();
    let verbs = less["rules"][at]["verbs"].as_array_mut().unwrap();
    verbs.retain(|one| one != verb);
    if verbs.is_empty() {
        less["rules"].as_array_mut().unwrap().remove(at);
    }
    less
}

fn is_held_elsewhere(roles: &[&Value], role: &Value, rule: &Value, resource: &String, verb: &String) -> bool {
    let reaches = |other: &&&Value| {
        let namespace = &other["metadata"]["namespace"];
        namespace.is_null() || *namespace == role["metadata"]["namespace"]
    };
    let rules = roles.iter().filter(reaches).flat_map(|other| other["rules"].as_array().unwrap());
    let others = rules.filter(|other| !std::ptr::eq(*other, rule) && other["resourceNames"].is_null());
    let mut same = others.filter(|other| other["apiGroups"] == rule["apiGroups"]);
    same.any(|other| words(other, "resources").contains(resource) && words(other, "verbs").contains(verb))
}

/// The authorizer learns of a change a moment later.
fn wait_until_refused(account: &InCluster<'_>, role: &Value, rule: &Value, resource: &str, verb: &str) {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = json!({"verb": verb, "group": rule["apiGroups"][0], "resource": resource, "subresource": subresource,
        "namespace": role["metadata"]["namespace"], "name": rule["resourceNames"][0]});
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
        "resourceAttributes": attributes, "user": format!("system:serviceaccount:calico-upgrader:{}", account.account),
        "groups": ["system:serviceaccounts", "system:serviceaccounts:calico-upgrader", "system:authenticated"]}});
    wait_until("a right to be gone", || {
        let answer = account.lab.api().create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).unwrap();
        Ok(match answer["status"]["allowed"] == true {
            true => Seen::NotYet(format!("{verb} {resource} is still held")),
            false => Seen::Yes(()),
        })
    })
    .unwrap();
}

#[test]
fn what_is_printed_is_taken_by_servers_of_then_and_now() {
    for kubernetes in versions() {
        let lab = lab(kubernetes, small(Release::V2_5_1));
        for mode in ["plan", "run", "rollback", "as-job"] {
            for datastore in ["kubernetes", "etcdv2"] {
                apply(&lab, &printed(&lab, &["rbac", "--mode", mode, "--datastore", datastore]));
            }
        }
        let cron = [
            "manifests",
            "--mode",
            "cronjob",
            "--schedule",
            "0 22 * * 2,3",
            "--window",
            "Tue,Wed 22:00-02:00 Europe/Berlin",
        ];
        for arguments in [
            vec!["manifests", "--mode", "plan", "--", "--to", "v2.6"],
            vec!["manifests", "--mode", "rollback"],
            vec!["manifests", "--mode", "job", "--api-server", "10.0.0.1:6443", "--volume-claim", "runs"],
            cron.to_vec(),
        ] {
            apply(&lab, &printed(&lab, &arguments));
        }
        let path = match kubernetes {
            Kubernetes::V1_34 => "/apis/batch/v1",
            Kubernetes::V1_8 => "/apis/batch/v1beta1",
        };
        let stored = lab.api().get(&format!("{path}/namespaces/calico-upgrader/cronjobs/calico-upgrader")).unwrap();
        let pod = &stored["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        assert_eq!((&pod["hostNetwork"], &pod["dnsPolicy"]), (&json!(true), &json!("Default")));
    }
}

#[test]
fn an_evicted_pod_records_where_it_is_and_the_next_one_goes_on_with_the_record_alone() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let run = crate::interruptions::hang_at_a_node(&lab);
    let asked = std::time::Instant::now();
    assert!(Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap().success());
    Ran::end_of(run).exits(143);
    assert!(asked.elapsed() < Duration::from_secs(30), "a kubelet would have killed it");
    lab.nodes().repair("node-2").unwrap();
    let next = InCluster::new(&lab, "run");
    next.tool(&[upgrade("run"), vec!["--or-resume"]].concat()).exits(0).says("done before: back-up");
    next.tool(&[upgrade("run"), vec!["--or-resume"]].concat()).exits(0);
}

#[test]
fn a_run_that_a_person_paused_waits_for_a_person() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    let run = crate::interruptions::hang_at_a_node(&lab);
    lab.tool(&["pause"]).exits(0);
    lab.nodes().repair("node-2").unwrap();
    Ran::end_of(run).exits(11);
    lab.tool(&[upgrade("run"), vec!["--or-resume"]].concat()).exits(11).says("CU-E032").says("calico-upgrader resume");
    lab.tool(&upgrade("resume")).exits(0);
    lab.tool(&[upgrade("run"), vec!["--or-resume"]].concat()).exits(0);
}

#[test]
fn the_node_of_our_own_pod_is_replaced_last_on_the_way_there_and_back() {
    let lab = lab(Kubernetes::V1_34, small(Release::V2_5_1));
    for verb in ["run", "rollback"] {
        let state = tempfile::tempdir().unwrap();
        let mut arguments = upgrade(verb);
        arguments.dedup();
        Ran::of(lab.command_in(state.path(), &arguments).env("NODE_NAME", "node-2")).exits(0);
        let run = std::fs::read_dir(state.path().join("runs")).unwrap().next().unwrap().unwrap().path();
        let journal = std::fs::read_to_string(run.join("journal.jsonl")).unwrap();
        let deleted = journal
            .match_indices("delete Pod on node-")
            .map(|(at, label)| journal[at + label.len()..].split('"').next().unwrap());
        let mut order: Vec<&str> = Vec::new();
        deleted.for_each(|node| {
            if !order.contains(&node) {
                order.push(node)
            }
        });
        assert_eq!(order.last(), Some(&"2"), "{verb}: {order:?}");
        assert_eq!(order.len(), crate::lab::NODES, "{verb}: {order:?}");
    }
}
