//! Every place where people customize Calico, each with its proof: on the objects of every release the edit is in the plan's
//! objects afterwards, and nothing is asked unless the release changed the same field.

mod inventories;

use std::collections::BTreeSet;

use calico_upgrader::{
    inventory::{Datastore, Edition, Flavour, Inventory, Stored},
    plan::{self, Choice, Preference, Preferences, Request, Verdict},
    resource::{Document, Kind, ObjectRef, differences},
    runbook::{self, Catalogue, Runbook},
    version::Version,
};
use serde_json::{Value, json};

/// An edit: made once more, it changes nothing.
type Edit = fn(&mut Objects);

/// The objects that people edit, by their kind.
#[derive(Clone)]
struct Objects {
    daemon_set: Value,
    config_map: Value,
    role: Option<Value>,
}

/// A release that a plan starts from.
struct Start {
    release: Version,
    flavour: Flavour,
}

impl Objects {
    fn container(&mut self, name: &str) -> &mut Value {
        let containers = self.pod()["containers"].as_array_mut().expect("a pod has containers");
        containers.iter_mut().find(|one| one["name"] == name).expect("the release has the container")
    }

    fn all(&self) -> Value {
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
    fn edit_cni(&mut self, edit: impl Fn(&mut Value)) {
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
const ANYWHERE: &[(&str, Edit)] = &[
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
const NETWORKING: &[(&str, Edit)] = &[
    ("the range of the pool", |all| all.set_env("CALICO_IPV4POOL_CIDR", "10.48.0.0/16")),
    ("IP in IP across subnets", |all| all.set_env("CALICO_IPV4POOL_IPIP", "cross-subnet")),
    ("no address translation", |all| all.set_env("CALICO_IPV4POOL_NAT_OUTGOING", "false")),
    ("the address of the node", |all| all.set_env("IP", "autodetect")),
    ("how the address is found", |all| all.set_env("IP_AUTODETECTION_METHOD", "interface=eth.*")),
    ("the number of the autonomous system", |all| all.set_env("AS", "64513")),
    ("IP in IP in Felix", |all| all.set_env("FELIX_IPINIPENABLED", "false")),
];

/// Edits of the very field that the release changes: they must be asked for. From which releases, in v2.x, the row says.
const ASKED: &[(&str, &[&str], Edit)] = &[
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
const UNSURE: &[&str] = &[
    "a variable from a Secret, from v2.0 policy-only",
    "a variable from a Secret, from v2.1 policy-only",
    "log level, from v2.0 policy-only",
    "log level, from v2.1 policy-only",
];

fn starts() -> Vec<Start> {
    let catalogue = runbook::catalogue();
    let lines = catalogue.lines.iter().filter(|line| line.calico <= "v2.6".parse().expect("a line"));
    let of_line = |line: &runbook::Line| {
        [Flavour::Networking, Flavour::PolicyOnly].map(|flavour| Start { release: line.latest, flavour })
    };
    let all = lines.flat_map(of_line);
    all.filter(|start| runbook::base(&runbook::catalogue(), start.release, start.edition()).is_some()).collect()
}

impl Start {
    fn edition(&self) -> Edition {
        Edition::of(Datastore::Kubernetes, self.flavour, false)
    }

    fn objects(&self) -> Objects {
        let manifest = runbook::base(&runbook::catalogue(), self.release, self.edition()).expect("it ships one");
        let find = |kind: Kind| manifest.objects.iter().find(|(object, _)| object.kind == kind);
        let value = |kind: Kind| find(kind).map(|(_, document)| document.value());
        Objects {
            daemon_set: value(Kind::DaemonSet).expect("a release ships a DaemonSet"),
            config_map: value(Kind::ConfigMap).expect("a release ships a ConfigMap"),
            role: value(Kind::ClusterRole),
        }
    }

    /// The cluster as it is after the edits.
    fn inventory(&self, edited: &Objects) -> Inventory {
        let catalogue = runbook::catalogue();
        let manifest = runbook::base(&catalogue, self.release, self.edition()).expect("it ships one");
        let body = |kind: Kind| match kind {
            Kind::DaemonSet => Some(edited.daemon_set.clone()),
            Kind::ConfigMap => Some(edited.config_map.clone()),
            Kind::ClusterRole => edited.role.clone(),
            _ => None,
        };
        let stored = |(object, document): &(ObjectRef, Document)| Stored {
            object: object.clone(),
            document: body(object.kind).map_or_else(|| document.clone(), Document::new),
        };
        let install =
            inventories::install(&catalogue, self.release, Datastore::Kubernetes, self.flavour, false, &manifest);
        inventories::inventory(Version::new(1, 8, 15), install, manifest.objects.iter().map(stored).collect())
    }
}

fn request(preferences: Preferences) -> Request {
    Request { allow_untested: true, preferences, ..Request::default() }
}

fn book() -> (Catalogue, Runbook) {
    let runbook = runbook::find("v2.6".parse().expect("a line")).expect("the program has it").expect("it can be read");
    (runbook::catalogue(), runbook)
}

/// The objects as a plan leaves them.
fn after(plan: &plan::Plan, before: &Objects) -> Objects {
    let last = |kind: Kind| {
        let of_kind = plan.changes().filter(|change| change.object.kind == kind);
        of_kind.filter_map(|change| change.after.as_ref()).last().map(Document::value)
    };
    Objects {
        daemon_set: last(Kind::DaemonSet).unwrap_or_else(|| before.daemon_set.clone()),
        config_map: last(Kind::ConfigMap).unwrap_or_else(|| before.config_map.clone()),
        // What was not there before the upgrade, people could not edit.
        role: before.role.as_ref().map(|role| last(Kind::ClusterRole).unwrap_or_else(|| role.clone())),
    }
}

#[test]
fn every_customization_point_survives_an_upgrade_from_every_release() {
    let (catalogue, runbook) = book();
    let (mut asked, mut lost) = (BTreeSet::new(), Vec::new());
    for start in starts() {
        let of_flavour = if start.flavour == Flavour::Networking { NETWORKING } else { &[] };
        for (name, edit) in ANYWHERE.iter().chain(of_flavour) {
            let mut live = start.objects();
            edit(&mut live);
            let inventory = start.inventory(&live);
            let place = format!("{name}, from {} {}", start.release.line(), start.flavour);
            let said = keep_what_is_asked(&inventory, &catalogue, &runbook, &place);
            asked.extend((!said.0.is_empty()).then(|| place.clone()));
            let made = plan::make(&inventory, &catalogue, &runbook, &request(said));
            let plan = made.unwrap_or_else(|error| panic!("{place}: {error:?}"));
            let mut merged = after(&plan, &live);
            let node = image_of_node(&merged.daemon_set);
            assert!(node.ends_with(":v2.6.12"), "{place}: {node}");
            let planned = merged.all();
            edit(&mut merged);
            let again = differences(&merged.all(), &planned);
            lost.extend(again.into_iter().map(|one| format!("{place}: {one:?}")));
        }
    }
    assert_eq!(lost, Vec::<String>::new());
    let expected = UNSURE.iter().map(|place| (*place).to_owned()).collect();
    assert_eq!(asked, expected, "nothing else is asked for");
}

/// Answers what is asked; only a field that the release changes, too, may be.
fn keep_what_is_asked(inventory: &Inventory, catalogue: &Catalogue, runbook: &Runbook, place: &str) -> Preferences {
    let mut said = Preferences::default();
    let decided = plan::decide(inventory, catalogue, runbook, &request(said.clone()));
    let (_, decisions) = decided.unwrap_or_else(|error| panic!("{place}: {error:?}"));
    for open in decisions.iter().filter(|one| one.verdict == Verdict::Asked) {
        assert_ne!(open.base, open.new, "{place}: only people changed {}", open.path);
        said.add(open.field(), Choice { decision: Preference::Keep, why: None });
    }
    said
}

fn image_of_node(daemon_set: &Value) -> String {
    let containers = daemon_set["spec"]["template"]["spec"]["containers"].as_array().expect("it has containers");
    let node = containers.iter().find(|one| one["name"] == "calico-node").expect("it has calico-node");
    node["image"].as_str().expect("it has an image").to_owned()
}

#[test]
fn nothing_is_asked_and_nothing_counts_as_made_by_hand_where_nobody_edited() {
    let (catalogue, runbook) = book();
    for start in starts() {
        let inventory = start.inventory(&start.objects());
        let plan = plan::make(&inventory, &catalogue, &runbook, &request(Preferences::default()));
        let plan = plan.unwrap_or_else(|error| panic!("{} {}: {error:?}", start.release, start.flavour));
        assert_eq!(plan.kept, [], "{} {}", start.release, start.flavour);
    }
}

#[test]
fn a_field_that_people_and_the_release_changed_is_asked_for_and_both_answers_are_followed() {
    let (catalogue, runbook) = book();
    for (path, lines, edit) in ASKED {
        let mut asked_from = BTreeSet::new();
        for start in starts().iter().filter(|start| start.flavour == Flavour::Networking) {
            let mut live = start.objects();
            edit(&mut live);
            let inventory = start.inventory(&live);
            let (_, all) =
                plan::decide(&inventory, &catalogue, &runbook, &request(Preferences::default())).expect("a way");
            let Some(open) = all.iter().find(|one| one.verdict == Verdict::Asked) else { continue };
            assert_eq!(open.path, *path);
            asked_from.insert(start.release.line().to_string());
            for (answer, wanted) in [("keep", &open.live), ("take", &open.new)] {
                let file = format!("- field: {}\n  decision: {answer}\n  why: a test\n", json!(open.field()));
                let said = plan::decisions::read(&file).expect("it is a file of decisions");
                let (_, all) = plan::decide(&inventory, &catalogue, &runbook, &request(said.clone())).expect("a way");
                let decided = all.iter().find(|one| one.path == *path).expect("it still differs");
                assert_eq!(&decided.after, wanted, "{path} {answer}");
                plan::make(&inventory, &catalogue, &runbook, &request(said)).expect("nothing is asked any more");
            }
        }
        assert_eq!(asked_from, lines.iter().map(|line| (*line).to_owned()).collect(), "{path}");
    }
}

#[test]
fn a_pinned_image_that_gives_way_still_comes_from_the_registry_of_people() {
    let (catalogue, runbook) = book();
    let start = starts().pop().expect("there are some");
    let (_, _, pin) = ASKED.last().expect("the last one pins an image");
    for release in [start.release, Version::new(2, 5, 1)] {
        let start = Start { release, flavour: Flavour::Networking };
        let mut live = start.objects();
        pin(&mut live);
        let decided = plan::decide(&start.inventory(&live), &catalogue, &runbook, &request(Preferences::default()));
        let (_, all) = decided.expect("a way");
        let image = all.iter().find(|one| one.path.ends_with("[calico-node].image")).expect("it differs");
        assert_eq!(image.new, Some(json!("registry.corp:5000/calico/node:v2.6.12")));
        // Where the release is installed already it brings nothing new, and a pin is a pin.
        let expected = if release.line() == "v2.6".parse().expect("a line") { Verdict::Kept } else { Verdict::Asked };
        assert_eq!(image.verdict, expected, "{release}");
    }
}

#[test]
fn a_chain_of_plug_ins_that_people_made_takes_what_the_release_changes_in_its_own_plug_in() {
    let (catalogue, runbook) = book();
    for start in starts().iter().filter(|start| start.flavour == Flavour::Networking) {
        let mut live = start.objects();
        live.edit_cni(|cni| {
            let fields = cni.as_object_mut().expect("a plug-in is an object");
            let (name, _) = (fields.remove("name").expect("it has one"), fields.remove("cniVersion"));
            let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true}});
            *cni = json!({"name": name, "cniVersion": "0.3.0", "plugins": [cni.clone(), portmap]});
        });
        let plan = plan::make(&start.inventory(&live), &catalogue, &runbook, &request(Preferences::default()));
        let merged = after(&plan.unwrap_or_else(|error| panic!("{}: {error:?}", start.release)), &live);
        let text = merged.config_map["data"]["cni_network_config"].as_str().expect("it has one").to_owned();
        let list: Value = serde_json::from_str(&text).expect("it is JSON");
        let types: Vec<&str> =
            list["plugins"].as_array().expect("a list").iter().filter_map(|one| one["type"].as_str()).collect();
        assert_eq!(types, ["calico", "portmap"], "{text}");
        assert_eq!((&list["cniVersion"], &list["type"]), (&json!("0.3.0"), &Value::Null), "{text}");
        assert_eq!(list["plugins"][0]["log_level"], "info", "{text}");
    }
}

#[test]
fn a_decision_that_answers_no_question_stops_the_plan_by_its_name() {
    let (catalogue, runbook) = book();
    let start = Start { release: Version::new(2, 5, 1), flavour: Flavour::Networking };
    let inventory = start.inventory(&start.objects());
    let stale = "- field: DaemonSet/calico-node:spec.gone\n  decision: keep\n  why: an older plan\n";
    let said = plan::decisions::read(stale).expect("it is a file of decisions");
    let refused = plan::make(&inventory, &catalogue, &runbook, &request(said)).expect_err("it is stale");
    let text = format!("{refused:?}");
    assert!(
        refused.exit() == 17 && text.contains("CU-C016") && text.contains("DaemonSet/calico-node:spec.gone"),
        "{text}"
    );
}

#[test]
fn a_selector_or_a_role_that_cannot_be_changed_stops_the_plan() {
    let (catalogue, runbook) = book();
    let start = Start { release: Version::new(2, 5, 1), flavour: Flavour::Networking };
    let mut odd = start.objects();
    odd.daemon_set["spec"]["selector"] = json!({"matchExpressions": [{"key": "k8s-app", "operator": "Exists"}]});
    let refused = plan::make(&start.inventory(&odd), &catalogue, &runbook, &request(Preferences::default()));
    assert!(format!("{refused:?}").contains("CU-C015"), "{refused:?}");
    let mut inventory = start.inventory(&start.objects());
    let binding = inventory.objects.iter_mut().find(|one| one.object.kind == Kind::ClusterRoleBinding);
    let binding = binding.expect("v2.5 has one");
    let mut body = binding.document.value();
    body["roleRef"]["name"] = json!("corp-calico");
    binding.document = Document::new(body);
    let mut asked = request(Preferences::default());
    assert_eq!(plan::make(&inventory, &catalogue, &runbook, &asked).expect_err("another role").exit(), 3);
    asked.ignore.insert("CU-C015".to_owned(), "the role has the rights".to_owned());
    plan::make(&inventory, &catalogue, &runbook, &asked).expect("people said that it has the rights");
}

#[test]
fn a_selector_that_is_taken_from_the_release_makes_the_daemon_set_anew_with_all_else_that_people_made() {
    let (catalogue, runbook) = book();
    for start in starts() {
        let mut live = start.objects();
        live.daemon_set["spec"]["selector"] = json!({"matchLabels": {"app": "corp-net"}});
        live.daemon_set["spec"]["template"]["metadata"]["labels"] = json!({"app": "corp-net", "k8s-app": "corp"});
        let take = "- field: DaemonSet/calico-node:spec.selector\n  decision: take\n  why: back to upstream\n";
        let said = plan::decisions::read(take).expect("it is a file of decisions");
        let plan = plan::make(&start.inventory(&live), &catalogue, &runbook, &request(said));
        let plan = plan.unwrap_or_else(|error| panic!("{} {}: {error:?}", start.release, start.flavour));
        let changes: Vec<_> = plan.changes().filter(|change| change.object.kind == Kind::DaemonSet).collect();
        assert_eq!(changes.first().map(|change| change.verb()), Some("recreate"));
        let body = after(&plan, &live).daemon_set;
        assert_eq!(body["spec"]["selector"], json!({"matchLabels": {"k8s-app": "calico-node"}}));
        let labels = json!({"app": "corp-net", "k8s-app": "calico-node"});
        assert_eq!(body["spec"]["template"]["metadata"]["labels"], labels);
        let picked = [plan.roll().map(|roll| &roll.selector), plan.verification().map(|verify| &verify.selector)];
        assert_eq!(picked, [Some(&"k8s-app=calico-node".to_owned()); 2]);
    }
}
