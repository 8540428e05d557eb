use super::*;

fn calendar(windows: &[&str], freezes: &[&str]) -> Calendar {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Calendar::read(&owned(windows), &owned(freezes)).unwrap()
}

fn at(moment: &str) -> Timestamp {
    moment.parse().unwrap()
}

/// Until when the calendar is open at a moment, or why it is not.
fn opening(calendar: &Calendar, moment: &str) -> String {
    match calendar.may_begin(at(moment), Duration::ZERO) {
        Ok(until) => until.map_or("always".to_owned(), |until| format!("until {}", until.timestamp())),
        Err(Shut::Outside { next }) => next.map_or("never".to_owned(), |next| format!("next {}", next.timestamp())),
        Err(short @ Shut::TooShort { .. }) => short.to_string(),
    }
}

#[test]
fn without_a_window_things_may_begin_at_any_time() {
    assert_eq!(opening(&Calendar::default(), "2026-11-24T12:00:00Z"), "always");
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
    let calendar = calendar(&["Tue,Wed 22:00-02:00 Europe/Berlin"], &[]);
    // 2026-11-24 is a Tuesday, and Berlin is one hour ahead.
    assert_eq!(opening(&calendar, "2026-11-24T20:59:59Z"), "next 2026-11-24T21:00:00Z");
    assert_eq!(opening(&calendar, "2026-11-24T21:00:00Z"), "until 2026-11-25T01:00:00Z");
    assert_eq!(opening(&calendar, "2026-11-26T00:59:59Z"), "until 2026-11-26T01:00:00Z");
    assert_eq!(opening(&calendar, "2026-11-26T01:00:00Z"), "next 2026-12-01T21:00:00Z");
}

#[test]
fn windows_that_touch_are_one_and_a_day_ends_at_24_00() {
    let calendar = calendar(&["fri-mon 00:00-24:00 UTC", "Monday 08:00-10:00 UTC"], &[]);
    assert_eq!(opening(&calendar, "2026-11-27T05:00:00Z"), "until 2026-12-01T00:00:00Z");
}

#[test]
fn an_end_in_the_hour_that_summer_time_leaves_out_is_the_change_itself() {
    // On 2027-03-28 clocks in Berlin go from 02:00 to 03:00, which is 01:00 UTC.
    let over = calendar(&["Sat 22:00-02:30 Europe/Berlin"], &[]);
    assert_eq!(opening(&over, "2027-03-28T00:30:00Z"), "until 2027-03-28T01:00:00Z");
    let from = calendar(&["Sun 02:30-04:00 Europe/Berlin"], &[]);
    assert_eq!(opening(&from, "2027-03-28T00:30:00Z"), "next 2027-03-28T01:00:00Z");
    let inside = calendar(&["Sun 02:10-02:50 Europe/Berlin"], &[]);
    assert_eq!(opening(&inside, "2027-03-27T12:00:00Z"), "next 2027-04-04T00:10:00Z");
}

#[test]
fn an_hour_that_comes_twice_counts_at_its_first_coming() {
    // On 2026-10-25 clocks in Berlin go from 03:00 back to 02:00, which is 01:00 UTC.
    let calendar = calendar(&["Sat 22:00-02:30 Europe/Berlin"], &[]);
    assert_eq!(opening(&calendar, "2026-10-25T00:00:00Z"), "until 2026-10-25T00:30:00Z");
    assert_eq!(opening(&calendar, "2026-10-25T01:15:00Z"), "next 2026-10-31T21:00:00Z");
}

#[test]
fn a_freeze_cuts_windows_off_at_midnight_of_their_own_place() {
    let calendar = calendar(&["Mon-Sun 22:00-02:00 America/New_York"], &["2026-12-20..2027-01-05"]);
    assert_eq!(opening(&calendar, "2026-12-20T03:30:00Z"), "until 2026-12-20T05:00:00Z");
    assert_eq!(opening(&calendar, "2026-12-20T05:00:00Z"), "next 2027-01-06T05:00:00Z");
    assert_eq!(opening(&calendar, "2027-01-06T05:00:00Z"), "until 2027-01-06T07:00:00Z");
}

#[test]
fn a_freeze_without_end_leaves_no_window() {
    let calendar = calendar(&["Mon 22:00-23:00 UTC"], &["2026-01-01..2099-12-31"]);
    assert_eq!(opening(&calendar, "2026-11-24T12:00:00Z"), "never");
    assert_eq!(calendar.longest(at("2026-11-24T12:00:00Z")), Some(Duration::ZERO));
}

#[test]
fn what_cannot_end_inside_is_not_begun() {
    let calendar = calendar(&["Tue 22:00-23:00 UTC"], &[]);
    assert!(calendar.may_begin(at("2026-11-24T22:50:00Z"), Duration::from_secs(600)).is_ok());
    let short = calendar.may_begin(at("2026-11-24T22:50:00Z"), Duration::from_secs(601)).unwrap_err();
    assert_eq!(
        short.to_string(),
        "a node may take 10m01s and the window ends Tue 2026-11-24 23:00 UTC: the next one opens Tue 2026-12-01 22:00 UTC"
    );
    assert_eq!(calendar.longest(at("2026-11-24T22:50:00Z")), Some(Duration::from_secs(3600)));
}

#[test]
fn nonsense_is_named_with_its_column_and_what_to_write_instead() {
    for (text, column, what, instead) in [
        ("", 1, "missing", "Tue,Wed 22:00"),
        ("Tue 22:00-02:00", 16, "missing", "Europe/Berlin"),
        ("Tue, Wed 22:00-02:00 UTC", 22, "`UTC` is too much", "no space after a comma"),
        ("Tue,Wedd 22:00-02:00 UTC", 5, "`Wedd` is no day", "Wed"),
        ("Mon-Tue-Wed 22:00-02:00 UTC", 1, "no range", "Mon-Fri"),
        ("Tue 25:00-02:00 UTC", 5, "`25:00` is no time", "22:00"),
        ("Tue 22:00-2 UTC", 11, "`2` is no time", "22:00"),
        ("Tue 2200 UTC", 5, "`2200` is not two parts", "22:00-02:00"),
        ("Tue 22:00-22:00 UTC", 11, "closes when it opens", "00:00-24:00"),
        ("Tue 22:00-02:00 Berlin", 17, "`Berlin` is no time zone", "Europe/Berlin"),
        ("Tue 22:00-02:00 Europe/Berlni", 17, "no time zone", "Europe/Berlin"),
        ("Tue 22:00-02:00 ../etc/passwd", 17, "no time zone", "UTC"),
        ("Dï 22:00-02:00 Nowhere", 1, "no day", "Mon"),
    ] {
        let error = read::window(text).unwrap_err();
        assert_eq!(error.column, column, "{text}: {error:?}");
        assert!(error.what.contains(what) && error.instead.contains(instead), "{text}: {error:?}");
    }
    for (text, column, what) in [
        ("2026-12-20", 1, "two parts"),
        ("2026-12-32..2027-01-05", 1, "`2026-12-32` is no day"),
        ("2027-01-05..2026-12-20", 13, "is before"),
    ] {
        let error = read::freeze(text).unwrap_err();
        assert!(error.column == column && error.what.contains(what), "{text}: {error:?}");
    }
}
