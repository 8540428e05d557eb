//! When a run may begin something: windows in which it may, and freezes in which it may not.
//!
//! Pure: the moment is given, and the rules of time zones are built in, so that every machine decides alike. A time of day
//! means the first moment at which a clock on the wall of that place shows it or more. So a window that begins or ends in
//! the hour that summer time leaves out does so at the change, and one in the hour that comes twice at its first coming.

mod read;

use std::{fmt, time::Duration};

use jiff::{
    Timestamp, Zoned,
    civil::{Date, DateTime, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};

pub use read::WindowError;

/// How far ahead the next opening is looked for: a year, and a freeze on top.
const HORIZON_DAYS: i64 = 400;

/// How a moment is written for people.
const SHOWN: &str = "%a %Y-%m-%d %H:%M %Q";

/// All windows and freezes of a run; without a window it may begin things at any time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calendar {
    windows: Vec<Window>,
    freezes: Vec<Freeze>,
}

/// On these days, from one time of day to another, in a place.
#[derive(Clone, Debug, PartialEq)]
struct Window {
    days: Vec<Weekday>,
    opens: Time,
    /// Midnight at the end of a day is 00:00 of the next one.
    closes: Time,
    zone: TimeZone,
}

/// The first and the last day without a window, in the place of each window.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Freeze {
    first: Date,
    last: Date,
}

/// Why nothing may be begun at a moment.
#[derive(Clone, Debug, PartialEq)]
pub enum Shut {
    /// No window is open.
    Outside { next: Option<Zoned> },
    /// What was to be begun could not be at its end before the window is.
    TooShort { needs: Duration, until: Zoned, next: Option<Zoned> },
}

impl Calendar {
    /// Reads windows and freezes as people write them.
    ///
    /// # Errors
    /// The first text that cannot be read, with the column and what to write instead.
    pub fn read(windows: &[String], freezes: &[String]) -> Result<Self, WindowError> {
        let windows = windows.iter().map(|text| read::window(text)).collect::<Result<_, _>>()?;
        let freezes = freezes.iter().map(|text| read::freeze(text)).collect::<Result<_, _>>()?;
        Ok(Self { windows, freezes })
    }

    /// Answers whether there is any window to heed.
    pub fn has_windows(&self) -> bool {
        !self.windows.is_empty()
    }

    /// Answers until when things may be begun that need so long; `None` if there is no end.
    ///
    /// # Errors
    /// No window is open, or the one that is open ends too soon.
    pub fn may_begin(&self, now: Timestamp, needs: Duration) -> Result<Option<Zoned>, Shut> {
        if !self.has_windows() {
            return Ok(None);
        }
        let spans = self.spans(now);
        let Some(open) = spans.iter().find(|span| span.holds(now)) else {
            return Err(Shut::Outside { next: next_opening(&spans, now) });
        };
        if now.checked_add(needs).is_ok_and(|end| end <= open.closes.timestamp()) {
            return Ok(Some(open.closes.clone()));
        }
        let next = next_opening(&spans, open.closes.timestamp());
        Err(Shut::TooShort { needs, until: open.closes.clone(), next })
    }

    /// The longest window that comes; `None` if there is no window to heed.
    pub fn longest(&self, now: Timestamp) -> Option<Duration> {
        let length = |span: Span| span.closes.timestamp().duration_since(span.opens.timestamp()).unsigned_abs();
        self.has_windows().then(|| self.spans(now).into_iter().map(length).max().unwrap_or_default())
    }

    /// What is open from about now on, in order; windows that touch are one.
    fn spans(&self, now: Timestamp) -> Vec<Span> {
        let mut all: Vec<Span> = self.windows.iter().flat_map(|window| window.spans(now)).collect();
        for freeze in &self.freezes {
            all = all.into_iter().flat_map(|span| span.without(*freeze)).collect();
        }
        all.sort_by_key(|span| span.opens.timestamp());
        let mut merged: Vec<Span> = Vec::new();
        for span in all {
            match merged.last_mut().filter(|last| last.closes.timestamp() >= span.opens.timestamp()) {
                Some(last) if last.closes.timestamp() < span.closes.timestamp() => last.closes = span.closes,
                Some(_) => {}
                None => merged.push(span),
            }
        }
        merged
    }
}

impl Window {
    fn spans(&self, now: Timestamp) -> Vec<Span> {
        let today = now.to_zoned(self.zone.clone()).date();
        let days = (-2..HORIZON_DAYS).filter_map(|ahead| today.checked_add(jiff::Span::new().days(ahead)).ok());
        let on = days.filter(|day| self.days.contains(&day.weekday()));
        let is_overnight = self.closes <= self.opens;
        let spans = on.filter_map(|day| {
            let last = if is_overnight { day.tomorrow().ok()? } else { day };
            let opens = first_moment(&self.zone, day.to_datetime(self.opens))?;
            Some(Span { opens, closes: first_moment(&self.zone, last.to_datetime(self.closes))? })
        });
        // Both ends may lie in the hour that summer time leaves out.
        spans.filter(|span| span.opens.timestamp() < span.closes.timestamp()).collect()
    }
}

/// Time during which things may be begun; the end is no longer in it.
#[derive(Clone, Debug)]
struct Span {
    opens: Zoned,
    closes: Zoned,
}

impl Span {
    fn holds(&self, now: Timestamp) -> bool {
        self.opens.timestamp() <= now && now < self.closes.timestamp()
    }

    /// What is left of it before and after a freeze.
    fn without(self, freeze: Freeze) -> Vec<Span> {
        let zone = self.opens.time_zone();
        let midnight = |day: Date| first_moment(zone, day.to_datetime(Time::midnight()));
        let (Some(from), Some(to)) = (midnight(freeze.first), freeze.last.tomorrow().ok().and_then(midnight)) else {
            return vec![self];
        };
        let before = Span { opens: self.opens.clone(), closes: earlier(self.closes.clone(), from) };
        let after = Span { opens: later(self.opens, to), closes: self.closes };
        [before, after].into_iter().filter(|span| span.opens.timestamp() < span.closes.timestamp()).collect()
    }
}

fn earlier(one: Zoned, other: Zoned) -> Zoned {
    if one.timestamp() <= other.timestamp() { one } else { other }
}

fn later(one: Zoned, other: Zoned) -> Zoned {
    if one.timestamp() >= other.timestamp() { one } else { other }
}

fn next_opening(spans: &[Span], after: Timestamp) -> Option<Zoned> {
    spans.iter().map(|span| &span.opens).find(|opens| opens.timestamp() >= after).cloned()
}

/// The first moment at which a clock on the wall shows this time or more; `None` past the end of the calendar.
fn first_moment(zone: &TimeZone, wall: DateTime) -> Option<Zoned> {
    let moments = zone.to_ambiguous_timestamp(wall);
    let moment = match moments.offset() {
        // Of two moments the compatible one is the first.
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => moments.compatible().ok()?,
        AmbiguousOffset::Gap { .. } => zone.preceding(moments.later().ok()?).next()?.timestamp(),
    };
    Some(moment.to_zoned(zone.clone()))
}

/// Writes a moment as people read it, in its place.
pub fn shown(moment: &Zoned) -> String {
    moment.strftime(SHOWN).to_string()
}

/// Writes seconds as people say them.
pub fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

impl fmt::Display for Shut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = |next: &Option<Zoned>| match next {
            Some(next) => format!("the next one opens {}", shown(next)),
            None => "none opens within a year".to_owned(),
        };
        match self {
            Shut::Outside { next: opening } => write!(formatter, "no window is open: {}", next(opening)),
            Shut::TooShort { needs, until, next: opening } => write!(
                formatter,
                "a node may take {} and the window ends {}: {}",
                duration(needs.as_secs()),
                shown(until),
                next(opening)
            ),
        }
    }
}

#[cfg(test)]
mod tests;
