//! Probes as their pods run them: real programs on loopback addresses, with a way between them that loses what a test picks.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    net::UdpSocket,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use calico_upgrader::probe::{Account, Net, PairAccount};
use rustix::process::{Pid, Signal, kill_process};

/// Kept apart by process, so that tests can run side by side on one machine.
fn port() -> u16 {
    20_000 + u16::try_from(std::process::id() % 9000).unwrap()
}

/// Accounts after which one that is not as wanted never will be.
const ACCOUNTS: usize = 60;

/// A probe that runs, and ends with the test.
struct Probe {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn command(home: &Path, node: &str, address: &str, ring: &[(&str, &str)], more: &[&str]) -> Command {
    let file = home.join(format!("ring-of-{address}"));
    fs::write(&file, ring.iter().map(|(node, address)| format!("{node} {address}\n")).collect::<String>()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_calico-upgrader"));
    command.args(["probe", "--interval", "20ms", "--node", node, "--address", address]);
    command.arg("--ring").arg(file);
    if !more.contains(&"--run") {
        command.args(["--run", "77fada"]);
    }
    command.args(["--port", &port().to_string()]).args(more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Probe {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads accounts until one is as wanted.
    fn account(&mut self, is_wanted: impl Fn(&Account) -> bool) -> Account {
        let mut last = None;
        for line in self.lines.by_ref().take(ACCOUNTS) {
            let line = line.unwrap();
            let account = Account::read(&line).unwrap_or_else(|| panic!("no account: {line}"));
            if is_wanted(&account) {
                return account;
            }
            last = Some(account);
        }
        panic!("never as wanted: {last:?}");
    }

    fn asks_to_end(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pair<'a>(account: &'a Account, node: &str, net: Net) -> &'a PairAccount {
    account.pairs.iter().find(|pair| pair.node == node && pair.net == net).unwrap()
}

/// What was lost on the way: an answer that came late was not.
fn lost(pair: &PairAccount) -> u64 {
    pair.lost - pair.late
}

/// Hands packets on to a probe and back, but for those of the given numbers on their way there.
fn way(at: &str, to: &str, dropped: std::ops::Range<usize>) {
    let (socket, to) = (UdpSocket::bind((at, port())).unwrap(), format!("{to}:{}", port()).parse().unwrap());
    std::thread::spawn(move || {
        let (mut bytes, mut asker, mut count) = ([0; 64], None, 0);
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let next = if from == to { asker } else { Some(to) };
            if from != to {
                asker = Some(from);
                count += 1;
                if dropped.contains(&count) {
                    continue;
                }
            }
            next.map(|next| socket.send_to(&bytes[..length], next));
        }
    });
}

#[test]
fn what_the_way_loses_is_counted_and_what_another_way_carries_is_not() {
    let home = tempfile::tempdir().unwrap();
    let [a, b, b_pod, between] = ["127.0.11.1", "127.0.11.2", "127.0.11.3", "127.0.11.4"];
    way(between, b, 20..30);
    let ring = [("a", a), ("b", b)];
    let mut b = Probe::start(command(home.path(), "b", b, &ring, &["--host"]));
    let mut b_pod = Probe::start(command(home.path(), "b", b_pod, &ring, &[]));
    // Nobody is asked before there is somebody to answer.
    for probe in [&mut b, &mut b_pod] {
        probe.account(|_| true);
    }
    let mut a = Probe::start(command(home.path(), "a", a, &[("a", a), ("b", between)], &["--host"]));
    let is_over = |account: &Account| {
        let to_host = pair(account, "b", Net::Host);
        lost(to_host) >= 10 && to_host.open.is_none() && pair(account, "b", Net::Pod).answered > 10
    };
    let account = a.account(is_over);
    let (to_host, to_pod) = (pair(&account, "b", Net::Host), pair(&account, "b", Net::Pod));
    assert_eq!((lost(to_host), lost(to_pod)), (10, 0), "{account:?}");
    assert!(to_host.newest.iter().any(|gap| gap.lost >= 10 && gap.ms > 0), "{to_host:?}");
    // A pod that leaves says so: its neighbours send it nothing more that it could not answer.
    b_pod.asks_to_end();
    let mut known = None;
    let account = loop {
        let account = a.account(|_| true);
        let answered = pair(&account, "b", Net::Pod).answered;
        if known.replace(answered) == Some(answered) {
            break account;
        }
    };
    assert_eq!(lost(pair(&account, "b", Net::Pod)), 0, "{account:?}");
}

#[test]
fn a_new_pod_ends_well_once_its_neighbours_answer_and_ill_if_none_does() {
    let home = tempfile::tempdir().unwrap();
    let (host, pod) = ("127.0.12.2", "127.0.12.3");
    let ring = [("a", "127.0.12.1"), ("b", host)];
    let mut host = Probe::start(command(home.path(), "b", host, &ring, &["--host"]));
    let _pod = Probe::start(command(home.path(), "b", pod, &ring, &[]));
    host.account(|_| true);
    let new = |run: &[&str]| command(home.path(), "a", "127.0.12.9", &ring, run).output().unwrap();
    let reached = new(&["--once", "30s"]);
    let account = Account::read(std::str::from_utf8(&reached.stdout).unwrap().lines().last().unwrap()).unwrap();
    assert_eq!(reached.status.code(), Some(0), "{account:?}");
    assert!(account.pairs.iter().all(|pair| pair.answered > 0), "{account:?}");
    // Probes of another run do not answer.
    assert_eq!(new(&["--once", "300ms", "--run", "other"]).status.code(), Some(4));
}

#[test]
fn a_port_that_is_taken_and_a_ring_that_is_none_are_said() {
    let home = tempfile::tempdir().unwrap();
    let _taken = UdpSocket::bind(("127.0.13.1", port())).unwrap();
    let ring = [("a", "127.0.13.1")];
    let refused = command(home.path(), "a", "127.0.13.1", &ring, &["--host"]).output().unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(4) && words.contains("CU-E078"), "{words}");
    let refused = command(home.path(), "a", "127.0.13.2", &[("a", "nowhere")], &[]).output().unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(65) && words.contains("line 1"), "{words}");
}
