//! Frames on a stream: a length (u32, big-endian, 1 to a maximum), then as many bytes.
//!
//! The length is checked before anything is allocated. Both halves of the reader are cancel
//! safe: what was read stays in the reader.

use bytes::{Bytes, BytesMut};
use iroh::endpoint::{ReadError, RecvStream};

use crate::CloseReason;

/// Bytes of a frame's length prefix.
pub const PREFIX_BYTES: usize = 4;

/// A stream brought no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame of no bytes.
    #[error("expected a frame of at least 1 byte, found an empty one")]
    Empty,
    /// A frame above the maximum.
    #[error("expected a frame of at most {max} bytes, found {found}")]
    TooLong {
        /// The announced length in bytes.
        found: usize,
        /// The bound in bytes.
        max: usize,
    },
    /// The stream ended, or was given up, inside a frame.
    #[error("the stream ended inside a frame")]
    Truncated,
    /// The connection ended.
    #[error(transparent)]
    Closed(CloseReason),
}

impl From<ReadError> for FrameError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(reason) => Self::Closed(reason.into()),
            ReadError::Reset(_) | ReadError::ClosedStream | ReadError::ZeroRttRejected => {
                Self::Truncated
            }
        }
    }
}

/// Checks a length prefix against a maximum.
///
/// # Errors
/// [`FrameError::Empty`] and [`FrameError::TooLong`].
pub fn check_len(prefix: [u8; PREFIX_BYTES], max: usize) -> Result<usize, FrameError> {
    let found = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    match found {
        0 => Err(FrameError::Empty),
        _ if found > max => Err(FrameError::TooLong { found, max }),
        _ => Ok(found),
    }
}

/// The length prefix of a frame. A frame above 4 GiB can't exist: callers bound it far below.
pub(crate) fn prefix(frame: &Bytes) -> [u8; PREFIX_BYTES] {
    u32::try_from(frame.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Reads frames from a stream: [`Self::next_len`], then [`Self::body`], in turn.
pub(crate) struct FrameReader {
    stream: RecvStream,
    max: usize,
    prefix: [u8; PREFIX_BYTES],
    filled: usize,
    body: Option<BytesMut>,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream, max: usize) -> Self {
        Self {
            stream,
            max,
            prefix: [0; PREFIX_BYTES],
            filled: 0,
            body: None,
        }
    }

    /// The next frame's length, `None` at the end of the stream between two frames.
    pub(crate) async fn next_len(&mut self) -> Result<Option<usize>, FrameError> {
        if let Some(body) = &self.body {
            return Ok(Some(body.len()));
        }
        while let Some(rest) = self.prefix.get_mut(self.filled..)
            && !rest.is_empty()
        {
            match self.stream.read(rest).await? {
                Some(n) => self.filled += n,
                None if self.filled == 0 => return Ok(None),
                None => return Err(FrameError::Truncated),
            }
        }
        check_len(self.prefix, self.max).map(Some)
    }

    /// The bytes of the frame whose length was just read.
    pub(crate) async fn body(&mut self) -> Result<Bytes, FrameError> {
        let body = match &mut self.body {
            Some(body) => body,
            none => {
                let len = check_len(self.prefix, self.max)?;
                self.filled = 0;
                none.insert(BytesMut::zeroed(len))
            }
        };
        while let Some(rest) = body.get_mut(self.filled..)
            && !rest.is_empty()
        {
            match self.stream.read(rest).await? {
                Some(n) => self.filled += n,
                None => return Err(FrameError::Truncated),
            }
        }
        self.filled = 0;
        Ok(self.body.take().unwrap_or_default().freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn only_lengths_from_one_to_the_maximum_pass(prefix: [u8; 4], max in 1_usize..2_000_000) {
            let len = u32::from_be_bytes(prefix) as usize;
            match check_len(prefix, max) {
                Ok(found) => prop_assert!(found == len && (1..=max).contains(&len)),
                Err(FrameError::Empty) => prop_assert_eq!(len, 0),
                Err(FrameError::TooLong { found, max: bound }) => {
                    prop_assert!(found == len && bound == max && len > max);
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}
