//! BlueZ, Linux's Bluetooth: an adapter as bluetoothd tells of it over the system bus, with the
//! kernel's sockets for channels.
//!
//! [`open`] never fails and never waits. One task follows what there is: a bus, bluetoothd, the
//! adapter, its power; whatever is missing is a [`State`], and it is looked for again. It switches nothing
//! on, pairs with nobody and makes nobody "discoverable".

mod air;
mod bus;
mod channel;
mod ears;
mod told;

use std::{
    fmt, io,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::AsyncReadExt as _,
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{
    air::Air,
    bus::Bus,
    channel::Contacts,
    ears::Ears,
    told::{Found, News},
};
use super::radio::{
    ANNOUNCED_BYTES, Adapter, Address, Channel, Connecting, Heard, Listening, Radio, State,
};

/// Pause before what is missing is looked for again, where nothing tells of it.
const AGAIN: Duration = Duration::from_secs(3);
/// Pause between two looks at an adapter that works: news of it may have been missed.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Pause between two questions for what bluetoothd knows of devices.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Channels that wait to be taken.
const ARRIVALS_MAX: usize = 16;
/// Where bluetoothd's settings say whether its adapters change their address on the air.
const SETTINGS: &str = "/etc/bluetooth/main.conf";
/// The file that Debian has is 14 kB long, nearly all of it comments.
const SETTINGS_BYTES_MAX: u64 = 256 * 1024;

/// What is asked of the radio.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Wishes {
    announcement: Option<[u8; ANNOUNCED_BYTES]>,
    listening: Listening,
}

/// The radio over BlueZ.
struct Bluez {
    state: watch::Receiver<State>,
    port: Arc<AtomicU8>,
    wishes: watch::Sender<Wishes>,
    heard: Mutex<Option<mpsc::Receiver<Heard>>>,
    arrivals: Mutex<Option<mpsc::Receiver<Arc<dyn Channel>>>>,
    contacts: Arc<Contacts>,
    one_by_one: Arc<Semaphore>,
    _end: DropGuard,
}

/// Opens the first adapter that works, or the named one (`hci1`). Needs a tokio runtime.
#[must_use]
pub fn open(adapter: Option<String>) -> Arc<dyn Radio> {
    let (state, state_seen) = watch::channel(State::Starting);
    let (wishes, wished) = watch::channel(Wishes::default());
    let (heard, heard_taken) = mpsc::channel(1);
    let (arrivals, arrivals_taken) = mpsc::channel(ARRIVALS_MAX);
    let (contacts, port) = (Arc::new(Contacts::default()), Arc::new(AtomicU8::new(0)));
    let end = CancellationToken::new();
    let keeper = Keeper {
        asked_for: adapter,
        state,
        wished,
        port: port.clone(),
        arrivals,
        contacts: contacts.clone(),
        ears: Ears::default(),
        heard,
        turn: 0,
    };
    tokio::spawn(end.clone().run_until_cancelled_owned(keeper.run()));
    Arc::new(Bluez {
        state: state_seen,
        port,
        wishes,
        heard: Mutex::new(Some(heard_taken)),
        arrivals: Mutex::new(Some(arrivals_taken)),
        contacts,
        one_by_one: Arc::new(Semaphore::new(1)),
        _end: end.drop_guard(),
    })
}

impl fmt::Debug for Bluez {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bluez")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}

impl Radio for Bluez {
    fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    fn port(&self) -> Option<u8> {
        Some(self.port.load(Ordering::Acquire)).filter(|&port| port != 0)
    }

    fn announce(&self, bytes: Option<[u8; ANNOUNCED_BYTES]>) {
        self.wish(|wishes| wishes.announcement = bytes);
    }

    fn listen(&self, how: Listening) {
        self.wish(|wishes| wishes.listening = how);
    }

    fn heard(&self) -> Option<mpsc::Receiver<Heard>> {
        taken(&self.heard)
    }

    fn arrivals(&self) -> Option<mpsc::Receiver<Arc<dyn Channel>>> {
        taken(&self.arrivals)
    }

    fn connect(&self, to: Address, port: u8) -> Connecting {
        let from = match &*self.state.borrow() {
            State::Ready(adapter) => adapter.address,
            _ => None,
        };
        let Some(from) = from else {
            return Box::pin(async { Err(io::ErrorKind::NetworkDown.into()) });
        };
        let (turns, contacts) = (self.one_by_one.clone(), self.contacts.clone());
        Box::pin(channel::connect(from, to, port, turns, contacts))
    }
}

impl Bluez {
    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        self.wishes.send_if_modified(|wishes| {
            let before = *wishes;
            change(wishes);
            *wishes != before
        });
    }
}

fn taken<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Follows the adapter.
struct Keeper {
    asked_for: Option<String>,
    state: watch::Sender<State>,
    wished: watch::Receiver<Wishes>,
    port: Arc<AtomicU8>,
    arrivals: mpsc::Sender<Arc<dyn Channel>>,
    contacts: Arc<Contacts>,
    ears: Ears,
    heard: mpsc::Sender<Heard>,
    /// Counts announcements.
    turn: u64,
}

/// Why work with an adapter, or the bus, ends.
struct Ended(State);

impl From<dbus::Error> for Ended {
    fn from(error: dbus::Error) -> Self {
        tracing::debug!(%error, "the Bluetooth service refuses");
        Self(bus::state_after(&error))
    }
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let ended = match Bus::connect().await {
                Ok((bus, mut news)) => self.with_bus(&bus, &mut news).await,
                Err(error) => error.into(),
            };
            self.rest(ended.0);
            sleep(AGAIN).await;
        }
    }

    /// Nothing can be done for now.
    fn rest(&mut self, state: State) {
        self.port.store(0, Ordering::Release);
        self.ears = Ears::default();
        self.say(state);
    }

    fn say(&self, state: State) {
        self.state.send_if_modified(|known| {
            let is_new = *known != state;
            if is_new {
                tracing::info!(?state, "Bluetooth");
                *known = state;
            }
            is_new
        });
    }

    /// Ends with the connection.
    async fn with_bus(&mut self, bus: &Bus, news: &mut mpsc::Receiver<News>) -> Ended {
        let mut port = None;
        loop {
            let found = match bus.look().await {
                Ok(found) => found,
                Err(error) => return error.into(),
            };
            let state = match found.map(|found| choose(&found, self.asked_for.as_deref())) {
                None => State::NoService,
                Some(Err(state)) => state,
                Some(Ok((found, others))) => {
                    match self
                        .with_adapter(bus, news, &found, others, &mut port)
                        .await
                    {
                        Ok(()) => continue,
                        Err(Ended(state)) => state,
                    }
                }
            };
            self.rest(state);
            let mut again = pin!(sleep(AGAIN));
            loop {
                tokio::select! {
                    () = &mut again => break,
                    told = news.recv() => match told {
                        Some(News::Look) => break,
                        Some(News::Over) | None => return Ended(State::NoService),
                        Some(News::Device(_) | News::Forgotten(_)) => {}
                    }
                }
            }
        }
    }

    /// Works with an adapter until it has to be chosen anew.
    async fn with_adapter(
        &mut self,
        bus: &Bus,
        news: &mut mpsc::Receiver<News>,
        found: &Found,
        others: Vec<String>,
        port: &mut Option<u8>,
    ) -> Result<(), Ended> {
        let Some(address) = found.address else {
            let state = "the adapter has no address for Bluetooth Low Energy";
            return Err(Ended(State::Unusable(state.to_owned())));
        };
        let listening = channel::listen(address, *port);
        let (listener, at) = listening.map_err(|error| Ended(channel::state_after(&error)))?;
        let accepting = channel::accept(listener, self.arrivals.clone(), self.contacts.clone());
        let _accepting = Accepting(tokio::spawn(accepting));
        *port = Some(at);
        self.port.store(at, Ordering::Release);
        let adapter = Adapter {
            name: found.name.clone(),
            address: Some(address),
            private: is_private(&settings().await),
            others,
        };
        let mut air = Air::new(bus, &found.name, self.turn);
        let ended = self.on_air(&mut air, news, adapter).await;
        air.end().await;
        self.turn = air.turn;
        ended
    }

    async fn on_air(
        &mut self,
        air: &mut Air<'_>,
        news: &mut mpsc::Receiver<News>,
        mut adapter: Adapter,
    ) -> Result<(), Ended> {
        self.ears = Ears::default();
        for known in air.bus.known(&adapter.name).await? {
            self.ears.recall(&known);
            // Left by a process that ended without a word; those in reach are heard anew.
            if let Some(from) = known.address {
                air.bus.part(&adapter.name, from, false).await.ok();
            }
        }
        let mut connecting = self.contacts.connecting();
        let mut look_at = Instant::now() + LOOK_EVERY;
        let mut ask_at = Instant::now();
        loop {
            let wishes = *self.wished.borrow_and_update();
            air.announce(wishes.announcement).await?;
            self.say(State::Ready(adapter.clone()));
            let is_busy = *connecting.borrow_and_update() > 0;
            air.listen(wishes.listening, is_busy).await;
            for left in self.contacts.left() {
                // Somebody else's connection, or gone by itself.
                air.bus.part(&adapter.name, left, true).await.ok();
            }
            if self.ears.is_puzzled && Instant::now() >= ask_at {
                self.ears.is_puzzled = false;
                ask_at = Instant::now() + ASK_EVERY;
                for seen in air.bus.known(&adapter.name).await? {
                    self.ears.recall(&seen);
                }
            }
            let part_at = self.contacts.leave_at().unwrap_or(look_at);
            let wake_at = look_at.min(part_at).min(air.wake_at(wishes.listening));
            tokio::select! {
                () = sleep_until(wake_at) => {}
                () = self.contacts.closing() => {}
                changed = self.wished.changed() => if changed.is_err() {
                    return Ok(());
                },
                _ = connecting.changed() => {}
                permit = self.heard.reserve(), if self.ears.has_news() => {
                    if let (Ok(permit), Some(heard)) = (permit, self.ears.next()) {
                        permit.send(heard);
                    }
                }
                told = news.recv() => match told {
                    Some(News::Look) => look_at = Instant::now(),
                    Some(News::Device(seen)) if seen.is_at(&adapter.name) => {
                        if seen.connected {
                            air.renew();
                        }
                        self.ears.hear(&seen);
                    }
                    Some(News::Device(_)) => {}
                    Some(News::Forgotten(path)) => self.ears.forget(&path),
                    Some(News::Over) | None => return Err(Ended(State::NoService)),
                },
            }
            if Instant::now() >= look_at {
                look_at = Instant::now() + LOOK_EVERY;
                let found = air.bus.look().await?.ok_or(Ended(State::NoService))?;
                let (now, others) = choose(&found, self.asked_for.as_deref()).map_err(Ended)?;
                if now.name != adapter.name || now.address != adapter.address {
                    return Ok(());
                }
                adapter.others = others;
                air.compare(&now);
            }
        }
    }
}

/// Takes channels until it is dropped.
struct Accepting(JoinHandle<()>);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The adapter to work with and the names of the others, or why there is none.
fn choose(found: &[Found], asked_for: Option<&str>) -> Result<(Found, Vec<String>), State> {
    let chosen = match asked_for {
        Some(name) => found.iter().find(|found| found.name == name),
        None => found
            .iter()
            .find(|found| found.powered && found.announces)
            .or_else(|| found.iter().find(|found| found.powered))
            .or_else(|| found.first()),
    };
    let chosen = chosen.ok_or(State::NoAdapter)?;
    if chosen.blocked {
        return Err(State::Blocked);
    }
    if !chosen.powered {
        return Err(State::PoweredOff);
    }
    if !chosen.announces {
        let state = "the adapter can't announce anything: it has no Bluetooth Low Energy";
        return Err(State::Unusable(state.to_owned()));
    }
    let others = found.iter().map(|found| found.name.clone());
    let others = others.filter(|name| *name != chosen.name).collect();
    Ok((chosen.clone(), others))
}

async fn settings() -> String {
    let mut text = Vec::new();
    if let Ok(file) = tokio::fs::File::open(SETTINGS).await {
        drop(file.take(SETTINGS_BYTES_MAX).read_to_end(&mut text).await);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether bluetoothd's settings let its adapters change their address on the air. The bus doesn't tell.
fn is_private(settings: &str) -> bool {
    let mut is = false;
    for line in settings.lines() {
        if let Some((name, value)) = line.split_once('=')
            && name.trim() == "Privacy"
        {
            is = !matches!(value.trim(), "off" | "false" | "");
        }
    }
    is
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, powered: bool) -> Found {
        Found {
            name: name.to_owned(),
            address: None,
            powered,
            blocked: false,
            announces: true,
            scanning: false,
            announcements: 0,
        }
    }

    fn chosen(found: &[Found], asked_for: Option<&str>) -> Result<(String, Vec<String>), State> {
        choose(found, asked_for).map(|(found, others)| (found.name, others))
    }

    #[test]
    fn the_first_adapter_that_works_is_chosen_or_the_named_one() {
        let (off, on) = (found("hci0", false), found("hci1", true));
        let both = [off.clone(), on.clone()];
        assert_eq!(chosen(&[], None), Err(State::NoAdapter));
        assert_eq!(
            chosen(&both, None),
            Ok(("hci1".to_owned(), vec!["hci0".to_owned()]))
        );
        assert_eq!(chosen(&both, Some("hci0")), Err(State::PoweredOff));
        assert_eq!(chosen(&both, Some("hci2")), Err(State::NoAdapter));
        let blocked = Found {
            blocked: true,
            ..off
        };
        assert_eq!(chosen(&[blocked], None), Err(State::Blocked));
        let classic = Found {
            announces: false,
            ..on.clone()
        };
        assert!(matches!(
            chosen(std::slice::from_ref(&classic), None),
            Err(State::Unusable(_))
        ));
        let second = Found {
            name: "hci2".to_owned(),
            ..on
        };
        assert_eq!(
            chosen(&[classic, second], None),
            Ok(("hci2".to_owned(), vec!["hci1".to_owned()]))
        );
    }

    #[test]
    fn privacy_is_what_the_last_line_says_that_is_no_comment() {
        assert!(!is_private(""));
        assert!(!is_private(
            "[General]\n# Privacy = device\n#Privacy = device\n"
        ));
        assert!(!is_private("Privacy = off"));
        assert!(is_private("Name = x\nPrivacy = device\n"));
    }
}
