use harness::*;
use serde_json::json;
fn timed<T>(what: &str, f: impl FnOnce() -> T) -> T { let t = std::time::Instant::now(); let r = f(); eprintln!("{what} {:?}", t.elapsed()); r }
fn main() {
    let k = if std::env::args().nth(1).as_deref() == Some("1.8") { Kubernetes::V1_8 } else { Kubernetes::V1_34 };
    let r: Release = std::env::args().nth(2).unwrap().parse().unwrap();
    let plane = timed("start", || ControlPlane::start(k)).unwrap();
    timed("nodes", || plane.add_node_count(12)).unwrap();
    timed("worn in", || worn_in(&plane, &WornIn{release: r, flavour: Flavour::Networking, size: Size::Full})).unwrap();
    println!("{}", plane.kubeconfig().display());
    let snap = timed("snapshot", || plane.snapshot()).unwrap();
    for round in 0..std::env::args().nth(3).unwrap().parse::<i32>().unwrap() {
        let api = plane.api();
        let crds = if k == Kubernetes::V1_8 {"/apis/apiextensions.k8s.io/v1beta1/customresourcedefinitions"} else {"/apis/apiextensions.k8s.io/v1/customresourcedefinitions"};
        let ds = if k == Kubernetes::V1_8 {"/apis/extensions/v1beta1/namespaces/kube-system/daemonsets/calico-node"} else {"/apis/apps/v1/namespaces/kube-system/daemonsets/calico-node"};
        if round % 2 == 0 {
            api.delete(&format!("{crds}/ippools.{}", if r == Release::V2_5_1 {"crd.projectcalico.org"} else {"projectcalico.org"})).unwrap();
            api.delete("/api/v1/namespaces/payments").unwrap();
            api.delete("/api/v1/namespaces/kube-system/configmaps/calico-config").unwrap();
            api.create("/api/v1/namespaces", &json!({"metadata":{"name":"extra"}})).unwrap();
            plane.create_all(&[json!({"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"CustomResourceDefinition","metadata":{"name":"things.example.com"},"spec":{"group":"example.com","version":"v1","scope":"Cluster","names":{"plural":"things","kind":"Thing"}}}), json!({"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"x"}})]).unwrap();
        }
        if round % 3 == 0 { api.delete(ds).unwrap(); } else {
            api.merge_patch(ds, &json!({"spec":{"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":4}},"template":{"metadata":{"labels":{"x":"y"}}}}})).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis((round as u64 * 37) % 1500));
        timed("restore", || plane.restore(&snap)).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_secs(5));
    let d = differences(snap.state(), &plane.cluster_state().unwrap());
    eprintln!("{d:?}");
}
