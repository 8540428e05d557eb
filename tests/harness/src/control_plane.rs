//! Starting, steering and ending a control plane.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use crate::api::Api;
use crate::binaries::Binaries;
use crate::certificates::{self, write_file};
use crate::error::{HarnessError, Result};
use crate::etcd::Etcd;
use crate::kubelets::Kubelets;
use crate::ports::Ports;
use crate::servers::{AUDIT_LOG, AUDIT_POLICY, KUBECONFIG, Server, Setup};
use crate::supervisor::Supervisor;
use crate::users::{self, User};
use crate::wait::{Seen, wait_until};

const START_ATTEMPTS: usize = 3;

/// A version of Kubernetes that can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kubernetes {
    /// A version of today.
    V1_34,
    /// The version that upstream tested the upgrade to Calico 2.6 on.
    V1_8,
}

impl Kubernetes {
    /// All versions, newest first.
    pub const ALL: [Kubernetes; 2] = [Kubernetes::V1_34, Kubernetes::V1_8];

    /// The name of the part that `build.sh` makes.
    pub(crate) fn part(self) -> &'static str {
        match self {
            Kubernetes::V1_34 => "v1.34",
            Kubernetes::V1_8 => "v1.8",
        }
    }

    /// The full version that its nodes report.
    pub fn version(self) -> &'static str {
        match self {
            Kubernetes::V1_34 => "v1.34.4",
            Kubernetes::V1_8 => "v1.8.15",
        }
    }

    fn health_path(self) -> &'static str {
        match self {
            Kubernetes::V1_34 => "/readyz",
            Kubernetes::V1_8 => "/healthz",
        }
    }
}

/// A running control plane: etcd, API server, controllers and scheduler on 127.0.0.1, and simulated kubelets.
///
/// Dropping it ends the servers and removes their folder; so does the end of this process, even by SIGKILL.
pub struct ControlPlane {
    kubernetes: Kubernetes,
    api: Api,
    etcd: Etcd,
    ports: Ports,
    folder: PathBuf,
    commands: BTreeMap<Server, Vec<String>>,
    pub(crate) kubelets: Kubelets,
    supervisor: Mutex<Supervisor>,
}

impl ControlPlane {
    /// Starts everything and waits until it works.
    pub fn start(kubernetes: Kubernetes) -> Result<Self> {
        Self::start_with(kubernetes, None)
    }

    /// The same with a store that is soon full: at this size in bytes.
    pub fn start_with_store_of(kubernetes: Kubernetes, bytes: u64) -> Result<Self> {
        Self::start_with(kubernetes, Some(bytes))
    }

    fn start_with(kubernetes: Kubernetes, store_limit: Option<u64>) -> Result<Self> {
        let binaries = Binaries::find(kubernetes)?;
        let mut attempts = 1;
        loop {
            match Self::start_once(kubernetes, &binaries, store_limit) {
                Err(error) if attempts < START_ATTEMPTS && lost_a_port(&error) => attempts += 1,
                outcome => return outcome,
            }
        }
    }

    fn start_once(kubernetes: Kubernetes, binaries: &Binaries, store_limit: Option<u64>) -> Result<Self> {
        let supervisor = Supervisor::start()?;
        let folder = supervisor.folder().to_owned();
        let ports = Ports::free()?;
        let authority = write_files(&folder, ports, kubernetes)?;
        let setup = Setup { kubernetes, binaries, folder: &folder, ports, store_limit };
        let api = Api::new(&ports.api_endpoint(), &authority, User::Admin.token());
        let plane = ControlPlane {
            kubernetes,
            kubelets: Kubelets::start(api.clone()),
            api,
            etcd: Etcd::new(ports.etcd_endpoint()),
            ports,
            commands: ALL_SERVERS.map(|server| (server, setup.command(server))).into(),
            folder,
            supervisor: Mutex::new(supervisor),
        };
        plane.start_server(Server::Etcd)?;
        plane.start_server(Server::ApiServer)?;
        plane.wait_until_healthy()?;
        for server in [Server::ControllerManager, Server::Scheduler] {
            plane.start_server(server)?;
        }
        users::grant_viewing(&plane.api)?;
        plane.wait_for_controllers()?;
        Ok(plane)
    }

    /// The version of Kubernetes that runs.
    pub fn kubernetes(&self) -> Kubernetes {
        self.kubernetes
    }

    /// A client with the rights of the administrator.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// A client with the rights of the given user.
    pub fn api_as(&self, user: User) -> Api {
        self.api.with_token(user.token())
    }

    /// The kubeconfig of the administrator; its context is `worn-in`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_for(User::Admin)
    }

    /// The kubeconfig of the given user.
    pub fn kubeconfig_for(&self, user: User) -> PathBuf {
        self.folder.join(kubeconfig_name(user))
    }

    /// Writes the kubeconfig of whoever has the token; its context is `worn-in`.
    pub fn kubeconfig_with_token(&self, name: &str, token: &str) -> Result<PathBuf> {
        let text = users::kubeconfig_with(&self.endpoint(), &self.authority(), name, token).to_string();
        write_file(&self.folder, &format!("{name}.kubeconfig"), &text)?;
        Ok(self.folder.join(format!("{name}.kubeconfig")))
    }

    /// The certificate of the authority that signed the API server's.
    pub fn authority(&self) -> PathBuf {
        self.folder.join(certificates::AUTHORITY)
    }

    /// The API server's certificate for 127.0.0.1 and its key, for other servers that shall be trusted like it.
    pub fn certificate(&self) -> (PathBuf, PathBuf) {
        (self.folder.join(certificates::SERVER), self.folder.join(certificates::SERVER_KEY))
    }

    /// What accounts of the program's namespace asked of the API server so far, one event a request.
    pub fn audited(&self) -> Vec<serde_json::Value> {
        let log = std::fs::read_to_string(self.folder.join(AUDIT_LOG)).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The address of the API server.
    pub fn endpoint(&self) -> String {
        self.ports.api_endpoint()
    }

    /// The address of etcd, which serves its v2 and its v3 API.
    pub fn etcd_endpoint(&self) -> String {
        self.ports.etcd_endpoint()
    }

    /// The folder of logs and files; it goes with the control plane.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends a server at once, as a crash would; etcd keeps its data.
    pub fn stop_server(&self, server: Server) -> Result<()> {
        self.supervisor().stop_server(server)
    }

    /// Starts a server that was stopped, and returns its process id without waiting until it works.
    pub fn start_server(&self, server: Server) -> Result<u32> {
        self.supervisor().start_server(server, &self.commands[&server])
    }

    /// Stops and starts the API server, and waits until it answers again.
    pub fn restart_api_server(&self) -> Result<()> {
        self.stop_server(Server::ApiServer)?;
        self.start_server(Server::ApiServer)?;
        self.wait_until_healthy()
    }

    /// Makes a server hang: it keeps its connections and answers nothing.
    pub fn freeze(&self, server: Server) -> Result<()> {
        self.supervisor().signal_server(server, "STOP")
    }

    /// Lets a server that hangs go on.
    pub fn thaw(&self, server: Server) -> Result<()> {
        self.supervisor().signal_server(server, "CONT")
    }

    /// Waits until the API server says that it is healthy.
    pub fn wait_until_healthy(&self) -> Result<()> {
        wait_until("a healthy API server", || {
            self.check_running(Server::Etcd)?;
            self.check_running(Server::ApiServer)?;
            Ok(match self.api.get(self.kubernetes.health_path()) {
                Ok(_) => Seen::Yes(()),
                Err(error) => Seen::NotYet(error.to_string()),
            })
        })
    }

    /// Fills the store until it takes no more writes.
    pub fn fill_store(&self) -> Result<()> {
        self.etcd.fill()
    }

    /// Makes room in a full store, so that it takes writes again.
    pub fn make_room(&self) -> Result<()> {
        self.etcd.make_room()
    }

    /// Holds that no server ended by itself, and shows the end of its log if one did.
    pub fn check_servers(&self) -> Result<()> {
        ALL_SERVERS.into_iter().try_for_each(|server| self.supervisor().check_not_ended(server))
    }

    pub(crate) fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// The controllers make a service account in each namespace; without it no pod can be created.
    fn wait_for_controllers(&self) -> Result<()> {
        wait_until("the first work of the controllers", || {
            self.check_running(Server::ControllerManager)?;
            self.check_running(Server::Scheduler)?;
            Ok(match self.api.get("/api/v1/namespaces/kube-system/serviceaccounts/default") {
                Ok(_) => Seen::Yes(()),
                Err(error) => Seen::NotYet(error.to_string()),
            })
        })
    }

    fn check_running(&self, server: Server) -> Result<()> {
        self.supervisor().check_running(server)
    }

    fn supervisor(&self) -> MutexGuard<'_, Supervisor> {
        self.supervisor.lock().expect("nothing panics while it talks to the supervisor")
    }
}

const ALL_SERVERS: [Server; 4] = [Server::Etcd, Server::ApiServer, Server::ControllerManager, Server::Scheduler];

fn write_files(folder: &Path, ports: Ports, kubernetes: Kubernetes) -> Result<String> {
    let authority = certificates::write(folder)?;
    let server = ports.api_endpoint();
    let authority_file = folder.join(certificates::AUTHORITY);
    write_file(folder, users::TOKENS, &users::tokens())?;
    write_file(folder, AUDIT_POLICY, &audit_policy(kubernetes).to_string())?;
    write_file(folder, KUBECONFIG, &users::kubeconfig_of_servers(&server, &authority_file).to_string())?;
    for user in [User::Admin, User::Viewer, User::Nobody] {
        let text = users::kubeconfig(&server, &authority_file, user).to_string();
        write_file(folder, &kubeconfig_name(user), &text)?;
    }
    Ok(authority)
}

/// Only accounts of the program's own namespace are audited, so nothing else gets slower.
fn audit_policy(kubernetes: Kubernetes) -> serde_json::Value {
    let version = match kubernetes {
        Kubernetes::V1_34 => "audit.k8s.io/v1",
        Kubernetes::V1_8 => "audit.k8s.io/v1beta1",
    };
    serde_json::json!({"apiVersion": version, "kind": "Policy", "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts:calico-upgrader"]},
        {"level": "None"},
    ]})
}

fn kubeconfig_name(user: User) -> String {
    format!("{}.kubeconfig", user.name())
}

fn lost_a_port(error: &HarnessError) -> bool {
    matches!(error, HarnessError::ServerEnded { log, .. } if log.contains("address already in use"))
}
