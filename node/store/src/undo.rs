//! Taking back: what a fork or a revocation cuts off, and what its author retracts.

use proto::{EntryId, IdentityId, body::Body, space::SpaceKind};

use crate::{
    error::Result,
    keys::{ItemKey, ItemValue, Key, Place, number_at, u32_at},
    project::{
        author_key, is_about, known_body, link_key, name_key, place_key, relation_key,
        relation_place,
    },
    roles::{CONVERSATION_ROOT, Relation, Role},
    segment::Loaded,
    tables::{Source, Table},
    txn::Txn,
    work::Work,
};

impl Work {
    /// Takes an entry's effects away, as if it had never come. `body` is `None` where it is absent.
    pub(crate) fn leave(
        &mut self,
        txn: &mut Txn<'_>,
        place: Place,
        id: &EntryId,
        body: Option<&[u8]>,
    ) -> Result<()> {
        let absent = body.is_none();
        let body = body.and_then(known_body);
        let author = self.feed(txn, place.feed)?.author;
        let role = body
            .as_ref()
            .map_or(Role::None, |body| self.role(author, body));
        let indexed = txn.indexed(id)?.filter(|indexed| indexed.place == place);
        let order = indexed.map_or(0, |indexed| indexed.order);
        match role {
            Role::First => {
                if let Some(topic) = self.find_topic(txn, *id)? {
                    self.remove_item(txn, topic, place, order)?;
                }
            }
            Role::Item { root, parent } => {
                if let Some(topic) = self.find_topic(txn, root)? {
                    self.remove_item(txn, topic, place, order)?;
                }
                if let Some(parent) = parent {
                    let key = link_key(self.space, &parent, place);
                    txn.remove(Table::Waiting, key.as_slice())?;
                }
            }
            Role::Relation(relation) => self.leave_relation(txn, place, author, &relation)?,
            Role::Name(_) => self.remove_name(txn, author, place)?,
            Role::Genesis(genesis) => {
                self.remove_name(txn, author, place)?;
                let author = genesis.certificate.identity;
                txn.remove(
                    Table::Authors,
                    author_key(self.space, author, place.feed).as_slice(),
                )?;
                self.count_admissions(txn, &genesis.chain, -1)?;
            }
            Role::Setting(_) => {
                if let Some(topic) = self.find_topic(txn, CONVERSATION_ROOT)? {
                    self.remove_item(txn, topic, place, order)?;
                }
                txn.remove_setting_at(place)?;
            }
            Role::Rule(rule) => self.leave_rule(txn, place, rule)?,
            Role::Receipt(device, up_to) => txn.remove_read(place, device, up_to)?,
            Role::Revocation | Role::None => {}
        }
        if self.kind == SpaceKind::Conversation {
            let device = self.feed(txn, place.feed)?.device;
            txn.remove_timer((self.space, device, place.seq))?;
        }
        if absent {
            self.leave_absent(txn, place, order)?;
        }
        if indexed.is_some() {
            txn.remove_indexed(id)?;
        }
        // Retracts of it that are still held wait for their target again.
        let prefix = Key::new().u32(self.space).half(id).u8(Relation::RETRACT);
        for (key, _) in txn.collect(Table::Relations, prefix)? {
            let by = relation_place(&key);
            let key = link_key(self.space, id, by);
            txn.put(Table::Orphans, key.as_slice(), &[])?;
            self.has_orphans = true;
        }
        Ok(())
    }

    fn leave_absent(&mut self, txn: &mut Txn<'_>, place: Place, order: u64) -> Result<()> {
        let key = place_key(place);
        if txn.remove(Table::Holes, key.as_slice())? {
            let feed = self.feed_mut(txn, place.feed)?;
            feed.holes = feed.holes.saturating_sub(1);
        }
        if let Some(topic) = txn.gone_topic(place)? {
            self.remove_item(txn, topic, place, order)?;
        }
        txn.remove(Table::Gone, key.as_slice())?;
        Ok(())
    }

    pub(crate) fn remove_item(
        &mut self,
        txn: &mut Txn<'_>,
        topic: u32,
        place: Place,
        order: u64,
    ) -> Result<()> {
        let key = ItemKey {
            topic,
            order,
            place,
        };
        let Some(value) = txn.remove_item(&key.encode())? else {
            return Ok(());
        };
        let value = ItemValue::decode(&value);
        let work = self.topic_mut(txn, topic)?;
        work.recount = true;
        work.row.items = work.row.items.saturating_sub(1);
        work.row.read.insert(value.index);
        if work.row.first == Some(place) {
            work.row.first = None;
            work.row.first_order = 0;
        }
        self.counts.items = self.counts.items.saturating_sub(1);
        Ok(())
    }

    fn remove_name(
        &self,
        txn: &mut Txn<'_>,
        author: Option<IdentityId>,
        place: Place,
    ) -> Result<()> {
        if let Some(author) = author {
            txn.remove(Table::Names, name_key(author, place).as_slice())?;
        }
        Ok(())
    }

    fn leave_relation(
        &mut self,
        txn: &mut Txn<'_>,
        place: Place,
        author: Option<IdentityId>,
        relation: &Relation<'_>,
    ) -> Result<()> {
        let target = relation.target();
        let key = relation_key(self.space, &target, relation.code(), place);
        txn.remove(Table::Relations, key.as_slice())?;
        if let Relation::Retract { .. } = relation {
            let key = link_key(self.space, &target, place);
            txn.remove(Table::Orphans, key.as_slice())?;
            self.unretract(txn, &target, author)?;
        }
        Ok(())
    }

    /// A retract of `target` by `author` is held now: the target's body goes. Nothing happens
    /// where the target isn't held, is somebody else's or can't be retracted.
    pub(crate) fn retract(
        &mut self,
        txn: &mut Txn<'_>,
        target: &EntryId,
        author: Option<IdentityId>,
    ) -> Result<()> {
        let Some((place, loaded)) = self.held(txn, target, author)? else {
            return Ok(());
        };
        let key = place_key(place);
        let Some(bytes) = loaded.body else {
            if txn.remove(Table::Holes, key.as_slice())? {
                let feed = self.feed_mut(txn, place.feed)?;
                feed.holes = feed.holes.saturating_sub(1);
            }
            if let Some(topic) = txn.gone_topic(place)? {
                self.mark_gone(txn, topic, place, target, true)?;
            }
            return Ok(());
        };
        let body = known_body(&bytes);
        if body.as_ref().is_some_and(|body| !body.is_retractable()) {
            return Ok(());
        }
        let row = self.feed(txn, place.feed)?.clone();
        txn.replace_body(self.id, place.feed, &row, place.seq, None)?;
        if self.kind == SpaceKind::Conversation {
            txn.remove_timer((self.space, row.device, place.seq))?;
        }
        let mut topic = 0;
        let role = body
            .as_ref()
            .map_or(Role::None, |body| self.role(author, body));
        match role {
            Role::First => topic = self.topic_of(txn, *target)?,
            Role::Item { root, .. } => topic = self.topic_of(txn, root)?,
            Role::Relation(relation) => {
                let key = relation_key(self.space, &relation.target(), relation.code(), place);
                txn.remove(Table::Relations, key.as_slice())?;
            }
            Role::Name(_) => self.remove_name(txn, author, place)?,
            Role::Genesis(_)
            | Role::Setting(_)
            | Role::Receipt(..)
            | Role::Revocation
            | Role::Rule(_)
            | Role::None => {}
        }
        let value = Key::new()
            .u8(1)
            .u32(topic)
            .u64(body.as_ref().map_or(0, Body::kind));
        txn.put(Table::Gone, key.as_slice(), value.as_slice())?;
        if topic > 0 {
            self.mark_gone(txn, topic, place, target, true)?;
        }
        Ok(())
    }

    /// A retract of `target` is held no more: without another one, the body that it took is missing.
    fn unretract(
        &mut self,
        txn: &mut Txn<'_>,
        target: &EntryId,
        author: Option<IdentityId>,
    ) -> Result<()> {
        let Some((place, loaded)) = self.held(txn, target, author)? else {
            return Ok(());
        };
        if loaded.body.is_some()
            || self.is_retracted(txn, target, author)?
            || self.is_excused(txn, place, target)?
        {
            return Ok(());
        }
        txn.put(Table::Holes, place_key(place).as_slice(), &[])?;
        self.feed_mut(txn, place.feed)?.holes += 1;
        if let Some(topic) = txn.gone_topic(place)? {
            self.mark_gone(txn, topic, place, target, false)?;
        }
        Ok(())
    }

    /// Whether a retract by the same identity is held.
    pub(crate) fn is_retracted(
        &mut self,
        txn: &Txn<'_>,
        target: &EntryId,
        author: Option<IdentityId>,
    ) -> Result<bool> {
        let prefix = Key::new()
            .u32(self.space)
            .half(target)
            .u8(Relation::RETRACT);
        for (key, value) in txn.collect(Table::Relations, prefix)? {
            let by = self.feed(txn, relation_place(&key).feed)?.author;
            if by.is_some() && by == author && is_about(&value, target) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An entry of this space by `author`, if it is held.
    fn held(
        &mut self,
        txn: &Txn<'_>,
        id: &EntryId,
        author: Option<IdentityId>,
    ) -> Result<Option<(Place, Loaded)>> {
        let Some(place) = txn.indexed(id)?.map(|indexed| indexed.place) else {
            return Ok(None);
        };
        if !self.owns(txn, place.feed)? {
            return Ok(None);
        }
        let row = self.feed(txn, place.feed)?.clone();
        if row.author.is_none() || row.author != author {
            return Ok(None);
        }
        let loaded = txn.entry_at(self.id, place.feed, &row, place.seq)?;
        Ok(loaded
            .filter(|loaded| loaded.id == *id)
            .map(|loaded| (place, loaded)))
    }

    /// Marks an item whose body is absent, retracted or missing. What is retracted counts as read.
    fn mark_gone(
        &mut self,
        txn: &mut Txn<'_>,
        topic: u32,
        place: Place,
        id: &EntryId,
        retracted: bool,
    ) -> Result<()> {
        let order = txn.indexed(id)?.map_or(0, |indexed| indexed.order);
        let key = ItemKey {
            topic,
            order,
            place,
        }
        .encode();
        let Some(value) = txn.0.item_row(&key)? else {
            return Ok(());
        };
        let value = ItemValue {
            retracted,
            missing: !retracted,
            ..ItemValue::decode(&value)
        };
        txn.put_item(&key, &value.encode())?;
        if retracted {
            self.topic_mut(txn, topic)?.row.read.insert(value.index);
        }
        Ok(())
    }
}

impl Txn<'_> {
    /// The topic in which an entry stands whose body was dropped.
    pub(crate) fn gone_topic(&self, place: Place) -> Result<Option<u32>> {
        self.gone(place)
            .map(|gone| gone.map(|(topic, _)| topic).filter(|topic| *topic > 0))
    }
}

impl<S: Source> crate::view::View<S> {
    /// Topic number (0 for none) and kind of an entry whose body was dropped.
    pub(crate) fn gone(&self, place: Place) -> Result<Option<(u32, u64)>> {
        self.0
            .with(Table::Gone, place_key(place).as_slice(), |value| {
                (u32_at(value, 1), number_at(value, 5, 8))
            })
    }
}
