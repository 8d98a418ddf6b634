//! Who gets in, on every protocol and in both directions.

use std::time::{Duration, Instant};

use iroh::endpoint::{QuicTransportConfig, VarInt};
use links::{Arrival, CloseCode, CloseReason, DialError, DialHint, PairEvent, Protocol, Refusal};
use rustls::crypto::aws_lc_rs::kx_group;

use crate::support::{Node, Stranger, addr_of, close_code, connect, pair, secret, until, within};

const TOPIC: [u8; 32] = [7; 32];

#[tokio::test]
async fn a_stranger_gets_a_close_and_no_application_byte() {
    let mut node = Node::start(1).await;
    let stranger = Stranger::start(9).await;
    for protocol in Protocol::ALL {
        let conn = stranger.dial(node.addr(), protocol).await;
        // It talks at once, as a stranger would who hopes to be read before the answer.
        if let Ok(mut stream) = conn.open_uni().await {
            let _ = stream.write_all(b"let me in").await;
        }
        assert_eq!(
            close_code(&conn).await,
            u64::from(CloseCode::Refused.code()),
            "{protocol:?}"
        );
        assert_eq!(conn.stats().frame_rx.stream, 0, "{protocol:?}");
    }
    assert!(node.arrivals.try_recv().is_err(), "nothing came through");
    let counts = node.admission.refused();
    assert_eq!((counts.not_permitted, counts.meet_closed), (2, 1));
    assert_eq!(counts.total(), 3);

    // An ALPN that nobody speaks fails in TLS. Its alert can get lost, since this handshake
    // begins with two packets, so the stranger gives up by itself.
    let soon = QuicTransportConfig::builder()
        .max_idle_timeout(Some(VarInt::from_u32(300).into()))
        .build();
    let stranger = Stranger::with(10, vec![kx_group::X25519MLKEM768], soon).await;
    let other = stranger.endpoint.connect(node.addr(), b"waymeet/sync/0");
    assert!(within("a refusal", other).await.is_err());
    assert!(node.arrivals.try_recv().is_err());
}

#[tokio::test]
async fn dials_need_a_permit_too() {
    let a = Node::start(1).await;
    let mut stranger = Stranger::start(9).await;
    let addrs = stranger.endpoint.bound_sockets();
    for protocol in [Protocol::Sync, Protocol::Gossip] {
        let refused = a.links.dial(stranger.id(), &addrs, None, protocol).await;
        assert_eq!(
            refused.unwrap_err(),
            DialError::NotAllowed(Refusal::NotPermitted)
        );
    }
    // A meet is dialled before anybody is permitted.
    let (dialled, accepted) = tokio::join!(
        a.links.dial(stranger.id(), &addrs, None, Protocol::Meet),
        async {
            let incoming = stranger.endpoint.accept().await.unwrap();
            incoming.await
        }
    );
    dialled.unwrap();
    accepted.unwrap();
    stranger.endpoint.close().await;
    stranger = Stranger::start(8).await;
    drop(stranger);
}

#[tokio::test]
async fn meets_come_in_only_while_an_invite_is_open() {
    let mut node = Node::start(1).await;
    let stranger = Stranger::start(9).await;
    let refused = u64::from(CloseCode::Refused.code());

    let early = stranger.dial(node.addr(), Protocol::Meet).await;
    assert_eq!(close_code(&early).await, refused);

    node.admission.set_meet_open(true);
    let open = stranger.dial(node.addr(), Protocol::Meet).await;
    let conn = node.arrival().await;
    assert_eq!(
        (conn.remote(), conn.protocol()),
        (stranger.id(), Protocol::Meet)
    );
    let sync = stranger.dial(node.addr(), Protocol::Sync).await;
    assert_eq!(close_code(&sync).await, refused, "only for meets");

    node.admission.set_meet_open(false);
    let late = stranger.dial(node.addr(), Protocol::Meet).await;
    assert_eq!(close_code(&late).await, refused);
    assert!(open.close_reason().is_none(), "one that is open goes on");
    assert_eq!(node.admission.refused().meet_closed, 2);
}

#[tokio::test]
async fn a_stranger_can_try_only_so_often() {
    use links::admission::MEET_ATTEMPTS_PER_REMOTE;
    let mut node = Node::start(1).await;
    node.admission.set_meet_open(true);
    let stranger = Stranger::start(9).await;
    for _ in 0..MEET_ATTEMPTS_PER_REMOTE {
        let conn = stranger.dial(node.addr(), Protocol::Meet).await;
        node.arrival().await;
        conn.close(0_u32.into(), b"");
    }
    let conn = stranger.dial(node.addr(), Protocol::Meet).await;
    assert_eq!(close_code(&conn).await, u64::from(CloseCode::Busy.code()));
    assert_eq!(node.admission.refused().meet_too_often, 1);

    let other = Stranger::start(10).await;
    let _conn = other.dial(node.addr(), Protocol::Meet).await;
    assert_eq!(node.arrival().await.remote(), other.id());
}

#[tokio::test]
async fn cutting_ends_every_connection_at_once() {
    let (mut a, mut b) = pair().await;
    a.admission.set_meet_open(true);
    let (sync_a, sync_b) = connect(&a, &mut b).await;
    let meet_b = b.dial(&a, Protocol::Meet).await;
    let meet_a = a.arrival().await;
    let hint = DialHint {
        addrs: b.links.addrs(),
        relay: None,
    };
    let mut topic_a = a.links.pair_topic(TOPIC, b.id(), Some(hint)).await.unwrap();
    let mut topic_b = b.links.pair_topic(TOPIC, a.id(), None).await.unwrap();
    assert_eq!(within("up", topic_a.recv()).await, Some(PairEvent::Up));
    assert_eq!(within("up", topic_b.recv()).await, Some(PairEvent::Up));

    let start = Instant::now();
    a.admission.revoke(b.id());
    a.admission.set_meet_open(false);
    a.links.cut(b.id());
    for conn in [&sync_a, &meet_a] {
        assert_eq!(within("our end", conn.closed()).await, CloseReason::Local);
    }
    for conn in [&sync_b, &meet_b] {
        assert_eq!(
            within("their end", conn.closed()).await,
            CloseReason::Remote(CloseCode::Refused)
        );
    }
    assert_eq!(within("down", topic_a.recv()).await, Some(PairEvent::Down));
    assert_eq!(within("down", topic_b.recv()).await, Some(PairEvent::Down));
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );

    // And nothing comes back, from either side.
    for protocol in Protocol::ALL {
        let conn = b.dial(&a, protocol).await;
        assert_eq!(
            within("a refusal", conn.closed()).await,
            CloseReason::Remote(CloseCode::Refused),
            "{protocol:?}"
        );
    }
    assert!(a.arrivals.try_recv().is_err());
}

#[tokio::test]
async fn a_classical_key_exchange_is_closed_on_both_sides() {
    let mut node = Node::start(1).await;
    let classical = Stranger::with(9, vec![kx_group::X25519], QuicTransportConfig::default()).await;
    node.admission.permit(classical.id());
    node.admission.set_meet_open(true);
    let not_hybrid = u64::from(CloseCode::NotHybrid.code());
    for protocol in Protocol::ALL {
        let conn = classical.dial(node.addr(), protocol).await;
        assert_eq!(close_code(&conn).await, not_hybrid, "{protocol:?}");
    }
    assert!(node.arrivals.try_recv().is_err());
    assert_eq!(node.admission.refused().not_hybrid, 3);

    let addrs = classical.endpoint.bound_sockets();
    for protocol in Protocol::ALL {
        let (dialled, accepted) = tokio::join!(
            within(
                "a dial",
                node.links.dial(classical.id(), &addrs, None, protocol)
            ),
            async {
                let incoming = classical.endpoint.accept().await.unwrap();
                incoming.await
            }
        );
        assert_eq!(
            dialled.unwrap_err(),
            DialError::NotAllowed(Refusal::NotHybrid)
        );
        if let Ok(conn) = accepted {
            assert_eq!(close_code(&conn).await, not_hybrid);
        }
    }
}

#[tokio::test]
async fn a_temporary_endpoint_takes_meets_until_it_is_dropped() {
    let mut node = Node::start(1).await;
    let stranger = Stranger::start(9).await;
    node.admission.permit(stranger.id());
    let temporary = node.links.open_temporary(secret(50)).await.unwrap();
    assert_eq!(temporary.id(), secret(50).id());
    assert_ne!(temporary.id(), node.id());
    let addrs = temporary.addrs();
    let addr = addr_of(temporary.id(), &addrs);

    let conn = stranger.dial(addr.clone(), Protocol::Meet).await;
    let arrived = node.arrival().await;
    assert_eq!(arrived.remote(), stranger.id());
    assert_eq!(arrived.local(), temporary.id(), "it says where it came");
    assert_eq!(arrived.protocol(), Protocol::Meet);

    for protocol in [Protocol::Sync, Protocol::Gossip] {
        let other = stranger.dial(addr.clone(), protocol).await;
        assert_eq!(
            close_code(&other).await,
            u64::from(CloseCode::Refused.code()),
            "{protocol:?}, also from a contact"
        );
    }
    let closed = stranger.dial(node.addr(), Protocol::Meet).await;
    assert_eq!(
        close_code(&closed).await,
        u64::from(CloseCode::Refused.code()),
        "the main endpoint stays closed for meets"
    );

    within("its close", temporary.close()).await;
    within("the meet's end", conn.closed()).await;
    until("the meet's end here", || arrived.close_reason().is_some()).await;
    within(
        "the main endpoint",
        stranger.dial(node.addr(), Protocol::Sync),
    )
    .await;
}

/// Of the two nodes only the temporary endpoints show, and only for meets; the own ones stay shut.
#[tokio::test]
async fn a_nearby_endpoint_leaves_the_own_one_closed() {
    let (a, b) = (Node::start(1).await, Node::start(2).await);
    let stranger = Stranger::start(9).await;
    let (at_a, mut came_a) = a.links.open_nearby(secret(50)).await.unwrap();
    let (at_b, mut came_b) = b.links.open_nearby(secret(51)).await.unwrap();
    let conn = within("a dial", at_a.dial(at_b.id(), at_b.bound())).await;
    let conn = conn.unwrap();
    let Some(Arrival::Meet(arrived)) = within("an arrival", came_b.recv()).await else {
        panic!("a meet")
    };
    assert_eq!((arrived.remote(), arrived.local()), (at_a.id(), at_b.id()));
    assert!(arrived.is_hybrid() && conn.local() == at_a.id());
    let refused = u64::from(CloseCode::Refused.code());
    let addr = addr_of(at_a.id(), &at_a.bound());
    // Not even a contact uses it for anything else.
    a.admission.permit(stranger.id());
    for protocol in [Protocol::Sync, Protocol::Gossip] {
        let other = stranger.dial(addr.clone(), protocol).await;
        assert_eq!(close_code(&other).await, refused, "{protocol:?}");
    }
    let main = stranger.dial(a.addr(), Protocol::Meet).await;
    assert_eq!(close_code(&main).await, refused, "the own endpoint");
    // An invite's endpoint doesn't dial.
    let invite = b.links.open_temporary(secret(52)).await.unwrap();
    let dialled = invite.dial(at_a.id(), at_a.bound()).await;
    assert_eq!(
        dialled.unwrap_err(),
        DialError::NotAllowed(Refusal::NotPermitted)
    );
    within("its close", at_b.close()).await;
    within("the meet's end", conn.closed()).await;
    assert!(within("the channel's end", came_b.recv()).await.is_none());
    drop(at_a);
    assert!(within("the channel's end", came_a.recv()).await.is_none());
}

#[tokio::test]
async fn impossible_dials_say_why() {
    let a = Node::start(1).await;
    let other = secret(3).id();
    a.admission.permit(other);
    a.admission.permit(a.id());
    let dial = |to, addrs: Vec<std::net::SocketAddr>| {
        let links = a.links.clone();
        async move {
            within("a dial", links.dial(to, &addrs, None, Protocol::Sync))
                .await
                .unwrap_err()
        }
    };
    // 192.0.2.0/24 is for documentation: with the internet link off it is not even tried.
    let public = vec!["192.0.2.1:7".parse().unwrap()];
    assert_eq!(dial(other, public).await, DialError::NoAddress { given: 1 });
    assert_eq!(dial(other, vec![]).await, DialError::NoAddress { given: 0 });
    assert_eq!(dial(a.id(), a.links.addrs()).await, DialError::Oneself);
    let no_key = proto::EndpointId([2; 32]);
    a.admission.permit(no_key);
    if iroh::EndpointId::from_bytes(no_key.as_bytes()).is_err() {
        assert_eq!(dial(no_key, a.links.addrs()).await, DialError::NotAnId);
    }
    // Somebody else lives at that address.
    let b = Node::start(2).await;
    let wrong = dial(other, b.links.addrs()).await;
    assert!(
        matches!(wrong, DialError::Failed(_) | DialError::TimedOut),
        "{wrong:?}"
    );
    a.links.shutdown().await;
    assert_eq!(dial(other, b.links.addrs()).await, DialError::Closed);
}
