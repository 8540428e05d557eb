use super::{BLOCKED, Finding, NO_PATH, Severity};
use crate::{
    inventory::{Fact, Install, Inventory},
    resource::ObjectRef,
};

/// The names that the releases give to what runs the controllers, before and from v2.6 on.
const CONTROLLERS: [&str; 2] = ["calico-policy-controller", "calico-kube-controllers"];

/// What is installed, and whether we may touch it.
pub(super) fn findings(inventory: &Inventory) -> Vec<Finding> {
    let mut all = Vec::new();
    all.extend(inventory.operator.as_ref().map(|sign| managed_by_operator(sign)));
    match inventory.installs.as_slice() {
        [] if inventory.operator.is_none() => all.push(nothing_installed()),
        [] => {}
        [install] => all.extend(of_install(install)),
        several => all.push(several_installed(several)),
    }
    all
}

fn managed_by_operator(sign: &str) -> Finding {
    Finding::new("CU-C003", Severity::Final { exit: NO_PATH }, "Calico is managed by the Tigera operator")
        .evidence([sign.to_owned()])
        .why("the operator would revert every change that we make")
        .now("upgrade the operator instead: it upgrades Calico")
}

fn nothing_installed() -> Finding {
    Finding::new("CU-C001", Severity::Final { exit: BLOCKED }, "no Calico is installed in this cluster")
        .evidence(["no DaemonSet has a container calico-node or an image calico/node".to_owned()])
        .why("there is nothing to upgrade")
        .now("check that this is the right cluster: kubectl config current-context")
}

fn several_installed(installs: &[Install]) -> Finding {
    let title = format!("{} Calico installs were found, and one is expected", installs.len());
    Finding::new("CU-C002", Severity::Final { exit: BLOCKED }, title)
        .evidence(installs.iter().map(|install| format!("{} with {}", install.daemon_set, install.node_image)))
        .why("two installs on one node fight over its routes and rules; which of them is in force cannot be seen from outside")
        .now("remove the install that is not in use, then run check again")
}

fn of_install(install: &Install) -> Vec<Finding> {
    let unknown = |id: &str, what: &str, why: &str| {
        Finding::new(id, Severity::Final { exit: BLOCKED }, format!("{what} of {} is unknown", install.daemon_set))
            .evidence([why.to_owned()])
            .why("which steps are needed depends on it, and a guess could lose data")
    };
    let mut all = Vec::new();
    if let Fact::Unknown { why } = &install.release {
        let now = "set images with the tags of a release on the DaemonSet, then run check again";
        all.push(unknown("CU-C004", "the release", why).now(now));
    }
    if let Fact::Unknown { why } = &install.flavour {
        all.push(unknown("CU-C005", "the kind of manifest", why).now("kubectl -n kube-system get daemonset -o yaml"));
    }
    if let Fact::Unknown { why } = &install.datastore {
        all.push(unknown("CU-C005", "the datastore", why).now("kubectl -n kube-system get daemonset -o yaml"));
    }
    all.extend(unsupported(install));
    all
}

fn unsupported(install: &Install) -> Option<Finding> {
    let name = install.edition()?.daemon_set();
    let is_elsewhere = install.daemon_set.namespace.as_deref() != Some("kube-system");
    let what = if is_elsewhere || install.daemon_set.name != name {
        format!("a DaemonSet that is not kube-system/{name}")
    } else {
        format!("{}, which runs controllers under a name of its own", other_controllers(install)?)
    };
    let title = format!("{} uses {what}: this version cannot upgrade that", install.daemon_set);
    let finding = Finding::new("CU-C005", Severity::Final { exit: NO_PATH }, title);
    Some(
        finding
            .why("its steps are not part of this version")
            .now("follow the procedure of the Calico v2.6 documentation by hand"),
    )
}

/// Which of its settings a new one should have cannot be told, and two must never run at once.
fn other_controllers(install: &Install) -> Option<&ObjectRef> {
    install.controllers.iter().find(|object| !CONTROLLERS.contains(&object.name.as_str()))
}
