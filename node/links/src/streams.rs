//! A meeting's byte streams: frames on a control stream and on one stream for each space.
//!
//! On a sync connection the dialer opens one bidirectional stream, *control*, and begins it with
//! [`STREAMS_VERSION`]. Each side then opens unidirectional streams, *lanes*, which begin with a
//! channel number (u32) and a round (u32), both big-endian: the sender's session numbers its
//! channels, and the round counts the streams that the channel had before. The receiver reads a
//! channel's rounds in their order, so a lane that was finished and opened again keeps the order
//! of its frames. After these beginnings all streams carry frames (see [`crate::frame`]).
//!
//! Every buffer is bounded: see the constants here and in [`sender`] and [`receiver`]. What
//! frames mean is not known here.

pub mod meet;
pub mod receiver;
pub mod sender;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use iroh::endpoint::{ConnectionError, ReadExactError, RecvStream, SendStream, WriteError};
use tokio::time::timeout;

pub use self::{
    meet::{MeetError, MeetStream},
    receiver::{MeetingReceiver, RecvError},
    sender::{MeetingSender, SendError},
};
use crate::{CloseCode, CloseReason, Connection, Protocol, frame::FrameError};

/// The byte that begins a control stream and a meet's stream: the version of this framing. It
/// also makes the stream known to the other side before the first frame.
pub const STREAMS_VERSION: u8 = 1;
/// Space lanes that one side can count on to have open at once; further ones wait until others
/// have ended. Sixteen spaces in flight fill any link, and each may hold a window of memory.
pub const SPACE_LANES_MAX: u32 = 16;
/// The limit that QUIC is given: it announces ended streams only once they are more than an
/// eighth of its limit, so this leaves [`SPACE_LANES_MAX`] at every moment.
pub const QUIC_LANES_MAX: u32 = SPACE_LANES_MAX + SPACE_LANES_MAX / 8;
/// Bytes at the beginning of a lane: channel and round.
pub const LANE_HEADER_BYTES: usize = 8;
/// How long the acceptor waits for the dialer's stream: a dial's time, since it opens the stream
/// right after its handshake.
pub const OPEN_WAIT: Duration = Duration::from_secs(5);

/// Where a frame travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The control stream; it overtakes all lanes.
    Control,
    /// A space's lane, by the channel number that the sender's session chose.
    Space(u32),
}

/// Bytes of sync traffic above QUIC: frames, their prefixes, and the beginnings of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes handed to QUIC.
    pub sent: u64,
    /// Bytes taken from QUIC.
    pub received: u64,
}

/// How the remote broke the framing. The connection is closed with [`CloseCode::Misbehaved`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// A frame of no bytes.
    #[error("a frame was empty")]
    EmptyFrame,
    /// A frame above the bound.
    #[error("a frame of {found} bytes was announced, {max} are allowed")]
    LongFrame {
        /// The announced length in bytes.
        found: usize,
        /// The bound in bytes.
        max: usize,
    },
    /// The first byte of the stream was not [`STREAMS_VERSION`].
    #[error("the stream began with {found}, expected version {STREAMS_VERSION}")]
    Version {
        /// The byte.
        found: u8,
    },
    /// A lane ended before its channel and round.
    #[error("a lane ended inside its header")]
    LaneHeader,
    /// A round that was used already, or that lies too far ahead.
    #[error("a lane began round {found}, expected round {next}")]
    LaneRound {
        /// The round that the lane named.
        found: u32,
        /// The channel's next round.
        next: u32,
    },
    /// More channels than a session can have.
    #[error("more than {} channels were used", receiver::CHANNELS_MAX)]
    Channels,
}

/// A meeting's streams could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The connection is for another protocol.
    #[error("expected a {expected:?} connection, found {found:?}")]
    Protocol {
        /// What the streams are for.
        expected: Protocol,
        /// What the connection is for.
        found: Protocol,
    },
    /// The dialer opened no stream in time.
    #[error("the other side opened no stream within {} s", OPEN_WAIT.as_secs())]
    TimedOut,
    /// The connection ended.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// The remote broke the framing.
    #[error(transparent)]
    Misbehaved(#[from] Misbehaviour),
}

/// Opens a meeting's streams.
#[derive(Debug)]
pub struct MeetingStreams;

impl MeetingStreams {
    /// Opens the control stream as the dialer, or accepts it as the acceptor; both sides call
    /// this. The halves can live in different tasks.
    ///
    /// # Errors
    /// The connection ended, or the dialer opened no stream within [`OPEN_WAIT`].
    pub async fn open(conn: Connection) -> Result<(MeetingSender, MeetingReceiver), OpenError> {
        let counts = Counts::default();
        let (send, recv) = first_stream(&conn, Protocol::Sync, &counts).await?;
        // Fails only for a stream that has ended, which the first write will tell.
        let _ = send.set_priority(i32::MAX);
        let account = conn.room().open(&conn);
        let sender = MeetingSender::new(conn.clone(), send, counts.clone(), account.clone());
        let receiver = MeetingReceiver::new(conn, recv, counts, account);
        Ok((sender, receiver))
    }
}

/// The first bidirectional stream, opened or accepted, with its version byte exchanged.
async fn first_stream(
    conn: &Connection,
    expected: Protocol,
    counts: &Counts,
) -> Result<(SendStream, RecvStream), OpenError> {
    if conn.protocol() != expected {
        return Err(OpenError::Protocol {
            expected,
            found: conn.protocol(),
        });
    }
    let opening = async {
        if conn.dialed() {
            let (mut send, recv) = conn.raw().open_bi().await.map_err(CloseReason::from)?;
            write_all(&mut send, &[STREAMS_VERSION]).await?;
            counts.sent(1);
            return Ok((send, recv));
        }
        let (send, mut recv) = conn.raw().accept_bi().await.map_err(CloseReason::from)?;
        let mut version = [0];
        match recv.read_exact(&mut version).await {
            Ok(()) => counts.received(1),
            Err(error) => return Err(read_exact_error(error).into()),
        }
        match version {
            [STREAMS_VERSION] => Ok((send, recv)),
            [found] => Err(Misbehaviour::Version { found }.into()),
        }
    };
    let result = timeout(OPEN_WAIT, opening)
        .await
        .unwrap_or(Err(OpenError::TimedOut));
    if let Err(OpenError::Misbehaved(_) | OpenError::TimedOut) = &result {
        conn.close(CloseCode::Misbehaved, "");
    }
    result
}

async fn write_all(stream: &mut SendStream, bytes: &[u8]) -> Result<(), CloseReason> {
    stream.write_all(bytes).await.map_err(write_error)
}

fn write_error(error: WriteError) -> CloseReason {
    match error {
        WriteError::ConnectionLost(reason) => reason.into(),
        WriteError::Stopped(code) => CloseReason::Remote(CloseCode::from_code(code.into_inner())),
        WriteError::ClosedStream | WriteError::ZeroRttRejected => CloseReason::Local,
    }
}

fn read_exact_error(error: ReadExactError) -> CloseReason {
    match error {
        ReadExactError::ReadError(iroh::endpoint::ReadError::ConnectionLost(reason)) => {
            reason.into()
        }
        _ => CloseReason::from(ConnectionError::Reset),
    }
}

/// What a bad frame says about the remote, if it is the remote's doing and not a cut.
fn misbehaviour(error: &FrameError) -> Option<Misbehaviour> {
    match error {
        FrameError::Empty => Some(Misbehaviour::EmptyFrame),
        FrameError::TooLong { found, max } => Some(Misbehaviour::LongFrame {
            found: *found,
            max: *max,
        }),
        FrameError::Truncated | FrameError::Closed(_) => None,
    }
}

/// The traffic of one connection's streams; clones share it.
#[derive(Debug, Clone, Default)]
struct Counts(Arc<CountsInner>);

#[derive(Debug, Default)]
struct CountsInner {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counts {
    fn sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            sent: self.0.sent.load(Ordering::Relaxed),
            received: self.0.received.load(Ordering::Relaxed),
        }
    }
}
