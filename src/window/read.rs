//! Reads windows and freezes as people write them, and says what is wrong at which column.

use jiff::{
    civil::{Date, Time, Weekday},
    tz::{TimeZone, TimeZoneDatabase},
};

use super::{Freeze, Window};

/// How a window is written.
const WINDOW: &str = "Tue,Wed 22:00-02:00 Europe/Berlin";
/// How a freeze is written.
const FREEZE: &str = "2026-12-20..2027-01-05";

const DAYS: [(&str, Weekday); 7] = [
    ("Monday", Weekday::Monday),
    ("Tuesday", Weekday::Tuesday),
    ("Wednesday", Weekday::Wednesday),
    ("Thursday", Weekday::Thursday),
    ("Friday", Weekday::Friday),
    ("Saturday", Weekday::Saturday),
    ("Sunday", Weekday::Sunday),
];

/// A window or a freeze that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {what}")]
pub struct WindowError {
    pub text: String,
    /// Counted in characters from 1.
    pub column: usize,
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

/// Part of a text, and where it begins in it.
#[derive(Clone, Copy)]
struct Part<'t> {
    whole: &'t str,
    start: usize,
    text: &'t str,
}

impl<'t> Part<'t> {
    fn whole(text: &'t str) -> Self {
        Self { whole: text, start: 0, text }
    }

    fn wrong(self, what: impl Into<String>, instead: impl Into<String>) -> WindowError {
        let column = self.whole[..self.start].chars().count() + 1;
        WindowError { text: self.whole.to_owned(), column, what: what.into(), instead: instead.into() }
    }

    /// The parts between separators, each with its place.
    fn split(self, separator: &str) -> Vec<Part<'t>> {
        let at = |text: &str| text.as_ptr() as usize - self.whole.as_ptr() as usize;
        self.text.split(separator).map(|text| Part { start: at(text), text, ..self }).collect()
    }

    fn words(self) -> Vec<Part<'t>> {
        self.split(" ").into_iter().filter(|word| !word.text.is_empty()).collect()
    }

    /// The two parts around a separator that must stand in it once.
    fn halves(self, separator: &str, instead: &str) -> Result<(Part<'t>, Part<'t>), WindowError> {
        match self.split(separator)[..] {
            [first, second] => Ok((first, second)),
            _ => Err(self.wrong(format!("`{}` is not two parts with `{separator}` between them", self.text), instead)),
        }
    }

    fn end(self) -> Part<'t> {
        Part { start: self.start + self.text.len(), text: "", ..self }
    }
}

pub(super) fn window(text: &str) -> Result<Window, WindowError> {
    let whole = Part::whole(text);
    let (days, hours, place) = match whole.words()[..] {
        [days, hours, place] => (days, hours, place),
        [_, _, _, more, ..] => {
            let what = format!("`{}` is too much: a window is days, hours and a time zone", more.text);
            return Err(more.wrong(what, format!("{WINDOW}; no space after a comma")));
        }
        [] | [_] | [_, _] => {
            let what = "something is missing: a window is days, hours and a time zone";
            return Err(whole.end().wrong(what, WINDOW));
        }
    };
    let (opens, closes) = hours.halves("-", WINDOW)?;
    let window = Window { days: weekdays(days)?, opens: opening(opens)?, closes: closing(closes)?, zone: zone(place)? };
    if window.opens == window.closes && closes.text != "24:00" {
        return Err(closes.wrong("it closes when it opens", "00:00-24:00 for a whole day"));
    }
    Ok(window)
}

pub(super) fn freeze(text: &str) -> Result<Freeze, WindowError> {
    let whole = Part::whole(text);
    let (first, last) = whole.halves("..", FREEZE)?;
    let freeze = Freeze { first: date(first)?, last: date(last)? };
    if freeze.last < freeze.first {
        return Err(
            last.wrong(format!("`{}` is before `{}`", last.text, first.text), format!("{}..{}", last.text, first.text))
        );
    }
    Ok(freeze)
}

fn date(part: Part<'_>) -> Result<Date, WindowError> {
    let is_plain = part.text.len() == 10;
    let parsed = is_plain.then(|| part.text.parse().ok()).flatten();
    parsed.ok_or_else(|| part.wrong(format!("`{}` is no day", part.text), FREEZE))
}

fn weekdays(part: Part<'_>) -> Result<Vec<Weekday>, WindowError> {
    let mut days = Vec::new();
    for one in part.split(",") {
        match one.split("-")[..] {
            [day] => days.push(weekday(day)?),
            [first, last] => {
                let (first, last) = (weekday(first)?, weekday(last)?);
                days.extend(first.cycle_forward().take(7).take_while(|day| *day != last).chain([last]));
            }
            _ => return Err(one.wrong(format!("`{}` is no day and no range of days", one.text), "Mon-Fri")),
        }
    }
    Ok(days)
}

fn weekday(part: Part<'_>) -> Result<Weekday, WindowError> {
    let given = part.text.to_lowercase();
    let is_meant = |name: &str| given.len() >= 3 && name.to_lowercase().starts_with(&given);
    if let Some((_, day)) = DAYS.into_iter().find(|(name, _)| is_meant(name)) {
        return Ok(day);
    }
    let likeness = |name: &&str| {
        let name = name.to_lowercase();
        (strsim::normalized_levenshtein(&given, &name).max(strsim::normalized_levenshtein(&given, &name[..3])) * 1000.0)
            .round()
    };
    let nearest = DAYS.iter().map(|(name, _)| *name).max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    let nearest =
        nearest.filter(|name| likeness(name) >= 500.0).map_or("Mon,Tue,Wed,Thu,Fri,Sat,Sun", |name| &name[..3]);
    Err(part.wrong(format!("`{}` is no day of the week", part.text), nearest))
}

fn opening(part: Part<'_>) -> Result<Time, WindowError> {
    let no_time = || part.wrong(format!("`{}` is no time of day", part.text), "22:00");
    let (hour, minute) = part.text.split_once(':').ok_or_else(no_time)?;
    let is_plain = (1..=2).contains(&hour.len()) && minute.len() == 2;
    let number = |text: &str| if is_plain && !text.starts_with('+') { text.parse::<i8>().ok() } else { None };
    let (hour, minute) = number(hour).zip(number(minute)).ok_or_else(no_time)?;
    Time::new(hour, minute, 0, 0).map_err(|_| no_time())
}

/// The end of a day may be written as such.
fn closing(part: Part<'_>) -> Result<Time, WindowError> {
    if part.text == "24:00" { Ok(Time::midnight()) } else { opening(part) }
}

/// The rules are those that the program was built with: a machine may have none, or others than the next one.
fn zone(part: Part<'_>) -> Result<TimeZone, WindowError> {
    let rules = TimeZoneDatabase::bundled();
    rules.get(part.text).map_err(|_| {
        let given = part.text.to_lowercase();
        // People write the city alone.
        let likeness = |name: &str| {
            let name = name.to_lowercase();
            let city = name.rsplit('/').next().unwrap_or(&name);
            strsim::jaro_winkler(&given, &name).max(strsim::jaro_winkler(&given, city))
        };
        let names = rules.available().map(|name| name.to_string());
        let nearest =
            names.max_by(|one, other| likeness(one).total_cmp(&likeness(other)).then(other.len().cmp(&one.len())));
        let instead = nearest.filter(|name| likeness(name) > 0.8).unwrap_or_else(|| "Europe/Berlin, or UTC".to_owned());
        part.wrong(format!("`{}` is no time zone that is known", part.text), instead)
    })
}
