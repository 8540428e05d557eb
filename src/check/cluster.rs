use super::{BLOCKED, Finding, Severity};
use crate::inventory::{Datastore, Inventory, NodeFacts};

/// Names shown of a long list before the rest is counted.
const SHOWN: usize = 10;

/// The state of the cluster around Calico.
pub(super) fn findings(inventory: &Inventory) -> Vec<Finding> {
    let all = [
        definitions(inventory),
        rights(inventory),
        nodes_ready(inventory),
        pods_ready(inventory),
        terminating(inventory),
        cordoned(inventory),
    ];
    all.into_iter().flatten().collect()
}

fn definitions(inventory: &Inventory) -> Option<Finding> {
    let kubernetes = inventory.cluster.kubernetes;
    let finding =
        Finding::new("CU-C012", Severity::Final { exit: BLOCKED }, "the API server has no CustomResourceDefinitions");
    let why = "Calico v2.5 and later keep their data in custom resources, which came with Kubernetes v1.7";
    let now = "upgrade Kubernetes to v1.7 first, and no further";
    let evidence = [format!("Kubernetes {kubernetes} serves no apiextensions.k8s.io")];
    let are_needed = inventory.installs.iter().any(|install| install.datastore.known() != Some(&Datastore::Etcd));
    (are_needed && !inventory.cluster.has_definitions).then(|| finding.evidence(evidence).why(why).now(now))
}

fn rights(inventory: &Inventory) -> Option<Finding> {
    let missing = &inventory.rights_missing;
    if missing.is_empty() {
        return None;
    }
    let title = format!("{} rights that a run needs are missing", missing.len());
    // A plan and a dry run need none of them.
    let finding = Finding::new("CU-C006", Severity::Advisory, title).evidence(missing.iter().cloned());
    Some(
        finding.why("a run would stop midway").now("plan with these rights, run with an account that may do the above"),
    )
}

fn nodes_ready(inventory: &Inventory) -> Option<Finding> {
    let lost = inventory.nodes.iter().filter(|node| !node.is_ready).map(|node| node.name.clone());
    let lost: Vec<_> = lost.collect();
    let title = format!("{} of {} nodes are not Ready", lost.len(), inventory.nodes.len());
    let finding = Finding::new("CU-C007", Severity::Mandatory { exit: BLOCKED }, title);
    let why = "calico-node cannot become ready there, so the roll would stop at that node";
    let now = "repair the nodes, or go on with --ignore CU-C007=REASON";
    (!lost.is_empty()).then(|| finding.evidence(shorten(lost)).why(why).now(now))
}

fn pods_ready(inventory: &Inventory) -> Option<Finding> {
    let pods = inventory.nodes.iter().filter_map(|node| Some((node, node.pod.as_ref()?)));
    let bad: Vec<_> =
        pods.filter(|(_, pod)| !pod.is_ready).map(|(node, pod)| format!("{} on {}", pod.name, node.name)).collect();
    let title = format!("calico-node is not ready on {} nodes", bad.len());
    let finding = Finding::new("CU-C008", Severity::Mandatory { exit: BLOCKED }, title);
    let why = "an upgrade of a Calico that is ill already cannot be told from an upgrade that made it ill";
    let now = "kubectl -n kube-system describe pod, or go on with --ignore CU-C008=REASON";
    (!bad.is_empty()).then(|| finding.evidence(shorten(bad)).why(why).now(now))
}

fn terminating(inventory: &Inventory) -> Option<Finding> {
    let names: Vec<_> =
        inventory.namespaces.iter().filter(|one| one.is_terminating).map(|one| one.name.clone()).collect();
    let title = format!("{} namespaces are being deleted and will be skipped", names.len());
    let finding = Finding::new("CU-C009", Severity::Advisory, title);
    let why = "nothing can be created in them, and their policies go with them";
    (!names.is_empty()).then(|| finding.evidence(shorten(names)).why(why).now("kubectl get namespaces"))
}

/// A run that goes on takes its cordons away; of one whose record and files are lost nobody does.
fn cordoned(inventory: &Inventory) -> Option<Finding> {
    let cordon = |node: &NodeFacts| Some(format!("{} by run {}", node.name, node.cordoned_by.as_ref()?));
    let ours: Vec<_> = inventory.nodes.iter().filter(|node| node.is_cordoned).filter_map(cordon).collect();
    let finding =
        Finding::new("CU-C019", Severity::Advisory, format!("runs of ours left {} nodes cordoned", ours.len()));
    let why = "a run takes its own cordons away when it goes on or is taken back, and another run leaves them";
    let now = "calico-upgrader status RUN; once there is no such run: kubectl uncordon NODE";
    (!ours.is_empty()).then(|| finding.evidence(shorten(ours)).why(why).now(now))
}

pub fn shorten(mut names: Vec<String>) -> Vec<String> {
    let hidden = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    if hidden > 0 {
        names.push(format!("and {hidden} more"));
    }
    names
}
