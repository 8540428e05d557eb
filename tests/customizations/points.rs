//! The objects that people edit, and every point at which they do.

use serde_json::{Value, json};

/// An edit: made once more, it changes nothing.
pub type Edit = fn(&mut Objects);

/// The objects that people edit, by their kind.
#[derive(Clone)]
pub struct Objects {
    pub daemon_set: Value,
    pub config_map: Value,
    pub role: Option<Value>,
}

impl Objects {
    fn container(&mut self, name: &str) -> &mut Value {
        let containers = self.pod()["containers"].as_array_mut().expect("a pod has containers");
        containers.iter_mut().find(|one| one["name"] == name).expect("the release has the container")
    }

    pub fn all(&self) -> Value {
        json!([self.daemon_set, self.config_map, self.role])
    }

    fn pod(&mut self) -> &mut Value {
        &mut self.daemon_set["spec"]["template"]["spec"]
    }

    fn set_env(&mut self, name: &str, value: &str) {
        set(&mut self.container("calico-node")["env"], "name", json!({"name": name, "value": value}));
    }

    fn volume(&mut self, name: &str) -> &mut Value {
        let volumes = self.pod()["volumes"].as_array_mut().expect("the release has volumes");
        volumes.iter_mut().find(|one| one["name"] == name).expect("the release has the volume")
    }

    /// Changes the CNI configuration inside its text.
    pub fn edit_cni(&mut self, edit: impl Fn(&mut Value)) {
        let text = self.config_map["data"]["cni_network_config"].as_str().expect("the release has one");
        let mut inside: Value = serde_json::from_str(text).expect("it is JSON");
        let before = inside.clone();
        edit(&mut inside);
        if inside != before {
            self.config_map["data"]["cni_network_config"] = json!(inside.to_string());
        }
    }

    fn swap_registry(&mut self, container: &str, repository: &str) {
        let image = self.container(container)["image"].as_str().expect("it has an image").to_owned();
        let tag = image.rsplit(':').next().expect("it has a tag");
        self.container(container)["image"] = json!(format!("{repository}:{tag}"));
    }
}

/// Puts an element into a list, in the place of the one with the same key.
fn set(list: &mut Value, key: &str, element: Value) {
    if list.is_null() {
        *list = json!([]);
    }
    let items = list.as_array_mut().expect("it is a list");
    match items.iter_mut().find(|one| one[key] == element[key]) {
        Some(place) => *place = element,
        None => items.push(element),
    }
}

/// Puts an element into a set.
fn add(list: &mut Value, element: Value) {
    if list.is_null() {
        *list = json!([]);
    }
    let items = list.as_array_mut().expect("it is a list");
    if !items.contains(&element) {
        items.push(element);
    }
}

fn remove(list: &mut Value, name: &str) {
    if let Some(items) = list.as_array_mut() {
        items.retain(|one| one["name"] != name);
    }
}

/// The points at which Calico v2.x is customized, whatever it does in the cluster.
pub const ANYWHERE: &[(&str, Edit)] = &[
    ("another default action", |all| all.set_env("FELIX_DEFAULTENDPOINTTOHOSTACTION", "RETURN")),
    ("IPv6 support", |all| all.set_env("FELIX_IPV6SUPPORT", "true")),
    ("a Felix variable of one's own", |all| all.set_env("FELIX_CHAININSERTMODE", "append")),
    ("metrics", |all| all.set_env("FELIX_PROMETHEUSMETRICSENABLED", "true")),
    ("usage reports off", |all| all.set_env("FELIX_USAGEREPORTINGENABLED", "false")),
    ("log level", |all| all.set_env("FELIX_LOGSEVERITYSCREEN", "warning")),
    ("file logging on", |all| all.set_env("CALICO_DISABLE_FILE_LOGGING", "false")),
    ("no default pools", |all| all.set_env("NO_DEFAULT_POOLS", "true")),
    ("a variable from a Secret", |all| {
        let of_secret = json!({"secretKeyRef": {"name": "felix", "key": "level"}});
        let variable = json!({"name": "FELIX_LOGSEVERITYSCREEN", "valueFrom": of_secret});
        set(&mut all.container("calico-node")["env"], "name", variable);
    }),
    ("a variable taken away", |all| remove(&mut all.container("calico-node")["env"], "CALICO_DISABLE_FILE_LOGGING")),
    ("a variable named twice, of which the last is in force", |all| {
        let env = all.container("calico-node")["env"].as_array_mut().expect("a list");
        let in_force = env.iter().rfind(|one| one["name"] == "MINE").map(|one| one["value"].clone());
        if in_force != Some(json!("yes")) {
            env.extend(["no", "yes"].map(|value| json!({"name": "MINE", "value": value})));
        }
    }),
    ("variables from a ConfigMap", |all| {
        all.container("calico-node")["envFrom"] = json!([{"configMapRef": {"name": "kubernetes-services-endpoint"}}]);
    }),
    ("the file name of the CNI configuration", |all| {
        set(
            &mut all.container("install-cni")["env"],
            "name",
            json!({"name": "CNI_CONF_NAME", "value": "05-corp.conf"}),
        );
    }),
    ("mtu in the CNI configuration", |all| all.edit_cni(|cni| cni["mtu"] = json!(1450))),
    ("a name of the CNI network", |all| all.edit_cni(|cni| cni["name"] = json!("corp-network"))),
    ("IPAM of another kind", |all| {
        all.edit_cni(|cni| {
            cni["ipam"] = json!({"type": "calico-ipam", "assign_ipv4": "true", "ipv4_pools": ["10.0.0.0/8"]})
        });
    }),
    ("further keys of the CNI configuration", |all| {
        all.edit_cni(|cni| cni["container_settings"] = json!({"allow_ip_forwarding": true}));
    }),
    ("floating addresses and chained rights in the CNI configuration", |all| {
        all.edit_cni(|cni| cni["feature_control"] = json!({"floating_ips": true}));
    }),
    ("a key of one's own in the ConfigMap", |all| all.config_map["data"]["cluster_type"] = json!("corp")),
    ("the directory of CNI binaries", |all| {
        all.volume("cni-bin-dir")["hostPath"]["path"] = json!("/home/kubernetes/bin")
    }),
    ("the directory of CNI configurations", |all| {
        all.volume("cni-net-dir")["hostPath"]["path"] = json!("/etc/kube/cni")
    }),
    ("the type of a host path", |all| all.volume("var-run-calico")["hostPath"]["type"] = json!("DirectoryOrCreate")),
    ("a volume of another kind", |all| *all.volume("lib-modules") = json!({"name": "lib-modules", "emptyDir": {}})),
    ("a volume and a mount of one's own", |all| {
        set(&mut all.pod()["volumes"], "name", json!({"name": "certs", "secret": {"secretName": "felix-certs"}}));
        let mount = json!({"name": "certs", "mountPath": "/certs", "readOnly": true});
        set(&mut all.container("calico-node")["volumeMounts"], "mountPath", mount);
    }),
    ("a registry of one's own", |all| {
        all.swap_registry("calico-node", "registry.corp:5000/mirror/calico/node");
        all.swap_registry("install-cni", "registry.corp:5000/mirror/calico/cni");
    }),
    ("a pull secret", |all| set(&mut all.pod()["imagePullSecrets"], "name", json!({"name": "registry-corp"}))),
    ("a pull policy", |all| all.container("calico-node")["imagePullPolicy"] = json!("Always")),
    ("a toleration of one's own", |all| {
        add(&mut all.pod()["tolerations"], json!({"operator": "Exists", "effect": "NoExecute"}))
    }),
    ("a node selector", |all| all.pod()["nodeSelector"]["corp.example/calico"] = json!("yes")),
    ("affinity", |all| {
        let rule = json!({"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]});
        all.pod()["affinity"] =
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [rule]}}});
    }),
    ("a priority class", |all| all.pod()["priorityClassName"] = json!("system-node-critical")),
    ("resources", |all| {
        all.container("calico-node")["resources"] = json!({"requests": {"cpu": "400m"}, "limits": {"memory": "512Mi"}});
    }),
    ("the policy of names", |all| all.pod()["dnsPolicy"] = json!("ClusterFirstWithHostNet")),
    ("names of hosts", |all| all.pod()["hostAliases"] = json!([{"ip": "10.0.0.1", "hostnames": ["etcd"]}])),
    ("a scheduler of one's own", |all| all.pod()["schedulerName"] = json!("corp")),
    ("annotations and labels", |all| {
        all.daemon_set["metadata"]["annotations"]["corp.example/owner"] = json!("net");
        all.daemon_set["metadata"]["labels"]["team"] = json!("net");
    }),
    ("annotations and labels of the pods", |all| {
        let metadata = &mut all.daemon_set["spec"]["template"]["metadata"];
        metadata["annotations"]["linkerd.io/inject"] = json!("disabled");
        metadata["labels"]["team"] = json!("net");
    }),
    ("a sidecar", |all| {
        set(&mut all.pod()["containers"], "name", json!({"name": "exporter", "image": "corp/exporter:v1"}))
    }),
    ("an init container", |all| {
        set(&mut all.pod()["initContainers"], "name", json!({"name": "sysctl", "image": "corp/sysctl:v1"}));
    }),
    ("a service account of one's own", |all| {
        all.pod()["serviceAccountName"] = json!("corp-calico");
    }),
    ("arguments", |all| all.container("install-cni")["args"] = json!(["--verbose"])),
    ("further rights", |all| {
        if let Some(role) = &mut all.role {
            add(&mut role["rules"], json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}));
        }
    }),
];

/// What only an install with Calico networking has.
pub const NETWORKING: &[(&str, Edit)] = &[
    ("the range of the pool", |all| all.set_env("CALICO_IPV4POOL_CIDR", "10.48.0.0/16")),
    ("IP in IP across subnets", |all| all.set_env("CALICO_IPV4POOL_IPIP", "cross-subnet")),
    ("no address translation", |all| all.set_env("CALICO_IPV4POOL_NAT_OUTGOING", "false")),
    ("the address of the node", |all| all.set_env("IP", "autodetect")),
    ("how the address is found", |all| all.set_env("IP_AUTODETECTION_METHOD", "interface=eth.*")),
    ("the number of the autonomous system", |all| all.set_env("AS", "64513")),
    ("IP in IP in Felix", |all| all.set_env("FELIX_IPINIPENABLED", "false")),
];

/// Edits of the very field that the release changes: they must be asked for. From which releases, in v2.x, the row says.
pub const ASKED: &[(&str, &[&str], Edit)] = &[
    ("data.cni_network_config:.log_level", &["v2.2", "v2.3", "v2.4", "v2.5"], |all| {
        all.edit_cni(|cni| cni["log_level"] = json!("warning"));
    }),
    ("spec.template.spec.terminationGracePeriodSeconds", &["v2.2", "v2.3", "v2.4", "v2.5"], |all| {
        all.pod()["terminationGracePeriodSeconds"] = json!(60);
    }),
    ("spec.template.spec.containers[calico-node].image", &["v2.2", "v2.3", "v2.4", "v2.5"], |all| {
        let image = all.container("calico-node")["image"].as_str().expect("it has one").to_owned();
        if !image.contains('@') {
            let tag = image.rsplit(':').next().expect("it has a tag");
            all.container("calico-node")["image"] = json!(format!("registry.corp:5000/calico/node:{tag}@sha256:00"));
        }
    }),
];

/// Edits of a field that the release changes as well, each with the line that it changes from.
pub const UNSURE: &[&str] = &[
    "a variable from a Secret, from v2.0 policy-only",
    "a variable from a Secret, from v2.1 policy-only",
    "log level, from v2.0 policy-only",
    "log level, from v2.1 policy-only",
];
