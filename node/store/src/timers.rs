//! When bodies of disappearing messages go from this node, and which ones it has forgotten.
//!
//! Each node drops by its own clock: what others wrote after it was read, what this person wrote
//! after it was delivered; what never was, after a year. A timer remembers when it began and how long
//! it runs, not when it ends, so that a clock that was wrong can be corrected: one that began in the
//! future begins anew. Nothing here reads a clock.

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    body::{Body, Lifetime, kind},
    limits::CLOCK_EARLIEST_MS,
    space::SpaceKind,
};

use crate::{
    error::Result,
    keys::{ItemKey, ItemValue, Key, Place, Prefixed, id_at, number_at, u32_at},
    project::{is_about, known_body, place_key, relation_key, relation_place},
    roles::{Relation, Role},
    tables::{Source, Table},
    txn::Txn,
    view::View,
    work::Work,
};

/// What nobody reads, or what isn't delivered, goes after a year.
pub const UNREAD_MS_MAX: u64 = 365 * 24 * 3_600_000;
/// And then only when the clock still says so a day later: one that is ahead by mistake must not take
/// what wasn't delivered.
const GRACE_MS: u64 = 24 * 3_600_000;

/// Space number, device, place: also of entries that don't join their feed yet.
pub(crate) type TimerKey = (u32, DeviceId, u64);

fn timer_key((space, device, seq): TimerKey) -> Key {
    Key::new().u32(space).bytes(&device.0).u64(seq)
}

fn timer_key_from(key: &[u8], at: usize) -> TimerKey {
    (
        u32_at(key, at),
        DeviceId(id_at(key, at + 4)),
        number_at(key, at + 36, 8),
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It wasn't read, or isn't delivered.
    Waiting,
    /// It waited for a year.
    Late,
    /// It was read, or is delivered.
    Running,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timer {
    state: State,
    /// This person wrote it.
    own: bool,
    /// Its number in the conversation, of a message.
    index: Option<u32>,
    lifetime: Lifetime,
    started: Millis,
}

impl Timer {
    fn due(&self) -> u64 {
        let runs = match self.state {
            State::Waiting => UNREAD_MS_MAX,
            State::Late => GRACE_MS,
            State::Running => self.lifetime.millis(),
        };
        self.started.0.saturating_add(runs)
    }

    fn encode(&self) -> Vec<u8> {
        let state = match self.state {
            State::Waiting => 0,
            State::Late => 1,
            State::Running => 2,
        };
        let mut value = vec![1, state, u8::from(self.own)];
        value.extend_from_slice(&self.lifetime.seconds().to_be_bytes());
        value.extend_from_slice(&self.started.0.to_be_bytes());
        if let Some(index) = self.index {
            value.extend_from_slice(&index.to_be_bytes());
        }
        value
    }

    fn decode(value: &[u8]) -> Self {
        Self {
            state: match value.get(1) {
                Some(0) => State::Waiting,
                Some(1) => State::Late,
                _ => State::Running,
            },
            own: value.get(2) == Some(&1),
            lifetime: Lifetime::new(u64::from(u32_at(value, 3))).unwrap_or_default(),
            started: Millis(number_at(value, 7, 8)),
            index: (value.len() > 15).then(|| u32_at(value, 15)),
        }
    }

    /// Begins anew where the clock was wrong when it began: ahead of now, or in 1970.
    fn corrected(self, now: Millis) -> Self {
        let unset = self.started.0 < CLOCK_EARLIEST_MS && now.0 >= CLOCK_EARLIEST_MS;
        if self.started <= now && !unset {
            return self;
        }
        let state = match self.state {
            State::Late => State::Waiting,
            state => state,
        };
        Self {
            state,
            started: now,
            ..self
        }
    }
}

/// When a message disappears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// So long after it was read, or delivered.
    pub lifetime: Lifetime,
    /// At this time, where that has begun.
    pub at: Option<Millis>,
}

/// What a look for what is due did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vanished {
    /// Messages that went: space, id, author.
    pub entries: Vec<(SpaceId, EntryId, Option<IdentityId>)>,
    /// More is due.
    pub more: bool,
}

/// Why a node doesn't take a body back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgotten {
    /// The person deleted it here.
    ForMe = 1,
    /// It disappeared.
    Vanished = 2,
}

impl<S: Source> View<S> {
    fn timer(&self, key: TimerKey) -> Result<Option<Timer>> {
        self.0
            .with(Table::Timers, timer_key(key).as_slice(), Timer::decode)
    }

    /// When the next body is to go; `None` where none is.
    ///
    /// # Errors
    /// The database's.
    pub fn next_due(&self) -> Result<Option<Millis>> {
        let range = Prefixed::new(Key::new());
        let first = self
            .0
            .rows(Table::Due, range.bounds())?
            .next()
            .transpose()?;
        Ok(first.map(|(key, _)| Millis(number_at(key.value(), 0, 8))))
    }

    /// When an entry of a conversation disappears; `None` where it stays.
    ///
    /// # Errors
    /// The database's.
    pub fn expiry(&self, space: SpaceId, device: DeviceId, seq: u64) -> Result<Option<Expiry>> {
        let Some(number) = self.space_number(space)? else {
            return Ok(None);
        };
        let timer = self.timer((number, device, seq))?;
        Ok(timer.map(|timer| Expiry {
            lifetime: timer.lifetime,
            at: (timer.state == State::Running).then(|| Millis(timer.due())),
        }))
    }

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

    /// Whether each timer of a space is found by its time: how many aren't.
    pub(crate) fn lost_timers(&self, space: u32) -> Result<u64> {
        let mut lost = 0;
        for (key, value) in self.collect(Table::Timers, Key::new().u32(space))? {
            let due = due_key(&Timer::decode(&value), timer_key_from(&key, 0));
            lost += u64::from(self.0.with(Table::Due, due.as_slice(), |_| ())?.is_none());
        }
        Ok(lost)
    }

    /// Whether a timer runs for an entry.
    pub(crate) fn has_timer(&self, key: TimerKey) -> Result<bool> {
        Ok(self.timer(key)?.is_some())
    }
}

fn due_key(timer: &Timer, (space, device, seq): TimerKey) -> Key {
    Key::new()
        .u64(timer.due())
        .u32(space)
        .bytes(&device.0)
        .u64(seq)
}

impl Txn<'_> {
    fn put_timer(&mut self, key: TimerKey, timer: &Timer) -> Result<()> {
        self.remove_timer(key)?;
        self.put(Table::Timers, timer_key(key).as_slice(), &timer.encode())?;
        self.put(Table::Due, due_key(timer, key).as_slice(), &[])
    }

    pub(crate) fn remove_timer(&mut self, key: TimerKey) -> Result<()> {
        if let Some(timer) = self.timer(key)? {
            self.remove(Table::Due, due_key(&timer, key).as_slice())?;
            self.remove(Table::Timers, timer_key(key).as_slice())?;
        }
        Ok(())
    }

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

    /// Begins the time of timers of a space that wait and of which `which` says so: of an entry's
    /// device and place, whether it is our own, and its number in the conversation.
    fn start_timers(
        &mut self,
        space: u32,
        now: Millis,
        which: impl Fn(DeviceId, u64, bool, Option<u32>) -> bool,
    ) -> Result<()> {
        for (key, value) in self.collect(Table::Timers, Key::new().u32(space))? {
            let (key, timer) = (timer_key_from(&key, 0), Timer::decode(&value));
            if timer.state != State::Running && which(key.1, key.2, timer.own, timer.index) {
                let running = Timer {
                    state: State::Running,
                    started: now,
                    ..timer
                };
                self.put_timer(key, &running)?;
            }
        }
        Ok(())
    }

    /// Our entries below a place of a conversation are delivered: their time begins.
    pub(crate) fn start_delivered_below(
        &mut self,
        space: u32,
        end: u64,
        now: Millis,
    ) -> Result<()> {
        self.start_timers(space, now, |_, seq, own, _| own && seq < end)
    }

    /// One of our entries arrived in a letter: its time begins.
    ///
    /// # Errors
    /// The database's.
    pub fn start_delivered(&mut self, space: SpaceId, seq: u64, now: Millis) -> Result<()> {
        match self.space_number(space)? {
            Some(number) => self.start_timers(number, now, |_, at, own, _| own && at == seq),
            None => Ok(()),
        }
    }

    /// Messages of a conversation were read: their time begins.
    pub(crate) fn start_read(
        &mut self,
        space: u32,
        read: &crate::readset::ReadSet,
        now: Millis,
    ) -> Result<()> {
        self.start_timers(space, now, |_, _, own, index| {
            !own && index.is_some_and(|index| read.contains(index))
        })
    }

    /// An entry that came in a letter and doesn't join its feed yet: it disappears like others.
    /// Where it was read, its time begins.
    ///
    /// # Errors
    /// The database's.
    pub fn time_loose(
        &mut self,
        space: SpaceId,
        device: DeviceId,
        seq: u64,
        now: Millis,
    ) -> Result<()> {
        let Some(number) = self.space_number(space)? else {
            return Ok(());
        };
        let Some(loose) = self.loose(&(space, device, seq))? else {
            return Ok(());
        };
        let lifetime = self.lifetime_of(space, device, seq)?;
        let body = known_body(&loose.body);
        let vanishes = body.as_ref().is_some_and(Body::can_vanish) && lifetime.ends();
        let known = self.timer((number, device, seq))?;
        if !vanishes || known.is_some_and(|known| known.state == State::Running) {
            return Ok(());
        }
        let (state, started) = if loose.read {
            (State::Running, now)
        } else {
            (State::Waiting, loose.received)
        };
        let timer = Timer {
            state,
            own: false,
            index: None,
            lifetime,
            started,
        };
        self.put_timer((number, device, seq), &timer)
    }

    /// Corrects timers that began while the clock was wrong. Costs a walk over all.
    ///
    /// # Errors
    /// The database's.
    pub fn correct_timers(&mut self, now: Millis) -> Result<()> {
        for (key, value) in self.collect(Table::Timers, Key::new())? {
            let timer = Timer::decode(&value);
            let corrected = timer.corrected(now);
            if corrected != timer {
                self.put_timer(timer_key_from(&key, 0), &corrected)?;
            }
        }
        Ok(())
    }

    /// As if so much more time had passed since each timer began: for tests of whole programs.
    #[doc(hidden)]
    pub fn age_timers(&mut self, by_ms: u64) -> Result<()> {
        for (key, value) in self.collect(Table::Timers, Key::new())? {
            let timer = Timer::decode(&value);
            let started = Millis(timer.started.0.saturating_sub(by_ms));
            self.put_timer(timer_key_from(&key, 0), &Timer { started, ..timer })?;
        }
        Ok(())
    }

    /// Drops bodies whose time is over, at most so many.
    ///
    /// # Errors
    /// The database's.
    pub fn vanish(&mut self, now: Millis, limit: usize) -> Result<Vanished> {
        let range = Prefixed::new(Key::new());
        let mut due = Vec::new();
        for row in self.0.rows(Table::Due, range.bounds())?.take(limit + 1) {
            let key = row?.0.value().to_vec();
            if number_at(&key, 0, 8) > now.0 {
                break;
            }
            due.push(key);
        }
        let mut vanished = Vanished {
            entries: Vec::new(),
            more: due.len() > limit,
        };
        due.truncate(limit);
        for row in due {
            let key = timer_key_from(&row, 8);
            let timer = self
                .timer(key)?
                .filter(|timer| due_key(timer, key).as_slice() == row);
            let Some(timer) = timer else {
                // Its space was left.
                self.remove(Table::Due, &row)?;
                continue;
            };
            let corrected = timer.corrected(now);
            if corrected != timer {
                self.put_timer(key, &corrected)?;
                continue;
            }
            if timer.state == State::Waiting {
                let late = Timer {
                    state: State::Late,
                    started: now,
                    ..timer
                };
                self.put_timer(key, &late)?;
                continue;
            }
            self.remove_timer(key)?;
            vanished.entries.extend(self.vanish_one(key, now)?);
        }
        Ok(vanished)
    }

    fn vanish_one(
        &mut self,
        key: TimerKey,
        now: Millis,
    ) -> Result<Option<(SpaceId, EntryId, Option<IdentityId>)>> {
        let (number, device, seq) = key;
        // A left space's number may be gone already.
        let Ok(row) = self.space_row(number) else {
            return Ok(None);
        };
        if self.space_number(row.id)? != Some(number) {
            return Ok(None);
        }
        if let Some(gone) = self.drop_loose(row.id, (device, seq), Forgotten::Vanished)? {
            return Ok(Some(gone));
        }
        let Some((feed, _)) = self.find_feed(row.id, device)? else {
            return Ok(None);
        };
        let mut work = Work::begin(self, row.id, now.0)?;
        let gone = work.drop_body(self, Place { feed, seq }, Forgotten::Vanished)?;
        work.finish(self)?;
        Ok(gone.map(|(id, author)| (row.id, id, author)))
    }

    /// Forgets an entry that came in a letter and doesn't join its feed yet.
    fn drop_loose(
        &mut self,
        space: SpaceId,
        (device, seq): (DeviceId, u64),
        why: Forgotten,
    ) -> Result<Option<(SpaceId, EntryId, Option<IdentityId>)>> {
        let Some(loose) = self.loose(&(space, device, seq))? else {
            return Ok(None);
        };
        let number = self.known_space(space)?;
        let id = loose.id(space, device, seq);
        self.remove_loose(&(space, device, seq))?;
        self.note_removed()?;
        self.put_forgotten((number, device, seq), &id, why)?;
        self.remove_timer((number, device, seq))?;
        for (of, at, other) in self.loose_in(space)? {
            let about = match known_body(&other.body) {
                Some(Body::Edit { target, .. } | Body::Reaction { target, .. }) => target == id,
                _ => false,
            };
            if about {
                self.drop_loose(space, (of, at), why)?;
            }
        }
        Ok(Some((space, id, Some(loose.author))))
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
            .drop_loose(space, (device, seq), Forgotten::ForMe)?
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

    /// A message, an edit or a reaction that is held disappears with its setting, if it has one.
    pub(crate) fn time(&mut self, txn: &mut Txn<'_>, place: Place, id: &EntryId) -> Result<()> {
        let item = self.item_of(txn, place, id)?;
        self.time_item(txn, place, item)
    }

    /// The same for one whose number and time of arrival are known.
    pub(crate) fn time_item(
        &mut self,
        txn: &mut Txn<'_>,
        place: Place,
        item: Option<(u32, u64, bool)>,
    ) -> Result<()> {
        let row = self.feed(txn, place.feed)?;
        let (device, own) = (row.device, row.author);
        let own = self.is_own(own);
        let key = (self.space, device, place.seq);
        let lifetime = txn.lifetime_at(place)?;
        if !lifetime.ends() {
            return txn.remove_timer(key);
        }
        let index = item.map(|(index, ..)| index);
        if let Some(known) = txn.timer(key)? {
            let timer = Timer {
                lifetime,
                index: index.or(known.index),
                ..known
            };
            return if timer == known {
                Ok(())
            } else {
                txn.put_timer(key, &timer)
            };
        }
        let ready = if own {
            self.is_delivered(txn, place.seq)?
        } else {
            item.is_some_and(|(_, _, read)| read)
        };
        let received = item.map_or(self.now, |(_, received, _)| received);
        let (state, started) = if ready {
            (State::Running, self.now)
        } else {
            (State::Waiting, received)
        };
        let timer = Timer {
            state,
            own,
            index,
            lifetime,
            started: Millis(started),
        };
        txn.put_timer(key, &timer)
    }

    /// Whether the other person is known to hold our entry at a place.
    fn is_delivered(&self, txn: &Txn<'_>, seq: u64) -> Result<bool> {
        let rows = txn.collect(Table::Acknowledged, Key::new().u32(self.space))?;
        Ok(rows
            .iter()
            .any(|(_, value)| crate::keys::number(value) > seq))
    }

    /// A message's number in the conversation, when it came, and whether it was read.
    fn item_of(
        &mut self,
        txn: &Txn<'_>,
        place: Place,
        id: &EntryId,
    ) -> Result<Option<(u32, u64, bool)>> {
        let Some(topic) = self.find_topic(txn, crate::roles::CONVERSATION_ROOT)? else {
            return Ok(None);
        };
        let order = txn.indexed(id)?.map_or(0, |indexed| indexed.order);
        let key = ItemKey {
            topic,
            order,
            place,
        };
        let Some(value) = txn.0.item_row(&key.encode())? else {
            return Ok(None);
        };
        let value = ItemValue::decode(&value);
        let read = self.topic(txn, topic)?.row.read.contains(value.index);
        Ok(Some((value.index, value.received, read)))
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

    /// Drops edits of a message that went, and reactions to it.
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
        Ok(())
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
