use serde::{Deserialize, Serialize};

use super::supplied;
use crate::{
    inventory::Datastore,
    version::{Minor, Version},
};

/// Every release of Calico that the program knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    pub lines: Vec<Line>,
    pub releases: Vec<Release>,
}

/// What all releases of a line have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub calico: Minor,
    /// The newest release that is safe to stop on.
    pub latest: Version,
    /// The folder of its manifests.
    pub manifests: String,
    pub datastores: Vec<Datastore>,
    /// How the line keeps its data on the Kubernetes datastore.
    pub data: Data,
}

/// How data is kept on the Kubernetes datastore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    ThirdPartyResources,
    CustomResources,
}

/// One release and the image tags it shipped. Before v2.4 the tag of calico/node is not the release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub calico: Version,
    pub node: String,
    pub cni: String,
    #[serde(default)]
    pub controllers: Option<String>,
    /// Why no run should stop on this release.
    #[serde(default)]
    pub avoid: Option<String>,
}

impl Catalogue {
    /// Answers which release shipped these images: the newest that fits both, or else the newest that fits calico/node;
    /// from v3.0 on the tag of calico/node is the release.
    pub fn recognise(&self, node: &str, cni: Option<&str>) -> Option<Version> {
        let of_node = || self.releases.iter().filter(|release| release.node == node);
        let of_both = of_node().filter(|release| Some(release.cni.as_str()) == cni).map(|release| release.calico).max();
        let listed = of_both.or_else(|| of_node().map(|release| release.calico).max());
        listed.or_else(|| supplied::release_of_tag(node))
    }

    pub fn release(&self, version: Version) -> Option<&Release> {
        self.releases.iter().find(|release| release.calico == version)
    }

    pub fn line(&self, minor: Minor) -> Option<&Line> {
        self.lines.iter().find(|line| line.calico == minor)
    }
}
