//! The names under which this node may be called. Stops DNS rebinding: a page from elsewhere can
//! point its own name at this machine, but can't make a browser send one of these.
//!
//! On the network the one address that was called is ours, as a number, and the name that is
//! announced there. Pure: knows names and headers, answers yes or no.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

use crate::visit::{Door, Place, Visit};

/// Names that always mean this machine.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The allowed values of `Host`.
#[derive(Clone)]
pub(crate) struct Hosts {
    port: u16,
    extra: Vec<String>,
}

impl Hosts {
    /// `extra` are further names from the settings: with a port they are taken as they stand,
    /// without one they are good with our port and with none (behind a proxy).
    pub(crate) fn new(port: u16, extra: &[String]) -> Self {
        let extra = extra
            .iter()
            .map(|name| name.trim().to_ascii_lowercase())
            .filter(|name| !name.is_empty())
            .collect();
        Self { port, extra }
    }

    /// The name that this request called, when it is one of ours. `name` is what is announced on the
    /// network.
    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        visit: Visit,
        name: Option<&str>,
    ) -> Option<String> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next()?.to_str().ok()?.to_ascii_lowercase();
        if hosts.next().is_some() {
            return None;
        }
        let target_agrees = uri
            .authority()
            .is_none_or(|target| target.as_str().eq_ignore_ascii_case(&host));
        (target_agrees && self.allows(&host, visit, name)).then_some(host)
    }

    fn allows(&self, host: &str, visit: Visit, announced: Option<&str>) -> bool {
        let (name, port) = split_port(host);
        let usual = match visit.place() {
            Place::LanTls => 443,
            Place::Here | Place::Lan => 80,
        };
        let port_is_ours = match port {
            Some(port) => port == self.port.to_string(),
            None => self.port == usual,
        };
        let is_ours = match visit.door {
            Door::Loopback => LOOPBACK.contains(&name),
            Door::Lan { at, .. } | Door::Unencrypted { at } => {
                name == in_host(at.ip()) || announced == Some(name)
            }
        };
        if is_ours && port_is_ours {
            return true;
        }
        self.extra.iter().any(|extra| {
            extra == host
                || (split_port(extra).1.is_none()
                    && extra == name
                    && (port.is_none() || port_is_ours))
        })
    }

    /// All allowed names, for a page that helps somebody who came by another. On the network, where
    /// anybody may ask, only the address that was called anyway.
    pub(crate) fn names(&self, visit: Visit) -> Vec<String> {
        if let Door::Lan { at, .. } | Door::Unencrypted { at } = visit.door {
            return vec![at.to_string()];
        }
        let ours = LOOPBACK.iter().map(|name| format!("{name}:{}", self.port));
        let extra = self.extra.iter().map(|name| {
            if split_port(name).1.is_some() {
                name.clone()
            } else {
                format!("{name}:{}", self.port)
            }
        });
        ours.chain(extra).collect()
    }

    /// Whether `host` can only mean this machine.
    pub(crate) fn is_loopback(host: &str) -> bool {
        LOOPBACK.contains(&split_port(host).0)
    }
}

/// An address as browsers write it in `Host`.
fn in_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Splits `name:port`; the colons inside an address in brackets belong to the name.
fn split_port(host: &str) -> (&str, Option<&str>) {
    let end_of_name = host.rfind(']').map_or(0, |at| at + 1);
    match host.get(end_of_name..).and_then(|rest| rest.rfind(':')) {
        Some(at) => {
            let (name, port) = host.split_at(end_of_name + at);
            (name, port.strip_prefix(':'))
        }
        None => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hosts: &Hosts, values: &[&str], uri: &str) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::HOST, value.parse().unwrap());
        }
        hosts
            .check(&headers, &uri.parse().unwrap(), Visit::here(), None)
            .is_some()
    }

    #[test]
    fn only_our_own_names_with_our_port_are_allowed() {
        let hosts = Hosts::new(7340, &[]);
        for good in [
            "localhost:7340",
            "LocalHost:7340",
            "127.0.0.1:7340",
            "[::1]:7340",
        ] {
            assert!(check(&hosts, &[good], "/"), "{good}");
        }
        for bad in [
            "",
            "evil.com",
            "evil.com:7340",
            "localhost",
            "127.0.0.1",
            "[::1]",
            "localhost:80",
            "localhost:73400",
            "localhost:07340",
            "localhost:",
            "localhost:7340:7340",
            "localhost.:7340",
            "localhost.evil.com:7340",
            "evil.localhost:7340",
            "127.0.0.1.nip.io:7340",
            "127.1:7340",
            "127.0.0.2:7340",
            "2130706433:7340",
            "0x7f000001:7340",
            "0.0.0.0:7340",
            "[::]:7340",
            "::1:7340",
            "[::1]",
            "[::1]7340",
            "[::ffff:127.0.0.1]:7340",
            "[0:0:0:0:0:0:0:1]:7340",
            "localhost:7340 ",
            " localhost:7340",
            "localhost:7340,evil.com",
            "user@localhost:7340",
            "localhost:7340/",
            "localhost:7340#",
            "xn--localhost:7340",
            "localhost\\:7340",
            "localhost%00:7340",
            "[",
            "]",
            "]:7340",
            "[:7340",
            "http://localhost:7340",
            "*:7340",
            "null",
        ] {
            assert!(!check(&hosts, &[bad], "/"), "{bad:?}");
        }
    }

    #[test]
    fn none_two_or_a_contradicting_target_are_refused() {
        let hosts = Hosts::new(7340, &[]);
        assert!(!check(&hosts, &[], "/"));
        assert!(!check(&hosts, &["localhost:7340", "localhost:7340"], "/"));
        assert!(!check(&hosts, &["localhost:7340", "evil.com"], "/"));
        assert!(!check(&hosts, &["localhost:7340"], "http://evil.com/"));
        assert!(check(&hosts, &["localhost:7340"], "http://localhost:7340/"));
    }

    #[test]
    fn a_name_from_the_settings_is_good_with_our_port_or_none() {
        let hosts = Hosts::new(7340, &["Pi.lan".into(), "box:8080".into(), " ".into()]);
        for good in ["pi.lan:7340", "pi.lan", "box:8080", "localhost:7340"] {
            assert!(check(&hosts, &[good], "/"), "{good}");
        }
        for bad in ["pi.lan:81", "box", "box:7340", "x.pi.lan", " "] {
            assert!(!check(&hosts, &[bad], "/"), "{bad}");
        }
        assert_eq!(hosts.names(Visit::here()).last().unwrap(), "box:8080");
        assert!(check(&Hosts::new(80, &[]), &["localhost"], "/"));
    }

    #[test]
    fn on_the_network_only_the_address_that_was_called_is_ours() {
        let hosts = Hosts::new(7340, &["pi.lan".into()]);
        let check = |at: &str, tls: bool, name: Option<&str>, host: &str| {
            let door = Door::Lan {
                at: at.parse().unwrap(),
                tls,
            };
            let from = "10.1.0.2".parse().unwrap();
            let mut headers = HeaderMap::new();
            headers.append(header::HOST, host.parse().unwrap());
            hosts
                .check(&headers, &Uri::default(), Visit { door, from }, name)
                .is_some()
        };
        let four = "10.1.0.1:7340";
        assert!(check(four, false, None, "10.1.0.1:7340"));
        assert!(check(four, true, None, "pi.lan:7340"));
        assert!(check(
            four,
            false,
            Some("waymeet.local"),
            "waymeet.local:7340"
        ));
        assert!(check("[fd01::1]:7340", true, None, "[fd01::1]:7340"));
        for bad in [
            "localhost:7340",
            "127.0.0.1:7340",
            "[::1]:7340",
            "10.1.0.2:7340",
            "10.1.0.1",
            "10.1.0.1:80",
            "10.1.0.1.nip.io:7340",
            "010.1.0.1:7340",
            "167837697:7340",
            "[::ffff:10.1.0.1]:7340",
            "waymeet.local:7340",
            "evil.example:7340",
        ] {
            assert!(!check(four, false, None, bad), "{bad}");
        }
        assert!(!check("[fd01::1]:7340", true, None, "[fd01:0:0::1]:7340"));
        assert!(!check(
            four,
            false,
            Some("waymeet.local"),
            "evil.waymeet.local:7340"
        ));
        assert!(!check(four, false, Some("waymeet.local"), "waymeet.local"));
    }
}
