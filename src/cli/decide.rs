//! What the operator decided beforehand: the flags and the file of decisions, and a file to fill in.

use std::{collections::BTreeMap, path::Path};

use super::{
    Ended,
    arguments::{Planning, Waivers},
    failure::Failure,
    session::{Session, Wanted},
    terminal,
};
use crate::{
    check::CHECKS,
    cluster::Cluster,
    plan::{self, Choice, Preference, Preferences, Verdict, decisions},
    runbook,
};

/// The finding about other tools, which has a flag of its own.
const OTHER_TOOLS: &str = "CU-C014";

/// What --decisions, --keep and --take say together.
pub fn preferences(planning: &Planning) -> Result<Preferences, Failure> {
    let mut all = planning.decisions.as_deref().map(read).transpose()?.unwrap_or_default();
    for (fields, decision) in [(&planning.keep, Preference::Keep), (&planning.take, Preference::Take)] {
        for field in fields {
            if !all.add(field.clone(), Choice { decision, why: None }) {
                return Err(Failure::usage(format!("`{field}` is both to be kept and to be taken")));
            }
        }
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Preferences, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::bad_file(path.display(), error.to_string()))?;
    decisions::read(&text).map_err(|error| {
        let place = match (error.line, error.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", path.display()),
            _ => path.display().to_string(),
        };
        Failure::bad_file(place, error.to_string())
            .now("calico-upgrader plan --write-decisions FILE writes one that only has to be filled in")
    })
}

/// The findings to go on in spite of, by id, with the reason.
pub fn reasons(waivers: &Waivers) -> Result<BTreeMap<String, String>, Failure> {
    let ignored = waivers.ignore.iter().map(|text| ignored(text));
    ignored.chain(waivers.gitops.iter().map(|text| gitops(text))).collect()
}

/// Reads `ID=REASON`; a waiver without a reason is none.
fn ignored(text: &str) -> Result<(String, String), Failure> {
    let wrong = || Failure::usage(format!("`--ignore {text}` needs a reason: write --ignore ID=REASON"));
    let (id, reason) = text.split_once('=').filter(|(_, reason)| !reason.trim().is_empty()).ok_or_else(wrong)?;
    if id == OTHER_TOOLS {
        return Err(Failure::usage(format!("{id} is about other tools: write --gitops 'ignore={reason}'")));
    }
    if runbook::gates().find(id).is_some()
        || id == plan::OF_ANOTHER_KIND
        || CHECKS.iter().any(|(known, _)| *known == id)
    {
        Ok((id.to_owned(), reason.to_owned()))
    } else {
        Err(Failure::usage(format!(
            "there is no check and no gate `{id}`: see calico-upgrader check --list and calico-upgrader explain"
        )))
    }
}

/// Reads `ignore=REASON`: the waiver of the finding about other tools.
fn gitops(text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some(("ignore", reason)) if !reason.trim().is_empty() => Ok((OTHER_TOOLS.to_owned(), reason.to_owned())),
        _ => Err(Failure::usage(format!("`--gitops {text}` needs a reason: write --gitops ignore=REASON"))),
    }
}

/// Writes the fields that are still to be decided into a new file.
pub async fn write(session: &Session, cluster: &Cluster, planning: &Planning, path: &Path) -> Ended {
    let wanted = Wanted::read(planning)?;
    let inventory = session.look(cluster, &wanted.catalogue, wanted.request.supplied.as_ref()).await?;
    let (to, all) = plan::decide(&inventory, &wanted.catalogue, &wanted.runbook, &wanted.request)?;
    let open = all.iter().filter(|one| one.verdict == Verdict::Asked).count();
    write_new(path, &decisions::draft(&all, to))?;
    let place = path.display();
    terminal::chatter_line(&match open {
        0 => format!("{place} holds no field: nothing is to be decided"),
        open => format!("{place} holds {open} fields to decide. Next: fill it in, then plan --decisions {place}"),
    });
    Ok(0)
}

/// A file with answers in it is never overwritten.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| Failure::bad_file(path.display(), error.to_string()).now("name a file that is not there"))
}
