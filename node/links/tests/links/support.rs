//! Nodes, strangers and a deadline.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use iroh::{
    Endpoint, EndpointAddr, TransportAddr,
    endpoint::{QuicTransportConfig, presets::Empty},
};
use links::{
    Admission, Arrival, Config, Connection, EndpointSecret, Internet, Links, MeetingReceiver,
    MeetingSender, MeetingStreams, Protocol,
};
use proto::EndpointId;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use tokio::{sync::mpsc, time::timeout};

/// Longer than anything here takes; a test that meets it has failed.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("still waiting: {what}"),
    }
}

/// Asks again until it holds; yields in between.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(crate) struct Node {
    pub(crate) links: Links,
    pub(crate) admission: Admission,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
}

pub(crate) fn secret(seed: u8) -> EndpointSecret {
    EndpointSecret::from_bytes([seed; 32])
}

pub(crate) fn config(seed: u8) -> Config {
    Config {
        secret: secret(seed),
        bind: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        reach: Internet::Off.into(),
        relays: Vec::new(),
        relay_ca: Vec::new(),
        bluetooth: None,
    }
}

impl Node {
    pub(crate) async fn start(seed: u8) -> Self {
        Self::with(config(seed)).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let admission = Admission::new();
        let (links, arrivals) = Links::bind(config, admission.clone()).await.unwrap();
        Self {
            links,
            admission,
            arrivals,
        }
    }

    /// Starts on exactly the ports of `config`, which a node that was just dropped may still be
    /// giving back.
    pub(crate) async fn on_the_same_ports(config: Config) -> Self {
        within("the ports", async {
            loop {
                let node = Self::with(config.clone()).await;
                if node.links.bound() == config.bind {
                    return node;
                }
                node.links.shutdown().await;
            }
        })
        .await
    }

    pub(crate) fn id(&self) -> EndpointId {
        self.links.id()
    }

    pub(crate) async fn dial(&self, to: &Self, protocol: Protocol) -> Connection {
        let addrs = to.links.addrs();
        within("a dial", self.links.dial(to.id(), &addrs, None, protocol))
            .await
            .unwrap()
    }

    pub(crate) async fn arrival(&mut self) -> Connection {
        match within("an arrival", self.arrivals.recv()).await.unwrap() {
            Arrival::Meet(conn) => {
                assert_eq!(conn.protocol(), Protocol::Meet);
                conn
            }
            Arrival::Sync(conn) => {
                assert_eq!(conn.protocol(), Protocol::Sync);
                conn
            }
        }
    }

    pub(crate) fn addr(&self) -> EndpointAddr {
        addr_of(self.id(), &self.links.bound())
    }
}

pub(crate) fn addr_of(id: EndpointId, addrs: &[SocketAddr]) -> EndpointAddr {
    EndpointAddr::from_parts(
        iroh::EndpointId::from_bytes(id.as_bytes()).unwrap(),
        addrs.iter().map(|addr| TransportAddr::Ip(*addr)),
    )
}

/// Two nodes that permit each other.
pub(crate) async fn pair() -> (Node, Node) {
    let (a, b) = (Node::start(1).await, Node::start(2).await);
    a.admission.permit(b.id());
    b.admission.permit(a.id());
    (a, b)
}

/// A sync connection between two nodes, dialled by the first.
pub(crate) async fn connect(a: &Node, b: &mut Node) -> (Connection, Connection) {
    let dialled = a.dial(b, Protocol::Sync).await;
    let accepted = b.arrival().await;
    (dialled, accepted)
}

pub(crate) type Halves = (MeetingSender, MeetingReceiver);

/// A meeting between two nodes, dialled by the first.
pub(crate) async fn meeting(a: &Node, b: &mut Node) -> (Halves, Halves) {
    let (dialled, accepted) = connect(a, b).await;
    let (ours, theirs) = tokio::join!(
        MeetingStreams::open(dialled),
        MeetingStreams::open(accepted)
    );
    (ours.unwrap(), theirs.unwrap())
}

/// An endpoint that follows none of our rules.
pub(crate) struct Stranger {
    pub(crate) endpoint: Endpoint,
}

impl Stranger {
    pub(crate) async fn start(seed: u8) -> Self {
        let groups = vec![aws_lc_rs::kx_group::X25519MLKEM768];
        Self::with(seed, groups, QuicTransportConfig::default()).await
    }

    pub(crate) async fn with(
        seed: u8,
        kx_groups: Vec<&'static dyn SupportedKxGroup>,
        transport: QuicTransportConfig,
    ) -> Self {
        let provider = CryptoProvider {
            kx_groups,
            ..aws_lc_rs::default_provider()
        };
        let endpoint = Endpoint::builder(Empty)
            .secret_key(iroh_base::SecretKey::from_bytes(&[seed; 32]))
            .crypto_provider(Arc::new(provider))
            .alpns(Protocol::ALL.iter().map(|p| p.alpn().to_vec()).collect())
            .transport_config(transport)
            .clear_ip_transports()
            .bind_addr(SocketAddr::from(([127, 0, 0, 1], 0)))
            .unwrap()
            .bind()
            .await
            .unwrap();
        Self { endpoint }
    }

    pub(crate) fn id(&self) -> EndpointId {
        EndpointId(*self.endpoint.id().as_bytes())
    }

    pub(crate) async fn dial(
        &self,
        to: EndpointAddr,
        protocol: Protocol,
    ) -> iroh::endpoint::Connection {
        within(
            "a stranger's dial",
            self.endpoint.connect(to, protocol.alpn()),
        )
        .await
        .unwrap()
    }
}

/// The application's close code, as the other side sees it.
pub(crate) async fn close_code(conn: &iroh::endpoint::Connection) -> u64 {
    match within("a close", conn.closed()).await {
        iroh::endpoint::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("expected an application close, found {other}"),
    }
}
