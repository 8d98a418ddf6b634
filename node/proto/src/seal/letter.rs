//! What is inside: the entry without what its place says, and the receipt.

use std::fmt;

use zeroize::Zeroizing;

use crate::{
    entry::Header,
    ids::{DeviceId, EntryId, SpaceId},
    keys::{Domain, SIGNATURE_LEN, Signature, verify},
    limits::BODY_BYTES_MAX,
    time::Millis,
    wire::Reader,
};

/// Receipt 32, seq u64, backlink 32, created u64, signature 64, body length u32.
const FIXED_BYTES: usize = 32 + 8 + 32 + 8 + SIGNATURE_LEN + 4;
/// Bytes of the smallest size class.
pub(super) const PADDED_BYTES_MIN: usize = 256;
/// Bytes of the greatest.
pub(super) const PADDED_BYTES_MAX: usize = class(FIXED_BYTES + BODY_BYTES_MAX);

/// The size class of so many bytes: steps of 128, and above 1 KiB four classes to each doubling, so
/// that at most a fifth is padding and a length says little.
const fn class(len: usize) -> usize {
    if len <= PADDED_BYTES_MIN {
        return PADDED_BYTES_MIN;
    }
    let quarter = (1 << (len - 1).ilog2()) / 4;
    let step = if quarter < 128 { 128 } else { quarter };
    len.div_ceil(step) * step
}

/// Whether padded contents can have this length.
pub(super) const fn is_class(len: usize) -> bool {
    len >= PADDED_BYTES_MIN && len <= PADDED_BYTES_MAX && class(len) == len
}

/// Who shows it has opened the letter, so nobody has to carry it any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Receipt(pub [u8; 32]);

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt(..)")
    }
}

impl Receipt {
    /// What stands outside the letter.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *blake3::hash(&self.0).as_bytes()
    }
}

/// An entry as a letter carries it, with its author's signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// 32 random bytes.
    pub receipt: Receipt,
    /// The entry's header.
    pub header: Header,
    /// The author's signature of its id.
    pub signature: Signature,
    /// Its body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Letter({:?} {})", self.header.device, self.header.seq)
    }
}

impl Letter {
    /// The entry's id.
    #[must_use]
    pub fn id(&self) -> EntryId {
        self.header.id()
    }

    /// The content, with zeros up to its size class; nothing where the body is too long.
    pub(super) fn padded(&self) -> Option<Zeroizing<Vec<u8>>> {
        if self.body.len() > BODY_BYTES_MAX {
            return None;
        }
        let len = class(FIXED_BYTES + self.body.len());
        let mut out = Zeroizing::new(Vec::with_capacity(len));
        out.extend_from_slice(&self.receipt.0);
        out.extend_from_slice(&self.header.seq.to_be_bytes());
        out.extend_from_slice(&self.header.backlink.0);
        out.extend_from_slice(&self.header.created.0.to_be_bytes());
        out.extend_from_slice(&self.signature.0);
        out.extend_from_slice(&(self.body.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.body);
        out.resize(len, 0);
        Some(out)
    }

    /// Reads a content; nothing where it isn't in its shortest class, or the signature isn't `author`'s.
    pub(super) fn read(content: &[u8], space: SpaceId, author: DeviceId) -> Option<Self> {
        let mut reader = Reader::new(content);
        let receipt = Receipt(reader.array().ok()?);
        let seq = reader.u64().ok()?;
        let backlink = EntryId(reader.id().ok()?);
        let created = Millis(reader.u64().ok()?);
        let signature = reader.signature().ok()?;
        let body_len = reader.u32().ok()?;
        let len = usize::try_from(body_len).ok()?;
        if len > BODY_BYTES_MAX || class(FIXED_BYTES + len) != content.len() {
            return None;
        }
        let body = reader.bytes(len).ok()?.to_vec();
        if reader.rest().iter().any(|byte| *byte != 0) {
            return None;
        }
        let header = Header {
            space,
            device: author,
            seq,
            backlink,
            created,
            body_len,
            body_hash: *blake3::hash(&body).as_bytes(),
        };
        verify(&author.0, Domain::Entry, &header.id().0, &signature).then_some(Self {
            receipt,
            header,
            signature,
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_grow_and_waste_little() {
        let mut last = 0;
        for len in 1..=FIXED_BYTES + BODY_BYTES_MAX {
            let class = class(len);
            assert!(class >= len && is_class(class) && class >= last, "{len}");
            assert!(len < 1_024 || class * 4 <= len * 5, "{len} {class}");
            last = class;
        }
        assert_eq!(last, PADDED_BYTES_MAX);
        assert!(!is_class(257) && !is_class(0) && !is_class(PADDED_BYTES_MAX + 1));
    }
}
