//! When bodies of disappearing messages go from this node, and which ones it has forgotten.
//!
//! Each node drops by its own clock: what others wrote after it was read, what this person wrote
//! after it was delivered; what never was, after a year. A timer remembers when it began and how long
//! it runs, not when it ends, so that a clock that was wrong can be corrected: one that began in the
//! future begins anew. Nothing here reads a clock.

use std::ops::Bound;

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    body::{Body, Lifetime},
    limits::CLOCK_EARLIEST_MS,
};

use crate::{
    error::Result,
    forget::Forgotten,
    keys::{ItemKey, ItemValue, Key, Place, Prefixed, id_at, number_at, u32_at},
    project::known_body,
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

pub(crate) fn timer_key((space, device, seq): TimerKey) -> Key {
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
        let mut value = vec![1, state];
        value.extend_from_slice(&self.lifetime.seconds().to_be_bytes());
        value.extend_from_slice(&self.started.0.to_be_bytes());
        value
    }

    fn decode(value: &[u8]) -> Self {
        Self {
            state: match value.get(1) {
                Some(0) => State::Waiting,
                Some(1) => State::Late,
                _ => State::Running,
            },
            lifetime: Lifetime::new(u64::from(u32_at(value, 2))).unwrap_or_default(),
            started: Millis(number_at(value, 6, 8)),
        }
    }

    /// Begins anew where the clock was wrong when it began: ahead of now, or in 1970. A clock that isn't
    /// set yet says nothing of one that was.
    fn corrected(self, now: Millis) -> Self {
        if now.0 < CLOCK_EARLIEST_MS && self.started.0 >= CLOCK_EARLIEST_MS {
            return self;
        }
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

    /// Begins the time of an entry that waits for it.
    fn start_timer(&mut self, key: TimerKey, now: Millis) -> Result<()> {
        match self.timer(key)? {
            Some(timer) if timer.state != State::Running => {
                let running = Timer {
                    state: State::Running,
                    started: now,
                    ..timer
                };
                self.put_timer(key, &running)
            }
            _ => Ok(()),
        }
    }

    /// Our entries between two places of a conversation are delivered: their time begins.
    pub(crate) fn start_delivered_between(
        &mut self,
        space: u32,
        (from, end): (u64, u64),
        now: Millis,
    ) -> Result<()> {
        let own = self.own_identity()?;
        for (_, value) in self.collect(Table::FeedNumbers, Key::new().u32(space))? {
            let row = self.known_feed(u32_at(&value, 0))?;
            if row.author.is_none() || row.author != own {
                continue;
            }
            let low = timer_key((space, row.device, from));
            let high = timer_key((space, row.device, end));
            let bounds = (
                Bound::Included(low.as_slice()),
                Bound::Excluded(high.as_slice()),
            );
            let mut keys = Vec::new();
            for found in self.0.rows(Table::Timers, bounds)? {
                keys.push(timer_key_from(found?.0.value(), 0));
            }
            for key in keys {
                self.start_timer(key, now)?;
            }
        }
        Ok(())
    }

    /// One of our entries arrived in a letter: its time begins.
    ///
    /// # Errors
    /// The database's.
    pub fn start_delivered(&mut self, space: SpaceId, seq: u64, now: Millis) -> Result<()> {
        match self.space_number(space)? {
            Some(number) => self.start_delivered_between(number, (seq, seq.saturating_add(1)), now),
            None => Ok(()),
        }
    }

    /// A message of a conversation was read: its time begins, unless it is our own.
    pub(crate) fn start_read(&mut self, space: u32, place: Place, now: Millis) -> Result<()> {
        let row = self.known_feed(place.feed)?;
        if row.author == self.own_identity()? || !self.is_cover_certain(place, &row)? {
            return Ok(());
        }
        self.start_timer((space, row.device, place.seq), now)
    }

    /// Forgets timers of a space that was left, at most so many: how many.
    pub(crate) fn forget_timers(&mut self, space: u32, limit: usize) -> Result<usize> {
        let range = Prefixed::new(Key::new().u32(space));
        let mut keys = Vec::new();
        for found in self.0.rows(Table::Timers, range.bounds())?.take(limit) {
            keys.push(timer_key_from(found?.0.value(), 0));
        }
        for key in &keys {
            self.remove_timer(*key)?;
        }
        Ok(keys.len())
    }

    /// A message that came in a letter and doesn't join its feed yet: it disappears like others. Where it
    /// was read its time begins, unless a setting that didn't come yet may stand between.
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
        let key = (number, device, seq);
        if !body.as_ref().is_some_and(Body::has_own_time) || !lifetime.ends() {
            return self.remove_timer(key);
        }
        let runs = loose.read && self.is_loose_certain(space, device, seq)?;
        let known = self.timer(key)?.filter(|known| {
            let running = known.state == State::Running;
            running == runs
        });
        let (state, started) = match known {
            Some(known) => (known.state, known.started),
            None if runs => (State::Running, now),
            None => (State::Waiting, loose.received),
        };
        let timer = Timer {
            state,
            lifetime,
            started,
        };
        self.put_timer(key, &timer)
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
        // The same entry may have come in a letter and above a gap.
        let loose = self.drop_loose(row.id, (device, seq), Forgotten::Vanished, now)?;
        let Some((feed, _)) = self.find_feed(row.id, device)? else {
            return Ok(loose);
        };
        let mut work = Work::begin(self, row.id, now.0)?;
        let gone = work.drop_body(self, Place { feed, seq }, Forgotten::Vanished)?;
        work.finish(self)?;
        let gone = gone.map(|(id, author)| (row.id, id, author));
        Ok(gone.or(loose))
    }
}

impl Work {
    /// A message that is held disappears with its setting, if it has one.
    pub(crate) fn time(&mut self, txn: &mut Txn<'_>, place: Place, id: &EntryId) -> Result<()> {
        let item = self.item_of(txn, place, id)?;
        self.time_item(txn, place, item)
    }

    /// The same for one of which is known when it came and whether it was read.
    pub(crate) fn time_item(
        &mut self,
        txn: &mut Txn<'_>,
        place: Place,
        item: Option<(u64, bool)>,
    ) -> Result<()> {
        let row = self.feed(txn, place.feed)?.clone();
        let key = (self.space, row.device, place.seq);
        let lifetime = txn.lifetime_at(place)?;
        if !lifetime.ends() {
            return txn.remove_timer(key);
        }
        let known = txn.timer(key)?;
        if let Some(running) = known.filter(|known| known.state == State::Running) {
            return txn.put_timer(
                key,
                &Timer {
                    lifetime,
                    ..running
                },
            );
        }
        let ready = if self.is_own(row.author) {
            self.is_delivered(txn, place.seq)?
        } else {
            item.is_some_and(|(_, read)| read) && txn.is_cover_certain(place, &row)?
        };
        let received = item.map_or(self.now, |(received, _)| received);
        let waiting = known.unwrap_or(Timer {
            state: State::Waiting,
            lifetime,
            started: Millis(received),
        });
        let timer = if ready {
            Timer {
                state: State::Running,
                lifetime,
                started: Millis(self.now),
            }
        } else {
            Timer {
                lifetime,
                ..waiting
            }
        };
        if known == Some(timer) {
            return Ok(());
        }
        txn.put_timer(key, &timer)
    }

    /// Whether the other person is known to hold our entry at a place.
    pub(crate) fn is_delivered(&self, txn: &Txn<'_>, seq: u64) -> Result<bool> {
        let rows = txn.collect(Table::Acknowledged, Key::new().u32(self.space))?;
        Ok(rows
            .iter()
            .any(|(_, value)| crate::keys::number(value) > seq))
    }

    /// When a message came, and whether it was read.
    fn item_of(
        &mut self,
        txn: &Txn<'_>,
        place: Place,
        id: &EntryId,
    ) -> Result<Option<(u64, bool)>> {
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
        Ok(Some((value.received, read)))
    }
}
