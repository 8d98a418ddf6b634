//! Runs: contiguous entries of one feed, as they travel and as they lie on disk.
//!
//! A run doesn't repeat what its place says: space, device, seq, backlinks and the hashes of
//! present bodies are computed by whoever reads it, so an entry costs its body and a few bytes.

use crate::{
    entry::Header,
    ids::{DeviceId, EntryId, SpaceId},
    keys::Signature,
    limits::{BATCH_ENTRIES_MAX, BODY_BYTES_MAX},
    time::Millis,
    wire::{Reader, WireError, put_varint, unzigzag, zigzag},
};

/// The body of an entry in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyPart<'a> {
    /// The body itself.
    Present(&'a [u8]),
    /// What the header says of a body that isn't there.
    Absent {
        /// Its length in bytes.
        len: u32,
        /// Its BLAKE3 hash.
        hash: [u8; 32],
    },
}

impl BodyPart<'_> {
    /// Length in bytes, as the header has it.
    #[must_use]
    pub fn len(&self) -> u32 {
        match self {
            Self::Present(bytes) => u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            Self::Absent { len, .. } => *len,
        }
    }

    /// Whether the body has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hash, as the header has it. Costs a pass over a present body.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        match self {
            Self::Present(bytes) => *blake3::hash(bytes).as_bytes(),
            Self::Absent { hash, .. } => *hash,
        }
    }
}

/// One entry of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// The author's claim of the time.
    pub created: Millis,
    /// The body.
    pub body: BodyPart<'a>,
}

/// An entry's id, and what its header says beyond its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linked {
    /// The id.
    pub id: EntryId,
    /// The author's claim of the time.
    pub created: Millis,
    /// Length of the body.
    pub body_len: u32,
    /// Hash of the body.
    pub body_hash: [u8; 32],
}

/// Contiguous entries of one feed. Decoding checks the form only; see [`crate::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run<'a> {
    /// Place of the first entry.
    pub start: u64,
    /// Id of the entry before the first.
    pub backlink: EntryId,
    /// The entries.
    pub items: Vec<Item<'a>>,
    /// Signatures by index into `items`, ascending.
    pub signatures: Vec<(u32, Signature)>,
}

impl<'a> Run<'a> {
    /// A run without entries yet.
    #[must_use]
    pub const fn new(start: u64, backlink: EntryId) -> Self {
        Self {
            start,
            backlink,
            items: Vec::new(),
            signatures: Vec::new(),
        }
    }

    /// Place behind the last entry.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.items.len() as u64)
    }

    /// Start varint, backlink 32, count varint, entries (time as zigzag difference to the one
    /// before, body length times two plus one where it is absent, body or hash), count of
    /// signatures varint, signatures (index varint, 64 bytes).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bodies: usize = self
            .items
            .iter()
            .map(|item| item.body.len() as usize + 12)
            .sum();
        let mut out = Vec::with_capacity(bodies + 64 + 66 * self.signatures.len());
        put_varint(&mut out, self.start);
        out.extend_from_slice(&self.backlink.0);
        put_varint(&mut out, self.items.len() as u64);
        let mut before = 0;
        for item in &self.items {
            put_varint(
                &mut out,
                zigzag(item.created.0.wrapping_sub(before).cast_signed()),
            );
            before = item.created.0;
            let len = u64::from(item.body.len()) << 1;
            match item.body {
                BodyPart::Present(bytes) => {
                    put_varint(&mut out, len);
                    out.extend_from_slice(bytes);
                }
                BodyPart::Absent { hash, .. } => {
                    put_varint(&mut out, len | 1);
                    out.extend_from_slice(&hash);
                }
            }
        }
        put_varint(&mut out, self.signatures.len() as u64);
        for (index, signature) in &self.signatures {
            put_varint(&mut out, u64::from(*index));
            out.extend_from_slice(&signature.0);
        }
        out
    }

    /// Reads a run: 1 to 4,096 entries, bodies within their bound, signatures ascending and in range.
    ///
    /// # Errors
    /// What doesn't fit; nothing is allocated ahead of the bytes that are there.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let mut run = Self::new(reader.varint()?, EntryId(reader.id()?));
        let count = reader.length("count", BATCH_ENTRIES_MAX)?;
        // The place behind the last entry must have one behind it too, so that counting can't overflow.
        let end = run.start.checked_add(count as u64);
        if count == 0 || end.is_none_or(|end| end == u64::MAX) {
            return Err(WireError::Value("count"));
        }
        run.items.reserve(count.min(reader.remaining() / 2 + 1));
        let mut before = 0_u64;
        for _ in 0..count {
            before = before.wrapping_add(unzigzag(reader.varint()?).cast_unsigned());
            let tag = reader.length("body length", BODY_BYTES_MAX * 2 + 1)?;
            let body = if tag & 1 == 0 {
                BodyPart::Present(reader.bytes(tag >> 1)?)
            } else {
                let len = u32::try_from(tag >> 1).map_err(|_| WireError::Value("body length"))?;
                BodyPart::Absent {
                    len,
                    hash: reader.id()?,
                }
            };
            run.items.push(Item {
                created: Millis(before),
                body,
            });
        }
        let signatures = reader.length("signature count", count)?;
        for _ in 0..signatures {
            let index = reader.length("signature index", count - 1)?;
            let index = u32::try_from(index).map_err(|_| WireError::Value("signature index"))?;
            if run
                .signatures
                .last()
                .is_some_and(|(last, _)| *last >= index)
            {
                return Err(WireError::Value("signature index"));
            }
            run.signatures.push((index, reader.signature()?));
        }
        reader.end()?;
        Ok(run)
    }

    /// The entries' ids in order, computed along the chain, with what their headers say.
    pub fn links(
        &self,
        space: SpaceId,
        device: DeviceId,
    ) -> impl Iterator<Item = Linked> + use<'_, 'a> {
        self.headers(space, device).map(|(id, header)| Linked {
            id,
            created: header.created,
            body_len: header.body_len,
            body_hash: header.body_hash,
        })
    }

    /// The headers in order, computed along the chain.
    pub fn headers(
        &self,
        space: SpaceId,
        device: DeviceId,
    ) -> impl Iterator<Item = (EntryId, Header)> + use<'_, 'a> {
        let mut backlink = self.backlink;
        (self.start..).zip(&self.items).map(move |(seq, item)| {
            let (body_len, body_hash) = (item.body.len(), item.body.hash());
            let header = Header {
                space,
                device,
                seq,
                backlink,
                created: item.created,
                body_len,
                body_hash,
            };
            backlink = header.id();
            (backlink, header)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items() -> impl Strategy<Value = Vec<(u64, Vec<u8>, bool)>> {
        proptest::collection::vec(
            (
                any::<u64>(),
                proptest::collection::vec(any::<u8>(), 0..40),
                any::<bool>(),
            ),
            1..20,
        )
    }

    proptest! {
        #[test]
        fn decoding_is_the_inverse_of_encoding(start in 0..u64::MAX / 2, items in items(), signed in any::<[u8; 64]>()) {
            let mut run = Run::new(start, EntryId([3; 32]));
            for (created, body, absent) in &items {
                let body = if *absent {
                    BodyPart::Absent { len: body.len() as u32, hash: [5; 32] }
                } else {
                    BodyPart::Present(body)
                };
                run.items.push(Item { created: Millis(*created), body });
            }
            run.signatures.push((items.len() as u32 - 1, Signature(signed)));
            let bytes = run.encode();
            prop_assert_eq!(Run::decode(&bytes), Ok(run));
        }

        #[test]
        fn any_bytes_decode_to_a_run_with_these_bytes_or_are_refused(bytes: Vec<u8>) {
            if let Ok(run) = Run::decode(&bytes) {
                prop_assert_eq!(run.encode(), bytes);
            }
        }
    }

    #[test]
    fn a_short_entry_costs_its_body_and_a_few_bytes() {
        let body = [7; 300];
        let mut run = Run::new(0, EntryId([0; 32]));
        for n in 0..256 {
            run.items.push(Item {
                created: Millis(1_790_000_000_000 + n * 90_000),
                body: BodyPart::Present(&body),
            });
        }
        run.signatures.push((255, Signature([0; 64])));
        let overhead = run.encode().len() - 300 * 256;
        assert!(overhead < 10 * 256, "{overhead}");
    }
}
