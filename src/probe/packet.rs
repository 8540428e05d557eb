use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::resource::Digest;

/// Every packet has this length, answers too: nobody can use a probe to make more of what they send.
pub const LENGTH: usize = 48;

const MAGIC: [u8; 5] = *b"CUp\x00\x01";

/// What a packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Send this back.
    Ask,
    /// What came back.
    Answer,
    /// The probe of this host's pods has that address.
    Here,
    /// The probe of this host's pods is about to end.
    Leave,
}

/// One packet of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub message: Message,
    /// Tells the probes of one run from those of another.
    pub run: u64,
    /// Which pair of the sender it counts for.
    pub pair: u16,
    pub sequence: u64,
    /// The address of the probe on the pod network, in what a host says.
    pub pod: Option<IpAddr>,
}

/// The number that the packets of a run bear. It keeps strays apart; it is no secret.
pub fn run_number(run: &str) -> u64 {
    u64::from_str_radix(&Digest::of(run.as_bytes()).text()[..16], 16).unwrap_or_default()
}

impl Packet {
    pub fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..5].copy_from_slice(&MAGIC);
        bytes[5] = self.message.number();
        bytes[6..8].copy_from_slice(&self.pair.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.run.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        let (family, address) = match self.pod {
            None => (0, [0; 16]),
            Some(IpAddr::V4(address)) => (4, address.to_ipv6_mapped().octets()),
            Some(IpAddr::V6(address)) => (6, address.octets()),
        };
        bytes[24] = family;
        bytes[32..48].copy_from_slice(&address);
        bytes
    }

    /// Reads what came; nothing if it is none of ours.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let address: [u8; 16] = bytes[32..48].try_into().ok()?;
        let pod = match bytes[24] {
            0 => None,
            4 => Some(IpAddr::V4(Ipv4Addr::new(address[12], address[13], address[14], address[15]))),
            6 => Some(IpAddr::V6(Ipv6Addr::from(address))),
            _ => return None,
        };
        (bytes[..5] == MAGIC).then_some(())?;
        Some(Self {
            message: Message::of(bytes[5])?,
            pair: u16::from_be_bytes(bytes[6..8].try_into().ok()?),
            run: u64::from_be_bytes(bytes[8..16].try_into().ok()?),
            sequence: u64::from_be_bytes(bytes[16..24].try_into().ok()?),
            pod,
        })
    }
}

impl Message {
    const ALL: [Message; 4] = [Message::Ask, Message::Answer, Message::Here, Message::Leave];

    fn number(self) -> u8 {
        match self {
            Message::Ask => 1,
            Message::Answer => 2,
            Message::Here => 3,
            Message::Leave => 4,
        }
    }

    fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|message| message.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_read_as_it_was_written_and_nothing_else_is_one() {
        for pod in [None, Some("10.0.0.7".parse().unwrap()), Some("fd00::7".parse().unwrap())] {
            for message in Message::ALL {
                let packet = Packet { message, run: 7, pair: 300, sequence: u64::MAX, pod };
                assert_eq!(Packet::read(&packet.to_bytes()), Some(packet));
            }
        }
        let mut bytes = Packet { message: Message::Ask, run: 7, pair: 0, sequence: 1, pod: None }.to_bytes();
        assert_eq!(Packet::read(&bytes[1..]), None);
        bytes[5] = 9;
        assert_eq!(Packet::read(&bytes), None);
        bytes[0] = b'X';
        assert_eq!(Packet::read(&bytes), None);
    }
}
