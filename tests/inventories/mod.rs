//! Inventories as a look at a cluster gives them, for tests that need no cluster.

use calico_upgrader::{
    inventory::{ClusterFacts, Datastore, EtcdFacts, Fact, Flavour, Install, Inventory, Stored},
    resource::{Kind, ObjectRef},
    runbook::{Catalogue, Manifest},
    version::Version,
};

/// An install by the manifest that a release ships for it.
pub fn install(
    catalogue: &Catalogue,
    release: Version,
    datastore: Datastore,
    flavour: Flavour,
    is_kubeadm: bool,
    manifest: &Manifest,
) -> Install {
    let images = catalogue.release(release).expect("it is in the catalogue");
    let of_kind = |kind: Kind| -> Vec<ObjectRef> {
        manifest.references().into_iter().filter(|object| object.kind == kind).collect()
    };
    Install {
        daemon_set: of_kind(Kind::DaemonSet).remove(0),
        selector: "k8s-app=calico-node".to_owned(),
        config_map: Some(of_kind(Kind::ConfigMap).remove(0)),
        release: Fact::Known(release),
        flavour: Fact::Known(flavour),
        datastore: Fact::Known(datastore),
        node_image: format!("quay.io/calico/node:{}", images.node),
        cni_image: Some(format!("quay.io/calico/cni:{}", images.cni)),
        is_kubeadm,
        own_etcd: None,
        controllers: of_kind(Kind::Deployment),
    }
}

/// A cluster with nothing in it but the install and its objects.
pub fn inventory(kubernetes: Version, install: Install, objects: Vec<Stored>) -> Inventory {
    let cluster = ClusterFacts {
        uid: "1".to_owned(),
        server: "https://api".to_owned(),
        kubernetes,
        has_leases: false,
        has_definitions: true,
        can_try_writes: false,
        etcd: None,
    };
    let etcd = EtcdFacts { ready: Some("true".to_owned()), ..EtcdFacts::default() };
    let etcd = (install.datastore.known() == Some(&Datastore::Etcd)).then_some(Fact::Known(etcd));
    Inventory {
        cluster,
        installs: vec![install],
        operator: None,
        nodes: Vec::new(),
        namespaces: Vec::new(),
        third_party: Vec::new(),
        third_party_served: Kind::THIRD_PARTY.to_vec(),
        custom: Vec::new(),
        objects,
        rights_missing: Vec::new(),
        owners: Vec::new(),
        etcd,
        sights: Vec::new(),
    }
}
