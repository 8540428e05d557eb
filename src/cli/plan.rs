use super::{
    Ended,
    arguments::{Output, Plan, Planning},
    failure::Failure,
    session::{Session, Wanted},
    terminal,
};
use crate::{
    cluster::Cluster,
    inventory::Inventory,
    plan::{self, Sealed},
    report,
};

pub async fn plan(session: &Session, arguments: &Plan) -> Ended {
    let cluster = session.connect_with_data().await?;
    if let Some(path) = &arguments.write_decisions {
        return super::decide::write(session, &cluster, &arguments.planning, path).await;
    }
    let (sealed, inventory) = make(session, &cluster, &arguments.planning).await?;
    show(session, &sealed, &inventory);
    tracing::info!(requests = cluster.requests(), "planned");
    if let Some(path) = &arguments.out {
        write(path, &sealed)?;
    }
    if session.global.output == Output::Table && !sealed.plan.is_empty() {
        let what = arguments.out.as_ref().map_or_else(same_flags, |path| path.display().to_string());
        terminal::chatter_line(&format!("Next       calico-upgrader run {what} --dry-run"));
    }
    Ok(if arguments.detailed_exitcode && !sealed.plan.is_empty() { 2 } else { 0 })
}

/// The flags of this call, to be copied behind `run`.
fn same_flags() -> String {
    let only_of_plan = |word: &String| word == "plan" || word == "--detailed-exitcode";
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !only_of_plan(word)).collect();
    words.join(" ")
}

/// Looks at the cluster and makes the plan.
pub async fn make(session: &Session, cluster: &Cluster, planning: &Planning) -> Result<(Sealed, Inventory), Failure> {
    let wanted = Wanted::read(planning)?;
    let inventory = session.look(cluster, &wanted.catalogue, wanted.request.supplied.as_ref()).await?;
    let plan = plan::make(&inventory, &wanted.catalogue, &wanted.runbook, &wanted.request)?;
    Ok((Sealed::new(plan), inventory))
}

pub fn show(session: &Session, sealed: &Sealed, inventory: &Inventory) {
    if session.global.output == Output::Json {
        // The very text that `--out` writes: what is printed can be run.
        return terminal::data_by(|out| sealed.write(out));
    }
    let digest = sealed.digest.short();
    let words = || match session.global.output {
        Output::Markdown => report::markdown(&sealed.plan, &digest, inventory),
        Output::Table | Output::Json | Output::Yaml => {
            report::plan(&sealed.plan, &digest, inventory, terminal::width())
        }
    };
    terminal::show(session.global.output, sealed, words);
}

/// Writes a plan that the operator asked for: readable by its owner alone, and never over another file's link.
fn write(path: &std::path::Path, sealed: &Sealed) -> Result<(), Failure> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    let name =
        path.file_name().and_then(|name| name.to_str()).ok_or_else(|| Failure::usage("--out needs a file name"))?;
    let files = crate::door::RunFiles::open(parent)?;
    Ok(files.write_by(name, &crate::door::Faults::default(), |file| sealed.write(file))?)
}
