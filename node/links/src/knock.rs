//! Beacons for one address: one datagram, where multicast doesn't arrive.
//!
//! Some access points don't pass on what is sent to all, and nobody answers a stranger on a local
//! network. So who dials an address there knocks first: a [`Knock`] goes to the port above the one
//! dialled. Whoever knows its sender's key recognises it, and answers the packets that follow;
//! nobody else gets an answer of any kind. Like the search, this module knows no key.
//!
//! The same sockets are the ends of the ways to neighbours with link-local addresses (`passage.rs`).

use std::{
    net::{SocketAddr, SocketAddrV6},
    sync::Arc,
    time::Duration,
};

use proto::beacon::{Beacon, KNOCK_BYTES, Knock};
use socket2::{Domain, Socket, Type};
use tokio::{net::UdpSocket, sync::mpsc, task::JoinSet};

use crate::{
    Admission, Internet, Sighting,
    address::{self, PathKind},
    admission::Door,
    lan::Family,
    passage::{Corridor, DATAGRAM_BYTES, Passages, needs},
};

/// Between an error and the next read, so that errors without end cost nothing.
pub(crate) const AFTER_ERROR: Duration = Duration::from_millis(50);
/// Knocks that wait to be looked at; more are dropped, and knocked again at the next dial.
const KNOCKS_MAX: usize = 64;

/// A socket for each family that the endpoint is bound to, at the port above its own.
#[derive(Debug)]
pub struct Porch {
    v4: Option<Side>,
    v6: Option<Side>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Side {
    socket: Arc<UdpSocket>,
    /// The same without tokio, which knows only after a while that a new socket can send.
    knocker: std::net::UdpSocket,
    /// Where connections come in.
    port: u16,
    corridor: Option<Arc<Corridor>>,
}

impl Side {
    fn open(bound: SocketAddr, passages: &Passages) -> Option<Self> {
        let bind = SocketAddr::new(bound.ip(), above(bound.port())?);
        let (socket, knocker) = sockets(bind)
            .inspect_err(|error| {
                tracing::debug!(%bind, %error, "nobody can knock here");
            })
            .ok()?;
        let socket = Arc::new(socket);
        let corridor = Corridor::new(socket.clone(), bound, passages.clone());
        Some(Self {
            socket,
            knocker,
            port: bound.port(),
            corridor: corridor.map(Arc::new),
        })
    }
}

impl Porch {
    /// Opens what can be opened: a port that somebody else has, or that doesn't exist, is left out.
    /// Addresses that loopback is bound to are left out too. Who knocks comes out of the channel,
    /// unrecognised.
    pub(crate) fn open(
        bound: &[SocketAddr],
        admission: &Admission,
        passages: &Passages,
    ) -> (Self, mpsc::Receiver<Sighting>) {
        let of = |family| {
            let mut bound = bound.iter().filter(|addr| {
                Family::of(addr.ip()) == family && address::kind(addr.ip()) != PathKind::Loopback
            });
            let bound = bound.next().copied();
            bound.and_then(|bound| Side::open(bound, passages))
        };
        let (v4, v6) = (of(Family::V4), of(Family::V6));
        let (sender, knocks) = mpsc::channel(KNOCKS_MAX);
        let mut tasks = JoinSet::new();
        for side in [&v4, &v6].into_iter().flatten() {
            tasks.spawn(listen(
                side.socket.clone(),
                side.corridor.clone(),
                admission.clone(),
                sender.clone(),
            ));
        }
        let porch = Self {
            v4,
            v6,
            _tasks: tasks,
        };
        (porch, knocks)
    }

    fn side(&self, family: Family) -> Option<&Side> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// Knocks at an address that is about to be dialled, with a beacon that is made for it alone.
    /// Does nothing where there is no such network, or the network is busy.
    pub fn knock(&self, addr: SocketAddr, beacon: impl FnOnce() -> Beacon) {
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
            let _ = side.knocker.send_to(&knock.encode(), to);
        }
    }

    /// What to dial for an address: itself, or for a link-local one of IPv6 the passage to it.
    /// Nothing where there is no way.
    #[must_use]
    pub fn way(&self, addr: SocketAddr) -> Option<SocketAddr> {
        if !address::is_link_local_v6(addr.ip()) {
            return Some(addr);
        }
        let corridor = self.v6.as_ref()?.corridor.as_ref()?;
        let way = corridor.to(needs(addr)?);
        way.inspect_err(|error| tracing::debug!(%error, "there is no way to a neighbour"))
            .ok()
    }
}

/// Takes what comes to a porch, as long as it is there.
async fn listen(
    socket: Arc<UdpSocket>,
    corridor: Option<Arc<Corridor>>,
    admission: Admission,
    knocks: mpsc::Sender<Sighting>,
) {
    let mut bytes = [0; DATAGRAM_BYTES];
    loop {
        let (read, from) = match socket.recv_from(&mut bytes).await {
            Ok(received) => received,
            // Mostly what came of a knock of ours at a closed port.
            Err(error) => {
                tracing::debug!(%error, "a datagram could not be read");
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            }
        };
        let datagram = bytes.get(..read).unwrap_or_default();
        let neighbour = neighbour_v6(from);
        if let (Some(corridor), Some(neighbour)) = (&corridor, neighbour)
            && corridor.carry(neighbour, datagram)
        {
            continue;
        }
        if read == KNOCK_BYTES {
            if let Some(sighting) = Knock::decode(datagram).and_then(|knock| sighting(knock, from))
            {
                let _ = knocks.try_send(sighting);
            }
        } else if let (Some(corridor), Some(neighbour)) = (&corridor, neighbour)
            && admission.answers(from.ip(), Door::Main)
            && corridor.to(neighbour).is_ok()
        {
            corridor.carry(neighbour, datagram);
        }
    }
}

fn neighbour_v6(from: SocketAddr) -> Option<SocketAddrV6> {
    match from {
        SocketAddr::V6(from) if from.ip().is_unicast_link_local() => {
            let (ip, port, scope) = (*from.ip(), from.port(), from.scope_id());
            Some(SocketAddrV6::new(ip, port, 0, scope))
        }
        _ => None,
    }
}

fn sighting(knock: Knock, from: SocketAddr) -> Option<Sighting> {
    let mut addr = from;
    addr.set_port(knock.port);
    is_neighbour(addr).then(|| Sighting {
        beacon: knock.beacon,
        addrs: vec![addr],
    })
}

/// The porch's port that belongs to an endpoint's.
pub(crate) fn above(port: u16) -> Option<u16> {
    port.checked_add(1)
}

/// The endpoint's port that belongs to a porch's.
pub(crate) const fn below(port: u16) -> u16 {
    port.saturating_sub(1)
}

fn is_neighbour(addr: SocketAddr) -> bool {
    address::kind(addr.ip()) == PathKind::Lan && address::may_dial(addr, Internet::Off)
}

fn sockets(bind: SocketAddr) -> std::io::Result<(UdpSocket, std::net::UdpSocket)> {
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, None)?;
    if bind.is_ipv6() {
        // The other family has a socket of its own.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&bind.into())?;
    let socket = std::net::UdpSocket::from(socket);
    let knocker = socket.try_clone()?;
    Ok((UdpSocket::from_std(socket)?, knocker))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    #[tokio::test]
    async fn nobody_knocks_on_loopback_or_out_of_the_network() {
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let bound = loopback.map(|ip: IpAddr| SocketAddr::new(ip, 4_000));
        let (porch, _knocks) = Porch::open(&bound, &Admission::new(), &Passages::default());
        assert!(porch.v4.is_none() && porch.v6.is_none());
        for text in ["127.0.0.1:1", "8.8.8.8:1", "224.0.0.1:1", "[2001:db8::1]:1"] {
            assert!(!is_neighbour(text.parse().unwrap()), "{text}");
        }
        for text in ["192.168.1.2:1", "10.0.0.1:1", "[fd00::1]:1"] {
            let addr = text.parse().unwrap();
            assert!(is_neighbour(addr), "{text}");
            assert_eq!(porch.way(addr), Some(addr));
        }
        assert_eq!(porch.way("[fe80::1%2]:1".parse().unwrap()), None);
        assert_eq!(above(u16::MAX), None);
    }
}
