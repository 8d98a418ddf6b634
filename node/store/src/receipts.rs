//! What was read in a conversation, where both people want to tell each other.
//!
//! A receipt says up to where its author has read a device's feed. It tells of what was written after
//! both agreed, and only as long as both do; what it says beyond that isn't looked at.

use std::ops::Bound;

use proto::{DeviceId, EntryId, IdentityId, Millis, SpaceId};

use crate::{
    error::Result,
    keys::{ItemKey, ItemValue, Key, Place, Prefixed, item_bounds, number_at, u32_at},
    project::order_in_time,
    reading::Shared,
    roles::CONVERSATION_ROOT,
    tables::{Source, Table},
    txn::Txn,
    view::View,
    work::root_key,
};

/// Messages that are looked through for what was read since the last receipt. Where more wait unread,
/// nothing is told.
const LOOKED_THROUGH_MAX: usize = 1_000;

/// A receipt that is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadUpTo {
    /// Whose entries.
    pub device: DeviceId,
    /// The last one that was read.
    pub seq: u64,
}

fn read_key(feed: u32, device: DeviceId, up_to: u64) -> Key {
    Key::new().u32(feed).bytes(&device.0).u64(up_to)
}

impl<S: Source> View<S> {
    /// From which place in a conversation's order on both people tell each other what was read; `None`
    /// where they don't.
    ///
    /// # Errors
    /// The database's.
    pub fn agreed_since(&self, space: SpaceId, own: IdentityId) -> Result<Option<u64>> {
        let Some(number) = self.space_number(space)? else {
            return Ok(None);
        };
        let mut people = [None, None];
        for (_, value) in self.collect(Table::FeedNumbers, Key::new().u32(number))? {
            let feed = u32_at(&value, 0);
            let row = self.known_feed(feed)?;
            let Some((author, (seq, wish))) = row.author.zip(self.last_wish(feed)?) else {
                continue;
            };
            let [ours, theirs] = &mut people;
            let person = if author == own { ours } else { theirs };
            let id = self.id_of(space, feed, &row, seq)?;
            let indexed = id.map(|id| self.indexed(&id)).transpose()?.flatten();
            let order = indexed.map(|indexed| indexed.order);
            *person = (*person).max(Some((seq, wish.then_some(order).flatten())));
        }
        let since = |person: Option<(u64, Option<u64>)>| person.and_then(|(_, order)| order);
        let [ours, theirs] = people;
        Ok(since(ours)
            .zip(since(theirs))
            .map(|(ours, theirs)| ours.max(theirs)))
    }

    /// When the other person read one of our messages, of those since [`Self::agreed_since`]; `None` where
    /// they didn't say so.
    ///
    /// # Errors
    /// The database's.
    pub fn read_at(
        &self,
        space: SpaceId,
        own: IdentityId,
        since: u64,
        id: &EntryId,
    ) -> Result<Option<Millis>> {
        let mut shared = Shared::new(self);
        let Some(number) = self.space_number(space)? else {
            return Ok(None);
        };
        let Some(indexed) = self.indexed(id)?.filter(|indexed| indexed.order >= since) else {
            return Ok(None);
        };
        let feed = shared.feed(indexed.place.feed)?;
        if feed.space != number || feed.author != Some(own) {
            return Ok(None);
        }
        let (device, end) = (feed.device, feed.head.next);
        let mut read = None;
        for (_, value) in self.collect(Table::FeedNumbers, Key::new().u32(number))? {
            let reader = u32_at(&value, 0);
            if shared.feed(reader)?.author == Some(own) {
                continue;
            }
            // The first receipt that reaches it, of those for something that is there.
            let low = read_key(reader, device, indexed.place.seq);
            let high = read_key(reader, device, end);
            let bounds = (
                Bound::Included(low.as_slice()),
                Bound::Excluded(high.as_slice()),
            );
            if let Some(row) = self.0.rows(Table::Reads, bounds)?.next().transpose()? {
                let value = row.1.value();
                let created = Millis(number_at(value, 9, 8));
                let at = order_in_time(created, number_at(value, 17, 8));
                read = read.max(Some(Millis(at)));
            }
        }
        Ok(read)
    }

    /// The highest place up to which a feed's author has said to have read a device's entries.
    fn told_read(&self, feed: u32, device: DeviceId) -> Result<Option<u64>> {
        let range = Prefixed::new(Key::new().u32(feed).bytes(&device.0));
        let last = self.0.rows(Table::Reads, range.bounds())?.next_back();
        let last = last.transpose()?;
        Ok(last.map(|(key, _)| number_at(key.value(), 36, 8)))
    }

    /// What is to be told as read of a conversation: of each of the other person's devices up to where,
    /// where that goes beyond what was told.
    ///
    /// # Errors
    /// The database's.
    pub fn receipts_due(
        &self,
        space: SpaceId,
        own: IdentityId,
        own_device: DeviceId,
    ) -> Result<Vec<ReadUpTo>> {
        let (Some(since), Some(number)) =
            (self.agreed_since(space, own)?, self.space_number(space)?)
        else {
            return Ok(Vec::new());
        };
        let own_feed = self.feed_number(number, own_device)?;
        let mut due = Vec::new();
        for (_, value) in self.collect(Table::FeedNumbers, Key::new().u32(number))? {
            let feed = u32_at(&value, 0);
            let row = self.known_feed(feed)?;
            if row.author.is_none() || row.author == Some(own) {
                continue;
            }
            let told = match own_feed {
                Some(own_feed) => self.told_read(own_feed, row.device)?,
                None => None,
            };
            let read = self.read_in(number, feed, since)?;
            if let Some(seq) = read.filter(|seq| told.is_none_or(|told| *seq > told)) {
                due.push(ReadUpTo {
                    device: row.device,
                    seq,
                });
            }
        }
        Ok(due)
    }

    /// The last message of a feed, of those since `since`, that was read with all before it.
    fn read_in(&self, space: u32, feed: u32, since: u64) -> Result<Option<u64>> {
        let key = root_key(CONVERSATION_ROOT, space);
        let topic = self
            .0
            .with(Table::Roots, key.as_slice(), |value| u32_at(value, 0))?;
        let Some(topic) = topic else {
            return Ok(None);
        };
        let row = self.known_topic(topic)?;
        let mut unread = row.unread();
        let (mut first_unread, mut read) = (u64::MAX, Vec::new());
        let (low, high) = (ItemKey::lowest(topic), ItemKey::highest(topic));
        let mut items = self.0.item_rows(item_bounds(&low, &high))?.rev();
        for _ in 0..LOOKED_THROUGH_MAX {
            let Some(item) = items.next().transpose()? else {
                break;
            };
            let key = ItemKey::decode(item.0.value());
            if key.order < since && unread == 0 {
                break;
            }
            let is_read = row.read.contains(ItemValue::decode(item.1.value()).index);
            unread -= u32::from(!is_read && unread > 0);
            if key.place.feed == feed {
                if !is_read {
                    first_unread = first_unread.min(key.place.seq);
                } else if key.order >= since {
                    read.push(key.place.seq);
                }
            }
        }
        if unread > 0 {
            return Ok(None);
        }
        Ok(read.into_iter().filter(|seq| *seq < first_unread).max())
    }
}

impl Txn<'_> {
    /// Notes a receipt. Of two that say the same the earlier one stays.
    pub(crate) fn put_read(
        &mut self,
        place: Place,
        (device, up_to): (DeviceId, u64),
        created: Millis,
        now: u64,
    ) -> Result<()> {
        let key = read_key(place.feed, device, up_to);
        let known = self.0.with(Table::Reads, key.as_slice(), |_| ())?;
        if known.is_some() {
            return Ok(());
        }
        let value = Key::new().u8(1).u64(place.seq).u64(created.0).u64(now);
        self.put(Table::Reads, key.as_slice(), value.as_slice())
    }

    pub(crate) fn remove_read(&mut self, place: Place, device: DeviceId, up_to: u64) -> Result<()> {
        let key = read_key(place.feed, device, up_to);
        let by = self
            .0
            .with(Table::Reads, key.as_slice(), |value| number_at(value, 1, 8))?;
        if by == Some(place.seq) {
            self.remove(Table::Reads, key.as_slice())?;
        }
        Ok(())
    }
}
