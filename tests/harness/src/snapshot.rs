//! Taking the cluster back to an earlier moment, fast enough for hundreds of cases.
//!
//! All keys of Kubernetes in etcd are compared with those of the moment, and those that differ are written in one
//! transaction. API server, controllers and simulated kubelets stay up: they see one jump through their watches. What a
//! controller was busy with may still be written after the jump, so the restored state is read through the API and the
//! jump is repeated until the cluster is what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::control_plane::ControlPlane;
use crate::error::Result;
use crate::etcd::{Revisions, Values, Write};
use crate::nodes::Fault;
use crate::oracle::{State, differences};
use crate::servers::Server;
use crate::wait::{Seen, wait_until};
use crate::worn_in::has_one_ready;

/// How long nothing may be written before the cluster counts as being at rest.
const QUIET: Duration = Duration::from_millis(120);

/// Keys that belong to the running servers and not to the state of the cluster.
const NOT_REWOUND: [&str; 6] = [
    "/registry/events/",
    "/registry/leases/kube-node-lease/",
    "/registry/leases/kube-system/apiserver-",
    "/registry/masterleases/",
    "/registry/peerserverleases/",
    // The API server keeps its own copy of which addresses and ports are given out.
    "/registry/ranges/",
];

/// The cluster at one moment.
pub struct Snapshot {
    values: Values,
    /// The revisions of the store at which keys got the values of the moment, now or in an earlier restore.
    revisions: Mutex<Revisions>,
    state: State,
    ready_nodes: BTreeSet<String>,
    faults: BTreeMap<String, Fault>,
}

impl Snapshot {
    /// The objects of the moment, as [`ControlPlane::cluster_state`] gives them.
    pub fn state(&self) -> &State {
        &self.state
    }
}

impl ControlPlane {
    /// Waits until the cluster is at rest, and remembers everything that it holds.
    pub fn snapshot(&self) -> Result<Snapshot> {
        loop {
            let at_rest = self.wait_until_quiet()?;
            let (mut values, mut revisions) = self.etcd().read_all()?;
            values.retain(|key, _| is_rewound(key));
            revisions.retain(|key, _| is_rewound(key));
            let pods = self.calico_pods()?;
            let ready_nodes = pods.keys().filter(|node| has_one_ready(&pods, node)).cloned().collect();
            let state = self.cluster_state()?;
            if revisions == at_rest && self.rewound_revisions()? == at_rest {
                let revisions = Mutex::new(revisions);
                return Ok(Snapshot { values, revisions, state, ready_nodes, faults: self.kubelets.faults() });
            }
        }
    }

    /// Takes the cluster back, faults of nodes included, and waits until the API server shows it as it was, each pod of
    /// calico-node that was ready is there and ready again, and nothing more is being written.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        self.kubelets.set_faults(snapshot.faults.clone());
        self.kubelets.forget_connections();
        wait_until("the restored state", || {
            // A controller that sees the jump expects pods that never come, and then does nothing for five minutes.
            self.stop_server(Server::ControllerManager)?;
            self.rewind_keys(snapshot)?;
            self.start_server(Server::ControllerManager)?;
            self.wait_until_quiet()?;
            Ok(match self.difference_from(snapshot)? {
                Some(difference) => Seen::NotYet(difference),
                None => Seen::Yes(()),
            })
        })
    }

    fn rewind_keys(&self, snapshot: &Snapshot) -> Result<()> {
        let mut known = snapshot.revisions.lock().expect("nothing panics while it restores");
        let current = self.rewound_revisions()?;
        let writes = writes_between(&current, &known, &snapshot.values);
        if writes.is_empty() {
            return Ok(());
        }
        let revision = self.etcd().write_at_once(&writes)?;
        for write in &writes {
            if let Write::Put { key, .. } = write {
                known.insert((*key).to_owned(), revision);
            }
        }
        Ok(())
    }

    fn difference_from(&self, snapshot: &Snapshot) -> Result<Option<String>> {
        let pods = self.calico_pods()?;
        if let Some(node) = snapshot.ready_nodes.iter().find(|node| !has_one_ready(&pods, node)) {
            return Ok(Some(format!("no ready pod of calico-node on `{node}`")));
        }
        let differences = differences(&snapshot.state, &self.cluster_state()?);
        Ok((!differences.is_empty()).then(|| differences.join("\n")))
    }

    /// Waits until nothing was written for a while, and returns when each key was last written.
    fn wait_until_quiet(&self) -> Result<Revisions> {
        let (mut of_store, mut of_keys) = (self.etcd().revision()?, self.rewound_revisions()?);
        let mut since = Instant::now();
        wait_until("a cluster at rest", || {
            let now = self.etcd().revision()?;
            if now != of_store {
                let keys_now = self.rewound_revisions()?;
                if keys_now != of_keys {
                    (of_keys, since) = (keys_now, Instant::now());
                }
                of_store = now;
            }
            Ok(if since.elapsed() < QUIET { Seen::NotYet("writes".to_owned()) } else { Seen::Yes(of_keys.clone()) })
        })
    }

    fn rewound_revisions(&self) -> Result<Revisions> {
        let mut revisions = self.etcd().read_revisions()?;
        revisions.retain(|key, _| is_rewound(key));
        Ok(revisions)
    }
}

fn is_rewound(key: &str) -> bool {
    !NOT_REWOUND.iter().any(|prefix| key.starts_with(prefix))
}

/// The writes that give all keys the wanted values, where they were written since they had them.
fn writes_between<'a>(current: &'a Revisions, known: &Revisions, wanted: &'a Values) -> Vec<Write<'a>> {
    let gone = current.keys().filter(|key| !wanted.contains_key(*key)).map(|key| Write::Delete { key });
    let changed = wanted
        .iter()
        .filter(|(key, _)| !current.contains_key(*key) || current.get(*key) != known.get(*key))
        .map(|(key, value)| Write::Put { key, value });
    gone.chain(changed).collect()
}
