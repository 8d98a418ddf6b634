//! Handing letters on: frames of the control stream, and how a carrier finds out for whom it
//! carries without learning it.
//!
//! A carrier says hashes of the tags that it carries, keyed to this connection and its role, so that
//! they mean nothing to anybody else or later. The other side makes the hashes of the tags that it
//! expects, and asks for its own. What decides who carries how much is the caller's; this module
//! keeps no letters and knows no time.

use std::collections::BTreeMap;

use crate::{
    limits::CARRIED_MAX,
    seal::{ENVELOPE_BYTES_MAX, PrekeyBatch, Receipt, Tag},
    wire::{Reader, WireError, put_prefixed, put_varint},
};

/// The bit of the hello that says that the sender speaks these frames.
pub const FEATURE: u32 = 2;
/// Type bytes from this one on, up to [`LAST_TYPE`], are frames of this module.
pub const FIRST_TYPE: u8 = 32;
/// See [`FIRST_TYPE`].
pub const LAST_TYPE: u8 = 47;
/// Bytes of a tag's hash: of 10,000 carried and 100,000 expected tags two are equal by chance once
/// in 10^10 meetings, and then a letter is carried to somebody who can't open it.
pub const HASH_BYTES: usize = 8;
/// Bytes of a tag's hint, the beginning of its hash. Of 10,000 carried and 10,000 expected tags two begin
/// alike in every fortieth meeting, and then a letter is asked for in vain; and naming 10,000 takes half
/// the bytes.
pub const HINT_BYTES: usize = 4;
/// Letters asked for, receipts or acknowledgements in one frame at most.
pub const LIST_MAX: usize = 1_024;

/// A tag's hash on one connection.
pub type TagHash = [u8; HASH_BYTES];
/// What is said of a tag that is carried.
pub type TagHint = [u8; HINT_BYTES];

/// Whether a control frame is one of this module's.
#[must_use]
pub fn is_courier(frame: &[u8]) -> bool {
    frame
        .first()
        .is_some_and(|kind| (FIRST_TYPE..=LAST_TYPE).contains(kind))
}

/// A frame about letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Hints of tags that the sender carries. Places in all of these frames of a session count on.
    Carried(Vec<TagHint>),
    /// Asks for letters by their places, each with the tag's hash as the asker makes it: who doesn't know
    /// a tag gets nothing.
    Want(Vec<(u32, TagHash)>),
    /// A letter that was asked for.
    Letter {
        /// Its place.
        place: u32,
        /// The envelope; empty where it isn't carried any more.
        envelope: Vec<u8>,
    },
    /// These letters were opened by whom they were for.
    Receipts(Vec<Receipt>),
    /// So much more the sender is ready to carry for the receiver.
    Room {
        /// Envelopes.
        count: u32,
        /// Their bytes.
        bytes: u64,
    },
    /// A letter to carry.
    Carry(Vec<u8>),
    /// What was handed over is kept: the hashes of the letters' receipts.
    Kept(Vec<[u8; 32]>),
    /// Keys for letters from the receiver.
    Prekeys(Box<PrekeyBatch>),
    /// The receiver's keys below this number are kept.
    PrekeysKept(u32),
    /// Where the sender's line to the receiver stands.
    Line {
        /// The lowest number that is still on its way, or the next.
        next: u64,
        /// The lowest number of the receiver's keys that the sender has, or may get.
        key: u32,
    },
    /// What the sender expects next on the receiver's line, now that it heard of it.
    LineHeard(u64),
}

impl Frame {
    /// Type byte and fields.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Carried(hints) => {
                put_list(&mut out, 32, hints, |out, hint| out.extend_from_slice(hint));
            }
            Self::Want(places) => {
                put_list(&mut out, 33, places, |out, (place, hash)| {
                    put_varint(out, u64::from(*place));
                    out.extend_from_slice(hash);
                });
            }
            Self::Letter { place, envelope } => {
                out.push(34);
                put_varint(&mut out, u64::from(*place));
                put_prefixed(&mut out, envelope);
            }
            Self::Receipts(receipts) => put_list(&mut out, 35, receipts, |out, receipt| {
                out.extend_from_slice(&receipt.0);
            }),
            Self::Room { count, bytes } => {
                out.push(36);
                put_varint(&mut out, u64::from(*count));
                put_varint(&mut out, *bytes);
            }
            Self::Carry(envelope) => {
                out.push(37);
                put_prefixed(&mut out, envelope);
            }
            Self::Kept(hashes) => {
                put_list(&mut out, 38, hashes, |out, hash| {
                    out.extend_from_slice(hash)
                });
            }
            Self::Prekeys(batch) => {
                out.push(39);
                out.extend(batch.encode());
            }
            Self::PrekeysKept(next) => {
                out.push(40);
                put_varint(&mut out, u64::from(*next));
            }
            Self::Line { next, key } => {
                out.push(41);
                put_varint(&mut out, *next);
                put_varint(&mut out, u64::from(*key));
            }
            Self::LineHeard(high) => {
                out.push(42);
                put_varint(&mut out, *high);
            }
        }
        out
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// An unknown type, a wrong layout, an empty list or one over its bound, a key that isn't valid.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let frame = match reader.u8()? {
            32 => Self::Carried(list(&mut reader, CARRIED_MAX, Reader::array)?),
            33 => Self::Want(list(&mut reader, LIST_MAX, |reader| {
                Ok((read_u32(reader)?, reader.array()?))
            })?),
            34 => Self::Letter {
                place: read_u32(&mut reader)?,
                envelope: read_envelope(&mut reader)?,
            },
            35 => Self::Receipts(list(&mut reader, LIST_MAX, |reader| {
                reader.array().map(Receipt)
            })?),
            36 => Self::Room {
                count: read_u32(&mut reader)?,
                bytes: reader.varint()?,
            },
            37 => Self::Carry(read_envelope(&mut reader)?),
            38 => Self::Kept(list(&mut reader, LIST_MAX, Reader::array)?),
            39 => Self::Prekeys(PrekeyBatch::decode(reader.rest())?.into()),
            40 => Self::PrekeysKept(read_u32(&mut reader)?),
            41 => Self::Line {
                next: reader.varint()?,
                key: read_u32(&mut reader)?,
            },
            42 => Self::LineHeard(reader.varint()?),
            _ => return Err(WireError::Value("frame type")),
        };
        reader.end()?;
        Ok(frame)
    }
}

fn put_list<T>(out: &mut Vec<u8>, kind: u8, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    out.push(kind);
    put_varint(out, items.len() as u64);
    for item in items {
        put(out, item);
    }
}

fn list<'a, T>(
    reader: &mut Reader<'a>,
    max: usize,
    read: impl Fn(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let count = reader.length("list", max)?;
    // An empty one would cost its reader more than its sender.
    if count == 0 {
        return Err(WireError::Value("list"));
    }
    (0..count).map(|_| read(reader)).collect()
}

fn read_u32(reader: &mut Reader<'_>) -> Result<u32, WireError> {
    u32::try_from(reader.varint()?).map_err(|_| WireError::Integer)
}

fn read_envelope(reader: &mut Reader<'_>) -> Result<Vec<u8>, WireError> {
    Ok(reader.prefixed("envelope", ENVELOPE_BYTES_MAX)?.to_vec())
}

/// Makes tags' hashes on one connection: those of one side mean nothing from the other.
#[derive(Clone)]
pub struct TagHasher {
    ours: [u8; 32],
    theirs: [u8; 32],
}

impl std::fmt::Debug for TagHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TagHasher(..)")
    }
}

impl TagHasher {
    /// `exporter` is the connection's keying material, the same on both sides.
    #[must_use]
    pub fn new(exporter: &[u8; 32], dialer: bool) -> Self {
        let key = |by_dialer: bool| {
            let mut hasher = blake3::Hasher::new_derive_key("waymeet 1 carried");
            hasher.update(exporter).update(&[u8::from(by_dialer)]);
            *hasher.finalize().as_bytes()
        };
        Self {
            ours: key(dialer),
            theirs: key(!dialer),
        }
    }

    fn hash(key: &[u8; 32], tag: Tag) -> TagHash {
        let mut out = [0; HASH_BYTES];
        blake3::Hasher::new_keyed(key)
            .update(&tag.0)
            .finalize_xof()
            .fill(&mut out);
        out
    }

    /// The hash of a tag that we carry.
    #[must_use]
    pub fn ours(&self, tag: Tag) -> TagHash {
        Self::hash(&self.ours, tag)
    }

    /// The hash of a tag that they know, for asking or for being asked.
    #[must_use]
    pub fn of_theirs(&self, tag: Tag) -> TagHash {
        Self::hash(&self.theirs, tag)
    }

    /// What we say of a tag that we carry.
    #[must_use]
    pub fn hint(&self, tag: Tag) -> TagHint {
        let mut hint = [0; HINT_BYTES];
        hint.copy_from_slice(self.ours(tag).split_at(HINT_BYTES).0);
        hint
    }

    /// Tags by the hashes whose hints the other side says if it carries them.
    pub fn theirs<T>(&self, tags: impl IntoIterator<Item = (Tag, T)>) -> BTreeMap<TagHash, T> {
        tags.into_iter()
            .map(|(tag, of)| (Self::hash(&self.theirs, tag), of))
            .collect()
    }
}

/// What of [`TagHasher::theirs`] a hint may mean; nothing, as a rule.
pub fn meant<T>(tags: &BTreeMap<TagHash, T>, hint: TagHint) -> impl Iterator<Item = &T> {
    let at = |filler: u8| {
        let mut hash = [filler; HASH_BYTES];
        hash.split_at_mut(HINT_BYTES).0.copy_from_slice(&hint);
        hash
    };
    tags.range(at(0)..=at(u8::MAX)).map(|(_, of)| of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all() -> Vec<Frame> {
        vec![
            Frame::Carried(vec![[1; 4], [2; 4]]),
            Frame::Want(vec![(0, [1; 8]), (70_000, [2; 8])]),
            Frame::Letter {
                place: 3,
                envelope: vec![4; 100],
            },
            Frame::Receipts(vec![Receipt([5; 32])]),
            Frame::Room {
                count: 6,
                bytes: 1 << 40,
            },
            Frame::Carry(vec![7; 9]),
            Frame::Kept(vec![[8; 32]]),
            Frame::Prekeys(Box::default()),
            Frame::PrekeysKept(9),
            Frame::Line { next: 10, key: 11 },
            Frame::LineHeard(12),
        ]
    }

    #[test]
    fn frames_are_read_back_and_cut_ones_are_refused() {
        for frame in all() {
            let bytes = frame.encode();
            assert!(is_courier(&bytes));
            assert_eq!(Frame::decode(&bytes).as_ref(), Ok(&frame));
            for len in 0..bytes.len() {
                assert!(Frame::decode(&bytes[..len]).is_err(), "{frame:?} {len}");
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(Frame::decode(&longer).is_err(), "{frame:?}");
        }
    }

    #[test]
    fn hashes_hold_for_one_connection_and_one_side() {
        let tag = Tag([3; 16]);
        let (dialer, acceptor) = (
            TagHasher::new(&[1; 32], true),
            TagHasher::new(&[1; 32], false),
        );
        let expected = acceptor.theirs([(tag, "letter"), (Tag([4; 16]), "another")]);
        assert_eq!(expected.get(&dialer.ours(tag)), Some(&"letter"));
        let meant: Vec<_> = meant(&expected, dialer.hint(tag)).collect();
        assert_eq!(meant, [&"letter"]);
        assert!(!expected.contains_key(&acceptor.ours(tag)));
        let later = TagHasher::new(&[2; 32], true);
        assert!(!expected.contains_key(&later.ours(tag)));
    }

    #[test]
    fn a_hint_means_every_hash_that_begins_so() {
        let hash = |first: u8, last: u8| [9, 9, 9, first, 0, 0, 0, last];
        let tags = BTreeMap::from([
            (hash(7, 0xff), 0),
            (hash(8, 0), 1),
            (hash(8, 0xff), 2),
            (hash(9, 0), 3),
        ]);
        let meant = |last| meant(&tags, [9, 9, 9, last]).copied().collect::<Vec<_>>();
        assert_eq!(meant(8), [1, 2]);
        assert_eq!(meant(6), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(kind in FIRST_TYPE..=LAST_TYPE, rest: Vec<u8>) {
            let bytes = [&[kind][..], &rest].concat();
            if let Ok(frame) = Frame::decode(&bytes) {
                prop_assert_eq!(frame.encode(), bytes);
            }
        }
    }
}
