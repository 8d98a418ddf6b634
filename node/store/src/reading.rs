//! What pages show of a topic: its entries in the newest version.

use std::{collections::BTreeMap, ops::Bound};

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    body::{Body, Setting},
    space::{Descriptor, SpaceKind},
};

use crate::{
    error::{Error, Result},
    keys::{ItemKey, ItemValue, Place, item_bounds, u32_at},
    project::{is_doubtful, known_body},
    relations::Reaction,
    roles::role_in,
    rows::{FeedRow, TopicRow, load},
    segment::Loaded,
    tables::{Source, Table},
    topics::empty,
    view::View,
    work::root_key,
};

/// A place in a list, as bytes that mean nothing to others. A page begins with what stands there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub Vec<u8>);

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the list's own order.
    pub items: Vec<T>,
    /// Where the page before this one starts, for lists that can be read backwards.
    pub previous: Option<Cursor>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<Cursor>,
}

/// A topic's local number, for reading its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicNumber(pub(crate) u32);

/// An entry in a topic, in its newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The entry.
    pub id: EntryId,
    /// Its space.
    pub space: SpaceId,
    /// The first entry of its topic; 32 zeros in a conversation.
    pub topic: EntryId,
    /// The author's device.
    pub device: DeviceId,
    /// The author.
    pub author: IdentityId,
    /// Its place in its feed.
    pub seq: u64,
    /// Its kind (see [`proto::body::kind`]); 0 where it isn't known.
    pub kind: u64,
    /// The author's claim of the time.
    pub created: Millis,
    /// When it came.
    pub received: Millis,
    /// The claim can't be right: 1970, or far in the future.
    pub doubtful: bool,
    /// Not read yet.
    pub unread: bool,
    /// Its author took it back.
    pub retracted: bool,
    /// Its body is missing and asked for.
    pub missing: bool,
    /// The entry that it answers, where it names one.
    pub parent: Option<EntryId>,
    /// The newest title, of a first entry; of a reblog the original's.
    pub title: Option<String>,
    /// The newest text as written; of a reblog the note.
    pub text: String,
    /// The newest tags.
    pub tags: Vec<String>,
    /// When it was last edited.
    pub edited: Option<Millis>,
    /// What people put under it, by emoji.
    pub reactions: Vec<Reaction>,
    /// What it embeds, of a reblog.
    pub reblog: Option<Reblogged>,
    /// What it says of how a conversation is kept.
    pub setting: Option<Setting>,
}

/// The signed original inside a reblog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reblogged {
    /// Who wrote it.
    pub author: IdentityId,
    /// The name that its author had.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its text as written.
    pub text: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The author's claim of the time.
    pub created: Millis,
}

/// Any entry, as it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entry.
    pub id: EntryId,
    /// Its space.
    pub space: SpaceId,
    /// The author's device.
    pub device: DeviceId,
    /// The author.
    pub author: IdentityId,
    /// Its place in its feed.
    pub seq: u64,
    /// The author's claim of the time.
    pub created: Millis,
    /// Its body, `None` where it isn't held.
    pub body: Option<Vec<u8>>,
}

/// What a reader knows of a space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpaceFacts {
    pub(crate) id: SpaceId,
    pub(crate) kind: SpaceKind,
    pub(crate) creator: Option<IdentityId>,
}

/// Rows that many items of a page share.
pub(crate) struct Shared<'v, S> {
    pub(crate) view: &'v View<S>,
    feeds: BTreeMap<u32, FeedRow>,
    spaces: BTreeMap<u32, SpaceFacts>,
}

impl<'v, S: Source> Shared<'v, S> {
    pub(crate) const fn new(view: &'v View<S>) -> Self {
        Self {
            view,
            feeds: BTreeMap::new(),
            spaces: BTreeMap::new(),
        }
    }

    pub(crate) fn feed(&mut self, number: u32) -> Result<&FeedRow> {
        use std::collections::btree_map::Entry;
        match self.feeds.entry(number) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(slot) => Ok(slot.insert(self.view.known_feed(number)?)),
        }
    }

    pub(crate) fn space(&mut self, number: u32) -> Result<SpaceFacts> {
        if let Some(known) = self.spaces.get(&number) {
            return Ok(*known);
        }
        let row = self.view.space_row(number)?;
        let descriptor = row.descriptor.as_deref().map(Descriptor::decode);
        let facts = SpaceFacts {
            id: row.id,
            kind: row.kind,
            creator: descriptor.and_then(Result::ok).map(|d| d.creator),
        };
        self.spaces.insert(number, facts);
        Ok(facts)
    }
}

/// An item before its entry is read.
#[derive(Debug, Clone)]
pub(crate) struct Row<'t> {
    pub(crate) key: ItemKey,
    pub(crate) value: ItemValue,
    pub(crate) topic: &'t TopicRow,
}

impl<S: Source> View<S> {
    /// A page of a topic's entries, oldest first, the first entry before all others.
    ///
    /// # Errors
    /// The database's.
    pub fn items(
        &self,
        topic: TopicNumber,
        cursor: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<Item>> {
        let (low, high) = (ItemKey::lowest(topic.0), ItemKey::highest(topic.0));
        let start = cursor
            .and_then(|Cursor(bytes)| bytes.as_slice().try_into().ok())
            .filter(|start: &[u8; crate::tables::ITEM_KEY]| low <= *start && *start <= high)
            .unwrap_or(low);
        let mut keys = Vec::new();
        for row in self
            .0
            .item_rows((Bound::Included(&start), Bound::Included(&high)))?
            .take(limit + 1)
        {
            let (key, value) = row?;
            keys.push((*key.value(), ItemValue::decode(value.value())));
        }
        let next = keys.get(limit).map(|(key, _)| Cursor(key.to_vec()));
        keys.truncate(limit);
        let previous = match keys.first() {
            Some((first, _)) => self.back(&low, Bound::Excluded(first), limit)?,
            None => None,
        };
        let Some(row) = load::<TopicRow>(&self.0, &topic.0.to_be_bytes())? else {
            return Ok(empty());
        };
        let rows: Vec<Row<'_>> = keys
            .into_iter()
            .map(|(key, value)| Row {
                key: ItemKey::decode(&key),
                value,
                topic: &row,
            })
            .collect();
        Ok(Page {
            items: self.show_items(&mut Shared::new(self), &rows)?,
            previous,
            next,
        })
    }

    /// Where the page starts that ends before `end`.
    fn back(
        &self,
        low: &[u8; crate::tables::ITEM_KEY],
        end: Bound<&[u8; crate::tables::ITEM_KEY]>,
        limit: usize,
    ) -> Result<Option<Cursor>> {
        let mut start = None;
        for row in self
            .0
            .item_rows((Bound::Included(low), end))?
            .rev()
            .take(limit)
        {
            start = Some(Cursor(row?.0.value().to_vec()));
        }
        Ok(start)
    }

    /// The newest page of a topic's entries, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub fn last_items(&self, topic: TopicNumber, limit: usize) -> Result<Page<Item>> {
        let (low, high) = (ItemKey::lowest(topic.0), ItemKey::highest(topic.0));
        let start = self.back(&low, Bound::Included(&high), limit)?;
        self.items(topic, start.as_ref(), limit)
    }

    /// The first entry of a topic, in its order, that wasn't read, and the cursor of the page that
    /// begins with it. Costs a walk from the end over what isn't read.
    ///
    /// # Errors
    /// The database's.
    pub fn first_unread(&self, topic: TopicNumber) -> Result<Option<(EntryId, Cursor)>> {
        let Some(row) = load::<TopicRow>(&self.0, &topic.0.to_be_bytes())? else {
            return Ok(None);
        };
        let mut left = row.unread();
        let (low, high) = (ItemKey::lowest(topic.0), ItemKey::highest(topic.0));
        let mut first = None;
        for item in self.0.item_rows(item_bounds(&low, &high))?.rev() {
            if left == 0 {
                break;
            }
            let (key, value) = item?;
            if !row.read.contains(ItemValue::decode(value.value()).index) {
                left -= 1;
                first = Some(*key.value());
            }
        }
        let Some(key) = first else {
            return Ok(None);
        };
        let place = ItemKey::decode(&key).place;
        let loaded = self.entries_at([place])?.remove(&place);
        Ok(loaded.map(|loaded| (loaded.id, Cursor(key.to_vec()))))
    }

    /// An entry that stands in a topic; `None` where it isn't held or stands in none.
    ///
    /// # Errors
    /// The database's.
    pub fn item(&self, id: EntryId) -> Result<Option<Item>> {
        let mut shared = Shared::new(self);
        let Some((topic, key)) = self.find_item(&mut shared, &id)? else {
            return Ok(None);
        };
        let row = self.known_topic(topic)?;
        let Some(value) = self.0.item_row(&key.encode())? else {
            return Ok(None);
        };
        let row = Row {
            key,
            value: ItemValue::decode(&value),
            topic: &row,
        };
        Ok(self.show_items(&mut shared, &[row])?.pop())
    }

    /// Where an entry stands: the topic's number and the item's key.
    pub(crate) fn find_item(
        &self,
        shared: &mut Shared<'_, S>,
        id: &EntryId,
    ) -> Result<Option<(u32, ItemKey)>> {
        let Some((place, loaded)) = self.find_entry(shared, id)? else {
            return Ok(None);
        };
        let order = self.indexed(id)?.map_or(0, |indexed| indexed.order);
        let gone = self.gone(place)?.map(|(topic, _)| topic);
        let topic = match gone.filter(|topic| *topic > 0) {
            Some(topic) => Some(topic),
            None => {
                let feed = shared.feed(place.feed)?.clone();
                let space = shared.space(feed.space)?;
                let body = loaded.body.as_deref().and_then(known_body);
                let root = body.and_then(|body| {
                    role_in(space.kind, space.creator, feed.author, &body).root(*id)
                });
                match root {
                    Some(root) => {
                        let key = root_key(root, feed.space);
                        self.0
                            .with(Table::Roots, key.as_slice(), |value| u32_at(value, 0))?
                    }
                    None => None,
                }
            }
        };
        Ok(topic.map(|topic| {
            let key = ItemKey {
                topic,
                order,
                place,
            };
            (topic, key)
        }))
    }

    /// The place of an entry of a space that is held, and the entry.
    pub(crate) fn find_entry(
        &self,
        shared: &mut Shared<'_, S>,
        id: &EntryId,
    ) -> Result<Option<(Place, Loaded)>> {
        let Some(place) = self.indexed(id)?.map(|indexed| indexed.place) else {
            return Ok(None);
        };
        let Some(feed) = self.feed_row(place.feed)? else {
            return Ok(None);
        };
        let space = shared.space(feed.space)?.id;
        if self.space_number(space)? != Some(feed.space) {
            return Ok(None);
        }
        let loaded = self.entry_at(space, place.feed, &feed, place.seq)?;
        Ok(loaded
            .filter(|loaded| loaded.id == *id)
            .map(|loaded| (place, loaded)))
    }

    /// Any entry, as it is held.
    ///
    /// # Errors
    /// The database's.
    pub fn entry(&self, id: EntryId) -> Result<Option<Entry>> {
        let mut shared = Shared::new(self);
        let Some((place, loaded)) = self.find_entry(&mut shared, &id)? else {
            return Ok(None);
        };
        let feed = shared.feed(place.feed)?;
        let Some(author) = feed.author else {
            return Ok(None);
        };
        Ok(Some(Entry {
            id,
            space: loaded.header.space,
            device: feed.device,
            author,
            seq: place.seq,
            created: loaded.header.created,
            body: loaded.body,
        }))
    }

    /// Items of a page: each segment that they lie in is read once.
    pub(crate) fn show_items(
        &self,
        shared: &mut Shared<'_, S>,
        rows: &[Row<'_>],
    ) -> Result<Vec<Item>> {
        let mut loaded = self.entries_at(rows.iter().map(|row| row.key.place))?;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(entry) = loaded.remove(&row.key.place) else {
                return Err(Error::Corrupt {
                    table: Table::Sealed.name(),
                });
            };
            items.push(self.show_item(shared, row, entry)?);
        }
        self.dress(shared, rows, &mut items)?;
        Ok(items)
    }

    fn show_item(&self, shared: &mut Shared<'_, S>, row: &Row<'_>, entry: Loaded) -> Result<Item> {
        let place = row.key.place;
        let feed = shared.feed(place.feed)?;
        let author = feed.author.ok_or(Error::Corrupt {
            table: Table::Feeds.name(),
        })?;
        let body = entry.body.as_deref().and_then(known_body);
        let kind = match &body {
            Some(body) => body.kind(),
            None => self.gone(place)?.map_or(0, |(_, kind)| kind),
        };
        let mut item = Item {
            id: entry.id,
            space: entry.header.space,
            topic: row.topic.root,
            device: entry.header.device,
            author,
            seq: place.seq,
            kind,
            created: entry.header.created,
            received: Millis(row.value.received),
            doubtful: is_doubtful(entry.header.created, row.value.received),
            unread: !row.topic.read.contains(row.value.index),
            retracted: row.value.retracted,
            missing: row.value.missing,
            parent: None,
            title: None,
            text: String::new(),
            tags: Vec::new(),
            edited: None,
            reactions: Vec::new(),
            reblog: None,
            setting: None,
        };
        if let Some(body) = body {
            set_content(&mut item, body);
        }
        Ok(item)
    }
}

fn owned(tags: &[&str]) -> Vec<String> {
    tags.iter().map(|tag| (*tag).to_owned()).collect()
}

fn set_content(item: &mut Item, body: Body<'_>) {
    match body {
        Body::Thread { title, text } => {
            item.title = Some(title.to_owned());
            text.clone_into(&mut item.text);
        }
        Body::Article {
            title, text, tags, ..
        } => {
            item.title = Some(title.to_owned());
            text.clone_into(&mut item.text);
            item.tags = owned(&tags);
        }
        Body::Reply(answer) | Body::Comment(answer) => {
            answer.text.clone_into(&mut item.text);
            item.parent = answer.parent;
        }
        Body::Message { text, parent, .. } => {
            text.clone_into(&mut item.text);
            item.parent = parent;
        }
        Body::Reblog(reblog) => {
            let original = reblog.original;
            item.title = Some(original.title.to_owned());
            reblog.note.clone_into(&mut item.text);
            item.tags = owned(&original.tags);
            item.reblog = Some(Reblogged {
                author: reblog.certificate.identity,
                name: reblog.name.to_owned(),
                title: original.title.to_owned(),
                text: original.text.to_owned(),
                tags: owned(&original.tags),
                created: original.created,
            });
        }
        Body::Setting(setting) => item.setting = Some(setting),
        _ => {}
    }
}
