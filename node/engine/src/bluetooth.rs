//! Contacts in radio range: our announcement, theirs, and when a channel is opened to whom.
//!
//! One task announces with a fresh nonce every quarter of an hour and whenever the adapter changes,
//! listens now and then, and notes whose announcement it hears. Supervisors dial whoever is noted,
//! where IP doesn't lead there. Of two devices the one with the lower endpoint opens the channel; the
//! other waits a little for it. Nothing is announced while there is no contact who could recognise it.
//! The channels themselves are [`links::Bluetooth`]'s.

mod silence;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use links::bluetooth::{
    OpenError,
    radio::{Address, Heard, Listening, State as Adapter},
};
use proto::{
    EndpointId, IdentityId, Millis,
    beacon::{BeaconKey, PERIOD_MS, Recognised, Recogniser},
    bluetooth::{Announcement, ChannelKey, NONCE_BYTES, Port, SALT_BYTES, Tagged},
};
use store::ContactState;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval},
};

use self::silence::{Silences, Verdict};
use crate::{
    beacons, clock, event::EventKind, events::About, files, inner::Inner, nearby, records,
    view::LinkKind,
};

/// Who was heard within this time is in range: some rounds of listening now and then.
const FRESH: Duration = Duration::from_secs(75);
/// How long the one with the higher endpoint leaves it to the other to open a channel.
const YIELD: Duration = Duration::from_secs(3);
/// How long it listens all the time after the start, a lost connection or the person's wish.
pub(crate) const EAGER: Duration = Duration::from_secs(15);
/// The first pause after a channel that came to nothing; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// Between two looks at what is wanted and who is there.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For so long after IP fell silent nobody waits for it before a channel is opened.
const DEAD: Duration = Duration::from_secs(10);
/// A channel is kept for so long after IP took over, in case that doesn't last.
const SPARED: Duration = Duration::from_secs(30);
/// Who didn't look for so long, in milliseconds by the wall's clock, was asleep.
const ASLEEP_MS: u64 = 15_000;
/// Devices that are noted; there are no more contacts' devices in a room.
const SEEN_MAX: usize = 1_024;

type Device = (IdentityId, EndpointId);

/// What the node knows of who is in radio range.
#[derive(Debug)]
pub(crate) struct Bluetooth {
    hub: links::Bluetooth,
    heard: Mutex<Option<mpsc::Receiver<Heard>>>,
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: BTreeMap<EndpointId, Seen>,
    eager_until: Option<Instant>,
    /// The adapter that the radio was opened with, once it was.
    opened: Option<Option<String>>,
    /// Announcements that were no contact's.
    strangers: u64,
}

/// A contact's device that was heard.
#[derive(Debug, Clone)]
struct Seen {
    contact: IdentityId,
    at: Address,
    port: Port,
    last: Instant,
    /// From when on we open a channel.
    from: Instant,
    /// When who dials it is woken again, unless it is met.
    wake_at: Instant,
    pause: Duration,
    /// When a connection over IP was given up, the last time.
    ip_silent: Option<Instant>,
}

impl Seen {
    fn is_fresh(&self) -> bool {
        self.last.elapsed() < FRESH
    }
}

impl Default for Bluetooth {
    fn default() -> Self {
        let (hub, heard) = links::Bluetooth::new();
        Self {
            hub,
            heard: Mutex::new(Some(heard)),
            changed: Notify::new(),
            state: Mutex::default(),
        }
    }
}

impl Bluetooth {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hub(&self) -> &links::Bluetooth {
        &self.hub
    }

    /// Contacts, their keys, or what the person wants of this link has changed.
    pub(crate) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Somebody is expected: it listens all the time for a while.
    pub(crate) fn expect(&self, time: Duration) {
        let until = Instant::now() + time;
        {
            let mut state = self.lock();
            state.eager_until = Some(state.eager_until.map_or(until, |known| known.max(until)));
        }
        self.changed.notify_one();
    }

    /// Whether an adapter is there and in use.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(*self.hub.state().borrow(), Adapter::Ready(_))
    }

    /// Whether a device was heard lately.
    pub(crate) fn is_near(&self, endpoint: EndpointId) -> bool {
        self.hub.has_channel(endpoint)
            || self.lock().seen.get(&endpoint).is_some_and(Seen::is_fresh)
    }

    /// How many contacts' devices were heard lately.
    pub(crate) fn near(&self) -> usize {
        let state = self.lock();
        state.seen.values().filter(|seen| seen.is_fresh()).count()
    }

    /// Announcements that were no contact's.
    pub(crate) fn strangers(&self) -> u64 {
        self.lock().strangers
    }

    /// Whether a device may be dialled over a channel now: there is one, or it is for us to open it.
    pub(crate) fn may_dial(&self, endpoint: EndpointId) -> bool {
        if self.hub.has_channel(endpoint) {
            return true;
        }
        let state = self.lock();
        let seen = state.seen.get(&endpoint).filter(|seen| seen.is_fresh());
        seen.is_some_and(|seen| seen.from <= Instant::now())
    }

    /// Opens a channel to a device where it was heard, unless there is one.
    pub(crate) async fn open(&self, endpoint: EndpointId) -> Result<(), String> {
        if self.hub.has_channel(endpoint) {
            return Ok(());
        }
        let seen = self.lock().seen.get(&endpoint).cloned();
        let seen = seen.filter(Seen::is_fresh).ok_or("not in radio range")?;
        let opened = self.hub.open(endpoint, seen.at, seen.port).await;
        let mut state = self.lock();
        if let Some(seen) = state.seen.get_mut(&endpoint) {
            let pause = seen.pause;
            (seen.pause, seen.from) = match opened {
                Ok(()) => (PAUSE_MIN, Instant::now()),
                // Who became a contact this moment is known in the next.
                Err(OpenError::Unknown) => (pause, Instant::now()),
                Err(_) => ((pause * 2).min(PAUSE_MAX), Instant::now() + pause),
            };
        }
        opened.map_err(|error| error.to_string())
    }

    /// A device can be reached there: it was met, or its announcement was recognised. True where it
    /// wasn't known to be in range.
    fn note(&self, own: EndpointId, (contact, endpoint): Device, at: Address, port: Port) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        state.seen.retain(|_, seen| seen.is_fresh());
        let known = state.seen.get(&endpoint);
        let news = known.is_none();
        if news && state.seen.len() >= SEEN_MAX {
            return false;
        }
        let (mut from, pause) = match known {
            Some(seen) => (seen.from, seen.pause),
            None => (turn(own, endpoint, now), PAUSE_MIN),
        };
        // At another address it is worth a try at once.
        if known.is_some_and(|seen| seen.at != at) {
            from = from.min(turn(own, endpoint, now));
        }
        let seen = Seen {
            contact,
            at,
            port,
            last: now,
            from,
            wake_at: known.map_or(now, |seen| seen.wake_at),
            pause,
            ip_silent: known.and_then(|seen| seen.ip_silent),
        };
        state.seen.insert(endpoint, seen);
        news
    }

    /// Somebody who became a contact nearby is there where they were: their key for announcements
    /// comes with the first meeting only.
    pub(crate) fn met(&self, own: EndpointId, device: Device, at: Address, port: Port) {
        self.note(own, device, at, port);
    }

    /// A meeting with a device ended: whose turn it is to dial is open again.
    pub(crate) fn met_last(&self, own: EndpointId, endpoint: EndpointId) {
        if let Some(seen) = self.lock().seen.get_mut(&endpoint) {
            (seen.from, seen.pause) = (turn(own, endpoint, Instant::now()), PAUSE_MIN);
        }
    }

    /// Nothing came over IP from a device in range.
    fn note_silent(&self, endpoint: EndpointId) {
        if let Some(seen) = self.lock().seen.get_mut(&endpoint) {
            seen.ip_silent = Some(Instant::now());
        }
    }

    /// Whether IP led to a device until a moment ago, and doesn't any more.
    pub(crate) fn is_silent_over_ip(&self, endpoint: EndpointId) -> bool {
        let state = self.lock();
        let silent = state.seen.get(&endpoint).and_then(|seen| seen.ip_silent);
        silent.is_some_and(|at| at.elapsed() < DEAD)
    }

    /// Nothing is known any more of where these devices are, and their channels end.
    pub(crate) fn forget(&self, devices: &[EndpointId]) {
        self.lock()
            .seen
            .retain(|device, _| !devices.contains(device));
        for device in devices {
            self.hub.close(*device);
        }
        self.changed.notify_one();
    }

    /// Contacts that are in range and not met, whose turn to be dialled it is: each after growing
    /// pauses, because there may be a reason why nothing comes of it.
    fn due(&self, is_met: impl Fn(&EndpointId) -> bool) -> Vec<Device> {
        let (mut state, now) = (self.lock(), Instant::now());
        let mut due = Vec::new();
        for (endpoint, seen) in &mut state.seen {
            if is_met(endpoint) {
                (seen.wake_at, seen.pause) = (now, PAUSE_MIN);
            } else if seen.is_fresh() && seen.from.max(seen.wake_at) <= now {
                seen.wake_at = now + seen.pause.max(YIELD);
                seen.pause = (seen.pause * 2).min(PAUSE_MAX);
                due.push((seen.contact, *endpoint));
            }
        }
        due
    }
}

/// From when on we open a channel to a device that is there from now on.
fn turn(own: EndpointId, endpoint: EndpointId, now: Instant) -> Instant {
    if own < endpoint { now } else { now + YIELD }
}

/// Runs until the node stops.
pub(crate) async fn attend(inner: Arc<Inner>) {
    let heard = inner
        .bluetooth
        .heard
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    let Some(mut heard) = heard else { return };
    inner.bluetooth.expect(EAGER);
    let hub = inner.bluetooth.hub.clone();
    let (mut adapter, mut connected) = (hub.state(), hub.connected());
    let mut watch = Watch::new(inner.clone());
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => break,
            () = inner.bluetooth.changed.notified() => {
                watch.learn();
                watch.look().await;
            }
            Ok(()) = adapter.changed() => {
                watch.adapter_changed(&adapter.borrow_and_update().clone());
                watch.look().await;
            }
            Ok(()) = connected.changed() => {
                connected.borrow_and_update();
                inner.events.emit(EventKind::Presence, About::default());
            }
            _ = look.tick() => {
                watch.look().await;
                watch.follow();
            }
            Some(one) = heard.recv() => watch.consider(one),
        }
    }
    hub.announce(None);
    hub.listen(Listening::Off);
}

/// What is on the air.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OnAir {
    /// Our announcement for contacts.
    Device(BeaconKey, Port),
    /// That we want to meet somebody new.
    Nearby([u8; SALT_BYTES], Port),
}

/// The task's own.
struct Watch {
    inner: Arc<Inner>,
    recogniser: Recogniser<Device, Tagged>,
    on_air: Option<OnAir>,
    /// When the next nonce is due.
    due: Instant,
    listening: Listening,
    /// Contacts who could recognise us.
    contacts: usize,
    began: Instant,
    last_look: Millis,
    /// Bytes that had come over IP, and since when there are no more.
    silence: Silences,
}

impl Watch {
    fn new(inner: Arc<Inner>) -> Self {
        let now = Instant::now();
        let mut watch = Self {
            inner,
            recogniser: Recogniser::default(),
            on_air: None,
            due: now,
            listening: Listening::Off,
            contacts: 0,
            began: now,
            last_look: clock::now(),
            silence: Silences::default(),
        };
        watch.learn();
        watch
    }

    fn bluetooth(&self) -> &Bluetooth {
        &self.inner.bluetooth
    }

    /// Learns whom to recognise and whose channels to take.
    fn learn(&mut self) {
        let read = || -> crate::Result<_> {
            let snapshot = self.inner.store.read()?;
            Ok((beacons::theirs(&snapshot)?, snapshot.contacts()?))
        };
        let (keys, contacts) = match read() {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(%error, "could not read whom to expect over bluetooth");
                return;
            }
        };
        self.recogniser.set_keys(keys);
        let ready = contacts
            .iter()
            .filter(|(_, contact)| contact.state == ContactState::Ready);
        let mut known = Vec::new();
        for (_, contact) in ready {
            let Some(secret) = &contact.pair_secret else {
                continue;
            };
            let key = ChannelKey::new(secret);
            let endpoints = records::endpoints(contact).into_iter();
            known.extend(endpoints.map(|endpoint| (endpoint, key.clone())));
        }
        self.contacts = known.len();
        if let Some(links) = self.inner.links() {
            self.bluetooth().hub.set_contacts(links.id(), known);
        }
    }

    fn adapter_changed(&mut self, state: &Adapter) {
        tracing::debug!("the bluetooth adapter is in another state");
        // A fresh nonce at another adapter, or one that came back.
        self.on_air = None;
        if matches!(state, Adapter::Ready(_)) {
            self.bluetooth().expect(EAGER);
        }
        self.inner
            .events
            .emit(EventKind::Presence, About::default());
    }

    /// Does what is wanted now: adapter, announcement, listening.
    async fn look(&mut self) {
        // A wall clock that leaps means that the machine slept, or was told the time.
        let now = clock::now();
        if now.0.abs_diff(self.last_look.0) > ASLEEP_MS {
            self.on_air = None;
            self.bluetooth().expect(EAGER);
        }
        self.last_look = now;
        if !self.is_wanted() {
            self.rest();
            return;
        }
        self.open_radio();
        let hub = self.bluetooth().hub.clone();
        hub.switch(true);
        let wanted = match hub.port() {
            Some(port) => self.wanted_on_air(port).await,
            None => None,
        };
        if wanted != self.on_air || (wanted.is_some() && Instant::now() >= self.due) {
            hub.announce(wanted.as_ref().map(announcement));
            self.due = Instant::now() + Duration::from_millis(PERIOD_MS);
            self.on_air = wanted;
        }
        let eager = self.bluetooth().lock().eager_until;
        let meets = nearby::salt(&self.inner).is_some();
        let listening = if meets || eager.is_some_and(|until| until > Instant::now()) {
            Listening::Eager
        } else {
            Listening::Spare
        };
        let nobody = self.contacts == 0 && !meets;
        self.listen(if nobody { Listening::Off } else { listening });
    }

    fn listen(&mut self, how: Listening) {
        if self.listening != how {
            self.listening = how;
            self.bluetooth().hub.listen(how);
        }
    }

    fn is_wanted(&self) -> bool {
        self.inner.keys().is_some()
            && self
                .inner
                .store
                .read()
                .map_err(crate::Error::from)
                .and_then(|snapshot| self.inner.bluetooth_in_use(&snapshot))
                .unwrap_or(false)
    }

    /// Switched off, or not set up: nothing is opened, and what was is let go.
    fn rest(&mut self) {
        if self.bluetooth().lock().opened.take().is_some() {
            let hub = &self.bluetooth().hub;
            hub.switch(false);
            hub.detach();
            (self.on_air, self.listening) = (None, Listening::Off);
        }
    }

    /// Opens the adapter that was chosen, where another or none is open.
    fn open_radio(&mut self) {
        let chosen = self
            .inner
            .store
            .read()
            .map_err(crate::Error::from)
            .and_then(|snapshot| self.inner.adapter(&snapshot));
        let Ok(chosen) = chosen else { return };
        {
            let mut state = self.bluetooth().lock();
            if state.opened.as_ref() == Some(&chosen) {
                return;
            }
            state.opened = Some(chosen.clone());
        }
        if let Some(radio) = self.inner.config.links.radios.open(chosen) {
            self.bluetooth().hub.attach(radio);
        }
        (self.on_air, self.listening) = (None, Listening::Off);
        self.learn();
    }

    async fn wanted_on_air(&self, port: Port) -> Option<OnAir> {
        if let Some(salt) = nearby::salt(&self.inner) {
            return Some(OnAir::Nearby(salt, port));
        }
        if self.contacts == 0 {
            return None;
        }
        match beacons::own_or_made(&self.inner).await {
            Ok(key) => Some(OnAir::Device(key, port)),
            Err(error) => {
                tracing::warn!(%error, "could not read the key of announcements");
                None
            }
        }
    }

    fn consider(&mut self, heard: Heard) {
        let tagged = match Announcement::decode(&heard.bytes) {
            Announcement::Device(tagged) => tagged,
            Announcement::Nearby { port, salt } => {
                nearby::heard(&self.inner, heard.from, port, salt);
                return;
            }
        };
        // A clock that runs is all that the budget needs.
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let device = match self.recogniser.recognise(&tagged, Millis(elapsed)) {
            Recognised::Contact(device) => device,
            Recognised::Stranger => {
                self.bluetooth().lock().strangers += 1;
                return;
            }
            // It is heard again in a moment.
            Recognised::Busy => return,
        };
        let Some(own) = self.inner.links().map(|links| links.id()) else {
            return;
        };
        let news = self.bluetooth().note(own, device, heard.from, tagged.port);
        if news {
            tracing::debug!(contact = ?device.0, "a contact is in radio range");
            self.inner
                .events
                .emit(EventKind::Presence, About::default());
            self.call(&[device]);
        }
    }

    /// Wakes who dials these, where nobody is met there.
    fn call(&self, devices: &[Device]) {
        for (contact, endpoint) in devices {
            let met = self.inner.meetings().contains_key(endpoint);
            if !met && self.bluetooth().may_dial(*endpoint) {
                self.inner.wake(*contact);
            }
        }
    }

    /// Looks after who is in range: who isn't met is dialled, whose IP connection is dead is met over
    /// a channel, and where IP works the channel isn't kept.
    fn follow(&mut self) {
        let met: BTreeSet<EndpointId> = self.inner.meetings().keys().copied().collect();
        for (contact, _) in self.bluetooth().due(|endpoint| met.contains(endpoint)) {
            self.inner.wake(contact);
        }
        let meetings: Vec<_> = self.inner.meetings().values().cloned().collect();
        for meeting in meetings {
            let endpoint = meeting.endpoint;
            let over = meeting.link_kind();
            if over.is_none_or(|link| link == LinkKind::Bluetooth)
                || !self.bluetooth().is_near(endpoint)
            {
                continue;
            }
            let received = meeting.conn.udp_traffic().received;
            match self.silence.look(endpoint, received, Instant::now()) {
                Verdict::Alive => {}
                Verdict::Ask => meeting.notices.probe(),
                Verdict::Dead => {
                    tracing::debug!(contact = ?meeting.contact, "nothing comes over IP: trying bluetooth");
                    self.bluetooth().note_silent(endpoint);
                    meeting.notices.end(links::CloseCode::Dropped);
                    continue;
                }
            }
            if meeting.on_link_for() > SPARED && self.bluetooth().hub.has_channel(endpoint) {
                self.bluetooth().hub.close(endpoint);
            }
        }
    }
}

fn announcement(on_air: &OnAir) -> [u8; proto::bluetooth::ANNOUNCED_BYTES] {
    let announcement = match on_air {
        OnAir::Device(key, port) => {
            let mut nonce = [0; NONCE_BYTES];
            files::fill_random(&mut nonce);
            Announcement::Device(Tagged::new(key, *port, nonce))
        }
        OnAir::Nearby(salt, port) => Announcement::Nearby {
            port: *port,
            salt: *salt,
        },
    };
    announcement.encode()
}
