//! A cluster with Calico v3, from a file as upstream publishes them, and what people did to it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::error::{Result, Trying};
use crate::fixture;
use crate::nodes::ready_condition;
use crate::wait::{Seen, wait_until};

/// The manifest of a release of Calico v3 in small.
pub fn published(release: &str) -> PathBuf {
    fixture::path(&format!("calico-{release}.yaml"))
}

/// Lays out Calico v3.29.7 with data and edits by hand, and waits until its pods are ready. Add the nodes first.
pub fn worn_in_v3(plane: &ControlPlane) -> Result<()> {
    let mut objects = fixture::read("calico-v3.29.7.yaml")?;
    objects.iter_mut().for_each(edit);
    plane.create_all(&objects)?;
    for (plural, kind, name, spec) in [
        ("ippools", "IPPool", "default-ipv4-ippool", json!({"cidr": "10.244.0.0/16", "blockSize": 26})),
        ("felixconfigurations", "FelixConfiguration", "default", json!({"logSeverityScreen": "Info"})),
    ] {
        let object =
            json!({"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let path = format!("/apis/crd.projectcalico.org/v1/{plural}");
        plane.api().create(&path, &object).trying(|| format!("create {kind} {name}"))?;
    }
    plane.wait_for_calico()?;
    wait_until("ready pods of calico-kube-controllers and calico-typha", || {
        let pods = plane.pods("k8s-app in (calico-kube-controllers,calico-typha)")?;
        let ready = pods.iter().filter(|pod| ready_condition(pod) == Some("True")).count();
        Ok(if ready == 2 { Seen::Yes(()) } else { Seen::NotYet(format!("{ready} ready")) })
    })
}

/// Lays out a file as upstream publishes it, and waits until all of its pods are ready. Add the nodes first.
pub fn lay_out_published(plane: &ControlPlane, path: &Path) -> Result<()> {
    plane.create_all(&fixture::read_path(path)?)?;
    wait_until("ready pods of Calico", || {
        let pods = plane.api().list("/api/v1/namespaces/kube-system/pods").trying(|| "list the pods".to_owned())?;
        let ready = pods.iter().filter(|pod| ready_condition(pod) == Some("True")).count();
        let all = pods.len();
        Ok(if all > 3 && ready == all { Seen::Yes(()) } else { Seen::NotYet(format!("{ready} of {all}")) })
    })
}

/// A variable more, another MTU in the middle of the CNI configuration, a label, and no limit to the history of Typha.
fn edit(object: &mut Value) {
    match object["kind"].as_str() {
        Some("DaemonSet") => {
            object["metadata"]["labels"]["team"] = json!("network");
            let node = object.pointer_mut("/spec/template/spec/containers/0/env").and_then(Value::as_array_mut);
            node.into_iter().for_each(|env| env.push(json!({"name": "FELIX_IPV6SUPPORT", "value": "false"})));
        }
        Some("Deployment") if object["metadata"]["name"] == "calico-typha" => {
            object["spec"]["revisionHistoryLimit"] = json!(5)
        }
        Some("ConfigMap") => {
            let text = object["data"]["cni_network_config"].as_str().unwrap_or_default();
            object["data"]["cni_network_config"] = json!(text.replace("__CNI_MTU__", "1440"));
        }
        _ => {}
    }
}
