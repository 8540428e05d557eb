use std::{fmt, str::FromStr};

use super::{INTERVAL_MS, PairLoss};

/// How much may be lost between two nodes while one of them is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// No gap longer than so many milliseconds.
    Gap { ms: u64 },
    /// No more of the packets of any pair than so many of ten thousand.
    Share { of_10_000: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    #[error("it is neither a time like 5s nor a share like 1%")]
    Unreadable,
    #[error("a gap shorter than {} ms cannot be told: a packet is sent every {INTERVAL_MS} ms", 2 * INTERVAL_MS)]
    TooShort,
    #[error("a share lies between 0% and 100%")]
    NoShare,
}

impl FromStr for Budget {
    type Err = BudgetError;

    fn from_str(text: &str) -> Result<Self, BudgetError> {
        if let Some(share) = text.strip_suffix('%') {
            let share: f64 = share.trim().parse().map_err(|_| BudgetError::Unreadable)?;
            let is_share = (0.0..100.0).contains(&share);
            return is_share
                .then_some(Budget::Share { of_10_000: (share * 100.0).round() as u64 })
                .ok_or(BudgetError::NoShare);
        }
        let span = text.parse::<jiff::SignedDuration>().map_err(|_| BudgetError::Unreadable)?;
        let ms = u64::try_from(span.as_millis()).map_err(|_| BudgetError::Unreadable)?;
        if ms < 2 * INTERVAL_MS { Err(BudgetError::TooShort) } else { Ok(Budget::Gap { ms }) }
    }
}

impl Budget {
    /// Answers whether a pair lost no more than it may.
    pub fn allows(&self, loss: &PairLoss) -> bool {
        match self {
            Budget::Gap { ms } => loss.longest_ms <= *ms,
            Budget::Share { of_10_000 } => loss.lost * 10_000 <= of_10_000 * loss.sent(),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Budget::Gap { ms } => write!(formatter, "{}s", *ms as f64 / 1000.0),
            Budget::Share { of_10_000 } => write!(formatter, "{}%", *of_10_000 as f64 / 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(answered: u64, lost: u64, longest_ms: u64) -> PairLoss {
        PairLoss { answered, lost, longest_ms, ..PairLoss::default() }
    }

    #[test]
    fn budgets_are_a_time_or_a_share_and_nothing_else() {
        assert_eq!("5s".parse(), Ok(Budget::Gap { ms: 5000 }));
        assert_eq!("1500ms".parse(), Ok(Budget::Gap { ms: 1500 }));
        assert_eq!("0.5%".parse(), Ok(Budget::Share { of_10_000: 50 }));
        for (text, error) in [
            ("100ms", BudgetError::TooShort),
            ("-5s", BudgetError::Unreadable),
            ("5", BudgetError::Unreadable),
            ("much", BudgetError::Unreadable),
            ("x%", BudgetError::Unreadable),
            ("100%", BudgetError::NoShare),
            ("-1%", BudgetError::NoShare),
        ] {
            assert_eq!(text.parse::<Budget>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_budget_holds_to_its_very_end() {
        let gap: Budget = "2s".parse().unwrap();
        assert!(gap.allows(&loss(0, 10, 2000)) && !gap.allows(&loss(990, 10, 2001)));
        let share: Budget = "1%".parse().unwrap();
        assert!(share.allows(&loss(99, 1, 60_000)) && !share.allows(&loss(98, 2, 0)));
        assert!("0%".parse::<Budget>().unwrap().allows(&loss(0, 0, 0)));
    }
}
