//! What a shell and a reader of manuals need: completion scripts and man pages. And the name by which we were called.

use std::{ffi::OsStr, path::Path, sync::OnceLock};

use clap::CommandFactory;

use super::{
    Ended,
    arguments::{Arguments, Man},
    failure::Failure,
    terminal,
};

/// How the program is called, and how its messages name it.
pub const NAME: &str = "calico-upgrader";

/// kubectl finds the plugin for `kubectl calico-upgrader` by this name of its file.
const PLUGIN_FILE: &str = "kubectl-calico_upgrader";

/// How a person calls the program: by its own name, or as a plugin of kubectl.
pub fn called() -> &'static str {
    static CALLED: OnceLock<&str> = OnceLock::new();
    CALLED.get_or_init(|| match std::env::args_os().next() {
        Some(path) if Path::new(&path).file_name() == Some(OsStr::new(PLUGIN_FILE)) => "kubectl calico-upgrader",
        Some(_) | None => NAME,
    })
}

/// Prints a completion script.
pub fn completion(shell: clap_complete::Shell) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut script);
    // clap_complete 4.6.11 writes the hyphen of our name in two ways into a script for bash, which then knows no flag.
    terminal::data(&String::from_utf8_lossy(&script).replace("calico__subcmd__upgrader", "calico__upgrader"));
    Ok(0)
}

/// Prints the man page of the program, or writes one for it and one for each command.
pub fn man(arguments: &Man) -> Ended {
    let command = Arguments::command().disable_help_subcommand(true);
    let Some(directory) = &arguments.out else {
        terminal::data_by(|out| clap_mangen::Man::new(command).render(out));
        return Ok(0);
    };
    let wrong = |error: std::io::Error| Failure::bad_file(directory.display(), error.to_string());
    std::fs::create_dir_all(directory).map_err(wrong)?;
    clap_mangen::generate_to(command, directory).map_err(wrong)?;
    terminal::chatter_line(&format!("Written    {}/{NAME}*.1", directory.display()));
    Ok(0)
}

/// Names the program in a text for people as they called it: a command is there to be copied.
pub fn as_called(text: &str) -> std::borrow::Cow<'_, str> {
    if called() == NAME { text.into() } else { renamed(text, called()).into() }
}

/// Names the program otherwise where a command of it is meant, and not the objects and files of the same name.
fn renamed(text: &str, name: &str) -> String {
    let is_command = |rest: &str| {
        let verb = rest.strip_prefix(' ').and_then(|rest| rest.split(|one: char| !one.is_ascii_lowercase()).next());
        verb.is_some_and(|verb| Arguments::command().find_subcommand(verb).is_some())
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(NAME) {
        let (before, after) = (&rest[..at], &rest[at + NAME.len()..]);
        let stands_alone = !before.ends_with(|one: char| one.is_alphanumeric() || "-/_.".contains(one));
        out.push_str(before);
        out.push_str(if stands_alone && is_command(after) { name } else { NAME });
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_names_its_commands_as_kubectl_does_and_leaves_objects_alone() {
        let text = "now  calico-upgrader resume 7f3k; see Secret calico-upgrader/calico-upgrader-run-7f3k, \
                    Namespace calico-upgrader is there, ~/.local/state/calico-upgrader run";
        let expected = text.replace("calico-upgrader resume", "kubectl calico-upgrader resume");
        assert_eq!(renamed(text, "kubectl calico-upgrader"), expected);
    }
}
