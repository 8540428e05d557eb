use std::time::{Duration, Instant};

use crate::error::{HarnessError, Result};

const BETWEEN_LOOKS: Duration = Duration::from_millis(15);

/// How long anything may take. It only ends what hangs, so that no test rests on how fast the machine is.
pub const LIMIT: Duration = Duration::from_secs(300);

/// What a look at the world found: what was waited for, or what is still missing.
pub enum Seen<T> {
    /// It is there.
    Yes(T),
    /// It is not, and this was seen in its place.
    NotYet(String),
}

/// Looks again and again until the condition holds, and says what was missing when it takes too long.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Result<Seen<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        match look()? {
            Seen::Yes(found) => return Ok(found),
            Seen::NotYet(last_seen) if started.elapsed() > LIMIT => {
                return Err(HarnessError::TimedOut { what: what.to_owned(), last_seen });
            }
            Seen::NotYet(_) => std::thread::sleep(BETWEEN_LOOKS),
        }
    }
}
