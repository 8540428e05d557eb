//! Kills at write boundaries: which there are, the kill itself, and matrices of them. A matrix kills a call at its boundaries, goes
//! on, and holds the end against that of an undisturbed call; its pairs kill what goes on as well.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{Duration, Instant},
};

use harness::{State, differences};

use crate::{
    lab::{Lab, Ran},
    moment::Moment,
    tier::{below, draws, slice},
};

/// A call of the program that is killed.
pub struct Course<'a> {
    pub call: &'a [&'a str],
    /// From where it begins.
    pub from: &'a Moment,
    /// How the names of the boundaries begin at which it is killed.
    pub within: &'a str,
    /// What must be the same in the end, however often it was killed.
    pub look: fn(&Lab) -> State,
}

/// An undisturbed call: every write boundary that it passes.
pub fn record(lab: &Lab, arguments: &[&str]) -> Vec<String> {
    let boundaries = boundaries_of(lab, arguments);
    assert!(boundaries.len() > 50, "{arguments:?} passed only {} boundaries", boundaries.len());
    boundaries
}

fn boundaries_of(lab: &Lab, arguments: &[&str]) -> Vec<String> {
    passed(lab, arguments).into_iter().collect::<BTreeSet<String>>().into_iter().collect()
}

/// Every boundary in the order in which an undisturbed call passes them; some names come twice.
fn passed(lab: &Lab, arguments: &[&str]) -> Vec<String> {
    let file = lab.state().join("boundaries");
    let _ = fs::remove_file(&file);
    lab.tool(&[arguments, &["--fault-record", file.to_str().unwrap()]].concat()).exits(0);
    let text = fs::read_to_string(&file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Calls the program and expects it to die at the boundary.
#[track_caller]
pub fn kill_at(lab: &Lab, arguments: &[&str], boundary: &str) {
    Ran::of(lab.command(&[arguments, &["--fault", boundary]].concat())).was_killed();
}

const RESUME: [&str; 2] = ["resume", "--yes"];

impl Course<'_> {
    /// Kills at no more than so many boundaries, and goes on.
    pub fn killed_once(&self, lab: &mut Lab, most: usize) {
        self.killed_and(lab, most, |_, lab| self.go_on(lab));
    }

    /// Kills at no more than so many boundaries, and does something else than to go on; `then` has the number of the kill.
    pub fn killed_and(&self, lab: &mut Lab, most: usize, then: impl Fn(usize, &Lab)) {
        let (boundaries, expected) = self.undisturbed(lab);
        for (number, boundary) in slice("kills", &boundaries, most).into_iter().enumerate() {
            lab.back_to(self.from);
            kill_at(lab, self.call, &boundary);
            then(number, lab);
            self.holds(lab, &expected, &format!("killed at {boundary}"));
        }
    }

    /// Kills after the last write of each step, when all of it is made and nothing says so yet, and goes on.
    pub fn killed_at_the_end_of_each_step(&self, lab: &mut Lab) {
        lab.back_to(self.from);
        let (passed, expected) = (passed(lab, self.call), (self.look)(lab));
        let is_end = |pair: &&[String]| pair[1].ends_with("/done:logged") && pair[0].contains("/batch-");
        let ends: Vec<&String> = passed.windows(2).filter(is_end).map(|pair| &pair[0]).collect();
        assert!(ends.len() > 2, "only {ends:?}");
        for end in ends {
            lab.back_to(self.from);
            kill_at(lab, self.call, end);
            self.go_on(lab);
            self.holds(lab, &expected, &format!("killed at {end}"));
        }
    }

    /// Kills at no more than so many boundaries, and each time the recovery at no more than so many of its own; then goes on.
    pub fn killed_twice(&self, lab: &mut Lab, (most, then): (usize, usize)) {
        let (boundaries, expected) = self.undisturbed(lab);
        for first in slice("first kills", &boundaries, most) {
            lab.back_to(self.from);
            kill_at(lab, self.call, &first);
            let killed = lab.moment();
            let (recovery, again) = self.recovery(lab);
            self.holds(lab, &expected, &format!("killed at {first}"));
            for second in below(&format!("kills after {first}"), &again, then) {
                lab.back_to(&killed);
                kill_at(lab, recovery, &second);
                self.go_on(lab);
                self.holds(lab, &expected, &format!("killed at {first}, and again at {second}"));
            }
        }
    }

    /// Kills it, and what goes on, at times that are drawn: so many runs, or its part of the second number in `make prove`.
    pub fn killed_at_random(&self, lab: &mut Lab, (some, all): (usize, usize)) {
        let (_, expected) = self.undisturbed(lab);
        let times = Times { start: took(|| lab.tool(&["status"])), whole: self.whole(lab) };
        for seed in draws("random runs", some, all) {
            lab.back_to(self.from);
            let kills = self.kill_by_chance(lab, &mut Chance(seed), &times);
            self.holds(lab, &expected, &format!("{kills} kills at random times, seed {seed}"));
        }
    }

    /// Answers how many kills there were. From the fortieth on it may go on undisturbed.
    #[expect(clippy::print_stderr, reason = "a failure is tried again with the seed")]
    fn kill_by_chance(&self, lab: &Lab, chance: &mut Chance, times: &Times) -> usize {
        eprintln!("random kills of {:?} with seed {}", self.call, chance.0);
        let (mut kills, mut verb) = (0, self.call);
        while kills < 40 {
            let mut program = lab.spawn(verb);
            thread::sleep(times.draw(chance));
            let _ = program.kill();
            let ran = Ran::end_of(program);
            if ran.signal.is_none() {
                let is_begun = !ran.exits(0).words.contains("nothing to resume");
                if is_begun {
                    return kills;
                }
                verb = self.call;
                continue;
            }
            (kills, verb) = (kills + 1, &RESUME);
        }
        self.go_on(lab);
        kills
    }

    /// How long an undisturbed call takes.
    fn whole(&self, lab: &Lab) -> Duration {
        lab.back_to(self.from);
        took(|| lab.tool(self.call).exits(0))
    }

    /// The boundaries of an undisturbed call, and how it ends.
    fn undisturbed(&self, lab: &mut Lab) -> (Vec<String>, State) {
        lab.back_to(self.from);
        let mut boundaries = record(lab, self.call);
        boundaries.retain(|boundary| boundary.starts_with(self.within));
        assert!(boundaries.len() > 5, "only {} boundaries begin with {}", boundaries.len(), self.within);
        (boundaries, (self.look)(lab))
    }

    /// What goes on from a kill, taken to its end, and its boundaries.
    fn recovery(&self, lab: &Lab) -> (&[&str], Vec<String>) {
        let resumed = boundaries_of(lab, &RESUME);
        if resumed.is_empty() { (self.call, boundaries_of(lab, self.call)) } else { (&RESUME, resumed) }
    }

    /// Takes it to its end. A call that died before its run was known changed nothing: it is begun again.
    pub fn go_on(&self, lab: &Lab) {
        if lab.tool(&RESUME).exits(0).words.contains("nothing to resume") {
            lab.tool(self.call).exits(0);
        }
    }

    #[track_caller]
    fn holds(&self, lab: &Lab, expected: &State, after: &str) {
        let found = differences(expected, &(self.look)(lab));
        assert!(found.is_empty(), "{after}: {found:#?}");
    }
}

fn took<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// How long the program takes to come to its work, and to its end.
struct Times {
    start: Duration,
    whole: Duration,
}

impl Times {
    /// When to kill it: mostly a little after it came to its work, so that ten or more kills land before the end, and now and then before.
    fn draw(&self, chance: &mut Chance) -> Duration {
        let work = self.whole.saturating_sub(self.start).as_millis() as u64 / 5;
        self.start / 2 + Duration::from_millis(chance.below(work + self.start.as_millis() as u64 / 2))
    }
}

/// Numbers that look drawn: the same for the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}
