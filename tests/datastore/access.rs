use calico_upgrader::datastore::{Authority, EtcdError, TlsProblem};
use harness::{CalicoEtcd, CertificateFault, EtcdSetup, PASSWORD, READER, ROOT_USER};

use crate::{access, as_user, connect, plain, refused, secure, with_certificate};

#[tokio::test]
async fn a_server_of_another_authority_or_with_a_bad_certificate_is_refused_for_that_reason() {
    for (certificate, wanted) in [
        (CertificateFault::Expired, TlsProblem::Expired),
        (CertificateFault::NotYetValid, TlsProblem::NotYetValid),
        (CertificateFault::OtherName, TlsProblem::OtherName),
    ] {
        let etcd = CalicoEtcd::start(EtcdSetup { certificate, ..EtcdSetup::default() }).unwrap();
        let error = refused(&secure(&etcd)).await;
        assert!(matches!(&error, EtcdError::Tls { problem, .. } if *problem == wanted), "{error:?}");
    }
    let etcd = plain();
    connect(&secure(&etcd)).await;
    let (from, mut access) = (etcd.other_authority(), secure(&etcd));
    access.authority = Some(Authority { pem: std::fs::read(&from).unwrap(), from });
    let error = refused(&access).await;
    assert!(matches!(error, EtcdError::Tls { problem: TlsProblem::UnknownAuthority, .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_wants_our_certificate_says_so_and_takes_it() {
    let etcd = CalicoEtcd::start(EtcdSetup { wants_client_certificates: true, ..EtcdSetup::default() }).unwrap();
    let error = refused(&secure(&etcd)).await;
    assert!(matches!(error, EtcdError::Tls { problem: TlsProblem::OurCertificate(_), .. }), "{error:?}");
    connect(&with_certificate(&etcd)).await;
}

#[tokio::test]
async fn our_certificate_that_is_no_longer_valid_is_told_from_one_of_the_server() {
    let client_certificate = CertificateFault::Expired;
    let setup = EtcdSetup { wants_client_certificates: true, client_certificate, ..EtcdSetup::default() };
    let etcd = CalicoEtcd::start(setup).unwrap();
    let error = refused(&with_certificate(&etcd)).await;
    assert!(matches!(error, EtcdError::Tls { problem: TlsProblem::OurCertificate(_), .. }), "{error:?}");
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_user_who_may_only_read() {
    let etcd = CalicoEtcd::start(EtcdSetup { has_users: true, ..EtcdSetup::default() }).unwrap();
    etcd.put("/calico/v1/Ready", b"true").unwrap();
    let before = etcd.keys().unwrap();
    for nobody in [access(etcd.endpoints()), as_user(&etcd, READER, "wrong"), as_user(&etcd, "other", PASSWORD)] {
        let error = refused(&nobody).await;
        assert!(matches!(error, EtcdError::Unauthorized { .. }), "{error:?}");
    }
    let reader = connect(&as_user(&etcd, READER, PASSWORD)).await;
    assert_eq!(reader.get("/calico/v1/Ready").await.unwrap().unwrap().value, "true");
    for error in [
        reader.create_key("/calico/v1/new", "x").await.unwrap_err(),
        reader.replace_key("/calico/v1/Ready", "false", before["/calico/v1/Ready"].1).await.unwrap_err(),
        reader.remove_key("/calico/v1/Ready", before["/calico/v1/Ready"].1).await.unwrap_err(),
    ] {
        assert!(matches!(error, EtcdError::Forbidden { .. }), "{error:?}");
    }
    let root = connect(&as_user(&etcd, ROOT_USER, PASSWORD)).await;
    for key in ["/calico/v1/Ready", "/calico/v1/new", "/calico/v1"] {
        assert!(!reader.may_write_key(key).await.unwrap(), "{key}");
        assert!(root.may_write_key(key).await.unwrap(), "{key}");
    }
    assert_eq!(etcd.keys().unwrap(), before);
    root.create_key("/calico/v1/new", "x").await.unwrap();
}

#[tokio::test]
async fn an_etcd_without_its_v2_api_is_named_with_its_version() {
    let etcd = CalicoEtcd::start(EtcdSetup { serves_v2: false, ..EtcdSetup::default() }).unwrap();
    let error = refused(&access(etcd.endpoints())).await;
    assert!(matches!(&error, EtcdError::ApiOff { version, .. } if version.starts_with("3.5")), "{error:?}");
}

#[tokio::test]
async fn endpoints_of_two_clusters_are_refused_and_each_is_named() {
    let (one, other) = (plain(), plain());
    one.put("/calico/v1/Ready", b"true").unwrap();
    let error = refused(&access([one.endpoints(), other.endpoints()].concat())).await;
    let EtcdError::SeveralClusters { clusters } = &error else { panic!("{error:?}") };
    let mut named: Vec<String> = clusters.iter().flat_map(|(_, endpoints)| endpoints.clone()).collect();
    named.sort();
    let mut wanted = [one.endpoints(), other.endpoints()].concat();
    wanted.sort();
    assert_eq!(named, wanted);
}

#[tokio::test]
async fn an_etcd_that_is_down_is_unreachable_and_one_that_lost_a_member_is_read_on() {
    let etcd = CalicoEtcd::start(EtcdSetup { members: 3, ..EtcdSetup::default() }).unwrap();
    etcd.put("/calico/v1/Ready", b"true").unwrap();
    let whole = connect(&access(etcd.endpoints())).await;
    assert_eq!((whole.connection().members.len(), whole.connection().silent.len()), (3, 0));
    etcd.stop_member(0).unwrap();
    assert_eq!(whole.get("/calico/v1/Ready").await.unwrap().unwrap().value, "true");
    let rest = connect(&access(etcd.endpoints())).await;
    let silent: Vec<&String> = rest.connection().silent.iter().map(|(endpoint, _)| endpoint).collect();
    assert_eq!(silent, [&etcd.endpoints()[0]]);
    assert_eq!(rest.get("/calico/v1/Ready").await.unwrap().unwrap().value, "true");
    etcd.stop_member(1).unwrap();
    // One of three members answers, and may not say what is stored.
    let error = refused(&access(etcd.endpoints())).await;
    assert!(matches!(error, EtcdError::Busy { .. }), "{error:?}");
    etcd.stop_member(2).unwrap();
    let error = refused(&access(etcd.endpoints())).await;
    assert!(matches!(error, EtcdError::Unreachable { .. }), "{error:?}");
}
