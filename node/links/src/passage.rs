//! Ways to neighbours that have a link-local IPv6 address and no other: two laptops and a cable.
//!
//! Such an address means something only together with an interface, and iroh forgets the interface.
//! So a datagram for such a neighbour goes to a socket of our own on loopback, from there through
//! the porch (see [`crate::knock`]) to the neighbour's, and behind that to their endpoint; each
//! endpoint believes that it speaks with its own machine. Only who may be answered on the local network
//! comes through. It costs each datagram two more system calls at either side, and nothing elsewhere.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{net::UdpSocket, task::JoinSet, time::Instant};

use crate::knock::{AFTER_ERROR, above, below};

/// Neighbours at once. A cable has one, a network without addresses a table full.
const PASSAGES_MAX: usize = 64;
/// A passage without a datagram for this long is closed where another needs its place; connections
/// end long before.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of a datagram: an Ethernet frame carries less.
pub(crate) const DATAGRAM_BYTES: usize = 2_048;

/// Which addresses on loopback lead to which neighbours. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passages(Arc<Mutex<BTreeMap<SocketAddr, SocketAddr>>>);

impl Passages {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SocketAddr, SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The neighbour's endpoint behind an address on loopback.
    pub(crate) fn behind(&self, local: SocketAddr) -> Option<SocketAddr> {
        self.lock().get(&local).copied()
    }
}

/// The passages through one porch.
#[derive(Debug)]
pub(crate) struct Corridor {
    porch: Arc<UdpSocket>,
    /// Our own endpoint.
    endpoint: SocketAddr,
    known: Passages,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_neighbour: BTreeMap<SocketAddrV6, Passage>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Passage {
    /// To our endpoint. Without tokio, which knows only after a while that a new socket can send.
    inwards: std::net::UdpSocket,
    local: SocketAddr,
    used: Arc<Mutex<Instant>>,
    stop: tokio::task::AbortHandle,
}

impl Corridor {
    /// `bound` is where our endpoint listens; nothing where loopback doesn't lead to it.
    pub(crate) fn new(porch: Arc<UdpSocket>, bound: SocketAddr, known: Passages) -> Option<Self> {
        let everywhere = bound.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        everywhere.then(|| Self {
            porch,
            endpoint: SocketAddr::new(Ipv6Addr::LOCALHOST.into(), bound.port()),
            known,
            open: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a neighbour's datagram to our endpoint; false where there is no passage for them.
    pub(crate) fn carry(&self, from: SocketAddrV6, datagram: &[u8]) -> bool {
        let open = self.lock();
        let Some(passage) = open.by_neighbour.get(&from) else {
            return false;
        };
        touch(&passage.used);
        // What doesn't fit is lost, as on any network.
        let _ = passage.inwards.send(datagram);
        true
    }

    /// The address on loopback that leads to a neighbour's porch.
    pub(crate) fn to(&self, to: SocketAddrV6) -> io::Result<SocketAddr> {
        let mut open = self.lock();
        if let Some(passage) = open.by_neighbour.get(&to) {
            touch(&passage.used);
            return Ok(passage.local);
        }
        if open.by_neighbour.len() >= PASSAGES_MAX {
            self.sweep(&mut open);
        }
        if open.by_neighbour.len() >= PASSAGES_MAX {
            return Err(io::Error::other("too many neighbours at once"));
        }
        let socket = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0))?;
        socket.connect(self.endpoint)?;
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let inwards = socket.try_clone()?;
        let outwards = UdpSocket::from_std(socket)?;
        let used = Arc::new(Mutex::new(Instant::now()));
        let carrying = carry_out(outwards, self.porch.clone(), to, used.clone());
        let stop = open.tasks.spawn(carrying);
        let mut neighbour = to;
        neighbour.set_port(below(to.port()));
        self.known.lock().insert(local, neighbour.into());
        let passage = Passage {
            inwards,
            local,
            used,
            stop,
        };
        open.by_neighbour.insert(to, passage);
        Ok(local)
    }

    fn sweep(&self, open: &mut Open) {
        let mut known = self.known.lock();
        open.by_neighbour.retain(|_, passage| {
            let used = *passage.used.lock().unwrap_or_else(PoisonError::into_inner);
            let stays = used.elapsed() < IDLE;
            if !stays {
                passage.stop.abort();
                known.remove(&passage.local);
            }
            stays
        });
        while open.tasks.try_join_next().is_some() {}
    }
}

impl Drop for Corridor {
    fn drop(&mut self) {
        let open = self.lock();
        let mut known = self.known.lock();
        for passage in open.by_neighbour.values() {
            known.remove(&passage.local);
        }
    }
}

fn touch(used: &Mutex<Instant>) {
    *used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
}

/// Sends a neighbour what our endpoint says, until the passage is closed.
async fn carry_out(
    socket: UdpSocket,
    porch: Arc<UdpSocket>,
    to: SocketAddrV6,
    used: Arc<Mutex<Instant>>,
) {
    let mut datagram = [0; DATAGRAM_BYTES];
    loop {
        let read = match socket.recv(&mut datagram).await {
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(%error, "a datagram to a neighbour could not be read");
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            }
        };
        touch(&used);
        let sent = porch
            .send_to(datagram.get(..read).unwrap_or_default(), to)
            .await;
        if let Err(error) = sent {
            tracing::debug!(%error, "a datagram to a neighbour could not be sent");
        }
    }
}

/// An address that needs a passage, with its interface; none where the interface isn't known.
pub(crate) fn needs(addr: SocketAddr) -> Option<SocketAddrV6> {
    match addr {
        SocketAddr::V6(addr) if addr.ip().is_unicast_link_local() && addr.scope_id() != 0 => {
            let port = above(addr.port())?;
            Some(SocketAddrV6::new(*addr.ip(), port, 0, addr.scope_id()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn corridor() -> (Corridor, UdpSocket, Passages) {
        let endpoint = UdpSocket::bind("[::1]:0").await.unwrap();
        let porch = Arc::new(UdpSocket::bind("[::1]:0").await.unwrap());
        let known = Passages::default();
        let port = endpoint.local_addr().unwrap().port();
        let bound = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let corridor = Corridor::new(porch, bound, known.clone()).unwrap();
        (corridor, endpoint, known)
    }

    #[tokio::test]
    async fn a_passage_carries_both_ways_and_tells_where_it_leads() {
        let (corridor, endpoint, known) = corridor().await;
        // The neighbour's porch; loopback plays the cable.
        let theirs = UdpSocket::bind("[::1]:0").await.unwrap();
        let SocketAddr::V6(theirs_addr) = theirs.local_addr().unwrap() else {
            panic!("expected IPv6");
        };
        assert!(!corridor.carry(theirs_addr, b"too early"));
        let local = corridor.to(theirs_addr).unwrap();
        assert_eq!(corridor.to(theirs_addr).unwrap(), local);
        let behind = known.behind(local).unwrap();
        assert_eq!(behind.port(), theirs_addr.port() - 1);

        assert!(corridor.carry(theirs_addr, b"in"));
        let mut bytes = [0; 16];
        let (read, from) = endpoint.recv_from(&mut bytes).await.unwrap();
        assert_eq!((&bytes[..read], from), (&b"in"[..], local));
        endpoint.send_to(b"out", local).await.unwrap();
        let read = theirs.recv(&mut bytes).await.unwrap();
        assert_eq!(&bytes[..read], b"out");

        drop(corridor);
        assert_eq!(known.behind(local), None);
    }

    #[tokio::test(start_paused = true)]
    async fn passages_are_bounded_and_idle_ones_give_way() {
        let (corridor, _endpoint, known) = corridor().await;
        let neighbour = |n: usize| {
            let port = u16::try_from(1_000 + n).unwrap();
            SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0)
        };
        for n in 0..PASSAGES_MAX {
            corridor.to(neighbour(n)).unwrap();
        }
        assert!(corridor.to(neighbour(PASSAGES_MAX)).is_err());
        tokio::time::advance(IDLE).await;
        corridor.to(neighbour(0)).unwrap();
        corridor.to(neighbour(PASSAGES_MAX)).unwrap();
        assert_eq!(known.lock().len(), 2);
    }

    #[test]
    fn only_link_local_addresses_with_an_interface_need_one() {
        let needs = |text: &str| needs(text.parse().unwrap());
        assert_eq!(
            needs("[fe80::1%3]:9"),
            Some("[fe80::1%3]:10".parse().unwrap())
        );
        for text in [
            "[fe80::1]:9",
            "[fe80::1%3]:65535",
            "[fd00::1]:9",
            "10.0.0.1:9",
        ] {
            assert_eq!(needs(text), None, "{text}");
        }
    }
}
