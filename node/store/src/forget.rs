//! Taking messages out of a conversation: those whose time is over, and those that the person deletes
//! on this node only.
//!
//! What no setting excuses is remembered by its place and id, so that it is neither missed nor taken
//! again, whoever brings it.

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    body::{Body, kind},
    space::SpaceKind,
};

use crate::{
    error::Result,
    keys::{Key, Place, id_at},
    project::{is_about, known_body, place_key, relation_key, relation_place},
    roles::{Relation, Role},
    tables::{Source, Table},
    timers::{TimerKey, timer_key},
    txn::Txn,
    view::View,
    work::Work,
};

/// Why a node doesn't take a body back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgotten {
    /// The person deleted it here.
    ForMe = 1,
    /// It disappeared.
    Vanished = 2,
}

impl<S: Source> View<S> {
    /// Whether an entry of a conversation was forgotten here.
    ///
    /// # Errors
    /// The database's.
    pub fn has_forgotten(
        &self,
        space: SpaceId,
        device: DeviceId,
        seq: u64,
        id: &EntryId,
    ) -> Result<bool> {
        match self.space_number(space)? {
            Some(number) => self.is_forgotten((number, device, seq), id),
            None => Ok(false),
        }
    }

    /// Whether this very entry was forgotten here.
    pub(crate) fn is_forgotten(&self, key: TimerKey, id: &EntryId) -> Result<bool> {
        let known = self
            .0
            .with(Table::Forgotten, timer_key(key).as_slice(), |value| {
                id_at(value, 1) == id.0
            })?;
        Ok(known == Some(true))
    }
}

impl Txn<'_> {
    pub(crate) fn put_forgotten(
        &mut self,
        key: TimerKey,
        id: &EntryId,
        why: Forgotten,
    ) -> Result<()> {
        let mut value = vec![why as u8];
        value.extend_from_slice(&id.0);
        self.put(Table::Forgotten, timer_key(key).as_slice(), &value)
    }

    /// Forgets an entry that came in a letter and doesn't join its feed yet.
    pub(crate) fn drop_loose(
        &mut self,
        space: SpaceId,
        (device, seq): (DeviceId, u64),
        why: Forgotten,
        now: Millis,
    ) -> Result<Option<(SpaceId, EntryId, Option<IdentityId>)>> {
        let Some(loose) = self.loose(&(space, device, seq))? else {
            return Ok(None);
        };
        let number = self.known_space(space)?;
        let id = loose.id(space, device, seq);
        // What a setting that didn't come yet may keep is taken again when its feed brings it.
        if why == Forgotten::ForMe || self.is_loose_certain(space, device, seq)? {
            self.put_forgotten((number, device, seq), &id, why)?;
        }
        self.remove_loose(&(space, device, seq))?;
        self.note_removed()?;
        self.remove_timer((number, device, seq))?;
        let mut work = Work::begin(self, space, now.0)?;
        work.drop_relations(self, &id, why)?;
        work.finish(self)?;
        Ok(Some((space, id, Some(loose.author))))
    }

    /// Forgets what came in letters and is about an entry that went.
    fn drop_loose_about(&mut self, space: SpaceId, id: &EntryId, why: Forgotten) -> Result<()> {
        let number = self.known_space(space)?;
        for (device, seq, loose) in self.loose_in(space)? {
            if let Some(Body::Edit { target, .. } | Body::Reaction { target, .. }) =
                known_body(&loose.body)
                && target == *id
            {
                let own = loose.id(space, device, seq);
                self.put_forgotten((number, device, seq), &own, why)?;
                self.remove_loose(&(space, device, seq))?;
                self.note_removed()?;
            }
        }
        Ok(())
    }
}

/// What came of deleting a message on this node only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone: whose conversation it was.
    Gone(SpaceId),
    /// No message of a conversation that is held.
    NotHeld,
    /// It isn't known to be on the other person's device, and would never get there.
    NotDelivered,
}

impl Txn<'_> {
    /// Deletes a message of a conversation on this node only, with its edits and the reactions to it. It
    /// is never taken again.
    ///
    /// # Errors
    /// The database's.
    pub fn delete_for_me(&mut self, id: EntryId, now: Millis) -> Result<Deleted> {
        let Some((space, device, seq)) = self.place_of_message(id)? else {
            return Ok(Deleted::NotHeld);
        };
        if self
            .drop_loose(space, (device, seq), Forgotten::ForMe, now)?
            .is_some()
        {
            return Ok(Deleted::Gone(space));
        }
        let Some((feed, row)) = self.find_feed(space, device)? else {
            return Ok(Deleted::NotHeld);
        };
        let mut work = Work::begin(self, space, now.0)?;
        let place = Place { feed, seq };
        if work.is_own(row.author) && !work.is_delivered(self, seq)? {
            return Ok(Deleted::NotDelivered);
        }
        if work.drop_body(self, place, Forgotten::ForMe)?.is_none() {
            work.drop_placeholder(self, place, &id)?;
        }
        work.finish(self)?;
        Ok(Deleted::Gone(space))
    }

    /// Where a message of a conversation is.
    fn place_of_message(&self, id: EntryId) -> Result<Option<(SpaceId, DeviceId, u64)>> {
        if let Some(item) = self.item(id)? {
            let message = item.topic == crate::roles::CONVERSATION_ROOT && item.setting.is_none();
            return Ok(message.then_some((item.space, item.device, item.seq)));
        }
        for ((space, device, seq), loose) in self.all_loose()? {
            if loose.id(space, device, seq) == id
                && matches!(known_body(&loose.body), Some(Body::Message { .. }))
            {
                return Ok(Some((space, device, seq)));
            }
        }
        Ok(None)
    }
}

impl Work {
    /// Takes out what is shown in place of a message that was retracted, or whose body is missing.
    fn drop_placeholder(&mut self, txn: &mut Txn<'_>, place: Place, id: &EntryId) -> Result<()> {
        let Some(topic) = txn.gone_topic(place)? else {
            return Ok(());
        };
        let device = self.feed(txn, place.feed)?.device;
        let order = txn.indexed(id)?.map_or(0, |indexed| indexed.order);
        self.remove_item(txn, topic, place, order)?;
        put_gone(txn, place, kind::MESSAGE)?;
        txn.put_forgotten((self.space, device, place.seq), id, Forgotten::ForMe)?;
        if txn.remove(Table::Holes, place_key(place).as_slice())? {
            let feed = self.feed_mut(txn, place.feed)?;
            feed.holes = feed.holes.saturating_sub(1);
        }
        Ok(())
    }

    /// Drops the body of a message, an edit or a reaction, and everything that was shown of it, with
    /// the edits of a message and the reactions to it. What no setting covers is remembered, so that
    /// it is neither missed nor taken again. The entry's id and author; `None` where nothing went.
    pub(crate) fn drop_body(
        &mut self,
        txn: &mut Txn<'_>,
        place: Place,
        why: Forgotten,
    ) -> Result<Option<(EntryId, Option<IdentityId>)>> {
        if self.kind != SpaceKind::Conversation {
            return Ok(None);
        }
        let row = self.feed(txn, place.feed)?.clone();
        let Some(loaded) = txn.entry_at(self.id, place.feed, &row, place.seq)? else {
            return Ok(None);
        };
        let id = loaded.id;
        let key = (self.space, row.device, place.seq);
        txn.remove_timer(key)?;
        let Some(body) = loaded.body.as_deref().and_then(known_body) else {
            return Ok(None);
        };
        if !body.can_vanish() {
            return Ok(None);
        }
        match self.role(row.author, &body) {
            Role::Item { root, parent } => {
                let order = txn.indexed(&id)?.map_or(0, |indexed| indexed.order);
                if let Some(topic) = self.find_topic(txn, root)? {
                    self.remove_item(txn, topic, place, order)?;
                }
                if let Some(parent) = parent {
                    let key = crate::project::link_key(self.space, &parent, place);
                    txn.remove(Table::Waiting, key.as_slice())?;
                }
            }
            Role::Relation(relation) => {
                let key = relation_key(self.space, &relation.target(), relation.code(), place);
                txn.remove(Table::Relations, key.as_slice())?;
            }
            _ => {}
        }
        txn.replace_body(self.id, place.feed, &row, place.seq, None)?;
        put_gone(txn, place, body.kind())?;
        if why == Forgotten::ForMe || !txn.lifetime_at(place)?.ends() {
            txn.put_forgotten(key, &id, why)?;
        }
        if matches!(body, Body::Message { .. }) {
            self.drop_relations(txn, &id, why)?;
        }
        Ok(Some((id, row.author)))
    }

    /// Drops edits of a message that went, and reactions to it, wherever they are.
    pub(crate) fn drop_relations(
        &mut self,
        txn: &mut Txn<'_>,
        id: &EntryId,
        why: Forgotten,
    ) -> Result<()> {
        for code in [Relation::EDIT, Relation::REACTION] {
            let prefix = Key::new().u32(self.space).half(id).u8(code);
            for (key, value) in txn.collect(Table::Relations, prefix)? {
                if is_about(&value, id) {
                    self.drop_relation(txn, relation_place(&key), why)?;
                }
            }
        }
        txn.drop_loose_about(self.id, id, why)
    }

    /// Drops one of them. An own one that no setting covers and that isn't delivered stays: without
    /// its body it would be missed by the other person for ever.
    pub(crate) fn drop_relation(
        &mut self,
        txn: &mut Txn<'_>,
        place: Place,
        why: Forgotten,
    ) -> Result<()> {
        let author = self.feed(txn, place.feed)?.author;
        if self.is_own(author)
            && !self.is_delivered(txn, place.seq)?
            && (why == Forgotten::ForMe || !txn.lifetime_at(place)?.ends())
        {
            return Ok(());
        }
        self.drop_body(txn, place, why).map(drop)
    }

    /// Whether an entry is a message that went from here.
    pub(crate) fn is_dropped(&mut self, txn: &Txn<'_>, id: &EntryId) -> Result<bool> {
        let Some(indexed) = txn.indexed(id)? else {
            return Ok(false);
        };
        Ok(self.owns(txn, indexed.place.feed)?
            && txn.gone(indexed.place)? == Some((0, kind::MESSAGE)))
    }
}

/// Notes that an entry whose body was dropped stands in no topic any more.
pub(crate) fn put_gone(txn: &mut Txn<'_>, place: Place, kind: u64) -> Result<()> {
    let value = Key::new().u8(1).u32(0).u64(kind);
    txn.put(Table::Gone, place_key(place).as_slice(), value.as_slice())
}
