//! The servers of a control plane and how each is started.

use std::path::Path;

use crate::binaries::Binaries;
use crate::certificates;
use crate::control_plane::Kubernetes;
use crate::ports::Ports;
use crate::users;

/// One process of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// The store.
    Etcd,
    /// The only door to the store.
    ApiServer,
    /// The controllers of DaemonSets, namespaces, garbage and the rest.
    ControllerManager,
    /// It gives pods their nodes.
    Scheduler,
}

impl Server {
    /// The name of its log, without `.log`, and of the process for the supervisor.
    pub fn name(self) -> &'static str {
        match self {
            Server::Etcd => "etcd",
            Server::ApiServer => "api_server",
            Server::ControllerManager => "controller_manager",
            Server::Scheduler => "scheduler",
        }
    }
}

pub const KUBECONFIG: &str = "servers.kubeconfig";
pub const AUDIT_POLICY: &str = "audit-policy.json";
pub const AUDIT_LOG: &str = "audit.log";

/// What the command lines of all servers depend on.
pub struct Setup<'a> {
    pub kubernetes: Kubernetes,
    pub binaries: &'a Binaries,
    pub folder: &'a Path,
    pub ports: Ports,
    /// The size in bytes at which the store is full, if it is not etcd's own default.
    pub store_limit: Option<u64>,
}

impl Setup<'_> {
    pub fn command(&self, server: Server) -> Vec<String> {
        match server {
            Server::Etcd => self.etcd(),
            Server::ApiServer => self.api_server(),
            Server::ControllerManager => self.controller_manager(),
            Server::Scheduler => self.scheduler(),
        }
    }

    fn etcd(&self) -> Vec<String> {
        let client = self.ports.etcd_endpoint();
        let peer = format!("http://127.0.0.1:{}", self.ports.etcd_peer);
        command(
            self.binaries.etcd(),
            [
                "--name=harness".to_owned(),
                format!("--data-dir={}", self.file("etcd")),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=harness={peer}"),
                "--enable-v2".to_owned(),
                // Nothing here outlives the test, so nothing needs to reach the disk.
                "--unsafe-no-fsync".to_owned(),
                // A whole snapshot goes back in one transaction.
                "--max-txn-ops=100000".to_owned(),
                "--max-request-bytes=33554432".to_owned(),
            ]
            .into_iter()
            .chain(self.store_limit.map(|bytes| format!("--quota-backend-bytes={bytes}"))),
        )
    }

    fn api_server(&self) -> Vec<String> {
        let common = [
            format!("--etcd-servers={}", self.ports.etcd_endpoint()),
            format!("--secure-port={}", self.ports.api_server),
            "--bind-address=127.0.0.1".to_owned(),
            // 1.8 refuses a loopback address here; nobody ever connects to this one.
            "--advertise-address=192.0.2.254".to_owned(),
            format!("--tls-cert-file={}", self.file(certificates::SERVER)),
            format!("--tls-private-key-file={}", self.file(certificates::SERVER_KEY)),
            format!("--client-ca-file={}", self.file(certificates::AUTHORITY)),
            format!("--token-auth-file={}", self.file(users::TOKENS)),
            format!("--service-account-key-file={}", self.file(certificates::SERVICE_ACCOUNT_PUBLIC_KEY)),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            format!("--audit-policy-file={}", self.file(AUDIT_POLICY)),
            format!("--audit-log-path={}", self.file(AUDIT_LOG)),
            // Lets the harness read what etcd holds; no client can see the difference.
            "--storage-media-type=application/json".to_owned(),
        ];
        let own = match self.kubernetes {
            Kubernetes::V1_34 => vec![
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                format!("--service-account-signing-key-file={}", self.file(certificates::SERVICE_ACCOUNT_KEY)),
                // Otherwise an Endpoints object is rewritten every ten seconds.
                "--endpoint-reconciler-type=none".to_owned(),
            ],
            Kubernetes::V1_8 => vec![
                "--insecure-port=0".to_owned(),
                "--storage-backend=etcd3".to_owned(),
                "--admission-control=NamespaceLifecycle,LimitRanger,ServiceAccount,DefaultStorageClass,\
                 DefaultTolerationSeconds,ResourceQuota"
                    .to_owned(),
            ],
        };
        command(self.binaries.kubernetes("kube-apiserver"), common.into_iter().chain(own))
    }

    fn controller_manager(&self) -> Vec<String> {
        let common = [
            format!("--kubeconfig={}", self.file(KUBECONFIG)),
            format!("--root-ca-file={}", self.file(certificates::AUTHORITY)),
            format!("--service-account-private-key-file={}", self.file(certificates::SERVICE_ACCOUNT_KEY)),
            "--leader-elect=false".to_owned(),
            // Simulated kubelets send no heartbeats.
            "--node-monitor-grace-period=8760h".to_owned(),
            "--kube-api-qps=1000".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ];
        let program = self.binaries.kubernetes("kube-controller-manager");
        let controllers = format!("--controllers={}", self.controllers().join(","));
        command(program, common.into_iter().chain([controllers]).chain(self.no_health_port()))
    }

    /// Those that have something to do here: the controllers start anew at each restore, and most of that is their number.
    fn controllers(&self) -> Vec<&'static str> {
        match self.kubernetes {
            Kubernetes::V1_34 => vec![
                "clusterrole-aggregation-controller",
                "cronjob-controller",
                "daemonset-controller",
                "deployment-controller",
                "disruption-controller",
                "garbage-collector-controller",
                "job-controller",
                "namespace-controller",
                "node-lifecycle-controller",
                "pod-garbage-collector-controller",
                "replicaset-controller",
                "root-ca-certificate-publisher-controller",
                "serviceaccount-controller",
                "serviceaccount-token-controller",
                "taint-eviction-controller",
            ],
            Kubernetes::V1_8 => vec![
                "cronjob",
                "daemonset",
                "deployment",
                "disruption",
                "garbagecollector",
                "job",
                "namespace",
                "node",
                "podgc",
                "replicaset",
                "serviceaccount",
                "serviceaccount-token",
            ],
        }
    }

    fn scheduler(&self) -> Vec<String> {
        let common = [
            format!("--kubeconfig={}", self.file(KUBECONFIG)),
            "--leader-elect=false".to_owned(),
            "--kube-api-qps=1000".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ];
        command(self.binaries.kubernetes("kube-scheduler"), common.into_iter().chain(self.no_health_port()))
    }

    fn no_health_port(&self) -> Vec<String> {
        match self.kubernetes {
            Kubernetes::V1_34 => vec!["--secure-port=0".to_owned()],
            // 1.8 cannot do without; zero lets the kernel choose.
            Kubernetes::V1_8 => vec!["--address=127.0.0.1".to_owned(), "--port=0".to_owned()],
        }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

fn command(program: String, arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(program).chain(arguments).collect()
}
