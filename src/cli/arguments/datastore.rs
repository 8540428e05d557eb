use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Where Calico's own data is. What is not said is read from the install.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Datastore")]
pub struct Datastore {
    /// Where Calico keeps its data, if that cannot be told from the install
    #[arg(long, global = true, value_enum, default_value_t, env = "CALICO_UPGRADER_DATASTORE")]
    pub datastore: DatastoreChoice,
    /// The addresses of Calico's etcd, all of one cluster
    #[arg(long, global = true, value_name = "URL,…", value_delimiter = ',', env = "CALICO_UPGRADER_ETCD_ENDPOINTS")]
    pub etcd_endpoints: Vec<String>,
    /// The certificate authority that etcd is verified with
    #[arg(long, global = true, value_name = "FILE", env = "CALICO_UPGRADER_ETCD_CA_CERT_FILE")]
    pub etcd_ca_cert_file: Option<PathBuf>,
    /// Our certificate for etcd
    #[arg(long, global = true, value_name = "FILE", env = "CALICO_UPGRADER_ETCD_CERT_FILE")]
    pub etcd_cert_file: Option<PathBuf>,
    /// The key of our certificate
    #[arg(long, global = true, value_name = "FILE", env = "CALICO_UPGRADER_ETCD_KEY_FILE")]
    pub etcd_key_file: Option<PathBuf>,
    /// A user of etcd's v2 API
    #[arg(long, global = true, value_name = "NAME", env = "CALICO_UPGRADER_ETCD_USERNAME")]
    pub etcd_username: Option<String>,
    /// The file that holds its password
    #[arg(long, global = true, value_name = "FILE", env = "CALICO_UPGRADER_ETCD_PASSWORD_FILE")]
    pub etcd_password_file: Option<PathBuf>,
    /// Let plain http go to other machines, where anybody on the way can read and change it
    #[arg(long, global = true, env = "CALICO_UPGRADER_ETCD_ALLOW_PLAIN_HTTP")]
    pub etcd_allow_plain_http: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DatastoreChoice {
    #[default]
    Auto,
    Kubernetes,
    Etcdv2,
}
