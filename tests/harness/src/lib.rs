//! A real control plane, simulated nodes and worn-in clusters, for the tests, the demo and the benchmarks.
//!
//! Everything runs on 127.0.0.1 and ends with this process, however it ends. The API is blocking, and rests on neither
//! the Kubernetes client nor the async runtime of the program under test, so that it can judge both.

mod alike;
mod api;
mod binaries;
mod calico_etcd;
mod calico_keys;
mod calico_v3;
mod certificates;
mod control_plane;
mod discovery;
mod error;
mod etcd;
mod etcd_certificates;
mod failures;
mod fixture;
mod kubelets;
mod nodes;
mod oracle;
mod parallel;
mod ports;
mod servers;
mod snapshot;
mod supervisor;
mod users;
pub mod variation;
mod wait;
mod words;
mod worn_in;

pub use api::{Api, ApiError};
pub use binaries::etcdctl;
pub use calico_etcd::{CalicoEtcd, EtcdSetup, PASSWORD, READER, ROOT_USER};
pub use calico_keys::{ODD_NAMES, synthetic_keys, worn_in_keys};
pub use calico_v3::{lay_out_published, published, worn_in_v3};
pub use control_plane::{ControlPlane, Kubernetes};
pub use error::{HarnessError, Result};
pub use etcd_certificates::{CLIENT_NAME, Fault as CertificateFault};
pub use failures::tell;
pub use kubelets::Rule;
pub use nodes::{Fault, Nodes, ready_condition};
pub use oracle::{State, differences};
pub use servers::Server;
pub use snapshot::Snapshot;
pub use users::User;
pub use wait::{LIMIT, Seen, wait_until};
pub use words::UnknownWord;
pub use worn_in::{Flavour, Release, Size, WornIn, worn_in};
