use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Counter, Gap};

/// Which network a probe is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Net {
    #[default]
    Pod,
    Host,
}

impl Net {
    pub const ALL: [Net; 2] = [Net::Pod, Net::Host];

    pub const fn name(self) -> &'static str {
        match self {
            Net::Pod => "pod",
            Net::Host => "host",
        }
    }
}

/// All that one probe counted since it began: a line of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub node: String,
    pub net: Net,
    /// When the probe began, in Unix milliseconds by the clock of its node: tells it from the one before it as well.
    pub began: i64,
    /// When this was written, in milliseconds since then.
    pub at: u64,
    /// How finely it looked, in milliseconds.
    pub interval: u64,
    /// For how long it did not run, in milliseconds: what was not sent is not lost.
    pub blind: u64,
    pub pairs: Vec<PairAccount>,
}

/// What became of the packets to one neighbour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairAccount {
    pub node: String,
    pub net: Net,
    pub answered: u64,
    pub lost: u64,
    pub late: u64,
    pub longest: u64,
    pub gaps: u64,
    pub newest: Vec<Gap>,
    pub open: Option<Gap>,
}

/// A pair by the names of its ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ends {
    pub from: String,
    pub from_net: Net,
    pub to: String,
    pub to_net: Net,
}

/// What a pair lost between two accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairLoss {
    pub ends: Ends,
    pub answered: u64,
    pub lost: u64,
    pub longest_ms: u64,
    pub gaps: Vec<SeenGap>,
}

/// A gap on the clock of whoever read the account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenGap {
    /// Unix milliseconds.
    pub at: i64,
    pub ms: u64,
    pub lost: u64,
}

impl PairAccount {
    pub fn of(node: String, net: Net, counter: &Counter) -> Self {
        Self {
            node,
            net,
            answered: counter.answered,
            lost: counter.lost,
            late: counter.late,
            longest: counter.longest,
            gaps: counter.gaps,
            newest: counter.newest.iter().copied().collect(),
            open: counter.open,
        }
    }
}

impl Account {
    /// Reads a line of a log.
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim()).ok()
    }

    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("an account is plain data")
    }

    pub fn ends(&self, pair: &PairAccount) -> Ends {
        let (from, to) = (self.node.clone(), pair.node.clone());
        Ends { from, from_net: self.net, to, to_net: pair.net }
    }

    fn find(&self, node: &str, net: Net) -> Option<&PairAccount> {
        self.pairs.iter().find(|pair| pair.node == node && pair.net == net)
    }
}

impl Ends {
    /// Whether one of its ends is on one of the nodes.
    pub fn is_of(&self, nodes: &[String]) -> bool {
        nodes.contains(&self.from) || nodes.contains(&self.to)
    }
}

impl PairLoss {
    pub fn sent(&self) -> u64 {
        self.answered + self.lost
    }
}

/// What each pair lost since an earlier account of the same probe. One that began anew counts from its beginning.
///
/// `read_at` is when the newer one was read, in Unix milliseconds: by that the gaps are placed on the reader's clock, to within the
/// time between two lines of the log, whatever the clock of the node says.
pub fn seen_since(before: Option<&Account>, now: &Account, read_at: i64) -> Vec<PairLoss> {
    let before = before.filter(|before| before.began == now.began);
    let from = before.map_or(0, |before| before.at);
    let placed = |since: u64| read_at - i64::try_from(now.at.saturating_sub(since)).unwrap_or(i64::MAX);
    let loss = |pair: &PairAccount| {
        let earlier = before.and_then(|before| before.find(&pair.node, pair.net));
        let (answered, lost) = earlier.map_or((0, 0), |earlier| (earlier.answered, earlier.lost));
        // A gap that goes on grows after the account that it was in first.
        let gaps: Vec<&Gap> = pair.newest.iter().chain(&pair.open).filter(|gap| gap.end() > from).collect();
        PairLoss {
            ends: now.ends(pair),
            answered: pair.answered.saturating_sub(answered),
            lost: pair.lost.saturating_sub(lost),
            longest_ms: gaps.iter().map(|gap| gap.ms).max().unwrap_or_default(),
            gaps: gaps.iter().map(|gap| SeenGap { at: placed(gap.since), ms: gap.ms, lost: gap.lost }).collect(),
        }
    };
    now.pairs.iter().map(loss).collect()
}

impl fmt::Display for Ends {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ends { from, from_net, to, to_net } = self;
        write!(formatter, "{from} ({}) to {to} ({})", from_net.name(), to_net.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(began: i64, at: u64, answered: u64, gaps: &[Gap]) -> Account {
        let lost = gaps.iter().map(|gap| gap.lost).sum();
        let pair =
            PairAccount { node: "b".to_owned(), answered, lost, newest: gaps.to_vec(), ..PairAccount::default() };
        Account { node: "a".to_owned(), began, at, interval: 200, pairs: vec![pair], ..Account::default() }
    }

    const FIRST: Gap = Gap { since: 1000, ms: 600, lost: 3 };
    const SECOND: Gap = Gap { since: 7000, ms: 2000, lost: 10 };

    #[test]
    fn only_what_came_since_counts_and_is_placed_on_the_readers_clock() {
        let (before, now) = (account(5, 4000, 20, &[FIRST]), account(5, 12_000, 50, &[FIRST, SECOND]));
        let [loss] = seen_since(Some(&before), &now, 1_000_000).try_into().unwrap();
        assert_eq!((loss.answered, loss.lost, loss.longest_ms), (30, 10, 2000));
        assert_eq!(loss.gaps, [SeenGap { at: 995_000, ms: 2000, lost: 10 }]);
        assert_eq!(loss.ends.to_string(), "a (pod) to b (pod)");
    }

    #[test]
    fn a_gap_that_both_accounts_see_counts_as_long_as_it_grew() {
        let before = account(5, 7500, 20, &[]);
        let [loss] = seen_since(Some(&before), &account(5, 12_000, 20, &[SECOND]), 0).try_into().unwrap();
        assert_eq!(loss.longest_ms, 2000);
    }

    #[test]
    fn a_probe_that_began_anew_counts_from_its_beginning() {
        let (before, now) = (account(5, 90_000, 400, &[FIRST]), account(6, 3000, 10, &[FIRST]));
        let [loss] = seen_since(Some(&before), &now, 0).try_into().unwrap();
        assert_eq!((loss.answered, loss.lost), (10, 3));
    }

    #[test]
    fn a_line_of_a_log_is_read_as_it_was_written_and_nothing_else_is_one() {
        let account = account(5, 1, 1, &[FIRST]);
        assert_eq!(Account::read(&format!("{}\n", account.line())), Some(account));
        assert_eq!(Account::read("the port is taken"), None);
    }
}
