//! What is read from an Ethernet frame. Pure functions; a frame may be anything.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

const ETHERNET_BYTES: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const IPV6_BYTES: usize = 40;
const HOP_BY_HOP: u8 = 0;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A frame that passed a switch.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    /// When it came, since the capture began.
    pub(crate) at: Duration,
    pub(crate) frame: Vec<u8>,
}

impl Packet {
    /// Where it comes from and where it goes, if it's an IP packet.
    pub(crate) fn ends(&self) -> Option<(IpAddr, IpAddr)> {
        Internet::read(&self.frame).map(|ip| (ip.source, ip.destination))
    }

    /// The ports, if it's UDP or TCP.
    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        let ip = Internet::read(&self.frame)?;
        let [a, b, c, d] = *ip.content(&self.frame).first_chunk()?;
        matches!(ip.protocol, TCP | UDP)
            .then(|| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    pub(crate) fn is_udp(&self) -> bool {
        Internet::read(&self.frame).is_some_and(|ip| ip.protocol == UDP)
    }

    /// What UDP or TCP carry; else what follows the IP or the Ethernet header.
    pub(crate) fn payload(&self) -> &[u8] {
        let Some(ip) = Internet::read(&self.frame) else {
            return self.frame.get(ETHERNET_BYTES..).unwrap_or_default();
        };
        let content = ip.content(&self.frame);
        let header = match ip.protocol {
            UDP => 8,
            TCP => content.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4),
            _ => 0,
        };
        content.get(header..).unwrap_or_default()
    }
}

/// Every run of `bytes` bytes that payloads of both captures contain: what somebody who listens
/// could recognise again.
pub(crate) fn common(one: &[Packet], other: &[Packet], bytes: usize) -> HashSet<Vec<u8>> {
    let windows = |packets: &[Packet]| -> HashSet<Vec<u8>> {
        packets
            .iter()
            .flat_map(|packet| packet.payload().windows(bytes).map(<[u8]>::to_vec))
            .collect()
    };
    let one = windows(one);
    windows(other)
        .into_iter()
        .filter(|window| one.contains(window))
        .collect()
}

/// An IP header, of either version.
struct Internet {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    whole: bool,
    /// Of the content, within the frame.
    from: usize,
    to: usize,
}

impl Internet {
    fn read(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(ETHERNET_BYTES..)?;
        match frame.get(12..ETHERNET_BYTES)?.try_into().ok()? {
            IPV4 => Self::v4(ip),
            IPV6 => Self::v6(ip),
            _ => None,
        }
    }

    fn v4(ip: &[u8]) -> Option<Self> {
        let header: &[u8; 20] = ip.first_chunk()?;
        let source: [u8; 4] = header[12..16].try_into().ok()?;
        let destination: [u8; 4] = header[16..20].try_into().ok()?;
        // "More fragments" and the offset.
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
        Some(Self {
            source: Ipv4Addr::from(source).into(),
            destination: Ipv4Addr::from(destination).into(),
            protocol: header[9],
            whole: fragment == 0,
            from: ETHERNET_BYTES + usize::from(header[0] & 0x0f) * 4,
            to: ETHERNET_BYTES + usize::from(u16::from_be_bytes([header[2], header[3]])),
        })
    }

    fn v6(ip: &[u8]) -> Option<Self> {
        let header: &[u8; IPV6_BYTES] = ip.first_chunk()?;
        let source: [u8; 16] = header[8..24].try_into().ok()?;
        let destination: [u8; 16] = header[24..40].try_into().ok()?;
        let (mut protocol, mut from) = (header[6], ETHERNET_BYTES + IPV6_BYTES);
        if protocol == HOP_BY_HOP {
            let options = ip.get(IPV6_BYTES..)?;
            protocol = *options.first()?;
            from += (usize::from(*options.get(1)?) + 1) * 8;
        }
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        Some(Self {
            source: Ipv6Addr::from(source).into(),
            destination: Ipv6Addr::from(destination).into(),
            protocol,
            whole: true,
            from,
            to: ETHERNET_BYTES + IPV6_BYTES + length,
        })
    }

    fn content<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        frame
            .get(self.from..self.to.min(frame.len()))
            .unwrap_or_default()
    }
}

/// Puts the checksum into a UDP or TCP packet. Between namespaces the kernel leaves it to a card
/// that isn't there, and whoever takes frames out and puts them in again has to.
pub(super) fn complete_checksum(frame: &mut [u8]) {
    let Some(ip) = Internet::read(frame) else {
        return;
    };
    let at = match ip.protocol {
        UDP => 6,
        TCP => 16,
        _ => return,
    };
    let to = ip.to.min(frame.len());
    let Some(content) = frame.get_mut(ip.from..to) else {
        return;
    };
    if !ip.whole || content.len() < at + 2 {
        return;
    }
    content[at..at + 2].fill(0);
    let mut sum = u32::from(ip.protocol) + content.len() as u32;
    for ip in [ip.source, ip.destination] {
        sum += match ip {
            IpAddr::V4(ip) => words(&ip.octets()),
            IpAddr::V6(ip) => words(&ip.octets()),
        };
    }
    sum += words(content);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = match !(sum as u16) {
        // Of UDP, nothing means that there is none.
        0 if ip.protocol == UDP => 0xffff,
        sum => sum,
    };
    content[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1071: the sum of 16-bit words. A frame has too few to overflow.
fn words(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum()
}
