//! The program beside a stopwatch.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Api, ControlPlane};
use jiff::Timestamp;
use serde_json::Value;

pub type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// How long one call of the program may take.
const LIMIT: Duration = Duration::from_secs(600);
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// How long a bare client waits for the cluster.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// As many requests as the program has under way at once when it copies.
const WRITERS: usize = 24;

/// What one call of the program took.
pub struct Measured {
    pub seconds: f64,
    /// The most memory that it had at once, in MB (VmHWM).
    pub peak: f64,
    pub events: Vec<Value>,
    pub log: Vec<Value>,
}

/// Runs the program to its end, with a state directory of its own.
pub fn run_program(plane: &ControlPlane, arguments: &[&str]) -> Result<Measured> {
    let state = tempfile::tempdir()?;
    let (events, words) = (state.path().join("events"), state.path().join("words"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_calico-upgrader"));
    command.args(arguments).args(["-v", "--log-format", "json", "--progress", "none", "--events"]).arg(&events);
    command.env("KUBECONFIG", plane.kubeconfig()).env("CALICO_UPGRADER_STATE_DIR", state.path().join("state"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&words)?);
    let started = Instant::now();
    let mut child = command.spawn()?;
    let (peak, status) = follow(&mut child, started)?;
    let seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("{arguments:?} ended with {status}: {}", std::fs::read_to_string(&words)?).into());
    }
    Ok(Measured { seconds, peak, events: read_lines(&events), log: read_lines(&words) })
}

/// Looks at the memory of the program until it ends; one that takes too long is ended.
fn follow(child: &mut Child, started: Instant) -> Result<(f64, ExitStatus)> {
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0.0;
    loop {
        peak = peak_of(&status_file).unwrap_or(peak);
        if let Some(status) = child.try_wait()? {
            return Ok((peak, status));
        }
        if started.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Err(format!("the program did not end within {LIMIT:?}").into());
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

fn peak_of(status_file: &str) -> Option<f64> {
    let text = std::fs::read_to_string(status_file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

fn read_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

impl Measured {
    /// The seconds from the start of a step to its end.
    pub fn seconds_of(&self, step: &str) -> Result<f64> {
        let at = |event: &str| -> Result<Timestamp> {
            let found = self.events.iter().find(|one| one["event"] == event && one["step"] == step);
            let found = found.and_then(|one| one["at"].as_str());
            Ok(found.ok_or_else(|| format!("the run has no event {event} of {step}"))?.parse()?)
        };
        Ok(at("step-done")?.duration_since(at("step-started")?).as_secs_f64())
    }

    /// How many changes of objects a step made.
    pub fn changes_of(&self, step: &str) -> usize {
        self.events.iter().filter(|one| one["event"] == "changed" && one["step"] == step).count()
    }

    /// The requests that the whole call sent to the API server: a run says them at its end, a plan logs them.
    pub fn requests(&self) -> Result<f64> {
        let told = self.events.iter().find(|one| one["event"] == "run-finished").map(|one| &one["requests"]);
        let logged = || self.log.iter().map(|line| &line["fields"]["requests"]).find(|value| !value.is_null());
        let requests = told.or_else(logged).and_then(Value::as_f64);
        requests.ok_or_else(|| "the program did not say how many requests it sent".into())
    }
}

/// Calls the function for each item, with as many requests under way at once as the program has; gives the seconds.
pub fn side_by_side<T: Sync, E: Error + Send + 'static>(
    items: &[T],
    call: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<f64> {
    let (started, next) = (Instant::now(), AtomicUsize::new(0));
    let work = || -> Result<(), E> {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            call(item)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        Ok(())
    })?;
    Ok(started.elapsed().as_secs_f64())
}

/// Looks again and again until it is so; gives up after a while.
pub fn wait_for(what: &str, pause: Duration, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !is_so()? {
        if started.elapsed() > WAIT_LIMIT {
            return Err(format!("{what} did not come true within {WAIT_LIMIT:?}").into());
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

/// Reads a list page by page; gives the objects and the requests that it took.
pub fn read_pages(api: &Api, path: &str, query: &str) -> Result<(usize, usize)> {
    let (mut objects, mut requests, mut token) = (0, 0, String::new());
    loop {
        let page = api.get(&format!("{path}?limit=500&{query}&continue={token}"))?;
        requests += 1;
        objects += page["items"].as_array().map_or(0, Vec::len);
        token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            return Ok((objects, requests));
        }
    }
}
