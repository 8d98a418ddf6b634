//! Bodies that come after their entries: those that were missing, and those that came in a letter.

use proto::{
    DeviceId, Millis, SpaceId,
    space::SpaceKind,
    verify::{Reject, verify_body},
};

use crate::{
    error::{ImportError, Result},
    keys::{ItemKey, ItemValue, Place},
    project::{Entering, NewEntry, place_key},
    segment::Loaded,
    tables::Table,
    txn::Txn,
    work::Work,
};

/// What became of a body that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filled {
    /// It is kept; the entry counts as new.
    Kept(Box<NewEntry>),
    /// It isn't missing, or it was retracted.
    NotMissing,
}

impl Txn<'_> {
    /// Keeps a body that was missing.
    ///
    /// # Errors
    /// [`ImportError::Reject`] where it isn't the one that the entry names.
    pub fn fill(
        &mut self,
        space: SpaceId,
        device: DeviceId,
        seq: u64,
        body: &[u8],
        now: Millis,
    ) -> Result<Filled, ImportError> {
        self.keep_body(space, (device, seq), body, now, false)
    }

    /// Keeps a body that is missing, or that its author has dropped by now because it disappears: it came
    /// in a letter and isn't read yet.
    ///
    /// # Errors
    /// [`ImportError::Reject`] where it isn't the one that the entry names.
    pub fn fill_from_letter(
        &mut self,
        space: SpaceId,
        device: DeviceId,
        seq: u64,
        body: &[u8],
        now: Millis,
    ) -> Result<Filled, ImportError> {
        self.keep_body(space, (device, seq), body, now, true)
    }

    /// Whether an absent body that isn't missing may still be kept: it disappears, and hasn't here.
    fn is_to_be_had(&self, work: &mut Work, place: Place, entry: &Loaded) -> Result<bool> {
        let author = work.feed(self, place.feed)?.author;
        let device = work.feed(self, place.feed)?.device;
        Ok(entry.body.is_none()
            && work.kind == SpaceKind::Conversation
            && !work.is_retracted(self, &entry.id, author)?
            && !self.is_forgotten((work.space, device, place.seq), &entry.id)?
            && self.gone(place)?.is_none())
    }

    fn keep_body(
        &mut self,
        space: SpaceId,
        (device, seq): (DeviceId, u64),
        body: &[u8],
        now: Millis,
        excused: bool,
    ) -> Result<Filled, ImportError> {
        let mut work = Work::begin(self, space, now.0)?;
        let Some(feed) = self.feed_number(work.space, device)? else {
            return Err(Reject::ForeignBody { seq }.into());
        };
        let row = work.feed(self, feed)?.clone();
        let Some(entry) = self.entry_at(space, feed, &row, seq)? else {
            return Err(Reject::ForeignBody { seq }.into());
        };
        verify_body(&work.context, &entry.header, body)?;
        let place = Place { feed, seq };
        if self.remove(Table::Holes, place_key(place).as_slice())? {
            let holes = &mut work.feed_mut(self, feed)?.holes;
            *holes = holes.saturating_sub(1);
        } else if !excused || !self.is_to_be_had(&mut work, place, &entry)? {
            return Ok(Filled::NotMissing);
        }
        self.replace_body(space, feed, &row, seq, Some(body))?;
        let order = self.indexed(&entry.id)?.map(|indexed| indexed.order);
        let entering = Entering {
            place,
            id: entry.id,
            created: entry.header.created,
            body: Some(body),
            order,
            item: self.take_shadow(&mut work, place, order.unwrap_or(0))?,
        };
        let mut after = Vec::new();
        let mut new = [self.take_one(&mut work, &entering, &mut after)?];
        work.flush(self)?;
        self.run_after(&mut work, after, &mut new)?;
        work.finish(self)?;
        let [new] = new;
        Ok(Filled::Kept(Box::new(new)))
    }

    /// Removes what stands in a topic for an entry whose body was missing, so that the entry can
    /// take its place.
    fn take_shadow(
        &mut self,
        work: &mut Work,
        place: Place,
        order: u64,
    ) -> Result<Option<ItemValue>> {
        let Some(topic) = self.gone_topic(place)? else {
            return Ok(None);
        };
        self.remove(Table::Gone, place_key(place).as_slice())?;
        let key = ItemKey {
            topic,
            order,
            place,
        };
        let Some(value) = self.remove_item(&key.encode())? else {
            return Ok(None);
        };
        let row = &mut work.topic_mut(self, topic)?.row;
        row.items = row.items.saturating_sub(1);
        work.counts.items = work.counts.items.saturating_sub(1);
        Ok(Some(ItemValue {
            retracted: false,
            missing: false,
            ..ItemValue::decode(&value)
        }))
    }
}
