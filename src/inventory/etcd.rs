use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Stored;

/// The etcd of Calico's own data, as seen at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdFacts {
    /// The id of the etcd cluster: it tells clusters apart whatever their addresses.
    pub cluster: String,
    pub version: String,
    pub members: Vec<String>,
    /// What etcd says of itself when it is not well: an alarm that it raised, such as NOSPACE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<String>,
    pub endpoints: Vec<String>,
    /// Endpoints that do not answer, and why.
    pub silent: BTreeMap<String, String>,
    /// Whether the operator said that this is the datastore.
    pub is_chosen: bool,
    /// How many keys there are of each kind.
    pub keys: BTreeMap<String, usize>,
    /// The text of `/calico/v1/Ready`: anything but `true` pauses Calico.
    pub ready: Option<String>,
    /// The text of `/calico/v1/config/CalicoVersion`.
    pub calico_version: Option<String>,
    /// Keys whose values Calico cannot read, and why.
    pub undecodable: BTreeMap<String, String>,
    /// Keys whose bytes etcd may not give as they are.
    pub inexact: Vec<String>,
    /// Keys that etcd lists nowhere and that were found by what mentions them.
    pub hidden: Vec<String>,
    /// What old controllers left behind.
    pub leftovers: Vec<Stored>,
}

impl EtcdFacts {
    /// Answers whether a Calico keeps its data there.
    pub fn holds_data(&self) -> bool {
        self.calico_version.is_some() || self.ready.is_some()
    }
}
