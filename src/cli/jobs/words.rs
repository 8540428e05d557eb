//! What a pod is called with: the flags of this call, as they were typed or as the environment has them.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, parser::ValueSource};

use crate::{
    cli::{
        arguments::{Arguments, Datastore, Gates, Lease, Planning, Traces},
        failure::Failure,
    },
    plan::Sealed,
};

/// For a run, by a plan that is handed over or by one that the pod makes.
pub fn of_run(saved: Option<&Sealed>) -> Result<Vec<String>, Failure> {
    let mut ids = ids::<Gates>();
    ids.extend(ids_of_every_run());
    ids.push("until".to_owned());
    let mut words = ["run", "--yes", "--or-resume"].map(str::to_owned).to_vec();
    match saved {
        Some(sealed) => words.push(format!("--handed-over={}", sealed.digest.text())),
        None => ids.extend(self::ids::<Planning>()),
    }
    words.extend(forwarded("run", &ids)?);
    Ok(words)
}

/// For one step of a run; `verb` is how this program was called.
pub fn of_step(verb: &str, run: &str, step: &str) -> Result<Vec<String>, Failure> {
    let mut ids = ids::<Gates>();
    ids.extend(ids_of_every_run());
    let own = ["resume", run, "--yes", "--only-step", step].map(str::to_owned);
    Ok(own.into_iter().chain(forwarded(verb, &ids)?).collect())
}

fn ids_of_every_run() -> Vec<String> {
    [ids::<Lease>(), ids::<Datastore>(), ids::<Traces>()].concat()
}

/// The names of a group of flags.
fn ids<T: Args>() -> Vec<String> {
    let group = T::augment_args(Command::new("group"));
    group.get_arguments().map(|argument| argument.get_id().to_string()).collect()
}

fn forwarded(verb: &str, ids: &[String]) -> Result<Vec<String>, Failure> {
    let mut command = Arguments::command();
    // Builds it, so that flags of every command are part of each.
    command.build();
    let matches = command.clone().try_get_matches_from(std::env::args_os());
    let matches = matches.map_err(|error| Failure::usage(error.to_string()))?;
    let (Some(verb), Some(given)) = (command.find_subcommand(verb), matches.subcommand_matches(verb)) else {
        return Ok(Vec::new());
    };
    let wanted = verb.get_arguments().filter(|argument| ids.iter().any(|id| id == argument.get_id().as_str()));
    let words: Result<Vec<Vec<String>>, Failure> = wanted.map(|argument| words_of(argument, given)).collect();
    Ok(words?.concat())
}

/// A flag with its values, if it was given.
fn words_of(argument: &Arg, given: &ArgMatches) -> Result<Vec<String>, Failure> {
    let id = argument.get_id().as_str();
    let is_given = !matches!(given.value_source(id), None | Some(ValueSource::DefaultValue));
    let Some(flag) = argument.get_long().map(|long| format!("--{long}")).filter(|_| is_given) else {
        return Ok(Vec::new());
    };
    if matches!(argument.get_action(), ArgAction::SetTrue) {
        return Ok(if given.get_flag(id) { vec![flag] } else { Vec::new() });
    }
    if argument.get_value_parser().type_id() == std::any::TypeId::of::<PathBuf>() {
        return Err(of_this_machine(&flag));
    }
    let occurrences = given.get_raw_occurrences(id).into_iter().flatten();
    let occurrences = occurrences.map(|values| values.map(|value| value.to_string_lossy().into_owned()).collect());
    let is_single = argument.get_num_args().is_none_or(|number| number.max_values() <= 1);
    Ok(occurrences.flat_map(|values| spelled(&flag, values, is_single)).collect())
}

fn spelled(flag: &str, values: Vec<String>, is_single: bool) -> Vec<String> {
    match is_single {
        true => values.into_iter().map(|value| format!("{flag}={value}")).collect(),
        false => std::iter::once(flag.to_owned()).chain(values).collect(),
    }
}

fn of_this_machine(flag: &str) -> Failure {
    Failure::usage(format!("{flag} names a file of this machine, which a pod cannot read"))
        .why("nothing was changed")
        .now("calico-upgrader plan with that flag and --out FILE, then run FILE --as-job; secrets of etcd come from the install")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(flags: &[&str]) -> Result<Vec<String>, u8> {
        let mut command = Arguments::command();
        command.build();
        let called = ["calico-upgrader", "run"].iter().chain(flags);
        let matches = command.clone().try_get_matches_from(called).unwrap();
        let (run, given) = (command.find_subcommand("run").unwrap(), matches.subcommand_matches("run").unwrap());
        let ids = [ids::<Planning>(), ids::<Gates>(), ids_of_every_run()].concat();
        let wanted = run.get_arguments().filter(|argument| ids.iter().any(|id| id == argument.get_id().as_str()));
        let words: Result<Vec<_>, Failure> = wanted.map(|argument| words_of(argument, given)).collect();
        words.map(|words| words.concat()).map_err(|failure| failure.exit)
    }

    #[test]
    fn flags_that_were_given_go_along_and_others_do_not() {
        assert_eq!(words(&["--yes", "--image", "a:1", "--as-job"]), Ok(vec![]));
        let given = ["--to=v2.6", "--keep=A/b:c", "--keep=A/b:d", "--no-pull", "--alert-gate", "http://a", "up == 0"];
        let mut sorted = words(&given).unwrap();
        sorted.retain(|word| given.contains(&word.as_str()));
        assert_eq!(sorted.len(), given.len());
        assert_eq!(words(&["--otlp-endpoint", "https://a"]), Ok(vec!["--otlp-endpoint=https://a".to_owned()]));
        let endpoints = words(&["--etcd-endpoints", "http://a:1,http://b:1"]).unwrap();
        assert_eq!(endpoints, ["--etcd-endpoints=http://a:1", "--etcd-endpoints=http://b:1"]);
    }

    #[test]
    fn files_of_this_machine_are_refused() {
        for flag in ["--accept-loss", "--runbook", "--decisions", "--etcd-ca-cert-file", "--etcd-password-file"] {
            assert_eq!(words(&[flag, "here"]), Err(64), "{flag}");
        }
    }
}
