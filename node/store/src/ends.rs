//! How feeds end below their top: forks and revocations, in whatever order they are learned.
//!
//! Both are statements that are kept for good and count from when they are known: the lowest fork
//! and the lowest revocation of each device, a revocation before a fork. What they cut off is
//! taken out of everything that is shown, as if it had never come.

use proto::{
    DeviceId, EntryId, SpaceId,
    body::{Body, Revocation},
    fork::{Branch, ForkProof},
    verify::{
        Comparison, ForkPoint, LastGood, Overlap, Reject, removal_of, verify_fork,
        verify_revocation,
    },
};

use crate::{
    error::{ImportError, Result},
    keys::Place,
    rows::FeedRow,
    serve::{facts_of, revocation_key},
    tables::{Source, Table},
    txn::Txn,
    view::View,
    work::Work,
};

/// What to do with entries below a revocation's last good one that may be of another branch than
/// it keeps, because the feed forked below and isn't held so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// A branch has just shown itself beside what is held: make room for either.
    Cut,
    /// They have just come, and the kept branch has to begin somewhere.
    Keep,
}

impl Txn<'_> {
    /// Keeps a fork's proof where it is lower than what is known, and drops the entries at and
    /// above the fork. True where that changed anything.
    ///
    /// # Errors
    /// [`ImportError::Reject`] where it proves nothing or nothing is known of the feed.
    pub fn import_fork(
        &mut self,
        space: SpaceId,
        device: DeviceId,
        proof: &[u8],
    ) -> Result<bool, ImportError> {
        let mut work = Work::begin(self, space, 0)?;
        let Some(feed) = self.feed_number(work.space, device)? else {
            return Err(Reject::EndOfUnknownFeed.into());
        };
        let row = work.feed(self, feed)?.clone();
        if row.fork.is_some_and(|fork| fork.seq == 0) {
            return Ok(false);
        }
        let checked = verify_fork(&work.context, &facts_of(&row), proof)?;
        let changed = self.keep_fork(&mut work, feed, &checked)?;
        if changed {
            self.apply_ends(&mut work, feed, Doubt::Cut)?;
            self.govern(&mut work)?;
            work.finish(self)?;
        }
        Ok(changed)
    }

    /// Keeps a proof that holds. The lowest wins; of two at one place, the one with the lower
    /// backlink, so that everybody ends with the same.
    fn keep_fork(&mut self, work: &mut Work, feed: u32, proof: &ForkProof) -> Result<bool> {
        let row = work.feed(self, feed)?;
        let known = row.fork.map(|fork| (fork.seq, fork.backlink));
        if known.is_some_and(|known| known <= (proof.seq, proof.backlink)) {
            return Ok(false);
        }
        self.put(Table::Forks, &feed.to_be_bytes(), &proof.encode())?;
        work.feed_mut(self, feed)?.fork = Some(ForkPoint {
            seq: proof.seq,
            backlink: proof.backlink,
        });
        Ok(true)
    }

    /// Compares a run that disagrees with what is held, or lies inside it, with what is held, and
    /// applies the fork that it shows. A difference that can't be proven, because our own chain
    /// ends unsigned, counts as known.
    ///
    /// # Errors
    /// [`ImportError::Store`].
    pub fn compare(
        &mut self,
        space: SpaceId,
        overlap: &Overlap,
    ) -> Result<Comparison, ImportError> {
        let mut work = Work::begin(self, space, 0)?;
        let device = overlap.device();
        let Some(feed) = self.feed_number(work.space, device)? else {
            return Ok(Comparison::Known);
        };
        let row = work.feed(self, feed)?.clone();
        let mut ids = IdCache::new(self, space, feed, &row);
        let comparison = overlap.compare(|seq| ids.id(seq))?;
        let Comparison::Fork {
            seq,
            backlink,
            theirs,
        } = &comparison
        else {
            return Ok(comparison);
        };
        let Some(ours) = self.own_branch(space, feed, &row, *seq)? else {
            return Ok(Comparison::Known);
        };
        let proof = ForkProof::new(space, device, *seq, *backlink, ours, theirs.clone());
        if !proof.holds(space, device) {
            return Ok(Comparison::Known);
        }
        // Also where the fork is known: under a revocation the branch that is held may be the wrong
        // one as long as it doesn't reach the last good entry.
        self.keep_fork(&mut work, feed, &proof)?;
        self.apply_ends(&mut work, feed, Doubt::Cut)?;
        self.govern(&mut work)?;
        work.finish(self)?;
        Ok(comparison)
    }

    /// Our chain from `seq` to its next signature; `None` where it ends unsigned.
    fn own_branch(
        &self,
        space: SpaceId,
        feed: u32,
        row: &FeedRow,
        seq: u64,
    ) -> Result<Option<Branch>> {
        let mut headers = Vec::new();
        let mut signed = None;
        self.visit_entries(feed, row, space, seq, |_, header, _, signature| {
            headers.push(*header);
            signed = signature.copied();
            Ok(signed.is_none())
        })?;
        Ok(signed.map(|signature| Branch::new(headers.iter(), signature)))
    }

    /// Keeps a revocation of a known feed's device, or a removal of its author from a circle, that
    /// came without the entry that carries it, and cuts the feed. True where that changed anything.
    ///
    /// # Errors
    /// [`ImportError::Reject`] where the feed's author didn't sign it for this space.
    pub fn import_revocation(
        &mut self,
        space: SpaceId,
        device: DeviceId,
        body: &[u8],
    ) -> Result<bool, ImportError> {
        if removal_of(body).is_some() {
            return self.import_removal(space, body);
        }
        let mut work = Work::begin(self, space, 0)?;
        let Some(feed) = self.feed_number(work.space, device)? else {
            return Err(Reject::EndOfUnknownFeed.into());
        };
        let before = work.feed(self, feed)?.revoked;
        verify_revocation(space, &facts_of(work.feed(self, feed)?), body)?;
        self.note_revocation(&mut work, body)?;
        let changed = work.feed(self, feed)?.revoked != before;
        self.govern(&mut work)?;
        work.finish(self)?;
        Ok(changed)
    }

    /// Keeps a checked revocation where it is the lowest of its identity for its device. The
    /// device, where its feed was cut.
    pub(crate) fn note_revocation(
        &mut self,
        work: &mut Work,
        body: &[u8],
    ) -> Result<Option<DeviceId>> {
        let Ok(Body::Revocation(revocation)) = Body::decode(body) else {
            return Ok(None);
        };
        let key = revocation_key(work.space, revocation.device, revocation.identity);
        let known = self
            .0
            .with(Table::Revocations, key.as_slice(), last_good)?
            .flatten();
        if known.is_some_and(|known| (known.seq, known.id) <= (revocation.seq, revocation.id)) {
            return Ok(None);
        }
        self.put(Table::Revocations, key.as_slice(), body)?;
        let Some(feed) = self.feed_number(work.space, revocation.device)? else {
            return Ok(None);
        };
        if !self.find_revocation(work, feed)? {
            return Ok(None);
        }
        self.apply_ends(work, feed, Doubt::Cut)
    }

    /// Puts the revocation in force that the feed's author signed, or a removal from a circle, if any:
    /// whether there is one.
    pub(crate) fn find_revocation(&mut self, work: &mut Work, feed: u32) -> Result<bool> {
        let row = work.feed(self, feed)?.clone();
        let Some(author) = row.owner else {
            return Ok(false);
        };
        let key = revocation_key(work.space, row.device, author);
        let revoked = self
            .0
            .with(Table::Revocations, key.as_slice(), last_good)?
            .flatten()
            .map(|last| (author, last));
        let removed = self.removal_of_feed(work, author, row.device)?;
        let found = [revoked, removed].into_iter().flatten();
        let found = found.min_by_key(|(_, last)| (last.seq, last.id));
        if row.revoked != found {
            work.feed_mut(self, feed)?.revoked = found;
        }
        Ok(found.is_some())
    }

    /// Cuts a feed to what its fork and its revocation leave. The device, where that cut anything.
    pub(crate) fn apply_ends(
        &mut self,
        work: &mut Work,
        feed: u32,
        doubt: Doubt,
    ) -> Result<Option<DeviceId>> {
        let row = work.feed(self, feed)?.clone();
        work.feed_mut(self, feed)?;
        let ended = row.fork.is_some() || row.revoked.is_some();
        let above = ended && row.tail.is_some();
        if above {
            // A feed that has ended is fetched from below, to where it ends.
            self.drop_tail(work, feed)?;
        }
        let keep = self.kept(work.id, feed, &row, doubt)?;
        if keep >= row.head.next {
            return Ok(above.then_some(row.device));
        }
        work.flush(self)?;
        self.truncate(work, feed, keep)?;
        Ok(Some(row.device))
    }

    /// How many entries of a feed remain.
    fn kept(&self, space: SpaceId, feed: u32, row: &FeedRow, doubt: Doubt) -> Result<u64> {
        let below_fork = |fork: ForkPoint| -> Result<u64> {
            if row.head.next < fork.seq {
                return Ok(row.head.next);
            }
            // Another chain than the one that the proof continues: it forked further down, where
            // nobody can prove it yet. What the proof vouches for is fetched anew.
            let shared = match fork.seq.checked_sub(1) {
                Some(last) => self.id_of(space, feed, row, last)? == Some(fork.backlink),
                None => true,
            };
            Ok(if shared { fork.seq } else { 0 })
        };
        let Some((_, last)) = row.revoked else {
            return row.fork.map_or(Ok(row.head.next), below_fork);
        };
        let reaches = last.seq < row.head.next;
        if reaches && self.id_of(space, feed, row, last.seq)? == Some(last.id) {
            return Ok(last.seq + 1);
        }
        if !reaches && doubt == Doubt::Keep {
            return Ok(row.head.next);
        }
        match row.fork.filter(|fork| fork.seq <= last.seq) {
            Some(fork) => below_fork(fork),
            None if reaches => Ok(0),
            None => Ok(row.head.next),
        }
    }

    /// Takes all entries from `keep` on out of a feed, newest first.
    pub(crate) fn truncate(&mut self, work: &mut Work, feed: u32, keep: u64) -> Result<()> {
        let before = work.feed(self, feed)?.clone();
        let mut next = before.head.next;
        while next > keep {
            next = self.leave_segment(work, feed, next, keep)?;
        }
        self.reopen_segment(feed, keep)?;
        let head = self.head_at(work.id, feed, &before, keep)?;
        let order = match self.indexed(&head.top)? {
            Some(indexed) if keep > 0 => indexed.order,
            _ => 0,
        };
        let row = work.feed_mut(self, feed)?;
        row.head = head;
        row.last_order = order;
        if keep == 0 {
            row.author = None;
            work.counts.feeds = work.counts.feeds.saturating_sub(1);
        }
        let dropped = before.head.next - keep;
        work.counts.entries = work.counts.entries.saturating_sub(dropped);
        Ok(())
    }
}

impl Txn<'_> {
    /// Takes the entries of the segment that ends at `next` out of a feed, as far as they stand at
    /// or above `keep`; the place up to which entries are left.
    pub(crate) fn leave_segment(
        &mut self,
        work: &mut Work,
        feed: u32,
        next: u64,
        keep: u64,
    ) -> Result<u64> {
        let segment =
            self.segment(feed, next.saturating_sub(1))?
                .ok_or(crate::error::Error::Corrupt {
                    table: Table::Sealed.name(),
                })?;
        let device = work.feed(self, feed)?.device;
        let dropped = dropped_entries(&segment, work.id, device, keep)?;
        for (seq, id, body) in dropped.iter().rev() {
            work.leave(self, Place { feed, seq: *seq }, id, body.as_deref())?;
        }
        self.cut_segment(feed, &segment, keep)?;
        Ok(segment.first.max(keep))
    }
}

type Dropped = Vec<(u64, EntryId, Option<Vec<u8>>)>;

fn dropped_entries(
    segment: &crate::segment::Segment,
    space: SpaceId,
    device: DeviceId,
    keep: u64,
) -> Result<Dropped> {
    let run = segment.run()?;
    Ok(run
        .headers(space, device)
        .zip(&run.items)
        .filter(|((_, header), _)| header.seq >= keep)
        .map(|((id, header), item)| {
            let body = match item.body {
                proto::run::BodyPart::Present(bytes) => Some(bytes.to_vec()),
                proto::run::BodyPart::Absent { .. } => None,
            };
            (header.seq, id, body)
        })
        .collect())
}

fn last_good(body: &[u8]) -> Option<LastGood> {
    match Body::decode(body) {
        Ok(Body::Revocation(revocation)) => {
            let Revocation { seq, id, .. } = *revocation;
            Some(LastGood { seq, id })
        }
        _ => None,
    }
}

/// Ids of a feed's entries, asked for in ascending order, a segment at a time.
struct IdCache<'v, S> {
    view: &'v View<S>,
    space: SpaceId,
    feed: u32,
    row: &'v FeedRow,
    first: u64,
    ids: Vec<EntryId>,
}

impl<'v, S: Source> IdCache<'v, S> {
    const fn new(view: &'v View<S>, space: SpaceId, feed: u32, row: &'v FeedRow) -> Self {
        Self {
            view,
            space,
            feed,
            row,
            first: 0,
            ids: Vec::new(),
        }
    }

    fn id(&mut self, seq: u64) -> Result<Option<EntryId>> {
        if let Some(tail) = self.row.tail.map(|tail| tail.facts)
            && seq.checked_add(1) == Some(tail.start)
        {
            return Ok(Some(tail.backlink));
        }
        if !self.row.holds(seq) {
            return Ok(None);
        }
        if seq < self.first || seq - self.first >= self.ids.len() as u64 {
            let Some(segment) = self.view.segment(self.feed, seq)? else {
                return Ok(None);
            };
            let run = segment.run()?;
            self.first = run.start;
            self.ids = run
                .headers(self.space, self.row.device)
                .map(|(id, _)| id)
                .collect();
        }
        let at = usize::try_from(seq - self.first).unwrap_or(usize::MAX);
        Ok(self.ids.get(at).copied())
    }
}
