//! Pair topics.

use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{QuicTransportConfig, VarInt};
use links::{
    CloseCode, DialHint, GOSSIP_PAYLOAD_BYTES_MAX, PairError, PairEvent, PairTopic, Protocol,
};
use rustls::crypto::aws_lc_rs::kx_group;

use crate::support::{Node, Stranger, close_code, config, pair, until, within};

const TOPIC: [u8; 32] = [7; 32];

async fn topic(node: &Node, peer: &Node, dials: bool) -> PairTopic {
    let hint = dials.then(|| DialHint {
        addrs: peer.links.addrs(),
        relay: None,
    });
    node.links.pair_topic(TOPIC, peer.id(), hint).await.unwrap()
}

async fn expect(topic: &mut PairTopic, event: PairEvent) {
    assert_eq!(within("an event", topic.recv()).await, Some(event));
}

#[tokio::test]
async fn hints_go_both_ways_whoever_joins_first() {
    for dialer_first in [true, false] {
        let (a, b) = pair().await;
        let (mut at_a, mut at_b) = if dialer_first {
            let at_a = topic(&a, &b, true).await;
            // Its connection is there before b has a topic.
            until("the dial", || {
                b.links.open_with(a.id()) == [Protocol::Gossip]
            })
            .await;
            (at_a, topic(&b, &a, false).await)
        } else {
            let at_b = topic(&b, &a, false).await;
            (topic(&a, &b, true).await, at_b)
        };
        expect(&mut at_a, PairEvent::Up).await;
        expect(&mut at_b, PairEvent::Up).await;
        assert!(at_a.is_up() && at_b.is_up());
        for n in 0..100_u8 {
            // Equal hints are not taken for repeats.
            let hint = Bytes::from(vec![n / 2; 1 + usize::from(n)]);
            at_a.send(hint.clone()).await.unwrap();
            expect(&mut at_b, PairEvent::Message(hint.clone())).await;
            at_b.send(hint.clone()).await.unwrap();
            expect(&mut at_a, PairEvent::Message(hint)).await;
        }
        let longest = Bytes::from(vec![1; GOSSIP_PAYLOAD_BYTES_MAX]);
        at_b.send(longest.clone()).await.unwrap();
        expect(&mut at_a, PairEvent::Message(longest)).await;
        for len in [0, GOSSIP_PAYLOAD_BYTES_MAX + 1] {
            assert_eq!(
                at_a.send(Bytes::from(vec![1; len])).await,
                Err(PairError::Length { found: len })
            );
        }
        assert_eq!(a.admission.refused().total(), 0, "gossip never dials");
        assert_eq!(b.admission.refused().total(), 0);
    }
}

#[tokio::test]
async fn a_peer_that_leaves_is_down_and_comes_up_again() {
    let (a, b) = pair().await;
    let mut at_a = topic(&a, &b, true).await;
    assert_eq!(
        at_a.send(Bytes::from_static(b"early")).await,
        Err(PairError::Down)
    );
    for round in 0..3_u8 {
        let mut at_b = topic(&b, &a, false).await;
        expect(&mut at_a, PairEvent::Up).await;
        expect(&mut at_b, PairEvent::Up).await;
        let hint = Bytes::from(vec![round]);
        at_a.send(hint.clone()).await.unwrap();
        expect(&mut at_b, PairEvent::Message(hint)).await;
        drop(at_b);
        expect(&mut at_a, PairEvent::Down).await;
    }
}

#[tokio::test]
async fn a_node_that_starts_anew_is_found_again() {
    let (a, b) = pair().await;
    let mut at_a = topic(&a, &b, true).await;
    let mut at_b = topic(&b, &a, false).await;
    expect(&mut at_a, PairEvent::Up).await;
    expect(&mut at_b, PairEvent::Up).await;
    let mut again = config(2);
    again.bind = b.links.bound();
    b.links.shutdown().await;
    assert_eq!(within("down", at_b.recv()).await, Some(PairEvent::Down));
    assert_eq!(within("the end", at_b.recv()).await, None);
    assert_eq!(
        at_b.send(Bytes::from_static(b"late")).await,
        Err(PairError::Closed)
    );
    drop((at_b, b));
    expect(&mut at_a, PairEvent::Down).await;

    let b = Node::on_the_same_ports(again).await;
    b.admission.permit(a.id());
    let mut at_b = topic(&b, &a, false).await;
    expect(&mut at_a, PairEvent::Up).await;
    expect(&mut at_b, PairEvent::Up).await;
    at_b.send(Bytes::from_static(b"back")).await.unwrap();
    expect(&mut at_a, PairEvent::Message(Bytes::from_static(b"back"))).await;
}

#[tokio::test]
async fn a_second_topic_with_a_peer_takes_over() {
    let (a, b) = pair().await;
    let mut at_b = topic(&b, &a, false).await;
    let mut old = topic(&a, &b, true).await;
    expect(&mut old, PairEvent::Up).await;
    expect(&mut at_b, PairEvent::Up).await;
    let mut new = topic(&a, &b, true).await;
    expect(&mut old, PairEvent::Down).await;
    assert_eq!(within("the old one's end", old.recv()).await, None);
    expect(&mut new, PairEvent::Up).await;
    until("up at b", || at_b.is_up()).await;
    // Whether b is up by the new topic already can't be seen from outside, and a hint that comes too
    // early is lost: so it is said until it is heard.
    let said = async {
        loop {
            new.send(Bytes::from_static(b"new")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let heard = async {
        loop {
            if let PairEvent::Message(hint) = at_b.recv().await.unwrap() {
                return hint;
            }
        }
    };
    let hint = within("the hint", async {
        tokio::select! {
            hint = heard => hint,
            () = said => unreachable!("it goes on"),
        }
    });
    assert_eq!(hint.await.as_ref(), b"new");
}

#[tokio::test]
async fn a_slow_holder_is_told_what_it_lost() {
    let (a, b) = pair().await;
    let mut at_a = topic(&a, &b, true).await;
    let mut at_b = topic(&b, &a, false).await;
    expect(&mut at_a, PairEvent::Up).await;
    expect(&mut at_b, PairEvent::Up).await;
    const SENT: usize = 100;
    for _ in 0..SENT {
        let hint = Bytes::from(vec![3; GOSSIP_PAYLOAD_BYTES_MAX]);
        at_a.send(hint).await.unwrap();
    }
    let (mut hints, mut lagged) = (0, false);
    while hints < SENT && !lagged {
        match within("the rest", at_b.recv()).await.unwrap() {
            PairEvent::Message(_) => hints += 1,
            PairEvent::Lagged => lagged = true,
            other => panic!("expected hints, or that some were lost, found {other:?}"),
        }
    }
    eprintln!("{hints} of {SENT} hints, lagged: {lagged}");
    assert!(hints > 0);
}

/// Little room for what the other side sends.
fn narrow() -> QuicTransportConfig {
    QuicTransportConfig::builder()
        .stream_receive_window(VarInt::from_u32(2_000))
        .build()
}

/// A gossip stream as iroh-gossip writes it: frames of a length and postcard; first the topic,
/// then messages, of which `[0, 0, 0]` is a join without addresses.
async fn by_hand(
    conn: &iroh::endpoint::Connection,
    frames: &[&[u8]],
) -> iroh::endpoint::SendStream {
    let mut stream = conn.open_uni().await.unwrap();
    for frame in frames {
        let len = u32::try_from(frame.len()).unwrap().to_be_bytes();
        stream.write_all(&len).await.unwrap();
        stream.write_all(frame).await.unwrap();
    }
    stream
}

#[tokio::test]
async fn a_peer_cannot_make_us_dial_whom_it_names() {
    let a = Node::start(1).await;
    let peer = Stranger::start(9).await;
    let victim = Stranger::start(10).await;
    a.admission.permit(peer.id());
    a.admission.permit(victim.id());
    let mut topic = a.links.pair_topic(TOPIC, peer.id(), None).await.unwrap();
    let conn = peer.dial(a.addr(), Protocol::Gossip).await;
    // A forwarded join of the victim, without addresses and at the end of its walk.
    let named = victim.id();
    let forward_join = [&[0, 1][..], named.as_bytes(), &[0, 0]].concat();
    let _stream = by_hand(&conn, &[&TOPIC, &[0, 0, 0], &forward_join]).await;
    assert_eq!(within("up", topic.recv()).await, Some(PairEvent::Up));
    until("the refused dial", || a.admission.refused().unasked > 0).await;
    assert!(a.links.open_with(victim.id()).is_empty());
}

#[tokio::test]
async fn a_flood_of_inventions_ends_the_topic() {
    let a = Node::start(1).await;
    let peer = Stranger::start(9).await;
    a.admission.permit(peer.id());
    let message_for_many = {
        // Plumtree's gossip with its id, the content, and the scope `Swarm` at round 0.
        let id = blake3::hash(b"x");
        [&[1, 0][..], id.as_bytes(), &[1], b"x", &[0, 0]].concat()
    };
    let shuffle_replies = vec![vec![0, 3, 0]; 200];
    for messages in [vec![message_for_many], shuffle_replies] {
        let mut topic = a.links.pair_topic(TOPIC, peer.id(), None).await.unwrap();
        let conn = peer.dial(a.addr(), Protocol::Gossip).await;
        let mut frames: Vec<&[u8]> = vec![&TOPIC, &[0, 0, 0]];
        frames.extend(messages.iter().map(Vec::as_slice));
        let _stream = by_hand(&conn, &frames).await;
        within("the end", async {
            while let Some(event) = topic.recv().await {
                assert!(!matches!(event, PairEvent::Message(_)));
            }
        })
        .await;
        assert_eq!(
            crate::support::close_code(&conn).await,
            u64::from(links::CloseCode::Misbehaved.code())
        );
    }
    assert_eq!(a.admission.refused().abused_gossip, 2);
}

#[tokio::test]
async fn garbage_on_a_gossip_stream_harms_only_its_connection() {
    let (a, b) = pair().await;
    let mut at_a = topic(&a, &b, true).await;
    let mut at_b = topic(&b, &a, false).await;
    expect(&mut at_a, PairEvent::Up).await;
    expect(&mut at_b, PairEvent::Up).await;
    let peer = Stranger::start(9).await;
    a.admission.permit(peer.id());
    let _topic = a.links.pair_topic([8; 32], peer.id(), None).await.unwrap();
    for garbage in [&[0xff; 64][..], b"", &[0, 9, 9, 9, 9, 9]] {
        let conn = peer.dial(a.addr(), Protocol::Gossip).await;
        let _whole = by_hand(&conn, &[&[8; 32], garbage]).await;
        let _header = by_hand(&conn, &[garbage]).await;
        let mut stream = conn.open_uni().await.unwrap();
        stream.write_all(&[0xff; 9]).await.unwrap();
        stream.finish().unwrap();
    }
    at_a.send(Bytes::from_static(b"still here")).await.unwrap();
    expect(
        &mut at_b,
        PairEvent::Message(Bytes::from_static(b"still here")),
    )
    .await;
}

/// Gossip reads whatever comes: hints without end took more of the node than anything else that a
/// contact can send. Our own side sends no more than it may.
#[tokio::test]
async fn hints_without_end_end_the_pair_and_nothing_else() {
    let (a, b) = pair().await;
    let mut at_a = topic(&a, &b, true).await;
    let mut at_b = topic(&b, &a, false).await;
    expect(&mut at_a, PairEvent::Up).await;
    expect(&mut at_b, PairEvent::Up).await;
    let sent = within("the bound", async {
        let mut sent = 0;
        while at_a.send(Bytes::from_static(b"often")).await.is_ok() {
            sent += 1;
        }
        sent
    });
    assert!(sent.await >= 200);
    assert!(at_b.is_up(), "an honest side stays below the bound");

    let flooding = Stranger::start(9).await;
    a.admission.permit(flooding.id());
    let mut flooded = a
        .links
        .pair_topic([8; 32], flooding.id(), None)
        .await
        .unwrap();
    let conn = flooding.dial(a.addr(), Protocol::Gossip).await;
    let mut stream = by_hand(&conn, &[&[8; 32], &[0, 0, 0]]).await;
    let mut hint = vec![1, 0];
    hint.extend_from_slice(blake3::hash(b"hint").as_bytes());
    hint.extend_from_slice(b"\x04hint\x01");
    let frame = [&[0, 0, 0, hint.len() as u8][..], &hint].concat();
    within("the flood's end", async {
        while stream.write_all(&frame).await.is_ok() {}
    })
    .await;
    assert_eq!(
        close_code(&conn).await,
        u64::from(CloseCode::Misbehaved.code())
    );
    within("the topic's end", async {
        while flooded.recv().await.is_some() {}
    })
    .await;
    assert!(at_a.is_up() && at_b.is_up());
}

/// A silent contact once could have stopped the hints of all: iroh-gossip's actor waits for the
/// connection whose queue is full. Here it stops only its own pair.
#[tokio::test]
async fn a_peer_that_never_reads_delays_nobody_else() {
    let (a, b) = pair().await;
    let mut at_a = topic(&a, &b, true).await;
    let mut at_b = topic(&b, &a, false).await;
    expect(&mut at_a, PairEvent::Up).await;
    expect(&mut at_b, PairEvent::Up).await;

    let silent = Stranger::with(9, vec![kx_group::X25519MLKEM768], narrow()).await;
    a.admission.permit(silent.id());
    let mut stuck = a
        .links
        .pair_topic([8; 32], silent.id(), None)
        .await
        .unwrap();
    let conn = silent.dial(a.addr(), Protocol::Gossip).await;
    let _stream = by_hand(&conn, &[&[8; 32], &[0, 0, 0]]).await;
    assert_eq!(within("up", stuck.recv()).await, Some(PairEvent::Up));

    let hint = Bytes::from(vec![3; GOSSIP_PAYLOAD_BYTES_MAX]);
    let stalled = within("a stall", async {
        loop {
            if let Err(error) = stuck.send(hint.clone()).await {
                return error;
            }
        }
    })
    .await;
    assert_eq!(stalled, PairError::Stalled);
    at_a.send(Bytes::from_static(b"on")).await.unwrap();
    expect(&mut at_b, PairEvent::Message(Bytes::from_static(b"on"))).await;
    at_b.send(Bytes::from_static(b"and on")).await.unwrap();
    expect(&mut at_a, PairEvent::Message(Bytes::from_static(b"and on"))).await;
    drop(stuck);
    within("its connection's end", conn.closed()).await;
}
