use super::{Ended, arguments::Explain, failure::Failure, session::Session, terminal};
use crate::report::{self, Explained};

pub fn explain(session: &Session, arguments: &Explain) -> Ended {
    let Some(wanted) = &arguments.code else {
        list(session);
        return Ok(0);
    };
    let found = wanted
        .parse()
        .map_or_else(|_| report::explain_gate(wanted).or_else(|| report::explain_code(wanted)), report::explain_exit);
    let explained = found.ok_or_else(|| unknown(wanted))?;
    terminal::show(session.global.output, &explained, || words(&explained));
    Ok(0)
}

fn unknown(wanted: &str) -> Failure {
    Failure::usage(format!("there is no code `{wanted}`"))
        .evidence([format!("nearest: {}", report::nearest(wanted).join(", "))])
        .now("calico-upgrader explain, which lists all")
}

fn list(session: &Session) {
    let all = report::all_explained();
    terminal::show(session.global.output, &all, || {
        let row = |one: &Explained| {
            let code = one.code.clone().unwrap_or_default();
            vec![code, exits(one), one.first_sentence().to_owned()]
        };
        report::table(&["CODE", "EXIT", "WHAT"], all.iter().map(row).collect(), terminal::width())
    });
}

fn exits(one: &Explained) -> String {
    one.exit.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

fn words(one: &Explained) -> String {
    let title = one.code.as_ref().map_or_else(|| format!("exit {}", exits(one)), Clone::clone);
    let mut out = format!("{title}\n");
    for (label, text) in [("cause", &one.cause), ("look", &one.look), ("now", &one.next)] {
        if !text.is_empty() {
            out.push_str(&format!("  {label:<8}  {text}\n"));
        }
    }
    out
}
