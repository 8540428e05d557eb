use super::{
    Ended,
    arguments::{OfRun, Planning},
    failure::Failure,
    session::{Session, installed},
    terminal,
};
use crate::{
    cluster::Cluster,
    door::{self, Record},
    plan::Plan,
    report, runbook,
    step::{self, Claim, StepError},
};

pub async fn verify(session: &Session, arguments: &OfRun) -> Ended {
    let cluster = session.connect_with_data().await?;
    let claims = match planned(&cluster, arguments.run.as_deref()).await? {
        Some(plan) => of_plan(&cluster, &plan).await?,
        None => of_release(session, &cluster).await?,
    };
    terminal::show(session.global.output, &claims, || words(&claims));
    Ok(if claims.iter().all(|claim| claim.holds) { 0 } else { 5 })
}

/// The plan of the named run, or of the newest.
async fn planned(cluster: &Cluster, named: Option<&str>) -> Result<Option<Plan>, Failure> {
    let newest = || async { Ok::<_, Failure>(door::runs(cluster).await?.pop().map(|state| state.run)) };
    let run = match named {
        Some(run) => Some(run.to_owned()),
        None => newest().await?,
    };
    match run {
        Some(run) => Ok(Some(Record::open(cluster, &run).await?.plan().await?.plan)),
        None => Ok(None),
    }
}

async fn of_plan(cluster: &Cluster, plan: &Plan) -> Result<Vec<Claim>, Failure> {
    match plan.verification() {
        Some(verify) => step::claims(cluster, plan, verify).await.map_err(failed),
        None => Err(Failure::new(3, "CU-E006", "the plan of this run has no verification")),
    }
}

/// Without a run: the installed release must be as it ships, so a plan for it must have nothing to do.
async fn of_release(session: &Session, cluster: &Cluster) -> Result<Vec<Claim>, Failure> {
    let catalogue = runbook::catalogue();
    let inventory = session.look(cluster, &catalogue, None).await?;
    let release = installed(&inventory);
    if release.is_none_or(|release| runbook::find(release.line()).is_none()) {
        let failure = Failure::new(3, "CU-E006", "there is no run to verify, and no runbook for the installed release");
        let known = format!("runbooks lead to: {}", runbook::names().join(", "));
        return Err(failure.evidence([known]).now("calico-upgrader discover, or plan --to v2.6"));
    }
    let release = release.map(|release| release.to_string());
    let (sealed, _) = super::plan::make(
        session,
        cluster,
        &Planning { to: release.clone(), allow_untested: true, ..Planning::default() },
    )
    .await?;
    let facts = sealed.plan.changes().map(|change| format!("{} {}", change.verb(), change.object));
    let text = format!("Calico {} is as it ships, but for settings made by hand", release.unwrap_or_default());
    Ok(vec![Claim { text, holds: sealed.plan.is_empty(), facts: facts.collect() }])
}

fn failed(error: StepError) -> Failure {
    match error {
        StepError::Cluster(error) => error.into(),
        other => Failure::unexpected(&other),
    }
}

fn words(claims: &[Claim]) -> String {
    let mut out = String::new();
    for claim in claims {
        out.push_str(&format!("{}  {}\n", if claim.holds { "holds " } else { "BROKEN" }, claim.text));
        claim.facts.iter().take(20).for_each(|fact| out.push_str(&format!("        {fact}\n")));
    }
    report::clean(&out)
}
