//! A ConfigMap that changes alone: what reads it starts anew, the controllers first, and nothing does where it stays the same.

use std::collections::BTreeSet;

use harness::{Flavour, Kubernetes, Release, State, WornIn, differences};

use crate::lab::{Lab, Ran, lab, small, upgrade};

const CONFIG_MAP: &str = "/api/v1/namespaces/kube-system/configmaps/calico-config";

/// Upgrades the cluster from another machine, so that the run of the case is the only one of this one.
fn upgraded(kubernetes: Kubernetes, flavour: Flavour) -> Lab {
    let lab = lab(kubernetes, WornIn { flavour, ..small(Release::V2_5_1) });
    let elsewhere = tempfile::tempdir().unwrap();
    Ran::of(lab.command_in(elsewhere.path(), &upgrade("run")).output().unwrap()).exits(0);
    lab
}

fn pods(lab: &Lab) -> BTreeSet<String> {
    let pods = lab.calico_pods().unwrap().into_values().flatten();
    pods.map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect()
}

/// Everything but our own records, once the cluster is at rest.
fn state(lab: &Lab) -> State {
    let mut state = lab.snapshot().unwrap().state().clone();
    state.retain(|key, _| !key.contains("calico-upgrader"));
    state
}

#[test]
fn nodes_read_a_config_map_anew_once_and_a_rollback_leaves_no_trace() {
    for kubernetes in Kubernetes::ALL {
        let lab = upgraded(kubernetes, Flavour::Networking);
        let before = pods(&lab);
        lab.tool(&upgrade("run")).exits(0).says("Nothing to do");
        assert_eq!(pods(&lab), before, "nothing changed, and pods are new");

        lab.api().delete(CONFIG_MAP).unwrap();
        let start = state(&lab);
        lab.tool(&upgrade("run")).exits(3).says("CU-C018");
        lab.tool(&[upgrade("run"), vec!["--ignore", "CU-C018=the defaults are ours"]].concat()).exits(0);
        assert!(pods(&lab).is_disjoint(&before), "a pod still has the old values");
        let told = lab.journalled_changes();
        let place =
            |what: &str| told.iter().position(|one| one.starts_with(what)).unwrap_or_else(|| panic!("{told:?}"));
        assert!(place("create ConfigMap") < place("replace DaemonSet"), "{told:?}");
        lab.tool(&["plan", "--to", "v2.6", "--allow-untested", "--detailed-exitcode"]).exits(0).says("Nothing to do");
        lab.tool(&["verify"]).exits(0);
        let after = pods(&lab);
        lab.tool(&["rollback", "--yes"]).exits(0);
        assert!(pods(&lab).is_disjoint(&after), "a pod still has the new values");
        assert_eq!(differences(&start, &state(&lab)), Vec::<String>::new());
    }
}

#[test]
fn a_config_map_that_is_gone_on_etcd_is_never_replaced_by_upstreams() {
    let lab = upgraded(Kubernetes::V1_34, Flavour::Etcd);
    lab.api().delete(CONFIG_MAP).unwrap();
    let ignored = [upgrade("run"), vec!["--ignore", "CU-C018=it shall come back"]].concat();
    lab.tool(&ignored).exits(3).says("CU-C018").says("an etcd that is not the cluster's");
    assert_eq!(lab.api().get(CONFIG_MAP).unwrap_err().status, 404);
}
