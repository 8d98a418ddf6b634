//! Taking entries in: imports of verified runs and our own entries.

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    admission::Chain,
    author,
    body::{Body, kind},
    keys::DeviceKey,
    limits::{ADMISSIONS_PER_INVITER_MAX, DEVICES_PER_IDENTITY_MAX, FEEDS_PER_SPACE_MAX},
    space::SpaceKind,
    verify::{FeedFacts, Reject, TailFacts, VerifiedItem, VerifiedRun},
};

use crate::{
    ends::Doubt,
    error::{Error, ImportError, Result},
    forget::{Forgotten, put_gone},
    keys::{Key, Place, u32_at},
    project::{Entering, NewEntry, edge_key, known_body, link_key, order_in_time, place_key},
    rows::FeedRow,
    serve::facts_of,
    tables::{Source, Table},
    txn::{Numbers, Txn},
    work::Work,
};

/// Feeds in a space from which on the branch of the tree of admissions with the most of them gets
/// no more: so a flood of invented people fills at most its own branch's half.
const FEEDS_FAIR_MAX: usize = FEEDS_PER_SPACE_MAX / 2;
/// For runs of at most so many entries the topic of an edit, a retract or a reaction is looked up
/// for [`NewEntry`]. These are live; in a bulk import nobody follows single entries.
const LIVE_ENTRIES_MAX: usize = 16;

/// What an import kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The feed's device.
    pub device: DeviceId,
    /// Entries that are new here, in order.
    pub entries: Vec<NewEntry>,
    /// Feeds that were cut by revocations among these entries, this one possibly included.
    pub ended: Vec<DeviceId>,
}

/// An entry of our own, and the feed's first one where this is the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The entry.
    pub id: EntryId,
    /// Its place.
    pub seq: u64,
    /// All new entries, in order.
    pub entries: Vec<NewEntry>,
}

/// Entries of one feed that come in together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coming {
    pub(crate) feed: u32,
    pub(crate) start: u64,
    /// Order of the entry before.
    pub(crate) floor: u64,
    /// Order of the entry above the gap that they fill.
    pub(crate) ceiling: Option<u64>,
}

/// What waits until the rows of a change are on disk: effects on other entries and feeds.
pub(crate) enum After {
    Retract {
        target: EntryId,
        author: Option<IdentityId>,
    },
    Orphaned(EntryId, Option<IdentityId>),
    Revocation(Vec<u8>),
    Ends(u32),
    /// A setting came below entries that may be held.
    Covers(Place),
    /// What it is about went from here.
    Drop(Place),
    /// It was forgotten here, and came again.
    Forgotten(EntryId),
}

impl Txn<'_> {
    /// Keeps the entries of a verified run, as far as they are new, with everything that pages
    /// show of them. `now` is the time at which they came.
    ///
    /// # Errors
    /// [`ImportError::Reject`] where the run doesn't fit what is held by now, or the space or its
    /// inviter is full: nothing was changed. [`ImportError::Store`] otherwise.
    pub fn import(
        &mut self,
        space: SpaceId,
        run: VerifiedRun,
        now: Millis,
    ) -> Result<Imported, ImportError> {
        let mut work = Work::begin(self, space, now.0)?;
        let device = run.device();
        let feed = self.feed_number(work.space, device)?;
        let facts = match feed {
            Some(feed) => facts_of(work.feed(self, feed)?),
            None => FeedFacts::unknown(device),
        };
        let Some(run) = self.trim(&work, feed, &facts, run)? else {
            return Ok(Imported {
                device,
                entries: Vec::new(),
                ended: Vec::new(),
            });
        };
        check_ends(&facts, &run)?;
        if run.start() == 0 {
            self.check_room(&mut work, &run)?;
        }
        if let (Some(feed), Some(tail)) = (feed, facts.tail.filter(|t| run.head().next >= t.start))
        {
            return self.import_into_tail(work, feed, &tail, run, now);
        }
        let (entries, ended) = self.take_in(work, feed, &run)?;
        Ok(Imported {
            device,
            entries,
            ended,
        })
    }

    /// Keeps a run that reaches what is held above a gap: first what closes the gap, then the rest.
    fn import_into_tail(
        &mut self,
        mut work: Work,
        feed: u32,
        tail: &TailFacts,
        run: VerifiedRun,
        now: Millis,
    ) -> Result<Imported, ImportError> {
        let (space, device) = (work.id, run.device());
        let row = work.feed(self, feed)?.clone();
        let Some(below) = self.below_tail((space, feed, &row), &run, tail)? else {
            // What is held from the first entry on counts.
            self.drop_tail(&mut work, feed)?;
            work.finish(self)?;
            return self.import(space, run, now);
        };
        let (entries, ended) = self.take_in(work, Some(feed), &below)?;
        let mut imported = Imported {
            device,
            entries,
            ended,
        };
        if imported.ended.is_empty() {
            let rest = self.import(space, run, now)?;
            imported.entries.extend(rest.entries);
            imported.ended.extend(rest.ended);
        }
        Ok(imported)
    }

    /// Drops the entries that are held already; `None` where all are.
    fn trim(
        &self,
        work: &Work,
        feed: Option<u32>,
        facts: &FeedFacts,
        run: VerifiedRun,
    ) -> Result<Option<VerifiedRun>, ImportError> {
        let head = &facts.head;
        if run.start() > head.next {
            return Err(Reject::Gap {
                expected: head.next,
                found: run.start(),
            }
            .into());
        }
        let end = run.head().next;
        if end > head.next {
            let other = Reject::OtherBranch {
                seq: head.next.saturating_sub(1),
            };
            return run.after(head).ok_or_else(|| other.into()).map(Some);
        }
        let (Some(feed), Some(last)) = (feed, end.checked_sub(1)) else {
            return Ok(None);
        };
        let row = self.known_feed(feed)?;
        if self.id_of(work.id, feed, &row, last)? == Some(run.head().top) {
            Ok(None)
        } else {
            Err(Reject::OtherBranch { seq: last }.into())
        }
    }

    /// Checks the bounds that a new feed has to keep.
    fn check_room(&self, work: &mut Work, run: &VerifiedRun) -> Result<(), ImportError> {
        let first = run.items().first().and_then(|item| run.body(item));
        let (Some(Body::Genesis(genesis)), Some(author)) = (first, run.author()) else {
            return Err(Reject::NoGenesis.into());
        };
        self.check_member(work, &genesis.chain, (author, run.device()))?;
        let devices = self
            .collect(Table::Authors, Key::new().u32(work.space).bytes(&author.0))?
            .len();
        if devices >= DEVICES_PER_IDENTITY_MAX {
            return Err(Reject::TooManyDevices.into());
        }
        let feeds = usize::try_from(work.counts.feeds).unwrap_or(usize::MAX);
        if feeds >= FEEDS_PER_SPACE_MAX
            || (feeds >= FEEDS_FAIR_MAX && self.is_fullest(work, &genesis.chain)?)
        {
            return Err(Reject::TooManyFeeds.into());
        }
        for admission in genesis.chain.admissions() {
            let inviter = admission.inviter.identity;
            let edge = edge_key(work.space, inviter, admission.invitee);
            if self
                .0
                .with(Table::Edges, edge.as_slice(), |_| ())?
                .is_some()
            {
                continue;
            }
            let prefix = Key::new().u32(work.space).bytes(&inviter.0);
            let range = crate::keys::Prefixed::new(prefix);
            let invited = self.0.rows(Table::Edges, range.bounds())?;
            if invited.take(ADMISSIONS_PER_INVITER_MAX).count() >= ADMISSIONS_PER_INVITER_MAX {
                return Err(Reject::TooManyFeeds.into());
            }
        }
        Ok(())
    }

    /// Whether no branch of the tree of admissions has more feeds than this chain's.
    fn is_fullest(&self, work: &Work, chain: &Chain) -> Result<bool> {
        let Some(first) = chain.admissions().first() else {
            return Ok(false);
        };
        let key = Key::new().u32(work.space).bytes(&first.invitee.0);
        let own = self
            .0
            .with(Table::Branches, key.as_slice(), |value| u32_at(value, 0))?
            .unwrap_or(0);
        let range = crate::keys::Prefixed::new(Key::new().u32(work.space));
        for row in self.0.rows(Table::Branches, range.bounds())? {
            if u32_at(row?.1.value(), 0) > own {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stores a run that continues its feed and everything that follows from it.
    fn take_in(
        &mut self,
        mut work: Work,
        feed: Option<u32>,
        run: &VerifiedRun,
    ) -> Result<(Vec<NewEntry>, Vec<DeviceId>)> {
        let feed = match feed {
            Some(feed) => feed,
            None => self.add_feed(&mut work, run.device())?,
        };
        let (head, tail, last_order) = {
            let row = work.feed(self, feed)?;
            (row.head, row.tail, row.last_order)
        };
        self.append_segments(feed, &head, run, tail.is_some())?;
        let row = work.feed_mut(self, feed)?;
        row.head = run.head();
        if head.next == 0 {
            row.author = run.author();
            row.owner = run.author();
            work.counts.feeds += 1;
        }
        work.counts.entries += run.items().len() as u64;
        let mut after = Vec::new();
        if head.next == 0 && self.find_revocation(&mut work, feed)? {
            after.push(After::Ends(feed));
        }
        let coming = Coming {
            feed,
            start: run.start(),
            floor: last_order,
            ceiling: tail.map(|tail| tail.first_order),
        };
        let items = run.items().iter();
        let items = items.map(|item| (item, run.body_bytes(item)));
        let (mut entries, _) = self.enter_all(&mut work, coming, items, &mut after)?;
        if tail.is_some() {
            self.put_gap(&mut work, feed)?;
        }
        self.drop_contradicted(&mut work, feed, (run.start(), run.head().next))?;
        work.flush(self)?;
        let ended = self.run_after(&mut work, after, &mut entries)?;
        if tail.is_some() && ended.is_empty() {
            match self.join(&mut work, feed) {
                // What lacked a signature is gone; what came from below stands.
                Ok(()) | Err(ImportError::Reject(_)) => {}
                Err(ImportError::Store(error)) => return Err(error),
            }
        }
        work.finish(self)?;
        Ok((entries, ended))
    }

    /// Enters entries in order. Where there is a ceiling, none sorts above it. Also gives the order
    /// of the first.
    pub(crate) fn enter_all<'r>(
        &mut self,
        work: &mut Work,
        coming: Coming,
        items: impl Iterator<Item = (&'r VerifiedItem, Option<&'r [u8]>)>,
        after: &mut Vec<After>,
    ) -> Result<(Vec<NewEntry>, u64)> {
        let mut entries = Vec::with_capacity(items.size_hint().0);
        let mut last = coming.floor;
        let mut first = None;
        for (seq, (item, body)) in (coming.start..).zip(items) {
            let order = coming.ceiling.map(|ceiling| {
                let order = order_in_time(item.created, work.now);
                order.max(last).min(ceiling)
            });
            last = order.unwrap_or(last);
            first = first.or(order);
            let place = Place {
                feed: coming.feed,
                seq,
            };
            let entering = Entering {
                place,
                id: item.id,
                created: item.created,
                body,
                order,
                item: None,
            };
            entries.push(self.take_one(work, &entering, after)?);
        }
        Ok((entries, first.unwrap_or(coming.floor)))
    }

    fn add_feed(&mut self, work: &mut Work, device: DeviceId) -> Result<u32> {
        let number = self.next_number(Numbers::Feed)?;
        let row = FeedRow::new(work.space, device);
        // The row of the number must be there before anything refers to the feed.
        self.put_row(&number.to_be_bytes(), &row)?;
        work.add_feed(number, row);
        Ok(number)
    }

    /// Enters one entry and notes what it does to others.
    pub(crate) fn take_one(
        &mut self,
        work: &mut Work,
        entering: &Entering<'_>,
        after: &mut Vec<After>,
    ) -> Result<NewEntry> {
        let forgotten = self.forget_again(work, entering, after)?;
        let entering = forgotten.as_ref().unwrap_or(entering);
        let new = work.enter(self, entering)?;
        match (new.kind, new.target) {
            (Some(kind::RETRACT), Some(target)) => {
                let place = entering.place;
                let author = new.author;
                if self.indexed(&target)?.is_none() {
                    let key = link_key(work.space, &target, place);
                    self.put(Table::Orphans, key.as_slice(), &[])?;
                    work.has_orphans = true;
                }
                after.push(After::Retract { target, author });
            }
            (Some(kind::REVOCATION), _) => {
                after.extend(entering.body.map(|body| After::Revocation(body.to_vec())));
            }
            (Some(kind::SETTING), _) => after.push(After::Covers(entering.place)),
            (Some(kind::EDIT | kind::REACTION), Some(target))
                if work.kind == SpaceKind::Conversation && work.is_dropped(self, &target)? =>
            {
                after.push(After::Drop(entering.place));
            }
            (None, _)
                if entering.body.is_none()
                    && !work.is_excused(self, entering.place, &entering.id)? =>
            {
                let feed = entering.place.feed;
                self.put(Table::Holes, place_key(entering.place).as_slice(), &[])?;
                work.feed_mut(self, feed)?.holes += 1;
            }
            _ => {}
        }
        if work.has_orphans {
            let prefix = Key::new().u32(work.space).half(&new.id);
            if self.has_any(Table::Orphans, prefix)? {
                after.push(After::Orphaned(new.id, new.author));
            }
        }
        Ok(new)
    }

    /// An entry that was forgotten here enters without its body.
    fn forget_again<'e>(
        &mut self,
        work: &mut Work,
        entering: &Entering<'e>,
        after: &mut Vec<After>,
    ) -> Result<Option<Entering<'e>>> {
        let place = entering.place;
        let Some(body) = entering
            .body
            .filter(|_| work.kind == SpaceKind::Conversation)
        else {
            return Ok(None);
        };
        let row = work.feed(self, place.feed)?.clone();
        if !self.is_forgotten((work.space, row.device, place.seq), &entering.id)? {
            return Ok(None);
        }
        self.replace_body(work.id, place.feed, &row, place.seq, None)?;
        put_gone(self, place, known_body(body).map_or(0, |body| body.kind()))?;
        after.push(After::Forgotten(entering.id));
        Ok(Some(Entering {
            body: None,
            ..*entering
        }))
    }

    pub(crate) fn run_after(
        &mut self,
        work: &mut Work,
        after: Vec<After>,
        entries: &mut [NewEntry],
    ) -> Result<Vec<DeviceId>> {
        if entries.len() <= LIVE_ENTRIES_MAX {
            for entry in entries {
                if let Some(target) = entry.target {
                    entry.topic = self.topic_of_entry(work, &target)?;
                }
            }
        }
        let mut ended = Vec::new();
        for effect in after {
            match effect {
                After::Retract { target, author } => {
                    let prefix = Key::new().u32(work.space).half(&target);
                    if self.indexed(&target)?.is_some() {
                        self.remove_all(Table::Orphans, prefix, usize::MAX)?;
                    }
                    work.retract(self, &target, author)?;
                }
                After::Orphaned(id, author) => {
                    let prefix = Key::new().u32(work.space).half(&id);
                    self.remove_all(Table::Orphans, prefix, usize::MAX)?;
                    if work.is_retracted(self, &id, author)? {
                        work.retract(self, &id, author)?;
                    }
                }
                After::Revocation(body) => {
                    ended.extend(self.note_revocation(work, &body)?);
                }
                After::Covers(place) => work.cover(self, place)?,
                After::Drop(place) => {
                    work.drop_relation(self, place, Forgotten::Vanished)?;
                }
                After::Forgotten(id) => work.drop_relations(self, &id, Forgotten::Vanished)?,
                After::Ends(feed) => ended.extend(self.apply_ends(work, feed, Doubt::Keep)?),
            }
        }
        ended.extend(self.govern(work)?);
        Ok(ended)
    }

    /// The first entry of the topic in which an entry of this space stands.
    fn topic_of_entry(&self, work: &mut Work, id: &EntryId) -> Result<Option<EntryId>> {
        let Some(place) = self.indexed(id)?.map(|indexed| indexed.place) else {
            return Ok(None);
        };
        if !work.owns(self, place.feed)? {
            return Ok(None);
        }
        if let Some(topic) = self.gone_topic(place)? {
            return Ok(Some(work.topic(self, topic)?.row.root));
        }
        let row = work.feed(self, place.feed)?.clone();
        let loaded = self.entry_at(work.id, place.feed, &row, place.seq)?;
        let body = loaded.as_ref().and_then(|loaded| loaded.body.as_deref());
        let body = body.and_then(known_body);
        Ok(body.and_then(|body| work.role(row.author, &body).root(*id)))
    }

    /// Signs and keeps an own entry; before the first one `genesis` gives the feed's beginning.
    /// The entry must not leave this node before the transaction is durable: a device that signs
    /// two entries at one place has forked.
    ///
    /// # Errors
    /// [`Error::OwnBody`] where the body doesn't fit its bounds, [`Error::OwnEntry`] where this
    /// device's feed has ended here, [`Error::UnknownSpace`], the database's.
    pub fn append(
        &mut self,
        space: SpaceId,
        key: &DeviceKey,
        now: Millis,
        body: &Body<'_>,
        genesis: impl FnOnce(&Self) -> Result<Vec<u8>>,
    ) -> Result<Appended> {
        Body::decode(&body.encode())?;
        let facts = self.facts(space, key.id())?;
        check_own(&facts)?;
        let mut entries = Vec::new();
        if facts.head.next == 0 {
            let first = genesis(self)?;
            let first = Body::decode(&first)?;
            entries.extend(self.append_one(space, key, now, &first)?);
        }
        entries.extend(self.append_one(space, key, now, body)?);
        let last = entries
            .last()
            .ok_or_else(|| Error::Refused("an own entry was not kept".to_owned()))?;
        Ok(Appended {
            id: last.id,
            seq: last.seq,
            entries,
        })
    }

    fn append_one(
        &mut self,
        space: SpaceId,
        key: &DeviceKey,
        now: Millis,
        body: &Body<'_>,
    ) -> Result<Vec<NewEntry>> {
        let head = self.facts(space, key.id())?.head;
        let run = author::append(key, space, &head, now, body);
        match self.import(space, run, now) {
            Ok(imported) => Ok(imported.entries),
            Err(ImportError::Store(error)) => Err(error),
            Err(ImportError::Reject(reject)) => Err(Error::OwnEntry(reject)),
        }
    }

    /// Begins the device's own feed, where nothing of it is held.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn begin_feed(
        &mut self,
        space: SpaceId,
        key: &DeviceKey,
        now: Millis,
        genesis: &[u8],
    ) -> Result<Vec<NewEntry>> {
        let facts = self.facts(space, key.id())?;
        check_own(&facts)?;
        if facts.head.next > 0 {
            return Ok(Vec::new());
        }
        self.append_one(space, key, now, &Body::decode(genesis)?)
    }
}

/// Entries at or above what ended the feed since the run was checked.
fn check_ends(facts: &FeedFacts, run: &VerifiedRun) -> Result<(), Reject> {
    let end = run.head().next;
    let last = run.signatures().last().map(|(seq, _)| *seq);
    let vouched = facts.revoked.map(|last| last.seq.saturating_add(1));
    let vouched = vouched.or_else(|| facts.fork.map(|fork| fork.seq));
    if last != end.checked_sub(1) && vouched != Some(end) {
        // What vouched for it when it was checked isn't kept here.
        return Err(Reject::Unsigned);
    }
    if let Some(last) = facts.revoked {
        if end > last.seq.saturating_add(1) {
            return Err(Reject::BeyondRevocation { last: last.seq });
        }
        if end == last.seq.saturating_add(1) && run.head().top != last.id {
            return Err(Reject::OtherBranch { seq: last.seq });
        }
    } else if let Some(fork) = facts.fork {
        if end > fork.seq {
            return Err(Reject::BeyondFork { fork: fork.seq });
        }
        if end == fork.seq && run.head().top != fork.backlink {
            return Err(Reject::OtherBranch {
                seq: fork.seq.saturating_sub(1),
            });
        }
    }
    Ok(())
}

/// Our own device's feed may have ended: by a fork after a restored disk, or by a revocation.
fn check_own(facts: &FeedFacts) -> Result<()> {
    let reject = match (facts.revoked, facts.fork) {
        (Some(last), _) => Reject::BeyondRevocation { last: last.seq },
        (None, Some(fork)) => Reject::BeyondFork { fork: fork.seq },
        (None, None) => return Ok(()),
    };
    Err(Error::OwnEntry(reject))
}
