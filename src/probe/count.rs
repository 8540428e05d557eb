use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Gaps that are remembered one by one: the newest.
const REMEMBERED: usize = 16;

/// Packets that were lost and whose answer may still come late.
const GIVEN_UP: usize = 64;

/// A time in which packets in a row were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When the first packet that was lost was sent, in milliseconds since the probe began.
    pub since: u64,
    /// From then until the first packet that was answered was sent; of a gap that goes on, until the last that was lost.
    pub ms: u64,
    pub lost: u64,
}

impl Gap {
    pub fn end(&self) -> u64 {
        self.since + self.ms
    }
}

/// Counts what became of the packets to one neighbour. Times are milliseconds of a clock that only goes forward.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    waiting: VecDeque<Waiting>,
    next: u64,
    timeout: u64,
    interval: u64,
    pub answered: u64,
    pub lost: u64,
    /// Answers that came after their packet was counted as lost.
    pub late: u64,
    pub longest: u64,
    /// Every gap there was, also those that are not remembered.
    pub gaps: u64,
    pub newest: VecDeque<Gap>,
    pub open: Option<Gap>,
    /// The newest packets that were lost, so that a late answer is known for one.
    given_up: VecDeque<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    sequence: u64,
    at: u64,
    is_answered: bool,
}

impl Counter {
    pub fn new(interval: u64, timeout: u64) -> Self {
        Self { interval, timeout, ..Self::default() }
    }

    /// Notes that a packet is sent now, and answers its number.
    pub fn send(&mut self, now: u64) -> u64 {
        let sequence = self.next;
        self.next += 1;
        self.waiting.push_back(Waiting { sequence, at: now, is_answered: false });
        sequence
    }

    /// Notes an answer. One that comes twice counts once, and the order in which they come makes no difference.
    pub fn answer(&mut self, sequence: u64) {
        if let Some(one) = self.waiting.iter_mut().find(|one| one.sequence == sequence) {
            one.is_answered = true;
        } else if let Some(place) = self.given_up.iter().position(|lost| *lost == sequence) {
            self.given_up.remove(place);
            self.late += 1;
        }
    }

    /// Decides on every packet whose time is over, in the order in which they were sent.
    pub fn settle(&mut self, now: u64) {
        while let Some(first) = self.waiting.front() {
            if !first.is_answered && now.saturating_sub(first.at) < self.timeout {
                return;
            }
            let Waiting { sequence, at, is_answered } = *first;
            self.waiting.pop_front();
            if is_answered { self.settle_answered(at) } else { self.settle_lost(sequence, at) }
        }
    }

    fn settle_answered(&mut self, at: u64) {
        self.answered += 1;
        if let Some(gap) = self.open.take() {
            self.close(Gap { ms: at.saturating_sub(gap.since), ..gap });
        }
    }

    fn settle_lost(&mut self, sequence: u64, at: u64) {
        self.lost += 1;
        keep_newest(&mut self.given_up, sequence, GIVEN_UP);
        let gap = self.open.get_or_insert(Gap { since: at, ms: 0, lost: 0 });
        gap.lost += 1;
        gap.ms = at + self.interval - gap.since;
        self.longest = self.longest.max(gap.ms);
    }

    fn close(&mut self, gap: Gap) {
        self.longest = self.longest.max(gap.ms);
        self.gaps += 1;
        keep_newest(&mut self.newest, gap, REMEMBERED);
    }

    /// The neighbour left, or has another address: what is under way to it counts for nothing.
    pub fn forget(&mut self) {
        self.waiting.clear();
        if let Some(gap) = self.open.take() {
            self.close(gap);
        }
    }

    pub fn settled(&self) -> u64 {
        self.answered + self.lost
    }
}

fn keep_newest<T>(all: &mut VecDeque<T>, one: T, most: usize) {
    all.push_back(one);
    if all.len() > most {
        all.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 200;

    /// Sends packets at their times, has those answered that the test picks, and decides on all.
    fn counted(packets: u64, is_answered: impl Fn(u64) -> bool) -> Counter {
        let mut counter = Counter::new(INTERVAL, 1000);
        for at in (0..packets).map(|number| number * INTERVAL) {
            let sequence = counter.send(at);
            if is_answered(sequence) {
                counter.answer(sequence);
            }
            counter.settle(at);
        }
        counter.settle(packets * INTERVAL + 1000);
        counter
    }

    #[test]
    fn what_is_lost_in_a_row_is_one_gap_from_the_first_lost_to_the_next_answered() {
        let counter = counted(100, |number| !(20..30).contains(&number));
        assert_eq!((counter.answered, counter.lost, counter.gaps), (90, 10, 1));
        assert_eq!(counter.newest, [Gap { since: 4000, ms: 2000, lost: 10 }]);
        assert_eq!((counter.longest, counter.open), (2000, None));
    }

    #[test]
    fn a_gap_that_goes_on_is_as_long_as_it_is_known_to_be() {
        let counter = counted(10, |number| number < 5);
        assert_eq!(counter.open, Some(Gap { since: 1000, ms: 1000, lost: 5 }));
        assert_eq!((counter.longest, counter.gaps), (1000, 0));
    }

    #[test]
    fn answers_out_of_order_twice_and_late_are_no_loss_that_was_not_there() {
        let mut counter = Counter::new(INTERVAL, 1000);
        (0..4).for_each(|number| _ = counter.send(number * INTERVAL));
        for sequence in [3, 1, 1, 0, 2, 2] {
            counter.answer(sequence);
        }
        counter.settle(700);
        assert_eq!((counter.answered, counter.lost, counter.late), (4, 0, 0));
        counter.answer(3);
        counter.answer(99);
        assert_eq!(counter.late, 0);
        let late = counter.send(1000);
        counter.settle(2000);
        counter.answer(late);
        assert_eq!((counter.lost, counter.late), (1, 1));
    }

    #[test]
    fn a_clock_that_stands_still_or_jumps_ahead_decides_on_nothing_too_early() {
        let mut counter = Counter::new(INTERVAL, 1000);
        counter.send(5000);
        counter.settle(5000);
        counter.settle(4000);
        assert_eq!(counter.settled(), 0);
        counter.settle(6000);
        assert_eq!(counter.lost, 1);
    }

    #[test]
    fn a_neighbour_that_leaves_costs_nothing_that_was_under_way() {
        let mut counter = Counter::new(INTERVAL, 1000);
        (0..3).for_each(|number| _ = counter.send(number * INTERVAL));
        counter.answer(0);
        counter.settle(600);
        counter.forget();
        counter.settle(9000);
        assert_eq!((counter.answered, counter.lost), (1, 0));
    }

    #[test]
    fn more_gaps_than_are_remembered_are_counted_still() {
        let counter = counted(400, |number| number % 10 != 0);
        assert_eq!((counter.lost, counter.gaps, counter.newest.len()), (40, 40, REMEMBERED));
    }
}
