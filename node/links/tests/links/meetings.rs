//! Frames over control and lanes.

use std::{collections::HashMap, time::Instant};

use bytes::Bytes;
use links::{
    CloseCode, CloseReason, Lane, MeetStream, MeetingReceiver, MeetingSender, Protocol, RecvError,
    SendError,
    streams::{
        LANE_HEADER_BYTES, SPACE_LANES_MAX,
        meet::MEET_FRAME_BYTES_MAX,
        sender::{CONTROL_QUEUE_BYTES, LANE_QUEUE_BYTES, LANES_QUEUE_BYTES},
    },
};
use proto::limits::FRAME_BYTES_MAX;

use crate::support::{Node, meeting, pair, within};

/// A frame whose bytes say where it belongs.
fn frame(lane: u8, number: u32, len: usize) -> Bytes {
    let mut bytes = vec![lane; len.max(5)];
    bytes[1..5].copy_from_slice(&number.to_be_bytes());
    bytes.into()
}

async fn send(sender: &mut MeetingSender, lane: Lane, frame: Bytes) {
    loop {
        match sender.try_send(lane, 0, frame.clone()) {
            Ok(()) => return,
            Err(SendError::Full) => within("room", sender.writable()).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Sends `frames` frames of differing lengths on control and on every lane that can be open.
async fn pour(mut sender: MeetingSender, frames: u32) -> MeetingSender {
    for number in 0..frames {
        let len = 1 + (number as usize * 7_919) % 60_000;
        send(&mut sender, Lane::Control, frame(255, number, len)).await;
        for channel in 0..SPACE_LANES_MAX {
            let lane = u8::try_from(channel).unwrap();
            send(&mut sender, Lane::Space(channel), frame(lane, number, len)).await;
        }
    }
    sender
}

/// Takes them and checks the order within each lane.
async fn gather(mut receiver: MeetingReceiver, frames: u32) -> MeetingReceiver {
    let mut next: HashMap<Lane, u32> = HashMap::new();
    for _ in 0..frames * (SPACE_LANES_MAX + 1) {
        let (lane, frame) = within("a frame", receiver.recv()).await.unwrap();
        let expected = match lane {
            Lane::Control => 255,
            Lane::Space(channel) => u8::try_from(channel).unwrap(),
        };
        let number = next.entry(lane).or_default();
        assert_eq!(frame[0], expected);
        assert_eq!(frame[1..5], number.to_be_bytes(), "{lane:?}");
        assert!(frame[5..].iter().all(|byte| *byte == expected));
        *number += 1;
    }
    receiver
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_volumes_flow_both_ways_on_all_lanes_in_order() {
    const FRAMES: u32 = 100;
    let (a, mut b) = pair().await;
    let ((a_send, a_recv), (b_send, b_recv)) = meeting(&a, &mut b).await;
    let (a_send, b_send, a_recv, b_recv) = tokio::join!(
        tokio::spawn(pour(a_send, FRAMES)),
        tokio::spawn(pour(b_send, FRAMES)),
        tokio::spawn(gather(a_recv, FRAMES)),
        tokio::spawn(gather(b_recv, FRAMES)),
    );
    let (a_send, b_send) = (a_send.unwrap(), b_send.unwrap());
    let (a_recv, b_recv) = (a_recv.unwrap(), b_recv.unwrap());
    assert_eq!(a_send.traffic().sent, b_recv.traffic().received);
    assert_eq!(b_send.traffic().sent, a_recv.traffic().received);
    assert_eq!(
        a_send.traffic().sent,
        b_send.traffic().sent + 1,
        "the dialer's version byte is the only difference"
    );
    assert!(a_send.traffic().sent > 40_000_000);
    assert!(a_send.connection().udp_traffic().sent > a_send.traffic().sent);
}

#[tokio::test]
async fn traffic_counts_every_byte_above_quic() {
    let (a, mut b) = pair().await;
    let ((mut a_send, _a_recv), (_b_send, mut b_recv)) = meeting(&a, &mut b).await;
    assert_eq!(a_send.traffic().sent, 1, "the version");
    send(&mut a_send, Lane::Control, Bytes::from_static(b"hello")).await;
    send(&mut a_send, Lane::Space(7), Bytes::from_static(b"run")).await;
    for _ in 0..2 {
        within("a frame", b_recv.recv()).await.unwrap();
    }
    let expected = 1 + (4 + 5) + (LANE_HEADER_BYTES as u64 + 4 + 3);
    assert_eq!(a_send.traffic().sent, expected);
    assert_eq!(b_recv.traffic().received, expected);
    assert_eq!(b_recv.traffic().sent, 0);
}

#[tokio::test]
async fn a_lane_that_ends_and_begins_again_keeps_its_order() {
    const ROUNDS: u32 = 200;
    let (a, mut b) = pair().await;
    let ((mut a_send, _a_recv), (_b_send, mut b_recv)) = meeting(&a, &mut b).await;
    let sending = async {
        for number in 0..ROUNDS {
            // Lengths fall, so that a later round would overtake if nothing held it back.
            let len = ((ROUNDS - number) as usize) * 500;
            send(&mut a_send, Lane::Space(3), frame(3, number, len)).await;
            a_send.finish(Lane::Space(3));
        }
    };
    let receiving = async {
        for number in 0..ROUNDS {
            let (lane, frame) = within("a frame", b_recv.recv()).await.unwrap();
            assert_eq!(lane, Lane::Space(3));
            assert_eq!(frame[1..5], number.to_be_bytes());
        }
    };
    tokio::join!(sending, receiving);
}

#[tokio::test]
async fn queues_are_bounded_and_room_is_told() {
    let (a, mut b) = pair().await;
    let ((mut a_send, _a_recv), (_b_send, mut b_recv)) = meeting(&a, &mut b).await;
    let piece = Bytes::from(vec![1; 64 * 1024]);
    let mut taken = 0_usize;
    // Nobody reads, so this ends once QUIC's windows and the queue are full.
    let full = loop {
        match a_send.try_send(Lane::Space(1), 0, piece.clone()) {
            Ok(()) => {
                taken += 1;
                tokio::task::yield_now().await;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(full, SendError::Full);
    assert!(!a_send.capacity(Lane::Space(1)));
    assert!(a_send.capacity(Lane::Space(2)), "other lanes have room");
    assert!(a_send.capacity(Lane::Control));
    assert!(taken * piece.len() >= LANE_QUEUE_BYTES);

    // All lanes together are bounded too; their streams wait for QUIC to allow them.
    for channel in 2..200 {
        for _ in 0..4 {
            if a_send
                .try_send(Lane::Space(channel), 0, piece.clone())
                .is_ok()
            {
                taken += 1;
            }
        }
    }
    assert!(!a_send.capacity(Lane::Space(500)));
    assert!(taken * piece.len() >= LANES_QUEUE_BYTES);
    assert!(taken * piece.len() < 64 * 1024 * 1024, "{taken}");

    // Control is served although every lane is stuck, and overtakes them.
    a_send
        .try_send(Lane::Control, 0, Bytes::from_static(b"now"))
        .unwrap();
    let mut lanes_before = 0;
    loop {
        match within("control", b_recv.recv()).await.unwrap() {
            (Lane::Control, frame) => {
                assert_eq!(frame.as_ref(), b"now");
                break;
            }
            (Lane::Space(_), _) => lanes_before += 1,
        }
    }
    eprintln!("lane frames before control: {lanes_before} of {taken}");
    while !a_send.capacity(Lane::Space(1)) || !a_send.capacity(Lane::Space(500)) {
        tokio::select! {
            () = a_send.writable() => {}
            frame = within("a frame", b_recv.recv()) => { frame.unwrap(); }
        }
    }
    let long = Bytes::from(vec![0; CONTROL_QUEUE_BYTES]);
    a_send.try_send(Lane::Control, 0, long.clone()).unwrap();
    assert_eq!(
        a_send.try_send(Lane::Control, 0, long),
        Err(SendError::Full)
    );
}

#[tokio::test]
async fn frames_out_of_bounds_are_the_callers_mistake() {
    let (a, mut b) = pair().await;
    let ((mut a_send, _a_recv), (_b_send, mut b_recv)) = meeting(&a, &mut b).await;
    for (lane, len) in [
        (Lane::Control, 0),
        (Lane::Space(1), 0),
        (Lane::Space(1), FRAME_BYTES_MAX + 1),
    ] {
        assert_eq!(
            a_send.try_send(lane, 0, Bytes::from(vec![0; len])),
            Err(SendError::Length { found: len })
        );
    }
    let longest = Bytes::from(vec![9; FRAME_BYTES_MAX]);
    a_send.try_send(Lane::Space(1), 0, longest.clone()).unwrap();
    a_send.try_send(Lane::Control, 0, longest.clone()).unwrap();
    for _ in 0..2 {
        let (_, frame) = within("the longest frame", b_recv.recv()).await.unwrap();
        assert_eq!(frame, longest);
    }
}

#[tokio::test]
async fn what_was_queued_before_an_orderly_end_arrives() {
    let (a, mut b) = pair().await;
    let ((mut a_send, a_recv), (_b_send, mut b_recv)) = meeting(&a, &mut b).await;
    for number in 0..50 {
        send(&mut a_send, Lane::Space(1), frame(1, number, 10_000)).await;
        send(&mut a_send, Lane::Control, frame(255, number, 100)).await;
    }
    let conn = a_send.connection().clone();
    within("the end", a_send.drain()).await;
    conn.close(CloseCode::Done, "bye");
    drop(a_recv);
    let mut frames = 0;
    let end = loop {
        match within("a frame", b_recv.recv()).await {
            Ok(_) => frames += 1,
            Err(end) => break end,
        }
    };
    assert_eq!(frames, 100);
    assert!(
        matches!(
            end,
            RecvError::Finished | RecvError::Closed(CloseReason::Remote(CloseCode::Done))
        ),
        "{end:?}"
    );
}

#[tokio::test]
async fn finishing_control_and_lanes_finishes_the_meeting() {
    let (a, mut b) = pair().await;
    let ((mut a_send, _a_recv), (mut b_send, mut b_recv)) = meeting(&a, &mut b).await;
    send(&mut a_send, Lane::Space(1), frame(1, 0, 10)).await;
    a_send.finish(Lane::Space(1));
    a_send.finish(Lane::Control);
    assert_eq!(
        a_send.try_send(Lane::Control, 0, Bytes::from_static(b"late")),
        Err(SendError::Closed)
    );
    within("the frame", b_recv.recv()).await.unwrap();
    assert_eq!(
        within("the end", b_recv.recv()).await,
        Err(RecvError::Finished)
    );
    assert!(!b_send.is_closed(), "the other direction goes on");
    send(&mut b_send, Lane::Control, frame(255, 0, 10)).await;
}

#[tokio::test]
async fn the_connection_tells_what_it_is() {
    let (a, mut b) = pair().await;
    let (dialled, accepted) = crate::support::connect(&a, &mut b).await;
    for (conn, remote, local) in [(&dialled, b.id(), a.id()), (&accepted, a.id(), b.id())] {
        assert_eq!((conn.remote(), conn.local()), (remote, local));
        assert_eq!(conn.key_exchange(), "X25519MLKEM768");
        assert!(conn.is_hybrid());
        let path = conn.path().unwrap();
        assert_eq!(path.kind, links::PathKind::Loopback);
        assert!(conn.rtt().is_some());
        assert!(conn.udp_traffic().sent > 1_000);
    }
    assert!(dialled.dialed() && !accepted.dialed());
    assert_eq!(
        dialled.path().unwrap().remote,
        Some(b.links.bound()[0]),
        "the address that was dialled"
    );
    let key = dialled.exporter(b"label", b"context").unwrap();
    assert_eq!(accepted.exporter(b"label", b"context"), Ok(key));
    assert_ne!(accepted.exporter(b"label", b"other"), Ok(key));
    assert_ne!(accepted.exporter(b"other", b"context"), Ok(key));
    dialled.close(CloseCode::Done, "seen");
    assert_eq!(
        within("the close", accepted.closed()).await,
        CloseReason::Remote(CloseCode::Done)
    );
    assert_eq!(dialled.close_reason(), Some(CloseReason::Local));

    // A later handshake resumes the session; the exchange is hybrid there too, its key another.
    let (again, _accepted) = crate::support::connect(&a, &mut b).await;
    assert!(again.is_hybrid());
    assert_ne!(again.exporter(b"label", b"context"), Ok(key));
}

#[tokio::test]
async fn a_meet_exchanges_small_frames() {
    let (a, mut b) = (Node::start(1).await, Node::start(2).await);
    b.admission.set_meet_open(true);
    let dialled = a.dial(&b, Protocol::Meet).await;
    let accepted = b.arrival().await;
    let (ours, theirs) = tokio::join!(MeetStream::open(dialled), MeetStream::open(accepted));
    let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
    let longest = Bytes::from(vec![7; MEET_FRAME_BYTES_MAX]);
    ours.send(longest.clone()).await.unwrap();
    assert_eq!(within("it", theirs.recv()).await, Ok(Some(longest)));
    theirs.send(Bytes::from_static(b"yes")).await.unwrap();
    assert_eq!(
        within("it", ours.recv()).await,
        Ok(Some(Bytes::from_static(b"yes")))
    );
    for len in [0, MEET_FRAME_BYTES_MAX + 1] {
        let error = ours.send(Bytes::from(vec![0; len])).await.unwrap_err();
        assert_eq!(error, links::MeetError::Length { found: len });
    }
    assert_eq!(
        ours.traffic().received,
        theirs.traffic().sent,
        "both count the same"
    );
    let closing = tokio::spawn(ours.finish());
    assert_eq!(within("the end", theirs.recv()).await, Ok(None));
    within("the acknowledgement", closing).await.unwrap();
}

/// Prints what one lane carries; it asserts only that all of it arrived.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throughput_of_one_lane() {
    const FRAMES: usize = 1_024;
    let (a, mut b) = pair().await;
    let ((mut a_send, _a_recv), (_b_send, mut b_recv)) = meeting(&a, &mut b).await;
    let piece = Bytes::from(vec![5; 256 * 1024]);
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        for _ in 0..FRAMES {
            send(&mut a_send, Lane::Space(1), piece.clone()).await;
        }
        a_send
    });
    let mut bytes = 0;
    for _ in 0..FRAMES {
        bytes += within("a frame", b_recv.recv()).await.unwrap().1.len();
    }
    let seconds = start.elapsed().as_secs_f64();
    sending.await.unwrap();
    assert_eq!(bytes, FRAMES * 256 * 1024);
    #[expect(clippy::cast_precision_loss, reason = "printed only")]
    let rate = bytes as f64 / seconds / 1e6;
    eprintln!("one lane on loopback: {rate:.0} MB/s");
}
