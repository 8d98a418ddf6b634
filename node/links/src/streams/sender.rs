//! The sending half: a bounded queue and a writer for each lane.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use iroh::endpoint::SendStream;
use proto::limits;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
    time::timeout,
};

use super::{Counts, LANE_HEADER_BYTES, Lane, Traffic, write_error};
use crate::{
    CloseReason, Connection, frame,
    room::{Account, Held, SEND_WINDOW_BYTES},
};

/// Bytes that the control lane queues before it is full, and one frame more. Control frames are
/// small; this is room for a digest of every space.
pub const CONTROL_QUEUE_BYTES: usize = 1024 * 1024;
/// Bytes that a space's lane queues before it is full, and one frame more: some milliseconds of
/// a fast link, so that its writer never waits for the next frame.
pub const LANE_QUEUE_BYTES: usize = 512 * 1024;
/// Bytes that all space lanes queue together before they are full, and one frame more.
pub const LANES_QUEUE_BYTES: usize = 1024 * 1024;
/// A write that waits for so long, or an end that isn't acknowledged for so long, counts as stuck:
/// some round trips of the slowest link. From then on what QUIC may hold of it counts, too.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// How long [`MeetingSender::drain`] waits for the other side's acknowledgement.
const DRAIN_WAIT: Duration = Duration::from_secs(2);

/// A frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The lane is full; offer the frame again after [`MeetingSender::writable`].
    #[error("the lane is full")]
    Full,
    /// The connection, or the control lane, has ended.
    #[error("the meeting has ended")]
    Closed,
    /// Empty, or above [`limits::FRAME_BYTES_MAX`]: a mistake of the caller.
    #[error(
        "expected a frame of 1 to {} bytes, found {found}",
        limits::FRAME_BYTES_MAX
    )]
    Length {
        /// The frame's bytes.
        found: usize,
    },
}

/// Queues frames; it never waits. Dropping it gives up what is queued.
pub struct MeetingSender {
    conn: Connection,
    shared: Arc<Shared>,
    control: Arc<Queue>,
    /// The lanes that are open, by channel.
    lanes: HashMap<u32, Arc<Queue>>,
    /// The next round of each channel that was used, and what ends with the one before it.
    rounds: HashMap<u32, (u32, Option<oneshot::Receiver<()>>)>,
    writers: JoinSet<()>,
    counts: Counts,
    account: Arc<Account>,
}

#[derive(Default)]
struct Shared {
    /// Bytes queued on all space lanes.
    lanes_bytes: AtomicUsize,
    closed: AtomicBool,
    /// A stuck stream counts for the connection.
    stuck: AtomicBool,
    drained: Notify,
}

impl MeetingSender {
    pub(super) fn new(
        conn: Connection,
        control: SendStream,
        counts: Counts,
        account: Arc<Account>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let queue = Arc::new(Queue::default());
        let mut writers = JoinSet::new();
        writers.spawn(watch(conn.clone(), shared.clone()));
        let writer = Writer {
            lane: Lane::Control,
            queue: queue.clone(),
            shared: shared.clone(),
            counts: counts.clone(),
            account: account.clone(),
        };
        writers.spawn(writer.run(control, Bytes::new()));
        Self {
            conn,
            shared,
            control: queue,
            lanes: HashMap::new(),
            rounds: HashMap::new(),
            writers,
            counts,
            account,
        }
    }

    /// Queues a frame. A higher `priority` leaves first; a lane takes the priority of the frame
    /// that it writes, and control, whose `priority` is ignored, is above all.
    ///
    /// # Errors
    /// See [`SendError`]; the frame was not taken.
    pub fn try_send(&mut self, lane: Lane, priority: i32, frame: Bytes) -> Result<(), SendError> {
        if frame.is_empty() || frame.len() > limits::FRAME_BYTES_MAX {
            return Err(SendError::Length { found: frame.len() });
        }
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        if !self.capacity(lane) {
            return Err(SendError::Full);
        }
        let held = self.account.hold(frame.len());
        match lane {
            Lane::Control => {
                if !self.control.push(i32::MAX, frame, held) {
                    return Err(SendError::Closed);
                }
            }
            Lane::Space(channel) => {
                let bytes = frame.len();
                self.shared.lanes_bytes.fetch_add(bytes, Ordering::AcqRel);
                let queue = self.lane(channel);
                if !queue.push(priority, frame, held) {
                    self.shared.lanes_bytes.fetch_sub(bytes, Ordering::AcqRel);
                    return Err(SendError::Closed);
                }
            }
        }
        Ok(())
    }

    /// Whether a lane takes a frame now.
    #[must_use]
    pub fn capacity(&self, lane: Lane) -> bool {
        match lane {
            Lane::Control => self.control.lock().bytes < CONTROL_QUEUE_BYTES,
            Lane::Space(channel) => {
                let queued = self.shared.lanes_bytes.load(Ordering::Acquire);
                queued < LANES_QUEUE_BYTES
                    && (queued == 0 || !self.account.is_short())
                    && self
                        .lanes
                        .get(&channel)
                        .is_none_or(|queue| queue.has_room())
            }
        }
    }

    /// Waits until a lane that was full has room again, or the meeting has ended. May return
    /// once too often, never too late. Cancel safe; for one waiter.
    pub async fn writable(&self) {
        if !self.is_closed() {
            self.shared.drained.notified().await;
        }
    }

    /// Ends a lane after its queued frames. A later frame opens it anew. Ending control ends the
    /// meeting in this direction.
    pub fn finish(&mut self, lane: Lane) {
        match lane {
            Lane::Control => self.control.finish(),
            Lane::Space(channel) => {
                if let Some(queue) = self.lanes.remove(&channel) {
                    queue.finish();
                }
            }
        }
    }

    /// Ends every lane and control, and waits until the other side has acknowledged all of it,
    /// at most two seconds.
    pub async fn drain(mut self) {
        for (_, queue) in self.lanes.drain() {
            queue.finish();
        }
        self.control.finish();
        let mut writers = std::mem::take(&mut self.writers);
        // The one that stays is the watcher of the connection.
        let _ = timeout(DRAIN_WAIT, async {
            while writers.len() > 1 && writers.join_next().await.is_some() {}
        })
        .await;
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// The meeting's traffic so far, in both directions.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.counts.traffic()
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.conn
    }

    /// The channel's queue; begins a new round if it has none.
    fn lane(&mut self, channel: u32) -> Arc<Queue> {
        if let Some(queue) = self.lanes.get(&channel) {
            return queue.clone();
        }
        while self.writers.try_join_next().is_some() {}
        let (done, ended) = oneshot::channel();
        let (next, before) = self.rounds.entry(channel).or_default();
        let round = *next;
        *next = next.wrapping_add(1);
        let before = before.replace(ended);
        let queue = Arc::new(Queue::default());
        let writer = Writer {
            lane: Lane::Space(channel),
            queue: queue.clone(),
            shared: self.shared.clone(),
            counts: self.counts.clone(),
            account: self.account.clone(),
        };
        let conn = self.conn.clone();
        self.writers.spawn(async move {
            // The other side reads the rounds in order: bytes of a later one could fill the
            // connection's window before those of the earlier one had their turn.
            if let Some(before) = before {
                let _ = before.await;
            }
            writer.open(conn, channel, round).await;
            drop(done);
        });
        self.lanes.insert(channel, queue.clone());
        queue
    }
}

impl fmt::Debug for MeetingSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeetingSender")
            .field("conn", &self.conn)
            .field("lanes", &self.lanes.len())
            .finish_non_exhaustive()
    }
}

async fn watch(conn: Connection, shared: Arc<Shared>) {
    conn.closed().await;
    shared.close();
}

impl Shared {
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.drained.notify_one();
    }
}

/// Frames on their way to a stream.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    ready: Notify,
}

#[derive(Default)]
struct QueueState {
    frames: VecDeque<Queued>,
    /// Bytes of frames queued and being written.
    bytes: usize,
    finished: bool,
}

/// A frame with its priority, and its part of the node's room.
type Queued = (i32, Bytes, Held);

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        self.lock().bytes < LANE_QUEUE_BYTES
    }

    /// False if the queue was finished.
    fn push(&self, priority: i32, frame: Bytes, held: Held) -> bool {
        let mut state = self.lock();
        if state.finished {
            return false;
        }
        state.bytes += frame.len();
        state.frames.push_back((priority, frame, held));
        drop(state);
        self.ready.notify_one();
        true
    }

    fn finish(&self) {
        self.lock().finished = true;
        self.ready.notify_one();
    }

    /// The next frame; `None` after the last one.
    async fn next(&self) -> Option<Queued> {
        loop {
            {
                let mut state = self.lock();
                if let Some(next) = state.frames.pop_front() {
                    return Some(next);
                }
                if state.finished {
                    return None;
                }
            }
            self.ready.notified().await;
        }
    }
}

struct Writer {
    lane: Lane,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    counts: Counts,
    account: Arc<Account>,
}

impl Writer {
    async fn open(self, conn: Connection, channel: u32, round: u32) {
        let Ok(stream) = conn.raw().open_uni().await else {
            self.shared.close();
            return;
        };
        let mut header = BytesMut::with_capacity(LANE_HEADER_BYTES);
        header.put_u32(channel);
        header.put_u32(round);
        self.run(stream, header.freeze()).await;
    }

    async fn run(self, mut stream: SendStream, header: Bytes) {
        if let Err(reason) = self.write(&mut stream, header).await {
            tracing::debug!(lane = ?self.lane, %reason, "lane given up");
            // A stream that only ends here would look whole to the other side.
            let _ = stream.reset(0_u32.into());
            self.shared.close();
            return;
        }
        if stream.finish().is_ok() {
            let _ = self.counted(stream.stopped()).await;
        }
    }

    async fn write(&self, stream: &mut SendStream, header: Bytes) -> Result<(), CloseReason> {
        let mut header = header;
        // Control was given the highest of all when it was opened.
        let mut current = match self.lane {
            Lane::Control => i32::MAX,
            Lane::Space(_) => 0,
        };
        while let Some((priority, frame, held)) = self.queue.next().await {
            if priority != current {
                let _ = stream.set_priority(priority);
                current = priority;
            }
            let mut start = BytesMut::with_capacity(LANE_HEADER_BYTES + frame::PREFIX_BYTES);
            start.extend_from_slice(&header);
            start.extend_from_slice(&frame::prefix(&frame));
            header.clear();
            let bytes = frame.len();
            let total = start.len() + bytes;
            // Copied piece by piece, so that QUIC holds no more than its window of a frame.
            let writing = async {
                stream.write_all(&start).await?;
                stream.write_all(&frame).await
            };
            self.counted(writing).await.map_err(write_error)?;
            drop((frame, held));
            self.counts.sent(total);
            self.written(bytes);
        }
        Ok(())
    }

    /// Waits for QUIC. Once that takes too long, what the connection may hold unacknowledged counts
    /// against the node's room, once however many of its streams are stuck.
    async fn counted<T>(&self, waits: impl Future<Output = T>) -> T {
        let mut waits = pin!(waits);
        if let Ok(done) = timeout(STUCK_AFTER, &mut waits).await {
            return done;
        }
        let first = !self.shared.stuck.swap(true, Ordering::AcqRel);
        let held = first.then(|| self.account.hold(SEND_WINDOW_BYTES));
        let done = waits.await;
        if held.is_some() {
            self.shared.stuck.store(false, Ordering::Release);
        }
        done
    }

    /// Gives the bytes of a written frame back and wakes the sender where a bound was left.
    fn written(&self, bytes: usize) {
        let (before, bound) = {
            let mut state = self.queue.lock();
            let before = state.bytes;
            state.bytes = before.saturating_sub(bytes);
            let bound = match self.lane {
                Lane::Control => CONTROL_QUEUE_BYTES,
                Lane::Space(_) => LANE_QUEUE_BYTES,
            };
            (before, bound)
        };
        let mut wake = crossed(before, bytes, bound);
        if self.lane != Lane::Control {
            let before = self.shared.lanes_bytes.fetch_sub(bytes, Ordering::AcqRel);
            // With nothing queued there is room also where memory is short.
            wake |= crossed(before, bytes, LANES_QUEUE_BYTES) || before <= bytes;
        }
        if wake {
            self.shared.drained.notify_one();
        }
    }
}

/// Whether giving back `bytes` crossed half of a bound. Half, so that one wake brings room for
/// more than one frame; a lane that was full always crosses it on the way down.
const fn crossed(before: usize, bytes: usize, bound: usize) -> bool {
    before > bound / 2 && before.saturating_sub(bytes) <= bound / 2
}
