//! What a courier carries: a few bytes that anybody may read, and the sealed letter.

use std::fmt;

use super::{AEAD_TAG_BYTES, ENCAPSULATED_BYTES, letter, prekey::PrekeyId};
use crate::wire::{Reader, WireError};

const VERSION: u8 = 1;
/// Version u8, tag 16, expiry u16, receipt 32, key u32.
const OUTSIDE_BYTES: usize = 1 + 16 + 2 + 32 + 4;
const SHORTEST: usize =
    OUTSIDE_BYTES + ENCAPSULATED_BYTES + letter::PADDED_BYTES_MIN + AEAD_TAG_BYTES;
/// Bytes of the longest envelope: a body of the greatest length.
pub const ENVELOPE_BYTES_MAX: usize =
    OUTSIDE_BYTES + ENCAPSULATED_BYTES + letter::PADDED_BYTES_MAX + AEAD_TAG_BYTES;

/// Recognised by the receiving device, and random to everybody else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub [u8; 16]);

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({:032x})", u128::from_be_bytes(self.0))
    }
}

/// What a courier sees of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outside {
    /// Which letter.
    pub tag: Tag,
    /// The day from 1970, UTC, from which on nobody keeps it.
    pub expires_day: u16,
    /// BLAKE3 of the receipt that stands inside.
    pub receipt: [u8; 32],
    /// The number of the receiving device's key, masked.
    pub prekey: PrekeyId,
}

impl Outside {
    /// Version, tag, expiry, receipt, key: what stands first, and is bound to the rest.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.tag.0);
        out.extend_from_slice(&self.expires_day.to_be_bytes());
        out.extend_from_slice(&self.receipt);
        out.extend_from_slice(&self.prekey.0.to_be_bytes());
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        if reader.u8()? != VERSION {
            return Err(WireError::Value("version"));
        }
        Ok(Self {
            tag: Tag(reader.array()?),
            expires_day: u16::from_be_bytes(reader.array()?),
            receipt: reader.array()?,
            prekey: PrekeyId(reader.u32()?),
        })
    }
}

/// A sealed letter as it is carried.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    outside: Outside,
    bytes: Vec<u8>,
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Envelope({:?}, {} bytes)",
            self.outside,
            self.bytes.len()
        )
    }
}

impl Envelope {
    pub(super) fn new(outside: Outside, encapsulated: &[u8], ciphertext: &[u8]) -> Self {
        let mut bytes = outside.encode();
        bytes.extend_from_slice(encapsulated);
        bytes.extend_from_slice(ciphertext);
        Self { outside, bytes }
    }

    /// Reads an envelope. Of the sealed part only the length is looked at.
    ///
    /// # Errors
    /// Another version, or a length that no size class has.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let sealed = bytes
            .len()
            .wrapping_sub(SHORTEST - letter::PADDED_BYTES_MIN);
        if bytes.len() < SHORTEST || !letter::is_class(sealed) {
            return Err(WireError::Value("length"));
        }
        Ok(Self {
            outside: Outside::read(&mut Reader::new(bytes))?,
            bytes: bytes.to_vec(),
        })
    }

    /// As it travels and is kept.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a courier sees.
    #[must_use]
    pub const fn outside(&self) -> &Outside {
        &self.outside
    }

    pub(super) fn encapsulated(&self) -> &[u8] {
        self.bytes
            .get(OUTSIDE_BYTES..OUTSIDE_BYTES + ENCAPSULATED_BYTES)
            .unwrap_or_default()
    }

    pub(super) fn ciphertext(&self) -> &[u8] {
        self.bytes
            .get(OUTSIDE_BYTES + ENCAPSULATED_BYTES..)
            .unwrap_or_default()
    }
}
