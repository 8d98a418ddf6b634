//! Entries: a fixed header that is hashed and signed, and a body that may be dropped later.
//!
//! Headers are chained by their hashes, so one valid signature authenticates every earlier entry
//! of its feed. Where signatures are kept and sent is said by [`is_checkpoint`].

use crate::{
    ids::{DeviceId, EntryId, SpaceId},
    limits::{CHECKPOINT_BYTES, CHECKPOINT_ENTRIES},
    time::Millis,
    wire::{Reader, WireError},
};

/// Bytes of a header.
pub const HEADER_LEN: usize = 149;
/// The version that this program writes and reads.
pub const VERSION: u8 = 1;

/// A header: version u8, space 32, device 32, seq u64, backlink 32, created u64, body length u32,
/// body hash 32, all big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The space.
    pub space: SpaceId,
    /// The author's device.
    pub device: DeviceId,
    /// Place in the feed, from 0.
    pub seq: u64,
    /// Id of the entry before; zeros for the first.
    pub backlink: EntryId,
    /// The author's claim of the time.
    pub created: Millis,
    /// Bytes of the body.
    pub body_len: u32,
    /// BLAKE3 of the body.
    pub body_hash: [u8; 32],
}

impl Header {
    /// The 149 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            if let Some(slot) = out.get_mut(at..at + bytes.len()) {
                slot.copy_from_slice(bytes);
            }
            at += bytes.len();
        };
        put(&[VERSION]);
        put(&self.space.0);
        put(&self.device.0);
        put(&self.seq.to_be_bytes());
        put(&self.backlink.0);
        put(&self.created.0.to_be_bytes());
        put(&self.body_len.to_be_bytes());
        put(&self.body_hash);
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// Another version, or a wrong length.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(WireError::Value("version"));
        }
        let header = Self {
            space: SpaceId(reader.id()?),
            device: DeviceId(reader.id()?),
            seq: reader.u64()?,
            backlink: EntryId(reader.id()?),
            created: Millis(reader.u64()?),
            body_len: reader.u32()?,
            body_hash: reader.id()?,
        };
        reader.end()?;
        Ok(header)
    }

    /// The entry's id.
    #[must_use]
    pub fn id(&self) -> EntryId {
        EntryId(*blake3::hash(&self.encode()).as_bytes())
    }
}

/// The backlink of a feed's first entry.
pub const NO_BACKLINK: EntryId = EntryId([0; 32]);

/// How far a feed is known from its beginning without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The next entry's place.
    pub next: u64,
    /// Id of the entry before it; [`NO_BACKLINK`] where there is none.
    pub top: EntryId,
    /// Bytes of bodies since the last checkpoint.
    pub since_checkpoint: u64,
}

impl Head {
    /// A feed of which nothing is known.
    pub const EMPTY: Self = Self {
        next: 0,
        top: NO_BACKLINK,
        since_checkpoint: 0,
    };

    /// Whether the next entry, with a body of `body_len` bytes, is a checkpoint.
    #[must_use]
    pub const fn checkpoint_next(&self, body_len: u32) -> bool {
        is_checkpoint(self.next, self.since_checkpoint + body_len as u64)
    }

    /// The head after an entry.
    #[must_use]
    pub const fn after(&self, id: EntryId, body_len: u32) -> Self {
        let since = self.since_checkpoint + body_len as u64;
        let since_checkpoint = if is_checkpoint(self.next, since) {
            0
        } else {
            since
        };
        Self {
            next: self.next + 1,
            top: id,
            since_checkpoint,
        }
    }
}

/// A checkpoint is the first entry, every 256th after it, and every entry where the bodies since
/// the last checkpoint (this one included) pass 256 KiB.
#[must_use]
pub const fn is_checkpoint(seq: u64, bytes_since: u64) -> bool {
    seq.is_multiple_of(CHECKPOINT_ENTRIES) || bytes_since > CHECKPOINT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn header() -> Header {
        Header {
            space: SpaceId([1; 32]),
            device: DeviceId([2; 32]),
            seq: 3,
            backlink: EntryId([4; 32]),
            created: Millis(5),
            body_len: 6,
            body_hash: [7; 32],
        }
    }

    proptest! {
        #[test]
        fn decoding_is_the_inverse_of_encoding(bytes in proptest::array::uniform32(any::<u8>()), seq: u64, created: u64, body_len: u32) {
            let header = Header { space: SpaceId(bytes), seq, created: Millis(created), body_len, ..header() };
            prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn any_flipped_bit_changes_the_id_or_is_refused(bit in 0..HEADER_LEN * 8) {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = Header::decode(&bytes) {
                prop_assert_ne!(other.id(), header().id());
            }
        }
    }

    #[test]
    fn checkpoints_follow_count_and_bytes() {
        assert!(
            is_checkpoint(0, 1) && is_checkpoint(256, 0) && !is_checkpoint(1, CHECKPOINT_BYTES)
        );
        assert!(is_checkpoint(1, CHECKPOINT_BYTES + 1));
        let head = Head {
            next: 1,
            top: NO_BACKLINK,
            since_checkpoint: CHECKPOINT_BYTES,
        };
        assert_eq!(head.after(EntryId([1; 32]), 1).since_checkpoint, 0);
    }
}
