//! What to think of a store that refuses: the one of the API server, and the etcd of Calico's data.

use super::failure::Failure;
use crate::{
    cluster::ClusterError,
    datastore::{EtcdError, TlsProblem},
    step::StepError,
};

const MAKE_ROOM: &str = "etcdctl alarm list; make room (compact, defrag), then etcdctl alarm disarm";

/// A store that is full before anything was changed.
pub fn full(what: String) -> Failure {
    let why = "the run record cannot be written, and without it nothing is changed";
    Failure::new(3, "CU-E048", what).why(why).now(format!("{MAKE_ROOM}; then the same command again"))
}

/// The code of a run that stopped for a reason of which its exit code alone does not tell.
pub fn code(error: &StepError) -> Option<&'static str> {
    matches!(error.refusal(), Some(ClusterError::StoreFull { .. })).then_some("CU-R016")
}

/// What failed, where the store says more than what was asked of it.
pub fn what(error: &StepError) -> Option<String> {
    error.refusal().filter(|_| code(error).is_some()).map(ClusterError::to_string)
}

/// What to think of a refusal, where its own words do not say it.
pub fn hint(error: &StepError) -> &'static str {
    match error.refusal() {
        Some(ClusterError::StoreFull { .. }) => {
            "Reading works, writing does not, until someone makes room: compact, defrag, then etcdctl alarm disarm."
        }
        Some(ClusterError::Etcd(error)) => hint_of_etcd(error),
        Some(_) | None => "",
    }
}

fn hint_of_etcd(error: &EtcdError) -> &'static str {
    let is_changed = |problem: &TlsProblem| {
        matches!(problem, TlsProblem::UnknownAuthority | TlsProblem::Expired | TlsProblem::OurCertificate(_))
    };
    if matches!(error, EtcdError::Tls { problem, .. } if is_changed(problem)) {
        "If certificates were changed meanwhile: resume reads the Secret and the files again."
    } else if matches!(error, EtcdError::Unauthorized { .. } | EtcdError::Forbidden { .. }) {
        "If users or passwords were changed meanwhile: resume reads the file again."
    } else if error.is_worth_a_retry() {
        "Calico's etcd needs a majority of its members and room on its disk. What was asked of it last is looked at first."
    } else {
        ""
    }
}
