use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use calico_upgrader::datastore::{Etcd, Key, KeyKind, Reading};
use harness::worn_in_keys;

use crate::{access, connect, plain};

/// All keys as they are read, by name.
async fn read(etcd: &Etcd) -> (Reading, BTreeMap<String, Key>) {
    let take = |found: &mut BTreeMap<String, Key>, key: Key| assert!(found.insert(key.path.clone(), key).is_none());
    etcd.read_settled(BTreeMap::new, take).await.unwrap()
}

#[tokio::test]
async fn every_key_is_read_as_it_was_written_hidden_odd_and_broken_ones_too() {
    let etcd = plain();
    etcd.load(&worn_in_keys()).unwrap();
    etcd.make_directory("/calico/v1/host/gone.example.com/workload").unwrap();
    etcd.put_for("/calico/felix/v1/host/a/status", b"{}", 600).unwrap();
    let (reading, found) = read(&connect(&access(etcd.endpoints())).await).await;
    let mut wanted: BTreeMap<String, Vec<u8>> = worn_in_keys().into_iter().collect();
    wanted.retain(|key, _| key.starts_with("/calico/"));
    wanted.insert("/calico/felix/v1/host/a/status".to_owned(), b"{}".to_vec());
    let values: BTreeMap<String, Vec<u8>> =
        found.iter().map(|(key, found)| (key.clone(), found.value.clone().into_bytes())).collect();
    assert_eq!(values, wanted);
    let undecodable: Vec<&str> = reading.undecodable.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(
        undecodable,
        [
            "/calico/bgp/v1/global/peer_v4/10.0.0.999",
            "/calico/v1/ipam/v4/pool/not-a-network",
            "/calico/v1/policy/profile/torn/tags",
            "/calico/v1/policy/tier/default/policy/broken",
        ]
    );
    assert_eq!(Vec::from_iter(&reading.hidden.found), ["/calico/v1/policy/profile/_hidden"]);
    assert_eq!(reading.empty_directories, ["/calico/v1/host/gone.example.com/workload"]);
    assert_eq!((reading.keys, reading.rounds, reading.passing, reading.moving.len()), (wanted.len(), 2, 1, 0));
    assert_eq!((reading.by_kind[&KeyKind::Ready], reading.by_kind[&KeyKind::Foreign]), (1, 1));
    for (key, (_, index)) in etcd.keys().unwrap().iter().filter(|(key, _)| key.starts_with("/calico/")) {
        assert_eq!(found[key].modified, *index, "{key}");
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_told_since_etcd_gives_them_otherwise() {
    let etcd = plain();
    etcd.put("/calico/v1/config/Bytes", b"a\xffb").unwrap();
    let (reading, found) = read(&connect(&access(etcd.endpoints())).await).await;
    assert_eq!(found["/calico/v1/config/Bytes"].value, "a\u{fffd}b");
    assert_eq!(reading.inexact, ["/calico/v1/config/Bytes"]);
}

#[tokio::test]
async fn an_etcd_without_keys_of_calico_is_empty_and_no_error() {
    let etcd = plain();
    let (reading, found) = read(&connect(&access(etcd.endpoints())).await).await;
    assert_eq!((reading.keys, found.len()), (0, 0));
}

#[tokio::test]
async fn what_changes_while_it_is_read_is_read_again_until_two_readings_agree() {
    let etcd = plain();
    etcd.load(&worn_in_keys()).unwrap();
    let client = connect(&access(etcd.endpoints())).await;
    let writes = AtomicUsize::new(0);
    // A key that was read already changes, a new one comes and an old one goes.
    let take = |found: &mut BTreeMap<String, String>, key: Key| {
        if key.path == "/calico/v1/Ready" && writes.fetch_add(1, Ordering::Relaxed) < 2 {
            let round = writes.load(Ordering::Relaxed);
            etcd.put("/calico/v1/Ready", format!("round {round}").as_bytes()).unwrap();
            etcd.put(&format!("/calico/v1/config/Came{round}"), b"x").unwrap();
            etcd.remove(&format!("/calico/v1/policy/profile/profile-00000{round}/tags")).unwrap();
        }
        found.insert(key.path, key.value);
    };
    let (reading, found) = client.read_settled(BTreeMap::new, take).await.unwrap();
    assert_eq!((reading.rounds, reading.moving.len(), reading.gone), (5, 0, 0));
    let stored = etcd.keys().unwrap();
    let listed = found.iter().filter(|(key, _)| !key.contains("/_"));
    let listed: BTreeMap<&String, &String> = listed.collect();
    let wanted = stored.iter().filter(|(key, _)| key.starts_with("/calico/"));
    assert_eq!(listed, wanted.map(|(key, (value, _))| (key, value)).collect());
}

#[tokio::test]
async fn a_key_that_never_rests_is_named_and_the_reading_ends() {
    let etcd = plain();
    etcd.load(&worn_in_keys()).unwrap();
    let client = connect(&access(etcd.endpoints())).await;
    let take = |_: &mut (), key: Key| {
        if key.path == "/calico/v1/Ready" {
            etcd.put("/calico/v1/config/ClusterType", b"again").unwrap();
        }
    };
    let (reading, ()) = client.read_settled(|| (), take).await.unwrap();
    assert_eq!((Vec::from_iter(reading.moving), reading.gone), (vec!["/calico/v1/config/ClusterType".to_owned()], 0));
}

#[tokio::test]
async fn keys_that_go_one_by_one_as_long_as_they_are_read_are_counted() {
    let etcd = plain();
    etcd.load(&worn_in_keys()).unwrap();
    let client = connect(&access(etcd.endpoints())).await;
    let reads = AtomicUsize::new(1);
    // Each time one that the reading before had.
    (0..9).for_each(|number| etcd.put(&format!("/calico/v1/config/A{number}"), b"x").unwrap());
    let take = |_: &mut (), key: Key| {
        if key.path == "/calico/v1/Ready" {
            etcd.remove(&format!("/calico/v1/config/A{}", reads.fetch_add(1, Ordering::Relaxed))).unwrap();
        }
    };
    let (reading, ()) = client.read_settled(|| (), take).await.unwrap();
    assert_eq!((reading.moving.len(), reading.gone, reading.rounds), (0, 1, 6));
}
