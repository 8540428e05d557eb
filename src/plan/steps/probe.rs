//! The objects of the probes: two DaemonSets, since a pod has one network, and the ring that they read.
//!
//! They are not part of a plan's changes: they are about the nodes that are there when the roll begins, and they are gone when it
//! ends. Their pods have no privilege, no account, and tolerate everything, so that every node is seen.

use serde_json::{Value, json};

use crate::{
    plan::Probe,
    probe::{Net, Ring},
    resource::{Digest, Document, Kind, ObjectRef},
};

pub const NAME: &str = "calico-upgrader-probe";

/// What the two DaemonSets are called.
pub const DAEMON_SETS: [&str; 2] = ["calico-upgrader-probe-host", "calico-upgrader-probe-pod"];

/// Picks the pods of all probes.
pub const SELECTOR: &str = "calico-upgrader/part=probe";

/// Picks the pods that checked a node.
pub const CHECKS: &str = "calico-upgrader/part=probe,calico-upgrader/network=new-pod";

/// How long a new pod may take to reach its neighbours, once it runs.
const REACHES_WITHIN: &str = "20s";

/// The nobody that the image runs as.
const USER: u32 = 65532;

/// What makes the probes of a run.
#[derive(Clone, Copy, Debug)]
pub struct Probing<'a> {
    pub probe: &'a Probe,
    pub namespace: &'a str,
    pub run: &'a str,
}

impl Probing<'_> {
    /// The ring, then the DaemonSets that read it.
    pub fn objects(&self, ring: &Ring) -> Vec<(ObjectRef, Document)> {
        let [host, pod] = DAEMON_SETS;
        vec![
            self.object(Kind::ConfigMap, NAME, json!({"data": {"ring": ring.text()}})),
            self.daemon_set(host, Net::Host),
            self.daemon_set(pod, Net::Pod),
        ]
    }

    fn daemon_set(&self, name: &str, net: Net) -> (ObjectRef, Document) {
        let labels = self.labels(net.name());
        let mut pod = self.pod(&[]);
        if net == Net::Host {
            pod["hostNetwork"] = json!(true);
            pod["containers"][0]["args"].as_array_mut().expect("it has arguments").push(json!("--host"));
        }
        let spec = json!({
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "OnDelete"},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        });
        self.object(Kind::DaemonSet, name, json!({"spec": spec}))
    }

    /// A pod that comes once a node is done: it gets an address, reaches the neighbours of the node, and ends.
    pub fn new_pod(&self, node: &str) -> (ObjectRef, Document) {
        let name = format!("{NAME}-{}", Digest::of(node.as_bytes()).short());
        let mut pod = self.pod(&["--once", REACHES_WITHIN]);
        // No scheduler is asked: the node is cordoned still.
        pod["nodeName"] = json!(node);
        pod["restartPolicy"] = json!("Never");
        let (object, document) = self.object(Kind::Pod, &name, json!({"spec": pod}));
        let mut body = document.value();
        body["metadata"]["labels"] = self.labels("new-pod");
        (object, Document::new(body))
    }

    fn object(&self, kind: Kind, name: &str, mut body: Value) -> (ObjectRef, Document) {
        body["metadata"] = json!({"name": name, "namespace": self.namespace, "labels": self.labels("any")});
        (ObjectRef::namespaced(kind, self.namespace, name), Document::new(body))
    }

    fn labels(&self, network: &str) -> Value {
        json!({
            "app.kubernetes.io/name": "calico-upgrader",
            "calico-upgrader/part": "probe",
            "calico-upgrader/network": network,
            "calico-upgrader/run": self.run,
        })
    }

    fn pod(&self, more: &[&str]) -> Value {
        let words = [&["probe", "--ring", "/ring/ring", "--run", self.run], more].concat();
        let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        json!({
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 5,
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {"runAsNonRoot": true, "runAsUser": USER},
            "containers": [{
                "name": "probe",
                "image": self.probe.image,
                "imagePullPolicy": "IfNotPresent",
                "args": words,
                "env": [field("NODE_NAME", "spec.nodeName"), field("POD_IP", "status.podIP")],
                "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                "securityContext": {"readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "ring", "mountPath": "/ring", "readOnly": true}],
            }],
            "volumes": [{"name": "ring", "configMap": {"name": NAME}}],
        })
    }
}

/// Answers whether an object is what this run would make: labels name the run, and nothing else of it is compared.
pub fn is_of_run(found: &Document, run: &str) -> bool {
    found.value()["metadata"]["labels"]["calico-upgrader/run"] == run
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Vec<(ObjectRef, Document)> {
        let probe = Probe { image: "registry.example/calico-upgrader:1".to_owned() };
        let probing = Probing { probe: &probe, namespace: "calico-upgrader", run: "77fada" };
        let ring = Ring::of([("a".to_owned(), "10.0.0.1".parse().unwrap())]);
        probing.objects(&ring).into_iter().chain([probing.new_pod("node-1.example")]).collect()
    }

    #[test]
    fn no_pod_of_a_probe_has_an_account_or_a_privilege() {
        let objects = objects();
        let pods: Vec<Value> = objects[1..]
            .iter()
            .map(|(_, document)| document.value())
            .map(|body| body.pointer("/spec/template/spec").unwrap_or(&body["spec"]).clone())
            .collect();
        assert_eq!(pods.iter().filter(|pod| pod["hostNetwork"] == true).count(), 1);
        for pod in pods {
            assert_eq!(
                (&pod["automountServiceAccountToken"], &pod["tolerations"][0]["operator"]),
                (&json!(false), &json!("Exists"))
            );
            assert_eq!(pod["containers"][0]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        }
    }

    #[test]
    fn selectors_pick_the_pods_and_every_object_names_its_run() {
        for (object, document) in objects() {
            let body = document.value();
            assert!(is_of_run(&document, "77fada") && !is_of_run(&document, "other"), "{object}");
            assert_eq!(
                body["spec"]["selector"]["matchLabels"], body["spec"]["template"]["metadata"]["labels"],
                "{object}"
            );
        }
    }
}
