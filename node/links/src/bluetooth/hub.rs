//! Which channels there are, who may open one, and where their datagrams go.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use iroh_base::CustomAddr;
use proto::{
    EndpointId,
    bluetooth::{ANNOUNCED_BYTES, ChannelKey, Established, Meant, Port, Reject},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    channel::{self, QUEUE_FRAMES_MAX},
    doorstep::Doorstep,
    greeting,
    radio::{Address, Channel, Heard, Listening, Radio, State},
    transport,
};
use crate::{admission::Door, live::Live};

/// Channels at once: what a small controller can hold of connections. Others wait until one ends.
pub const CHANNELS_MAX: usize = 7;
/// Of these, channels with people who aren't contacts (yet).
const NEARBY_CHANNELS_MAX: usize = 3;
/// Channels with one device: two that opened one at once have two for a while.
const PER_DEVICE_MAX: usize = 2;
/// Announcements that wait to be looked at; more are dropped, and heard again.
const HEARD_MAX: usize = 256;
/// People who want to meet that wait to be taken.
const FOUND_MAX: usize = 8;

/// What was refused and dropped since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Channels of others that came too fast, too many, or from an address that had failed.
    pub busy: u64,
    /// Handshakes in which the other side said nothing in time.
    pub silent: u64,
    /// Handshakes of somebody who is no contact, or came to meet somebody new when nobody wanted to.
    pub strangers: u64,
    /// Handshakes and channels that ended with a frame that doesn't belong there.
    pub garbled: u64,
    /// Channels that were closed because they took no frame for too long.
    pub stuck: u64,
    /// Datagrams that were dropped because a queue was full, which QUIC takes for congestion.
    pub dropped: u64,
}

/// A channel wasn't opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Bluetooth isn't used now, or isn't ready.
    #[error("bluetooth isn't in use now")]
    Off,
    /// There are as many channels as there may be.
    #[error("{CHANNELS_MAX} devices are connected over bluetooth, which is the most: others wait")]
    Full,
    /// The device isn't known here.
    #[error("the device is no contact's")]
    Unknown,
    /// The radio couldn't reach it.
    #[error("not reached over bluetooth: {0}")]
    Radio(String),
    /// No answer in time.
    #[error("no answer over bluetooth within {} s", greeting::GREETING_WAIT.as_secs())]
    Silent,
    /// It answered wrongly.
    #[error("not met over bluetooth: {0}")]
    Refused(#[from] Reject),
}

/// The node's Bluetooth: one radio, the channels over it, and the endpoints that they lead to.
/// Clones share it.
#[derive(Clone)]
pub struct Bluetooth {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    state: Mutex<Hub>,
    status: watch::Sender<State>,
    /// How many channels there are, for who waits for a change.
    count: watch::Sender<usize>,
    heard: mpsc::Sender<Heard>,
}

#[derive(Default)]
pub(super) struct Hub {
    radio: Option<Attached>,
    on: bool,
    own: Option<EndpointId>,
    contacts: Arc<[(EndpointId, ChannelKey)]>,
    nearby: Option<Nearby>,
    main_door: Option<mpsc::Sender<Received>>,
    nearby_door: Option<mpsc::Sender<Received>>,
    live: Option<Live>,
    channels: BTreeMap<u64, Entry>,
    /// Handles are used once, so that nothing meant for one channel gets into another.
    next: u64,
    doorstep: Doorstep,
    pub(super) counts: Counts,
}

struct Attached {
    radio: Arc<dyn Radio>,
    _stop: DropGuard,
}

struct Nearby {
    endpoint: EndpointId,
    found: mpsc::Sender<EndpointId>,
}

struct Entry {
    endpoint: EndpointId,
    nearby: bool,
    queue: mpsc::Sender<Bytes>,
    _stop: DropGuard,
}

/// A datagram that came over a channel.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) from: u64,
    pub(super) datagram: Bytes,
}

impl Bluetooth {
    /// Nothing is on the air until a radio is attached and it is switched on. What is heard of others
    /// comes out of the channel.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Heard>) {
        let (heard, receiver) = mpsc::channel(HEARD_MAX);
        let inner = Inner {
            state: Mutex::default(),
            status: watch::Sender::new(State::Starting),
            count: watch::Sender::new(0),
            heard,
        };
        let inner = Arc::new(inner);
        (Self { inner }, receiver)
    }

    /// Uses this radio from now on; the one before is let go, with its channels.
    pub fn attach(&self, radio: Arc<dyn Radio>) {
        self.detach();
        let stop = CancellationToken::new();
        let attached = Attached {
            radio: radio.clone(),
            _stop: stop.clone().drop_guard(),
        };
        self.inner.lock().radio = Some(attached);
        tokio::spawn(attend(Arc::downgrade(&self.inner), radio, stop));
    }

    /// Lets the radio go, with its channels.
    pub fn detach(&self) {
        let closed = {
            let mut hub = self.inner.lock();
            hub.radio = None;
            hub.take_channels(|_| true)
        };
        self.inner.ended(closed);
        self.inner.status.send_replace(State::Starting);
    }

    /// What can be said of the adapter, now and from now on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.inner.status.subscribe()
    }

    /// How many devices are connected, now and from now on; at most [`CHANNELS_MAX`].
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<usize> {
        self.inner.count.subscribe()
    }

    /// What was refused since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.inner.lock().counts
    }

    /// Where others open channels, once the radio takes them.
    #[must_use]
    pub fn port(&self) -> Option<Port> {
        let radio = self.inner.lock().radio()?;
        radio.port().and_then(Port::new)
    }

    /// What is on the air from now on.
    pub fn announce(&self, bytes: Option<[u8; ANNOUNCED_BYTES]>) {
        if let Some(radio) = self.inner.lock().radio() {
            radio.announce(bytes);
        }
    }

    /// How much the radio listens from now on.
    pub fn listen(&self, how: Listening) {
        if let Some(radio) = self.inner.lock().radio() {
            radio.listen(how);
        }
    }

    /// Lets channels be opened, or closes all that there are and refuses others.
    pub fn switch(&self, on: bool) {
        let closed = {
            let mut hub = self.inner.lock();
            hub.on = on;
            hub.take_channels(|_| !on)
        };
        self.inner.ended(closed);
    }

    /// Who we are, and whose devices may open channels: channels with others end.
    pub fn set_contacts(&self, own: EndpointId, contacts: Vec<(EndpointId, ChannelKey)>) {
        let closed = {
            let mut hub = self.inner.lock();
            hub.own = Some(own);
            hub.contacts = contacts.into();
            let contacts = hub.contacts.clone();
            let known = |entry: &Entry| contacts.iter().any(|(known, _)| *known == entry.endpoint);
            hub.take_channels(|entry| !entry.nearby && !known(entry))
        };
        self.inner.ended(closed);
    }

    /// Takes channels for a temporary endpoint too. Whose temporary endpoint a channel leads to
    /// comes out of the receiver; both sides learn it. It is over with [`Self::close_nearby`].
    #[must_use]
    pub fn open_nearby(&self, endpoint: EndpointId) -> mpsc::Receiver<EndpointId> {
        let (found, receiver) = mpsc::channel(FOUND_MAX);
        self.inner.lock().nearby = Some(Nearby { endpoint, found });
        receiver
    }

    /// Ends that, with its channels.
    pub fn close_nearby(&self) {
        let closed = {
            let mut hub = self.inner.lock();
            (hub.nearby, hub.nearby_door) = (None, None);
            hub.take_channels(|entry| entry.nearby)
        };
        self.inner.ended(closed);
    }

    /// Whether a channel leads to a device.
    #[must_use]
    pub fn has_channel(&self, endpoint: EndpointId) -> bool {
        let hub = self.inner.lock();
        hub.channels
            .values()
            .any(|entry| entry.endpoint == endpoint)
    }

    /// Whether anybody who isn't a contact is connected.
    #[must_use]
    pub fn has_nearby(&self) -> bool {
        let hub = self.inner.lock();
        hub.channels.values().any(|entry| entry.nearby)
    }

    /// Closes the channels with a device.
    pub fn close(&self, endpoint: EndpointId) {
        let closed = self
            .inner
            .lock()
            .take_channels(|entry| entry.endpoint == endpoint);
        self.inner.ended(closed);
    }

    /// Opens a channel to a contact's device at an address where it was heard, unless there is one.
    ///
    /// # Errors
    /// See [`OpenError`]. It takes ten seconds and a handshake at most.
    pub async fn open(
        &self,
        endpoint: EndpointId,
        at: Address,
        port: Port,
    ) -> Result<(), OpenError> {
        if self.has_channel(endpoint) {
            return Ok(());
        }
        let (own, key) = {
            let hub = self.inner.lock();
            let own = hub.own.ok_or(OpenError::Off)?;
            let mut contacts = hub.contacts.iter();
            let found = contacts.find(|(known, _)| *known == endpoint);
            (own, found.ok_or(OpenError::Unknown)?.1.clone())
        };
        let meant = Meant::Contact { endpoint, key };
        self.dial(own, meant, at, port).await.map(drop)
    }

    /// Opens a channel to somebody who wants to meet somebody new, and says where it leads; see
    /// [`Self::open_nearby`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn meet(&self, at: Address, port: Port) -> Result<EndpointId, OpenError> {
        let own = {
            let hub = self.inner.lock();
            hub.nearby.as_ref().ok_or(OpenError::Off)?.endpoint
        };
        self.dial(own, Meant::Anybody, at, port).await
    }

    async fn dial(
        &self,
        own: EndpointId,
        meant: Meant,
        at: Address,
        port: Port,
    ) -> Result<EndpointId, OpenError> {
        let nearby = matches!(meant, Meant::Anybody);
        let radio = {
            let hub = self.inner.lock();
            if !hub.on {
                return Err(OpenError::Off);
            }
            if !hub.has_room(nearby) {
                return Err(OpenError::Full);
            }
            hub.radio().ok_or(OpenError::Off)?
        };
        let connected = radio.connect(at, port.number()).await;
        let channel = connected.map_err(|error| OpenError::Radio(error.to_string()))?;
        let greeted = greeting::dial(&*channel, own, meant).await;
        let established = greeted.inspect_err(|error| self.inner.lock().count(error))?;
        let endpoint = established.endpoint;
        self.inner.enter(channel, established, nearby)?;
        Ok(endpoint)
    }

    /// The transport of one of the node's endpoints.
    pub(crate) fn transport(
        &self,
        door: Door,
        live: &Live,
    ) -> Arc<dyn iroh::endpoint::transports::CustomTransport> {
        self.inner.lock().live = Some(live.clone());
        transport::of(self.clone(), door)
    }

    /// What to dial so that a channel with a device is used, if there is one.
    pub(crate) fn way(&self, endpoint: EndpointId, door: Door) -> Option<CustomAddr> {
        let hub = self.inner.lock();
        let nearby = door == Door::Nearby;
        let mut newest_first = hub.channels.iter().rev();
        let found =
            newest_first.find(|(_, entry)| entry.endpoint == endpoint && entry.nearby == nearby);
        found.map(|(handle, _)| transport::address(*handle))
    }

    /// Where datagrams for one of the node's endpoints go from now on.
    pub(super) fn connect_door(&self, door: Door) -> mpsc::Receiver<Received> {
        let (sender, receiver) = mpsc::channel(transport::RECEIVED_MAX);
        let mut hub = self.inner.lock();
        match door {
            Door::Main => hub.main_door = Some(sender),
            Door::Nearby => hub.nearby_door = Some(sender),
            Door::Temporary => {}
        }
        receiver
    }

    pub(super) fn is_open(&self, handle: u64) -> bool {
        self.inner.lock().channels.contains_key(&handle)
    }

    /// Sends datagrams over a channel, without waiting: what has no room is lost.
    pub(super) fn send<'a>(&self, handle: u64, datagrams: impl Iterator<Item = &'a [u8]>) {
        let mut hub = self.inner.lock();
        let Some(entry) = hub.channels.get(&handle) else {
            return;
        };
        let lost = datagrams
            .filter(|datagram| {
                entry
                    .queue
                    .try_send(Bytes::copy_from_slice(datagram))
                    .is_err()
            })
            .count();
        hub.counts.dropped += lost as u64;
    }
}

impl fmt::Debug for Bluetooth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hub = self.inner.lock();
        write!(f, "Bluetooth({} channels)", hub.channels.len())
    }
}

impl Hub {
    fn radio(&self) -> Option<Arc<dyn Radio>> {
        self.radio.as_ref().map(|attached| attached.radio.clone())
    }

    fn has_room(&self, nearby: bool) -> bool {
        let strangers = self.channels.values().filter(|entry| entry.nearby).count();
        self.channels.len() < CHANNELS_MAX && !(nearby && strangers >= NEARBY_CHANNELS_MAX)
    }

    /// Takes channels out; they end when what is returned is dropped, outside of the lock.
    fn take_channels(&mut self, which: impl Fn(&Entry) -> bool) -> Vec<(u64, Entry)> {
        self.channels
            .extract_if(.., |_, entry| which(entry))
            .collect()
    }

    pub(super) fn count(&mut self, error: &OpenError) {
        match error {
            OpenError::Silent => self.counts.silent += 1,
            OpenError::Refused(Reject::Stranger | Reject::Closed) => self.counts.strangers += 1,
            OpenError::Refused(Reject::Malformed | Reject::Garbled) => self.counts.garbled += 1,
            OpenError::Off | OpenError::Full | OpenError::Unknown | OpenError::Radio(_) => {}
        }
    }

    /// Whether one more handshake of others may begin now, from this address.
    fn begin_greeting(&mut self, from: Address, now: Instant) -> bool {
        let room = self.on && self.channels.len() < CHANNELS_MAX;
        let may = room && self.doorstep.begin(from, now);
        self.counts.busy += u64::from(!may);
        may
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, Hub> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody opened a channel.
    async fn greet(self: Arc<Self>, channel: Arc<dyn Channel>) {
        let (from, now) = (channel.remote(), Instant::now());
        if !self.lock().begin_greeting(from, now) {
            return;
        }
        let greeted = greeting::accept(&*channel, || {
            let hub = self.lock();
            greeting::House {
                own: hub.own,
                contacts: hub.contacts.clone(),
                nearby: hub.nearby.as_ref().map(|nearby| nearby.endpoint),
            }
        })
        .await;
        {
            let mut hub = self.lock();
            hub.doorstep.end(from, greeted.is_ok(), Instant::now());
            if let Err(error) = &greeted {
                hub.count(error);
            }
        }
        let entered =
            greeted.and_then(|(established, nearby)| self.enter(channel, established, nearby));
        if let Err(error) = entered {
            tracing::debug!(%error, "a channel over bluetooth came to nothing");
        }
    }

    /// A channel whose handshake has passed carries datagrams from now on.
    fn enter(
        self: &Arc<Self>,
        channel: Arc<dyn Channel>,
        established: Established,
        nearby: bool,
    ) -> Result<(), OpenError> {
        let endpoint = established.endpoint;
        let (queue, queued) = mpsc::channel(QUEUE_FRAMES_MAX);
        let stop = CancellationToken::new();
        let (handle, older, found) = {
            let mut hub = self.lock();
            if !hub.on || (nearby && hub.nearby.is_none()) {
                return Err(OpenError::Off);
            }
            // They may have been removed during the handshake.
            if !nearby && !hub.contacts.iter().any(|(known, _)| *known == endpoint) {
                return Err(OpenError::Unknown);
            }
            let same = hub.channels.iter();
            let same = same.filter(|(_, entry)| entry.endpoint == endpoint);
            let mut same: Vec<u64> = same.map(|(handle, _)| *handle).collect();
            same.truncate((same.len() + 1).saturating_sub(PER_DEVICE_MAX));
            let older: Vec<(u64, Entry)> = same
                .into_iter()
                .filter_map(|handle| hub.channels.remove_entry(&handle))
                .collect();
            if !hub.has_room(nearby) {
                return Err(OpenError::Full);
            }
            hub.next += 1;
            let handle = hub.next;
            let entry = Entry {
                endpoint,
                nearby,
                queue,
                _stop: stop.clone().drop_guard(),
            };
            hub.channels.insert(handle, entry);
            let found = hub.nearby.as_ref().filter(|_| nearby);
            (handle, older, found.map(|nearby| nearby.found.clone()))
        };
        self.ended(older);
        self.tell_count();
        if let Some(found) = found {
            // Who has no room for them finds them no more in this opening.
            let _ = found.try_send(endpoint);
        }
        let carrying = channel::carry(
            Arc::downgrade(self),
            handle,
            channel,
            established,
            queued,
            stop,
        );
        tokio::spawn(carrying);
        Ok(())
    }

    /// Channels are over: so are the connections that had no other way.
    fn ended(&self, closed: Vec<(u64, Entry)>) {
        if closed.is_empty() {
            return;
        }
        let live = self.lock().live.clone();
        for (handle, entry) in closed {
            drop(entry);
            if let Some(live) = &live {
                live.lost(&transport::address(handle));
            }
        }
        self.tell_count();
    }

    /// A channel ended by itself.
    pub(super) fn end(&self, handle: u64) {
        let entry = self.lock().channels.remove_entry(&handle);
        self.ended(entry.into_iter().collect());
    }

    fn tell_count(&self) {
        let now = self.lock().channels.len();
        self.count
            .send_if_modified(|count| std::mem::replace(count, now) != now);
    }

    /// Hands a datagram to the endpoint that its channel leads to.
    pub(super) fn deliver(&self, from: u64, datagram: &[u8]) {
        let mut hub = self.lock();
        let nearby = hub.channels.get(&from).is_some_and(|entry| entry.nearby);
        let door = if nearby {
            &hub.nearby_door
        } else {
            &hub.main_door
        };
        let datagram = Bytes::copy_from_slice(datagram);
        let delivered = door
            .as_ref()
            .is_some_and(|door| door.try_send(Received { from, datagram }).is_ok());
        hub.counts.dropped += u64::from(!delivered);
    }
}

/// Follows a radio as long as it is attached.
async fn attend(hub: Weak<Inner>, radio: Arc<dyn Radio>, stop: CancellationToken) {
    let (mut state, mut heard, mut arrivals) = (radio.state(), radio.heard(), radio.arrivals());
    // Held by the hub alone, so that it ends with it.
    drop(radio);
    let mut task = Task::State;
    loop {
        let Some(inner) = hub.upgrade() else { return };
        match task {
            Task::State => {
                let now = state.borrow_and_update().clone();
                let changed = |known: &mut State| std::mem::replace(known, now.clone()) != now;
                inner.status.send_if_modified(changed);
            }
            // Who announces faster than we look is heard again.
            Task::Heard(one) => drop(inner.heard.try_send(one)),
            Task::Arrived(channel) => drop(tokio::spawn(inner.greet(channel))),
        }
        task = tokio::select! {
            () = stop.cancelled() => return,
            changed = state.changed() => match changed {
                Ok(()) => Task::State,
                Err(_) => return,
            },
            one = next(&mut heard) => Task::Heard(one),
            channel = next(&mut arrivals) => Task::Arrived(channel),
        };
    }
}

enum Task {
    State,
    Heard(Heard),
    Arrived(Arc<dyn Channel>),
}

/// The next one; waits for ever where none can come.
async fn next<T>(receiver: &mut Option<mpsc::Receiver<T>>) -> T {
    if let Some(one) = receiver {
        match one.recv().await {
            Some(one) => return one,
            None => *receiver = None,
        }
    }
    std::future::pending().await
}
