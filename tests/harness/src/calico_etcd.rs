//! An etcd of Calico's own: as many members as wanted, with or without TLS, users and the v2 API.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::process::{Pid, Resource, Rlimit};
use serde_json::{Value, json};

use crate::api;
use crate::binaries::Binaries;
use crate::error::{HarnessError, Result, Trying};
use crate::etcd_certificates::{self as certificates, Fault};
use crate::ports::Ports;
use crate::servers::Server;
use crate::supervisor::Supervisor;
use crate::wait::{Seen, wait_until};

const LARGEST_ANSWER: u64 = 1 << 30;

/// A user that may do everything, once users count.
pub const ROOT_USER: &str = "root";
/// A user that may read Calico's keys and write none.
pub const READER: &str = "reader";
/// The password of both; nothing that the program writes may hold it.
pub const PASSWORD: &str = "canary-never-print-me-either";

/// What an etcd shall be like.
#[derive(Debug, Clone, Copy)]
pub struct EtcdSetup {
    pub members: usize,
    /// Clients must show a certificate of its authority.
    pub wants_client_certificates: bool,
    pub certificate: Fault,
    /// What is wrong with the certificate of clients.
    pub client_certificate: Fault,
    /// Users count, and those without a name may do nothing.
    pub has_users: bool,
    pub serves_v2: bool,
    /// The JSON form of the v3 API.
    pub serves_gateway: bool,
}

impl Default for EtcdSetup {
    fn default() -> Self {
        EtcdSetup {
            members: 1,
            wants_client_certificates: false,
            certificate: Fault::None,
            client_certificate: Fault::None,
            has_users: false,
            serves_v2: true,
            serves_gateway: true,
        }
    }
}

/// A running etcd cluster. Dropping it ends its members; so does the end of this process, even by SIGKILL.
pub struct CalicoEtcd {
    members: Vec<Member>,
    agent: ureq::Agent,
    authorization: Option<String>,
}

struct Member {
    supervisor: Mutex<Supervisor>,
    folder: PathBuf,
    ports: Ports,
    command: Vec<String>,
    /// Zero where it was stopped.
    process: AtomicU32,
}

impl CalicoEtcd {
    /// Starts the members and waits until they have a leader.
    pub fn start(setup: EtcdSetup) -> Result<Self> {
        Self::start_with(setup, &[])
    }

    /// The same with keys in it. They are written before users count: from then on each request costs etcd a slow hash of the password.
    pub fn start_with(setup: EtcdSetup, keys: &[(String, Vec<u8>)]) -> Result<Self> {
        let program = Binaries::find_etcd()?.etcd();
        let ports = (0..setup.members).map(|_| Ports::free()).collect::<Result<Vec<_>>>()?;
        let peers: Vec<String> =
            ports.iter().enumerate().map(|(index, ports)| format!("m{index}={}", peer(ports))).collect();
        let mut members = Vec::new();
        for (index, ports) in ports.iter().enumerate() {
            let supervisor = Supervisor::start()?;
            let folder = supervisor.folder().to_owned();
            certificates::write(&folder, setup.certificate, setup.client_certificate)?;
            let command = command(&program, index, *ports, &folder.display().to_string(), &peers.join(","), setup);
            let (supervisor, process) = (Mutex::new(supervisor), AtomicU32::new(0));
            members.push(Member { supervisor, folder, ports: *ports, command, process });
        }
        let mut etcd = CalicoEtcd { members, agent: api::agent(None), authorization: None };
        for member in 0..setup.members {
            etcd.start_member(member)?;
        }
        etcd.wait_until_healthy()?;
        etcd.load(keys)?;
        if setup.has_users {
            etcd.set_up_users()?;
        }
        Ok(etcd)
    }

    /// The addresses in plain http, one for each member.
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.ports.etcd_endpoint()).collect()
    }

    /// The addresses with TLS, one for each member.
    pub fn secure_endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.ports.api_endpoint()).collect()
    }

    /// The authority that signed the first member's certificate and the client's.
    pub fn authority(&self) -> PathBuf {
        self.members[0].folder.join(certificates::AUTHORITY)
    }

    /// An authority that signed nothing here.
    pub fn other_authority(&self) -> PathBuf {
        self.members[0].folder.join(certificates::OTHER_AUTHORITY)
    }

    /// A client's certificate and its key.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        let folder = &self.members[0].folder;
        (folder.join(certificates::CLIENT), folder.join(certificates::CLIENT_KEY))
    }

    /// Ends a member at once, as a crash would.
    pub fn stop_member(&self, member: usize) -> Result<()> {
        self.members[member].process.store(0, Ordering::SeqCst);
        self.supervisor(member, |supervisor| supervisor.stop_server(Server::Etcd))
    }

    pub fn start_member(&self, member: usize) -> Result<()> {
        let command = &self.members[member].command;
        let process = self.supervisor(member, |supervisor| supervisor.start_server(Server::Etcd, command))?;
        self.members[member].process.store(process, Ordering::SeqCst);
        Ok(())
    }

    /// Makes a member hang: it keeps its connections and answers nothing.
    pub fn freeze_member(&self, member: usize) -> Result<()> {
        self.supervisor(member, |supervisor| supervisor.signal_server(Server::Etcd, "STOP"))
    }

    /// Lets a member that hangs go on; one that was ended stays so.
    pub fn thaw_member(&self, member: usize) -> Result<()> {
        self.supervisor(member, |supervisor| supervisor.signal_server(Server::Etcd, "CONT"))
    }

    /// Lets a member write nothing more to its files, as a full disk would; it ends at its next write.
    pub fn fill_disk_of_member(&self, member: usize) -> Result<()> {
        let process = self.members[member].process.load(Ordering::SeqCst);
        // Without a process it would be ours that is limited.
        let process = Pid::from_raw(process.cast_signed()).expect("only a member that runs fills its disk");
        let nothing = Rlimit { current: Some(0), maximum: Some(0) };
        let limited = rustix::process::prlimit(Some(process), Resource::Fsize, nothing);
        limited.map(drop).map_err(std::io::Error::from).trying(|| "limit the files of an etcd".to_owned())
    }

    /// Gives the first member and its clients certificates of a new authority; those from before count no more.
    pub fn renew_certificates(&self) -> Result<()> {
        self.stop_member(0)?;
        certificates::write(&self.members[0].folder, Fault::None, Fault::None)?;
        self.start_member(0)?;
        self.wait_until_healthy()
    }

    /// Raises the alarm of an etcd that is full.
    pub fn raise_no_space(&self) -> Result<()> {
        let alarm = json!({"action": "ACTIVATE", "memberID": "1", "alarm": "NOSPACE"});
        self.call("POST", "/v3/maintenance/alarm", Some(&alarm.to_string())).map(drop)
    }

    /// Writes a key of the v3 API.
    pub fn put_v3(&self, key: &str, value: &[u8]) -> Result<()> {
        let pair = json!({"key": BASE64_STANDARD.encode(key), "value": BASE64_STANDARD.encode(value)});
        self.call("POST", "/v3/kv/put", Some(&pair.to_string())).map(drop)
    }

    fn supervisor<T>(&self, member: usize, command: impl FnOnce(&mut Supervisor) -> Result<T>) -> Result<T> {
        command(&mut self.members[member].supervisor.lock().expect("nothing panics while it talks to the supervisor"))
    }

    /// Writes a key, whatever is there.
    pub fn put(&self, key: &str, value: &[u8]) -> Result<()> {
        self.put_with(key, value, "").map(drop)
    }

    /// Writes a key that etcd removes by itself.
    pub fn put_for(&self, key: &str, value: &[u8], seconds: u64) -> Result<()> {
        self.put_with(key, value, &format!("&ttl={seconds}")).map(drop)
    }

    fn put_with(&self, key: &str, value: &[u8], more: &str) -> Result<Value> {
        self.call("PUT", &path(key), Some(&format!("value={}{more}", escape(value))))
    }

    /// Makes a directory with nothing in it.
    pub fn make_directory(&self, key: &str) -> Result<()> {
        self.call("PUT", &path(key), Some("dir=true")).map(drop)
    }

    /// Removes a key, whatever it holds.
    pub fn remove(&self, key: &str) -> Result<()> {
        self.call("DELETE", &path(key), None).map(drop)
    }

    /// Removes a directory and all that is below it.
    pub fn remove_directory(&self, key: &str) -> Result<()> {
        self.call("DELETE", &format!("{}?recursive=true&dir=true", path(key)), None).map(drop)
    }

    /// The answer for a directory as etcd sends it: with all that is below it, or with its own entries alone.
    pub fn directory(&self, key: &str, is_deep: bool) -> Result<String> {
        self.ask("GET", &format!("{}?quorum=true&sorted=true&recursive={is_deep}", path(key)), None)
    }

    /// How many requests for keys the first member has received so far.
    pub fn requests(&self) -> Result<f64> {
        let text = self.ask("GET", "/metrics", None)?;
        let counts = text.lines().filter(|line| line.starts_with("etcd_http_received_total{"));
        Ok(counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    /// Writes many keys.
    pub fn load(&self, keys: &[(String, Vec<u8>)]) -> Result<()> {
        std::thread::scope(|scope| {
            let parts = keys.chunks(keys.len().div_ceil(8).max(1));
            let threads: Vec<_> = parts
                .map(|part| scope.spawn(|| part.iter().try_for_each(|(key, value)| self.put(key, value))))
                .collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("a writer does not panic"))
        })
    }

    /// The value of one key, listed or hidden.
    pub fn value(&self, key: &str) -> Result<Option<String>> {
        match self.call("GET", &format!("{}?quorum=true", path(key)), None) {
            Ok(answer) => Ok(answer["node"]["value"].as_str().map(str::to_owned)),
            Err(HarnessError::Etcd { message, .. }) if message.contains("Key not found") => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Every key that a recursive list shows, with its value and the index of its newest write.
    pub fn keys(&self) -> Result<BTreeMap<String, (String, u64)>> {
        let answer = self.call("GET", "/v2/keys/?recursive=true&quorum=true", None)?;
        let mut keys = BTreeMap::new();
        collect(&answer["node"], &mut keys);
        Ok(keys)
    }

    /// Makes a user with exactly these rights: paths, of which one that ends with `*` is for all that begin so.
    pub fn add_user(&self, name: &str, read: &[String], write: &[String]) -> Result<()> {
        let role = json!({"role": name, "permissions": {"kv": {"read": read, "write": write}}});
        self.call("PUT", &format!("/v2/auth/roles/{name}"), Some(&role.to_string()))?;
        let user = json!({"user": name, "password": PASSWORD, "roles": [name]});
        self.call("PUT", &format!("/v2/auth/users/{name}"), Some(&user.to_string())).map(drop)
    }

    fn set_up_users(&mut self) -> Result<()> {
        let root = json!({"user": ROOT_USER, "password": PASSWORD, "roles": ["root"]});
        self.call("PUT", "/v2/auth/users/root", Some(&root.to_string()))?;
        self.add_user(READER, &["/calico*".to_owned()], &[])?;
        self.call("PUT", "/v2/auth/enable", Some(""))?;
        let login = BASE64_STANDARD.encode(format!("{ROOT_USER}:{PASSWORD}"));
        self.authorization = Some(format!("Basic {login}"));
        let all = json!({"kv": {"read": ["/*"], "write": ["/*"]}});
        self.call("PUT", "/v2/auth/roles/guest", Some(&json!({"role": "guest", "revoke": all}).to_string()))?;
        Ok(())
    }

    /// Waits until the members that run have a leader.
    pub fn wait_until_healthy(&self) -> Result<()> {
        wait_until("an etcd with a leader", || {
            (0..self.members.len()).try_for_each(|member| self.check_running(member))?;
            Ok(match self.call("GET", "/health", None) {
                Ok(answer) if answer["health"] == "true" => Seen::Yes(()),
                Ok(answer) => Seen::NotYet(answer.to_string()),
                Err(error) => Seen::NotYet(error.to_string()),
            })
        })
    }

    fn check_running(&self, member: usize) -> Result<()> {
        let is_stopped = self.members[member].process.load(Ordering::SeqCst) == 0;
        if is_stopped { Ok(()) } else { self.supervisor(member, |supervisor| supervisor.check_running(Server::Etcd)) }
    }

    fn call(&self, method: &'static str, path: &str, body: Option<&str>) -> Result<Value> {
        Ok(serde_json::from_str(&self.ask(method, path, body)?).unwrap_or_default())
    }

    /// Asks the first member that runs.
    fn ask(&self, method: &'static str, path: &str, body: Option<&str>) -> Result<String> {
        let refused = |message: String| HarnessError::Etcd { path: method, message: format!("{path}: {message}") };
        let content = if path.starts_with("/v2/auth") || path.starts_with("/v3") {
            "application/json"
        } else {
            "application/x-www-form-urlencoded"
        };
        let mut last = refused("no member answers".to_owned());
        for endpoint in self.endpoints() {
            let mut request = ureq::http::Request::builder()
                .method(method)
                .uri(format!("{endpoint}{path}"))
                .header("content-type", content);
            if let Some(authorization) = &self.authorization {
                request = request.header("authorization", authorization);
            }
            let request =
                request.body(body.unwrap_or_default().to_owned()).map_err(|error| refused(error.to_string()))?;
            match self.agent.run(request) {
                Ok(mut response) => {
                    let status = response.status();
                    let text = response.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string();
                    let text = text.map_err(|error| refused(error.to_string()))?;
                    if !status.is_success() {
                        return Err(refused(format!("{status} {text}")));
                    }
                    return Ok(text);
                }
                Err(error) => last = refused(error.to_string()),
            }
        }
        Err(last)
    }
}

fn command(program: &str, index: usize, ports: Ports, folder: &str, peers: &str, setup: EtcdSetup) -> Vec<String> {
    let (plain, secure, peer) = (ports.etcd_endpoint(), ports.api_endpoint(), peer(&ports));
    let mut command = vec![
        program.to_owned(),
        format!("--name=m{index}"),
        format!("--data-dir={folder}/data"),
        format!("--listen-client-urls={plain},{secure}"),
        format!("--advertise-client-urls={plain},{secure}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster={peers}"),
        format!("--cert-file={folder}/{}", certificates::SERVER),
        format!("--key-file={folder}/{}", certificates::SERVER_KEY),
        "--unsafe-no-fsync".to_owned(),
    ];
    if setup.wants_client_certificates {
        command.push("--client-cert-auth".to_owned());
        command.push(format!("--trusted-ca-file={folder}/{}", certificates::AUTHORITY));
    }
    if !setup.serves_gateway {
        command.push("--enable-grpc-gateway=false".to_owned());
    }
    if setup.serves_v2 {
        command.push("--enable-v2".to_owned());
    }
    command
}

fn peer(ports: &Ports) -> String {
    format!("http://127.0.0.1:{}", ports.etcd_peer)
}

fn collect(node: &Value, keys: &mut BTreeMap<String, (String, u64)>) {
    if node["dir"] == true {
        node["nodes"].as_array().into_iter().flatten().for_each(|below| collect(below, keys));
    } else if let (Some(key), Some(value)) = (node["key"].as_str(), node["value"].as_str()) {
        keys.insert(key.to_owned(), (value.to_owned(), node["modifiedIndex"].as_u64().unwrap_or_default()));
    }
}

fn path(key: &str) -> String {
    let elements: Vec<String> = key.split('/').map(|element| escape(element.as_bytes())).collect();
    format!("/v2/keys{}", elements.join("/"))
}

fn escape(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    bytes.iter().map(|byte| if plain(*byte) { (*byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}
