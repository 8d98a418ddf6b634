//! The device's endpoint: binding, dialling, accepting, cutting, and the temporary ones beside it.

mod accept;
mod bind;
mod dial;
mod error;
mod preference;

use std::{collections::BTreeSet, fmt, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use iroh::{Endpoint, EndpointAddr, Watcher as _};
use n0_future::{Stream, StreamExt};
use proto::{EndpointId, limits};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::dial::Origin;
pub use self::error::{DialError, Error};
use crate::{
    Admission, CloseCode, Config, Connection, EndpointSecret, Internet, Porch, Protocol, Reach,
    Sighting,
    address::{self, PathKind},
    admission::{Door, MEETS_OPEN_MAX},
    gate::Gate,
    gossip::Pairs,
    live::Live,
    passage::Passages,
    room::Room,
};

/// How long a dial may take, lookup and handshake together. A handshake takes two round trips,
/// so this bears a link of two seconds; the caller tries again with backoff.
pub const DIAL_WAIT: Duration = Duration::from_secs(5);
/// Admitted connections that wait for somebody to take them. Every contact of a busy node may
/// call at once after a power cut; the rest wait five seconds and call again.
pub const ARRIVALS_MAX: usize = 64;
/// How long closing waits for the last packets to leave: a connection whose round trip isn't known
/// yet drains for three times a probe timeout of a second (RFC 9000 section 10.2, RFC 9002 section 6.2.2).
const SHUTDOWN_WAIT: Duration = Duration::from_millis(3_500);

/// A connection that came in and was admitted.
#[derive(Debug)]
pub enum Arrival {
    /// Somebody comes to add a contact; [`Connection::local`] tells through which endpoint.
    Meet(Connection),
    /// A contact's device wants to meet.
    Sync(Connection),
}

/// The device's endpoint. Clones share it; it closes with [`Links::shutdown`] or the last clone.
#[derive(Clone)]
pub struct Links {
    inner: Arc<Inner>,
}

/// The relay that an endpoint keeps in touch with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayState {
    /// Its URL.
    pub url: String,
    /// It answers.
    pub connected: bool,
}

struct Inner {
    endpoint: Endpoint,
    id: EndpointId,
    config: Config,
    admission: Admission,
    live: Live,
    room: Room,
    passages: Passages,
    pairs: Pairs,
    /// Weak, so that the channel ends with the accept loops.
    arrivals: mpsc::WeakSender<Arrival>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Links {
    /// Opens the endpoint and begins to accept. What `admission` lets in arrives on the channel,
    /// which ends when the endpoint has closed.
    ///
    /// # Errors
    /// No address could be bound, a relay URL is none, or the platform failed.
    pub async fn bind(
        config: Config,
        admission: Admission,
    ) -> Result<(Self, mpsc::Receiver<Arrival>), Error> {
        let (live, room, passages) = (Live::default(), Room::default(), Passages::default());
        let gate = Gate {
            admission: admission.clone(),
            live: live.clone(),
            door: Door::Main,
        };
        let endpoint = bind::open(&config, &config.secret, gate).await?;
        let id = EndpointId(*endpoint.id().as_bytes());
        let (arrivals, receiver) = mpsc::channel(ARRIVALS_MAX);
        let stop = CancellationToken::new();
        let pairs = Pairs::default();
        let acceptor = accept::Acceptor {
            endpoint: endpoint.clone(),
            id,
            admission: admission.clone(),
            door: Door::Main,
            reach: config.reach,
            pairs: Some(pairs.clone()),
            room: room.clone(),
            passages: passages.clone(),
            arrivals,
        };
        let arrivals = acceptor.arrivals.downgrade();
        tokio::spawn(acceptor.run(stop.clone()));
        let links = Self {
            inner: Arc::new(Inner {
                endpoint,
                id,
                config,
                admission,
                live,
                room,
                passages,
                pairs,
                arrivals,
                _stop_on_drop: stop.clone().drop_guard(),
                stop,
            }),
        };
        Ok((links, receiver))
    }

    /// The endpoint's public key: what others dial.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.inner.id
    }

    /// Who decides for this endpoint.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.inner.admission
    }

    /// The addresses where others can reach this endpoint, for cards and invites: at most
    /// [`limits::ADDRS_MAX`], and without public ones while the internet link is off.
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        reachable(
            &self.inner.endpoint,
            &self.inner.endpoint.addr(),
            self.inner.config.reach,
        )
    }

    /// [`Self::addrs`] with those of this moment, which may be newer. Costs a look at every interface.
    #[must_use]
    pub fn addrs_now(&self) -> Vec<SocketAddr> {
        reachable_now(&self.inner.endpoint, self.inner.config.reach)
    }

    /// The relay where others can reach this endpoint, once one answered.
    #[must_use]
    pub fn relay(&self) -> Option<String> {
        let addr = self.inner.endpoint.addr();
        addr.relay_urls().next().map(ToString::to_string)
    }

    /// The relay through which others find this endpoint, and whether it answers.
    #[must_use]
    pub fn relay_state(&self) -> Option<RelayState> {
        let relays = self.inner.endpoint.home_relay_status().get();
        relays.first().map(|relay| RelayState {
            url: relay.url().to_string(),
            connected: relay.is_connected(),
        })
    }

    /// Follows [`Self::relay_state`].
    #[must_use]
    pub fn watch_relay(&self) -> RelayWatch {
        RelayWatch {
            changes: Box::pin(self.inner.endpoint.home_relay_status().stream()),
            stop: self.inner.stop.clone(),
        }
    }

    /// The sockets as bound, ports included: what to remember for the next start.
    #[must_use]
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.inner.endpoint.bound_sockets()
    }

    /// Bytes of frames that meetings hold now, over all of them: at most 40 MiB.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.inner.room.held()
    }

    /// Follows [`Self::addrs`].
    #[must_use]
    pub fn watch_addrs(&self) -> AddrWatch {
        AddrWatch {
            endpoint: self.inner.endpoint.clone(),
            reach: self.inner.config.reach,
            changes: Box::pin(self.inner.endpoint.watch_addr().stream()),
            last: None,
            stop: self.inner.stop.clone(),
        }
    }

    /// Dials an endpoint at the addresses that the internet link allows, and over Bluetooth where a
    /// channel is open (see [`crate::Bluetooth::open`]). A remote that refuses
    /// may do so a moment after this returned: the connection then ends with
    /// [`crate::CloseReason::Remote`].
    ///
    /// # Errors
    /// Not permitted, no address to try, no answer within [`DIAL_WAIT`], or refused.
    pub async fn dial(
        &self,
        to: EndpointId,
        addrs: &[SocketAddr],
        relay: Option<String>,
        protocol: Protocol,
    ) -> Result<Connection, DialError> {
        let raw = self.inner.dial_raw(to, addrs, relay, protocol).await?;
        let (id, room) = (self.inner.id, self.inner.room.clone());
        let passages = self.inner.passages.clone();
        Ok(Connection::new(raw, protocol, id, room, passages))
    }

    /// Opens the porch: where contacts knock, and we at theirs. Who knocks comes out of the channel,
    /// unrecognised. One at a time; it closes when it is dropped.
    #[must_use]
    pub fn porch(&self) -> (Porch, mpsc::Receiver<Sighting>) {
        let inner = &self.inner;
        Porch::open(&self.bound(), &inner.admission, &inner.passages)
    }

    /// Closes every connection with an endpoint, of every protocol, at once. It can come back as
    /// long as it is permitted: [`Admission::revoke`] first.
    pub fn cut(&self, remote: EndpointId) {
        self.inner.live.cut(remote, CloseCode::Refused);
    }

    /// What is open with an endpoint now: each connection's protocol, oldest first.
    #[must_use]
    pub fn open_with(&self, remote: EndpointId) -> Vec<Protocol> {
        self.inner.live.lock().open_with(remote)
    }

    /// Opens a second endpoint with a key of its own for a many-use invite. It accepts meets
    /// from anybody, within the same bounds, and delivers them into the same channel.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub async fn open_temporary(&self, secret: EndpointSecret) -> Result<TemporaryEndpoint, Error> {
        let arrivals = self.inner.arrivals.upgrade().ok_or(Error::Closed)?;
        let reach = self.inner.config.reach;
        self.open_beside(secret, reach, Door::Temporary, arrivals)
            .await
    }

    /// Opens a second endpoint with a key of its own for meeting people nearby. It accepts meets
    /// from anybody on this machine and on local networks, within the same bounds, delivers them into
    /// a channel of its own, and dials.
    ///
    /// # Errors
    /// As [`Self::bind`].
    pub async fn open_nearby(
        &self,
        secret: EndpointSecret,
    ) -> Result<(TemporaryEndpoint, mpsc::Receiver<Arrival>), Error> {
        let (arrivals, receiver) = mpsc::channel(MEETS_OPEN_MAX);
        let reach = Reach {
            internet: Internet::Off,
            lan: self.inner.config.reach.lan,
        };
        let endpoint = self.open_beside(secret, reach, Door::Nearby, arrivals);
        Ok((endpoint.await?, receiver))
    }

    async fn open_beside(
        &self,
        secret: EndpointSecret,
        reach: Reach,
        door: Door,
        arrivals: mpsc::Sender<Arrival>,
    ) -> Result<TemporaryEndpoint, Error> {
        let inner = &self.inner;
        let gate = Gate {
            admission: inner.admission.clone(),
            live: inner.live.clone(),
            door,
        };
        let mut config = inner.config.clone();
        config.reach = reach;
        for addr in &mut config.bind {
            addr.set_port(0);
        }
        let endpoint = bind::open(&config, &secret, gate).await?;
        let id = EndpointId(*endpoint.id().as_bytes());
        let acceptor = accept::Acceptor {
            endpoint: endpoint.clone(),
            id,
            admission: inner.admission.clone(),
            door,
            reach,
            pairs: None,
            room: inner.room.clone(),
            passages: inner.passages.clone(),
            arrivals,
        };
        let stop = inner.stop.child_token();
        let task = tokio::spawn(acceptor.run(stop.clone()));
        let origin = Origin {
            endpoint,
            admission: inner.admission.clone(),
            live: inner.live.clone(),
            reach,
            relays: inner.config.relays.as_slice().into(),
            bluetooth: inner.config.bluetooth.clone(),
            door,
            stop: stop.clone(),
        };
        Ok(TemporaryEndpoint {
            origin,
            id,
            room: inner.room.clone(),
            _stop: stop.drop_guard(),
            task,
        })
    }

    /// Closes the endpoint, its temporary ones and every connection, within a few seconds.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.live.cut_all(CloseCode::Shutdown);
        let _ = timeout(SHUTDOWN_WAIT, self.inner.endpoint.close()).await;
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.inner.endpoint
    }

    pub(crate) fn pairs(&self) -> &Pairs {
        &self.inner.pairs
    }

    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    /// What a gossip keeper needs to dial again, without keeping the endpoint alive.
    pub(crate) fn dialer(&self) -> WeakDialer {
        WeakDialer(Arc::downgrade(&self.inner))
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({:?})", self.inner.id)
    }
}

/// Dials as long as the endpoint lives.
pub(crate) struct WeakDialer(std::sync::Weak<Inner>);

impl WeakDialer {
    pub(crate) async fn gossip(
        &self,
        to: EndpointId,
        addrs: &[SocketAddr],
        relay: Option<String>,
    ) -> Result<iroh::endpoint::Connection, DialError> {
        let inner = self.0.upgrade().ok_or(DialError::Closed)?;
        inner.dial_raw(to, addrs, relay, Protocol::Gossip).await
    }
}

impl Inner {
    async fn dial_raw(
        &self,
        to: EndpointId,
        addrs: &[SocketAddr],
        relay: Option<String>,
        protocol: Protocol,
    ) -> Result<iroh::endpoint::Connection, DialError> {
        let origin = Origin {
            endpoint: self.endpoint.clone(),
            admission: self.admission.clone(),
            live: self.live.clone(),
            reach: self.config.reach,
            relays: self.config.relays.as_slice().into(),
            bluetooth: self.config.bluetooth.clone(),
            door: Door::Main,
            stop: self.stop.clone(),
        };
        origin.dial(to, addrs, relay, protocol).await
    }
}

/// Addresses for others: bound ones as they are, and those that iroh found for an unspecified
/// bind. LAN first, since they also work from the same machine; loopback last.
fn reachable(endpoint: &Endpoint, addr: &EndpointAddr, reach: Reach) -> Vec<SocketAddr> {
    let bound = endpoint.bound_sockets();
    let all: BTreeSet<SocketAddr> = addr.ip_addrs().copied().chain(bound).collect();
    let mut all: Vec<_> = all
        .into_iter()
        .filter(|addr| address::may_dial(*addr, reach))
        .collect();
    all.sort_by_key(|addr| match address::kind(addr.ip()) {
        PathKind::Lan => 0,
        PathKind::Internet | PathKind::Relay | PathKind::Bluetooth => 1,
        PathKind::Loopback => 2,
    });
    all.truncate(limits::ADDRS_MAX);
    all
}

/// [`reachable`] with what the interfaces have at this moment first: the system's news of a change
/// come a moment late, and where no way leads out iroh waits some seconds more.
fn reachable_now(endpoint: &Endpoint, reach: Reach) -> Vec<SocketAddr> {
    let known = reachable(endpoint, &endpoint.addr(), reach);
    let here = netwatch::ip::LocalAddresses::new().regular;
    let bound = endpoint.bound_sockets();
    let open = bound.iter().filter(|addr| addr.ip().is_unspecified());
    let mut all: Vec<SocketAddr> = open
        .flat_map(|open| {
            let ips = here.iter().filter(|ip| ip.is_ipv4() == open.is_ipv4());
            ips.map(|ip| SocketAddr::new(*ip, open.port()))
        })
        .filter(|addr| address::may_dial(*addr, reach))
        .filter(|addr| address::kind(addr.ip()) == PathKind::Lan)
        .collect();
    all.retain(|addr| !known.contains(addr));
    all.extend(known);
    all.truncate(limits::ADDRS_MAX);
    all
}

/// Follows whether the relay answers.
pub struct RelayWatch {
    changes: Pin<Box<dyn Stream<Item = Vec<iroh::endpoint::RelayStatus>> + Send>>,
    stop: CancellationToken,
}

impl RelayWatch {
    /// Whether the relay answers, at once the first time and then whenever something of it changed;
    /// `None` when the endpoint has closed. Cancel safe.
    pub async fn changed(&mut self) -> Option<bool> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            relays = self.changes.next() => {
                let relays = relays?;
                Some(relays.first().is_some_and(iroh::endpoint::RelayStatus::is_connected))
            }
        }
    }
}

/// Follows the endpoint's addresses through interface and network changes.
pub struct AddrWatch {
    endpoint: Endpoint,
    reach: Reach,
    changes: Pin<Box<dyn Stream<Item = EndpointAddr> + Send>>,
    last: Option<Vec<SocketAddr>>,
    stop: CancellationToken,
}

impl AddrWatch {
    /// The addresses, at once the first time and then whenever they differ; `None` when the
    /// endpoint has closed. Cancel safe.
    pub async fn changed(&mut self) -> Option<Vec<SocketAddr>> {
        loop {
            let addr = tokio::select! {
                () = self.stop.cancelled() => return None,
                addr = self.changes.next() => addr?,
            };
            let addrs = reachable(&self.endpoint, &addr, self.reach);
            if self.last.as_ref() != Some(&addrs) {
                self.last = Some(addrs.clone());
                return Some(addrs);
            }
        }
    }
}

/// An endpoint beside the device's own: a many-use invite's, or that of somebody who meets others
/// nearby. Dropping it closes it and the meets that came through it.
pub struct TemporaryEndpoint {
    origin: Origin,
    id: EndpointId,
    room: Room,
    _stop: DropGuard,
    task: JoinHandle<()>,
}

impl TemporaryEndpoint {
    /// The public key: what others dial.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// The addresses that an invite names; see [`Links::addrs`].
    #[must_use]
    pub fn addrs(&self) -> Vec<SocketAddr> {
        let endpoint = &self.origin.endpoint;
        reachable(endpoint, &endpoint.addr(), self.origin.reach)
    }

    /// See [`Links::addrs_now`].
    #[must_use]
    pub fn addrs_now(&self) -> Vec<SocketAddr> {
        reachable_now(&self.origin.endpoint, self.origin.reach)
    }

    /// The sockets as bound, ports included.
    #[must_use]
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.origin.endpoint.bound_sockets()
    }

    /// Dials from this endpoint, so that the other side sees its key and no other. Only one that
    /// was opened by [`Links::open_nearby`] may.
    pub fn dial(
        &self,
        to: EndpointId,
        addrs: Vec<SocketAddr>,
    ) -> impl Future<Output = Result<Connection, DialError>> + Send + 'static {
        let (origin, id, room) = (self.origin.clone(), self.id, self.room.clone());
        async move {
            let raw = origin.dial(to, &addrs, None, Protocol::Meet).await?;
            let passages = Passages::default();
            Ok(Connection::new(raw, Protocol::Meet, id, room, passages))
        }
    }

    /// Closes it and waits until it has; dropping it doesn't wait.
    pub async fn close(self) {
        let Self { _stop, task, .. } = self;
        drop(_stop);
        let _ = timeout(SHUTDOWN_WAIT, task).await;
    }
}

impl fmt::Debug for TemporaryEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TemporaryEndpoint({:?})", self.id)
    }
}
