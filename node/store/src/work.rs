//! What one change to a space works on: its rows in memory, written back once at the end.
//!
//! An import of hundreds of entries touches a few feeds and topics, so these are loaded once, and
//! the rows with one for each entry are inserted sorted, which spares redb most of its walks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proto::{
    EntryId, IdentityId, SpaceId,
    circle::Government,
    space::{Membership, SpaceContext, SpaceKind},
};

use crate::{
    error::{Error, Result},
    keys::{Indexed, ItemKey, ItemValue, Key, half, item_bounds, u32_at},
    rows::{Counts, FeedRow, TopicKind, TopicRow},
    serve::context_of,
    tables::{ID_KEY, Source, Table},
    txn::{Numbers, Txn},
};

/// Topics that several imports of one job change, until they are written for all of them: an import
/// of a few hundred entries changes as many topics as one of thousands does.
#[derive(Default)]
pub(crate) struct HeldTopics(BTreeMap<u32, HeldSpace>);

struct HeldSpace {
    id: SpaceId,
    topics: BTreeMap<u32, TopicWork>,
    roots: HashMap<EntryId, u32>,
}

impl HeldTopics {
    pub(crate) fn write(self, txn: &mut Txn<'_>) -> Result<()> {
        for held in self.0.into_values() {
            let mut work = Work::begin(txn, held.id, 0)?;
            work.topics = held.topics;
            work.finish(txn)?;
        }
        Ok(())
    }

    fn of(&self, space: u32) -> Option<&HeldSpace> {
        self.0.get(&space)
    }
}

/// A topic in memory.
#[derive(Clone)]
pub(crate) struct TopicWork {
    pub(crate) row: TopicRow,
    /// As on disk: last activity and unread; `None` for a new topic.
    before: Option<(u64, u32)>,
    /// Entries were taken away, so the last activity has to be found anew.
    pub(crate) recount: bool,
    changed: bool,
}

/// The rows of one space that a change works on.
pub(crate) struct Work {
    pub(crate) space: u32,
    pub(crate) id: SpaceId,
    pub(crate) kind: SpaceKind,
    pub(crate) context: SpaceContext,
    pub(crate) own: Option<IdentityId>,
    pub(crate) counts: Counts,
    counts_before: Counts,
    feeds: BTreeMap<u32, FeedRow>,
    dirty_feeds: BTreeSet<u32>,
    topics: BTreeMap<u32, TopicWork>,
    roots: HashMap<EntryId, u32>,
    pub(crate) now: u64,
    /// Answers wait for a parent, or retracts for a target, somewhere in this space.
    pub(crate) has_waiting: bool,
    pub(crate) has_orphans: bool,
    /// Of a circle, once it was asked for.
    pub(crate) government: Option<Government>,
    /// Rules came or went, and what follows from them isn't in force yet.
    pub(crate) rules_changed: bool,
    ids: Vec<(EntryId, Indexed)>,
    id_orders: HashMap<[u8; ID_KEY], u64>,
    items: Vec<(ItemKey, ItemValue)>,
}

impl Work {
    pub(crate) fn begin(txn: &Txn<'_>, space: SpaceId, now: u64) -> Result<Self> {
        let number = txn.known_space(space)?;
        let row = txn.space_row(number)?;
        let counts = txn.counts_row(number)?;
        let context = context_of(&row)?;
        Ok(Self {
            space: number,
            id: space,
            kind: row.kind,
            context,
            own: txn.own_identity()?,
            counts,
            counts_before: counts,
            feeds: BTreeMap::new(),
            dirty_feeds: BTreeSet::new(),
            topics: BTreeMap::new(),
            roots: HashMap::new(),
            now,
            has_waiting: txn.has_any(Table::Waiting, Key::new().u32(number))?,
            has_orphans: txn.has_any(Table::Orphans, Key::new().u32(number))?,
            government: None,
            rules_changed: false,
            ids: Vec::new(),
            id_orders: HashMap::new(),
            items: Vec::new(),
        })
    }

    /// The one whose blog this is, or who made it.
    pub(crate) fn creator(&self) -> Option<IdentityId> {
        creator_of(&self.context)
    }

    pub(crate) fn is_own(&self, author: Option<IdentityId>) -> bool {
        author.is_some() && author == self.own
    }

    /// A feed, to read.
    pub(crate) fn feed(&mut self, txn: &Txn<'_>, number: u32) -> Result<&FeedRow> {
        self.load_feed(txn, number).map(|row| &*row)
    }

    /// A feed, to change.
    pub(crate) fn feed_mut(&mut self, txn: &Txn<'_>, number: u32) -> Result<&mut FeedRow> {
        self.dirty_feeds.insert(number);
        self.load_feed(txn, number)
    }

    fn load_feed(&mut self, txn: &Txn<'_>, number: u32) -> Result<&mut FeedRow> {
        use std::collections::btree_map::Entry;
        match self.feeds.entry(number) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(slot) => Ok(slot.insert(txn.known_feed(number)?)),
        }
    }

    /// A feed that isn't on disk yet.
    pub(crate) fn add_feed(&mut self, number: u32, row: FeedRow) {
        self.feeds.insert(number, row);
        self.dirty_feeds.insert(number);
    }

    /// Whether an indexed place belongs to a feed that this space still holds.
    pub(crate) fn owns(&mut self, txn: &Txn<'_>, feed: u32) -> Result<bool> {
        if let Some(row) = self.feeds.get(&feed) {
            return Ok(row.space == self.space);
        }
        match txn.feed_row(feed)? {
            Some(row) => {
                let owns = row.space == self.space;
                if owns {
                    self.feeds.insert(feed, row);
                }
                Ok(owns)
            }
            None => Ok(false),
        }
    }

    /// The topic that begins with `root`, made where it is missing: replies may come before it.
    pub(crate) fn topic_of(&mut self, txn: &mut Txn<'_>, root: EntryId) -> Result<u32> {
        if let Some(number) = self.find_topic(txn, root)? {
            return Ok(number);
        }
        let number = txn.next_number(Numbers::Topic)?;
        let row = TopicRow {
            space: self.space,
            kind: match self.kind {
                SpaceKind::Blog => TopicKind::Article,
                SpaceKind::Conversation => TopicKind::Conversation,
                SpaceKind::Forum | SpaceKind::Circle | SpaceKind::Own => TopicKind::Thread,
            },
            root,
            first: None,
            first_order: 0,
            last: 0,
            items: 0,
            next_index: 0,
            read: crate::readset::ReadSet::default(),
        };
        self.topics.insert(
            number,
            TopicWork {
                row,
                before: None,
                recount: false,
                changed: true,
            },
        );
        self.counts.topics += 1;
        txn.put(
            Table::Roots,
            root_key(root, self.space).as_slice(),
            &number.to_be_bytes(),
        )?;
        self.roots.insert(root, number);
        Ok(number)
    }

    pub(crate) fn find_topic(&mut self, txn: &Txn<'_>, root: EntryId) -> Result<Option<u32>> {
        let held = txn.held().and_then(|held| held.of(self.space));
        let known = held.and_then(|held| held.roots.get(&root));
        if let Some(number) = self.roots.get(&root).or(known) {
            return Ok(Some(*number));
        }
        let key = root_key(root, self.space);
        let number = txn
            .0
            .with(Table::Roots, key.as_slice(), |value| u32_at(value, 0))?;
        let Some(number) = number else {
            return Ok(None);
        };
        if self.topic(txn, number)?.row.root != root {
            // The same half of an id by intent; the first one stays.
            return Ok(None);
        }
        self.roots.insert(root, number);
        Ok(Some(number))
    }

    pub(crate) fn topic(&mut self, txn: &Txn<'_>, number: u32) -> Result<&mut TopicWork> {
        use std::collections::btree_map::Entry;
        match self.topics.entry(number) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(slot) => {
                let held = txn.held().and_then(|held| held.of(self.space));
                if let Some(held) = held.and_then(|held| held.topics.get(&number)) {
                    return Ok(slot.insert(held.clone()));
                }
                let row = txn.known_topic(number)?;
                let before = Some((row.last, row.unread()));
                Ok(slot.insert(TopicWork {
                    row,
                    before,
                    recount: false,
                    changed: false,
                }))
            }
        }
    }

    pub(crate) fn topic_mut(&mut self, txn: &Txn<'_>, number: u32) -> Result<&mut TopicWork> {
        let topic = self.topic(txn, number)?;
        topic.changed = true;
        Ok(topic)
    }

    /// Queues an entry for the index.
    pub(crate) fn index(&mut self, id: EntryId, indexed: Indexed) {
        self.id_orders.insert(half(&id), indexed.order);
        self.ids.push((id, indexed));
    }

    /// Queues an item of a topic.
    pub(crate) fn show(&mut self, key: ItemKey, value: ItemValue) {
        self.items.push((key, value));
    }

    /// The order of an entry of this space that is held, or queued.
    pub(crate) fn order_of(&mut self, txn: &Txn<'_>, id: &EntryId) -> Result<Option<u64>> {
        if let Some(order) = self.id_orders.get(&half(id)) {
            return Ok(Some(*order));
        }
        match txn.indexed(id)? {
            Some(indexed) if self.owns(txn, indexed.place.feed)? => Ok(Some(indexed.order)),
            _ => Ok(None),
        }
    }

    /// Writes the rows queued for the index and the topics.
    pub(crate) fn flush(&mut self, txn: &mut Txn<'_>) -> Result<()> {
        self.ids.sort_unstable_by_key(|(id, _)| id.0);
        for (id, indexed) in std::mem::take(&mut self.ids) {
            if let Some(known) = txn.put_indexed(&id, &indexed)?
                && known.place != indexed.place
                && txn.is_live(known.place.feed)?
            {
                txn.put_indexed(&id, &known)?;
            }
        }
        self.id_orders.clear();
        self.items.sort_unstable_by_key(|(key, _)| *key);
        for (key, value) in std::mem::take(&mut self.items) {
            txn.put_item(&key.encode(), &value.encode())?;
        }
        Ok(())
    }

    /// Writes everything back, or holds the topics back where the transaction says so.
    pub(crate) fn finish(mut self, txn: &mut Txn<'_>) -> Result<()> {
        // What gave a tail up may have given up rules.
        txn.govern(&mut self)?;
        self.flush(txn)?;
        let topics = std::mem::take(&mut self.topics).into_iter();
        let changed = topics.filter(|(_, topic)| topic.changed || topic.recount);
        if let Some(held) = txn.held_mut() {
            let held = held.0.entry(self.space).or_insert_with(|| HeldSpace {
                id: self.id,
                topics: BTreeMap::new(),
                roots: HashMap::new(),
            });
            held.topics.extend(changed);
            held.roots.extend(self.roots.drain());
        } else {
            for (number, topic) in changed {
                self.finish_topic(txn, number, topic)?;
            }
        }
        for number in std::mem::take(&mut self.dirty_feeds) {
            if let Some(row) = self.feeds.get(&number) {
                txn.put_row(&number.to_be_bytes(), row)?;
                let leaf = txn.frontier_of(number, row)?.leaf();
                txn.put_leaf(self.space, row.device, number, leaf)?;
            }
        }
        if self.counts != self.counts_before {
            txn.put_row(&self.space.to_be_bytes(), &self.counts)?;
        }
        Ok(())
    }

    fn finish_topic(&mut self, txn: &mut Txn<'_>, number: u32, topic: TopicWork) -> Result<()> {
        let TopicWork {
            mut row,
            before,
            recount,
            ..
        } = topic;
        let (last_before, unread_before) = before.map_or((None, 0), |(l, u)| (Some(l), u));
        self.counts.unread = self.counts.unread.saturating_sub(u64::from(unread_before));
        let ends = row.items == 0 && row.first.is_none();
        if recount {
            row.last = row.first_order.max(last_order(txn, number)?);
        }
        if let Some(last) = last_before.filter(|last| ends || *last != row.last) {
            let key = activity_key(self.space, last, number);
            txn.remove(Table::Activity, key.as_slice())?;
        }
        if ends {
            self.counts.topics = self.counts.topics.saturating_sub(1);
            txn.remove(Table::Topics, &number.to_be_bytes())?;
            txn.remove(Table::Roots, root_key(row.root, self.space).as_slice())?;
            return Ok(());
        }
        self.counts.unread += u64::from(row.unread());
        txn.put_row(&number.to_be_bytes(), &row)?;
        if last_before != Some(row.last) {
            let key = activity_key(self.space, row.last, number);
            txn.put(Table::Activity, key.as_slice(), &[])?;
        }
        Ok(())
    }
}

fn last_order(txn: &Txn<'_>, topic: u32) -> Result<u64> {
    let (low, high) = (ItemKey::lowest(topic), ItemKey::highest(topic));
    let last = txn
        .0
        .item_rows(item_bounds(&low, &high))?
        .next_back()
        .transpose()?;
    Ok(last.map_or(0, |(key, _)| ItemKey::decode(key.value()).order))
}

/// The one whose blog a space is, or who made it.
pub(crate) const fn creator_of(context: &SpaceContext) -> Option<IdentityId> {
    match context.members {
        Membership::Admitted { creator, .. } => Some(creator),
        Membership::Own(owner) => Some(owner),
        Membership::Pair(_) => None,
    }
}

pub(crate) fn root_key(root: EntryId, space: u32) -> Key {
    Key::new().half(&root).u32(space)
}

pub(crate) fn activity_key(space: u32, last: u64, topic: u32) -> Key {
    Key::new().u32(space).u48(last).u32(topic)
}

impl<S: Source> crate::view::View<S> {
    pub(crate) fn known_topic(&self, number: u32) -> Result<TopicRow> {
        crate::rows::load(&self.0, &number.to_be_bytes())?.ok_or(Error::Corrupt {
            table: Table::Topics.name(),
        })
    }
}
