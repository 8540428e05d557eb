use serde_json::Value;

use crate::{
    inventory::{CORDONED_BY, Datastore, Fact, Install, NodeFacts},
    resource::{Kind, Live, ObjectRef, Taint, selector_of},
    runbook::{Catalogue, environment, flavour_of, is_supplied, split_image},
};

/// The service account of calico-node in the manifest for kubeadm, and in no other.
const KUBEADM_ACCOUNT: &str = "calico-cni-plugin";

/// Answers whether a DaemonSet is a Calico, and which; `config` are the values that its environment may come from.
pub(super) fn recognise(live: &Live, config: &Value, catalogue: &Catalogue) -> Option<Install> {
    let body = live.document.value();
    // A DaemonSet of ours may run the images of Calico for a while.
    if body["metadata"]["labels"]["app.kubernetes.io/name"] == "calico-upgrader" {
        return None;
    }
    let containers = body.pointer("/spec/template/spec/containers")?.as_array()?;
    let node = containers.iter().find(|one| is_node(one))?;
    let first = body.pointer("/spec/template/spec/initContainers").and_then(Value::as_array);
    let all = containers.iter().chain(first.into_iter().flatten());
    let cni = all.map(image).find(|image| split_image(image).0.ends_with("calico/cni"));
    let release = release_of(&image(node), cni.as_deref(), catalogue);
    let is_newer = release.known().is_some_and(|release| is_supplied(*release));
    Some(Install {
        daemon_set: ObjectRef::namespaced(Kind::DaemonSet, live.namespace.clone().unwrap_or_default(), &live.name),
        selector: selector_of(&body),
        config_map: config_map_of(live),
        release,
        flavour: flavour_of(containers, node, config),
        datastore: if is_newer { newer_datastore_of(node, config) } else { datastore_of(node, config) },
        node_image: image(node),
        cni_image: cni,
        is_kubeadm: is_kubeadm(&body, config),
        own_etcd: None,
        controllers: Vec::new(),
    })
}

/// The manifest for kubeadm has a service account of its own, from v2.1 on, and speaks to its etcd without certificates.
fn is_kubeadm(body: &Value, config: &Value) -> bool {
    let account = body.pointer("/spec/template/spec/serviceAccountName");
    let has = |key: &str| config["data"].get(key).is_some();
    account.is_some_and(|name| name == KUBEADM_ACCOUNT) || (has("etcd_endpoints") && !has("etcd_ca"))
}

fn is_node(container: &Value) -> bool {
    container["name"] == "calico-node" || is_node_image(&image(container))
}

fn image(container: &Value) -> String {
    container["image"].as_str().unwrap_or_default().to_owned()
}

/// Answers whether an image is calico/node, whatever the registry.
pub(super) fn is_node_image(image: &str) -> bool {
    split_image(image).0.ends_with("calico/node")
}

fn tag(image: &str) -> Option<&str> {
    image.split('@').next()?.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'))
}

fn release_of(node: &str, cni: Option<&str>, catalogue: &Catalogue) -> Fact<crate::version::Version> {
    match tag(node) {
        Some(node_tag) => match catalogue.recognise(node_tag, cni.and_then(tag)) {
            Some(release) => Fact::Known(release),
            None => {
                Fact::unknown(format!("no release is known with image {node} and {}", cni.unwrap_or("no calico/cni")))
            }
        },
        None => Fact::unknown(format!("image {node} has no tag")),
    }
}

fn datastore_of(node: &Value, config: &Value) -> Fact<Datastore> {
    let has_etcd = node["env"].as_array().into_iter().flatten().any(|one| one["name"] == "ETCD_ENDPOINTS");
    match (environment(node, "DATASTORE_TYPE", config), has_etcd) {
        (Some("kubernetes"), false) => Fact::Known(Datastore::Kubernetes),
        (Some("etcdv2") | None, true) => Fact::Known(Datastore::Etcd),
        (kind, _) => Fact::unknown(format!(
            "calico-node has DATASTORE_TYPE {} and {} ETCD_ENDPOINTS",
            kind.unwrap_or("unset"),
            if has_etcd { "also" } else { "no" }
        )),
    }
}

/// From v3.0 on etcd is spoken to by its v3 API.
fn newer_datastore_of(node: &Value, config: &Value) -> Fact<Datastore> {
    match environment(node, "DATASTORE_TYPE", config) {
        Some("kubernetes") => Fact::Known(Datastore::Kubernetes),
        _ => Fact::unknown("Calico v3 keeps its data in etcd's v3 keys here, which this version does not read"),
    }
}

/// Names the ConfigMap of a Calico; `None` if the DaemonSet is no Calico.
pub(super) fn config_map_of(live: &Live) -> Option<ObjectRef> {
    let body = live.document.value();
    let containers = body.pointer("/spec/template/spec/containers")?.as_array()?;
    containers.iter().find(|one| is_node(one))?;
    let variables = containers.iter().flat_map(|container| container["env"].as_array().into_iter().flatten());
    let name = variables.filter_map(|one| one.pointer("/valueFrom/configMapKeyRef/name")?.as_str()).next()?;
    Some(ObjectRef::namespaced(Kind::ConfigMap, live.namespace.clone().unwrap_or_default(), name))
}

/// Reads a node.
pub(super) fn node_facts(node: &Value) -> NodeFacts {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let conditions = node["status"]["conditions"].as_array();
    let labels = node["metadata"]["labels"].as_object();
    let has_label = |label: &str| labels.is_some_and(|labels| labels.contains_key(label));
    NodeFacts {
        name: name.to_owned(),
        is_ready: conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True"),
        is_cordoned: node["spec"]["unschedulable"] == true,
        is_control_plane: ["node-role.kubernetes.io/master", "node-role.kubernetes.io/control-plane"]
            .into_iter()
            .any(has_label),
        cordoned_by: node["metadata"]["annotations"].get(CORDONED_BY).and_then(Value::as_str).map(str::to_owned),
        taints: Taint::all_of(node),
        labels: labels.cloned().unwrap_or_default(),
        pod: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Flavour;
    use serde_json::json;

    fn on_etcd(backend: &str) -> (Value, Value) {
        let from = |key: &str| json!({"configMapKeyRef": {"name": "calico-config", "key": key}});
        let node = json!({"name": "calico-node", "env": [{"name": "ETCD_ENDPOINTS", "valueFrom": from("etcd_endpoints")},
            {"name": "CALICO_NETWORKING_BACKEND", "valueFrom": from("calico_backend")}]});
        (node, json!({"data": {"etcd_endpoints": "http://e", "etcd_ca": "", "calico_backend": backend}}))
    }

    #[test]
    fn on_etcd_the_config_map_says_whether_there_is_networking() {
        for (backend, flavour) in [("bird", Flavour::Networking), ("none", Flavour::PolicyOnly)] {
            let (node, config) = on_etcd(backend);
            assert_eq!(flavour_of(std::slice::from_ref(&node), &node, &config), Fact::Known(flavour));
            assert_eq!(datastore_of(&node, &config), Fact::Known(Datastore::Etcd));
        }
        let (node, config) = on_etcd("gobgp");
        assert!(flavour_of(std::slice::from_ref(&node), &node, &config).known().is_none());
        let (mut node, config) = on_etcd("bird");
        node["env"][1] = json!({"name": "CALICO_NETWORKING", "value": "false"});
        assert!(flavour_of(std::slice::from_ref(&node), &node, &config).known().is_none(), "v2.0 without BGP");
    }

    #[test]
    fn the_manifest_for_kubeadm_is_known_by_its_account_or_by_an_etcd_without_certificates() {
        let (_, hosted) = on_etcd("bird");
        let kubeadm = json!({"data": {"etcd_endpoints": "http://10.96.232.136:6666"}});
        let body = |account: &str| json!({"spec": {"template": {"spec": {"serviceAccountName": account}}}});
        assert!(!is_kubeadm(&body("calico-node"), &hosted));
        assert!(is_kubeadm(&body("calico-cni-plugin"), &hosted));
        assert!(is_kubeadm(&body("default"), &kubeadm));
    }
}
