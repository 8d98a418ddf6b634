//! Read marks. They are this node's own and travel nowhere.

use std::collections::BTreeSet;

use proto::{EntryId, Millis, SpaceId};

use crate::{
    error::Result,
    keys::{ItemKey, ItemValue, Key, Place, item_bounds, number_at, u32_at},
    reading::{Shared, TopicNumber},
    rows::{TopicKind, TopicRow},
    tables::{Source, Table},
    txn::Txn,
    view::View,
};

/// Topics of a space that one change marks read at most; the rest stay as they are until asked
/// for again.
const MARKED_TOPICS_MAX: usize = 100_000;

impl<S: Source> View<S> {
    /// Entries that weren't read, over all spaces.
    ///
    /// # Errors
    /// The database's.
    pub fn unread(&self) -> Result<u64> {
        let mut unread = 0;
        for (_, value) in self.collect(Table::SpaceNumbers, Key::new())? {
            unread += self.counts_row(u32_at(&value, 0))?.unread;
        }
        Ok(unread)
    }
}

impl Txn<'_> {
    /// Marks entries read; those that stand in no topic are passed over. Spaces where that
    /// changed anything.
    ///
    /// # Errors
    /// The database's.
    pub fn mark_read(&mut self, ids: &[EntryId], now: Millis) -> Result<BTreeSet<SpaceId>> {
        let mut changed = BTreeSet::new();
        for id in ids {
            let found = {
                let mut shared = Shared::new(&**self);
                self.find_item(&mut shared, id)?
            };
            let Some((topic, key)) = found else {
                continue;
            };
            let Some(value) = self.0.item_row(&key.encode())? else {
                continue;
            };
            let index = ItemValue::decode(&value).index;
            if let Some(space) = self.mark_topic(topic, |row| row.read.insert(index))? {
                self.begin_read(topic, [key.place], now)?;
                changed.insert(space);
            }
        }
        Ok(changed)
    }

    /// Marks everything in a topic read: its space, where that changed anything.
    ///
    /// # Errors
    /// The database's.
    pub fn mark_topic_read(&mut self, topic: TopicNumber, now: Millis) -> Result<Option<SpaceId>> {
        let unread = self.unread_of_conversation(topic.0)?;
        let marked = self.mark_topic(topic.0, |row| row.read.insert_range(0, row.next_index))?;
        self.begin_read(topic.0, unread, now)?;
        Ok(marked)
    }

    /// Marks everything in a space read; false where that changed nothing.
    ///
    /// # Errors
    /// The database's.
    pub fn mark_space_read(&mut self, space: SpaceId, now: Millis) -> Result<bool> {
        let number = self.known_space(space)?;
        if self.counts_row(number)?.unread == 0 {
            return Ok(false);
        }
        let mut changed = false;
        let range = crate::keys::Prefixed::new(Key::new().u32(number));
        let mut topics = Vec::new();
        for row in self
            .0
            .rows(Table::Activity, range.bounds())?
            .rev()
            .take(MARKED_TOPICS_MAX)
        {
            topics.push(number_at(row?.0.value(), 10, 4));
        }
        for topic in topics {
            let topic = TopicNumber(u32::try_from(topic).unwrap_or(0));
            changed |= self.mark_topic_read(topic, now)?.is_some();
        }
        Ok(changed)
    }

    /// Messages that weren't read, of a conversation: a walk from the end over what isn't read.
    fn unread_of_conversation(&self, topic: u32) -> Result<Vec<Place>> {
        let row = self.known_topic(topic)?;
        let mut left = row.unread();
        let mut unread = Vec::new();
        if row.kind != TopicKind::Conversation {
            return Ok(unread);
        }
        let (low, high) = (ItemKey::lowest(topic), ItemKey::highest(topic));
        for item in self.0.item_rows(item_bounds(&low, &high))?.rev() {
            if left == 0 {
                break;
            }
            let (key, value) = item?;
            if !row.read.contains(ItemValue::decode(value.value()).index) {
                left -= 1;
                unread.push(ItemKey::decode(key.value()).place);
            }
        }
        Ok(unread)
    }

    /// The time of what disappears begins when it was read.
    fn begin_read(
        &mut self,
        topic: u32,
        places: impl IntoIterator<Item = Place>,
        now: Millis,
    ) -> Result<()> {
        let row = self.known_topic(topic)?;
        if row.kind == TopicKind::Conversation {
            for place in places {
                self.start_read(row.space, place, now)?;
            }
        }
        Ok(())
    }

    fn mark_topic(
        &mut self,
        topic: u32,
        mark: impl FnOnce(&mut TopicRow),
    ) -> Result<Option<SpaceId>> {
        let mut row = self.known_topic(topic)?;
        let before = row.unread();
        mark(&mut row);
        let after = row.unread();
        if before == after {
            return Ok(None);
        }
        self.put_row(&topic.to_be_bytes(), &row)?;
        let mut counts = self.counts_row(row.space)?;
        counts.unread = counts
            .unread
            .saturating_sub(u64::from(before))
            .saturating_add(u64::from(after));
        self.put_row(&row.space.to_be_bytes(), &counts)?;
        Ok(Some(self.space_row(row.space)?.id))
    }
}
