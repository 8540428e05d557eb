//! Where the time of each case goes, and how much of each matrix was tried: lines in files of the folder that CALICO_UPGRADER_TEST_TIMES names.

use std::{
    cell::Cell,
    fs::OpenOptions,
    io::Write,
    path::Path,
    sync::{Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

thread_local! {
    /// How long the case of this thread ran the program, and how often.
    static PROGRAM: Cell<(Duration, usize)> = const { Cell::new((Duration::ZERO, 0)) };
}

/// Counts a call of the program that took so long.
pub fn ran(took: Duration) {
    PROGRAM.with(|program| {
        let (all, calls) = program.get();
        program.set((all + took, calls + 1));
    });
}

/// The clock of one hold on a control plane.
pub struct Times {
    asked: Instant,
    /// How long the control plane was in the hands of other cases.
    pub waited: Duration,
    restoring: Mutex<Duration>,
}

impl Times {
    pub fn start() -> Self {
        PROGRAM.with(|program| program.set((Duration::ZERO, 0)));
        Self { asked: Instant::now(), waited: Duration::ZERO, restoring: Mutex::default() }
    }

    /// Does what takes the cluster to another moment, and counts how long it takes.
    pub fn restoring<T>(&self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        *self.spent() += begun.elapsed();
        done
    }

    fn spent(&self) -> MutexGuard<'_, Duration> {
        self.restoring.lock().expect("nothing panics while it counts")
    }
}

/// Seconds of the whole hold, of waiting for it, of taking the cluster back and of the program; its calls, and the case.
impl Drop for Times {
    fn drop(&mut self) {
        let (program, calls) = PROGRAM.with(Cell::get);
        let seconds = [self.asked.elapsed() - self.waited, self.waited, *self.spent(), program];
        let [held, waited, restoring, program] = seconds.map(|one| format!("{:.1}", one.as_secs_f64()));
        let name = thread::current().name().unwrap_or("a thread").to_owned();
        append("times", &format!("{held}\t{waited}\t{restoring}\t{program}\t{calls}\t{name}\n"));
    }
}

/// Counts so many of all the places of a matrix.
pub fn count(matrix: &str, tried: usize, of: usize) {
    append("counts", &format!("{tried}\t{of}\t{matrix}\n"));
}

fn append(file: &str, line: &str) {
    let Some(folder) = std::env::var_os("CALICO_UPGRADER_TEST_TIMES") else { return };
    let file = OpenOptions::new().create(true).append(true).open(Path::new(&folder).join(file));
    // One write, so that lines of cases that end at once do not mix.
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}
