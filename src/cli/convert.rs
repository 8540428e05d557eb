use std::io::Read;

use serde_json::Value;

use super::{
    Ended,
    arguments::{Convert, ConvertFrom, ConvertTo},
    failure::Failure,
    session::{Session, choice},
    terminal,
};
use crate::{
    convert::{Conversion, NewObject, Verdict, convert_third_party_resources},
    door::{Faults, RunFiles},
    report,
};

pub fn convert(session: &Session, arguments: &Convert) -> Ended {
    // One way today; a second one breaks this match and must be decided on.
    let (ConvertFrom::Tpr, ConvertTo::Crd) = (arguments.from, arguments.to);
    let objects = read(&arguments.file)?;
    let conversion = convert_third_party_resources(objects, arguments.system_policies.map(choice));
    tell(session, arguments, &conversion)?;
    let blocking = conversion.blocking().count();
    if blocking > 0 && !arguments.partial {
        return Err(Failure::new(
            17,
            "CU-C011",
            format!("{blocking} of {} objects cannot be converted as they are", conversion.verdicts.len()),
        )
        .evidence(conversion.blocking().take(10).map(line))
        .why("nothing was written, so that nothing is lost without a word")
        .now("repair the objects, or take what can be converted with --partial"));
    }
    let bodies: Vec<Value> = conversion.objects.iter().map(NewObject::body).collect();
    let text = format!("{:#}\n", serde_json::to_value(bodies).unwrap_or_default());
    match arguments.out.as_str() {
        "-" => terminal::data(&text),
        path => std::fs::write(path, text).map_err(|error| Failure::bad_file(path, error.to_string()))?,
    }
    Ok(0)
}

fn read(file: &str) -> Result<Vec<Value>, Failure> {
    let wrong = |error: String| Failure::bad_file(file, error);
    let mut text = String::new();
    match file {
        "-" => std::io::stdin().read_to_string(&mut text).map(drop),
        path => std::fs::read_to_string(path).map(|read| text = read),
    }
    .map_err(|error| wrong(error.to_string()))?;
    match serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))? {
        Value::Array(objects) => Ok(objects),
        Value::Object(mut list) => match list.remove("items") {
            Some(Value::Array(objects)) => Ok(objects),
            _ => Err(wrong("it holds one object, and a list is expected".to_owned())),
        },
        _ => Err(wrong("it holds no list of objects".to_owned())),
    }
}

fn tell(session: &Session, arguments: &Convert, conversion: &Conversion) -> Result<(), Failure> {
    let mut text: String = conversion.verdicts.iter().map(|verdict| report::clean(&line(verdict)) + "\n").collect();
    text.push_str(&format!(
        "{} objects, {} converted, {} to be decided\n",
        conversion.verdicts.len(),
        conversion.objects.len(),
        conversion.blocking().count()
    ));
    match &arguments.report {
        Some(directory) => {
            let files = RunFiles::open(directory)?;
            files.write("report.txt", text.as_bytes(), &Faults::default())?;
            let json = serde_json::to_value(&conversion.verdicts).unwrap_or_default();
            files.write("report.json", format!("{json:#}\n").as_bytes(), &Faults::default())?;
        }
        None if session.global.quiet => {}
        None => terminal::chatter(&text),
    }
    Ok(())
}

fn line(verdict: &Verdict) -> String {
    let outcome = serde_json::to_value(verdict.outcome)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default();
    let target = verdict.target.as_ref().map(|target| format!(" → {target}")).unwrap_or_default();
    let notes = if verdict.notes.is_empty() { String::new() } else { format!(" ({})", verdict.notes.join("; ")) };
    format!("{outcome:<10}{}{target}: {}{notes}", verdict.source, verdict.reason)
}
