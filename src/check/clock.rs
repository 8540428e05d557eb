use jiff::{SignedDuration, Timestamp};

use super::{Finding, Severity};

/// How far two clocks may be apart: far more than a request takes, far less than matters to a window.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Our clock and the API server's, both read now: a window is only as good as the clock that it is held against.
pub fn clocks(ours: Timestamp, server: Timestamp) -> Option<Finding> {
    let apart = ours.duration_since(server);
    if apart.abs() <= TOLERANCE {
        return None;
    }
    let second = |moment: Timestamp| moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let direction = if apart.is_negative() { "behind" } else { "ahead of" };
    let title =
        format!("the clock of this machine is {} min {direction} that of the API server", apart.abs().as_mins());
    let finding = Finding::new("CU-C030", Severity::Advisory, title);
    Some(
        finding
            .evidence([format!("here:       {}", second(ours)), format!("API server: {}", second(server))])
            .why("a window would open and close at the wrong time")
            .now("set the clock that is wrong; compare with: date -u"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_a_day_apart_are_named_both() {
        let finding = clocks("2026-11-25T22:00:07Z".parse().unwrap(), "2026-11-24T22:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(finding.title, "the clock of this machine is 1440 min ahead of that of the API server");
        assert_eq!(finding.evidence, ["here:       2026-11-25T22:00:07Z", "API server: 2026-11-24T22:00:00Z"]);
    }

    #[test]
    fn five_minutes_are_no_matter() {
        let server = "2026-11-24T22:00:00Z".parse().unwrap();
        assert_eq!(clocks("2026-11-24T21:55:00Z".parse().unwrap(), server), None);
        assert!(clocks("2026-11-24T21:54:59Z".parse().unwrap(), server).is_some());
    }
}
