//! Whether the manifests that the operator gives are those of what is installed.

use super::make::{Installed, Materials};
use crate::{
    check::{BLOCKED, Finding, Severity},
    resource::{Document, ObjectRef},
    runbook::{Manifest, Supplied, Wiring},
};

/// A merge needs what the installed release shipped, and both files must have the DaemonSet that is installed.
pub(super) fn lacking(supplied: &Supplied, installed: Installed<'_>) -> Option<Finding> {
    let finding = |title: String| Finding::new("CU-P004", Severity::Final { exit: BLOCKED }, title);
    let Installed { install, release, .. } = installed;
    let of_release = format!(
        "give the file that Calico {release} was installed with, as upstream published it (before v3.24 from the archive of the release)"
    );
    let Some(base) = supplied.base(release) else {
        let given = supplied.old.as_ref().map_or("none".to_owned(), |old| old.release.to_string());
        let why = "without it nobody can tell what people changed by hand from what the release changed";
        return Some(
            finding(format!("the manifest of Calico {release}, which is installed, was not given"))
                .evidence([format!("--manifests-before: {given}")])
                .why(why)
                .now(format!("{of_release}: --manifests-before FILE")),
        );
    };
    let has = |manifest: &Manifest| manifest.get(&install.daemon_set).is_some();
    let other = [("--manifests-before", has(&base)), ("--manifests", has(&supplied.new.manifest()))];
    let (flag, _) = other.into_iter().find(|(_, has)| !has)?;
    let title = format!("the file of {flag} has no {}, which is installed", install.daemon_set);
    Some(finding(title).why("it is another kind of manifest, and would bring a second Calico").now(of_release))
}

/// The finding that a person may know better than.
pub const OF_ANOTHER_KIND: &str = "CU-P005";

/// The files that upstream publishes, as far as they are known to be upgraded.
const FILES: &str = "calico.yaml, calico-vxlan.yaml, calico-policy-only.yaml, calico-typha.yaml, canal.yaml";

/// Names files whose DaemonSet has the right name and wires the nodes in another way. A person may have done that by hand.
pub(super) fn of_another_kind(materials: &Materials<'_>) -> Option<Finding> {
    let Materials { inventory, installed, request, base, target, .. } = materials;
    request.supplied.as_ref()?;
    let of_manifest = |manifest: &Manifest| materials.wiring(|object| manifest.get(object));
    let live = materials.wiring(|object| inventory.object(object))?;
    let given = [("--manifests-before", of_manifest(base)?), ("--manifests", of_manifest(target)?)];
    let others: Vec<_> = given.into_iter().filter(|(_, wiring)| *wiring != live).collect();
    let (flag, _) = others.first()?;
    let title = format!("the file of {flag} is of another kind than the install");
    let lines = others.iter().map(|(flag, wiring)| format!("{flag}: {wiring}"));
    Some(
        Finding::new(OF_ANOTHER_KIND, Severity::Mandatory { exit: BLOCKED }, title)
            .evidence([format!("installed: {live}")].into_iter().chain(lines))
            .why("what it says of networks and Typha would be taken for what people changed by hand, and a Typha that it lacks would stay as it is")
            .now(format!(
                "give the files of the kind that Calico {} was installed with ({FILES}); if people changed it by hand: --ignore {OF_ANOTHER_KIND}=REASON",
                installed.release
            )),
    )
}

impl Materials<'_> {
    /// How the nodes are wired by the objects that `get` finds.
    pub(super) fn wiring<'a>(&self, get: impl Fn(&ObjectRef) -> Option<&'a Document>) -> Option<Wiring> {
        let install = self.installed.install;
        let config = install.config_map.as_ref().and_then(&get).map(Document::value).unwrap_or_default();
        Wiring::of(&get(&install.daemon_set)?.value(), &config)
    }
}
