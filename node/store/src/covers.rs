//! Settings of conversations: which bodies may be absent because they disappeared, and what both
//! people agreed on.
//!
//! A setting with a lifetime covers what follows it in its feed. That is a fact of the entries that
//! are held: a setting that comes later than what it covers, into a gap, changes what counts as
//! missing. When something disappears is decided in `timers.rs`.

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    body::{Body, InForce, Lifetime, Placed, Setting, in_force},
};

use crate::{
    error::Result,
    keys::{Key, Place, Prefixed, id_at, number_at, u32_at},
    project::{known_body, place_key},
    rows::FeedRow,
    tables::{Source, Table},
    txn::Txn,
    view::View,
    work::Work,
};

/// A setting's row among those with a lifetime: version, lifetime, time, id, and what it knew of.
pub(crate) fn cover_value(placed: &Placed) -> Vec<u8> {
    let mut value = vec![1];
    value.extend_from_slice(&placed.lifetime.seconds().to_be_bytes());
    value.extend_from_slice(&placed.created.0.to_be_bytes());
    value.extend_from_slice(&placed.id.0);
    if let Some(over) = placed.over {
        value.extend_from_slice(&over.0);
    }
    value
}

fn cover_from(value: &[u8]) -> Placed {
    Placed {
        lifetime: Lifetime::new(u64::from(u32_at(value, 1))).unwrap_or_default(),
        created: Millis(number_at(value, 5, 8)),
        id: EntryId(id_at(value, 13)),
        over: (value.len() > 45).then(|| EntryId(id_at(value, 45))),
    }
}

/// What a setting with a lifetime says, as an entry of a feed.
pub(crate) fn placed(setting: &Setting, id: EntryId, created: Millis) -> Option<Placed> {
    Some(Placed {
        id,
        created,
        lifetime: setting.lifetime?,
        over: setting.over,
    })
}

/// How a conversation is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// Whose setting says how long messages stay.
    pub in_force: InForce,
    /// The other person's newest setting with a lifetime.
    pub theirs: Option<Placed>,
    /// Our own newest setting with a lifetime.
    pub ours: Option<Placed>,
    /// Whether we want both to tell what was read.
    pub our_receipts: bool,
    /// Whether the other person wants that.
    pub their_receipts: bool,
}

impl Agreement {
    /// How long what we write next stays, by our own last setting.
    #[must_use]
    pub fn our_lifetime(&self) -> Lifetime {
        self.ours.map_or(Lifetime::STAYS, |placed| placed.lifetime)
    }

    /// Whether both tell each other what was read.
    #[must_use]
    pub const fn receipts(&self) -> bool {
        self.our_receipts && self.their_receipts
    }
}

impl<S: Source> View<S> {
    /// The nearest setting with a lifetime below a place.
    fn cover_below(&self, place: Place) -> Result<Option<Placed>> {
        let Some(last) = place.seq.checked_sub(1) else {
            return Ok(None);
        };
        let range = Prefixed::new(Key::new().u32(place.feed));
        let key = place_key(Place { seq: last, ..place });
        let row = self
            .0
            .rows(Table::Covers, range.up_to(key.as_slice()))?
            .next_back()
            .transpose()?;
        Ok(row.map(|(_, value)| cover_from(value.value())))
    }

    /// How long what stands at a place stays.
    pub(crate) fn lifetime_at(&self, place: Place) -> Result<Lifetime> {
        let below = self.cover_below(place)?;
        Ok(below.map_or(Lifetime::STAYS, |placed| placed.lifetime))
    }

    /// The place of the next setting with a lifetime above one.
    fn cover_above(&self, place: Place) -> Result<u64> {
        let prefix = Prefixed::new(Key::new().u32(place.feed));
        let key = place_key(place);
        let bounds = (std::ops::Bound::Excluded(key.as_slice()), prefix.bounds().1);
        let row = self.0.rows(Table::Covers, bounds)?.next().transpose()?;
        Ok(row.map_or(u64::MAX, |(key, _)| number_at(key.value(), 4, 8)))
    }

    /// Settings with a lifetime in a feed.
    pub(crate) fn covers_in(&self, feed: u32) -> Result<u32> {
        let range = Prefixed::new(Key::new().u32(feed));
        let mut count = 0;
        for row in self.0.rows(Table::Covers, range.bounds())? {
            row?;
            count += 1;
        }
        Ok(count)
    }

    /// Whether no setting can come between a place and what covers it: there is no gap between them.
    pub(crate) fn is_cover_certain(&self, place: Place, row: &FeedRow) -> Result<bool> {
        let tail = row.tail.map(|tail| tail.facts.start);
        let Some(start) = tail.filter(|start| *start > row.head.next && *start <= place.seq) else {
            return Ok(true);
        };
        let low = place_key(Place {
            seq: start,
            ..place
        });
        let high = place_key(place);
        let bounds = (
            std::ops::Bound::Included(low.as_slice()),
            std::ops::Bound::Excluded(high.as_slice()),
        );
        Ok(self
            .0
            .rows(Table::Covers, bounds)?
            .next()
            .transpose()?
            .is_some())
    }

    /// The same for an entry that came in a letter and doesn't join its feed yet: everything from a
    /// setting on came so.
    pub(crate) fn is_loose_certain(
        &self,
        space: SpaceId,
        device: DeviceId,
        seq: u64,
    ) -> Result<bool> {
        let mut since = None;
        let mut next = 0;
        for (of, at, loose) in self.loose_in(space)? {
            if of != device || at >= seq {
                continue;
            }
            if at != next {
                since = None;
            }
            next = at.saturating_add(1);
            if let Some(Body::Setting(setting)) = known_body(&loose.body)
                && setting.lifetime.is_some()
            {
                since = Some(at);
            }
        }
        Ok(since.is_some() && next == seq)
    }

    /// How long an entry of a conversation stays, also one that came in a letter and doesn't join its
    /// feed yet: settings that came so count too.
    ///
    /// # Errors
    /// The database's.
    pub fn lifetime_of(&self, space: SpaceId, device: DeviceId, seq: u64) -> Result<Lifetime> {
        let mut nearest = None;
        for (of, at, loose) in self.loose_in(space)? {
            if of == device
                && at < seq
                && let Some(Body::Setting(setting)) = known_body(&loose.body)
                && let Some(lifetime) = setting.lifetime
            {
                nearest = Some(lifetime);
            }
        }
        match (nearest, self.find_feed(space, device)?) {
            (Some(lifetime), _) => Ok(lifetime),
            (None, Some((feed, _))) => self.lifetime_at(Place { feed, seq }),
            (None, None) => Ok(Lifetime::STAYS),
        }
    }

    /// How a conversation is kept, seen by `own`.
    ///
    /// # Errors
    /// The database's.
    pub fn agreement(&self, space: SpaceId, own: IdentityId) -> Result<Agreement> {
        let mut people = [(None, None), (None, None)];
        let mut note =
            |author: IdentityId, cover: Option<Placed>, receipts: Option<(u64, bool)>| {
                let [ours, theirs] = &mut people;
                let person = if author == own { ours } else { theirs };
                let rank = |placed: &Placed| (placed.created, placed.id);
                if cover.is_some_and(|new| person.0.is_none_or(|known| rank(&known) < rank(&new))) {
                    person.0 = cover;
                }
                person.1 = person.1.max(receipts);
            };
        let loose = self.loose_in(space)?;
        if let Some(number) = self.space_number(space)? {
            for (_, value) in self.collect(Table::FeedNumbers, Key::new().u32(number))? {
                let feed = u32_at(&value, 0);
                let row = self.known_feed(feed)?;
                let Some(author) = row.author else {
                    continue;
                };
                let mut cover = self.cover_below(Place {
                    feed,
                    seq: u64::MAX,
                })?;
                let mut receipts = self.last_wish(feed)?;
                // What came in letters lies above.
                for (_, seq, loose) in loose.iter().filter(|(of, ..)| *of == row.device) {
                    if let Some(Body::Setting(setting)) = known_body(&loose.body) {
                        let id = loose.id(space, row.device, *seq);
                        cover = placed(&setting, id, loose.created).or(cover);
                        receipts = setting.receipts.map(|wish| (*seq, wish)).or(receipts);
                    }
                }
                note(author, cover, receipts);
            }
        }
        let [ours, theirs] = people;
        let wishes =
            |(_, wish): (Option<Placed>, Option<(u64, bool)>)| wish.is_some_and(|(_, wish)| wish);
        Ok(Agreement {
            in_force: in_force(ours.0, theirs.0),
            theirs: theirs.0,
            ours: ours.0,
            our_receipts: wishes(ours),
            their_receipts: wishes(theirs),
        })
    }

    /// The last word in a feed about telling what was read, and its place.
    pub(crate) fn last_wish(&self, feed: u32) -> Result<Option<(u64, bool)>> {
        let range = Prefixed::new(Key::new().u32(feed));
        let row = self
            .0
            .rows(Table::Wishes, range.bounds())?
            .next_back()
            .transpose()?;
        Ok(row.map(|(key, value)| (number_at(key.value(), 4, 8), value.value() == [1])))
    }
}

impl Txn<'_> {
    /// Notes what a setting says.
    pub(crate) fn put_setting_at(
        &mut self,
        place: Place,
        setting: &Setting,
        id: EntryId,
        created: Millis,
    ) -> Result<()> {
        let key = place_key(place);
        if let Some(placed) = placed(setting, id, created) {
            self.put(Table::Covers, key.as_slice(), &cover_value(&placed))?;
        }
        if let Some(receipts) = setting.receipts {
            self.put(Table::Wishes, key.as_slice(), &[u8::from(receipts)])?;
        }
        Ok(())
    }

    pub(crate) fn remove_setting_at(&mut self, place: Place) -> Result<()> {
        let key = place_key(place);
        self.remove(Table::Covers, key.as_slice())?;
        self.remove(Table::Wishes, key.as_slice()).map(drop)
    }
}

/// What is held of an entry that a setting may cover.
struct Below {
    seq: u64,
    id: EntryId,
    absent: bool,
    has_own_time: bool,
}

impl Work {
    /// Whether the body of an entry may be absent for good without a retract.
    pub(crate) fn is_excused(&mut self, txn: &Txn<'_>, place: Place, id: &EntryId) -> Result<bool> {
        if self.kind != proto::space::SpaceKind::Conversation {
            return Ok(false);
        }
        let device = self.feed(txn, place.feed)?.device;
        Ok(txn.lifetime_at(place)?.ends()
            || txn.is_forgotten((self.space, device, place.seq), id)?)
    }

    /// A setting came below entries that are held: what it covers is missing no more, or is now, and
    /// disappears with it. Costs a walk to the next setting, or to a gap: what is above one is looked
    /// at once, when it closes.
    pub(crate) fn cover(&mut self, txn: &mut Txn<'_>, place: Place) -> Result<()> {
        let row = self.feed(txn, place.feed)?.clone();
        let first = place.seq.saturating_add(1);
        let tail = row.tail.map(|tail| tail.facts.start);
        let gap = tail.filter(|start| *start > first);
        let end = txn.cover_above(place)?.min(gap.unwrap_or(u64::MAX));
        let mut below = Vec::new();
        if first < end {
            txn.visit_entries(place.feed, &row, self.id, first, |id, header, body, _| {
                if header.seq >= end {
                    return Ok(false);
                }
                let body = match body {
                    proto::run::BodyPart::Present(bytes) => Some(known_body(bytes)),
                    proto::run::BodyPart::Absent { .. } => None,
                };
                below.push(Below {
                    seq: header.seq,
                    id,
                    absent: body.is_none(),
                    has_own_time: body.flatten().is_some_and(|body| body.has_own_time()),
                });
                Ok(true)
            })?;
        }
        for entry in below {
            let place = Place {
                seq: entry.seq,
                ..place
            };
            if entry.absent {
                self.settle_absent(txn, place, &entry.id)?;
            } else if entry.has_own_time {
                self.time(txn, place, &entry.id)?;
            }
        }
        Ok(())
    }

    /// Lists an absent body as missing, or no more.
    fn settle_absent(&mut self, txn: &mut Txn<'_>, place: Place, id: &EntryId) -> Result<()> {
        let author = self.feed(txn, place.feed)?.author;
        let excused = self.is_excused(txn, place, id)? || self.is_retracted(txn, id, author)?;
        let key = place_key(place);
        if excused {
            if txn.remove(Table::Holes, key.as_slice())? {
                let feed = self.feed_mut(txn, place.feed)?;
                feed.holes = feed.holes.saturating_sub(1);
            }
        } else if txn.0.with(Table::Holes, key.as_slice(), |_| ())?.is_none() {
            txn.put(Table::Holes, key.as_slice(), &[])?;
            self.feed_mut(txn, place.feed)?.holes += 1;
        }
        Ok(())
    }
}
