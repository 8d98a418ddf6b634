//! A connection that was admitted.

use std::{fmt, net::SocketAddr, pin::Pin, time::Duration};

use iroh::{
    TransportAddr,
    endpoint::{PathEventStream, Side as QuicSide},
};
use n0_future::StreamExt as _;
use proto::EndpointId;

use crate::{
    CloseCode, CloseReason, PathKind, Protocol, address, bluetooth, crypto, passage::Passages,
    room::Room,
};

/// A connection to another device, admitted and post-quantum. Clones share it; it closes when
/// the last one is dropped.
#[derive(Clone)]
pub struct Connection {
    inner: iroh::endpoint::Connection,
    protocol: Protocol,
    local: EndpointId,
    room: Room,
    passages: Passages,
}

/// The way that a connection's packets take now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// Where it leads.
    pub kind: PathKind,
    /// The remote's address, unless a relay stands between or it is met over Bluetooth.
    pub remote: Option<SocketAddr>,
    /// The round trip time, as last estimated.
    pub rtt: Duration,
}

/// UDP payload bytes of a connection, everything included: handshake, acknowledgements, repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UdpTraffic {
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

/// Keying material could not be derived: the connection has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an open connection to derive a key from, found it closed")]
pub struct ExporterError;

impl Connection {
    pub(crate) fn new(
        inner: iroh::endpoint::Connection,
        protocol: Protocol,
        local: EndpointId,
        room: Room,
        passages: Passages,
    ) -> Self {
        Self {
            inner,
            protocol,
            local,
            room,
            passages,
        }
    }

    pub(crate) const fn room(&self) -> &Room {
        &self.room
    }

    pub(crate) fn raw(&self) -> &iroh::endpoint::Connection {
        &self.inner
    }

    /// The endpoint at the other end, as its key proved.
    #[must_use]
    pub fn remote(&self) -> EndpointId {
        EndpointId(*self.inner.remote_id().as_bytes())
    }

    /// Our endpoint at this end: the device's own, or a many-use invite's.
    #[must_use]
    pub fn local(&self) -> EndpointId {
        self.local
    }

    /// What the connection is for.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether we began it.
    #[must_use]
    pub fn dialed(&self) -> bool {
        self.inner.side() == QuicSide::Client
    }

    /// Derives a key that only both ends of this connection know (RFC 8446 section 7.5).
    ///
    /// # Errors
    /// The connection has ended.
    pub fn exporter(&self, label: &[u8], context: &[u8]) -> Result<[u8; 32], ExporterError> {
        let mut key = [0; 32];
        self.inner
            .export_keying_material(&mut key, label, context)
            .map_err(|_| ExporterError)?;
        Ok(key)
    }

    /// The key exchange that the handshake negotiated, by its IANA name.
    #[must_use]
    pub fn key_exchange(&self) -> &'static str {
        crypto::group_name(crypto::negotiated_group(&self.inner))
    }

    /// Whether that is the post-quantum hybrid. It always is: others are closed before.
    #[must_use]
    pub fn is_hybrid(&self) -> bool {
        crypto::negotiated_group(&self.inner) == Some(crypto::HYBRID)
    }

    /// The round trip time of the path in use.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.path().map(|path| path.rtt)
    }

    /// The path in use, or the first open one while none is chosen.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        let paths = self.inner.paths();
        let path = paths
            .iter()
            .find(iroh::endpoint::Path::is_selected)
            .or_else(|| paths.iter().next())?;
        let (kind, remote) = match path.remote_addr() {
            TransportAddr::Ip(addr) => {
                let addr = self.passages.behind(*addr).unwrap_or(*addr);
                (address::kind(addr.ip()), Some(addr))
            }
            TransportAddr::Relay(_) => (PathKind::Relay, None),
            TransportAddr::Custom(addr) if bluetooth::is_ours(addr) => (PathKind::Bluetooth, None),
            _ => return None,
        };
        Some(Path {
            kind,
            remote,
            rtt: path.rtt(),
        })
    }

    /// Tells when [`Self::path`] may have changed.
    #[must_use]
    pub fn path_changes(&self) -> PathChanges {
        PathChanges(Some(Box::pin(self.inner.path_events())))
    }

    /// Bytes on the wire so far.
    #[must_use]
    pub fn udp_traffic(&self) -> UdpTraffic {
        let stats = self.inner.stats();
        UdpTraffic {
            sent: stats.udp_tx.bytes,
            received: stats.udp_rx.bytes,
        }
    }

    /// Closes the connection at once; what was not delivered is lost. `reason` is for a log on
    /// the other side, at most a few words.
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.inner.close(code.varint(), reason.as_bytes());
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) -> CloseReason {
        self.inner.closed().await.into()
    }

    /// How the connection ended, if it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.inner.close_reason().map(Into::into)
    }
}

/// Follows a connection's paths; see [`Connection::path_changes`].
pub struct PathChanges(Option<Pin<Box<PathEventStream>>>);

impl PathChanges {
    /// Returns when a path was opened, closed or chosen; never once the connection has ended, which
    /// others tell. Cancel safe.
    pub async fn changed(&mut self) {
        if let Some(events) = &mut self.0
            && events.next().await.is_some()
        {
            return;
        }
        self.0 = None;
        std::future::pending().await
    }
}

impl fmt::Debug for PathChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PathChanges(..)")
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("protocol", &self.protocol)
            .field("remote", &self.remote())
            .field("dialed", &self.dialed())
            .finish_non_exhaustive()
    }
}
