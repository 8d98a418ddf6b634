//! Contacts that break the framing: an error and a close each, never a panic.

use bytes::Bytes;
use iroh::endpoint::Connection as RawConnection;
use links::{
    CloseCode, Lane, MeetStream, MeetingReceiver, MeetingStreams, Misbehaviour, OpenError,
    Protocol, RecvError,
    streams::{
        QUIC_LANES_MAX, STREAMS_VERSION, meet::MEET_FRAME_BYTES_MAX, receiver::CHANNELS_MAX,
    },
};
use proto::limits::FRAME_BYTES_MAX;

use crate::support::{Node, Stranger, close_code, within};

/// A permitted contact whose program is hostile, in a meeting with a node.
struct Hostile {
    _stranger: Stranger,
    _node: Node,
    conn: RawConnection,
    control: iroh::endpoint::SendStream,
    receiver: MeetingReceiver,
    _sender: links::MeetingSender,
}

impl Hostile {
    async fn start() -> Self {
        let mut node = Node::start(1).await;
        let stranger = Stranger::start(9).await;
        node.admission.permit(stranger.id());
        let conn = stranger.dial(node.addr(), Protocol::Sync).await;
        let (mut control, _) = conn.open_bi().await.unwrap();
        control.write_all(&[STREAMS_VERSION]).await.unwrap();
        let (sender, receiver) = MeetingStreams::open(node.arrival().await).await.unwrap();
        Self {
            _stranger: stranger,
            _node: node,
            conn,
            control,
            receiver,
            _sender: sender,
        }
    }

    async fn lane(&self, bytes: &[u8]) -> iroh::endpoint::SendStream {
        let mut stream = self.conn.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// The error that the node ends with, and that the connection ends for it.
    async fn found(mut self) -> RecvError {
        let error = loop {
            if let Err(error) = within("an error", self.receiver.recv()).await {
                break error;
            }
        };
        if let RecvError::Misbehaved(_) = error {
            let code = close_code(&self.conn).await;
            assert_eq!(code, u64::from(CloseCode::Misbehaved.code()));
        }
        error
    }
}

fn header(channel: u32, round: u32) -> Vec<u8> {
    [channel.to_be_bytes(), round.to_be_bytes()].concat()
}

#[tokio::test]
async fn bad_lengths_are_refused_before_anything_is_allocated() {
    for (prefix, expected) in [
        ([0, 0, 0, 0], Misbehaviour::EmptyFrame),
        (
            [0, 0x10, 0, 1],
            Misbehaviour::LongFrame {
                found: FRAME_BYTES_MAX + 1,
                max: FRAME_BYTES_MAX,
            },
        ),
        (
            [0xff; 4],
            Misbehaviour::LongFrame {
                found: u32::MAX as usize,
                max: FRAME_BYTES_MAX,
            },
        ),
        (
            *b"GET ",
            Misbehaviour::LongFrame {
                found: u32::from_be_bytes(*b"GET ") as usize,
                max: FRAME_BYTES_MAX,
            },
        ),
    ] {
        let mut hostile = Hostile::start().await;
        hostile.control.write_all(&prefix).await.unwrap();
        assert_eq!(hostile.found().await, expected.clone().into());

        let hostile = Hostile::start().await;
        let _lane = hostile.lane(&[&header(1, 0)[..], &prefix].concat()).await;
        assert_eq!(hostile.found().await, expected.into());
    }
}

#[tokio::test]
async fn streams_that_end_early_are_told_from_whole_ones() {
    let mut hostile = Hostile::start().await;
    hostile.control.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
    hostile.control.finish().unwrap();
    assert_eq!(hostile.found().await, RecvError::Truncated);

    let hostile = Hostile::start().await;
    let mut lane = hostile.lane(&[&header(1, 0)[..], &[0, 0]].concat()).await;
    lane.finish().unwrap();
    assert_eq!(hostile.found().await, RecvError::Truncated);

    let hostile = Hostile::start().await;
    let mut lane = hostile
        .lane(&[&header(1, 0)[..], &[0, 0, 0, 9]].concat())
        .await;
    lane.reset(1_u32.into()).unwrap();
    assert_eq!(hostile.found().await, RecvError::Truncated);

    let hostile = Hostile::start().await;
    let mut lane = hostile.lane(&header(1, 0)[..7]).await;
    lane.finish().unwrap();
    assert_eq!(hostile.found().await, Misbehaviour::LaneHeader.into());
}

#[tokio::test]
async fn rounds_out_of_order_wait_and_impossible_ones_are_refused() {
    let mut hostile = Hostile::start().await;
    let frame = |byte| [0, 0, 0, 1, byte];
    let mut second = hostile.lane(&[&header(5, 1)[..], &frame(2)].concat()).await;
    second.finish().unwrap();
    let mut first = hostile.lane(&[&header(5, 0)[..], &frame(1)].concat()).await;
    first.finish().unwrap();
    for byte in [1, 2] {
        let expected = (Lane::Space(5), Bytes::copy_from_slice(&[byte]));
        assert_eq!(
            within("a frame", hostile.receiver.recv()).await,
            Ok(expected)
        );
    }
    let _again = hostile.lane(&header(5, 1)).await;
    assert_eq!(
        hostile.found().await,
        Misbehaviour::LaneRound { found: 1, next: 2 }.into()
    );

    let hostile = Hostile::start().await;
    let _far = hostile.lane(&header(5, QUIC_LANES_MAX)).await;
    assert_eq!(
        hostile.found().await,
        Misbehaviour::LaneRound {
            found: QUIC_LANES_MAX,
            next: 0
        }
        .into()
    );

    let hostile = Hostile::start().await;
    let _one = hostile.lane(&header(5, 0)).await;
    let _two = hostile.lane(&header(5, 0)).await;
    assert_eq!(
        hostile.found().await,
        Misbehaviour::LaneRound { found: 0, next: 0 }.into()
    );
}

#[tokio::test]
async fn streams_and_channels_are_bounded() {
    let mut hostile = Hostile::start().await;
    let mut lanes = Vec::new();
    for channel in 0..QUIC_LANES_MAX {
        let bytes = [&header(channel, 0)[..], &[0, 0, 0, 1, 7]].concat();
        lanes.push(hostile.lane(&bytes).await);
    }
    for _ in 0..QUIC_LANES_MAX {
        within("a frame", hostile.receiver.recv()).await.unwrap();
    }
    let conn = hostile.conn.clone();
    let mut one_more = Box::pin(conn.open_uni());
    assert!(
        std::future::poll_fn(|cx| std::task::Poll::Ready(one_more.as_mut().poll(cx).is_pending()))
            .await,
        "QUIC holds the next one back"
    );
    let mut second_bi = Box::pin(conn.open_bi());
    assert!(
        std::future::poll_fn(|cx| std::task::Poll::Ready(second_bi.as_mut().poll(cx).is_pending()))
            .await,
        "and a second control stream"
    );
    for mut ended in lanes.drain(..3) {
        ended.finish().unwrap();
    }
    within("its turn", one_more).await.unwrap();

    let hostile = Hostile::start().await;
    for channel in 0..=u32::try_from(CHANNELS_MAX).unwrap() {
        let Ok(mut stream) = hostile.conn.open_uni().await else {
            break;
        };
        let _ = stream.write_all(&header(channel, 0)).await;
        let _ = stream.finish();
    }
    assert_eq!(hostile.found().await, Misbehaviour::Channels.into());
}

#[tokio::test]
async fn a_wrong_beginning_is_refused() {
    let mut node = Node::start(1).await;
    let stranger = Stranger::start(9).await;
    node.admission.permit(stranger.id());
    node.admission.set_meet_open(true);
    for protocol in [Protocol::Sync, Protocol::Meet] {
        let conn = stranger.dial(node.addr(), protocol).await;
        let (mut send, _recv) = conn.open_bi().await.unwrap();
        send.write_all(b"GET / HTTP/1.1").await.unwrap();
        let accepted = node.arrival().await;
        let error = match protocol {
            Protocol::Sync => MeetingStreams::open(accepted).await.unwrap_err(),
            _ => MeetStream::open(accepted).await.unwrap_err(),
        };
        assert_eq!(error, Misbehaviour::Version { found: b'G' }.into());
        assert_eq!(
            close_code(&conn).await,
            u64::from(CloseCode::Misbehaved.code())
        );
    }
    let _conn = stranger.dial(node.addr(), Protocol::Meet).await;
    let accepted = node.arrival().await;
    assert_eq!(
        MeetingStreams::open(accepted).await.unwrap_err(),
        OpenError::Protocol {
            expected: Protocol::Sync,
            found: Protocol::Meet
        }
    );
}

#[tokio::test]
async fn a_meet_bounds_its_frames() {
    let mut node = Node::start(1).await;
    node.admission.set_meet_open(true);
    let stranger = Stranger::start(9).await;
    let conn = stranger.dial(node.addr(), Protocol::Meet).await;
    let (mut send, _recv) = conn.open_bi().await.unwrap();
    send.write_all(&[STREAMS_VERSION, 0, 1, 0, 1])
        .await
        .unwrap();
    let mut stream = MeetStream::open(node.arrival().await).await.unwrap();
    let expected = Misbehaviour::LongFrame {
        found: MEET_FRAME_BYTES_MAX + 1,
        max: MEET_FRAME_BYTES_MAX,
    };
    assert_eq!(within("it", stream.recv()).await, Err(expected.into()));
    assert_eq!(
        close_code(&conn).await,
        u64::from(CloseCode::Misbehaved.code())
    );
}

#[tokio::test]
async fn garbage_on_any_stream_ends_in_an_error() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        // xorshift64 (Marsaglia 2003), from a fixed seed.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..20 {
        let mut hostile = Hostile::start().await;
        let garbage: Vec<u8> = (0..2_000).map(|_| next().to_le_bytes()[0]).collect();
        if next() % 2 == 0 {
            let _ = hostile.control.write_all(&garbage).await;
            let _ = hostile.control.finish();
        } else {
            let mut lane = hostile.lane(&garbage).await;
            let _ = lane.finish();
        }
        let error = hostile.found().await;
        assert!(
            matches!(error, RecvError::Misbehaved(_) | RecvError::Truncated),
            "{error:?}"
        );
    }
}
