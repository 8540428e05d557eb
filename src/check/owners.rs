//! Who else writes Calico's objects. Such a tool puts back what we change, in the middle of a run or days later.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{BLOCKED, Finding, Severity};
use crate::{
    inventory::{Inventory, Owner, Tool},
    resource::{Document, ObjectRef},
};

/// Labels and annotations that a tool leaves: the start of the key, and the only value that counts if one does.
const MARKS: [(Tool, &str, Option<&str>); 16] = [
    (Tool::ArgoCd, "argocd.argoproj.io/", None),
    (Tool::Flux, "kustomize.toolkit.fluxcd.io/", None),
    (Tool::Flux, "helm.toolkit.fluxcd.io/", None),
    (Tool::Flux, "fluxcd.io/sync-", None),
    (Tool::AddonManager, "addonmanager.kubernetes.io/mode", Some("Reconcile")),
    (Tool::Kops, "addon.kops.k8s.io/", None),
    (Tool::Kops, "k8s-addon", None),
    (Tool::Kops, "role.kubernetes.io/networking", None),
    (Tool::K3s, "objectset.rio.cattle.io/", None),
    (Tool::K3s, "helm.cattle.io/", None),
    (Tool::K0s, "k0s.k0sproject.io/", None),
    (Tool::Kapp, "kapp.k14s.io/", None),
    (Tool::Helm, "meta.helm.sh/release-name", None),
    (Tool::Helm, "app.kubernetes.io/managed-by", Some("Helm")),
    (Tool::Helm, "heritage", Some("Tiller")),
    (Tool::Kubespray, "kubespray.", None),
];

/// Names under which tools write, as Kubernetes v1.18 and later record them.
const MANAGERS: [(Tool, &[&str]); 7] = [
    (Tool::ArgoCd, &["argocd-controller", "argocd-application-controller"]),
    (Tool::Flux, &["kustomize-controller", "helm-controller", "flux"]),
    (Tool::Kops, &["kops", "channels"]),
    (Tool::K3s, &["k3s", "rke2", "deploy@"]),
    (Tool::K0s, &["k0s"]),
    (Tool::Kapp, &["kapp", "kapp-server"]),
    (Tool::Helm, &["helm", "Helm", "Tiller"]),
];

/// Lists the signs of tools in one object; `managers` are those that the server names.
pub fn signs<'m>(object: &ObjectRef, body: &Value, managers: impl Iterator<Item = &'m str>) -> Vec<Owner> {
    let owner = |(tool, sign)| Owner { tool, object: object.clone(), sign };
    let mut all: BTreeSet<(Tool, String)> = BTreeSet::new();
    for metadata in ["/metadata", "/spec/template/metadata"].into_iter().filter_map(|path| body.pointer(path)) {
        all.extend(marks(metadata));
    }
    all.extend(managers.filter_map(manager));
    all.extend(of_content(body));
    all.into_iter().map(owner).collect()
}

fn marks(metadata: &Value) -> Vec<(Tool, String)> {
    let pairs = |what: &str| metadata[what].as_object().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for (what, pairs) in [("label", pairs("labels")), ("annotation", pairs("annotations"))] {
        for (key, value) in &pairs {
            let value = value.as_str().unwrap_or_default();
            let is_mark = |(_, start, only): &&(Tool, &str, Option<&str>)| {
                key.starts_with(start) && only.is_none_or(|only| only == value)
            };
            found.extend(MARKS.iter().find(is_mark).map(|(tool, ..)| (*tool, format!("{what} {key}={value}"))));
        }
        // The older mark of the addon manager; the newer one may say that it leaves the object alone.
        let is_cluster_service = pairs.get("kubernetes.io/cluster-service").is_some_and(|value| value == "true");
        if is_cluster_service && !pairs.contains_key("addonmanager.kubernetes.io/mode") {
            found.push((Tool::AddonManager, format!("{what} kubernetes.io/cluster-service=true")));
        }
    }
    found
}

fn manager(name: &str) -> Option<(Tool, String)> {
    // Some write their host or version behind their name.
    let is = |known: &&str| name == *known || (known.ends_with('@') && name.starts_with(*known));
    let found = MANAGERS.iter().find(|(_, names)| names.iter().any(is));
    found.map(|(tool, _)| (*tool, format!("field manager {name}")))
}

/// Signs in what an object holds: images, paths of the host, the type of the cluster.
fn of_content(body: &Value) -> Vec<(Tool, String)> {
    let pod = &body["spec"]["template"]["spec"];
    let items = |list: &str| pod[list].as_array().cloned().unwrap_or_default();
    let containers: Vec<Value> = items("containers").into_iter().chain(items("initContainers")).collect();
    let images = containers.iter().filter_map(|one| one["image"].as_str()).filter_map(|image| {
        let tool = match image {
            image if image.contains("rancher/mirrored-calico-") => Tool::K3s,
            image if image.contains("rancher/calico-") => Tool::Rke,
            _ => return None,
        };
        Some((tool, format!("image {image}")))
    });
    let volumes = items("volumes");
    let paths = volumes.iter().filter_map(|volume| volume["hostPath"]["path"].as_str());
    let paths = paths.filter(|path| path.starts_with("/var/snap/microk8s/"));
    let paths = paths.map(|path| (Tool::Microk8s, format!("host path {path}")));
    let variables = containers.iter().flat_map(|one| one["env"].as_array().cloned().unwrap_or_default());
    let of_type = variables.filter(|one| one["name"] == "CLUSTER_TYPE");
    let types = of_type.filter_map(|one| one["value"].as_str().map(|text| format!("CLUSTER_TYPE {text}")));
    let in_map = body["data"]["cluster_type"].as_str().map(|text| format!("cluster_type {text}"));
    let types = types.chain(in_map).flat_map(|sign| cluster_types(&sign));
    images.chain(paths).chain(types).collect()
}

fn cluster_types(sign: &str) -> Vec<(Tool, String)> {
    let known = [("kubespray", Tool::Kubespray), ("kubeadm", Tool::Kubeadm)];
    let is = |word: &str| sign.split([',', ' ']).any(|part| part == word);
    known.into_iter().filter(|(word, _)| is(word)).map(|(_, tool)| (tool, sign.to_owned())).collect()
}

pub(super) fn findings(inventory: &Inventory) -> Vec<Finding> {
    of_owners(&inventory.owners)
}

/// The owners of further objects that a plan changes.
pub fn owners_of_changed<'o>(changed: impl Iterator<Item = (&'o ObjectRef, &'o Document)>) -> Vec<Finding> {
    let owners: Vec<Owner> =
        changed.flat_map(|(object, body)| signs(object, &body.value(), std::iter::empty())).collect();
    of_owners(&owners)
}

/// One finding for each tool, with all of its signs.
fn of_owners(owners: &[Owner]) -> Vec<Finding> {
    let found = Tool::ALL.into_iter().filter_map(|tool| {
        let of_tool: Vec<&Owner> = owners.iter().filter(|owner| owner.tool == tool).collect();
        (!of_tool.is_empty()).then(|| finding(tool, &of_tool))
    });
    found.collect()
}

fn finding(tool: Tool, owners: &[&Owner]) -> Finding {
    let objects: BTreeSet<&ObjectRef> = owners.iter().map(|owner| &owner.object).collect();
    let lines = owners.iter().map(|owner| format!("{}: {}", owner.object, owner.sign)).collect();
    let title = format!("{} owns {} objects that the upgrade changes", tool.name(), objects.len());
    let Conduct { severity, why, now } = conduct(tool);
    Finding::new("CU-C014", severity, title).evidence(super::cluster::shorten(lines)).why(why).now(now)
}

/// What a tool does to a run, and what to do about it.
struct Conduct {
    severity: Severity,
    why: &'static str,
    now: &'static str,
}

fn conduct(tool: Tool) -> Conduct {
    let stops = |why, now| Conduct { severity: Severity::Mandatory { exit: BLOCKED }, why, now };
    let warns = |why, now| Conduct { severity: Severity::Advisory, why, now };
    match tool {
        Tool::ArgoCd => stops(
            "a sync puts back what is in Git, also in the middle of the roll, and pruning may delete definitions",
            "switch automated sync and prune of the application off, then add --gitops ignore=REASON; \
             put the new manifests into Git before it is switched on again",
        ),
        Tool::Flux => stops(
            "a reconciliation puts back what is in Git, also in the middle of the roll",
            "flux suspend kustomization NAME (or helmrelease NAME), then add --gitops ignore=REASON; \
             put the new manifests into Git before it is resumed",
        ),
        Tool::AddonManager => stops(
            "the addon manager puts the files of the control plane back about once a minute",
            "take Calico's files out of the addon folder of every control plane node, then add --gitops ignore=REASON",
        ),
        Tool::Kops => stops(
            "kOps applies its addon again whenever the channel changes, and with each kops update",
            "upgrade Calico with kOps, or take the addon out of its channel and add --gitops ignore=REASON",
        ),
        Tool::Rke => stops(
            "the next rke up deploys the Calico of RKE again",
            "upgrade Calico with RKE (network plug-in images in cluster.yml), or add --gitops ignore=REASON",
        ),
        Tool::K3s => stops(
            "its controller applies the bundled chart or manifest again at each start of a server",
            "upgrade RKE2 or k3s, which bring their Calico along, or add --gitops ignore=REASON",
        ),
        Tool::K0s => stops(
            "k0s applies its stack again as soon as an object differs",
            "upgrade k0s, which brings its Calico along, or add --gitops ignore=REASON",
        ),
        Tool::Microk8s => stops(
            "MicroK8s applies args/cni-network/cni.yaml again when it is refreshed or restarted",
            "make the same changes in that file on every node, then add --gitops ignore=REASON",
        ),
        Tool::Kapp => stops(
            "the next kapp deploy puts its objects back",
            "keep kapp-controller from reconciling (paused: true), then add --gitops ignore=REASON",
        ),
        Tool::Helm => stops(
            "the next helm upgrade or rollback puts back what is in its chart, and whoever runs it by machine does so soon",
            "keep the release from being upgraded meanwhile, then add --gitops ignore=REASON",
        ),
        Tool::Kubespray => warns(
            "Kubespray does not watch, but its next run puts its own manifests back",
            "set calico_version in its variables to the new release before it is run again",
        ),
        Tool::Kubeadm => warns(
            "kubeadm itself leaves Calico alone; what joined or built the cluster with it may apply an old manifest again",
            "put the new manifests where new clusters and control planes take theirs from",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind;
    use serde_json::json;

    fn found(body: &Value, managers: &[&str]) -> Vec<Tool> {
        let object = ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node");
        let mut tools: Vec<_> =
            signs(&object, body, managers.iter().copied()).into_iter().map(|owner| owner.tool).collect();
        tools.dedup();
        tools
    }

    fn container(container: Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    }

    #[test]
    fn each_tool_is_known_by_the_signs_that_it_leaves() {
        let label = |key: &str, value: &str| json!({"metadata": {"labels": {key: value}}});
        let note = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
        let cases = [
            (Tool::ArgoCd, note("argocd.argoproj.io/tracking-id", "calico:apps/DaemonSet:kube-system/calico-node")),
            (Tool::ArgoCd, label("argocd.argoproj.io/instance", "calico")),
            (Tool::Flux, label("kustomize.toolkit.fluxcd.io/name", "net")),
            (Tool::Flux, label("helm.toolkit.fluxcd.io/name", "net")),
            (Tool::Flux, note("fluxcd.io/sync-checksum", "1")),
            (Tool::AddonManager, label("addonmanager.kubernetes.io/mode", "Reconcile")),
            (Tool::AddonManager, label("kubernetes.io/cluster-service", "true")),
            (Tool::Kops, label("k8s-addon", "networking.projectcalico.org")),
            (Tool::Kops, label("addon.kops.k8s.io/name", "networking.projectcalico.org")),
            (Tool::Kops, label("role.kubernetes.io/networking", "1")),
            (Tool::Rke, container(json!({"image": "rancher/calico-node:v3.1.1"}))),
            (Tool::K3s, container(json!({"image": "registry/rancher/mirrored-calico-node:v3.26.1"}))),
            (Tool::K3s, note("objectset.rio.cattle.io/id", "")),
            (Tool::K0s, label("k0s.k0sproject.io/stack", "calico")),
            (
                Tool::Microk8s,
                json!({"spec": {"template": {"spec": {"volumes": [
                {"hostPath": {"path": "/var/snap/microk8s/current/opt/cni/bin"}}]}}}}),
            ),
            (Tool::Kubespray, json!({"data": {"cluster_type": "kubespray,bgp"}})),
            (
                Tool::Kubespray,
                json!({"spec": {"template": {"metadata": {"annotations": {"kubespray.etcd-cert/serial": "1"}}}}}),
            ),
            (Tool::Kubeadm, container(json!({"env": [{"name": "CLUSTER_TYPE", "value": "k8s,bgp,kubeadm"}]}))),
            (Tool::Helm, note("meta.helm.sh/release-name", "calico")),
            (Tool::Helm, label("heritage", "Tiller")),
            (Tool::Kapp, label("kapp.k14s.io/app", "1")),
        ];
        for (tool, body) in cases {
            assert_eq!(found(&body, &[]), [tool], "{body}");
        }
        for (tool, name) in
            [(Tool::ArgoCd, "argocd-controller"), (Tool::Flux, "kustomize-controller"), (Tool::Helm, "helm")]
        {
            assert_eq!(found(&json!({}), &["kubectl-edit", name]), [tool], "{name}");
        }
    }

    #[test]
    fn what_many_objects_carry_is_no_sign() {
        for body in [
            json!({"metadata": {"labels": {"app.kubernetes.io/instance": "calico", "app.kubernetes.io/managed-by": "people"}}}),
            json!({"metadata": {"labels": {"kubernetes.io/cluster-service": "true", "addonmanager.kubernetes.io/mode": "EnsureExists"}}}),
            json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"a\":\"argocd.argoproj.io/x\"}"}}}),
            container(
                json!({"image": "registry.corp/calico/node:v1", "env": [{"name": "CLUSTER_TYPE", "value": "k8s,bgp"}]}),
            ),
        ] {
            assert_eq!(found(&body, &["kubectl", "kubectl-edit", "kube-controller-manager"]), [], "{body}");
        }
    }

    #[test]
    fn a_tool_that_puts_things_back_stops_a_run_and_one_that_is_run_by_hand_only_warns() {
        for tool in Tool::ALL {
            let object = ObjectRef::namespaced(Kind::DaemonSet, "kube-system", "calico-node");
            let owner = Owner { tool, object, sign: "label a=b".to_owned() };
            let findings = of_owners(&[owner.clone(), owner]);
            let expected = if matches!(tool, Tool::Kubespray | Tool::Kubeadm) { None } else { Some(3) };
            assert_eq!((findings.len(), findings[0].blocks()), (1, expected), "{findings:?}");
            assert!(findings[0].title.contains(tool.name()) && findings[0].evidence[0].contains("calico-node"));
            assert!(expected.is_none() || findings[0].now.contains("--gitops ignore=REASON"));
        }
    }
}
