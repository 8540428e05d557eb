//! What lies in the etcd of a Calico v2: a small worn-in tree with everything odd, and a plain one of any size.

use serde_json::{Value, json};

/// Names that people and controllers gave, and that every tool must carry unchanged.
pub const ODD_NAMES: [&str; 10] = [
    "plain",
    "Ünïcode 日本",
    "with space&amp=1?x#y",
    "a%2fb%25c",
    "tab\tand\u{1}control\u{1b}[31m",
    "line\nbreak",
    "quote\"back\\slash",
    "right\u{202e}to-left",
    "..dots..",
    "===\n---",
];

type Keys = Vec<(String, Vec<u8>)>;

/// A worn-in cluster of three hosts: odd and long names, hidden keys, values that cannot be read, keys of others.
///
/// Left behind by the old policy controller is the policy `k8s-policy-no-match` (projectcalico/calico issue 1484).
pub fn worn_in_keys() -> Keys {
    let mut keys = synthetic_keys(40);
    let policy = "/calico/v1/policy/tier/default/policy";
    for name in ODD_NAMES {
        put(
            &mut keys,
            format!("{policy}/{name}"),
            json!({"selector": format!("name == '{name}'"), "order": 1e9 + 0.1}),
        );
    }
    put(&mut keys, format!("{policy}/{}", "long".repeat(62)), json!({"selector": "all()"}));
    put(
        &mut keys,
        format!("{policy}/k8s-policy-no-match"),
        json!({"order": 2000, "selector": "has(calico/k8s_ns)", "inbound_rules": [{"action": "next-tier"}],
            "outbound_rules": [{"action": "next-tier"}]}),
    );
    // Values that Calico cannot read, and passes over without a word.
    raw(&mut keys, format!("{policy}/broken"), "{\"selector\": ");
    raw(&mut keys, "/calico/v1/ipam/v4/pool/not-a-network", "{\"cidr\": \"10.0.0.0/8\"}");
    raw(&mut keys, "/calico/v1/policy/profile/torn/tags", "\"no list\"");
    raw(&mut keys, "/calico/bgp/v1/global/peer_v4/10.0.0.999", "{\"ip\": \"10.0.0.999\", \"as_num\": \"64512\"}");
    // A profile that no list shows, and the endpoint that mentions it.
    raw(&mut keys, "/calico/v1/policy/profile/_hidden/tags", "[\"a\"]");
    put(
        &mut keys,
        "/calico/v1/host/node-00000.example.com/workload/k8s/shop.web-1/endpoint/eth0",
        json!({"state": "active", "name": "cali1", "mac": "ee:ee:ee:ee:ee:ee", "profile_ids": ["_hidden"], "ipv4_nets": []}),
    );
    raw(&mut keys, "/calico/v1/config/WithControl", "a\u{1}b\tc\nd\u{7f}");
    raw(&mut keys, "/calico/v1/config/Empty", "");
    raw(&mut keys, "/calico/v1/config/Numbers", "9007199254740993 1e400 -0");
    raw(&mut keys, "/calico/others/note", "{not ours");
    raw(&mut keys, "/calico/ipam/v2/host/node-00001.example.com/ipv4/block/10.64.4.0-26", "");
    raw(&mut keys, "/outside/of/calico", "not for us");
    keys
}

/// A plain cluster with about so many objects, always the same for the same number.
pub fn synthetic_keys(objects: usize) -> Keys {
    let mut keys = Keys::new();
    let endpoints = objects * 7 / 10;
    let hosts = (endpoints / 100).max(3);
    settings(&mut keys);
    (0..hosts).for_each(|index| host(&mut keys, index));
    (0..endpoints).for_each(|index| endpoint(&mut keys, index, hosts));
    for index in 0..objects / 10 {
        policy(&mut keys, index);
        profile(&mut keys, index);
        addresses(&mut keys, index, hosts);
    }
    keys
}

fn settings(keys: &mut Keys) {
    for (name, value) in [
        ("CalicoVersion", "v2.5.1"),
        ("ClusterGUID", "0123456789abcdef0123456789abcdef"),
        ("ClusterType", "k8s,bgp"),
        ("InterfacePrefix", "cali"),
        ("LogSeverityScreen", "info"),
    ] {
        raw(keys, format!("/calico/v1/config/{name}"), value);
    }
    raw(keys, "/calico/v1/Ready", "true");
    raw(keys, "/calico/bgp/v1/global/as_num", "64512");
    put(keys, "/calico/bgp/v1/global/node_mesh", json!({"enabled": true}));
    let pool =
        json!({"cidr": "10.64.0.0/10", "ipip": "tunl0", "ipip_mode": "always", "masquerade": true, "ipam": true});
    put(keys, "/calico/v1/ipam/v4/pool/10.64.0.0-10", pool);
}

fn host_name(index: usize) -> String {
    format!("node-{index:05}.example.com")
}

fn host(keys: &mut Keys, index: usize) {
    let name = host_name(index);
    raw(keys, format!("/calico/v1/host/{name}/metadata"), "{}");
    raw(keys, format!("/calico/v1/host/{name}/config/IpInIpTunnelAddr"), &address(index * 64));
    raw(keys, format!("/calico/bgp/v1/host/{name}/ip_addr_v4"), &format!("10.0.{}.{}", index / 250, index % 250 + 1));
    raw(keys, format!("/calico/bgp/v1/host/{name}/as_num"), "");
}

fn endpoint(keys: &mut Keys, index: usize, hosts: usize) {
    let (host, namespace) = (host_name(index % hosts), format!("ns-{:04}", index % 97));
    let body = json!({
        "state": "active", "name": format!("cali{index:011x}"), "active_instance_id": format!("{index:064x}"),
        "mac": format!("ee:ee:00:{:02x}:{:02x}:{:02x}", index >> 16 & 255, index >> 8 & 255, index & 255),
        "profile_ids": [format!("k8s_ns.{namespace}")], "ipv4_nets": [format!("{}/32", address(index))], "ipv6_nets": [],
        "labels": {"app": "web", "pod-template-hash": format!("{index:010}"), "calico/k8s_ns": namespace},
    });
    put(keys, format!("/calico/v1/host/{host}/workload/k8s/{namespace}.web-{index:06}/endpoint/eth0"), body);
}

fn policy(keys: &mut Keys, index: usize) {
    let body = json!({
        "selector": format!("app == 'web' && calico/k8s_ns == 'ns-{:04}'", index % 97), "order": index,
        "inbound_rules": [{"action": "allow", "protocol": "tcp", "src_selector": "app == 'api'", "dst_ports": [80, "8000:8999"]}],
        "outbound_rules": [{"action": "allow"}], "types": ["ingress", "egress"],
    });
    put(keys, format!("/calico/v1/policy/tier/default/policy/policy-{index:06}"), body);
}

fn profile(keys: &mut Keys, index: usize) {
    let directory = format!("/calico/v1/policy/profile/profile-{index:06}");
    let allow = json!([{"action": "allow"}]);
    put(keys, format!("{directory}/rules"), json!({"inbound_rules": allow, "outbound_rules": allow}));
    put(keys, format!("{directory}/tags"), json!([format!("tag-{index:06}")]));
    put(keys, format!("{directory}/labels"), json!({"team": format!("t{}", index % 50)}));
}

fn addresses(keys: &mut Keys, index: usize, hosts: usize) {
    let (first, handle, host) =
        (address(index * 64), format!("k8s-pod-network.{index:064x}"), host_name(index % hosts));
    let block = json!({
        "cidr": format!("{first}/26"), "affinity": format!("host:{host}"), "strictAffinity": false,
        "allocations": [0], "unallocated": (1..64).collect::<Vec<u32>>(), "attributes": [{"handle_id": handle, "secondary": null}],
    });
    put(keys, format!("/calico/ipam/v2/assignment/ipv4/block/{first}-26"), block);
    put(keys, format!("/calico/ipam/v2/handle/{handle}"), json!({"block": {format!("{first}/26"): 1}}));
    raw(keys, format!("/calico/ipam/v2/host/{host}/ipv4/block/{first}-26"), "{}");
}

fn address(index: usize) -> String {
    format!("10.{}.{}.{}", 64 + index / 65536, index / 256 % 256, index % 256)
}

fn put(keys: &mut Keys, key: impl Into<String>, value: Value) {
    keys.push((key.into(), value.to_string().into_bytes()));
}

fn raw(keys: &mut Keys, key: impl Into<String>, value: &str) {
    keys.push((key.into(), value.as_bytes().to_vec()));
}
