use super::{
    Ended,
    arguments::{Check, Planning},
    decide,
    failure::Failure,
    session::{Session, Wanted},
    terminal,
};
use crate::{
    check::{self, CHECKS, Finding},
    inventory::Inventory,
    observe,
    plan::{self, PlanError},
    report, runbook,
};

pub async fn check(session: &Session, arguments: &Check) -> Ended {
    if arguments.list {
        let rows = CHECKS.iter().map(|(id, what)| vec![(*id).to_owned(), (*what).to_owned()]).collect();
        terminal::data(&report::table(&["CHECK", "HOLDS WHEN"], rows, terminal::width()));
        return Ok(0);
    }
    let is_known = |id: &String| CHECKS.iter().any(|(known, _)| known == id) || runbook::gates().find(id).is_some();
    if let Some(unknown) = arguments.ids.iter().find(|id| !is_known(id)) {
        return Err(Failure::usage(format!("there is no check `{unknown}`: see calico-upgrader check --list")));
    }
    let reasons = decide::reasons(&arguments.waivers)?;
    let mut findings = all_findings(session, arguments).await?;
    let is_asked = |finding: &Finding| arguments.ids.iter().any(|id| *id == finding.id || id == finding.name());
    findings.retain(|finding| arguments.ids.is_empty() || is_asked(finding));
    check::ignore(&mut findings, &reasons);
    let held =
        CHECKS.iter().filter(|(id, _)| arguments.ids.is_empty() || arguments.ids.iter().any(|wanted| wanted == id));
    let held = held.filter(|(id, _)| !findings.iter().any(|finding| finding.id == *id)).count();
    terminal::show(session.global.output, &findings, || {
        format!("{}{held} checks hold, {} findings\n", report::findings(&findings), findings.len())
    });
    Ok(findings.iter().filter_map(Finding::blocks).max().unwrap_or(0))
}

/// The findings of the inventory, and those that only show when a plan is made.
async fn all_findings(session: &Session, arguments: &Check) -> Result<Vec<Finding>, Failure> {
    let mut wanted = Wanted::read(&Planning { files: arguments.files.clone(), ..Planning::default() })?;
    wanted.request.allow_untested = true;
    let cluster = session.connect().await?;
    let mut inventory =
        session.look_as_far_as_possible(&cluster, &wanted.catalogue, wanted.request.supplied.as_ref()).await?;
    let make = |inventory: &Inventory| plan::make(inventory, &wanted.catalogue, &wanted.runbook, &wanted.request);
    let mut planned = make(&inventory);
    if let Ok(plan) = &planned {
        let missing = observe::missing_to_give(&cluster, plan).await?;
        if !missing.is_empty() {
            inventory.rights_missing.extend(missing);
            planned = make(&inventory);
        }
    }
    let clocks = check::clocks(session.faults().now(), cluster.clock().await?);
    match planned {
        Ok(plan) => Ok(plan.findings),
        Err(PlanError::Blocked(findings)) => Ok(findings),
        Err(other) => Err(Failure::from(other)),
    }
    .map(|findings| findings.into_iter().chain(clocks).collect())
}
