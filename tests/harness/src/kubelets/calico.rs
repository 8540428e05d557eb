//! What a real calico-node needs before it is Ready. Simulated nodes keep to these rules, so that a wrong order of an upgrade fails
//! here as it would on a cluster. Each rule can be switched off, to show that a case needs it.

use serde_json::{Value, json};

use crate::api::Api;

/// The release of a calico-node or a Typha: major, minor, patch.
pub type Release = (u64, u64, u64);

/// The first release whose Typha and nodes speak of policies by their new keys alone.
pub const NEW_KEYS: Release = (3, 32, 0);

/// One thing that a real node needs, or does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A Typha that is ready and takes clients of its release, where its data comes from one.
    TyphaAccepts,
    /// A node of v3.32 or later that is handed from such a Typha to an older one drops its policies, and stays Ready.
    OlderTyphaDropsPolicies,
    /// The definitions that its release reads are served.
    Definitions,
    /// Its account may read their objects.
    Rights,
    /// The datastore is not locked.
    DatastoreReady,
    /// Calico v3 can convert the settings of v2.6, where nobody did yet.
    SettingsConvert,
}

/// A rule that keeps a node from getting Ready: what it says where it does not hold, and where that was read.
pub struct Row {
    pub rule: Rule,
    /// Of projectcalico/calico, where nothing else is said.
    pub source: &'static str,
    pub broken: fn(&Look<'_>) -> Option<String>,
}

/// What is looked at when a node wants to get Ready. Typha is a matter of the pods that are known: see `typha`.
pub const ROWS: [Row; 4] = [
    Row {
        rule: Rule::Definitions,
        source: "libcalico-go/lib/backend/syncersv1/felixsyncer/felixsyncerv1.go@v3.29.7, @v3.31.7",
        broken: definitions,
    },
    Row { rule: Rule::Rights, source: "manifests/calico.yaml@v3.31.7, ClusterRole calico-node", broken: rights },
    Row { rule: Rule::DatastoreReady, source: "felix/daemon/daemon.go@v3.31.7", broken: datastore_ready },
    Row {
        rule: Rule::SettingsConvert,
        source: "libcalico-go/lib/upgrade/migrator/felixconfig.go@v3.31.7",
        broken: settings_convert,
    },
];

/// Where the two rules of Typha were read.
pub const TYPHA_SOURCE: &str = "typha/pkg/syncserver/sync_server.go@v3.32.1";

/// Which definitions are read from which release on.
const DEFINITIONS: [(Release, &[&str]); 4] = [
    ((2, 5, 0), &["globalfelixconfigs", "globalbgpconfigs", "ippools", "globalnetworkpolicies"]),
    ((3, 0, 0), &["felixconfigurations", "ippools"]),
    ((3, 29, 0), &["felixconfigurations", "ippools", "tiers"]),
    ((3, 30, 0), &["felixconfigurations", "ippools", "tiers", "stagednetworkpolicies"]),
];

/// The last releases that convert what v2.6 wrote.
const CONVERTS_BELOW: Release = NEW_KEYS;

const GROUP: &str = "/apis/crd.projectcalico.org/v1";

/// A calico-node that wants to get Ready.
pub struct Look<'a> {
    pub api: &'a Api,
    pub pod: &'a Value,
    pub release: Release,
}

/// The release of a pod's calico-node, where it keeps its data in Kubernetes.
pub fn node_release(pod: &Value) -> Option<Release> {
    let node = container(pod, "calico-node")?;
    (variable(node, "DATASTORE_TYPE")?["value"] == "kubernetes").then(|| release_of(node)).flatten()
}

/// The release of a Typha.
pub fn typha_release(pod: &Value) -> Option<Release> {
    release_of(container(pod, "calico-typha")?)
}

/// The name of the Service of the Typha that a node has its data from, if it has.
pub fn typha_service(api: &Api, pod: &Value) -> Option<String> {
    let variable = variable(container(pod, "calico-node")?, "FELIX_TYPHAK8SSERVICENAME")?;
    let name = match &variable["valueFrom"]["configMapKeyRef"] {
        Value::Null => variable["value"].clone(),
        reference => {
            let namespace = pod["metadata"]["namespace"].as_str()?;
            let path = format!("/api/v1/namespaces/{namespace}/configmaps/{}", reference["name"].as_str()?);
            api.get(&path).ok()?["data"][reference["key"].as_str()?].clone()
        }
    };
    name.as_str().filter(|name| !["", "none"].contains(name)).map(str::to_owned)
}

fn container<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    pod["spec"]["containers"].as_array()?.iter().find(|container| container["name"] == name)
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a Value> {
    container["env"].as_array()?.iter().find(|variable| variable["name"] == name)
}

fn release_of(container: &Value) -> Option<Release> {
    let tag = container["image"].as_str()?.rsplit_once(":v")?.1;
    let mut numbers = tag.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

fn needed(release: Release) -> &'static [&'static str] {
    DEFINITIONS.iter().rfind(|(since, _)| *since <= release).map_or(&[], |(_, needed)| needed)
}

fn definitions(look: &Look<'_>) -> Option<String> {
    let kinds = look.api.get(GROUP).unwrap_or_default();
    let is_served =
        |plural: &&str| kinds["resources"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == **plural));
    let missing: Vec<&str> = needed(look.release).iter().copied().filter(|plural| !is_served(plural)).collect();
    (!missing.is_empty()).then(|| format!("the server has no {}", missing.join(", ")))
}

fn rights(look: &Look<'_>) -> Option<String> {
    let metadata = &look.pod["metadata"];
    let account = look.pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    let user = format!("system:serviceaccount:{}:{account}", metadata["namespace"].as_str()?);
    let may_list = |plural: &&&str| {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": {"group": "crd.projectcalico.org", "resource": plural, "verb": "list"}},
        });
        let answer = look.api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", &review);
        // An API server that does not answer just now refuses nothing.
        answer.is_ok_and(|answer| answer["status"]["allowed"] == false)
    };
    let forbidden: Vec<&str> = needed(look.release).iter().filter(may_list).copied().collect();
    (!forbidden.is_empty()).then(|| format!("{user} may not list {}", forbidden.join(", ")))
}

fn datastore_ready(look: &Look<'_>) -> Option<String> {
    let information = look.api.get(&format!("{GROUP}/clusterinformations/default")).ok()?;
    (look.release >= (3, 0, 0) && information["spec"]["datastoreReady"] == false)
        .then(|| "the datastore is not ready".to_owned())
}

fn settings_convert(look: &Look<'_>) -> Option<String> {
    if !((3, 0, 0)..CONVERTS_BELOW).contains(&look.release) || is_v3_already(look.api) {
        return None;
    }
    let settings = look.api.list(&format!("{GROUP}/globalfelixconfigs")).ok()?;
    let is_wrong = |setting: &&Value| {
        let text = |field: &str| setting["spec"][field].as_str().unwrap_or_default();
        let is_hexadecimal = text("name") == "IptablesMarkMask" && text("value").starts_with("0x");
        is_hexadecimal || ["yes", "no", "y", "n"].contains(&text("value"))
    };
    let wrong = settings.iter().find(is_wrong)?;
    Some(format!("error converting data: {}", wrong["spec"]["name"].as_str().unwrap_or_default()))
}

fn is_v3_already(api: &Api) -> bool {
    let information = api.get(&format!("{GROUP}/clusterinformations/default")).unwrap_or_default();
    information["spec"]["calicoVersion"].as_str().is_some_and(|version| version.starts_with("v3"))
}
