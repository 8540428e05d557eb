//! The names of Calico's objects, and which names Kubernetes accepts.

use std::net::IpAddr;

use super::go_net::{Network, parse_address, parse_cidr};

/// Answers whether an old pool's name has the form of a CIDR; Calico skipped the others.
pub(super) fn is_network_name(name: &str) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(address, prefix)| parse_cidr(&format!("{}/{prefix}", dashes_undone(address))).is_some())
}

/// Reads the address that an old peer's name stands for.
pub(super) fn address_of_name(name: &str) -> Option<IpAddr> {
    parse_address(&dashes_undone(name))
}

fn dashes_undone(name: &str) -> String {
    if name.contains("--") || name.matches('-').count() > 3 {
        name.replacen('-', ":", 7)
    } else {
        name.replacen('-', ".", 3)
    }
}

/// Gives the name of a new pool: the printed CIDR with dashes, IPv6 compressed.
pub(super) fn name_of_network(network: Network) -> String {
    network.to_string().replace(['.', ':', '/'], "-")
}

/// Gives the name of a new peer: the printed address with dashes, IPv6 in full.
pub(super) fn name_of_address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string().replace('.', "-"),
        IpAddr::V6(address) => address.segments().map(|segment| format!("{segment:04x}")).join("-"),
    }
}

/// Says why the API server refuses a name, if it does; it takes DNS-1123 subdomains only.
pub(super) fn name_fault(name: &str) -> Option<String> {
    const LONGEST: usize = 253;
    if name.is_empty() {
        return Some("the new object would have an empty name".to_owned());
    }
    if name.len() > LONGEST {
        return Some(format!(
            "the new name has {} characters and Kubernetes takes at most {LONGEST}: `{name}`",
            name.len()
        ));
    }
    (!name.split('.').all(is_name_part)).then(|| {
        format!("the new name `{name}` is not one that Kubernetes takes: a-z, 0-9, `-` and `.`, with a letter or digit first and last")
    })
}

fn is_name_part(part: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    part.bytes().all(|byte| is_plain(byte) || byte == b'-')
        && part.bytes().next().is_some_and(is_plain)
        && part.bytes().last().is_some_and(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_two_dashes_together_or_more_than_three_is_ipv6() {
        let address = |name: &str| address_of_name(name).map(|address| address.to_string());
        assert_eq!(address("10-0-0-1").as_deref(), Some("10.0.0.1"));
        assert_eq!(address("fd00--1").as_deref(), Some("fd00::1"));
        assert_eq!(address("2001-db8-1-2-3-4-5-6").as_deref(), Some("2001:db8:1:2:3:4:5:6"));
        assert_eq!(address("--ffff-a00-1").as_deref(), Some("10.0.0.1"));
        for name in ["rack-router", "10-0-0", "10-0-0-1-1", "10-0-0-256", "fd00-1", "1-2-3-4-5-6-7-8-9", ""] {
            assert_eq!(address(name), None, "{name}");
        }
    }

    #[test]
    fn a_pool_name_is_a_cidr_whose_last_dash_is_the_slash() {
        for name in ["10-0-0-0-8", "fd80-24e2-f998-72d6---64", "2001-db8-1-2-3-4-5-0-112", "---0", "10.0.0.0-8"] {
            assert!(is_network_name(name), "{name}");
        }
        for name in ["my-pool", "10-0-0-0-33", "10-0-0-0", "fd00-1--48", "pool", "10-0-0-0-"] {
            assert!(!is_network_name(name), "{name}");
        }
    }

    #[test]
    fn a_peer_name_is_written_in_full_only_for_ipv6() {
        assert_eq!(name_of_address("10.0.0.1".parse().unwrap()), "10-0-0-1");
        assert_eq!(name_of_address("fd00::1".parse().unwrap()), "fd00-0000-0000-0000-0000-0000-0000-0001");
    }

    #[test]
    fn kubernetes_takes_names_of_253_characters_and_not_of_254() {
        assert_eq!(name_fault(&"a".repeat(253)), None);
        assert!(name_fault(&"a".repeat(254)).unwrap().contains("254"));
        for name in ["a", "0", "a.b", "a--b", "10-0-0-0-8"] {
            assert_eq!(name_fault(name), None, "{name}");
        }
        for name in ["", "-a", "a-", "a..b", ".a", "a.", "a_b", "A", "ä", "a.-b", "a b"] {
            assert!(name_fault(name).is_some(), "{name}");
        }
    }
}
