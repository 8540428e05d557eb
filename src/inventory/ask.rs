//! What is asked of a cluster about its objects: a closed set of questions that data can be written with.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Fact,
    field::{Path, Test},
};
use crate::{
    resource::{Kind, ObjectRef},
    version::Version,
};

/// Objects named in an answer; of more there is the count.
const NAMED: usize = 20;

/// One question. The answer is the objects that it picks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    Objects(Objects),
    Nodes(Nodes),
    KubeProxy(KubeProxy),
}

/// Objects of a kind of which all fields pass their tests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Objects {
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The one object to look at; without it all of the kind are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldTest>,
    /// The command that mends one of them, with `{name}` and `{namespace}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FieldTest {
    pub field: Path,
    pub is: Test,
}

/// Nodes by what their kubelet tells of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Nodes {
    Runtime { name: String, below: Version },
    Kernel { below: Version },
    Kubelet { below: Version },
}

/// How kube-proxy works, as its ConfigMap says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KubeProxy {
    Iptables,
    Ipvs,
    Nftables,
}

/// An answer of a cluster to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    pub asked: Ask,
    pub found: Fact<Found>,
}

/// The objects that a question picks: the first by name, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub count: usize,
    pub first: Vec<ObjectRef>,
}

/// What is to be read for a question: a kind, or one object of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    All(Kind),
    One(ObjectRef),
}

impl Ask {
    pub fn place(&self) -> Place {
        match self {
            Ask::Objects(Objects { kind, namespace, name: Some(name), .. }) => {
                Place::One(ObjectRef { kind: *kind, namespace: namespace.clone(), name: name.clone() })
            }
            Ask::Objects(Objects { kind, .. }) => Place::All(*kind),
            Ask::Nodes(_) => Place::All(Kind::Node),
            Ask::KubeProxy(_) => Place::One(ObjectRef::namespaced(Kind::ConfigMap, "kube-system", "kube-proxy")),
        }
    }

    /// Answers whether it picks an object.
    ///
    /// # Errors
    /// Says what of the object cannot be read.
    pub fn picks(&self, body: &Value) -> Result<bool, String> {
        match self {
            Ask::Objects(objects) => Ok(objects.pick(body)),
            Ask::Nodes(nodes) => nodes.pick(body),
            Ask::KubeProxy(mode) => Ok(KubeProxy::of(body)? == *mode),
        }
    }

    /// Answers a question from what was read in its place.
    pub fn answer(&self, bodies: &[Value]) -> Fact<Found> {
        let mut answering = Answering::of(self.clone());
        bodies.iter().for_each(|body| answering.see(body));
        answering.end().found
    }
}

/// A question while objects go by: none of them is kept.
pub struct Answering {
    asked: Ask,
    picked: Vec<ObjectRef>,
    seen: usize,
    unknown: Option<String>,
}

impl Answering {
    pub fn of(asked: Ask) -> Self {
        Self { asked, picked: Vec::new(), seen: 0, unknown: None }
    }

    pub fn see(&mut self, body: &Value) {
        self.seen += 1;
        let kind = match self.asked.place() {
            Place::All(kind) => kind,
            Place::One(object) => object.kind,
        };
        let text = |key: &str| body["metadata"][key].as_str().map(str::to_owned);
        let object = ObjectRef { kind, namespace: text("namespace"), name: text("name").unwrap_or_default() };
        match self.asked.picks(body) {
            Ok(true) => self.picked.push(object),
            Ok(false) => {}
            Err(why) => self.unknown = Some(format!("{object}: {why}")),
        }
    }

    pub fn end(mut self) -> Sight {
        if matches!(self.asked, Ask::KubeProxy(_)) && self.seen == 0 {
            self.unknown = Some("there is no ConfigMap kube-system/kube-proxy".to_owned());
        }
        let count = self.picked.len();
        self.picked.sort();
        self.picked.truncate(NAMED);
        let found = match self.unknown {
            // What is picked is picked, whatever the others are.
            Some(why) if count == 0 => Fact::Unknown { why },
            _ => Fact::Known(Found { count, first: self.picked }),
        };
        Sight { asked: self.asked, found }
    }
}

impl Objects {
    fn pick(&self, body: &Value) -> bool {
        let is_there = self.namespace.is_none() || body["metadata"]["namespace"].as_str() == self.namespace.as_deref();
        is_there && self.fields.iter().all(|one| one.is.passes(&one.field.values(body)))
    }

    /// The command that mends an object.
    pub fn command(&self, object: &ObjectRef) -> Option<String> {
        let command = self.mend.as_ref()?.replace("{name}", &object.name);
        Some(command.replace("{namespace}", object.namespace.as_deref().unwrap_or_default()))
    }
}

impl Nodes {
    fn pick(&self, node: &Value) -> Result<bool, String> {
        let info = |key: &str| node["status"]["nodeInfo"][key].as_str().unwrap_or_default();
        match self {
            Nodes::Runtime { name, below } => {
                let (runtime, number) = info("containerRuntimeVersion").split_once("://").unwrap_or_default();
                Ok(runtime == name && number_of(number)? < *below)
            }
            Nodes::Kernel { below } => Ok(number_of(info("kernelVersion"))? < *below),
            Nodes::Kubelet { below } => Ok(number_of(info("kubeletVersion"))? < *below),
        }
    }
}

/// The number at the start of what makers of kernels and runtimes write, such as `5.10.0-21-amd64` or `1.6.8~ds1`.
fn number_of(text: &str) -> Result<Version, String> {
    let wrong = || format!("`{text}` is no version");
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(text.len());
    let numbers: Option<Vec<u64>> =
        text[..end].split('.').filter(|part| !part.is_empty()).map(|part| part.parse().ok()).collect();
    match numbers.unwrap_or_default()[..] {
        [major, minor] => Ok(Version::new(major, minor, 0)),
        [major, minor, patch, ..] => Ok(Version::new(major, minor, patch)),
        _ => Err(wrong()),
    }
}

impl KubeProxy {
    /// Without a mode it is iptables on Linux (Kubernetes source v1.34, cmd/kube-proxy/app/server_linux.go).
    fn of(config_map: &Value) -> Result<Self, String> {
        let Some(text) = config_map["data"]["config.conf"].as_str() else {
            return Err("it has no config.conf".to_owned());
        };
        let mode = text.lines().find_map(|line| line.strip_prefix("mode:")).unwrap_or_default();
        match mode.trim().trim_matches(['"', '\'']) {
            "" | "iptables" => Ok(KubeProxy::Iptables),
            "ipvs" => Ok(KubeProxy::Ipvs),
            "nftables" => Ok(KubeProxy::Nftables),
            other => Err(format!("its mode is `{other}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_of_kernels_and_runtimes_are_read_as_their_makers_write_them() {
        for (text, number) in [
            ("5.10.0-21-amd64", (5, 10, 0)),
            ("1.6.8~ds1", (1, 6, 8)),
            ("v1.34.1+k3s1", (1, 34, 1)),
            ("6.1", (6, 1, 0)),
        ] {
            assert_eq!(number_of(text), Ok(Version::new(number.0, number.1, number.2)), "{text}");
        }
        assert!(number_of("unknown").is_err());
    }

    #[test]
    fn what_cannot_be_read_is_unknown_unless_another_object_answers_already() {
        let ask = Ask::Nodes(Nodes::Kernel { below: Version::new(5, 10, 0) });
        let node = |name: &str, kernel: &str| json!({"metadata": {"name": name}, "status": {"nodeInfo": {"kernelVersion": kernel}}});
        let (odd, old, new) = (node("a", "odd"), node("b", "4.18.0"), node("c", "6.1.0"));
        assert!(ask.answer(&[odd.clone(), new.clone()]).known().is_none());
        assert_eq!(ask.answer(&[odd, old]).known().map(|found| found.count), Some(1));
        assert_eq!(ask.answer(&[new]).known().map(|found| found.count), Some(0));
        assert!(Ask::KubeProxy(KubeProxy::Nftables).answer(&[]).known().is_none());
    }
}
