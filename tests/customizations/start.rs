//! Where a plan starts: a release as it was installed, with what people made of it.

use calico_upgrader::{
    inventory::{Datastore, Edition, Flavour, Inventory, Stored},
    resource::{Document, Kind, ObjectRef},
    runbook,
    version::Version,
};

use crate::{inventories, points::Objects};

/// A release that a plan starts from.
pub struct Start {
    pub release: Version,
    pub flavour: Flavour,
}

pub fn starts() -> Vec<Start> {
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

    pub fn objects(&self) -> Objects {
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
    pub fn inventory(&self, edited: &Objects) -> Inventory {
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
