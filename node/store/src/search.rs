//! Searching by reading: newest topics first, in each the newest entries first. An index can come
//! later without changing what a caller sees.

use std::ops::Bound;

use proto::SpaceId;

use crate::{
    error::Result,
    keys::{ItemKey, ItemValue, u32_at},
    reading::{Cursor, Item, Page, Row, Shared, TopicNumber},
    rows::{TopicKind, TopicRow},
    tables::{ITEM_KEY, Source},
    topics::recent_cursor,
    view::View,
};

/// Entries that one call reads at most: some tens of milliseconds.
const SEARCHED_MAX: usize = 1_000;
/// Entries that are read at a time.
const CHUNK: usize = 128;
/// Bytes of a cursor's place among the topics.
const RECENT: usize = 14;

/// An entry that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The entry.
    pub item: Item,
    /// Its space.
    pub space: SpaceId,
    /// What its topic is.
    pub kind: TopicKind,
    /// Its topic.
    pub topic: TopicNumber,
    /// The title of its topic; empty where it has none or its first entry isn't held.
    pub title: String,
}

impl<S: Source> View<S> {
    /// Entries whose newest text or title contains `text`, whatever its case. Reads a bounded
    /// number of entries, so a page may be short, even empty, and still have a next one.
    ///
    /// # Errors
    /// The database's.
    pub fn search(&self, text: &str, cursor: Option<&Cursor>, limit: usize) -> Result<Page<Hit>> {
        let wanted = text.trim().to_lowercase();
        let mut page = Page {
            items: Vec::new(),
            previous: None,
            next: None,
        };
        if wanted.is_empty() || limit == 0 {
            return Ok(page);
        }
        let mut budget = SEARCHED_MAX;
        // Where to go on in the first topic: behind this item.
        let mut below: Option<[u8; ITEM_KEY]> =
            cursor.and_then(|Cursor(bytes)| bytes.get(RECENT..)?.try_into().ok());
        let mut at = cursor.cloned();
        loop {
            let keys = self.recent_keys(at.as_ref(), CHUNK)?;
            let more = keys.len() == CHUNK;
            for key in keys.iter().take(if more { CHUNK - 1 } else { CHUNK }) {
                let left = self.search_topic(
                    u32_at(key, 10),
                    below.take(),
                    &wanted,
                    (&mut budget, limit),
                    &mut page.items,
                )?;
                if let Some(left) = left {
                    let Cursor(mut bytes) = recent_cursor(key);
                    bytes.extend_from_slice(&left);
                    page.next = Some(Cursor(bytes));
                    return Ok(page);
                }
            }
            let Some(last) = keys.last().filter(|_| more) else {
                return Ok(page);
            };
            at = Some(recent_cursor(last));
        }
    }

    /// Searches one topic from `below` backwards: where it stopped, if not at the beginning.
    fn search_topic(
        &self,
        topic: u32,
        below: Option<[u8; ITEM_KEY]>,
        wanted: &str,
        (budget, limit): (&mut usize, usize),
        hits: &mut Vec<Hit>,
    ) -> Result<Option<[u8; ITEM_KEY]>> {
        let row = self.known_topic(topic)?;
        let low = ItemKey::lowest(topic);
        let mut end = below.unwrap_or_else(|| ItemKey::highest(topic));
        let mut title = None;
        let mut shared = Shared::new(self);
        loop {
            if *budget == 0 || hits.len() >= limit {
                return Ok(Some(end));
            }
            let mut rows = Vec::new();
            for found in self
                .0
                .item_rows((Bound::Included(&low), Bound::Excluded(&end)))?
                .rev()
                .take(CHUNK.min(*budget))
            {
                let (key, value) = found?;
                rows.push(Row {
                    key: ItemKey::decode(key.value()),
                    value: ItemValue::decode(value.value()),
                    topic: &row,
                });
            }
            if rows.is_empty() {
                return Ok(None);
            }
            *budget -= rows.len();
            let items = self.show_items(&mut shared, &rows)?;
            for (found, item) in rows.iter().zip(items) {
                if hits.len() >= limit {
                    return Ok(Some(end));
                }
                end = found.key.encode();
                if !matches(&item, wanted) {
                    continue;
                }
                let title = match &title {
                    Some(title) => title,
                    None => title.insert(self.title_of(topic, &row)?),
                };
                hits.push(Hit {
                    space: item.space,
                    kind: row.kind,
                    topic: TopicNumber(topic),
                    title: title.clone(),
                    item,
                });
            }
        }
    }

    fn title_of(&self, number: u32, topic: &TopicRow) -> Result<String> {
        let Some(first) = self.first_row(number, topic)? else {
            return Ok(String::new());
        };
        let items = self.show_items(&mut Shared::new(self), &[first])?;
        Ok(items
            .into_iter()
            .next()
            .and_then(|item| item.title)
            .unwrap_or_default())
    }
}

fn matches(item: &Item, wanted: &str) -> bool {
    let contains = |text: &str| text.to_lowercase().contains(wanted);
    let embedded = item
        .reblog
        .as_ref()
        .is_some_and(|reblog| contains(&reblog.text));
    contains(&item.text) || item.title.as_deref().is_some_and(contains) || embedded
}
