//! Connections: how many, how long, encrypted or not, and how they end.
//!
//! Each request learns here by which listener it came, see [`crate::visit`].

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tower::Service;

use crate::{
    App, attempts, guard,
    limits::{
        ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN_TIME_MAX, HEAD_BYTES_MAX, HEAD_TIME_MAX, HEADERS_MAX,
        LAN_CONNECTIONS_MAX, LAN_CONNECTIONS_PER_SOURCE_MAX,
    },
    tls::Tls,
    visit::{Door, Visit},
};

/// The first byte of a TLS connection: a handshake record (RFC 8446 section 5.1). No request begins so.
const TLS_HANDSHAKE: u8 = 22;

/// Where connections come from.
pub(crate) enum Listener {
    /// This machine.
    Loopback(TcpListener),
    /// The network.
    Lan {
        listener: TcpListener,
        at: SocketAddr,
        tls: Option<Tls>,
    },
}

impl Listener {
    const fn socket(&self) -> &TcpListener {
        match self {
            Self::Loopback(listener) | Self::Lan { listener, .. } => listener,
        }
    }
}

/// How many connections each address has, or the network of an IPv6 one.
type Counts = Arc<Mutex<BTreeMap<IpAddr, usize>>>;

/// Places for connections from the network, over all listeners there.
pub(crate) struct Places {
    all: Arc<Semaphore>,
    by_source: Counts,
}

/// A place that is taken, and given back when dropped.
pub(crate) struct Place {
    _one: OwnedSemaphorePermit,
    source: Option<(IpAddr, Counts)>,
}

impl Places {
    pub(crate) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(LAN_CONNECTIONS_MAX)),
            by_source: Arc::default(),
        }
    }

    /// A place for a connection from there, unless it has enough.
    fn take(&self, from: IpAddr) -> Option<Place> {
        let from = attempts::source(from);
        let one = self.all.clone().try_acquire_owned().ok()?;
        let mut counts = self
            .by_source
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(from).or_default();
        if *count >= LAN_CONNECTIONS_PER_SOURCE_MAX {
            return None;
        }
        *count += 1;
        Some(Place {
            _one: one,
            source: Some((from, self.by_source.clone())),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((from, counts)) = self.source.take() {
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = counts.get_mut(&from) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&from);
                }
            }
        }
    }
}

/// Serves until `shutdown` is done; then no new connections. On loopback streams end and requests may
/// finish for [`DRAIN_TIME_MAX`]; on the network everything is cut.
pub(crate) async fn serve(
    app: &Arc<App>,
    listener: Listener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let router = guard::router(app);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(app, &listener, &places) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok(Some((stream, from, place))) => {
                let connection = Connection {
                    router: router.clone(),
                    stopped: app.stopped.subscribe(),
                    _place: place,
                };
                match &listener {
                    Listener::Loopback(_) => connections.spawn(connection.serve_here(stream, from)),
                    Listener::Lan { at, tls, .. } => {
                        connections.spawn(connection.serve_lan(stream, from, *at, tls.clone()))
                    }
                };
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "a connection wasn't accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    if matches!(listener, Listener::Lan { .. }) {
        // Dropping the tasks cuts their connections: whoever comes again comes by what holds then.
        return Ok(());
    }
    drop(listener);
    app.stopped.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIME_MAX, drained).await.is_err() {
        tracing::debug!(
            open = connections.len(),
            "cutting connections that didn't end"
        );
    }
    Ok(())
}

/// On loopback waits for a place first: over the cap, connections wait in the system's queue. From the
/// network one too many is closed, so that it doesn't stand before others.
async fn accept(
    app: &App,
    listener: &Listener,
    places: &Arc<Semaphore>,
) -> io::Result<Option<(TcpStream, IpAddr, Place)>> {
    match listener {
        Listener::Loopback(listener) => {
            let one = places.clone().acquire_owned().await;
            let one = one.map_err(io::Error::other)?;
            let (stream, from) = listener.accept().await?;
            let place = Place {
                _one: one,
                source: None,
            };
            Ok(Some((stream, from.ip(), place)))
        }
        Listener::Lan { .. } => {
            let (stream, from) = listener.socket().accept().await?;
            let from = from.ip().to_canonical();
            let place = app.lan_places.take(from);
            Ok(place.map(|place| (stream, from, place)))
        }
    }
}

struct Connection {
    router: Router,
    stopped: watch::Receiver<bool>,
    _place: Place,
}

impl Connection {
    async fn serve_here(self, stream: TcpStream, from: IpAddr) {
        // Events are small and shall not wait for more.
        let _ = stream.set_nodelay(true);
        let door = Door::Loopback;
        self.serve(stream, Visit { door, from }).await;
    }

    async fn serve_lan(self, stream: TcpStream, from: IpAddr, at: SocketAddr, tls: Option<Tls>) {
        let _ = stream.set_nodelay(true);
        let by = |door| Visit { door, from };
        let Some(tls) = tls else {
            return self.serve(stream, by(Door::Lan { at, tls: false })).await;
        };
        let begun = tokio::time::timeout(HEAD_TIME_MAX, async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            if first == [TLS_HANDSHAKE] {
                let encrypted = tls.acceptor.accept(stream).await?;
                return Ok(Ok(encrypted));
            }
            Ok(Err(stream))
        });
        match begun.await {
            Ok(Ok(Ok(encrypted))) => {
                self.serve(encrypted, by(Door::Lan { at, tls: true })).await;
            }
            // Somebody typed the address without its scheme.
            Ok(Ok(Err(stream))) => self.serve(stream, by(Door::Unencrypted { at })).await,
            Ok(Err(error)) => tracing::trace!(%error, "a connection wasn't encrypted"),
            Err(_) => tracing::trace!("a connection said nothing"),
        }
    }

    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin, visit: Visit) {
        let router = self.router;
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(visit);
            router.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let stopped = &mut self.stopped;
        let node_stops = async { stopped.wait_for(|stopped| *stopped).await.is_ok() };
        let result = tokio::select! {
            result = &mut connection => result,
            _ = node_stops => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::trace!(%error, "a connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_many_addresses_has_the_places_of_one() {
        let places = Places::new();
        let taken: Vec<Place> = (0..LAN_CONNECTIONS_PER_SOURCE_MAX + 1)
            .filter_map(|n| places.take(format!("fd01::{n:x}").parse().unwrap()))
            .collect();
        assert_eq!(taken.len(), LAN_CONNECTIONS_PER_SOURCE_MAX);
        assert!(places.take("fd02::1".parse().unwrap()).is_some());
        drop(taken);
        assert!(places.take("fd01::1".parse().unwrap()).is_some());
    }
}
