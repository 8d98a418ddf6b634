//! What the parts of a running node share.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicBool},
};

use links::{Admission, Arrival, CloseCode, EndpointSecret, Links, Reach, TemporaryEndpoint};
use proto::{
    DeviceId, EndpointId, IdentityId, Millis, SpaceId,
    audience::{Clearance, ContactFacts, clear},
    card::PairSecret,
    frame::{OfferFrame, Whereabouts},
    space::SpaceKind,
    verify::Reject,
};
use store::{ContactDevice, MetEnd, Snapshot, Store};
use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    adding::Waiting,
    beacons,
    bluetooth::{Bluetooth, EAGER},
    choices::InUse,
    clock,
    config::{Config, Internet},
    error::{Error, Result},
    event::EventKind,
    events::{About, Events},
    files::Keys,
    introductions::Introductions,
    lan::Lan,
    letters::Letters,
    meeting::{Agreed, Meeting},
    nearby::Nearby,
    records::{self, Contact, ContactState},
    supervisor::{self, Supervisor},
    turns::Turns,
    view::Exchanged,
};

/// Errors of contacts that are remembered for their pages.
const ERRORS_MAX: usize = 1_000;

/// Bytes that wait for the disk over all meetings, and a frame for each: a quarter of a second of a
/// slow disk, and as much as two meetings at full speed have. It is the disk that makes room again,
/// so nobody can keep it.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Frontiers of peers that are remembered over all meetings, some 250 bytes each: one space of the
/// largest size and some. Above it the meeting with the most of them ends.
const CLAIMS_MAX: usize = proto::session::THEIRS_MAX + 32 * 1024;

/// Everything that the tasks of a node share. No lock is held over an await.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) events: Events,
    pub(crate) admission: Admission,
    pub(crate) turns: Turns,
    pub(crate) lan: Lan,
    pub(crate) bluetooth: Bluetooth,
    pub(crate) nearby: Nearby,
    pub(crate) introductions: Introductions,
    pub(crate) letters: Letters,
    /// Messages were read here.
    pub(crate) was_read: Notify,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    keys: RwLock<Option<Keys>>,
    links: RwLock<Option<Links>>,
    opened_for: Mutex<Option<InUse>>,
    meetings: Mutex<BTreeMap<EndpointId, Arc<Meeting>>>,
    supervisors: Mutex<BTreeMap<IdentityId, Supervisor>>,
    errors: Mutex<BTreeMap<IdentityId, String>>,
    exchanged: Mutex<BTreeMap<IdentityId, Exchanged>>,
    rejected: Mutex<BTreeMap<&'static str, u64>>,
    /// A check-up runs.
    pub(crate) examining: AtomicBool,
    pub(crate) waiting: Mutex<BTreeMap<IdentityId, Waiting>>,
    pub(crate) temporary: Mutex<BTreeMap<String, TemporaryEndpoint>>,
}

/// What the audience rule says about one contact, and what a meeting with them starts from.
pub(crate) struct Audience {
    pub(crate) clearances: Vec<(Clearance, SpaceKind)>,
    pub(crate) rev: u64,
    pub(crate) seen_rev: u64,
    pub(crate) offers: Vec<OfferFrame>,
    /// How we are found, where they don't know it.
    pub(crate) whereabouts: Whereabouts,
    pub(crate) secret: PairSecret,
    contact: Contact,
}

impl Audience {
    /// Spaces found common at the last meeting with a device.
    pub(crate) fn agreed_with(&self, endpoint: EndpointId) -> Agreed {
        self.device_at(endpoint)
            .map(|device| device.agreed.clone())
            .unwrap_or_default()
    }

    /// A device of the contact, with where it was last.
    pub(crate) fn device_at(&self, endpoint: EndpointId) -> Option<&ContactDevice> {
        let mut devices = self.contact.devices.values();
        devices.find(|device| device.endpoint == endpoint)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    pub(crate) fn new(
        config: Config,
        store: Store,
        events: Events,
        keys: Option<Keys>,
        letters: Letters,
    ) -> Self {
        Self {
            config,
            store,
            events,
            admission: Admission::new(),
            turns: Turns::default(),
            lan: Lan::default(),
            bluetooth: Bluetooth::default(),
            nearby: Nearby::default(),
            introductions: Introductions::default(),
            letters,
            was_read: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            keys: RwLock::new(keys),
            links: RwLock::new(None),
            opened_for: Mutex::default(),
            meetings: Mutex::default(),
            supervisors: Mutex::default(),
            errors: Mutex::default(),
            exchanged: Mutex::default(),
            rejected: Mutex::default(),
            examining: AtomicBool::new(false),
            waiting: Mutex::default(),
            temporary: Mutex::default(),
        }
    }

    pub(crate) fn keys(&self) -> Option<Keys> {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_keys(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }

    /// The keys, or that the node isn't set up.
    pub(crate) fn ready(&self) -> Result<Keys> {
        self.keys().ok_or(Error::NotSetUp)
    }

    pub(crate) fn links(&self) -> Option<Links> {
        self.links
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn data_dir(&self) -> &PathBuf {
        &self.config.data_dir
    }

    /// The links for which the endpoint was opened.
    pub(crate) fn opened_for(&self) -> Option<InUse> {
        *lock(&self.opened_for)
    }

    /// Opens the endpoint as the settings say, closing the one before it.
    pub(crate) async fn open_links(self: &Arc<Self>, seed: &[u8; 32]) -> Result<()> {
        let before = self
            .links
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(links) = before {
            links.shutdown().await;
        }
        let (bind, in_use) = {
            let snapshot = self.store.read()?;
            let bind = records::bind_addrs(&snapshot, &self.config.links.bind)?;
            (bind, self.in_use(&snapshot)?)
        };
        let config = links::Config {
            secret: EndpointSecret::from_bytes(*seed),
            bind,
            reach: Reach {
                internet: match in_use.internet {
                    Internet::Off => links::Internet::Off,
                    Internet::Direct => links::Internet::Direct,
                    Internet::Relay => links::Internet::Relay,
                },
                lan: in_use.lan,
            },
            relays: self.config.links.relays.clone(),
            relay_ca: self.config.links.relay_ca.clone(),
            bluetooth: Some(self.bluetooth.hub().clone()),
        };
        let opened = Links::bind(config, self.admission.clone()).await;
        let (links, arrivals) = opened.map_err(|error| Error::Links {
            detail: error.to_string(),
        })?;
        *lock(&self.opened_for) = Some(in_use);
        let bound = links.bound();
        self.store
            .write(move |txn| records::remember_bound(txn, &bound))
            .await?;
        self.tasks
            .spawn(follow_relay(self.clone(), links.watch_relay()));
        *self.links.write().unwrap_or_else(PoisonError::into_inner) = Some(links);
        self.tasks.spawn(accept(self.clone(), arrivals));
        self.bluetooth.changed();
        self.wake_all();
        Ok(())
    }

    // Meetings and presence.

    pub(crate) fn meetings(&self) -> MutexGuard<'_, BTreeMap<EndpointId, Arc<Meeting>>> {
        lock(&self.meetings)
    }

    pub(crate) fn meetings_of(&self, contact: IdentityId) -> Vec<Arc<Meeting>> {
        self.meetings()
            .values()
            .filter(|meeting| meeting.contact == contact)
            .cloned()
            .collect()
    }

    /// Meetings with a contact in which the other side answered: they are online.
    pub(crate) fn online_meetings(&self, contact: IdentityId) -> Vec<Arc<Meeting>> {
        let mut meetings = self.meetings_of(contact);
        meetings.retain(|meeting| meeting.is_online());
        meetings
    }

    /// The other side answered.
    pub(crate) fn meeting_began(self: &Arc<Self>, meeting: &Arc<Meeting>) {
        lock(&self.errors).remove(&meeting.contact);
        self.events
            .emit(EventKind::Presence, about_contact(meeting.contact));
        let (inner, meeting) = (self.clone(), meeting.clone());
        self.tasks
            .spawn(async move { inner.note_met(&meeting, clock::now(), None).await });
    }

    pub(crate) async fn meeting_ended(&self, meeting: &Arc<Meeting>, end: MetEnd, redial: bool) {
        {
            let mut meetings = self.meetings();
            if meetings
                .get(&meeting.endpoint)
                .is_some_and(|current| Arc::ptr_eq(current, meeting))
            {
                meetings.remove(&meeting.endpoint);
            }
        }
        {
            let sum = &mut *lock(&self.exchanged);
            let of_contact = sum.entry(meeting.contact).or_default();
            *of_contact = add(*of_contact, meeting.exchanged());
        }
        // A connection that was refused or never spoke is no meeting: the backoff goes on.
        if meeting.is_confirmed() {
            if end == MetEnd::Lost
                && let Some(links) = self.links()
            {
                self.bluetooth.met_last(links.id(), meeting.endpoint);
                self.bluetooth.expect(EAGER);
            }
            self.note_met(meeting, clock::now(), Some(end)).await;
            self.events
                .emit(EventKind::Presence, about_contact(meeting.contact));
            if redial {
                self.wake(meeting.contact);
            }
            // Others may carry what was written for them.
            self.tell_letters();
        } else if meeting.is_online() {
            self.events
                .emit(EventKind::Presence, about_contact(meeting.contact));
        }
    }

    /// Remembers when, over what and where a contact's device was met, and the whole meeting where
    /// it ended: in one transaction, which a running meeting's end shares with others'.
    pub(crate) async fn note_met(&self, meeting: &Meeting, now: Millis, end: Option<MetEnd>) {
        let (contact, endpoint, kind, addr) = (
            meeting.contact,
            meeting.endpoint,
            meeting.link_kind(),
            meeting.addr(),
        );
        let met = end.map(|end| records::met(meeting, now, end));
        let noted = self
            .store
            .write(move |txn| {
                let known = records::note_meeting(txn, contact, endpoint, now, kind, addr)?;
                // Who was removed meanwhile leaves no trace.
                match met.filter(|_| known) {
                    Some(met) => txn.note_met(&met),
                    None => Ok(()),
                }
            })
            .await;
        if let Err(error) = noted {
            tracing::warn!(%error, "could not note when a contact was met");
        }
        self.contacts_changed();
    }

    /// What went to and fro with a contact since the start of the program.
    pub(crate) fn exchanged_with(&self, contact: IdentityId) -> Exchanged {
        let past = lock(&self.exchanged)
            .get(&contact)
            .copied()
            .unwrap_or_default();
        self.meetings_of(contact)
            .iter()
            .fold(past, |sum, meeting| add(sum, meeting.exchanged()))
    }

    pub(crate) fn note_error(&self, contact: IdentityId, error: &str) {
        let mut errors = lock(&self.errors);
        if errors.len() < ERRORS_MAX || errors.contains_key(&contact) {
            errors.insert(contact, error.to_owned());
        }
    }

    pub(crate) fn forget_error(&self, contact: IdentityId) {
        lock(&self.errors).remove(&contact);
    }

    pub(crate) fn last_error(&self, contact: IdentityId) -> Option<String> {
        lock(&self.errors).get(&contact).cloned()
    }

    pub(crate) fn count_rejected(&self, reject: &Reject) {
        *lock(&self.rejected).entry(reject.name()).or_default() += 1;
    }

    /// Something of a feed changed: every meeting but the one that brought it is told.
    pub(crate) fn tell_meetings(
        &self,
        space: SpaceId,
        device: DeviceId,
        from: u64,
        except: Option<EndpointId>,
    ) {
        for meeting in self
            .meetings()
            .values()
            .filter(|meeting| Some(meeting.endpoint) != except)
        {
            meeting.notices.feed(space, device, from);
        }
    }

    /// What contacts may have has changed.
    pub(crate) fn tell_audience(&self) {
        for meeting in self.meetings().values() {
            meeting.notices.audience();
        }
    }

    /// What these contacts may have has changed.
    pub(crate) fn tell_audience_of(&self, contacts: &BTreeSet<IdentityId>) {
        let meetings = self.meetings();
        let theirs = meetings.values();
        for meeting in theirs.filter(|meeting| contacts.contains(&meeting.contact)) {
            meeting.notices.audience();
        }
    }

    pub(crate) fn tell_sync(&self, contact: IdentityId) {
        self.events.emit(EventKind::Sync, about_contact(contact));
    }

    // What all meetings together may take.

    /// Whether more may be read from peers: the disk keeps up with what came.
    pub(crate) fn has_waiting_room(&self) -> bool {
        let waiting: usize = self.meetings().values().map(|one| one.share().0).sum();
        waiting < WAITING_BYTES_MAX
    }

    /// Ends the meeting whose peer claims most, where all together claim too much. It isn't let in
    /// again at once: what it claimed would only come again.
    pub(crate) fn shed_claims(&self) {
        let meetings = self.meetings();
        let claims = || meetings.values().map(|one| one.share().1);
        if claims().sum::<usize>() <= CLAIMS_MAX {
            return;
        }
        if let Some(largest) = meetings.values().max_by_key(|one| one.share().1) {
            tracing::debug!(contact = ?largest.contact, "a meeting ends: its peer told of too many feeds at once");
            if largest.notices.end(CloseCode::Busy) {
                self.turns.bar(largest.contact, tokio::time::Instant::now());
            }
        }
    }

    // Contacts.

    /// Contacts, their addresses or keys have changed.
    pub(crate) fn contacts_changed(&self) {
        self.lan.contacts_changed();
        self.bluetooth.changed();
    }

    /// Permits a contact's devices and starts their supervisor.
    pub(crate) fn begin_contact(self: &Arc<Self>, contact: IdentityId, endpoints: &[EndpointId]) {
        for endpoint in endpoints {
            self.admission.permit(*endpoint);
        }
        self.contacts_changed();
        let mut supervisors = lock(&self.supervisors);
        if let Some(running) = supervisors.get(&contact) {
            running.wake();
            return;
        }
        supervisors.insert(contact, Supervisor::start(self, contact));
    }

    /// Cuts a contact: nothing of theirs gets in from now on, and what is open ends.
    pub(crate) fn end_contact(&self, contact: IdentityId, endpoints: &[EndpointId]) {
        for endpoint in endpoints {
            self.admission.revoke(*endpoint);
        }
        if let Some(supervisor) = lock(&self.supervisors).remove(&contact) {
            supervisor.stop();
        }
        for meeting in self.meetings_of(contact) {
            meeting.notices.end(CloseCode::Refused);
        }
        if let Some(links) = self.links() {
            for endpoint in endpoints {
                links.cut(*endpoint);
            }
        }
        self.lan.forget(endpoints);
        self.bluetooth.forget(endpoints);
        self.introductions.wake();
        lock(&self.errors).remove(&contact);
        lock(&self.exchanged).remove(&contact);
    }

    pub(crate) fn wake(&self, contact: IdentityId) {
        if let Some(supervisor) = lock(&self.supervisors).get(&contact) {
            supervisor.wake();
        }
    }

    /// Dials a contact although a meeting stands: an address has changed, and the connection would
    /// find that out only by its silence. The newer one takes its place.
    pub(crate) fn redial(self: &Arc<Self>, contact: IdentityId) {
        if let Some(supervisor) = lock(&self.supervisors).get(&contact) {
            supervisor.redial(self, contact);
        }
    }

    pub(crate) fn wake_all(&self) {
        for supervisor in lock(&self.supervisors).values() {
            supervisor.wake();
        }
    }

    /// Devices of a contact, with where they were last.
    pub(crate) fn devices_of(
        &self,
        snapshot: &Snapshot,
        contact: IdentityId,
    ) -> Result<Vec<ContactDevice>> {
        let contact = snapshot.contact(&contact)?;
        let devices = contact.map(|contact| contact.devices).unwrap_or_default();
        Ok(devices.into_values().collect())
    }

    /// The supervisor of a contact.
    pub(crate) fn supervisor(&self, contact: IdentityId) -> Option<Supervisor> {
        lock(&self.supervisors).get(&contact).cloned()
    }

    /// The audience rule for one contact over all spaces; `None` where they are no contact.
    pub(crate) fn audience_of(
        &self,
        snapshot: &Snapshot,
        id: IdentityId,
    ) -> Result<Option<Audience>, store::Error> {
        let own = self.keys().map(|keys| keys.identity.id()).unwrap_or(id);
        audience_of(snapshot, own, id)
    }
}

/// See [`Inner::audience_of`].
pub(crate) fn audience_of(
    snapshot: &Snapshot,
    own: IdentityId,
    id: IdentityId,
) -> Result<Option<Audience>, store::Error> {
    let Some(contact) = snapshot
        .contact(&id)?
        .filter(|contact| contact.state == ContactState::Ready)
    else {
        return Ok(None);
    };
    let Some(secret) = contact.pair_secret.clone() else {
        return Ok(None);
    };
    let mut clearances = Vec::new();
    let exclusions = snapshot.exclusions()?;
    for space in snapshot.space_facts(own)? {
        let member = space.kind == SpaceKind::Circle && snapshot.is_in_circle(space.id, id)?;
        let facts_of = ContactFacts {
            identity: id,
            ready: true,
            excluded: exclusions.contains(&(space.id, id)),
            member,
        };
        clearances.extend(clear(&space, &facts_of).map(|clearance| (clearance, space.kind)));
    }
    let offers = records::unseen_offers_to(snapshot, id, contact.acked_rev)?;
    let whereabouts = beacons::owed(snapshot, id, contact.acked_rev)?;
    Ok(Some(Audience {
        clearances,
        rev: contact.my_rev,
        seen_rev: contact.seen_rev,
        offers,
        whereabouts,
        secret,
        contact,
    }))
}

pub(crate) fn about_contact(contact: IdentityId) -> About {
    About {
        subject: Some(contact.to_string()),
        contact: Some(contact),
        ..About::default()
    }
}

const fn add(one: Exchanged, other: Exchanged) -> Exchanged {
    Exchanged {
        entries_in: one.entries_in + other.entries_in,
        entries_out: one.entries_out + other.entries_out,
        bytes_in: one.bytes_in + other.bytes_in,
        bytes_out: one.bytes_out + other.bytes_out,
    }
}

/// Calls those who weren't reached when a relay answers again, until the endpoint closes.
async fn follow_relay(inner: Arc<Inner>, mut relay: links::RelayWatch) {
    let mut before = false;
    while let Some(connected) = relay.changed().await {
        if connected && let Err(error) = tell_relay(&inner).await {
            tracing::warn!(%error, "contacts can't be told of another relay");
        }
        if connected != before {
            inner.events.emit(EventKind::Presence, About::default());
        }
        if connected && !before {
            inner.wake_all();
        }
        before = connected;
    }
}

/// Contacts are to hear of the relay that leads to us, where it is another than they were told.
async fn tell_relay(inner: &Inner) -> Result<()> {
    let relay = inner.links().and_then(|links| links.relay());
    let (Some(relay), Some(_)) = (relay, inner.keys()) else {
        return Ok(());
    };
    if beacons::relay(&inner.store.read()?)?.as_ref() == Some(&relay) {
        return Ok(());
    }
    inner
        .store
        .write(move |txn| beacons::use_relay(txn, &relay))
        .await?;
    inner.tell_audience();
    Ok(())
}

/// Takes what the endpoint admitted, until it closes.
async fn accept(inner: Arc<Inner>, mut arrivals: mpsc::Receiver<Arrival>) {
    while let Some(arrival) = arrivals.recv().await {
        match arrival {
            Arrival::Meet(conn) => {
                inner
                    .tasks
                    .spawn(crate::adding::welcome(inner.clone(), conn));
            }
            Arrival::Sync(conn) => {
                let contact = inner
                    .store
                    .read()
                    .and_then(|snapshot| snapshot.contact_at(conn.remote()));
                match contact {
                    Ok(Some(contact)) => {
                        let inner = inner.clone();
                        let stop = inner.stop.child_token();
                        inner.clone().tasks.spawn(async move {
                            supervisor::hold(inner, contact, conn, &stop).await
                        });
                    }
                    Ok(None) => conn.close(CloseCode::Refused, ""),
                    Err(error) => {
                        tracing::warn!(%error, "could not look up who connects");
                        conn.close(CloseCode::Busy, "");
                    }
                }
            }
        }
    }
}
