//! Beacons for one address: one datagram, where multicast doesn't arrive.
//!
//! Some access points don't pass on what is sent to all, and nobody answers a stranger on a local
//! network. So who dials an address there knocks first: a [`Knock`] goes to the port above the one
//! dialled. Whoever knows its sender's key recognises it, and answers the packets that follow;
//! nobody else gets an answer of any kind. Like the search, this module knows no key.

use std::{net::SocketAddr, time::Duration};

use proto::beacon::{KNOCK_BYTES, Knock};
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;

use crate::{
    Internet, Sighting,
    address::{self, PathKind},
    lan::Family,
};

/// Between an error and the next read, so that errors without end cost nothing.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// A socket for each family that the endpoint is bound to, at the port above its own.
#[derive(Debug)]
pub struct Door {
    v4: Option<Side>,
    v6: Option<Side>,
}

#[derive(Debug)]
struct Side {
    socket: UdpSocket,
    /// Where connections come in.
    port: u16,
}

impl Side {
    fn open(bound: SocketAddr) -> Option<Self> {
        let bind = SocketAddr::new(bound.ip(), above(bound.port())?);
        let socket = socket(bind)
            .inspect_err(|error| {
                tracing::debug!(%bind, %error, "nobody can knock here");
            })
            .ok()?;
        Some(Self {
            socket,
            port: bound.port(),
        })
    }

    /// The next datagram that is a knock, from a private or link-local address.
    async fn hear(&self) -> Sighting {
        // One byte more than a knock has, so that what is longer shows.
        let mut bytes = [0; KNOCK_BYTES + 1];
        loop {
            let (read, from) = match self.socket.recv_from(&mut bytes).await {
                Ok(received) => received,
                // Mostly what came of a knock of ours at a closed port.
                Err(error) => {
                    tracing::debug!(%error, "a datagram could not be read");
                    tokio::time::sleep(AFTER_ERROR).await;
                    continue;
                }
            };
            let Some(knock) = bytes.get(..read).and_then(Knock::decode) else {
                continue;
            };
            let addr = SocketAddr::new(from.ip().to_canonical(), knock.port);
            if is_neighbour(addr) {
                return Sighting {
                    beacon: knock.beacon,
                    addrs: vec![addr],
                };
            }
        }
    }
}

impl Door {
    /// Opens what can be opened: a port that somebody else has, or that doesn't exist, is left out.
    /// Addresses that loopback is bound to are left out too.
    #[must_use]
    pub fn open(bound: &[SocketAddr]) -> Self {
        let of = |family| {
            let mut bound = bound.iter().filter(|addr| {
                Family::of(addr.ip()) == family && address::kind(addr.ip()) != PathKind::Loopback
            });
            bound.next().copied().and_then(Side::open)
        };
        Self {
            v4: of(Family::V4),
            v6: of(Family::V6),
        }
    }

    fn side(&self, family: Family) -> Option<&Side> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// Knocks at an address that is about to be dialled, with a beacon that is made for it alone.
    /// Does nothing where there is no such network, or the network is busy.
    pub fn knock(&self, addr: SocketAddr, beacon: impl FnOnce() -> proto::beacon::Beacon) {
        let Some(side) = self.side(Family::of(addr.ip())) else {
            return;
        };
        if let Some(port) = above(addr.port())
            && is_neighbour(addr)
        {
            let knock = Knock {
                beacon: beacon(),
                port: side.port,
            };
            let mut to = addr;
            to.set_port(port);
            // A knock that gets lost is one that nobody heard.
            let _ = side.socket.try_send_to(&knock.encode(), to);
        }
    }

    /// Who knocked, unrecognised. Without a socket it waits for ever.
    pub async fn hear(&self) -> Sighting {
        let hear = async |side: Option<&Side>| match side {
            Some(side) => side.hear().await,
            None => std::future::pending().await,
        };
        tokio::select! {
            sighting = hear(self.v4.as_ref()) => sighting,
            sighting = hear(self.v6.as_ref()) => sighting,
        }
    }
}

fn above(port: u16) -> Option<u16> {
    port.checked_add(1)
}

fn is_neighbour(addr: SocketAddr) -> bool {
    address::kind(addr.ip()) == PathKind::Lan && address::may_dial(addr, Internet::Off)
}

fn socket(bind: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, None)?;
    if bind.is_ipv6() {
        // The other family has a socket of its own.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&bind.into())?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    #[tokio::test]
    async fn nobody_knocks_on_loopback_or_out_of_the_network() {
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let door = Door::open(&loopback.map(|ip: IpAddr| SocketAddr::new(ip, 4_000)));
        assert!(door.v4.is_none() && door.v6.is_none());
        for text in ["127.0.0.1:1", "8.8.8.8:1", "224.0.0.1:1", "[2001:db8::1]:1"] {
            assert!(!is_neighbour(text.parse().unwrap()), "{text}");
        }
        for text in ["192.168.1.2:1", "10.0.0.1:1", "[fd00::1]:1"] {
            assert!(is_neighbour(text.parse().unwrap()), "{text}");
        }
        assert_eq!(above(u16::MAX), None);
    }
}
