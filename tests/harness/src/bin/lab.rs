//! A worn-in cluster to try things on.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use harness::{ControlPlane, Flavour, Kubernetes, Release, Result, Size, WornIn, worn_in};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};

const USAGE: &str = "\
Starts a control plane with a worn-in cluster, and takes it down again.

Usage: lab [--kubernetes 1.34|1.8] [--release v2.2.1|v2.3.0|v2.4.1|v2.5.1]
           [--flavour networking|policy-only|canal|canal-etcd|etcd|kubeadm] [--nodes COUNT] [--size small|full] [-- COMMAND [ARGUMENT]...]

Without a command it prints the path of the kubeconfig and stays until its input ends or it is interrupted.
With a command it runs that, with KUBECONFIG set, and ends with its exit code.";

const EXIT_USAGE: u8 = 64;

struct Options {
    kubernetes: Kubernetes,
    cluster: WornIn,
    nodes: usize,
    command: Vec<OsString>,
}

enum Happening {
    Ready(Box<ControlPlane>),
    Failed(String),
    Signal(i32),
    InputEnded,
    CommandEnded(u8),
}

fn main() -> ExitCode {
    match parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => run(options),
        Ok(None) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("lab: {message}\n\n{USAGE}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn run(options: Options) -> ExitCode {
    let (sender, happenings) = channel();
    report_signals(sender.clone());
    let (kubernetes, cluster, nodes) = (options.kubernetes, options.cluster, options.nodes);
    let of_builder = sender.clone();
    thread::spawn(move || {
        let outcome = build(kubernetes, &cluster, nodes);
        // Nobody listens any more once a signal has ended us.
        let _ = of_builder.send(match outcome {
            Ok(plane) => Happening::Ready(Box::new(plane)),
            Err(error) => Happening::Failed(chain(&error)),
        });
    });
    match happenings.recv() {
        Ok(Happening::Ready(plane)) => ExitCode::from(use_cluster(&plane, &options.command, sender, &happenings)),
        Ok(Happening::Failed(message)) => {
            eprintln!("lab: {message}");
            ExitCode::FAILURE
        }
        // What was started so far ends with us.
        Ok(Happening::Signal(signal)) => ExitCode::from(of_signal(signal)),
        Ok(Happening::InputEnded | Happening::CommandEnded(_)) | Err(_) => ExitCode::FAILURE,
    }
}

fn build(kubernetes: Kubernetes, cluster: &WornIn, nodes: usize) -> Result<ControlPlane> {
    let version = kubernetes.version();
    let plane = timed(&format!("started Kubernetes {version}"), || ControlPlane::start(kubernetes))?;
    timed(&format!("added {nodes} nodes"), || plane.add_node_count(nodes))?;
    let release = cluster.release.name();
    timed(&format!("laid out Calico {release}, {:?}, {:?}", cluster.flavour, cluster.size), || {
        worn_in(&plane, cluster)
    })?;
    Ok(plane)
}

fn use_cluster(
    plane: &ControlPlane,
    command: &[OsString],
    sender: Sender<Happening>,
    happenings: &Receiver<Happening>,
) -> u8 {
    let kubeconfig = plane.kubeconfig();
    let child = if command.is_empty() {
        println!("{}", kubeconfig.display());
        thread::spawn(move || {
            // An error of the input ends the wait as its end does.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            sender.send(Happening::InputEnded)
        });
        None
    } else {
        match start_command(command, &kubeconfig, sender) {
            Ok(pid) => Some(pid),
            Err(message) => {
                eprintln!("lab: {message}");
                return 127;
            }
        }
    };
    wait_for_end(child, happenings)
}

fn wait_for_end(child: Option<Pid>, happenings: &Receiver<Happening>) -> u8 {
    loop {
        match (happenings.recv(), child) {
            (Ok(Happening::CommandEnded(code)), _) => return code,
            (Ok(Happening::Signal(signal)), None) => return of_signal(signal),
            (Ok(Happening::Signal(signal)), Some(child)) => pass_on(signal, child),
            (Ok(Happening::InputEnded | Happening::Ready(_) | Happening::Failed(_)) | Err(_), _) => return 0,
        }
    }
}

/// A terminal sends its interrupt to the command too; only a request to end has to be passed on.
fn pass_on(signal: i32, child: Pid) {
    if signal == SIGTERM {
        // The command may have ended by itself just now.
        let _ = kill_process(child, Signal::TERM);
    }
}

fn start_command(command: &[OsString], kubeconfig: &Path, sender: Sender<Happening>) -> Result<Pid, String> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .spawn()
        .map_err(|error| format!("could not start `{}`: {error}", program.display()))?;
    let pid = Pid::from_child(&child);
    thread::spawn(move || sender.send(Happening::CommandEnded(exit_code(&mut child))));
    Ok(pid)
}

fn exit_code(child: &mut Child) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let Ok(status) = child.wait() else { return 1 };
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(1)
}

fn report_signals(sender: Sender<Happening>) {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]).expect("both signals can be caught");
    thread::spawn(move || {
        for signal in signals.forever() {
            if sender.send(Happening::Signal(signal)).is_err() {
                return;
            }
        }
    });
}

fn of_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(1)
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let outcome = work()?;
    eprintln!("lab: {what} in {:.1} s", started.elapsed().as_secs_f32());
    Ok(outcome)
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, String> {
    let cluster = WornIn { release: Release::V2_2_1, flavour: Flavour::Networking, size: Size::Small };
    let mut options = Options { kubernetes: Kubernetes::V1_34, cluster, nodes: 3, command: Vec::new() };
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--" => {
                options.command = arguments.collect();
                if options.command.is_empty() {
                    return Err("`--` needs a command after it".to_owned());
                }
                return Ok(Some(options));
            }
            _ => {}
        }
        let value = || arguments.next().ok_or_else(|| format!("`{name}` needs a value"));
        set(&mut options, &name, value)?;
    }
    Ok(Some(options))
}

fn set(options: &mut Options, name: &str, value: impl FnOnce() -> Result<OsString, String>) -> Result<(), String> {
    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(value: OsString) -> Result<T, String> {
        value.to_string_lossy().parse().map_err(|error: T::Err| error.to_string())
    }
    match name {
        "--kubernetes" => options.kubernetes = parsed(value()?)?,
        "--release" => options.cluster.release = parsed(value()?)?,
        "--flavour" => options.cluster.flavour = parsed(value()?)?,
        "--size" => options.cluster.size = parsed(value()?)?,
        "--nodes" => options.nodes = parsed(value()?)?,
        _ => return Err(format!("there is no `{name}`")),
    }
    Ok(())
}
