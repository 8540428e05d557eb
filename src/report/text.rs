use comfy_table::{ContentArrangement, Table, presets};

pub use crate::window::duration;

/// Makes text from a cluster safe to show: no control character reaches a terminal or a page.
pub fn clean(text: &str) -> String {
    text.chars().map(|one| if is_harmful(one) { '\u{fffd}' } else { one }).collect()
}

/// Makes text safe to show, in no more characters than there is room for.
pub fn shorten(text: &str, room: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= room { text } else { text.chars().take(room.saturating_sub(1)).chain(['…']).collect() }
}

/// Control characters, those that turn the direction of text around, and those that XML cannot hold.
fn is_harmful(one: char) -> bool {
    let turns = ['\u{61c}', '\u{200e}', '\u{200f}'].contains(&one)
        || ('\u{202a}'..='\u{202e}').contains(&one)
        || ('\u{2066}'..='\u{2069}').contains(&one);
    (one.is_control() && one != '\n') || turns || ['\u{fffe}', '\u{ffff}'].contains(&one)
}

/// Writes milliseconds as people say them, rounded up: an upper bound must stay one.
pub fn seconds(millis: i64) -> String {
    let tenths = millis.max(0).unsigned_abs().div_ceil(100);
    match tenths {
        0..100 => format!("{}.{} s", tenths / 10, tenths % 10),
        100..600 => format!("{} s", tenths.div_ceil(10)),
        _ => duration(tenths.div_ceil(10)),
    }
}

/// Sets rows under headings, in no more than the given width.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>, width: u16) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width)
        .set_header(headings);
    for row in rows {
        table.add_row(row.into_iter().map(|cell| clean(&cell)));
    }
    let lines = table.to_string();
    lines.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_of_a_cluster_reaches_a_terminal() {
        assert_eq!(clean("a\x1b[31mb\r\u{9b}c"), "a\u{fffd}[31mb\u{fffd}\u{fffd}c");
        assert_eq!(clean("a\u{202e}b\u{ffff}"), "a\u{fffd}b\u{fffd}");
    }
}
