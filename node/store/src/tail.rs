//! Entries above a gap: taking them in from above, closing the gap, and giving them up.
//!
//! What is held from the first entry on counts: where a tail turns out to be of another branch, or
//! to lack the signature of a checkpoint, it goes, and is fetched again from below.

use proto::{
    Millis, SpaceId,
    entry::Head,
    limits::CHECKPOINT_ENTRIES,
    space::SpaceKind,
    verify::{Reject, TailFacts, VerifiedRun, VerifiedTail, unsigned_checkpoint},
};

use crate::{
    error::{ImportError, Result},
    feeds::{Coming, Imported},
    keys::{Key, Place, Prefixed, number},
    rows::{FeedRow, TailRow},
    tables::{Source, Table},
    txn::Txn,
    view::View,
    work::Work,
};

/// Where entries go relative to the tail that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// They begin a tail.
    First,
    /// They lie just below it.
    Below,
    /// They continue it.
    Above,
}

impl<S: Source> View<S> {
    /// Entries of a space that exist for sure and are missing below newer ones; 0 for one that
    /// isn't held.
    ///
    /// # Errors
    /// The database's.
    pub fn missing_below(&self, space: SpaceId) -> Result<u64> {
        self.space_number(space)?
            .map_or(Ok(0), |number| self.missing_in(number))
    }

    pub(crate) fn missing_in(&self, space: u32) -> Result<u64> {
        let range = Prefixed::new(Key::new().u32(space));
        let mut missing = 0_u64;
        for row in self.0.rows(Table::Gaps, range.bounds())? {
            missing = missing.saturating_add(number(row?.1.value()));
        }
        Ok(missing)
    }

    /// Walks entries from `from` to `end`: the first checkpoint without a signature, and the bytes
    /// since the last checkpoint at the end.
    fn checkpoints(
        &self,
        (space, feed, row): (SpaceId, u32, &FeedRow),
        since: u64,
        (from, end): (u64, u64),
    ) -> Result<(Option<u64>, u64)> {
        let mut entries = Vec::new();
        if from < end {
            self.visit_entries(feed, row, space, from, |_, header, _, signature| {
                entries.push((header.seq, header.body_len, signature.is_some()));
                Ok(header.seq + 1 < end)
            })?;
        }
        Ok(unsigned_checkpoint(since, entries))
    }
}

/// The first place at or above `seq` that is a checkpoint whatever the bytes are.
const fn block_at_or_above(seq: u64) -> u64 {
    seq.saturating_add(CHECKPOINT_ENTRIES - 1) / CHECKPOINT_ENTRIES * CHECKPOINT_ENTRIES
}

impl Txn<'_> {
    /// Keeps entries above a gap, as far as they are new, with everything that pages show of them.
    /// Those that close the gap make it go.
    ///
    /// # Errors
    /// [`ImportError::Reject`] where they don't fit what is held by now: nothing was changed, but
    /// where a checkpoint turns out unsigned, which ends the tail.
    pub fn import_tail(
        &mut self,
        space: SpaceId,
        tail: VerifiedTail,
        now: Millis,
    ) -> Result<Imported, ImportError> {
        let mut work = Work::begin(self, space, now.0)?;
        let device = tail.device();
        let none = |entries| Imported {
            device,
            entries,
            ended: Vec::new(),
        };
        let gap = |expected| Reject::Gap {
            expected,
            found: tail.start(),
        };
        let feed = self.feed_number(work.space, device)?.ok_or(gap(0))?;
        let row = work.feed(self, feed)?.clone();
        if row.head.next == 0 {
            return Err(gap(0).into());
        }
        if let Some(fork) = row.fork {
            return Err(Reject::BeyondFork { fork: fork.seq }.into());
        }
        if let Some((_, last)) = row.revoked {
            return Err(Reject::BeyondRevocation { last: last.seq }.into());
        }
        let Some((part, tail)) = fitting(&row, tail)? else {
            return Ok(none(Vec::new()));
        };
        if part == Part::First {
            self.seal_open_segment(feed)?;
        }
        self.put_tail(feed, &tail, part != Part::Below)?;
        let (entries, ended) = self.enter_tail(&mut work, feed, &tail, part)?;
        self.check_blocks(&mut work, feed, (tail.start(), tail.end()))?;
        self.join(&mut work, feed)?;
        self.put_gap(&mut work, feed)?;
        work.finish(self)?;
        Ok(Imported {
            device,
            entries,
            ended,
        })
    }

    /// Enters the entries and moves the tail's ends. What fills the gap sorts between what is held
    /// below and above it, whatever its author's clock said.
    fn enter_tail(
        &mut self,
        work: &mut Work,
        feed: u32,
        tail: &VerifiedTail,
        part: Part,
    ) -> Result<(Vec<crate::project::NewEntry>, Vec<proto::DeviceId>)> {
        let row = work.feed(self, feed)?.clone();
        let held = row.tail;
        let (floor, ceiling) = match (part, held) {
            (Part::Above, Some(held)) => (held.last_order, None),
            (Part::Below, Some(held)) => (row.last_order, Some(held.first_order)),
            _ => (row.last_order, None),
        };
        let facts = match (part, held) {
            (Part::Above, Some(held)) => TailFacts {
                next: tail.end(),
                top: tail.top(),
                since_checkpoint: None,
                ..held.facts
            },
            (Part::Below, Some(held)) => TailFacts {
                start: tail.start(),
                backlink: tail.backlink(),
                ..held.facts
            },
            _ => TailFacts {
                start: tail.start(),
                backlink: tail.backlink(),
                next: tail.end(),
                top: tail.top(),
                since_checkpoint: None,
            },
        };
        let row_mut = work.feed_mut(self, feed)?;
        row_mut.last_order = floor;
        row_mut.tail = Some(TailRow {
            facts,
            first_order: held.map_or(floor, |held| held.first_order),
            last_order: held.map_or(floor, |held| held.last_order),
        });
        work.counts.entries += tail.items().len() as u64;
        let items = tail.items().iter();
        let coming = Coming {
            feed,
            start: tail.start(),
            floor,
            ceiling: Some(ceiling.unwrap_or(crate::keys::ORDER_MAX)),
        };
        let mut after = Vec::new();
        let items = items.map(|item| (item, tail.body_bytes(item)));
        let (mut entries, first_order) = self.enter_all(work, coming, items, &mut after)?;
        let row_mut = work.feed_mut(self, feed)?;
        let reached = row_mut.last_order;
        row_mut.last_order = row.last_order;
        if let Some(tail) = &mut row_mut.tail {
            if part != Part::Above {
                tail.first_order = first_order;
            }
            if part != Part::Below {
                tail.last_order = reached;
            }
        }
        self.drop_contradicted(work, feed, (tail.start(), tail.end()))?;
        work.flush(self)?;
        let ended = self.run_after(work, after, &mut entries)?;
        Ok((entries, ended))
    }

    /// Checks the blocks of 256 entries that new entries in `start..end` completed, and how far
    /// the last checkpoint lies below the top.
    fn check_blocks(
        &mut self,
        work: &mut Work,
        feed: u32,
        (start, end): (u64, u64),
    ) -> Result<(), ImportError> {
        let row = work.feed(self, feed)?.clone();
        let Some(tail) = row.tail.map(|tail| tail.facts) else {
            return Ok(());
        };
        // What continues the tail belongs to a block that may begin below it.
        let block = start / CHECKPOINT_ENTRIES * CHECKPOINT_ENTRIES;
        let from = if end == tail.next && block >= tail.start {
            block
        } else {
            block_at_or_above(start)
        };
        if from >= end {
            return Ok(());
        }
        let to = block_at_or_above(end).min(tail.next);
        let (unsigned, since) = self.checkpoints((work.id, feed, &row), 0, (from, to))?;
        if let Some(seq) = unsigned {
            return self.refuse_tail(work, feed, seq);
        }
        if to == tail.next
            && let Some(tail) = &mut work.feed_mut(self, feed)?.tail
        {
            tail.facts.since_checkpoint = Some(since);
        }
        Ok(())
    }

    fn refuse_tail(&mut self, work: &mut Work, feed: u32, seq: u64) -> Result<(), ImportError> {
        self.drop_tail(work, feed)?;
        Err(Reject::CheckpointUnsigned { seq }.into())
    }

    /// Closes the gap where what is held below has reached the tail. One that is of another branch
    /// goes.
    pub(crate) fn join(&mut self, work: &mut Work, feed: u32) -> Result<(), ImportError> {
        let row = work.feed(self, feed)?.clone();
        let Some(tail) = row.tail.filter(|tail| tail.facts.start <= row.head.next) else {
            return Ok(());
        };
        let facts = tail.facts;
        if facts.start != row.head.next || facts.backlink != row.head.top {
            self.drop_tail(work, feed)?;
            return Ok(());
        }
        let block = block_at_or_above(facts.start);
        let to = block.min(facts.next);
        let since = row.head.since_checkpoint;
        let (unsigned, since) =
            self.checkpoints((work.id, feed, &row), since, (facts.start, to))?;
        if let Some(seq) = unsigned {
            return self.refuse_tail(work, feed, seq);
        }
        let since_checkpoint = match facts.since_checkpoint {
            Some(known) if block < facts.next => known,
            _ => since,
        };
        let row = work.feed_mut(self, feed)?;
        row.head = Head {
            next: facts.next,
            top: facts.top,
            since_checkpoint,
        };
        row.last_order = row.last_order.max(tail.last_order);
        row.tail = None;
        self.put_gap(work, feed)?;
        if work.kind == SpaceKind::Conversation
            && let Some(below) = facts.start.checked_sub(1)
        {
            // What settings in the gap cover is known now.
            work.flush(self)?;
            work.cover(self, Place { feed, seq: below })?;
        }
        Ok(())
    }

    /// Gives up what is held above a gap.
    pub(crate) fn drop_tail(&mut self, work: &mut Work, feed: u32) -> Result<()> {
        let row = work.feed(self, feed)?.clone();
        let Some(tail) = row.tail.map(|tail| tail.facts) else {
            return Ok(());
        };
        work.flush(self)?;
        let mut next = tail.next;
        while next > tail.start {
            next = self.leave_segment(work, feed, next, tail.start)?;
        }
        let held = tail.next.saturating_sub(tail.start);
        work.counts.entries = work.counts.entries.saturating_sub(held);
        work.feed_mut(self, feed)?.tail = None;
        self.reopen_segment(feed, row.head.next)?;
        self.put_gap(work, feed)
    }

    /// Notes how many entries are missing in a feed's gap.
    pub(crate) fn put_gap(&mut self, work: &mut Work, feed: u32) -> Result<()> {
        let row = work.feed(self, feed)?.clone();
        let key = Key::new().u32(work.space).u32(feed);
        match row.tail {
            Some(tail) => {
                let missing = tail.facts.start.saturating_sub(row.head.next);
                self.put(Table::Gaps, key.as_slice(), &missing.to_be_bytes())
            }
            None => self.remove(Table::Gaps, key.as_slice()).map(drop),
        }
    }

    /// What of a run that continues the feed from below comes before the tail, and whether it is of
    /// the tail's branch as far as both reach.
    pub(crate) fn below_tail(
        &self,
        (space, feed, row): (SpaceId, u32, &FeedRow),
        run: &VerifiedRun,
        tail: &TailFacts,
    ) -> Result<Option<VerifiedRun>> {
        let agrees = |seq: u64| -> Result<bool> {
            let held = match seq.checked_add(1) {
                Some(start) if start == tail.start => Some(tail.backlink),
                _ => self.id_of(space, feed, row, seq)?,
            };
            Ok(held == run.id(seq))
        };
        let last = run.head().next.min(tail.next).saturating_sub(1);
        if !agrees(tail.start.saturating_sub(1))? || !agrees(last)? {
            return Ok(None);
        }
        Ok(run.clone().until(&row.head, tail.start))
    }
}

/// What of a chunk is new, and where it goes; `None` where nothing is.
fn fitting(row: &FeedRow, chunk: VerifiedTail) -> Result<Option<(Part, VerifiedTail)>, Reject> {
    let head = row.head;
    let other = |seq: u64| Reject::OtherBranch { seq };
    let gap = |expected| Reject::Gap {
        expected,
        found: chunk.start(),
    };
    if chunk.end() <= head.next {
        return Ok(None);
    }
    let (part, from, end) = match row.tail.map(|tail| tail.facts) {
        None if !chunk.is_signed() => return Err(gap(head.next)),
        None => (Part::First, chunk.start(), chunk.end()),
        Some(tail) if chunk.end() > tail.next => match chunk.id(tail.next - 1) {
            Some(id) if id == tail.top && chunk.is_signed() => {
                (Part::Above, tail.next, chunk.end())
            }
            Some(id) if id != tail.top => return Err(other(tail.next - 1)),
            _ => return Err(gap(tail.next)),
        },
        Some(tail) if chunk.start() >= tail.start => return Ok(None),
        Some(tail) => match chunk.id(tail.start - 1) {
            Some(id) if id == tail.backlink => (Part::Below, chunk.start(), tail.start),
            Some(_) => return Err(other(tail.start - 1)),
            None => return Err(gap(tail.start)),
        },
    };
    let below = head.next.checked_sub(1).and_then(|last| chunk.id(last));
    if from <= head.next && below.is_some_and(|id| id != head.top) {
        return Err(other(head.next.saturating_sub(1)));
    }
    let new = chunk.between(from.max(head.next), end);
    Ok(new.map(|new| (part, new)))
}
