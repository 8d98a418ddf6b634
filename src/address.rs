//! The dashboard's address, as people write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use web::LanAt;

/// Where the dashboard listens when nobody says otherwise.
pub(crate) const DEFAULT: Listen = Listen {
    loopback: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7340),
    lan: None,
};

/// Where the dashboard listens: always on the loopback interface, since commands and the person at
/// the machine come there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) loopback: SocketAddr,
    /// And on the network, if that was asked for.
    pub(crate) lan: Option<LanAt>,
}

/// Reads an address with a port.
pub(crate) fn parse(text: &str) -> Result<Listen, String> {
    let addr: SocketAddr = text.parse().map_err(|_| {
        format!(
            "expected an address with a port such as {}, found {text:?}",
            DEFAULT.loopback
        )
    })?;
    let ip = addr.ip();
    if ip.is_loopback() {
        return Ok(Listen {
            loopback: addr,
            lan: None,
        });
    }
    let lan = match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => LanAt::AllV4,
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => LanAt::All,
        ip if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => {
            return Err(format!(
                "expected an address that this machine can have, or 0.0.0.0 for all of them, found {ip}"
            ));
        }
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            return Err(format!(
                "expected an address that a browser can open, found {ip}: link-local ones need the \
                 name of an interface, which browsers don't take"
            ));
        }
        ip => LanAt::One(ip),
    };
    let loopback = SocketAddr::new(DEFAULT.loopback.ip(), addr.port());
    Ok(Listen {
        loopback,
        lan: Some(lan),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_always_there_and_the_network_where_it_is_asked_for() {
        for (text, loopback, lan) in [
            ("127.0.0.1:7340", "127.0.0.1:7340", None),
            ("127.9.9.9:80", "127.9.9.9:80", None),
            ("[::1]:7340", "[::1]:7340", None),
            ("0.0.0.0:7340", "127.0.0.1:7340", Some(LanAt::AllV4)),
            ("[::]:0", "127.0.0.1:0", Some(LanAt::All)),
            (
                "192.168.1.4:80",
                "127.0.0.1:80",
                Some(LanAt::One("192.168.1.4".parse().unwrap())),
            ),
        ] {
            let listen = parse(text).unwrap();
            assert_eq!(listen.loopback, loopback.parse().unwrap(), "{text}");
            assert_eq!(listen.lan, lan, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_machine_is_refused() {
        for bad in [
            "",
            "7340",
            "127.0.0.1",
            "localhost:7340",
            "127.0.0.1:99999",
            "224.0.0.251:7340",
            "[fe80::1]:7340",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
