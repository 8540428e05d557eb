use super::{Ended, session::Session, terminal};
use crate::runbook;

pub fn version(session: &Session) -> Ended {
    let books = runbook::names();
    let value = serde_json::json!({"version": env!("CARGO_PKG_VERSION"), "runbooks": books});
    let words = || format!("calico-upgrader {}\nrunbooks: {}\n", env!("CARGO_PKG_VERSION"), books.join(", "));
    terminal::show(session.global.output, &value, words);
    Ok(0)
}
