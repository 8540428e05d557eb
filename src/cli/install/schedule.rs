//! Whether a schedule is one that a CronJob takes: five fields as `cron` has them, or a name such as `@daily`.

use crate::cli::failure::Failure;

const NAMES: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A field: what it is called, its least and greatest value, and the words for values from the least on.
const FIELDS: [(&str, u8, u8, &[&str]); 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day", 1, 31, &[]),
    ("month", 1, 12, &MONTHS),
    ("weekday", 0, 6, &DAYS),
];

/// Refuses what no CronJob takes, with the field that is wrong.
pub fn check(schedule: &str) -> Result<(), Failure> {
    let wrong = |what: String| Failure::usage(format!("`--schedule {schedule}`: {what}"));
    if NAMES.contains(&schedule) {
        return Ok(());
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let names = FIELDS.map(|(name, ..)| name).join(", ");
        return Err(wrong(format!("it has {} fields, and a schedule has five: {names}", fields.len())));
    }
    for (text, (name, least, greatest, words)) in fields.iter().zip(FIELDS) {
        if !text.split(',').all(|part| is_good(part, least, greatest, words)) {
            return Err(wrong(format!("`{text}` is no {name} ({least}-{greatest}, lists, ranges and steps like */5)")));
        }
    }
    Ok(())
}

fn is_good(part: &str, least: u8, greatest: u8, words: &[&str]) -> bool {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let value = |text: &str| {
        let word = words.iter().position(|word| text.eq_ignore_ascii_case(word)).and_then(|at| u8::try_from(at).ok());
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u8>().ok()).flatten();
        word.map(|at| least + at).or(number).filter(|value| (least..=greatest).contains(value))
    };
    let is_step = step.is_none_or(|step| step.parse::<u8>().is_ok_and(|step| step > 0));
    let is_range = match range.split_once('-') {
        Some((from, to)) => value(from).zip(value(to)).is_some_and(|(from, to)| from <= to),
        None => range == "*" || value(range).is_some(),
    };
    is_step && is_range
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_of_cron_are_taken() {
        for good in ["0 22 * * 2,3", "*/5 0-6 1 JAN-MAR mon", "59 23 31 12 6", "@daily", "0 0-12/2 * * *"] {
            assert!(check(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_field_that_is_wrong() {
        for (bad, word) in [
            ("", "0 fields"),
            ("tonight", "1 fields"),
            ("60 22 * * *", "minute"),
            ("0 24 * * *", "hour"),
            ("0 22 0 * *", "day"),
            ("0 22 * 13 *", "month"),
            ("0 22 * * funday", "weekday"),
            ("0 22 * * 3-1", "weekday"),
            ("*/0 22 * * *", "minute"),
            ("0 22 * * * *", "6 fields"),
        ] {
            let failure = check(bad).expect_err(bad);
            assert!(failure.exit == 64 && failure.what.contains(word), "{bad}: {}", failure.what);
        }
    }
}
