//! What the rows of the store's own tables say. Each value begins with a version byte.

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    entry::Head,
    space::SpaceKind,
    verify::{ForkPoint, LastGood, TailFacts},
    wire::{Reader, WireError, put_prefixed, put_varint},
};

use crate::{
    error::{Error, Result},
    keys::Place,
    readset::ReadSet,
    tables::{Source, Table},
};

/// The version that every row has so far.
const ROW_VERSION: u8 = 1;
/// Bytes of a row's longest field: a chain of admissions is the largest.
const FIELD_BYTES_MAX: usize = 64 * 1024;

/// A row with a fixed table.
pub(crate) trait Row: Sized {
    const TABLE: Table;
    fn put(&self, out: &mut Vec<u8>);
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError>;

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![ROW_VERSION];
        self.put(&mut out);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let row = match reader.u8() {
            Ok(ROW_VERSION) => Self::read(&mut reader),
            _ => Err(WireError::Value("row version")),
        };
        row.and_then(|row| reader.end().map(|()| row))
            .map_err(|_| Error::Corrupt {
                table: Self::TABLE.name(),
            })
    }
}

/// Reads one row.
pub(crate) fn load<R: Row>(source: &impl Source, key: &[u8]) -> Result<Option<R>> {
    source.with(R::TABLE, key, R::decode)?.transpose()
}

pub(crate) fn put_option<T>(
    out: &mut Vec<u8>,
    value: Option<&T>,
    put: impl FnOnce(&mut Vec<u8>, &T),
) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(out, value);
    }
}

pub(crate) fn read_option<T>(
    reader: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    if reader.flag("option")? {
        read(reader).map(Some)
    } else {
        Ok(None)
    }
}

pub(crate) fn read_u32(reader: &mut Reader<'_>) -> Result<u32, WireError> {
    u32::try_from(reader.varint()?).map_err(|_| WireError::Value("u32"))
}

/// What a space is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpaceRow {
    pub(crate) id: SpaceId,
    pub(crate) kind: SpaceKind,
    /// As encoded; forums, blogs and circles have one.
    pub(crate) descriptor: Option<Vec<u8>>,
    /// The two people of a conversation; the owner twice of an own space.
    pub(crate) pair: Option<[IdentityId; 2]>,
    /// Our own chain of admissions, as encoded: decoding it checks signatures.
    pub(crate) chain: Vec<u8>,
    pub(crate) joined: Millis,
}

impl Row for SpaceRow {
    const TABLE: Table = Table::Spaces;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.0);
        out.push(self.kind.code());
        put_option(out, self.descriptor.as_ref(), |out, bytes| {
            put_prefixed(out, bytes);
        });
        put_option(out, self.pair.as_ref(), |out, pair| {
            pair.iter().for_each(|id| out.extend_from_slice(&id.0));
        });
        put_prefixed(out, &self.chain);
        put_varint(out, self.joined.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            id: SpaceId(reader.id()?),
            kind: SpaceKind::from_code(u64::from(reader.u8()?)).ok_or(WireError::Value("kind"))?,
            descriptor: read_option(reader, |reader| {
                Ok(reader.prefixed("descriptor", FIELD_BYTES_MAX)?.to_vec())
            })?,
            pair: read_option(reader, |reader| {
                Ok([IdentityId(reader.id()?), IdentityId(reader.id()?)])
            })?,
            chain: reader.prefixed("chain", FIELD_BYTES_MAX)?.to_vec(),
            joined: Millis(reader.varint()?),
        })
    }
}

/// How much a space holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Feeds of which something is held.
    pub feeds: u64,
    /// Entries.
    pub entries: u64,
    /// Threads, articles or conversations.
    pub topics: u64,
    /// Entries that a page shows: posts, articles, answers, messages.
    pub items: u64,
    /// Of these, not read.
    pub unread: u64,
}

impl Row for Counts {
    const TABLE: Table = Table::SpaceCounts;

    fn put(&self, out: &mut Vec<u8>) {
        for value in [
            self.feeds,
            self.entries,
            self.topics,
            self.items,
            self.unread,
        ] {
            put_varint(out, value);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            feeds: reader.varint()?,
            entries: reader.varint()?,
            topics: reader.varint()?,
            items: reader.varint()?,
            unread: reader.varint()?,
        })
    }
}

/// What is held of a feed above a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TailRow {
    pub(crate) facts: TailFacts,
    /// Orders of its first and its last entry: what fills the gap sorts before the one, what comes
    /// above after the other.
    pub(crate) first_order: u64,
    pub(crate) last_order: u64,
}

/// A feed's head and what ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeedRow {
    pub(crate) space: u32,
    pub(crate) device: DeviceId,
    /// Known as long as the first entry is held.
    pub(crate) author: Option<IdentityId>,
    /// The last author known, also when nothing is held any more: whose revocation counts.
    pub(crate) owner: Option<IdentityId>,
    pub(crate) head: Head,
    pub(crate) tail: Option<TailRow>,
    /// Order of the newest entry below any gap: later ones don't sort before it.
    pub(crate) last_order: u64,
    pub(crate) fork: Option<ForkPoint>,
    /// The revocation in force and who signed it.
    pub(crate) revoked: Option<(IdentityId, LastGood)>,
    /// Rows in the table of holes.
    pub(crate) holes: u32,
}

impl FeedRow {
    pub(crate) const fn new(space: u32, device: DeviceId) -> Self {
        Self {
            space,
            device,
            author: None,
            owner: None,
            head: Head::EMPTY,
            tail: None,
            last_order: 0,
            fork: None,
            revoked: None,
            holes: 0,
        }
    }

    /// Place behind the last entry that is held without a gap from `seq` on; `None` where that
    /// entry isn't held.
    pub(crate) fn end_above(&self, seq: u64) -> Option<u64> {
        if seq < self.head.next {
            return Some(self.head.next);
        }
        let tail = self.tail?.facts;
        (tail.start <= seq && seq < tail.next).then_some(tail.next)
    }

    pub(crate) fn holds(&self, seq: u64) -> bool {
        self.end_above(seq).is_some()
    }

    /// Entries held.
    pub(crate) fn entries(&self) -> u64 {
        let above = self
            .tail
            .map_or(0, |tail| tail.facts.next.saturating_sub(tail.facts.start));
        self.head.next.saturating_add(above)
    }
}

impl Row for FeedRow {
    const TABLE: Table = Table::Feeds;

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.space));
        out.extend_from_slice(&self.device.0);
        for identity in [self.author, self.owner] {
            put_option(out, identity.as_ref(), |out, id| {
                out.extend_from_slice(&id.0);
            });
        }
        put_varint(out, self.head.next);
        out.extend_from_slice(&self.head.top.0);
        put_varint(out, self.head.since_checkpoint);
        put_option(out, self.tail.as_ref(), |out, tail| {
            put_varint(out, tail.facts.start);
            out.extend_from_slice(&tail.facts.backlink.0);
            put_varint(out, tail.facts.next);
            out.extend_from_slice(&tail.facts.top.0);
            put_option(out, tail.facts.since_checkpoint.as_ref(), |out, since| {
                put_varint(out, *since);
            });
            put_varint(out, tail.first_order);
            put_varint(out, tail.last_order);
        });
        put_varint(out, self.last_order);
        put_option(out, self.fork.as_ref(), |out, fork| {
            put_varint(out, fork.seq);
            out.extend_from_slice(&fork.backlink.0);
        });
        put_option(out, self.revoked.as_ref(), |out, (identity, last)| {
            out.extend_from_slice(&identity.0);
            put_varint(out, last.seq);
            out.extend_from_slice(&last.id.0);
        });
        put_varint(out, u64::from(self.holes));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let space = read_u32(reader)?;
        let device = DeviceId(reader.id()?);
        let author = read_option(reader, |reader| Ok(IdentityId(reader.id()?)))?;
        let owner = read_option(reader, |reader| Ok(IdentityId(reader.id()?)))?;
        let head = Head {
            next: reader.varint()?,
            top: EntryId(reader.id()?),
            since_checkpoint: reader.varint()?,
        };
        let tail = read_option(reader, |reader| {
            let facts = TailFacts {
                start: reader.varint()?,
                backlink: EntryId(reader.id()?),
                next: reader.varint()?,
                top: EntryId(reader.id()?),
                since_checkpoint: read_option(reader, |reader| reader.varint())?,
            };
            Ok(TailRow {
                facts,
                first_order: reader.varint()?,
                last_order: reader.varint()?,
            })
        })?;
        Ok(Self {
            space,
            device,
            author,
            owner,
            head,
            tail,
            last_order: reader.varint()?,
            fork: read_option(reader, |reader| {
                Ok(ForkPoint {
                    seq: reader.varint()?,
                    backlink: EntryId(reader.id()?),
                })
            })?,
            revoked: read_option(reader, |reader| {
                let identity = IdentityId(reader.id()?);
                let last = LastGood {
                    seq: reader.varint()?,
                    id: EntryId(reader.id()?),
                };
                Ok((identity, last))
            })?,
            holes: read_u32(reader)?,
        })
    }
}

/// What a topic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicKind {
    /// A forum's thread.
    Thread,
    /// A blog's article or reblog with its comments.
    Article,
    /// The messages of two people.
    Conversation,
}

/// A thread, an article or a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicRow {
    pub(crate) space: u32,
    pub(crate) kind: TopicKind,
    /// Id of the first entry; zeros for a conversation.
    pub(crate) root: EntryId,
    /// Where the first entry lies, once it is held.
    pub(crate) first: Option<Place>,
    /// Order in time of the first entry, which sorts before all others whatever its time.
    pub(crate) first_order: u64,
    /// Newest activity.
    pub(crate) last: u64,
    /// Entries held.
    pub(crate) items: u32,
    /// The number that the next entry gets.
    pub(crate) next_index: u32,
    pub(crate) read: ReadSet,
}

impl TopicRow {
    pub(crate) fn unread(&self) -> u32 {
        self.next_index.saturating_sub(self.read.count())
    }
}

impl Row for TopicRow {
    const TABLE: Table = Table::Topics;

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.space));
        out.push(match self.kind {
            TopicKind::Thread => 0,
            TopicKind::Article => 1,
            TopicKind::Conversation => 2,
        });
        out.extend_from_slice(&self.root.0);
        put_option(out, self.first.as_ref(), |out, place| {
            put_varint(out, u64::from(place.feed));
            put_varint(out, place.seq);
        });
        put_varint(out, self.first_order);
        put_varint(out, self.last);
        put_varint(out, u64::from(self.items));
        put_varint(out, u64::from(self.next_index));
        self.read.put(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            space: read_u32(reader)?,
            kind: match reader.u8()? {
                0 => TopicKind::Thread,
                1 => TopicKind::Article,
                2 => TopicKind::Conversation,
                _ => return Err(WireError::Value("topic kind")),
            },
            root: EntryId(reader.id()?),
            first: read_option(reader, |reader| {
                Ok(Place {
                    feed: read_u32(reader)?,
                    seq: reader.varint()?,
                })
            })?,
            first_order: reader.varint()?,
            last: reader.varint()?,
            items: read_u32(reader)?,
            next_index: read_u32(reader)?,
            read: ReadSet::read(reader)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> impl Strategy<Value = [u8; 32]> {
        any::<[u8; 32]>()
    }

    fn good() -> impl Strategy<Value = (u64, [u8; 32])> {
        (any::<u64>(), id())
    }

    fn same<R: Row + PartialEq + std::fmt::Debug>(row: &R) -> Result<(), TestCaseError> {
        let bytes = row.encode();
        prop_assert_eq!(&R::decode(&bytes).unwrap(), row);
        for cut in 0..bytes.len() {
            prop_assert!(R::decode(&bytes[..cut]).is_err());
        }
        let mut newer = bytes;
        newer[0] = 2;
        prop_assert!(R::decode(&newer).is_err());
        Ok(())
    }

    proptest! {
        #[test]
        fn feeds_decode_to_what_was_encoded(space: u32, device in id(), author in proptest::option::of(id()), next: u64, top in id(), above in proptest::option::of((any::<u64>(), proptest::option::of(any::<u64>()))), fork in proptest::option::of(good()), revoked in proptest::option::of((id(), good())), holes: u32) {
            same(&FeedRow {
                space,
                device: DeviceId(device),
                author: author.map(IdentityId),
                owner: author.map(IdentityId),
                head: Head { next, top: EntryId(top), since_checkpoint: next / 2 },
                tail: above.map(|(start, since_checkpoint)| TailRow {
                    facts: TailFacts { start, backlink: EntryId(top), next, top: EntryId(top), since_checkpoint },
                    first_order: next / 5,
                    last_order: next / 4,
                }),
                last_order: next / 3,
                fork: fork.map(|(seq, id)| ForkPoint { seq, backlink: EntryId(id) }),
                revoked: revoked.map(|(identity, (seq, id))| (IdentityId(identity), LastGood { seq, id: EntryId(id) })),
                holes,
            })?;
        }

        #[test]
        fn spaces_topics_and_counts_decode_to_what_was_encoded(space in id(), descriptor in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)), pair in proptest::option::of((id(), id())), place in proptest::option::of((any::<u32>(), any::<u64>())), n: u32, m: u64) {
            same(&SpaceRow {
                id: SpaceId(space),
                kind: SpaceKind::Forum,
                descriptor: descriptor.clone(),
                pair: pair.map(|(a, b)| [IdentityId(a), IdentityId(b)]),
                chain: descriptor.unwrap_or_default(),
                joined: Millis(m),
            })?;
            let mut read = ReadSet::default();
            read.insert(n / 2);
            same(&TopicRow {
                space: n,
                kind: TopicKind::Article,
                root: EntryId(space),
                first: place.map(|(feed, seq)| Place { feed, seq }),
                first_order: m,
                last: m / 2,
                items: n,
                next_index: n,
                read,
            })?;
            same(&Counts { feeds: m, entries: m / 2, topics: m / 3, items: 4, unread: 5 })?;
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = FeedRow::decode(&bytes);
            let _ = SpaceRow::decode(&bytes);
            let _ = TopicRow::decode(&bytes);
        }
    }
}
