//! Many hostile connections at once: what they make a node hold is bounded over all of them.

use bytes::Bytes;
use links::{
    CloseCode, Lane, MeetingReceiver, MeetingSender, MeetingStreams, Protocol,
    streams::STREAMS_VERSION,
};
use proto::limits::FRAME_BYTES_MAX;

use crate::support::{Node, Stranger, close_code, connect, meeting, pair, until, within};

const DEVICES: u8 = 16;
/// What a device may have open at once for one purpose.
const EACH: usize = 4;
const ROOM_BYTES_MAX: usize = 40 * 1024 * 1024;

/// Announces the longest frame, sends all of it but the last byte, and waits.
async fn stall(conn: &iroh::endpoint::Connection) -> Option<iroh::endpoint::SendStream> {
    let mut frame = vec![STREAMS_VERSION];
    frame.extend_from_slice(&u32::try_from(FRAME_BYTES_MAX).unwrap().to_be_bytes());
    frame.resize(frame.len() + FRAME_BYTES_MAX - 1, 7);
    let (mut control, _) = conn.open_bi().await.ok()?;
    control.write_all(&frame).await.ok()?;
    Some(control)
}

async fn exchange(one: &mut MeetingSender, other: &mut MeetingReceiver, text: &'static [u8]) {
    one.try_send(Lane::Control, 0, Bytes::from_static(text))
        .unwrap();
    let expected = (Lane::Control, Bytes::from_static(text));
    assert_eq!(within("a frame", other.recv()).await, Ok(expected));
}

/// 64 connections that each hold a frame of a mebibyte, more than all together may: those that
/// stalled first end, none of the node's memory grows, and a contact's meeting goes on beside them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_frames_of_many_are_bounded_together_and_delay_nobody() {
    let mut node = Node::start(1).await;
    let friend = Node::start(2).await;
    node.admission.permit(friend.id());
    friend.admission.permit(node.id());
    let (ours, theirs) = connect(&friend, &mut node).await;
    let (ours, theirs) = tokio::join!(MeetingStreams::open(ours), MeetingStreams::open(theirs));
    let ((mut send, _recv), (_send, mut recv)) = (ours.unwrap(), theirs.unwrap());

    let (mut strangers, mut open, mut most) = (Vec::new(), Vec::new(), 0);
    for seed in 0..DEVICES {
        let stranger = Stranger::start(100 + seed).await;
        node.admission.permit(stranger.id());
        for _ in 0..EACH {
            let conn = stranger.dial(node.addr(), Protocol::Sync).await;
            let (control, accepted) = tokio::join!(stall(&conn), async {
                MeetingStreams::open(node.arrival().await).await.ok()
            });
            most = most.max(node.links.held_bytes());
            open.push((conn, control, accepted));
            exchange(&mut send, &mut recv, b"beside them").await;
        }
        strangers.push(stranger);
    }
    assert!(most <= ROOM_BYTES_MAX, "{most}");
    let first = &open[0].0;
    let busy = u64::from(CloseCode::Busy.code());
    assert_eq!(close_code(first).await, busy, "the oldest gave way");
    exchange(&mut send, &mut recv, b"still there").await;
    drop(open);
    let links = node.links.clone();
    until("all of it back", || links.held_bytes() == 0).await;
}

/// QUIC keeps what a peer doesn't acknowledge or take, out of sight of the queues: once a stream is
/// stuck it counts, too, and it comes back with the connection.
#[tokio::test]
async fn who_takes_nothing_is_charged_for_what_quic_holds() {
    const QUEUE: usize = 512 * 1024;
    const SEND_WINDOW: usize = 448 * 1024;
    let (a, mut b) = pair().await;
    let ((mut send, _recv), theirs) = meeting(&a, &mut b).await;
    let frame = Bytes::from(vec![7; 64 * 1024]);
    until("a stuck stream", || {
        while send.try_send(Lane::Space(1), 0, frame.clone()).is_ok() {}
        a.links.held_bytes() >= QUEUE + SEND_WINDOW
    })
    .await;
    drop(theirs);
    drop(send);
    until("all of it back", || a.links.held_bytes() == 0).await;
}
