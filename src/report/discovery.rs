use super::text::{clean, table};
use crate::inventory::{Fact, Install, Inventory, Tool};

/// What is installed, where and how.
pub fn discovery(inventory: &Inventory, width: u16) -> String {
    let cluster = &inventory.cluster;
    let mut lines = vec![format!(
        "Cluster    {} · {} nodes · Kubernetes {}",
        cluster.server,
        inventory.nodes.len(),
        cluster.kubernetes
    )];
    lines.extend(inventory.operator.iter().map(|sign| format!("Operator   {sign}")));
    if inventory.installs.is_empty() {
        lines.push("Installed  no Calico was found".to_owned());
    }
    lines.extend(inventory.installs.iter().map(installed));
    lines.extend(owners(inventory));
    for install in &inventory.installs {
        lines.extend(install.controllers.iter().map(|object| format!("Controller {object}")));
        lines.extend(install.own_etcd.iter().map(|object| format!("Etcd       {object}, which is left alone")));
    }
    lines.push(data(inventory));
    lines.push(policies(inventory));
    lines.extend(inventory.etcd.iter().flat_map(super::etcd::found));
    let rows = inventory.nodes.iter().map(|node| {
        let pod = node.pod.as_ref();
        let state = [
            (!node.is_ready).then_some("not Ready"),
            node.is_cordoned.then_some("cordoned"),
            node.is_control_plane.then_some("control plane"),
        ];
        vec![
            node.name.clone(),
            pod.map_or("no calico-node".to_owned(), |pod| pod.image.clone()),
            pod.map_or(String::new(), |pod| if pod.is_ready { "ready".to_owned() } else { "not ready".to_owned() }),
            state.into_iter().flatten().collect::<Vec<_>>().join(", "),
        ]
    });
    let nodes = table(&["NODE", "IMAGE", "POD", ""], rows.collect(), width);
    format!("{}\n\n{nodes}", lines.iter().map(|line| clean(line)).collect::<Vec<_>>().join("\n"))
}

/// Other tools that write the objects, each with its first sign.
fn owners(inventory: &Inventory) -> Vec<String> {
    let line = |tool: Tool| {
        let mut of_tool = inventory.owners.iter().filter(|owner| owner.tool == tool);
        let first = of_tool.next()?;
        let more = match of_tool.count() {
            0 => String::new(),
            more => format!(", and {more} more signs"),
        };
        Some(format!("Owner      {}: {}: {}{more}", tool.name(), first.object, first.sign))
    };
    Tool::ALL.into_iter().filter_map(line).collect()
}

fn installed(install: &Install) -> String {
    let release = match &install.release {
        Fact::Known(release) => release.to_string(),
        Fact::Unknown { why } => format!("of an unknown release ({why})"),
    };
    format!(
        "Installed  Calico {release} · {} · datastore {} · {}",
        install.flavour, install.datastore, install.daemon_set
    )
}

fn data(inventory: &Inventory) -> String {
    let (old, new) = (inventory.third_party.len(), inventory.custom.len());
    format!("Data       {old} ThirdPartyResource objects · {new} custom resources")
}

fn policies(inventory: &Inventory) -> String {
    let policies: usize = inventory.namespaces.iter().map(|namespace| namespace.policies.len()).sum();
    let isolated = inventory.namespaces.iter().filter(|namespace| namespace.isolation.is_some()).count();
    format!("Policies   {policies} in {} namespaces, {isolated} of them annotated", inventory.namespaces.len())
}
