//! Entries above a gap: the newest of a feed, taken before its history.
//!
//! A tail's top is signed. From there it grows downwards by chunks that may be cut anywhere, each
//! authenticated by the backlink of the entry above it, and upwards like any feed. Where a feed's
//! checkpoints by bytes lie can't be known in its lowest block of 256 entries as long as the gap is
//! open, so there a missing signature shows only later: see [`unsigned_checkpoint`].

use super::{
    FeedFacts, Outcome, Reject, VerifiedItem, check_bodies, check_signature, items, overlap,
};
use crate::{
    body::Body,
    entry::is_checkpoint,
    ids::{DeviceId, EntryId},
    keys::Signature,
    run::{Linked, Run},
    space::SpaceContext,
};

/// What is held of a feed above a gap, as validation needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailFacts {
    /// Place of the first entry.
    pub start: u64,
    /// Id of the entry before the first, which authenticates what fills the gap.
    pub backlink: EntryId,
    /// Place behind the last.
    pub next: u64,
    /// Id of the last.
    pub top: EntryId,
    /// Bytes of bodies since the last checkpoint; `None` as long as the tail reaches no place that
    /// is a checkpoint whatever the bytes are.
    pub since_checkpoint: Option<u64>,
}

/// Entries above a gap that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTail {
    bytes: Vec<u8>,
    device: DeviceId,
    start: u64,
    backlink: EntryId,
    items: Vec<VerifiedItem>,
    signatures: Vec<(u64, Signature)>,
}

impl VerifiedTail {
    /// The feed's device.
    #[must_use]
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Place of the first entry; never 0.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// Place behind the last entry.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.items.len() as u64)
    }

    /// Id of the entry before the first.
    #[must_use]
    pub const fn backlink(&self) -> EntryId {
        self.backlink
    }

    /// Id of the last entry.
    #[must_use]
    pub fn top(&self) -> EntryId {
        self.items.last().map_or(self.backlink, |item| item.id)
    }

    /// The entries.
    #[must_use]
    pub fn items(&self) -> &[VerifiedItem] {
        &self.items
    }

    /// Signatures by seq, ascending.
    #[must_use]
    pub fn signatures(&self) -> &[(u64, Signature)] {
        &self.signatures
    }

    /// Whether its last entry is signed, so that it can stand by itself.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        let last = self.signatures.last();
        last.is_some_and(|(seq, _)| seq.checked_add(1) == Some(self.end()))
    }

    /// The bytes of a body, `None` where it is absent.
    #[must_use]
    pub fn body_bytes(&self, item: &VerifiedItem) -> Option<&[u8]> {
        self.bytes.get(item.body.clone()?)
    }

    /// A body, `None` where it is absent. Costs the decoding.
    #[must_use]
    pub fn body(&self, item: &VerifiedItem) -> Option<Body<'_>> {
        Body::decode(self.body_bytes(item)?).ok()
    }

    /// Bytes that it takes in memory, about.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes.len() + self.items.len() * size_of::<VerifiedItem>()
    }

    /// Id of the entry at a place inside it or just below it.
    #[must_use]
    pub fn id(&self, seq: u64) -> Option<EntryId> {
        if seq.checked_add(1) == Some(self.start) {
            return Some(self.backlink);
        }
        let at = usize::try_from(seq.checked_sub(self.start)?).ok()?;
        self.items.get(at).map(|item| item.id)
    }

    /// The part of it in `from..end`; `None` where that is empty.
    #[must_use]
    pub fn between(mut self, from: u64, end: u64) -> Option<Self> {
        let (from, end) = (from.max(self.start), end.min(self.end()));
        if from >= end {
            return None;
        }
        self.backlink = self.id(from - 1)?;
        let skip = usize::try_from(from - self.start).ok()?;
        self.items.truncate(usize::try_from(end - self.start).ok()?);
        self.items.drain(..skip);
        self.signatures.retain(|(seq, _)| (from..end).contains(seq));
        self.start = from;
        Some(self)
    }
}

/// Checks a chunk that lies just below a feed's tail, or one that begins it: the newest entries
/// that the peer has, signed. The genesis is never part of it; it has to be known.
///
/// # Errors
/// See [`Reject`].
pub fn verify_tail_chunk(
    space: &SpaceContext,
    facts: &FeedFacts,
    bytes: Vec<u8>,
) -> Result<VerifiedTail, Reject> {
    check_open(facts)?;
    let run = Run::decode(&bytes)?;
    let gap = |expected, found| Err(Reject::Gap { expected, found });
    if facts.head.next == 0 {
        return gap(0, run.start);
    }
    if let Some(tail) = facts.tail.filter(|tail| tail.start != run.end()) {
        return gap(tail.start, run.end());
    }
    if run.start == 0 {
        return Err(Reject::SecondGenesis { seq: 0 });
    }
    let links: Vec<Linked> = run.links(space.id, facts.device).collect();
    let signed = run
        .signatures
        .last()
        .is_some_and(|(index, _)| *index as usize + 1 == links.len());
    match facts.tail {
        Some(tail) if links.last().map(|link| link.id) != Some(tail.backlink) => {
            return Err(Reject::OtherBranch {
                seq: run.end().saturating_sub(1),
            });
        }
        None if !signed => return Err(Reject::Unsigned),
        _ => {}
    }
    let signatures = check_chunk_signatures(facts.device, &run, &links)?;
    verified(space, facts.device, bytes, &links, 0, signatures)
}

/// A run that begins inside a tail or at its end.
pub(super) fn continue_tail(
    space: &SpaceContext,
    facts: &FeedFacts,
    tail: &TailFacts,
    bytes: Vec<u8>,
) -> Result<Outcome, Reject> {
    check_open(facts)?;
    let run = Run::decode(&bytes)?;
    let known = tail.next.checked_sub(run.start).ok_or(Reject::Gap {
        expected: tail.next,
        found: run.start,
    })?;
    let links: Vec<Linked> = run.links(space.id, facts.device).collect();
    let agrees = match usize::try_from(known) {
        Ok(0) => run.backlink == tail.top,
        Ok(known) => links.get(known - 1).is_some_and(|link| link.id == tail.top),
        Err(_) => false,
    };
    if !agrees || run.end() <= tail.next {
        return overlap(facts, &run, links, agrees).map(Outcome::Overlaps);
    }
    let known = usize::try_from(known).unwrap_or(usize::MAX);
    let signatures = check_new_signatures(facts.device, tail, &run, &links, known)?;
    verified(space, facts.device, bytes, &links, known, signatures).map(Outcome::ContinuesTail)
}

/// What has an end below or above is fetched from its beginning.
fn check_open(facts: &FeedFacts) -> Result<(), Reject> {
    facts.end().map_or(Ok(()), |end| Err(end.beyond()))
}

type Signatures = Vec<(u64, Signature)>;

/// All signatures of a chunk have to hold; those of every 256th entry must be there.
fn check_chunk_signatures(
    device: DeviceId,
    run: &Run<'_>,
    links: &[Linked],
) -> Result<Signatures, Reject> {
    let mut held = Vec::with_capacity(run.signatures.len());
    let mut signatures = run.signatures.iter().peekable();
    for (at, (seq, link)) in (run.start..).zip(links).enumerate() {
        match signatures.next_if(|(index, _)| *index as usize == at) {
            Some((_, signature)) => {
                check_signature(device, seq, link.id, signature)?;
                held.push((seq, *signature));
            }
            None if is_checkpoint(seq, 0) => return Err(Reject::CheckpointUnsigned { seq }),
            None => {}
        }
    }
    Ok(held)
}

/// Signatures of what is new in a run that continues a tail.
fn check_new_signatures(
    device: DeviceId,
    tail: &TailFacts,
    run: &Run<'_>,
    links: &[Linked],
    known: usize,
) -> Result<Signatures, Reject> {
    let mut since = tail.since_checkpoint;
    let mut held = Vec::new();
    let first = run
        .signatures
        .partition_point(|(index, _)| (*index as usize) < known);
    let mut signatures = run.signatures.iter().skip(first).peekable();
    for (at, (seq, link)) in (run.start..).zip(links).enumerate().skip(known) {
        since = since.map(|since| since.saturating_add(u64::from(link.body_len)));
        let checkpoint = match since {
            _ if is_checkpoint(seq, 0) => Some(true),
            Some(since) => Some(is_checkpoint(seq, since)),
            None => None,
        };
        let last = at + 1 == links.len();
        match signatures.next_if(|(index, _)| *index as usize == at) {
            Some(_) if checkpoint == Some(false) && !last => {
                return Err(Reject::StraySignature { seq });
            }
            Some((_, signature)) => {
                check_signature(device, seq, link.id, signature)?;
                held.push((seq, *signature));
            }
            None if checkpoint == Some(true) => return Err(Reject::CheckpointUnsigned { seq }),
            None if last => return Err(Reject::Unsigned),
            None => {}
        }
        if checkpoint == Some(true) {
            since = Some(0);
        }
    }
    Ok(held)
}

fn verified(
    space: &SpaceContext,
    device: DeviceId,
    bytes: Vec<u8>,
    links: &[Linked],
    known: usize,
    signatures: Signatures,
) -> Result<VerifiedTail, Reject> {
    let run = Run::decode(&bytes)?;
    let from = run.start.saturating_add(known as u64);
    check_bodies(space, device, &run, links, from, links.len())?;
    let items = items(&bytes, &run, links, links.len());
    let (start, backlink) = (run.start, run.backlink);
    let end = start.saturating_add(links.len() as u64);
    VerifiedTail {
        bytes,
        device,
        start,
        backlink,
        items,
        signatures,
    }
    .between(from, end)
    .ok_or(Reject::Unsigned)
}

/// Walks along entries whose first comes `since` bytes after a checkpoint, told as place, length of
/// the body and whether it is signed: the first checkpoint without a signature, and the bytes since
/// the last checkpoint at the end.
pub fn unsigned_checkpoint(
    since: u64,
    entries: impl IntoIterator<Item = (u64, u32, bool)>,
) -> (Option<u64>, u64) {
    let mut since = since;
    let mut unsigned = None;
    for (seq, body_len, signed) in entries {
        since = since.saturating_add(u64::from(body_len));
        if is_checkpoint(seq, since) {
            since = 0;
            if !signed && unsigned.is_none() {
                unsigned = Some(seq);
            }
        }
    }
    (unsigned, since)
}
