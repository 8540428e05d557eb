//! `install`: prints what runs the program in a cluster, for the API versions of that cluster. It applies nothing.

mod etcd;
mod job;
mod rbac;
mod retries;
mod schedule;
mod templates;

use clap::Parser;
use serde_json::Value;

pub use job::{NAME, Template};
pub use retries::final_exits;
pub use templates::has_pod_failure_policies;

use super::{
    Ended,
    arguments::{
        Arguments, Command, DatastoreChoice, Install, InstallAction, InstallManifests, InstallRbac, JobMode, Output,
        RightsFor,
    },
    failure::Failure,
    session::{Session, supplied},
    terminal,
};
use crate::{
    cluster::Places,
    inventory::Datastore,
    observe::{Mode, Scope, given, rights_of},
    version::{Minor, Version},
};

pub async fn install(session: &Session, arguments: &Install) -> Ended {
    match &arguments.action {
        InstallAction::Rbac(arguments) => print_rbac(session, arguments).await,
        InstallAction::Manifests(arguments) => print_manifests(session, arguments).await,
    }
}

async fn print_rbac(session: &Session, arguments: &InstallRbac) -> Ended {
    let (kubernetes, places) = target(session, arguments.kube_version.as_deref()).await?;
    let mode = match arguments.mode {
        RightsFor::Plan => Mode::Plan,
        RightsFor::Run => Mode::Run,
        RightsFor::Rollback => Mode::Rollback,
        RightsFor::AsJob => Mode::AsJob,
    };
    let datastore = match session.global.datastore.datastore {
        DatastoreChoice::Etcdv2 => Datastore::Etcd,
        DatastoreChoice::Auto | DatastoreChoice::Kubernetes => Datastore::Kubernetes,
    };
    let supplied = supplied(&arguments.files)?;
    let supplied = supplied.as_ref();
    // What is printed makes the namespace.
    let scope = Scope {
        places: &places,
        datastore,
        has_namespace: true,
        recreates: arguments.recreate,
        has_probes: arguments.probes,
        supplied,
    };
    let objects = rbac::objects(mode, &rights_of(mode, &scope), &given(mode, datastore, supplied), &places, kubernetes);
    let mut notes = vec![
        format!("What `{}` of calico-upgrader needs on Kubernetes {}.", mode_name(mode), kubernetes.line()),
        match datastore {
            _ if supplied.is_some() => "For Calico v3 with the objects of the given manifests.",
            Datastore::Kubernetes => "For Calico's data in the Kubernetes API; print it with --datastore etcdv2 for etcd.",
            Datastore::Etcd => "For Calico's data in etcd.",
        }
        .to_owned(),
        "Discovery and questions about own rights are open to every account that logs in (system:discovery, system:basic-user)."
            .to_owned(),
    ];
    if datastore == Datastore::Etcd {
        notes.extend(etcd::role(mode));
    }
    show(session, &notes, &objects);
    Ok(0)
}

async fn print_manifests(session: &Session, arguments: &InstallManifests) -> Ended {
    job::check(arguments)?;
    check_flags(arguments)?;
    let (kubernetes, _) = target(session, arguments.kube_version.as_deref()).await?;
    let objects = job::objects(arguments, kubernetes)?;
    let mode = job::mode(arguments);
    let mut notes = vec![
        format!("Runs calico-upgrader in a cluster of Kubernetes {}.", kubernetes.line()),
        format!("Its account comes first: calico-upgrader install rbac --mode {}", mode_name(mode)),
    ];
    if arguments.place.api_server.is_none() {
        notes.push(
            "The pod finds the API server by the Service `kubernetes`; --api-server HOST:PORT goes around it."
                .to_owned(),
        );
    }
    show(session, &notes, &objects);
    Ok(0)
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Plan => "plan",
        Mode::Run => "run",
        Mode::Rollback => "rollback",
        Mode::AsJob => "run --as-job",
    }
}

/// Flags that the pod could not read are refused now, and not when the schedule comes.
fn check_flags(arguments: &InstallManifests) -> Result<(), Failure> {
    let verb = match arguments.mode {
        JobMode::Job | JobMode::CronJob => "run",
        JobMode::Plan => "plan",
        JobMode::Rollback => "rollback",
    };
    let window = arguments.window.iter().filter(|_| verb == "run").flat_map(|window| ["--window", window.as_str()]);
    let words = ["calico-upgrader", verb].into_iter().chain(window).chain(arguments.flags.iter().map(String::as_str));
    match Arguments::try_parse_from(words).map(|parsed| parsed.command) {
        Ok(Command::Run(run)) => super::gates::read(&run.gates).map(drop),
        Ok(_) => Ok(()),
        Err(error) => {
            let told = error.to_string();
            let line = told.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Err(Failure::usage(format!("`{verb}` does not take these flags: {line}")))
        }
    }
}

/// The Kubernetes to print for: the one that was named, or the one of the cluster.
async fn target(session: &Session, named: Option<&str>) -> Result<(Version, Places), Failure> {
    match named {
        Some(text) => {
            let version = kube_version(text)?;
            Ok((version, Places::of(version)))
        }
        None => {
            let offline = "name the Kubernetes to print for, and no cluster is asked: --kube-version 1.34";
            let cluster = session.connect().await.map_err(|failure| failure.now(offline))?;
            Ok((cluster.kubernetes, cluster.places()))
        }
    }
}

/// Before v1.6 there is no RBAC to print for.
fn kube_version(text: &str) -> Result<Version, Failure> {
    let of_line = |line: Minor| Version::new(line.major, line.minor, 0);
    let version = text.parse::<Version>().ok().or_else(|| text.parse::<Minor>().ok().map(of_line));
    let known = version.filter(|version| version.major == 1 && version.minor >= 6);
    known.ok_or_else(|| {
        Failure::usage(format!("`--kube-version {text}` is no release of Kubernetes from 1.6 on: write it like 1.34"))
    })
}

/// As one stream of YAML that `kubectl` takes, or as one List.
fn show(session: &Session, notes: &[String], objects: &[Value]) {
    match session.global.output {
        Output::Json => {
            let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
            terminal::data(&format!("{list:#}\n"));
        }
        Output::Table | Output::Yaml | Output::Markdown => {
            let notes: String = notes.iter().map(|note| format!("# {note}\n")).collect();
            let yaml = objects.iter().map(|object| format!("---\n{}", text(object)));
            terminal::data(&format!("{notes}{}", yaml.collect::<String>()));
        }
    }
}

fn text(object: &Value) -> String {
    let text = serde_saphyr::to_string(object).expect("a JSON value is plain data");
    if text.ends_with('\n') { text } else { text + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_kubernetes_are_read_and_nonsense_is_not() {
        assert_eq!(kube_version("1.34").ok(), Some(Version::new(1, 34, 0)));
        assert_eq!(kube_version("v1.8.15").ok(), Some(Version::new(1, 8, 15)));
        for text in ["", "latest", "1.5", "2.0", "34"] {
            assert_eq!(kube_version(text).map_err(|failure| failure.exit), Err(64), "{text}");
        }
    }
}
