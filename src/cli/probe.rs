//! One probe of a run, as the pods of its DaemonSets call it; a pod that checks a node that was replaced calls it with `--once`.

use super::{Ended, arguments, failure::Failure, session::milliseconds, terminal};
use crate::{
    echo::{self, EchoError},
    probe::{Account, Net, PairAccount, Ring, run_number},
};

/// No neighbour answered.
const NOBODY: u8 = 4;

pub async fn probe(arguments: &arguments::Probe) -> Ended {
    let path = arguments.ring.display();
    let text = std::fs::read_to_string(&arguments.ring).map_err(|error| Failure::bad_file(path, error.to_string()))?;
    let path = arguments.ring.display();
    let ring = Ring::read(&text).map_err(|error| Failure::bad_file(path, error.to_string()))?;
    let probe = echo::Probe {
        node: arguments.node.clone(),
        net: if arguments.host { Net::Host } else { Net::Pod },
        address: arguments.address,
        port: arguments.port,
        run: run_number(&arguments.run),
        ring,
        interval: milliseconds("--interval", &arguments.interval)?,
        once: arguments.once.as_deref().map(|text| milliseconds("--once", text)).transpose()?,
    };
    let is_once = probe.once.is_some();
    let write = |account: &Account| terminal::data(&format!("{}\n", account.line()));
    let last = echo::run(probe, write, asked_to_stop()).await?;
    let is_answered = last.pairs.iter().any(|pair: &PairAccount| pair.answered > 0);
    Ok(if is_once && !is_answered { NOBODY } else { 0 })
}

/// A pod gets SIGTERM when it is to end, people press Ctrl-C.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

impl From<EchoError> for Failure {
    fn from(error: EchoError) -> Self {
        let evidence = super::failure::causes(&error);
        Self::new(4, "CU-E078", error.to_string())
            .evidence(evidence)
            .why("another program of the host has the port, or the address is none of this machine")
            .now("without this probe the run says which pairs it does not see")
    }
}
