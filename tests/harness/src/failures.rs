//! Tells each failure when it happens. A test runner keeps what its tests print until all of them are over, so a call that
//! is cut short, or a log of which only some lines are kept, would not say why one failed.

use std::io::Write;
use std::panic;
use std::sync::Once;
use std::thread;

/// As many characters as one line shows of the begin of a message, and of its end. The runner shows all of it in the end.
const SHOWN: usize = 2000;

/// From here on, for the whole process.
pub(crate) fn tell_at_once() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |failure| {
            let place = failure.location().map(|place| format!(" ({place})")).unwrap_or_default();
            write(&place, failure.payload_as_str().unwrap_or("it did not say why"));
            usual(failure);
        }));
    });
}

/// Tells what else is known of a failure of this thread.
pub fn tell(message: &str) {
    write("", message);
}

/// The runner keeps what the printing macros print, and nothing else.
fn write(place: &str, message: &str) {
    let message: Vec<char> = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let (begin, rest) = message.split_at(message.len().min(SHOWN));
    let end = &rest[rest.len().saturating_sub(SHOWN)..];
    let message: String = begin.iter().chain(end).collect();
    let name = thread::current().name().unwrap_or("a thread").to_owned();
    let _ = writeln!(std::io::stderr(), "error: {name}{place}: {message}");
}
