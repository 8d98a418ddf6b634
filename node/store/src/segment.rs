//! Entries on disk: contiguous ones of a feed packed into segments, each a [`Run`] as it travels.
//!
//! redb gives a value pages of a power of two, so a segment grows until it just fits 16 KiB.
//! Full segments have a table of their own: one that shared pages with small rows would take
//! twice the space. The last segment of each feed is rewritten with each append, which costs at
//! most its 16 KiB; it becomes a full one when nothing more fits.
//!
//! Signatures are kept of the first entry, of checkpoints and of the last entry.

use std::collections::BTreeMap;

use proto::{
    EntryId, Millis, SpaceId,
    entry::{Head, Header},
    keys::Signature,
    limits::CHECKPOINT_ENTRIES,
    run::{BodyPart, Item, Run},
    verify::{VerifiedItem, VerifiedTail, unsigned_checkpoint},
    wire::{Reader, zigzag},
};

use crate::{
    error::{Error, Result},
    keys::{Key, Place, Prefixed},
    rows::FeedRow,
    tables::{Source, Table},
    txn::Txn,
    view::View,
};

/// Bytes of a segment at most, unless one entry alone has more: a page of 16 KiB less redb's
/// header of a leaf (4), two offsets (8) and the key (12).
pub(crate) const SEGMENT_BYTES_MAX: usize = 16 * 1024 - 24;
/// Bytes of a run beyond its entries: start, backlink, counts.
const RUN_OVERHEAD: usize = 10 + 32 + 2 + 2;
/// Bytes of a kept signature with its index.
const SIGNATURE_BYTES: usize = 64 + 2;

/// A segment as read.
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) sealed: bool,
}

impl Segment {
    pub(crate) fn run(&self) -> Result<Run<'_>> {
        Run::decode(&self.bytes).map_err(|_| damaged())
    }
}

const fn damaged() -> Error {
    Error::Corrupt {
        table: Table::Sealed.name(),
    }
}

/// One entry as read from its segment.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) id: EntryId,
    pub(crate) header: Header,
    pub(crate) body: Option<Vec<u8>>,
}

fn sealed_key(feed: u32, first: u64) -> Key {
    Key::new().u32(feed).u64(first)
}

fn first_of(bytes: &[u8]) -> Result<u64> {
    Reader::new(bytes).varint().map_err(|_| damaged())
}

impl<S: Source> View<S> {
    /// The segment in which an entry lies; `None` above the last one.
    pub(crate) fn segment(&self, feed: u32, seq: u64) -> Result<Option<Segment>> {
        let open = self
            .0
            .with(Table::Open, &feed.to_be_bytes(), |bytes| -> Result<_> {
                let first = first_of(bytes)?;
                Ok((first <= seq).then(|| (first, bytes.to_vec())))
            })?
            .transpose()?
            .flatten();
        if let Some((first, bytes)) = open {
            return Ok(Some(Segment {
                first,
                bytes,
                sealed: false,
            }));
        }
        self.sealed_at_or_below(feed, seq)
    }

    fn sealed_at_or_below(&self, feed: u32, seq: u64) -> Result<Option<Segment>> {
        let range = Prefixed::new(Key::new().u32(feed));
        let key = sealed_key(feed, seq);
        let row = self
            .0
            .rows(Table::Sealed, range.up_to(key.as_slice()))?
            .next_back()
            .transpose()?;
        let Some((_, value)) = row else {
            return Ok(None);
        };
        let bytes = value.value().to_vec();
        Ok(Some(Segment {
            first: first_of(&bytes)?,
            bytes,
            sealed: true,
        }))
    }

    /// Visits the entries from `from` in order, with their headers, while `visit` says so.
    pub(crate) fn visit_entries(
        &self,
        feed: u32,
        row: &FeedRow,
        space: SpaceId,
        from: u64,
        mut visit: impl FnMut(EntryId, &Header, &BodyPart<'_>, Option<&Signature>) -> Result<bool>,
    ) -> Result<()> {
        let mut next = from;
        let end = row.end_above(from).unwrap_or(from);
        while next < end {
            let segment = self.segment(feed, next)?.ok_or_else(damaged)?;
            let run = segment.run()?;
            if next >= run.end() {
                return Err(damaged());
            }
            let mut signatures = run.signatures.iter().peekable();
            for (at, ((id, header), item)) in
                run.headers(space, row.device).zip(&run.items).enumerate()
            {
                let signature = signatures.next_if(|(index, _)| *index as usize == at);
                if header.seq < next {
                    continue;
                }
                if !visit(id, &header, &item.body, signature.map(|(_, s)| s))? {
                    return Ok(());
                }
            }
            next = run.end();
        }
        Ok(())
    }

    /// One entry.
    pub(crate) fn entry_at(
        &self,
        space: SpaceId,
        feed: u32,
        row: &FeedRow,
        seq: u64,
    ) -> Result<Option<Loaded>> {
        if !row.holds(seq) {
            return Ok(None);
        }
        let mut loaded = None;
        self.visit_entries(feed, row, space, seq, |id, header, body, _| {
            loaded = Some(Loaded {
                id,
                header: *header,
                body: present(body),
            });
            Ok(false)
        })?;
        Ok(loaded)
    }

    /// The id of a held entry; `None` in a gap and above the last one.
    pub(crate) fn id_of(
        &self,
        space: SpaceId,
        feed: u32,
        row: &FeedRow,
        seq: u64,
    ) -> Result<Option<EntryId>> {
        if seq.checked_add(1) == Some(row.head.next) {
            return Ok(Some(row.head.top));
        }
        Ok(self
            .entry_at(space, feed, row, seq)?
            .map(|loaded| loaded.id))
    }

    /// Entries at many places. Each segment is read once, and hashed no further than needed.
    pub(crate) fn entries_at(
        &self,
        places: impl IntoIterator<Item = Place>,
    ) -> Result<BTreeMap<Place, Loaded>> {
        let mut places: Vec<Place> = places.into_iter().collect();
        places.sort_unstable();
        places.dedup();
        let mut loaded = BTreeMap::new();
        let mut rest = places.as_slice();
        while let Some(first) = rest.first().copied() {
            let count = rest.iter().take_while(|p| p.feed == first.feed).count();
            let (of_feed, others) = rest.split_at(count);
            rest = others;
            let Some(row) = self.feed_row(first.feed)? else {
                continue;
            };
            let space = self.space_row(row.space)?.id;
            self.entries_of(first.feed, &row, space, of_feed, &mut loaded)?;
        }
        Ok(loaded)
    }

    fn entries_of(
        &self,
        feed: u32,
        row: &FeedRow,
        space: SpaceId,
        places: &[Place],
        loaded: &mut BTreeMap<Place, Loaded>,
    ) -> Result<()> {
        let mut wanted = places
            .iter()
            .copied()
            .filter(|place| row.holds(place.seq))
            .peekable();
        while let Some(place) = wanted.peek().copied() {
            let segment = self.segment(feed, place.seq)?.ok_or_else(damaged)?;
            let run = segment.run()?;
            if place.seq >= run.end() {
                return Err(damaged());
            }
            for ((id, header), item) in run.headers(space, row.device).zip(&run.items) {
                let Some(place) = wanted.next_if(|place| place.seq == header.seq) else {
                    if wanted.peek().is_none_or(|place| place.seq >= run.end()) {
                        break;
                    }
                    continue;
                };
                let body = present(&item.body);
                loaded.insert(place, Loaded { id, header, body });
            }
        }
        Ok(())
    }
}

fn item_of<'b>(entry: &VerifiedItem, body: Option<&'b [u8]>) -> Item<'b> {
    let absent = BodyPart::Absent {
        len: entry.body_len,
        hash: entry.body_hash,
    };
    Item {
        created: entry.created,
        body: body.map_or(absent, BodyPart::Present),
    }
}

fn present(body: &BodyPart<'_>) -> Option<Vec<u8>> {
    match body {
        BodyPart::Present(bytes) => Some(bytes.to_vec()),
        BodyPart::Absent { .. } => None,
    }
}

/// Packs entries into segments, writing each that is full.
struct Packer<'r> {
    feed: u32,
    run: Run<'r>,
    bytes: usize,
    before: Millis,
}

impl<'r> Packer<'r> {
    fn new(feed: u32, start: u64, backlink: EntryId) -> Self {
        Self {
            feed,
            run: Run::new(start, backlink),
            bytes: RUN_OVERHEAD,
            before: Millis::ZERO,
        }
    }

    /// Adds an entry. `top` is the id of the entry before it.
    fn push(
        &mut self,
        txn: &mut Txn<'_>,
        top: EntryId,
        item: Item<'r>,
        signature: Option<Signature>,
    ) -> Result<()> {
        let added = item_bytes(self.before, &item)
            + if signature.is_some() {
                SIGNATURE_BYTES
            } else {
                0
            };
        if !self.run.items.is_empty() && self.bytes + added > SEGMENT_BYTES_MAX {
            let start = self.run.end();
            let full = std::mem::replace(self, Self::new(self.feed, start, top));
            txn.put(
                Table::Sealed,
                sealed_key(full.feed, full.run.start).as_slice(),
                &full.run.encode(),
            )?;
        }
        self.bytes += added;
        self.before = item.created;
        if let Some(signature) = signature {
            let index = u32::try_from(self.run.items.len()).map_err(|_| damaged())?;
            self.run.signatures.push((index, signature));
        }
        self.run.items.push(item);
        Ok(())
    }
}

/// Bytes that an entry takes in a run, at most.
fn item_bytes(before: Millis, item: &Item<'_>) -> usize {
    let body = match item.body {
        BodyPart::Present(bytes) => bytes.len(),
        BodyPart::Absent { .. } => 32,
    };
    let time = zigzag(item.created.0.wrapping_sub(before.0).cast_signed());
    varint_len(time) + varint_len(u64::from(item.body.len()) << 1) + body
}

const fn varint_len(value: u64) -> usize {
    let bits = 64 - value.leading_zeros() as usize;
    if bits == 0 { 1 } else { bits.div_ceil(7) }
}

impl Txn<'_> {
    /// Appends a run that continues the feed at `head`. Below a gap the segment that grows lies
    /// among the full ones, because the one above it grows too.
    pub(crate) fn append_segments(
        &mut self,
        feed: u32,
        head: &Head,
        run: &proto::verify::VerifiedRun,
        gap: bool,
    ) -> Result<()> {
        let key = feed.to_be_bytes();
        let open = if gap {
            self.take_sealed(feed, head.next)?
        } else {
            crate::tables::Source::with(&self.0, Table::Open, &key, |bytes| bytes.to_vec())?
        };
        let open = open.unwrap_or_default();
        let mut packer = if open.is_empty() {
            Packer::new(feed, head.next, head.top)
        } else {
            let mut known = Run::decode(&open).map_err(|_| damaged())?;
            let mut bytes = open.len();
            // The signature of the former last entry goes, unless that was a checkpoint.
            if head.since_checkpoint > 0
                && known
                    .signatures
                    .last()
                    .is_some_and(|(index, _)| *index as usize + 1 == known.items.len())
            {
                known.signatures.pop();
                bytes = bytes.saturating_sub(SIGNATURE_BYTES);
            }
            let before = known.items.last().map_or(Millis::ZERO, |item| item.created);
            Packer {
                feed,
                bytes,
                run: known,
                before,
            }
        };
        let mut top = head.top;
        let mut signatures = run.signatures().iter().copied().peekable();
        for (seq, entry) in (head.next..).zip(run.items()) {
            let item = item_of(entry, run.body_bytes(entry));
            let signature = signatures.next_if(|(at, _)| *at == seq).map(|(_, s)| s);
            packer.push(self, top, item, signature)?;
            top = entry.id;
        }
        if gap {
            let key = sealed_key(feed, packer.run.start);
            self.put(Table::Sealed, key.as_slice(), &packer.run.encode())
        } else {
            self.put(Table::Open, &key, &packer.run.encode())
        }
    }

    /// Takes the last segment below `next` out of the full ones.
    fn take_sealed(&mut self, feed: u32, next: u64) -> Result<Option<Vec<u8>>> {
        let Some(last) = next.checked_sub(1) else {
            return Ok(None);
        };
        let segment = self.segment(feed, last)?.ok_or_else(damaged)?;
        self.remove(Table::Sealed, sealed_key(feed, segment.first).as_slice())?;
        Ok(Some(segment.bytes))
    }

    /// Puts the segment that grows among the full ones: another one will grow above a gap.
    pub(crate) fn seal_open_segment(&mut self, feed: u32) -> Result<()> {
        let key = feed.to_be_bytes();
        let open = crate::tables::Source::with(&self.0, Table::Open, &key, |bytes| bytes.to_vec())?;
        let Some(open) = open else {
            return Ok(());
        };
        self.remove(Table::Open, &key)?;
        let key = sealed_key(feed, first_of(&open)?);
        self.put(Table::Sealed, key.as_slice(), &open)
    }

    /// Writes entries above a gap: what continues them or begins them into the segment that grows,
    /// what lies below them into segments of their own.
    pub(crate) fn put_tail(&mut self, feed: u32, tail: &VerifiedTail, above: bool) -> Result<()> {
        let key = feed.to_be_bytes();
        let open = if above {
            crate::tables::Source::with(&self.0, Table::Open, &key, |bytes| bytes.to_vec())?
        } else {
            None
        };
        let open = open.unwrap_or_default();
        let mut packer = if open.is_empty() {
            Packer::new(feed, tail.start(), tail.backlink())
        } else {
            let run = Run::decode(&open).map_err(|_| damaged())?;
            let before = run.items.last().map_or(Millis::ZERO, |item| item.created);
            Packer {
                feed,
                bytes: open.len(),
                run,
                before,
            }
        };
        let mut top = tail.backlink();
        let mut signatures = tail.signatures().iter().copied().peekable();
        for (seq, entry) in (tail.start()..).zip(tail.items()) {
            let item = item_of(entry, tail.body_bytes(entry));
            let signature = signatures.next_if(|(at, _)| *at == seq).map(|(_, s)| s);
            packer.push(self, top, item, signature)?;
            top = entry.id;
        }
        let bytes = packer.run.encode();
        if above {
            self.put(Table::Open, &key, &bytes)
        } else {
            let key = sealed_key(feed, packer.run.start);
            self.put(Table::Sealed, key.as_slice(), &bytes)
        }
    }

    /// Replaces the body of one entry in its segment. A segment that outgrows its page is split.
    pub(crate) fn replace_body(
        &mut self,
        space: SpaceId,
        feed: u32,
        row: &FeedRow,
        seq: u64,
        body: Option<&[u8]>,
    ) -> Result<()> {
        if body.is_none() {
            self.note_removed()?;
        }
        let segment = self.segment(feed, seq)?.ok_or_else(damaged)?;
        let mut run = segment.run()?;
        let item = seq
            .checked_sub(run.start)
            .and_then(|at| run.items.get_mut(usize::try_from(at).ok()?))
            .ok_or_else(damaged)?;
        item.body = match body {
            Some(bytes) => BodyPart::Present(bytes),
            None => BodyPart::Absent {
                len: item.body.len(),
                hash: item.body.hash(),
            },
        };
        let ids: Vec<EntryId> = run.headers(space, row.device).map(|(id, _)| id).collect();
        if segment.sealed {
            self.remove(Table::Sealed, sealed_key(feed, segment.first).as_slice())?;
        }
        let mut packer = Packer::new(feed, run.start, run.backlink);
        let mut top = run.backlink;
        let mut signatures = run.signatures.iter().copied().peekable();
        for (at, (item, id)) in run.items.iter().zip(ids).enumerate() {
            let signature = signatures
                .next_if(|(index, _)| *index as usize == at)
                .map(|(_, signature)| signature);
            packer.push(self, top, *item, signature)?;
            top = id;
        }
        let bytes = packer.run.encode();
        if segment.sealed {
            let key = sealed_key(feed, packer.run.start);
            self.put(Table::Sealed, key.as_slice(), &bytes)
        } else {
            self.put(Table::Open, &feed.to_be_bytes(), &bytes)
        }
    }

    /// Cuts the last segment of a feed down to the entries below `keep`, or removes it whole.
    /// The caller goes on until nothing at or above `keep` is left.
    pub(crate) fn cut_segment(&mut self, feed: u32, segment: &Segment, keep: u64) -> Result<()> {
        if segment.sealed {
            self.remove(Table::Sealed, sealed_key(feed, segment.first).as_slice())?;
        } else {
            self.remove(Table::Open, &feed.to_be_bytes())?;
        }
        let mut run = segment.run()?;
        let left = usize::try_from(keep.saturating_sub(run.start)).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(());
        }
        run.items.truncate(left);
        run.signatures.retain(|(index, _)| (*index as usize) < left);
        self.put(Table::Open, &feed.to_be_bytes(), &run.encode())
    }

    /// Makes the last full segment the one that grows, where there is none.
    pub(crate) fn reopen_segment(&mut self, feed: u32, keep: u64) -> Result<()> {
        let Some(last) = keep.checked_sub(1) else {
            return Ok(());
        };
        let segment = self.segment(feed, last)?.ok_or_else(damaged)?;
        if segment.sealed {
            self.remove(Table::Sealed, sealed_key(feed, segment.first).as_slice())?;
            self.put(Table::Open, &feed.to_be_bytes(), &segment.bytes)?;
        }
        Ok(())
    }

    /// The head behind the first `keep` entries.
    pub(crate) fn head_at(
        &self,
        space: SpaceId,
        feed: u32,
        row: &FeedRow,
        keep: u64,
    ) -> Result<Head> {
        let Some(last) = keep.checked_sub(1) else {
            return Ok(Head::EMPTY);
        };
        // Every 256th entry is a checkpoint, whatever the bytes are.
        let block = last / CHECKPOINT_ENTRIES * CHECKPOINT_ENTRIES;
        let mut top = None;
        let mut since_checkpoint = 0;
        self.visit_entries(feed, row, space, block, |id, header, _, _| {
            let entry = [(header.seq, header.body_len, true)];
            (_, since_checkpoint) = unsigned_checkpoint(since_checkpoint, entry);
            if header.seq == last {
                top = Some(id);
            }
            Ok(header.seq < last)
        })?;
        Ok(Head {
            next: keep,
            top: top.ok_or_else(damaged)?,
            since_checkpoint,
        })
    }
}
