//! The one child process of the harness, which runs the servers and outlives nobody.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::error::{HarnessError, Result, Trying};
use crate::failures;
use crate::servers::Server;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/supervise.sh");

pub struct Supervisor {
    child: Child,
    // Closing this end is what tells the supervisor to end everything; it is closed by the kernel if we are killed.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Supervisor {
    pub fn start() -> Result<Self> {
        failures::tell_at_once();
        let mut child = Command::new("/bin/sh")
            .arg(SCRIPT)
            // Its own process group: Ctrl-C in a terminal reaches us, and then it, in that order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .trying(|| format!("start `{SCRIPT}`"))?;
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("standard output was piped above"));
        let mut supervisor = Supervisor { child, commands, answers, folder: PathBuf::new() };
        supervisor.folder = PathBuf::from(supervisor.answer("folder ")?);
        Ok(supervisor)
    }

    /// The folder of certificates, logs and etcd's data; it goes when the supervisor goes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a server and returns its process id.
    pub fn start_server(&mut self, server: Server, command: &[String]) -> Result<u32> {
        let name = server.name();
        let lines = command.join("\n");
        self.send(&format!("start {name} {}\n{lines}\n", command.len()))?;
        let pid = self.answer(&format!("started {name} "))?;
        Ok(pid.parse().expect("the supervisor answers with the number of the process"))
    }

    pub fn stop_server(&mut self, server: Server) -> Result<()> {
        let name = server.name();
        self.send(&format!("stop {name}\n"))?;
        self.answer(&format!("stopped {name}")).map(drop)
    }

    pub fn signal_server(&mut self, server: Server, signal: &str) -> Result<()> {
        let name = server.name();
        self.send(&format!("signal {name} {signal}\n"))?;
        self.answer(&format!("signalled {name}")).map(drop)
    }

    /// Holds that a server runs, and shows the end of its log if it does not.
    pub fn check_running(&mut self, server: Server) -> Result<()> {
        if self.state(server)? == "running" { Ok(()) } else { Err(self.ended(server)) }
    }

    /// Holds that a server did not end by itself; one that was stopped did not.
    pub fn check_not_ended(&mut self, server: Server) -> Result<()> {
        if self.state(server)? == "ended" { Err(self.ended(server)) } else { Ok(()) }
    }

    /// `running`, `stopped` or `ended`.
    fn state(&mut self, server: Server) -> Result<String> {
        self.send(&format!("state {}\n", server.name()))?;
        self.answer(&format!("{} ", server.name()))
    }

    fn ended(&self, server: Server) -> HarnessError {
        let log = std::fs::read(self.folder.join(format!("{}.log", server.name()))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log[log.len().saturating_sub(2000)..]).into_owned();
        HarnessError::ServerEnded { server: server.name(), log }
    }

    fn send(&mut self, text: &str) -> Result<()> {
        let commands = self.commands.as_mut().ok_or(HarnessError::SupervisorGone)?;
        commands.write_all(text.as_bytes()).map_err(|_| HarnessError::SupervisorGone)
    }

    fn answer(&mut self, expected: &str) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|_| HarnessError::SupervisorGone)?;
        let rest = line.strip_suffix('\n').and_then(|line| line.strip_prefix(expected));
        rest.map(str::to_owned).ok_or(HarnessError::SupervisorGone)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.commands = None;
        // Nothing can be done about an error here, and the supervisor cleans up either way.
        let _ = self.child.wait();
    }
}
