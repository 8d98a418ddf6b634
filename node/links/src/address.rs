//! Which addresses may be dialled, and what an address says about a path. Pure functions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{Internet, Reach};

/// Where a path leads, as far as its address tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PathKind {
    /// The same machine.
    Loopback,
    /// A private or link-local address.
    Lan,
    /// Any other address.
    Internet,
    /// A relay.
    Relay,
    /// A channel over Bluetooth.
    Bluetooth,
}

/// Sorts an IP address.
#[must_use]
pub fn kind(ip: IpAddr) -> PathKind {
    match ip.to_canonical() {
        ip if ip.is_loopback() => PathKind::Loopback,
        IpAddr::V4(ip) if is_lan_v4(ip) => PathKind::Lan,
        IpAddr::V6(ip) if is_lan_v6(ip) => PathKind::Lan,
        _ => PathKind::Internet,
    }
}

/// fe80::/10 (RFC 4291): an address that means something only together with an interface.
#[must_use]
pub fn is_link_local_v6(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// RFC 1918 and 169.254.0.0/16 (RFC 3927).
fn is_lan_v4(ip: Ipv4Addr) -> bool {
    ip.is_private() || ip.is_link_local()
}

/// fc00::/7 (RFC 4193) and fe80::/10 (RFC 4291).
fn is_lan_v6(ip: Ipv6Addr) -> bool {
    ip.is_unique_local() || ip.is_unicast_link_local()
}

/// Whether `addr` may be dialled: never port 0, a multicast, broadcast or unspecified address, and
/// only what is in reach.
#[must_use]
pub fn may_dial(addr: SocketAddr, reach: impl Into<Reach>) -> bool {
    let ip = addr.ip().to_canonical();
    let unicast = !ip.is_unspecified()
        && !ip.is_multicast()
        && !matches!(ip, IpAddr::V4(ip) if ip.is_broadcast() || ip.octets()[0] == 0);
    addr.port() != 0 && unicast && may_answer(addr, reach)
}

/// Whether a relay that somebody else named may be asked, by its URL's scheme and host: over TLS,
/// and not at an address of this machine or a local network.
#[must_use]
pub fn may_ask(scheme: &str, host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let outside = match literal.parse::<IpAddr>() {
        Ok(ip) => {
            may_dial(SocketAddr::new(ip, 443), Internet::Direct) && kind(ip) == PathKind::Internet
        }
        Err(_) => host != "localhost" && !host.ends_with(".localhost") && !host.ends_with(".local"),
    };
    scheme == "https" && outside
}

/// Whether packets from `addr` are answered, as far as its kind goes.
#[must_use]
pub fn may_answer(addr: SocketAddr, reach: impl Into<Reach>) -> bool {
    let reach = reach.into();
    match kind(addr.ip()) {
        PathKind::Loopback => true,
        PathKind::Lan => reach.lan,
        PathKind::Internet | PathKind::Relay => reach.internet != Internet::Off,
        // No address of IP leads there.
        PathKind::Bluetooth => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn off_reaches_only_the_machine_and_its_networks() {
        for (text, expected) in [
            ("127.0.0.1:1", PathKind::Loopback),
            ("127.255.255.254:1", PathKind::Loopback),
            ("[::1]:1", PathKind::Loopback),
            ("[::ffff:127.0.0.1]:1", PathKind::Loopback),
            ("10.0.0.1:1", PathKind::Lan),
            ("172.16.0.1:1", PathKind::Lan),
            ("172.31.255.255:1", PathKind::Lan),
            ("192.168.0.1:1", PathKind::Lan),
            ("169.254.1.1:1", PathKind::Lan),
            ("[::ffff:192.168.0.1]:1", PathKind::Lan),
            ("[fc00::1]:1", PathKind::Lan),
            ("[fdff::1]:1", PathKind::Lan),
            ("[fe80::1%3]:1", PathKind::Lan),
            ("[febf::1]:1", PathKind::Lan),
        ] {
            assert_eq!(kind(addr(text).ip()), expected, "{text}");
            assert!(may_dial(addr(text), Internet::Off), "{text}");
            assert!(may_answer(addr(text), Internet::Off), "{text}");
        }
        for text in [
            "9.255.255.255:1",
            "11.0.0.0:1",
            "172.15.255.255:1",
            "172.32.0.0:1",
            "192.167.255.255:1",
            "192.169.0.0:1",
            "100.64.0.1:1",
            "8.8.8.8:53",
            "[2001:db8::1]:1",
            "[fbff::1]:1",
            "[fe00::1]:1",
            "[fec0::1]:1",
            "[::ffff:8.8.8.8]:1",
        ] {
            assert_eq!(kind(addr(text).ip()), PathKind::Internet, "{text}");
            assert!(!may_dial(addr(text), Internet::Off), "{text}");
            assert!(!may_answer(addr(text), Internet::Off), "{text}");
            assert!(may_answer(addr(text), Internet::Direct), "{text}");
            assert!(may_dial(addr(text), Internet::Direct), "{text}");
            assert!(may_dial(addr(text), Internet::Relay), "{text}");
        }
    }

    #[test]
    fn a_local_network_that_is_switched_off_is_neither_dialled_nor_answered() {
        for internet in [Internet::Off, Internet::Direct, Internet::Relay] {
            let reach = Reach {
                internet,
                lan: false,
            };
            for text in ["192.168.0.1:1", "[fe80::1%3]:1", "[fc00::1]:1"] {
                assert!(!may_dial(addr(text), reach) && !may_answer(addr(text), reach));
            }
            assert!(may_dial(addr("127.0.0.1:1"), reach));
            let outside = may_dial(addr("8.8.8.8:53"), reach);
            assert_eq!(outside, internet != Internet::Off);
        }
    }

    #[test]
    fn a_relay_that_somebody_named_leads_nowhere_inside() {
        for host in ["relay.example.org", "203.0.113.9", "[2001:db8::1]"] {
            assert!(may_ask("https", host), "{host}");
            assert!(!may_ask("http", host), "{host}");
        }
        for host in [
            "127.0.0.1",
            "192.168.1.1",
            "[::1]",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
            "0.0.0.0",
            "localhost",
            "a.localhost",
            "printer.local",
        ] {
            assert!(!may_ask("https", host), "{host}");
        }
    }

    #[test]
    fn what_is_no_single_host_is_never_dialled() {
        for text in [
            "127.0.0.1:0",
            "192.168.0.1:0",
            "0.0.0.0:7",
            "0.1.2.3:7",
            "[::]:7",
            "224.0.0.1:7",
            "255.255.255.255:7",
            "[ff02::1]:7",
        ] {
            for internet in [Internet::Off, Internet::Direct, Internet::Relay] {
                assert!(!may_dial(addr(text), internet), "{text} {internet:?}");
            }
        }
    }
}
