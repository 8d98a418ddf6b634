//! One channel while it carries datagrams: a task that seals what goes out and opens what comes in.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use proto::bluetooth::{Established, Opener, Sealer};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    hub::Inner,
    radio::{Channel, FRAME_BYTES_MAX},
};

/// Datagrams that wait for one channel: a third of a second of a slow radio. More are dropped, as on
/// any network, and QUIC's congestion control slows down by that; a longer queue would only delay.
pub const QUEUE_FRAMES_MAX: usize = 24;
/// A channel that takes no frame for so long has nobody at the other end who reads.
pub const STUCK: Duration = Duration::from_secs(10);
/// A channel over which nothing passed for so long is of no use: a connection's signs of life come
/// far more often.
pub const IDLE: Duration = Duration::from_secs(60);

/// Why a channel ended, where it wasn't told to.
enum End {
    /// The radio says so, or the other side closed it.
    Closed,
    Stuck,
    Garbled,
    Idle,
}

/// Carries datagrams until the channel ends.
pub(super) async fn carry(
    hub: Weak<Inner>,
    handle: u64,
    channel: Arc<dyn Channel>,
    established: Established,
    queue: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
) {
    let Established {
        endpoint,
        sealer,
        opener,
    } = established;
    let used = Mutex::new(Instant::now());
    let end = tokio::select! {
        () = stop.cancelled() => return,
        end = send(&*channel, sealer, queue, &used) => end,
        end = recv(&hub, handle, &*channel, opener, &used) => end,
        end = idle(&used) => end,
    };
    let Some(hub) = hub.upgrade() else { return };
    {
        let mut state = hub.lock();
        match end {
            End::Stuck => state.counts.stuck += 1,
            End::Garbled => state.counts.garbled += 1,
            End::Closed | End::Idle => {}
        }
    }
    tracing::debug!(?endpoint, "a channel over bluetooth ended");
    hub.end(handle);
}

fn touch(used: &Mutex<Instant>) {
    *used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
}

async fn send(
    channel: &dyn Channel,
    mut sealer: Sealer,
    mut queue: mpsc::Receiver<Bytes>,
    used: &Mutex<Instant>,
) -> End {
    while let Some(datagram) = queue.recv().await {
        let Some(frame) = sealer.seal(&datagram) else {
            continue;
        };
        match timeout(STUCK, poll_fn(|cx| channel.poll_send(cx, &frame))).await {
            Ok(Ok(())) => touch(used),
            Ok(Err(_)) => return End::Closed,
            Err(_elapsed) => return End::Stuck,
        }
    }
    End::Closed
}

async fn recv(
    hub: &Weak<Inner>,
    handle: u64,
    channel: &dyn Channel,
    mut opener: Opener,
    used: &Mutex<Instant>,
) -> End {
    let mut frame = vec![0; FRAME_BYTES_MAX];
    loop {
        let read = match poll_fn(|cx| channel.poll_recv(cx, &mut frame)).await {
            Ok(0) | Err(_) => return End::Closed,
            Ok(read) => read,
        };
        let opened = frame.get_mut(..read).map(|frame| opener.open(frame));
        let Some(Ok(datagram)) = opened else {
            return End::Garbled;
        };
        touch(used);
        match hub.upgrade() {
            Some(hub) => hub.deliver(handle, datagram),
            None => return End::Closed,
        }
    }
}

async fn idle(used: &Mutex<Instant>) -> End {
    loop {
        let due = *used.lock().unwrap_or_else(PoisonError::into_inner) + IDLE;
        if due <= Instant::now() {
            return End::Idle;
        }
        sleep_until(due).await;
    }
}
