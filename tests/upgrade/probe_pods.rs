//! Kubelets for the pods of probes: simulated nodes run none, so the programs of these pods are run here, on loopback addresses, and
//! their newest lines are served where the API server asks for logs. What they count is real, and so is the way by which it is read.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use calico_upgrader::probe::Account;
use harness::{Api, Seen, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};

use crate::lab::Lab;

const PODS: &str = "/api/v1/namespaces/calico-upgrader/pods";

/// How often the kubelets look for pods.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Programs by the names of their pods.
type Programs = Arc<Mutex<BTreeMap<String, Program>>>;

struct Program {
    node: String,
    child: Child,
    newest: Arc<Mutex<String>>,
}

/// The kubelets of all nodes of a lab. They end with the test.
pub struct ProbePods {
    programs: Programs,
    is_over: Arc<AtomicBool>,
    runner: Option<JoinHandle<()>>,
}

impl ProbePods {
    /// Gives each node an address of this machine, and runs the pods of probes from now on.
    pub fn play(lab: &Lab) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = give_addresses(lab.api(), listener.local_addr().unwrap().port());
        let (programs, is_over): (Programs, Arc<AtomicBool>) = Default::default();
        serve(listener, lab, Arc::clone(&programs));
        let kubelet = Kubelet {
            api: lab.api().clone(),
            home: tempfile::tempdir().unwrap(),
            addresses,
            programs: Arc::clone(&programs),
        };
        let end = Arc::clone(&is_over);
        let runner = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                // An object may come or go between two questions: it is looked at again.
                let _ = kubelet.look();
                std::thread::sleep(LOOK_AGAIN);
            }
        });
        Self { programs, is_over, runner: Some(runner) }
    }

    /// Holds the programs of a node still until another one has lost so many packets to it in a row.
    pub fn interrupt(&self, node: &str, packets: u64) {
        self.signal(node, Signal::STOP);
        wait_until("packets to be lost", || {
            let accounts = self.accounts();
            let pairs = accounts.iter().flat_map(|account| &account.pairs).filter(|pair| pair.node == node);
            let lost = pairs.filter_map(|pair| pair.open).map(|gap| gap.lost).max();
            Ok(if lost >= Some(packets) { Seen::Yes(()) } else { Seen::NotYet(format!("{lost:?} lost")) })
        })
        .unwrap();
        self.signal(node, Signal::CONT);
    }

    fn accounts(&self) -> Vec<Account> {
        let programs = self.programs.lock().unwrap();
        programs.values().filter_map(|program| Account::read(&program.newest.lock().unwrap())).collect()
    }

    fn signal(&self, node: &str, signal: Signal) {
        for program in self.programs.lock().unwrap().values().filter(|program| program.node == node) {
            let _ = kill_process(Pid::from_child(&program.child), signal);
        }
    }
}

impl Drop for ProbePods {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.runner.take().map(JoinHandle::join);
        std::mem::take(&mut *self.programs.lock().unwrap()).into_values().for_each(end);
    }
}

fn end(mut program: Program) {
    let _ = program.child.kill();
    let _ = program.child.wait();
}

/// Addresses that no other process of this machine has, since probes all listen on one port.
fn give_addresses(api: &Api, port: u16) -> BTreeMap<String, String> {
    let process = std::process::id();
    let network = format!("127.{}.{}", 20 + process / 250 % 200, process % 250);
    let nodes = api.list("/api/v1/nodes").unwrap().into_iter().enumerate();
    nodes
        .map(|(at, node)| {
            let name = node["metadata"]["name"].as_str().unwrap().to_owned();
            let address = format!("{network}.{}", 1 + at);
            // The API server looks for the kubelet at the first address, the ring takes the internal one.
            let status = json!({"status": {
                "addresses": [{"type": "Hostname", "address": "127.0.0.1"}, {"type": "InternalIP", "address": address}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            }});
            api.merge_patch(&format!("/api/v1/nodes/{name}/status"), &status).unwrap();
            (name, address)
        })
        .collect()
}

struct Kubelet {
    api: Api,
    home: tempfile::TempDir,
    addresses: BTreeMap<String, String>,
    programs: Programs,
}

impl Kubelet {
    /// Starts what is to run, and ends what is gone.
    fn look(&self) -> Result<(), harness::ApiError> {
        let pods = self.api.list(PODS)?;
        let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        for pod in pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
            let is_known = self.programs.lock().unwrap().contains_key(&name(pod));
            if !is_known && pod["spec"]["nodeName"].is_string() {
                self.start(&name(pod), pod)?;
            }
        }
        let mut programs = self.programs.lock().unwrap();
        let gone = programs.keys().filter(|known| !pods.iter().any(|pod| name(pod) == **known)).cloned();
        gone.collect::<Vec<_>>().iter().filter_map(|name| programs.remove(name)).for_each(end);
        Ok(())
    }

    fn start(&self, name: &str, pod: &Value) -> Result<(), harness::ApiError> {
        let ring = self.api.get("/api/v1/namespaces/calico-upgrader/configmaps/calico-upgrader-probe")?;
        let file = self.home.path().join(name);
        std::fs::write(&file, ring["data"]["ring"].as_str().unwrap()).unwrap();
        let node = pod["spec"]["nodeName"].as_str().unwrap().to_owned();
        let is_on_host = pod["spec"]["hostNetwork"] == true;
        let words =
            pod["spec"]["containers"][0]["args"].as_array().unwrap().iter().map(|word| match word.as_str().unwrap() {
                "/ring/ring" => file.to_str().unwrap(),
                word => word,
            });
        let words: Vec<&str> = words.collect();
        let host = &self.addresses[&node];
        // The address of a pod is 100 more than that of its host.
        let (network, last) = host.rsplit_once('.').unwrap();
        let address =
            if is_on_host { host.clone() } else { format!("{network}.{}", 100 + last.parse::<u8>().unwrap()) };
        let mut command = Command::new(env!("CARGO_BIN_EXE_calico-upgrader"));
        command.args(&words).env("NODE_NAME", &node).env("POD_IP", &address).stdout(Stdio::piped());
        let program = Program::start(command, node);
        if words.contains(&"--once") {
            return self.run_to_its_end(name, &address, program);
        }
        self.programs.lock().unwrap().insert(name.to_owned(), program);
        Ok(())
    }

    /// A pod that runs once: its status says how it ended.
    fn run_to_its_end(&self, name: &str, address: &str, mut program: Program) -> Result<(), harness::ApiError> {
        let phase = if program.child.wait().unwrap().success() { "Succeeded" } else { "Failed" };
        self.programs.lock().unwrap().insert(name.to_owned(), program);
        let status = json!({"status": {"phase": phase, "podIP": address, "podIPs": [{"ip": address}]}});
        self.api.merge_patch(&format!("{PODS}/{name}/status"), &status).map(drop)
    }
}

impl Program {
    fn start(mut command: Command, node: String) -> Self {
        let mut child = command.spawn().unwrap();
        let (lines, newest) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::<Mutex<String>>::default());
        let kept = Arc::clone(&newest);
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| *kept.lock().unwrap() = line));
        Self { node, child, newest }
    }
}

/// Answers the API server when it asks for logs.
fn serve(listener: TcpListener, lab: &Lab, programs: Programs) {
    // The API server believes any kubelet that it was told of.
    let file = |name: &str| lab.folder().join(name);
    let certificates =
        CertificateDer::pem_file_iter(file("server.crt")).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(certificates, key).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, programs) = (Arc::clone(&config), Arc::clone(&programs));
            // Whoever asks may be gone by now.
            std::thread::spawn(move || _ = answer(stream, config, &programs));
        }
    });
}

fn answer(stream: TcpStream, config: Arc<rustls::ServerConfig>, programs: &Programs) -> std::io::Result<()> {
    let connection = rustls::ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut reader = BufReader::new(rustls::StreamOwned::new(connection, stream));
    let (mut line, mut header) = (String::new(), String::new());
    reader.read_line(&mut line)?;
    while header != "\r\n" {
        header.clear();
        if reader.read_line(&mut header)? == 0 {
            return Ok(());
        }
    }
    // GET /containerLogs/NAMESPACE/POD/CONTAINER?tailLines=1
    let pod = line.split('/').nth(3).unwrap_or_default();
    let newest = programs.lock().unwrap().get(pod).map(|program| program.newest.lock().unwrap().clone());
    let (status, body) = newest.map_or(("404 Not Found", String::new()), |line| ("200 OK", line + "\n"));
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let stream = reader.get_mut();
    stream.write_all((head + &body).as_bytes())?;
    stream.conn.send_close_notify();
    stream.flush()
}
