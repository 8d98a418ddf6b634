//! From an entry to what is shown of it, and back: topics, items, relations, names, members.
//!
//! Every effect of an entry can be taken away again, because a fork or a revocation may end its
//! feed below it. What is shown is a function of the entries that are held; only order, numbers
//! and read marks depend on how they came.

use proto::{
    EntryId, IdentityId, Millis,
    admission::Chain,
    body::{Body, Genesis},
    limits::{CLOCK_AHEAD_MS_MAX, CLOCK_EARLIEST_MS},
    space::SpaceKind,
};

use crate::{
    error::{Error, Result},
    keys::{Indexed, ItemKey, ItemValue, Key, ORDER_MAX, Place, number_at, u32_at},
    roles::{CONVERSATION_ROOT, Relation, Role},
    tables::{Source, Table},
    txn::Txn,
    work::Work,
};

/// An entry that is new here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// The entry.
    pub id: EntryId,
    /// Its place in its feed.
    pub seq: u64,
    /// Its kind (see [`proto::body::kind`]); `None` where its body isn't held.
    pub kind: Option<u64>,
    /// Who wrote it.
    pub author: Option<IdentityId>,
    /// The author's claim of the time.
    pub created: Millis,
    /// The first entry of the topic that it stands in; its own id of a thread or an article,
    /// `None` of what stands in no topic. A conversation's is 32 zeros.
    pub topic: Option<EntryId>,
    /// The entry that it edits, retracts or reacts to.
    pub target: Option<EntryId>,
}

/// An entry on its way into the projections.
pub(crate) struct Entering<'b> {
    pub(crate) place: Place,
    pub(crate) id: EntryId,
    pub(crate) created: Millis,
    pub(crate) body: Option<&'b [u8]>,
    /// What an earlier appearance left: its order, and its item's value.
    pub(crate) order: Option<u64>,
    pub(crate) item: Option<ItemValue>,
}

/// A stored body. One that this program finds malformed was accepted by another version of it as
/// of an unknown kind: it is kept and passed on, and not shown.
pub(crate) fn known_body(bytes: &[u8]) -> Option<Body<'_>> {
    Body::decode(bytes).ok()
}

/// Whether a claimed time can't be right, seen from when it came.
#[must_use]
pub fn is_doubtful(created: Millis, received: u64) -> bool {
    created.0 < CLOCK_EARLIEST_MS || created.0 > received.saturating_add(CLOCK_AHEAD_MS_MAX)
}

/// Where an entry sorts in time: its author's claim, but never after it came here. A claim that
/// can't be right counts for nothing.
pub(crate) fn order_in_time(created: Millis, received: u64) -> u64 {
    if is_doubtful(created, received) {
        received.min(ORDER_MAX)
    } else {
        created.0.min(received).min(ORDER_MAX)
    }
}

pub(crate) fn relation_key(space: u32, target: &EntryId, kind: u8, place: Place) -> Key {
    Key::new()
        .u32(space)
        .half(target)
        .u8(kind)
        .u32(place.feed)
        .u40(place.seq)
}

pub(crate) fn link_key(space: u32, target: &EntryId, place: Place) -> Key {
    Key::new()
        .u32(space)
        .half(target)
        .u32(place.feed)
        .u40(place.seq)
}

pub(crate) fn place_key(place: Place) -> Key {
    Key::new().u32(place.feed).u64(place.seq)
}

pub(crate) fn name_key(identity: IdentityId, place: Place) -> Key {
    Key::new().bytes(&identity.0).u32(place.feed).u40(place.seq)
}

/// The value of a relation: version, the target's other half, time, and of a reaction whether it
/// is given, and the emoji.
pub(crate) fn relation_value(relation: &Relation<'_>, created: Millis) -> Vec<u8> {
    let mut value = vec![1];
    let target = relation.target();
    value.extend_from_slice(target.0.get(16..).unwrap_or_default());
    value.extend_from_slice(&created.0.to_be_bytes());
    if let Relation::Reaction { emoji, on, .. } = relation {
        value.push(u8::from(*on));
        value.extend_from_slice(emoji.as_bytes());
    }
    value
}

impl Work {
    /// Enters one entry. Its rows are queued; what acts on other entries is returned for later.
    pub(crate) fn enter(&mut self, txn: &mut Txn<'_>, entering: &Entering<'_>) -> Result<NewEntry> {
        let Entering {
            place, id, created, ..
        } = *entering;
        let body = entering.body.and_then(known_body);
        let (author, last_order) = {
            let feed = self.feed(txn, place.feed)?;
            (feed.author, feed.last_order)
        };
        let mut new = NewEntry {
            id,
            seq: place.seq,
            kind: body.as_ref().map(Body::kind),
            author,
            created,
            topic: None,
            target: None,
        };
        let mut order = entering
            .order
            .unwrap_or_else(|| order_in_time(created, self.now).max(last_order));
        let mut shown_order = order;
        let mut shown = None;
        let role = body
            .as_ref()
            .map_or(Role::None, |body| self.role(author, body));
        match role {
            Role::First => {
                new.topic = Some(id);
                shown_order = 0;
                let topic = self.topic_of(txn, id)?;
                let row = &mut self.topic_mut(txn, topic)?.row;
                // Where the body came back, the topic still knows when it began: the entry itself
                // sorts before all others.
                if entering.order != Some(0) || row.first != Some(place) {
                    row.first_order = order;
                }
                order = row.first_order;
                row.first = Some(place);
                self.add_item(txn, topic, entering, 0, order)?;
            }
            Role::Item { root, parent } => {
                new.topic = Some(root);
                let topic = self.topic_of(txn, root)?;
                if let Some(parent) = parent {
                    match self.order_of(txn, &parent)? {
                        Some(after) => order = order.max(after),
                        None => self.wait(txn, &parent, place, topic, order)?,
                    }
                }
                shown_order = order;
                let (_, received, read) = self.add_item(txn, topic, entering, order, order)?;
                shown = Some((received, read));
            }
            Role::Relation(relation) => {
                new.target = Some(relation.target());
                let key = relation_key(self.space, &relation.target(), relation.code(), place);
                let value = relation_value(&relation, created);
                txn.put(Table::Relations, key.as_slice(), &value)?;
            }
            Role::Name(name) => self.put_name(txn, author, place, created, name)?,
            Role::Genesis(genesis) => self.enter_genesis(txn, place, created, genesis)?,
            Role::Setting(setting) => {
                new.topic = Some(CONVERSATION_ROOT);
                let topic = self.topic_of(txn, CONVERSATION_ROOT)?;
                let (index, ..) = self.add_item(txn, topic, entering, order, order)?;
                // A line that says something is no message to be read.
                self.topic_mut(txn, topic)?.row.read.insert(index);
                txn.put_setting_at(place, setting, id, created)?;
            }
            Role::Rule(rule) => {
                let body = entering.body.unwrap_or_default();
                self.enter_rule(txn, place, id, rule, body)?;
            }
            Role::Receipt(device, up_to) => {
                // Nobody has read what doesn't exist yet.
                let feed = txn.feed_number(self.space, device)?;
                let held = match feed {
                    Some(feed) => self.feed(txn, feed)?.holds(up_to),
                    None => false,
                };
                if held {
                    txn.put_read(place, (device, up_to), created, self.now)?;
                }
            }
            Role::Revocation | Role::None => {}
        }
        if self.kind == SpaceKind::Conversation && body.as_ref().is_some_and(Body::has_own_time) {
            self.time_item(txn, place, shown)?;
        }
        self.index(
            id,
            Indexed {
                place,
                order: shown_order,
            },
        );
        let feed = self.feed_mut(txn, place.feed)?;
        feed.last_order = feed.last_order.max(order);
        if self.has_waiting {
            self.settle_waiting(txn, &id, place, shown_order)?;
        }
        Ok(new)
    }

    /// Shows an entry: its number in the topic, when it came, and whether it was read.
    fn add_item(
        &mut self,
        txn: &mut Txn<'_>,
        topic: u32,
        entering: &Entering<'_>,
        order: u64,
        time: u64,
    ) -> Result<(u32, u64, bool)> {
        let author = self.feed(txn, entering.place.feed)?.author;
        let own = self.is_own(author);
        let now = self.now;
        let row = &mut self.topic_mut(txn, topic)?.row;
        let value = entering.item.unwrap_or(ItemValue {
            retracted: false,
            missing: false,
            index: row.next_index,
            received: now,
        });
        row.items += 1;
        row.next_index = row.next_index.max(value.index.saturating_add(1));
        row.last = row.last.max(time);
        if own {
            row.read.insert(value.index);
        }
        let read = row.read.contains(value.index);
        self.counts.items += 1;
        self.show(
            ItemKey {
                topic,
                order,
                place: entering.place,
            },
            value,
        );
        Ok((value.index, value.received, read))
    }

    fn put_name(
        &self,
        txn: &mut Txn<'_>,
        author: Option<IdentityId>,
        place: Place,
        created: Millis,
        name: &str,
    ) -> Result<()> {
        let Some(author) = author else {
            return Ok(());
        };
        let mut value = vec![1];
        value.extend_from_slice(&created.0.to_be_bytes());
        value.extend_from_slice(name.as_bytes());
        txn.put(Table::Names, name_key(author, place).as_slice(), &value)
    }

    /// An answer whose parent isn't held is shown at once and noted, so that it can follow it.
    fn wait(
        &mut self,
        txn: &mut Txn<'_>,
        parent: &EntryId,
        place: Place,
        topic: u32,
        order: u64,
    ) -> Result<()> {
        self.has_waiting = true;
        let value = Key::new().u8(1).u32(topic).u48(order);
        txn.put(
            Table::Waiting,
            link_key(self.space, parent, place).as_slice(),
            value.as_slice(),
        )
    }

    /// Moves answers that came before this entry behind it.
    fn settle_waiting(
        &mut self,
        txn: &mut Txn<'_>,
        id: &EntryId,
        place: Place,
        order: u64,
    ) -> Result<()> {
        let rows = txn.collect(Table::Waiting, Key::new().u32(self.space).half(id))?;
        if rows.is_empty() {
            return Ok(());
        }
        // Answers of this very run may wait in the queue.
        self.flush(txn)?;
        for (key, value) in rows {
            txn.remove(Table::Waiting, &key)?;
            let child = Place {
                feed: u32_at(&key, 20),
                seq: number_at(&key, 24, 5),
            };
            let old = ItemKey {
                topic: u32_at(&value, 1),
                order: number_at(&value, 5, 6),
                place: child,
            };
            if (old.order, child) > (order, place) {
                continue;
            }
            let Some(item) = txn.remove_item(&old.encode())? else {
                continue;
            };
            let moved = ItemKey {
                order: if child > place { order } else { order + 1 },
                ..old
            };
            txn.put_item(&moved.encode(), &item)?;
            let row = self.feed(txn, child.feed)?.clone();
            if let Some(child_id) = txn.id_of(self.id, child.feed, &row, child.seq)? {
                let indexed = Indexed {
                    place: child,
                    order: moved.order,
                };
                txn.put_indexed(&child_id, &indexed)?;
            }
            let topic = &mut self.topic_mut(txn, old.topic)?.row;
            topic.last = topic.last.max(moved.order);
        }
        Ok(())
    }

    fn enter_genesis(
        &mut self,
        txn: &mut Txn<'_>,
        place: Place,
        created: Millis,
        genesis: &Genesis<'_>,
    ) -> Result<()> {
        let author = genesis.certificate.identity;
        self.put_name(txn, Some(author), place, created, genesis.name)?;
        let admissions = genesis.chain.admissions();
        let mut value = vec![1, u8::try_from(admissions.len()).unwrap_or(u8::MAX)];
        if let Some(inviter) = genesis.chain.inviter() {
            value.extend_from_slice(&inviter.0);
        }
        let key = author_key(self.space, author, place.feed);
        txn.put(Table::Authors, key.as_slice(), &value)?;
        self.count_admissions(txn, &genesis.chain, 1)
    }

    /// Counts the feeds that rest on each admission of a chain.
    pub(crate) fn count_admissions(&self, txn: &mut Txn<'_>, chain: &Chain, by: i64) -> Result<()> {
        for admission in chain.admissions() {
            let key = edge_key(self.space, admission.inviter.identity, admission.invitee);
            add(txn, Table::Edges, &key, by)?;
        }
        match chain.admissions().first() {
            Some(first) => {
                let key = Key::new().u32(self.space).bytes(&first.invitee.0);
                add(txn, Table::Branches, &key, by)
            }
            None => Ok(()),
        }
    }
}

/// The place of the entry that a row of relations is of.
pub(crate) fn relation_place(key: &[u8]) -> Place {
    Place {
        feed: u32_at(key, 21),
        seq: number_at(key, 25, 5),
    }
}

/// Whether a relation is about this very id, not only about its first half.
pub(crate) fn is_about(value: &[u8], target: &EntryId) -> bool {
    value.get(1..17) == target.0.get(16..)
}

pub(crate) fn author_key(space: u32, author: IdentityId, feed: u32) -> Key {
    Key::new().u32(space).bytes(&author.0).u32(feed)
}

pub(crate) fn edge_key(space: u32, inviter: IdentityId, invitee: IdentityId) -> Key {
    Key::new().u32(space).bytes(&inviter.0).bytes(&invitee.0)
}

/// Adds to a counter; one that falls to 0 goes.
fn add(txn: &mut Txn<'_>, table: Table, key: &Key, by: i64) -> Result<()> {
    let count = txn
        .0
        .with(table, key.as_slice(), |value| u32_at(value, 0))?
        .unwrap_or(0);
    let count = u32::try_from(i64::from(count) + by).map_err(|_| Error::Corrupt {
        table: table.name(),
    })?;
    if count == 0 {
        txn.remove(table, key.as_slice()).map(drop)
    } else {
        txn.put(table, key.as_slice(), &count.to_be_bytes())
    }
}
