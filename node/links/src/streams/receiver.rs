//! The receiving half: a reader for each stream, and one bounded inbox.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use iroh::endpoint::{ReadExactError, RecvStream};
use proto::limits;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::{JoinSet, coop::consume_budget},
};

use super::{Counts, LANE_HEADER_BYTES, Lane, Misbehaviour, QUIC_LANES_MAX, Traffic, misbehaviour};
use crate::{
    CloseCode, CloseReason, Connection,
    frame::{FrameError, FrameReader, PREFIX_BYTES},
    room::{self, Account},
};

/// Bytes of control frames that wait to be taken: the longest.
pub const CONTROL_INBOX_BYTES: u32 = 1024 * 1024 + FRAME_COST;
/// Bytes of lane frames that wait to be taken or are being read, over all lanes. Beyond it QUIC's
/// windows hold the sender back. All that an honest sender has begun at once fits, its queue, the
/// longest frame and QUIC's send window: else one lane's unread bytes could fill the connection's
/// window while the frames before them wait for it.
pub const LANES_INBOX_BYTES: u32 = 3 * 1024 * 1024;
/// Channels that entries came on in one meeting. Each search for common spaces numbers them anew,
/// and a meeting of days sees many; one costs a few bytes.
pub const CHANNELS_MAX: usize = 16 * limits::SPACES_MAX;
/// What a waiting frame costs besides its bytes, so that tiny frames are bounded too.
const FRAME_COST: u32 = 128;

/// No frame will come.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecvError {
    /// The other side ended control and all its lanes, in order.
    #[error("the other side ended the meeting")]
    Finished,
    /// A stream ended inside a frame: the other side gave up.
    #[error("the other side gave a stream up inside a frame")]
    Truncated,
    /// The connection ended.
    #[error(transparent)]
    Closed(CloseReason),
    /// The remote broke the framing; its connection was closed.
    #[error(transparent)]
    Misbehaved(#[from] Misbehaviour),
}

/// Yields frames. Dropping it stops reading.
pub struct MeetingReceiver {
    conn: Connection,
    inbox: Arc<Inbox>,
    counts: Counts,
    _readers: JoinSet<()>,
}

impl MeetingReceiver {
    pub(super) fn new(
        conn: Connection,
        control: RecvStream,
        counts: Counts,
        account: Arc<Account>,
    ) -> Self {
        let inbox = Arc::new(Inbox::default());
        let mut readers = JoinSet::new();
        let reader = Reader {
            conn: conn.clone(),
            inbox: inbox.clone(),
            counts: counts.clone(),
            account,
        };
        readers.spawn(reader.run(control));
        Self {
            conn,
            inbox,
            counts,
            _readers: readers,
        }
    }

    /// The next frame: control frames first, then lane frames as they came; within a lane in
    /// the order of sending. Cancel safe.
    ///
    /// # Errors
    /// See [`RecvError`]. Frames that came before an orderly end are yielded first.
    pub async fn recv(&mut self) -> Result<(Lane, Bytes), RecvError> {
        // A full inbox must not keep its thread from the tasks that fill and empty others.
        consume_budget().await;
        loop {
            if let Some(result) = self.inbox.take() {
                return result;
            }
            self.inbox.ready.notified().await;
        }
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
}

impl fmt::Debug for MeetingReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeetingReceiver")
            .field("conn", &self.conn)
            .finish_non_exhaustive()
    }
}

/// A frame and the room that it takes until it is taken.
struct Held {
    frame: Bytes,
    _room: OwnedSemaphorePermit,
    _account: room::Held,
}

struct Inbox {
    state: Mutex<InboxState>,
    ready: Notify,
    control_room: Arc<Semaphore>,
    lanes_room: Arc<Semaphore>,
    /// Told when a channel's round ends.
    turn: Notify,
}

#[derive(Default)]
struct InboxState {
    control: VecDeque<Held>,
    lanes: VecDeque<(u32, Held)>,
    rounds: HashMap<u32, Round>,
    /// Lanes accepted and not yet ended.
    lanes_open: usize,
    control_ended: bool,
    end: Option<RecvError>,
}

/// How far a channel has come.
#[derive(Default, Clone, Copy)]
struct Round {
    next: u32,
    /// Whether a stream of round `next` is being read.
    reading: bool,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            ready: Notify::new(),
            control_room: Arc::new(Semaphore::new(CONTROL_INBOX_BYTES as usize)),
            lanes_room: Arc::new(Semaphore::new(LANES_INBOX_BYTES as usize)),
            turn: Notify::new(),
        }
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, InboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Result<(Lane, Bytes), RecvError>> {
        let mut state = self.lock();
        if let Some(end @ RecvError::Misbehaved(_)) = &state.end {
            return Some(Err(end.clone()));
        }
        if let Some(held) = state.control.pop_front() {
            return Some(Ok((Lane::Control, held.frame)));
        }
        if let Some((channel, held)) = state.lanes.pop_front() {
            return Some(Ok((Lane::Space(channel), held.frame)));
        }
        if let Some(end) = &state.end {
            return Some(Err(end.clone()));
        }
        (state.control_ended && state.lanes_open == 0).then_some(Err(RecvError::Finished))
    }

    fn end(&self, error: RecvError) {
        self.lock().end.get_or_insert(error);
        self.ready.notify_one();
    }
}

/// What every reading task has.
#[derive(Clone)]
struct Reader {
    conn: Connection,
    inbox: Arc<Inbox>,
    counts: Counts,
    account: Arc<Account>,
}

impl Reader {
    async fn control(self, stream: RecvStream) {
        let room = self.inbox.control_room.clone();
        let result = self
            .frames(stream, &room, |state, held| state.control.push_back(held))
            .await;
        match result {
            Ok(()) => {
                self.inbox.lock().control_ended = true;
                self.inbox.ready.notify_one();
            }
            Err(error) => self.fail(error),
        }
    }

    /// Reads control and accepts lanes until the connection ends, then lets the readers take
    /// what came before the end.
    async fn run(self, control: RecvStream) {
        let mut readers = JoinSet::new();
        readers.spawn(self.clone().control(control));
        let reason = loop {
            while readers.try_join_next().is_some() {}
            match self.conn.raw().accept_uni().await {
                Ok(stream) => {
                    self.inbox.lock().lanes_open += 1;
                    readers.spawn(self.clone().lane(stream));
                }
                Err(reason) => break reason,
            }
        };
        while readers.join_next().await.is_some() {}
        self.inbox.end(RecvError::Closed(reason.into()));
    }

    async fn lane(self, mut stream: RecvStream) {
        let result = match self.header(&mut stream).await {
            Ok((channel, round)) => self.round(stream, channel, round).await,
            Err(error) => Err(error),
        };
        self.inbox.lock().lanes_open -= 1;
        match result {
            Ok(()) => self.inbox.ready.notify_one(),
            Err(error) => self.fail(error),
        }
    }

    async fn round(&self, stream: RecvStream, channel: u32, round: u32) -> Result<(), RecvError> {
        self.await_turn(channel, round).await?;
        let room = self.inbox.lanes_room.clone();
        self.frames(stream, &room, |state, held| {
            state.lanes.push_back((channel, held));
        })
        .await?;
        if let Some(of) = self.inbox.lock().rounds.get_mut(&channel) {
            of.next = of.next.wrapping_add(1);
            of.reading = false;
        }
        self.inbox.turn.notify_waiters();
        Ok(())
    }

    async fn header(&self, stream: &mut RecvStream) -> Result<(u32, u32), RecvError> {
        let mut header = [0; LANE_HEADER_BYTES];
        match stream.read_exact(&mut header).await {
            Ok(()) => {}
            Err(ReadExactError::FinishedEarly(_)) => return Err(Misbehaviour::LaneHeader.into()),
            Err(ReadExactError::ReadError(error)) => return Err(failure(error.into())),
        }
        self.counts.received(LANE_HEADER_BYTES);
        let [c0, c1, c2, c3, r0, r1, r2, r3] = header;
        Ok((
            u32::from_be_bytes([c0, c1, c2, c3]),
            u32::from_be_bytes([r0, r1, r2, r3]),
        ))
    }

    /// Waits until every earlier round of the channel has ended.
    async fn await_turn(&self, channel: u32, round: u32) -> Result<(), RecvError> {
        loop {
            let turned = self.inbox.turn.notified();
            tokio::pin!(turned);
            turned.as_mut().enable();
            {
                let mut state = self.inbox.lock();
                if !state.rounds.contains_key(&channel) && state.rounds.len() >= CHANNELS_MAX {
                    return Err(Misbehaviour::Channels.into());
                }
                let of = state.rounds.entry(channel).or_default();
                match round.wrapping_sub(of.next) {
                    0 if !of.reading => {
                        of.reading = true;
                        return Ok(());
                    }
                    // Only as many streams can be open, so an honest round is never further.
                    1..QUIC_LANES_MAX => {}
                    _ => {
                        return Err(Misbehaviour::LaneRound {
                            found: round,
                            next: of.next,
                        }
                        .into());
                    }
                }
            }
            turned.await;
        }
    }

    /// Moves a stream's frames into the inbox, each when there is room for it.
    async fn frames(
        &self,
        stream: RecvStream,
        room: &Arc<Semaphore>,
        push: impl Fn(&mut InboxState, Held),
    ) -> Result<(), RecvError> {
        let mut reader = FrameReader::new(stream, limits::FRAME_BYTES_MAX);
        while let Some(len) = reader.next_len().await.map_err(failure)? {
            let cost = u32::try_from(len)
                .unwrap_or(u32::MAX)
                .saturating_add(FRAME_COST);
            // The semaphore is never closed.
            let Ok(room) = room.clone().acquire_many_owned(cost).await else {
                return Ok(());
            };
            let account = self.account.hold(cost as usize);
            let frame = reader.body().await.map_err(failure)?;
            self.counts.received(PREFIX_BYTES + frame.len());
            self.account.received(frame.len(), &self.conn);
            let held = Held {
                frame,
                _room: room,
                _account: account,
            };
            push(&mut self.inbox.lock(), held);
            self.inbox.ready.notify_one();
        }
        Ok(())
    }

    fn fail(&self, error: RecvError) {
        match error {
            RecvError::Misbehaved(how) => {
                tracing::debug!(remote = ?self.conn.remote(), %how, "meeting ended");
                self.inbox.end(RecvError::Misbehaved(how));
                self.conn.close(CloseCode::Misbehaved, "");
            }
            // Told by `run`, once the other readers have taken what they had.
            RecvError::Closed(_) => {}
            error => self.inbox.end(error),
        }
    }
}

fn failure(error: FrameError) -> RecvError {
    match (misbehaviour(&error), error) {
        (Some(how), _) => RecvError::Misbehaved(how),
        (None, FrameError::Closed(reason)) => RecvError::Closed(reason),
        (None, _) => RecvError::Truncated,
    }
}
