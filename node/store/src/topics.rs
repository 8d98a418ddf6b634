//! Lists of topics: of a space, over all spaces, and single ones.

use std::collections::BTreeMap;

use proto::{EntryId, Millis, SpaceId};

use crate::{
    error::Result,
    keys::{ItemKey, ItemValue, Key, Prefixed, number_at, u32_at},
    reading::{Cursor, Item, Page, Row, Shared, TopicNumber},
    roles::CONVERSATION_ROOT,
    rows::{TopicKind, TopicRow},
    tables::{Source, Table},
    view::View,
    work::root_key,
};

/// A thread, an article or a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// For reading its items.
    pub number: TopicNumber,
    /// Its first entry; 32 zeros for a conversation.
    pub root: EntryId,
    /// Its space.
    pub space: SpaceId,
    /// What it is.
    pub kind: TopicKind,
    /// The first entry; `None` where it hasn't arrived, and for conversations.
    pub first: Option<Item>,
    /// Newest activity.
    pub last_activity: Millis,
    /// Entries held, the first one included.
    pub items: u64,
    /// Of these, not read.
    pub unread: u64,
}

impl<S: Source> View<S> {
    /// Topics of a space, newest activity first.
    ///
    /// # Errors
    /// The database's.
    pub fn topics(
        &self,
        space: SpaceId,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Topic>> {
        let Some(space) = self.space_number(space)? else {
            return Ok(empty());
        };
        let range = Prefixed::new(Key::new().u32(space));
        let bounds = match cursor {
            Some(Cursor(key)) => range.up_to(key),
            None => range.bounds(),
        };
        let mut keys = Vec::new();
        for row in self.0.rows(Table::Activity, bounds)?.rev().take(limit + 1) {
            keys.push(row?.0.value().to_vec());
        }
        let next = keys.get(limit).cloned().map(Cursor);
        keys.truncate(limit);
        let numbers: Vec<u32> = keys.iter().map(|key| u32_at(key, 10)).collect();
        Ok(Page {
            items: self.show_topics(&numbers)?,
            previous: None,
            next,
        })
    }

    /// Topics of all spaces, newest activity first. Costs a look at each space's newest topic.
    ///
    /// # Errors
    /// The database's.
    pub fn recent_topics(&self, cursor: Option<&Cursor>, limit: usize) -> Result<Page<Topic>> {
        let mut keys = self.recent_keys(cursor, limit + 1)?;
        let next = keys.get(limit).map(|key| recent_cursor(key));
        keys.truncate(limit);
        let numbers: Vec<u32> = keys.iter().map(|key| u32_at(key, 10)).collect();
        Ok(Page {
            items: self.show_topics(&numbers)?,
            previous: None,
            next,
        })
    }

    /// Keys of the activity table over all spaces, newest first.
    pub(crate) fn recent_keys(
        &self,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>> {
        let start = cursor.and_then(|Cursor(bytes)| bytes.get(..14)).map(|c| {
            let (activity, space, topic) = (number_at(c, 0, 6), u32_at(c, 6), u32_at(c, 10));
            (activity, space, topic)
        });
        let mut heads = std::collections::BinaryHeap::new();
        let numbers = self.collect(Table::SpaceNumbers, Key::new())?;
        let ranges: BTreeMap<u32, Prefixed> = numbers
            .iter()
            .map(|(_, value)| u32_at(value, 0))
            .map(|space| (space, Prefixed::new(Key::new().u32(space))))
            .collect();
        let mut rows = BTreeMap::new();
        for (space, range) in &ranges {
            let highest = start.map(|(activity, at, topic)| {
                // Behind the cursor in the order (activity, space, topic), newest first.
                let topic = match space.cmp(&at) {
                    std::cmp::Ordering::Less => u32::MAX,
                    std::cmp::Ordering::Equal => topic,
                    std::cmp::Ordering::Greater => 0,
                };
                Key::new().u32(*space).u48(activity).u32(topic)
            });
            let bounds = match &highest {
                Some(key) => range.up_to(key.as_slice()),
                None => range.bounds(),
            };
            let mut of_space = self.0.rows(Table::Activity, bounds)?.rev();
            if let Some(row) = of_space.next() {
                heads.push(rank(row?.0.value()));
                rows.insert(*space, of_space);
            }
        }
        let mut keys = Vec::new();
        while keys.len() < limit {
            let Some((activity, space, topic)) = heads.pop() else {
                break;
            };
            let key = Key::new().u32(space).u48(activity).u32(topic);
            keys.push(key.as_slice().to_vec());
            if let Some(row) = rows.get_mut(&space).and_then(Iterator::next) {
                heads.push(rank(row?.0.value()));
            }
        }
        Ok(keys)
    }

    fn show_topics(&self, numbers: &[u32]) -> Result<Vec<Topic>> {
        let mut shared = Shared::new(self);
        let topics: Vec<(u32, TopicRow)> = numbers
            .iter()
            .map(|number| Ok((*number, self.known_topic(*number)?)))
            .collect::<Result<_>>()?;
        let mut rows = Vec::new();
        for (number, topic) in &topics {
            if let Some(row) = self.first_row(*number, topic)? {
                rows.push(row);
            }
        }
        let mut firsts: BTreeMap<EntryId, Item> = self
            .show_items(&mut shared, &rows)?
            .into_iter()
            .map(|item| (item.id, item))
            .collect();
        topics
            .into_iter()
            .map(|(number, row)| {
                Ok(Topic {
                    number: TopicNumber(number),
                    root: row.root,
                    space: shared.space(row.space)?.id,
                    kind: row.kind,
                    first: firsts.remove(&row.root),
                    last_activity: Millis(row.last),
                    items: u64::from(row.items),
                    unread: u64::from(row.unread()),
                })
            })
            .collect()
    }

    pub(crate) fn first_row<'t>(
        &self,
        number: u32,
        topic: &'t TopicRow,
    ) -> Result<Option<Row<'t>>> {
        let Some(place) = topic.first else {
            return Ok(None);
        };
        let key = ItemKey {
            topic: number,
            order: 0,
            place,
        };
        let value = self.0.item_row(&key.encode())?;
        Ok(value.map(|value| Row {
            key,
            value: ItemValue::decode(&value),
            topic,
        }))
    }

    /// A thread or an article by its first entry, which need not be held yet.
    ///
    /// # Errors
    /// The database's.
    pub fn topic(&self, root: EntryId) -> Result<Option<Topic>> {
        let mut found = None;
        for (key, value) in self.collect(Table::Roots, Key::new().half(&root))? {
            let number = u32_at(&value, 0);
            let row = self.known_topic(number)?;
            // An answer elsewhere may name it too: the space that holds it is meant.
            let held = row.first.is_some();
            let left = self.is_left(u32_at(&key, 16))?;
            if row.root == root && !left && (held || found.is_none()) {
                found = Some(number);
            }
        }
        match found {
            Some(number) => Ok(self.show_topics(&[number])?.pop()),
            None => Ok(None),
        }
    }

    /// The messages of a conversation; `None` where there are none yet.
    ///
    /// # Errors
    /// The database's.
    pub fn conversation(&self, space: SpaceId) -> Result<Option<Topic>> {
        let Some(number) = self.space_number(space)? else {
            return Ok(None);
        };
        let key = root_key(CONVERSATION_ROOT, number);
        let topic = self
            .0
            .with(Table::Roots, key.as_slice(), |value| u32_at(value, 0))?;
        match topic {
            Some(number) => Ok(self.show_topics(&[number])?.pop()),
            None => Ok(None),
        }
    }
}

pub(crate) const fn empty<T>() -> Page<T> {
    Page {
        items: Vec::new(),
        previous: None,
        next: None,
    }
}

/// A key of the activity table in the order over all spaces.
fn rank(key: &[u8]) -> (u64, u32, u32) {
    (number_at(key, 4, 6), u32_at(key, 0), u32_at(key, 10))
}

pub(crate) fn recent_cursor(key: &[u8]) -> Cursor {
    let (activity, space, topic) = rank(key);
    let key = Key::new().u48(activity).u32(space).u32(topic);
    Cursor(key.as_slice().to_vec())
}
