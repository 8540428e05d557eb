use super::{
    Ended,
    arguments::{Diff, Output},
    failure::Failure,
    session::{Session, Wanted},
    terminal,
};
use crate::{
    observe,
    plan::{self, Decision, Verdict},
    report,
    resource::ObjectRef,
};

pub async fn diff(session: &Session, arguments: &Diff) -> Ended {
    let cluster = session.connect_with_data().await?;
    let wanted = Wanted::read(&arguments.planning)?;
    let inventory = session.look(&cluster, &wanted.catalogue, wanted.request.supplied.as_ref()).await?;
    let (to, decisions) = plan::decide(&inventory, &wanted.catalogue, &wanted.runbook, &wanted.request)?;
    let known: Vec<ObjectRef> = inventory.objects.iter().map(|stored| stored.object.clone()).collect();
    let decisions = only(decisions, &known, &arguments.objects)?;
    let mut objects: Vec<ObjectRef> = decisions.iter().map(|one| one.object.clone()).collect();
    objects.dedup();
    let ownership = observe::ownership(&cluster, &objects).await?;
    let rows = report::diff_rows(&decisions, &ownership);
    let from = super::session::installed(&inventory).map(|release| release.to_string()).unwrap_or_default();
    let title = report::DiffTitle { from, to: to.to_string() };
    terminal::show(session.global.output, &rows, || match session.global.output {
        Output::Markdown => report::diff_markdown(&title, &rows),
        Output::Table | Output::Json | Output::Yaml => report::diff_text(&title, &rows, terminal::width()),
    });
    let open = decisions.iter().filter(|one| one.verdict == Verdict::Asked).count();
    if open > 0 && session.global.output == Output::Table {
        terminal::chatter_line(&format!(
            "Next       say --keep or --take for {open} fields, or calico-upgrader plan --write-decisions FILE"
        ));
    }
    Ok(if arguments.detailed_exitcode && !rows.is_empty() { 2 } else { 0 })
}

/// Picks the objects that were named; a name that fits none is an error, since an empty answer would look like no difference.
fn only(all: Vec<Decision>, known: &[ObjectRef], names: &[String]) -> Result<Vec<Decision>, Failure> {
    let name_of = |object: &ObjectRef| format!("{}/{}", object.kind, object.name);
    let mut known: Vec<String> = known.iter().chain(all.iter().map(|one| &one.object)).map(name_of).collect();
    known.sort();
    known.dedup();
    if let Some(wrong) = names.iter().find(|name| !known.iter().any(|one| one.eq_ignore_ascii_case(name))) {
        let what = format!("`{wrong}` is no object of the install");
        return Err(Failure::usage(what).evidence([format!("objects: {}", known.join(", "))]));
    }
    let is_wanted =
        |one: &Decision| names.is_empty() || names.iter().any(|name| name_of(&one.object).eq_ignore_ascii_case(name));
    Ok(all.into_iter().filter(is_wanted).collect())
}
