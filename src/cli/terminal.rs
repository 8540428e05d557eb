//! The terminal: data goes to stdout, everything else to stderr. A closed pipe never changes what is done.

use std::io::{IsTerminal, Write};

use anstream::ColorChoice;

use super::{
    arguments::{Choice, Global, LogFormat, Output},
    shell::as_called,
};

/// Sets colour and log as asked.
pub fn set_up(global: &Global) {
    match global.color {
        Choice::Auto => {}
        Choice::Always => ColorChoice::Always.write_global(),
        Choice::Never => ColorChoice::Never.write_global(),
    }
    let level = match (global.quiet, global.verbose) {
        (true, _) => "calico_upgrader=error",
        (false, 0) => "calico_upgrader=warn",
        (false, 1) => "calico_upgrader=info",
        (false, 2) => "calico_upgrader=debug,warn",
        (false, _) => "trace",
    };
    let builder = tracing_subscriber::fmt().with_env_filter(level).with_writer(std::io::stderr);
    match global.log_format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal() && global.color != Choice::Never).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Prints data.
pub fn data(text: &str) {
    data_by(|out| out.write_all(text.as_bytes()));
}

/// Prints data piece by piece.
pub fn data_by(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) {
    let mut out = anstream::stdout();
    let _ = write(&mut out).and_then(|()| out.flush());
}

/// Prints words for people.
pub fn chatter(text: &str) {
    let mut out = anstream::stderr();
    let text = fold(&as_called(text), columns(std::io::stderr()));
    let _ = out.write_all(paint(&text).as_bytes()).and_then(|()| out.flush());
}

/// Prints a screen: data that people read, with the words that matter in colour where there is colour.
fn screen(text: &str) {
    data(&paint(&fold(&as_called(text), columns(std::io::stdout()))));
}

/// Breaks lines that a terminal is too narrow for, and sets what follows under the words of the first line.
fn fold(text: &str, columns: Option<u16>) -> String {
    let Some(columns) = columns.map(usize::from) else { return text.to_owned() };
    let fold_line = |line: &str| {
        let start = line.len() - line.trim_start().len();
        let label = line[start..]
            .find("  ")
            .map_or(0, |gap| gap + line[start + gap..].len() - line[start + gap..].trim_start().len());
        let indent = " ".repeat((start + label).min(columns / 3));
        let options = textwrap::Options::new(columns)
            .subsequent_indent(&indent)
            .word_separator(textwrap::WordSeparator::AsciiSpace);
        textwrap::wrap(line, options).join("\n")
    };
    let fits = |line: &str| line.chars().count() <= columns;
    let folded = text.split_inclusive('\n').map(|line| match line.strip_suffix('\n') {
        Some(line) if !fits(line) => fold_line(line) + "\n",
        None if !fits(line) => fold_line(line),
        Some(_) | None => line.to_owned(),
    });
    folded.collect()
}

/// The width of a terminal; `None` where there is none.
fn columns(stream: impl std::os::fd::AsFd) -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(size.ws_col).filter(|columns| *columns >= 40)
}

/// Colours the words at the start of lines that tell how things are. Colour never carries meaning alone, and `anstream` takes
/// it away where nobody can see it.
fn paint(text: &str) -> String {
    use owo_colors::OwoColorize;
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let start = line.trim_start();
        let (indent, word_end) =
            (line.len() - start.len(), start.find([' ', ']', ':']).map_or(start.len(), |end| end + 1));
        let (word, rest) = start.split_at(word_end.min(start.trim_end().len()));
        let painted = match word.trim_end_matches([' ', ':']) {
            word if word.starts_with("error[") || word == "BROKEN" => word.red().bold().to_string(),
            word if word.starts_with("warning[") || word == "WARN" => word.yellow().to_string(),
            "holds" | "proven" => word.green().to_string(),
            "Next" | "now" => word.cyan().to_string(),
            _ => word.to_owned(),
        };
        out.push_str(&line[..indent]);
        out.push_str(&painted);
        out.push_str(rest);
    }
    out
}

/// Prints one line for people.
pub fn chatter_line(text: &str) {
    chatter(&format!("{text}\n"));
}

/// Prints a value as asked: in words, or as data.
pub fn show(output: Output, value: &impl serde::Serialize, words: impl FnOnce() -> String) {
    match output {
        Output::Table => screen(&words()),
        Output::Markdown => data(&words()),
        Output::Json => data(&format!("{:#}\n", serde_json::to_value(value).unwrap_or_default())),
        Output::Yaml => data(&serde_saphyr::to_string(value).unwrap_or_default()),
    }
}

/// The width of the terminal; 100 where there is none.
pub fn width() -> u16 {
    columns(std::io::stdout()).unwrap_or(100)
}

/// Answers whether someone can be asked.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a question that only a `y` answers with yes.
pub fn confirm(question: &str) -> bool {
    matches!(ask(&format!("{question} [y/N]")).to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Asks for a word; nothing is said if nothing can be read.
pub fn ask(question: &str) -> String {
    chatter(&format!("{question} "));
    let mut answer = String::new();
    match std::io::stdin().read_line(&mut answer) {
        Ok(_) => answer.trim().to_owned(),
        Err(_) => String::new(),
    }
}

/// Prints help or a usage error, and answers its exit code.
pub fn print_usage(error: &clap::Error) -> u8 {
    let _ = error.print();
    if error.use_stderr() { 64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_too_long_for_a_terminal_is_set_under_its_words() {
        let line = "  evidence  one two three four five six seven eight nine ten eleven\n";
        let folded = fold(line, Some(45));
        assert_eq!(folded, "  evidence  one two three four five six seven\n            eight nine ten eleven\n");
        assert_eq!(fold(line, None), line);
    }

    #[test]
    fn colour_is_all_that_painting_adds() {
        let plain = "error[CU-E001]: a\n  now       b\n\n   \nholds   c\n  proven: d\nplain";
        let painted = paint(plain);
        assert_ne!(painted, plain);
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), plain);
    }
}
