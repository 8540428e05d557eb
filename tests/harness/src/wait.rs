use std::time::{Duration, Instant};

use crate::error::{HarnessError, Result};

const BETWEEN_LOOKS: Duration = Duration::from_millis(15);

/// What a look at the world found: what was waited for, or what is still missing.
pub enum Seen<T> {
    /// It is there.
    Yes(T),
    /// It is not, and this was seen in its place.
    NotYet(String),
}

/// Looks again and again until the condition holds, and says what was missing when the limit is reached.
pub fn wait_until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Seen<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        match look()? {
            Seen::Yes(found) => return Ok(found),
            Seen::NotYet(last_seen) if started.elapsed() > limit => {
                return Err(HarnessError::TimedOut { what: what.to_owned(), limit, last_seen });
            }
            Seen::NotYet(_) => std::thread::sleep(BETWEEN_LOOKS),
        }
    }
}
