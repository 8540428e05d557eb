//! What a case works with: a worn-in cluster taken back to its start, the program, and a state directory of its own.

use std::{
    borrow::BorrowMut,
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    ops::Deref,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Instant,
};

use harness::{
    CalicoEtcd, ControlPlane, EtcdSetup, Flavour, Kubernetes, LIMIT, Release, Size, Snapshot, User, WornIn, worn_in,
    worn_in_keys, worn_in_v3,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::times::{self, Times};

/// Nodes of every cluster: a control plane and two workers.
pub const NODES: usize = 3;

/// Control planes of each Kubernetes version: cases run side by side, each alone on one of them.
const PLANES: usize = 3;

/// Room for a worn-in cluster and its upgrade, and little more.
const SMALL_STORE: u64 = 128 << 20;

/// A control plane that cases share, with the clusters that were laid out on it before.
struct Plane {
    plane: ControlPlane,
    empty: Snapshot,
    worn_in: BTreeMap<String, Snapshot>,
}

/// A case's hold on a control plane.
pub struct Lab {
    shared: MutexGuard<'static, Option<Plane>>,
    name: String,
    state: TempDir,
    has_small_store: bool,
    times: Times,
    /// The etcd of an install that keeps its data there.
    etcd: Option<CalicoEtcd>,
}

pub fn small(release: Release) -> WornIn {
    WornIn { release, flavour: Flavour::Networking, size: Size::Small }
}

/// Takes a control plane for one case, with the worn-in cluster as it was laid out.
pub fn lab(kubernetes: Kubernetes, cluster: WornIn) -> Lab {
    take(kubernetes, cluster, false)
}

/// The same with Calico v3.
pub fn lab_of_v3() -> Lab {
    take_laid_out(Kubernetes::V1_34, "v3.29.7", false, worn_in_v3)
}

/// The same with what is laid out under that name.
pub fn lab_laid_out(
    kubernetes: Kubernetes,
    name: &str,
    lay_out: impl FnOnce(&ControlPlane) -> harness::Result<()>,
) -> Lab {
    take_laid_out(kubernetes, name, false, lay_out)
}

/// The same on a control plane of its own, whose store can be filled.
pub fn lab_with_small_store(kubernetes: Kubernetes, cluster: WornIn) -> Lab {
    take(kubernetes, cluster, true)
}

fn take(kubernetes: Kubernetes, cluster: WornIn, has_small_store: bool) -> Lab {
    let name = format!("{}-{}-{}", cluster.release.name(), cluster.flavour.name(), cluster.size.name());
    let mut lab = take_laid_out(kubernetes, &name, has_small_store, |plane| worn_in(plane, &cluster));
    lab.etcd = etcd_of(cluster);
    lab
}

fn take_laid_out(
    kubernetes: Kubernetes,
    name: &str,
    has_small_store: bool,
    lay_out: impl FnOnce(&ControlPlane) -> harness::Result<()>,
) -> Lab {
    let mut times = Times::start();
    let begun = Instant::now();
    let shared = free_place(kubernetes, has_small_store);
    times.waited = begun.elapsed();
    let state = tempfile::tempdir().unwrap();
    let mut lab = Lab { shared, name: name.to_owned(), state, has_small_store, times, etcd: None };
    let plane = lab.shared.get_or_insert_with(|| start(kubernetes, has_small_store));
    if !plane.worn_in.contains_key(name) {
        plane.plane.restore(&plane.empty).unwrap();
        lay_out(&plane.plane).unwrap();
        let snapshot = plane.plane.snapshot().unwrap();
        plane.worn_in.insert(name.to_owned(), snapshot);
    }
    lab.times.restoring(|| plane.plane.restore(&plane.worn_in[name])).unwrap();
    lab
}

/// Waits for a place of a control plane. One that was started is taken rather than one that was not.
fn free_place(kubernetes: Kubernetes, has_small_store: bool) -> MutexGuard<'static, Option<Plane>> {
    static PLACES: [[Mutex<Option<Plane>>; PLANES]; 4] = [const { [const { Mutex::new(None) }; PLANES] }; 4];
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let places = &PLACES[usize::from(kubernetes == Kubernetes::V1_8) + 2 * usize::from(has_small_store)];
    // A case that failed took its control plane along.
    let free = places.iter().find_map(|place| match place.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    });
    let next = || places[NEXT.fetch_add(1, Ordering::Relaxed) % PLANES].lock().unwrap_or_else(PoisonError::into_inner);
    free.unwrap_or_else(next)
}

/// The addresses in worn-in clusters lead nowhere; this one is named to the program by its environment.
fn etcd_of(cluster: WornIn) -> Option<CalicoEtcd> {
    match cluster.flavour {
        Flavour::Networking | Flavour::PolicyOnly | Flavour::Canal => None,
        Flavour::Etcd | Flavour::Kubeadm | Flavour::CanalEtcd => {
            Some(CalicoEtcd::start_with(EtcdSetup::default(), &worn_in_keys()).unwrap())
        }
    }
}

fn start(kubernetes: Kubernetes, has_small_store: bool) -> Plane {
    let small = || ControlPlane::start_with_store_of(kubernetes, SMALL_STORE);
    let plane = if has_small_store { small() } else { ControlPlane::start(kubernetes) }.unwrap();
    plane.add_node_count(NODES).unwrap();
    let empty = plane.snapshot().unwrap();
    Plane { plane, empty, worn_in: BTreeMap::new() }
}

impl Deref for Lab {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.plane().plane
    }
}

/// A full store is of no use to the next case, and what a case that failed leaves may be worse: a server that ended, a program still at work.
impl Drop for Lab {
    fn drop(&mut self) {
        let has_failed = thread::panicking();
        if has_failed && let Some(Err(error)) = self.shared.as_ref().map(|shared| shared.plane.check_servers()) {
            harness::tell(&error.to_string());
        }
        if self.has_small_store || has_failed {
            *self.shared = None;
        }
    }
}

impl Lab {
    fn plane(&self) -> &Plane {
        self.shared.as_ref().expect("the control plane was started when the lab was taken")
    }

    /// The cluster as it was laid out.
    pub fn start(&self) -> &Snapshot {
        &self.plane().worn_in[&self.name]
    }

    /// Takes the cluster back to its start, with an empty state directory.
    pub fn again(&mut self) {
        self.take_back(self.start());
        self.state = tempfile::tempdir().unwrap();
        if let Some(etcd) = &self.etcd {
            etcd.load(&worn_in_keys()).unwrap();
        }
    }

    /// Takes the cluster alone to a moment of this case.
    pub fn take_back(&self, cluster: &Snapshot) {
        self.times.restoring(|| self.restore(cluster)).unwrap();
    }

    pub fn has_etcd(&self) -> bool {
        self.etcd.is_some()
    }

    /// The etcd of an install that keeps its data there.
    pub fn etcd(&self) -> &CalicoEtcd {
        self.etcd.as_ref().expect("the cluster of this case is on etcd")
    }

    /// Takes the cluster back to what it was before any Calico: nodes and nothing else.
    pub fn empty(&self) {
        self.restore(&self.plane().empty).unwrap();
    }

    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The program, with the admin's kubeconfig and the state directory of this case.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_in(self.state(), arguments)
    }

    /// The same with another state directory, as on another machine.
    pub fn command_in(&self, state: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calico-upgrader"));
        command.args(arguments).env("KUBECONFIG", self.kubeconfig()).env("CALICO_UPGRADER_STATE_DIR", state);
        command.env("CALICO_UPGRADER_STABLE_FOR", "0s").env("CALICO_UPGRADER_READY_WITHIN", "120s");
        command.env("CALICO_UPGRADER_PULL_WITHIN", "120s");
        command.env("NO_COLOR", "1").env("CALICO_UPGRADER_LEASE_DURATION", "6s").stdin(Stdio::null());
        if let Some(etcd) = &self.etcd {
            command.env("CALICO_UPGRADER_ETCD_ENDPOINTS", etcd.endpoints().join(","));
        }
        command.env_remove("CI").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub fn tool(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments))
    }

    /// Runs the program as another user of the cluster.
    pub fn tool_as(&self, user: User, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).env("KUBECONFIG", self.kubeconfig_for(user)))
    }

    /// Starts the program and goes on beside it.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// The directory of the only run of this case.
    pub fn run_directory(&self) -> PathBuf {
        let runs: Vec<_> = std::fs::read_dir(self.state().join("runs")).unwrap().flatten().collect();
        assert_eq!(runs.len(), 1, "one run was expected");
        runs[0].path()
    }

    /// The text of every file of the only run; packed ones are unpacked.
    pub fn run_files(&self) -> Vec<(String, String)> {
        let directory = self.run_directory();
        let below = |path: PathBuf| std::fs::read_dir(path).unwrap().flatten().map(|entry| entry.path());
        let files = below(directory.clone()).chain(below(directory.join("backup"))).filter(|path| path.is_file());
        let text = |path: &PathBuf| {
            let bytes = std::fs::read(path).unwrap();
            let bytes = if path.extension().is_some_and(|end| end == "zst") {
                zstd::decode_all(bytes.as_slice()).unwrap()
            } else {
                bytes
            };
            String::from_utf8_lossy(&bytes).into_owned()
        };
        files.map(|path| (path.display().to_string(), text(&path))).collect()
    }

    /// Every change that the journal of the only run names, in its order.
    pub fn journalled_changes(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.run_directory().join("journal.jsonl")).unwrap();
        let entries = text.lines().map(|line| serde_json::from_str::<Value>(line.split('\t').next().unwrap()).unwrap());
        let intended: Vec<Value> = entries.filter(|entry| entry["kind"] == "intended").collect();
        let changes = intended.iter().flat_map(|entry| entry["changes"].as_array().unwrap());
        changes.map(|change| change["label"].as_str().unwrap().to_owned()).collect()
    }
}

/// The flags that take a worn-in cluster to v2.6 without a question and without waiting longer than needed.
pub fn upgrade(verb: &str) -> Vec<&str> {
    let mut arguments = vec![verb];
    if verb == "run" {
        arguments.extend(["--to", "v2.6", "--allow-untested", "--system-policies", "convert"]);
    }
    arguments.push("--yes");
    arguments
}

/// What a call of the program gave.
#[derive(Debug)]
pub struct Ran {
    /// What it was called with, where that is known.
    call: Vec<OsString>,
    /// None if a signal ended it.
    pub exit: Option<i32>,
    pub signal: Option<i32>,
    pub data: String,
    pub words: String,
}

impl Ran {
    /// Calls the program.
    pub fn of(mut command: impl BorrowMut<Command>) -> Self {
        let command = command.borrow_mut();
        let call = command.get_args().map(OsStr::to_owned).collect();
        Self::ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), call)
    }

    /// Waits for the end of a program that was called before.
    pub fn end_of(program: Child) -> Self {
        Self::ended(program, Vec::new())
    }

    /// A program that hangs is killed and fails the case, with what it said.
    fn ended(program: Child, call: Vec<OsString>) -> Self {
        let pid = program.id().to_string();
        let (over, is_over) = mpsc::channel::<()>();
        let watch = thread::spawn(move || {
            let hangs = is_over.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
            hangs.then(|| Command::new("kill").args(["-KILL", &pid]).status())
        });
        let begun = Instant::now();
        let output = program.wait_with_output().unwrap();
        times::ran(begun.elapsed());
        drop(over);
        let hung = watch.join().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (data, words) = (text(output.stdout), text(output.stderr));
        let ran = Self { call, exit: output.status.code(), signal: output.status.signal(), data, words };
        assert!(hung.is_none(), "it hung: {ran}");
        ran
    }

    /// Holds the exit code against the expected one, and shows what was said if it differs.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.exit, Some(code), "{self}");
        self
    }

    /// Holds that it was killed before its end, and did not crash.
    #[track_caller]
    pub fn was_killed(&self) {
        assert_eq!(self.signal, Some(9), "it was not killed: {self}");
    }

    /// Holds that the words name something.
    #[track_caller]
    pub fn says(self, what: &str) -> Self {
        assert!(self.words.contains(what) || self.data.contains(what), "`{what}` is not in {self}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:?}\nstdout:\n{}\nstderr:\n{}", self.call, self.data, self.words)
    }
}

/// Says that a case could not be tried here, and why.
#[expect(clippy::print_stderr, reason = "a case that was left out must not look like one that passed")]
pub fn skipped(why: &str) {
    eprintln!("skipped ({why})");
}
