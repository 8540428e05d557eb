//! Makes a plan: decides everything from an inventory, a runbook and what the operator asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Desired, FORMAT, Omitted, Plan, PlannedStep, Purpose, crossing,
    customize::{Decision, Preferences},
    given,
    steps::{self, Draft},
};
use crate::{
    check::{self, BLOCKED, Finding, NO_PATH, Severity},
    convert::SystemPolicyChoice,
    inventory::{Datastore, Edition, Fact, Flavour, Install, Inventory},
    runbook::{self, Catalogue, Manifest, Runbook, RunbookStep, StepKind, Supplied, TestedRow, is_supplied},
    version::{Minor, Version},
};

/// What the operator asked for, and decided beforehand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub target: Option<Target>,
    pub allow_untested: bool,
    /// Objects of old data, by `KIND/NAME`, that may be lost.
    pub accept_loss: BTreeSet<String>,
    pub system_policies: Option<SystemPolicyChoice>,
    pub preferences: Preferences,
    /// Findings to go on in spite of, by id, with the reason.
    pub ignore: BTreeMap<String, String>,
    /// Whether nothing may be changed before someone approved the plan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_approval: bool,
    /// Whether each node pulls the new images only while it has no calico-node.
    #[serde(default)]
    pub is_pull_left_out: bool,
    #[serde(default)]
    pub pull_within_seconds: Option<u64>,
    pub batch: Option<usize>,
    pub ready_within_seconds: Option<u64>,
    pub stable_for_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watching: Option<usize>,
    /// An image of this program, for probes that watch packets between the nodes while they are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_image: Option<String>,
    /// Whether a snapshot of etcd's v3 keys is kept beside the backup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wants_etcd_snapshot: bool,
    /// Manifests that the operator gave, of releases that the program has none of. They decide the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplied: Option<Supplied>,
}

/// Where a run shall lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The newest safe release of a line.
    Line(Minor),
    Exact(Version),
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{} findings block the upgrade", .0.iter().filter(|finding| finding.blocks().is_some()).count())]
    Blocked(Vec<Finding>),
    #[error("the runbook gives `{text}` as {what}, which is no duration")]
    Duration { what: &'static str, text: String },
}

/// What is installed, once nothing about it is unknown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Installed<'a> {
    pub install: &'a Install,
    pub release: Version,
    pub flavour: Flavour,
    pub datastore: Datastore,
    pub edition: Edition,
}

/// All that steps are made from.
pub(super) struct Materials<'a> {
    pub inventory: &'a Inventory,
    pub installed: Installed<'a>,
    pub runbook: &'a Runbook,
    pub request: &'a Request,
    pub to: Version,
    pub base: Manifest,
    pub target: Manifest,
}

impl Materials<'_> {
    fn needs(&self, step: &RunbookStep) -> bool {
        let Installed { release, flavour, datastore, .. } = self.installed;
        step.is_needed((release, self.to), datastore, flavour)
    }

    /// Whether the way takes a step of the one kind, and before any of the other.
    pub fn takes_before(&self, first: StepKind, then: StepKind) -> bool {
        let mut needed = self.runbook.steps.iter().filter(|step| self.needs(step)).map(|step| step.step);
        needed.find(|kind| [first, then].contains(kind)) == Some(first)
    }
}

/// Makes the plan, or names everything that speaks against one.
pub fn make(
    inventory: &Inventory,
    catalogue: &Catalogue,
    runbook: &Runbook,
    request: &Request,
) -> Result<Plan, PlanError> {
    let mut findings = check::findings(inventory);
    let (installed, to) = match preconditions(inventory, catalogue, runbook, request) {
        Ok(known) => known,
        Err(more) => {
            findings.extend(more);
            return Err(blocked(findings, request));
        }
    };
    findings.extend(untested(inventory, installed, runbook, request));
    let materials = gather(inventory, catalogue, runbook, request, installed, to);
    findings.extend(crossing::findings(&materials));
    if let Some(finding) = given::of_another_kind(&materials) {
        findings.push(finding);
        // Questions about the fields of another kind of manifest would hide it.
        if !request.ignore.contains_key(given::OF_ANOTHER_KIND) {
            return Err(blocked(findings, request));
        }
    }
    let drafted = draft(&materials, runbook)?;
    findings.extend(check::owners_of_changed(drafted.steps.iter().flat_map(PlannedStep::changes).filter_map(
        |change| {
            Some((&change.object, change.before.as_ref()?)).filter(|(object, _)| inventory.object(object).is_none())
        },
    )));
    findings.extend(drafted.findings);
    check::ignore(&mut findings, &request.ignore);
    if findings.iter().any(|finding| finding.blocks().is_some()) {
        return Err(PlanError::Blocked(findings));
    }
    Ok(Plan {
        format: FORMAT,
        purpose: Purpose::Upgrade,
        cluster: inventory.cluster.clone(),
        daemon_set: installed.install.daemon_set.clone(),
        flavour: installed.flavour,
        datastore: installed.datastore,
        from: installed.release,
        to,
        runbook: runbook.clone(),
        request: request.clone(),
        steps: drafted.steps,
        omitted: drafted.omitted,
        findings,
        kept: drafted.kept,
    })
}

fn gather<'a>(
    inventory: &'a Inventory,
    catalogue: &Catalogue,
    runbook: &'a Runbook,
    request: &'a Request,
    installed: Installed<'a>,
    to: Version,
) -> Materials<'a> {
    let Installed { release, edition, .. } = installed;
    let (base, target) = match &request.supplied {
        Some(supplied) => (supplied.base(release), Some(supplied.new.manifest())),
        None => (runbook::base(catalogue, release, edition), runbook::target(catalogue, to, edition)),
    };
    Materials {
        inventory,
        installed,
        runbook,
        request,
        to,
        base: base.unwrap_or_default(),
        target: target.unwrap_or_default(),
    }
}

/// Decides every field of the release's objects, also where a plan cannot be made because something is still asked.
/// Answers the release to go to as well.
///
/// # Errors
/// `Blocked` if it is not known what is installed, or no way leads to the target.
pub fn decide(
    inventory: &Inventory,
    catalogue: &Catalogue,
    runbook: &Runbook,
    request: &Request,
) -> Result<(Version, Vec<Decision>), PlanError> {
    let (installed, to) = preconditions(inventory, catalogue, runbook, request).map_err(|more| {
        let findings = check::findings(inventory).into_iter().chain(more).collect();
        blocked(findings, request)
    })?;
    Ok((to, steps::decisions(&gather(inventory, catalogue, runbook, request, installed, to))))
}

fn blocked(mut findings: Vec<Finding>, request: &Request) -> PlanError {
    check::ignore(&mut findings, &request.ignore);
    PlanError::Blocked(findings)
}

/// What must be known before any step can be thought of; what is not known has a finding already.
fn preconditions<'a>(
    inventory: &'a Inventory,
    catalogue: &Catalogue,
    runbook: &Runbook,
    request: &Request,
) -> Result<(Installed<'a>, Version), Vec<Finding>> {
    let ([install], None) = (inventory.installs.as_slice(), &inventory.operator) else { return Err(Vec::new()) };
    let (Fact::Known(release), Fact::Known(flavour), Fact::Known(datastore), Some(edition)) =
        (&install.release, &install.flavour, &install.datastore, install.edition())
    else {
        return Err(Vec::new());
    };
    let installed = Installed { install, release: *release, flavour: *flavour, datastore: *datastore, edition };
    let to = target_release(catalogue, runbook, request).map_err(|finding| vec![*finding])?;
    let unsupplied = || request.supplied.as_ref().and_then(|supplied| given::lacking(supplied, installed));
    path(installed.release, to, runbook).or_else(unsupplied).map_or(Ok((installed, to)), |finding| Err(vec![finding]))
}

fn target_release(catalogue: &Catalogue, runbook: &Runbook, request: &Request) -> Result<Version, Box<Finding>> {
    let to = match (&request.supplied, request.target.unwrap_or(Target::Line(runbook.target))) {
        (Some(supplied), _) => Some(supplied.new.release),
        (None, Target::Line(line)) => catalogue.line(line).map(|line| line.latest),
        (None, Target::Exact(version)) => catalogue.release(version).map(|release| release.calico),
    };
    let no_path = |title: String| Finding::new("CU-P001", Severity::Final { exit: NO_PATH }, title);
    let Some(to) = to else {
        let finding = no_path("the target is no release that this version knows".to_owned());
        return Err(Box::new(finding.why("its images are unknown").now("calico-upgrader runbook list")));
    };
    let of_catalogue = catalogue.release(to).and_then(|release| release.avoid.clone());
    match of_catalogue.or_else(|| runbook.avoid.get(&to).cloned()) {
        Some(reason) if request.supplied.is_some() => {
            let finding = no_path(format!("Calico {to} is not safe to stop on")).why(reason);
            let now = format!("give the manifest of a newer release of {}: --manifests FILE", to.line());
            Err(Box::new(finding.now(now)))
        }
        Some(reason) => {
            let finding = no_path(format!("Calico {to} is not safe to stop on")).why(reason);
            let latest = catalogue.line(to.line()).map_or(to, |line| line.latest);
            Err(Box::new(finding.now(format!("calico-upgrader plan --to {latest}"))))
        }
        None => Ok(to),
    }
}

fn path(from: Version, to: Version, runbook: &Runbook) -> Option<Finding> {
    let finding = |title: String| Finding::new("CU-P002", Severity::Final { exit: NO_PATH }, title);
    if to < from {
        let why = "a newer Calico may have written data that the older one cannot read";
        let now = match is_supplied(from) && !is_supplied(to) {
            true => {
                "give the manifest of a newer release, and that of the installed one: --manifests FILE --manifests-before FILE"
            }
            false => "choose a newer target",
        };
        return Some(finding(format!("Calico {from} is installed, so {to} would be a downgrade")).why(why).now(now));
    }
    (!runbook.from.contains(from)).then(|| {
        finding(format!("no runbook leads from Calico {from} to {to}"))
            .evidence([format!("runbook {} starts from {}", runbook.target, runbook.from)])
            .now("calico-upgrader runbook list")
    })
}

fn untested(inventory: &Inventory, installed: Installed<'_>, runbook: &Runbook, request: &Request) -> Option<Finding> {
    let line = installed.release.line();
    let row = TestedRow { calico: Some(line), datastore: installed.datastore, kubernetes: inventory.kubernetes_line() };
    // Within a line nothing is converted and no object changes its shape.
    if runbook.is_tested(row) || line == runbook.target {
        return None;
    }
    let severity = if request.allow_untested { Severity::Advisory } else { Severity::Final { exit: NO_PATH } };
    let title = format!(
        "nobody upstream tested Calico {} on the {} datastore with Kubernetes {}",
        line,
        match row.datastore {
            Datastore::Kubernetes => "Kubernetes",
            Datastore::Etcd => "etcd",
        },
        row.kubernetes
    );
    let words = |row: &TestedRow| {
        let calico = row.calico.map_or("any".to_owned(), |line| line.to_string());
        format!("Calico {calico} · {} · Kubernetes {}", row.datastore, row.kubernetes)
    };
    let tested = runbook.tested.iter().map(|row| format!("tested: {}", words(row)));
    let missing = format!("missing: {}", words(&row));
    let finding = Finding::new("CU-P003", severity, title).evidence(tested.chain([missing]));
    let finding = finding.why(format!("upstream discourages other combinations in production ({})", runbook.source));
    Some(finding.now("try it on a copy of the cluster first; a run needs --allow-untested"))
}

/// The steps that have something to do, and why the others are left out.
#[derive(Default)]
struct Drafted {
    steps: Vec<PlannedStep>,
    omitted: Vec<Omitted>,
    findings: Vec<Finding>,
    kept: Vec<super::Kept>,
}

fn draft(materials: &Materials<'_>, runbook: &Runbook) -> Result<Drafted, PlanError> {
    let mut all = Drafted::default();
    let mut frame = Vec::new();
    for step in &runbook.steps {
        if !materials.needs(step) {
            let Installed { release, datastore, .. } = materials.installed;
            let why = format!("not needed from Calico {release} to {} on the {datastore} datastore", materials.to);
            all.omitted.push(Omitted { name: step.name.clone(), why });
            continue;
        }
        let drafted = draft_step(materials, step, &all.steps)?;
        all.findings.extend(drafted.findings);
        all.kept.extend(drafted.kept);
        match drafted.desired {
            // A backup and a verification are for changes: they come in when there are any.
            Some(desired @ (Desired::BackUp | Desired::Verify(_))) => {
                frame.push((all.steps.len(), planned(step, desired, drafted.summary)));
            }
            Some(desired) => all.steps.push(planned(step, desired, drafted.summary)),
            None => all.omitted.push(Omitted { name: step.name.clone(), why: drafted.summary }),
        }
    }
    if !all.steps.is_empty() {
        for (index, (place, step)) in frame.into_iter().enumerate() {
            all.steps.insert(place + index, step);
        }
    }
    Ok(all)
}

fn draft_step(materials: &Materials<'_>, step: &RunbookStep, earlier: &[PlannedStep]) -> Result<Draft, PlanError> {
    match step.step {
        StepKind::BackUp => Ok(steps::back_up(materials.installed.datastore, materials.request)),
        StepKind::PullImages => steps::pull_images(materials, &step.parameters),
        StepKind::ConvertPolicies => Ok(steps::convert_policies(materials)),
        StepKind::CopyResources => Ok(steps::copy_resources(materials)),
        StepKind::HealData => Ok(steps::heal_data(materials)),
        StepKind::ReplaceControllers => Ok(steps::replace_controllers(materials, earlier)),
        StepKind::ApplyManifests => Ok(steps::apply_manifests(materials, earlier)),
        StepKind::RemoveLeftovers => Ok(steps::remove_leftovers(materials.inventory.known_etcd())),
        StepKind::RollNodes => steps::roll_nodes(materials, &step.parameters, earlier),
        StepKind::Verify => Ok(steps::verify(materials, earlier)),
    }
}

fn planned(step: &RunbookStep, desired: Desired, summary: String) -> PlannedStep {
    let undo = desired.undo();
    PlannedStep { name: step.name.clone(), phase: step.phase.clone(), summary, undo, desired }
}

impl PlanError {
    /// The exit code: a decision that is needed outranks a missing path, which outranks a plain block.
    pub fn exit(&self) -> u8 {
        match self {
            PlanError::Blocked(findings) => findings.iter().filter_map(Finding::blocks).max().unwrap_or(BLOCKED),
            PlanError::Duration { .. } => 65,
        }
    }
}
