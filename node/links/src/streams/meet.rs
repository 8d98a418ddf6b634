//! The one stream of a meet connection: small frames, one after another.

use std::{fmt, time::Duration};

use bytes::Bytes;
use iroh::endpoint::SendStream;
use tokio::time::timeout;

use super::{Counts, Misbehaviour, OpenError, Traffic, first_stream, misbehaviour, write_error};
use crate::{
    CloseCode, CloseReason, Connection, Protocol,
    frame::{self, FrameError, FrameReader, PREFIX_BYTES},
};

/// Bytes of one frame of a meet. A stranger may send them, so they are small: a card with its
/// picture fits.
pub const MEET_FRAME_BYTES_MAX: usize = 64 * 1024;
/// How long [`MeetStream::finish`] waits for the other side's acknowledgement.
const FINISH_WAIT: Duration = Duration::from_secs(2);

/// A frame of a meet was not exchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeetError {
    /// Empty, or above [`MEET_FRAME_BYTES_MAX`]: a mistake of the caller.
    #[error("expected a frame of 1 to {MEET_FRAME_BYTES_MAX} bytes, found {found}")]
    Length {
        /// The frame's bytes.
        found: usize,
    },
    /// The other side gave the stream up inside a frame.
    #[error("the other side gave the stream up inside a frame")]
    Truncated,
    /// The connection ended.
    #[error(transparent)]
    Closed(CloseReason),
    /// The remote broke the framing; its connection was closed.
    #[error(transparent)]
    Misbehaved(#[from] Misbehaviour),
}

/// The stream of a meet connection.
pub struct MeetStream {
    conn: Connection,
    send: SendStream,
    recv: FrameReader,
    counts: Counts,
}

impl MeetStream {
    /// Opens the stream as the dialer, or accepts it as the acceptor; both sides call this.
    ///
    /// # Errors
    /// The connection ended, or the dialer opened no stream within [`super::OPEN_WAIT`].
    pub async fn open(conn: Connection) -> Result<Self, OpenError> {
        let counts = Counts::default();
        let (send, recv) = first_stream(&conn, Protocol::Meet, &counts).await?;
        Ok(Self {
            conn,
            send,
            recv: FrameReader::new(recv, MEET_FRAME_BYTES_MAX),
            counts,
        })
    }

    /// Sends a frame; waits while the other side doesn't read. Not cancel safe.
    ///
    /// # Errors
    /// See [`MeetError`].
    pub async fn send(&mut self, frame: Bytes) -> Result<(), MeetError> {
        if frame.is_empty() || frame.len() > MEET_FRAME_BYTES_MAX {
            return Err(MeetError::Length { found: frame.len() });
        }
        let total = PREFIX_BYTES + frame.len();
        let prefix = Bytes::copy_from_slice(&frame::prefix(&frame));
        self.send
            .write_all_chunks(&mut [prefix, frame])
            .await
            .map_err(|error| MeetError::Closed(write_error(error)))?;
        self.counts.sent(total);
        Ok(())
    }

    /// The next frame; `None` when the other side has finished. Cancel safe.
    ///
    /// # Errors
    /// See [`MeetError`].
    pub async fn recv(&mut self) -> Result<Option<Bytes>, MeetError> {
        match self.read().await {
            Ok(frame) => Ok(frame),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Ends the stream and waits, at most two seconds, until the other side has acknowledged
    /// what was sent. For the side that speaks last; the connection stays open.
    pub async fn finish(mut self) {
        if self.send.finish().is_ok() {
            let _ = timeout(FINISH_WAIT, self.send.stopped()).await;
        }
    }

    /// The traffic so far, in both directions.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.counts.traffic()
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.conn
    }

    async fn read(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.recv.next_len().await?.is_none() {
            return Ok(None);
        }
        let frame = self.recv.body().await?;
        self.counts.received(PREFIX_BYTES + frame.len());
        Ok(Some(frame))
    }

    fn failure(&self, error: FrameError) -> MeetError {
        match (misbehaviour(&error), error) {
            (Some(how), _) => {
                self.conn.close(CloseCode::Misbehaved, "");
                MeetError::Misbehaved(how)
            }
            (None, FrameError::Closed(reason)) => MeetError::Closed(reason),
            (None, _) => MeetError::Truncated,
        }
    }
}

impl fmt::Debug for MeetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeetStream")
            .field("conn", &self.conn)
            .finish_non_exhaustive()
    }
}
