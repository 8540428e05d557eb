use calico_upgrader::datastore::EtcdError;
use harness::{CalicoEtcd, EtcdSetup, ODD_NAMES};

use crate::{access, connect, plain};

#[tokio::test]
async fn a_key_is_written_only_if_it_is_as_it_was_read() {
    let etcd = plain();
    let client = connect(&access(etcd.endpoints())).await;
    let key = "/calico/v1/policy/tier/default/policy/a";
    let made = client.create_key(key, "one").await.unwrap();
    let error = client.create_key(key, "two").await.unwrap_err();
    assert!(matches!(error, EtcdError::Exists { .. }), "{error:?}");
    let replaced = client.replace_key(key, "two", made.modified).await.unwrap();
    assert_eq!((replaced.created, replaced.value.as_str()), (made.created, "two"));
    let moved = |error: EtcdError| {
        let EtcdError::Moved { expected, found, .. } = error else { panic!("{error:?}") };
        (expected, found)
    };
    let found = replaced.modified.to_string();
    assert_eq!(moved(client.replace_key(key, "x", made.modified).await.unwrap_err()), (made.modified, found.clone()));
    assert_eq!(moved(client.remove_key(key, made.modified).await.unwrap_err()), (made.modified, found));
    assert_eq!(client.get(key).await.unwrap(), Some(replaced.clone()));
    client.remove_key(key, replaced.modified).await.unwrap();
    assert_eq!(client.get(key).await.unwrap(), None);
    let error = client.replace_key(key, "x", replaced.modified).await.unwrap_err();
    assert!(matches!(error, EtcdError::NotFound { .. }), "{error:?}");
    let error = client.remove_key(key, replaced.modified).await.unwrap_err();
    assert!(matches!(error, EtcdError::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn every_odd_name_and_value_goes_in_as_it_comes_out() {
    let etcd = plain();
    let client = connect(&access(etcd.endpoints())).await;
    for name in ODD_NAMES {
        let key = format!("/calico/v1/policy/tier/default/policy/{name}");
        client.create_key(&key, name).await.unwrap();
        assert_eq!(etcd.keys().unwrap()[&key].0, name);
        let found = client.get(&key).await.unwrap().unwrap();
        assert_eq!((found.path.as_str(), found.value.as_str()), (key.as_str(), name));
        client.remove_key(&key, found.modified).await.unwrap();
    }
    assert!(etcd.keys().unwrap().is_empty());
}

#[tokio::test]
async fn a_name_that_the_server_would_read_as_another_is_never_sent() {
    let etcd = plain();
    etcd.put("/calico/v1/Ready", b"true").unwrap();
    let (client, before) = (connect(&access(etcd.endpoints())).await, etcd.keys().unwrap());
    for name in ["/calico/v1/x/../Ready", "/calico/v1//Ready", "/calico/v1/Ready/"] {
        for error in [
            client.create_key(name, "x").await.unwrap_err(),
            client.replace_key(name, "x", 1).await.unwrap_err(),
            client.remove_key(name, 1).await.unwrap_err(),
        ] {
            assert!(matches!(error, EtcdError::NoKey { .. }), "{error:?}");
        }
    }
    assert_eq!(etcd.keys().unwrap(), before);
}

#[tokio::test]
async fn a_directory_is_neither_read_nor_removed_as_a_key() {
    let etcd = plain();
    etcd.put("/calico/v1/config/a", b"x").unwrap();
    let client = connect(&access(etcd.endpoints())).await;
    assert!(matches!(client.get("/calico/v1/config").await, Err(EtcdError::Directory { .. })));
    let error = client.remove_key("/calico/v1/config", 1).await.unwrap_err();
    assert!(matches!(error, EtcdError::Directory { .. } | EtcdError::Moved { .. }), "{error:?}");
    assert_eq!(etcd.keys().unwrap().len(), 1);
}

#[tokio::test]
async fn a_write_to_a_member_that_is_gone_is_left_open_and_made_once_by_another() {
    let etcd = CalicoEtcd::start(EtcdSetup { members: 3, ..EtcdSetup::default() }).unwrap();
    let client = connect(&access(etcd.endpoints())).await;
    let made = client.create_key("/calico/v1/config/a", "one").await.unwrap();
    etcd.stop_member(0).unwrap();
    let error = client.replace_key("/calico/v1/config/a", "two", made.modified).await.unwrap_err();
    assert!(error.leaves_the_outcome_open(), "{error:?}");
    // Looking at the key finds a member that answers, and tells that nothing was written.
    assert_eq!(client.get("/calico/v1/config/a").await.unwrap(), Some(made.clone()));
    client.replace_key("/calico/v1/config/a", "two", made.modified).await.unwrap();
    assert_eq!(etcd.keys().unwrap()["/calico/v1/config/a"].0, "two");
}
