//! Clusters as the releases before v2.6 installed them, as inventories.

#[path = "../inventories/mod.rs"]
mod inventories;

use calico_upgrader::{
    inventory::{Datastore, Edition, Flavour, Inventory, Stored},
    resource::ObjectRef,
    runbook::{self, Catalogue, Line, Manifest},
    version::Version,
};

const EDITIONS: [(Datastore, Flavour, bool); 6] = [
    (Datastore::Kubernetes, Flavour::Networking, false),
    (Datastore::Kubernetes, Flavour::PolicyOnly, false),
    (Datastore::Kubernetes, Flavour::Canal, false),
    (Datastore::Etcd, Flavour::Networking, false),
    (Datastore::Etcd, Flavour::Networking, true),
    (Datastore::Etcd, Flavour::Canal, false),
];

const KUBERNETES: [Version; 5] = [
    Version::new(1, 7, 16),
    Version::new(1, 8, 15),
    Version::new(1, 9, 11),
    Version::new(1, 10, 13),
    Version::new(1, 34, 4),
];

/// A cluster as the release installed it.
pub struct Way {
    pub release: Version,
    pub datastore: Datastore,
    pub flavour: Flavour,
    pub is_kubeadm: bool,
    pub kubernetes: Version,
    manifest: Manifest,
}

pub fn ways() -> Vec<Way> {
    let catalogue = runbook::catalogue();
    let before = |line: &&Line| line.calico < "v2.6".parse().expect("a line");
    let mut all = Vec::new();
    for release in catalogue.lines.iter().filter(before).map(|line| line.latest) {
        for (datastore, flavour, is_kubeadm) in EDITIONS {
            let edition = Edition::of(datastore, flavour, is_kubeadm);
            for kubernetes in KUBERNETES {
                let manifest = runbook::base(&catalogue, release, edition);
                all.extend(manifest.map(|manifest| Way {
                    release,
                    datastore,
                    flavour,
                    is_kubeadm,
                    kubernetes,
                    manifest,
                }));
            }
        }
    }
    all
}

impl Way {
    pub fn row(&self) -> String {
        format!("Calico {} · {} · Kubernetes {}", self.release.line(), self.datastore, self.kubernetes.line())
    }

    pub fn inventory(&self, catalogue: &Catalogue) -> Inventory {
        let Way { release, datastore, flavour, is_kubeadm, kubernetes, manifest } = self;
        let install = inventories::install(catalogue, *release, *datastore, *flavour, *is_kubeadm, manifest);
        let stored =
            |(object, document): &(ObjectRef, _)| Stored { object: object.clone(), document: Clone::clone(document) };
        inventories::inventory(*kubernetes, install, manifest.objects.iter().map(stored).collect())
    }
}
