//! Reads and prints addresses as Go does.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address with a prefix length; host bits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    prefix: u32,
}

const V4_LINK_LOCAL: Network = Network { address: IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), prefix: 16 };
const V6_LINK_LOCAL: Network = Network { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), prefix: 10 };

impl Network {
    /// Reads a CIDR, or an address as the network of that one address.
    pub fn parse(text: &str) -> Option<Self> {
        parse_cidr(text).or_else(|| {
            let address = parse_address(text)?;
            Some(Self { address, prefix: width(address) })
        })
    }

    pub fn is_v6(self) -> bool {
        self.address.is_ipv6()
    }

    pub fn prefix(self) -> u32 {
        self.prefix
    }

    /// Gives the same network with its host bits cleared.
    pub fn masked(self) -> Self {
        let host_bits = width(self.address) - self.prefix;
        let cleared = number(self.address).checked_shr(host_bits).unwrap_or(0).checked_shl(host_bits).unwrap_or(0);
        let address = match self.address {
            IpAddr::V4(_) => Ipv4Addr::from_bits(u32::try_from(cleared).expect("an IPv4 address has 32 bits")).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(cleared).into(),
        };
        Self { address, prefix: self.prefix }
    }

    /// Gives the link-local range that this network shares addresses with, if it does.
    pub fn link_local_overlap(self) -> Option<Self> {
        let link_local = if self.is_v6() { V6_LINK_LOCAL } else { V4_LINK_LOCAL };
        let prefix = self.prefix.min(link_local.prefix);
        let shortened = |network: Self| Self { prefix, ..network }.masked();
        (shortened(self) == shortened(link_local)).then_some(link_local)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Reads an address with a prefix length.
pub(super) fn parse_cidr(text: &str) -> Option<Network> {
    let (address, prefix) = text.split_once('/')?;
    if let Some(address) = parse_v4(address) {
        return Some(Network { address: address.into(), prefix: decimal(prefix, 32)? });
    }
    let (address, prefix) = (parse_v6(address)?, decimal(prefix, 128)?);
    Some(match address.to_ipv4_mapped() {
        // Go prints a mapped address as IPv4, with the last 32 bits of its mask.
        Some(mapped) => Network { address: mapped.into(), prefix: prefix.saturating_sub(96) },
        None => Network { address: address.into(), prefix },
    })
}

/// Reads an address; a mapped one becomes IPv4.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    parse_v4(text).map(IpAddr::V4).or_else(|| parse_v6(text).map(|address| IpAddr::V6(address).to_canonical()))
}

fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    // `010` was ten to Go 1.8, is an error to Go since 1.17, and eight to the C library: such text is not guessed at.
    let octet = |text: &str| {
        let is_plain = text == "0" || !text.starts_with('0');
        is_plain.then(|| decimal(text, 255)?.try_into().ok())?
    };
    let octets = text.split('.').map(octet).collect::<Option<Vec<u8>>>()?;
    Some(<[u8; 4]>::try_from(octets).ok()?.into())
}

fn parse_v6(text: &str) -> Option<Ipv6Addr> {
    const GROUPS: usize = 8;
    let Some((before, after)) = text.split_once("::") else {
        return Some(<[u16; GROUPS]>::try_from(groups(text)?).ok()?.into());
    };
    // Go takes an IPv4 tail only at the very end of the text.
    if before.contains('.') {
        return None;
    }
    let (before, after) = (some_groups(before)?, some_groups(after)?);
    let zeros = GROUPS.checked_sub(before.len() + after.len()).filter(|zeros| *zeros > 0)?;
    let all = [before, vec![0; zeros], after].concat();
    Some(<[u16; GROUPS]>::try_from(all).ok()?.into())
}

fn some_groups(text: &str) -> Option<Vec<u16>> {
    if text.is_empty() { Some(Vec::new()) } else { groups(text) }
}

fn groups(text: &str) -> Option<Vec<u16>> {
    let (hexadecimal, dotted) = match text.rsplit_once(':') {
        Some((before, last)) if last.contains('.') => (Some(before), Some(last)),
        None if text.contains('.') => (None, Some(text)),
        Some(_) | None => (Some(text), None),
    };
    let mut groups: Vec<u16> = hexadecimal.map_or(Some(Vec::new()), |text| text.split(':').map(group).collect())?;
    if let Some(dotted) = dotted {
        let bits = parse_v4(dotted)?.to_bits();
        groups.extend([(bits >> 16) as u16, bits as u16]);
    }
    Some(groups)
}

fn group(text: &str) -> Option<u16> {
    let is_group = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_group.then(|| u16::from_str_radix(text, 16).ok())?
}

/// Reads decimal digits, with nothing else around them, up to `largest`.
pub(super) fn decimal(text: &str, largest: u32) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    without_leading_zeros(text)?.parse().ok().filter(|number| *number <= largest)
}

fn without_leading_zeros(digits: &str) -> Option<&str> {
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() { digits.get(..1) } else { Some(significant) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        Network::parse(text).map(|network| network.to_string())
    }

    #[test]
    fn text_that_go_accepts_is_printed_as_go_prints_it() {
        for (text, printed) in [
            ("10.0.0.0/016", "10.0.0.0/16"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("10.29.1.5/16", "10.29.1.5/16"),
            ("FD00:0:0:1::/64", "fd00:0:0:1::/64"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1/128"),
            ("1:0:2:3:4:5:6:7/128", "1:0:2:3:4:5:6:7/128"),
            ("::1.2.3.4", "::102:304/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:a00:1", "10.0.0.1/32"),
            ("::ffff:10.0.0.0/64", "10.0.0.0/0"),
            ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(read(text).as_deref(), Some(printed), "{text}");
        }
    }

    #[test]
    fn text_that_go_refuses_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "10.0.0.0/8 ",
            " 10.0.0.0/8",
            "10.0.0/8",
            "10.0.0.0.0/8",
            "256.0.0.0/8",
            "10..0.0/8",
            "010.1.0.0/16",
            "00.0.0.0/8",
            "00001:2:3:4:5:6:7::/112",
            "fd00::/129",
            "fd00:::/64",
            "1::2::3",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "::1:2:3:4:5:6:7:8",
            "12345::",
            "fe80::1%eth0",
            "1.2.3.4::",
            "::1.2.3.4:5",
            "1:2:3:4:5:6:7:1.2.3.4",
            "10.0.0.0/99999999999999999999",
            "g::",
            ":1:2:3:4:5:6:7",
            "/8",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn overlap_with_link_local_is_seen_from_either_side() {
        let overlaps = |text: &str| Network::parse(text).unwrap().link_local_overlap().is_some();
        assert!(
            ["0.0.0.0/0", "169.0.0.0/8", "169.254.7.0/24", "::/0", "fe80:1::/64", "febf::1"].into_iter().all(overlaps)
        );
        assert!(!["169.253.0.0/16", "169.255.0.0/16", "fec0::/10", "fd00::/8"].into_iter().any(overlaps));
    }
}
