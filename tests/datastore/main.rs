//! What the client of Calico's own etcd promises, held against real etcd servers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod access;
mod reading;
mod writing;

use calico_upgrader::datastore::{Access, Authority, Credentials, Etcd, EtcdError, Identity};
use harness::{CalicoEtcd, EtcdSetup, PASSWORD};

/// An etcd of one member that speaks to everybody.
fn plain() -> CalicoEtcd {
    CalicoEtcd::start(EtcdSetup::default()).unwrap()
}

fn access(endpoints: Vec<String>) -> Access {
    Access { endpoints, ..Access::default() }
}

/// TLS with the right authority.
fn secure(etcd: &CalicoEtcd) -> Access {
    let from = etcd.authority();
    let pem = std::fs::read(&from).unwrap();
    Access { authority: Some(Authority { from, pem }), ..access(etcd.secure_endpoints()) }
}

fn with_certificate(etcd: &CalicoEtcd) -> Access {
    let (certificate, key) = etcd.client();
    let identity = Identity {
        from: certificate.clone(),
        certificate: std::fs::read(certificate).unwrap(),
        key: std::fs::read(key).unwrap().into(),
    };
    Access { identity: Some(identity), ..secure(etcd) }
}

fn as_user(etcd: &CalicoEtcd, user: &str, password: &str) -> Access {
    let credentials = Credentials { user: user.to_owned(), password: password.into() };
    Access { credentials: Some(credentials), ..access(etcd.endpoints()) }
}

async fn connect(access: &Access) -> Etcd {
    Etcd::connect(access).await.unwrap()
}

/// Holds that no connection is made, and answers why; the reason never holds a password.
async fn refused(access: &Access) -> EtcdError {
    let error = Etcd::connect(access).await.err().expect("the connection is refused");
    assert!(!format!("{error} {error:?}").contains(PASSWORD), "{error:?}");
    error
}
