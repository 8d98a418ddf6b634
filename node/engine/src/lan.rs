//! Contacts on the local network: our beacon, theirs, and whose packets are answered there.
//!
//! One task announces a beacon with a fresh nonce every quarter of an hour and whenever the own
//! addresses change, and dials whoever it recognises. On a local network only those are answered
//! who were recognised lately or were met at that address; others see no sign of a node, see
//! [`links::Admission::set_neighbours`]. A node that is bound to loopback only has no network to
//! search, and sends nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use links::{Announcement, Family, PathKind, Porch, Sighting, address};
use proto::{
    EndpointId, IdentityId, Millis,
    beacon::{Beacon, BeaconKey, NONCE_BYTES, PERIOD_MS, Recognised, Recogniser},
    limits::ADDRS_MAX,
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

use crate::{beacons, files, inner::Inner, meeting::Meeting, view::LinkKind};

/// A beacon of the period before is still good while its sender may be announcing the next.
const FRESH: Duration = Duration::from_millis(2 * PERIOD_MS);
/// Between two looks at the own addresses, which follow the system's news of them.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two tries to begin where the local network can't be searched.
const RETRY_EVERY: Duration = Duration::from_secs(30);
/// Until the search begins anew, with nothing held, after others announced too much.
const AFTER_FLOOD: Duration = Duration::from_secs(10);
/// What happened then.
const FLOODED: &str = "somebody on the local network announces more than can be held: contacts are \
    found only from time to time, and where they were before";
/// The same trouble is written into the log once in this time.
const LOGGED_EVERY: Duration = Duration::from_secs(60 * 60);
/// Sightings that wait for the next second because too many came within this one.
const LATER_MAX: usize = 256;

type Device = (IdentityId, EndpointId);

/// What the node knows of the local network.
#[derive(Debug, Default)]
pub(crate) struct Lan {
    changed: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By device and family: each family has its own port, so its own beacon.
    heard: BTreeMap<(EndpointId, Family), Heard>,
    searching: bool,
    trouble: Option<String>,
    /// Where others knock, and we at theirs.
    porch: Option<Arc<Porch>>,
}

#[derive(Debug)]
struct Heard {
    addrs: Vec<SocketAddr>,
    at: Instant,
}

impl State {
    fn addrs_in(&self, device: EndpointId, family: Family) -> Vec<SocketAddr> {
        let heard = self.heard.get(&(device, family));
        let fresh = heard.filter(|heard| heard.is_fresh());
        fresh.map(|heard| heard.addrs.clone()).unwrap_or_default()
    }
}

impl Heard {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < FRESH
    }
}

/// How the search of the local network goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Search {
    /// There is no network to search.
    Idle,
    /// Our beacon is there, and we listen: so many contacts' devices were heard lately.
    Running(usize),
    /// It can't be searched.
    Failing(String),
}

impl Lan {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Contacts, their addresses or keys have changed.
    pub(crate) fn contacts_changed(&self) {
        self.changed.notify_one();
    }

    /// Where a device's beacon was heard lately.
    pub(crate) fn addrs_of(&self, endpoint: EndpointId) -> Vec<SocketAddr> {
        let state = self.lock();
        let of_device = state
            .heard
            .range((endpoint, Family::V4)..=(endpoint, Family::V6));
        let fresh = of_device.filter(|(_, heard)| heard.is_fresh());
        let mut addrs: Vec<SocketAddr> = fresh
            .flat_map(|(_, heard)| heard.addrs.iter().copied())
            .collect();
        // A link-local address names its interface, which gets lost on the way back: it is the
        // last resort.
        let last_resort = |addr: &SocketAddr| matches!(addr, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local());
        if !addrs.iter().all(last_resort) {
            addrs.retain(|addr| !last_resort(addr));
        }
        addrs
    }

    pub(crate) fn search(&self) -> Search {
        let state = self.lock();
        if let Some(trouble) = &state.trouble {
            return Search::Failing(trouble.clone());
        }
        if !state.searching {
            return Search::Idle;
        }
        let fresh = state.heard.iter().filter(|(_, heard)| heard.is_fresh());
        let devices: BTreeSet<EndpointId> = fresh.map(|((device, _), _)| *device).collect();
        Search::Running(devices.len())
    }

    fn note(&self, device: EndpointId, addrs: Vec<SocketAddr>) {
        let at = Instant::now();
        let mut state = self.lock();
        state.heard.retain(|_, heard| heard.is_fresh());
        if let Some(first) = addrs.first() {
            let family = Family::of(first.ip());
            state.heard.insert((device, family), Heard { addrs, at });
        }
    }

    /// A device is at an address too, beside where it was heard.
    fn note_at(&self, device: EndpointId, addr: SocketAddr) {
        let mut addrs: Vec<SocketAddr> = self.lock().addrs_in(device, Family::of(addr.ip()));
        addrs.retain(|known| *known != addr);
        addrs.insert(0, addr);
        addrs.truncate(ADDRS_MAX);
        self.note(device, addrs);
    }

    /// Lets whoever is at these addresses know that it is us who will dial.
    pub(crate) fn knock(&self, addrs: &[SocketAddr], key: Option<BeaconKey>) {
        let porch = self.lock().porch.clone();
        let (Some(porch), Some(key)) = (porch, key) else {
            return;
        };
        for addr in addrs {
            porch.knock(*addr, || fresh_beacon(&key));
        }
    }

    /// What to dial for these addresses: link-local ones lead through our own machine.
    pub(crate) fn ways(&self, addrs: &[SocketAddr]) -> Vec<SocketAddr> {
        match self.lock().porch.clone() {
            Some(porch) => addrs.iter().filter_map(|addr| porch.way(*addr)).collect(),
            None => addrs.to_vec(),
        }
    }

    /// Nothing is known any more of where these devices are.
    pub(crate) fn forget(&self, devices: &[EndpointId]) {
        let mut state = self.lock();
        state
            .heard
            .retain(|(device, _), _| !devices.contains(device));
    }

    fn heard_ips(&self) -> Vec<IpAddr> {
        let state = self.lock();
        let heard = state.heard.values();
        let fresh = heard.filter(|heard| heard.is_fresh());
        fresh
            .flat_map(|heard| &heard.addrs)
            .map(SocketAddr::ip)
            .collect()
    }
}

/// Runs until the node stops.
pub(crate) async fn attend(inner: Arc<Inner>) {
    // Whom to answer has to be known also where nothing is searched.
    answer_neighbours(&inner);
    let mut trouble = Trouble::default();
    loop {
        let opened = match wanted(&inner) {
            None => Ok(None),
            Some(_) => links::Lan::open().map(Some),
        };
        let wait = match opened {
            Ok(None) => LOOK_EVERY,
            Ok(Some((lan, sightings))) => {
                {
                    let mut state = inner.lan.lock();
                    (state.searching, state.trouble) = (true, None);
                }
                let mut search = Searching::new(inner.clone(), lan);
                let ended = search.run(sightings).await;
                {
                    let mut state = inner.lan.lock();
                    (state.searching, state.porch) = (false, None);
                }
                match ended {
                    Ended::Stopped => return,
                    Ended::Nowhere => LOOK_EVERY,
                    Ended::Flooded => {
                        drop(search);
                        trouble.tell(&inner, FLOODED);
                        AFTER_FLOOD
                    }
                    Ended::Failed(error) => {
                        trouble.tell(&inner, &error);
                        RETRY_EVERY
                    }
                }
            }
            Err(error) => {
                trouble.tell(&inner, &error.to_string());
                RETRY_EVERY
            }
        };
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = inner.lan.changed.notified() => answer_neighbours(&inner),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What keeps the search from running, told once for a while.
#[derive(Default)]
struct Trouble {
    logged: Option<(String, Instant)>,
}

impl Trouble {
    fn tell(&mut self, inner: &Inner, text: &str) {
        inner.lan.lock().trouble = Some(text.to_owned());
        let known = self
            .logged
            .as_ref()
            .is_some_and(|(known, at)| known == text && at.elapsed() < LOGGED_EVERY);
        if !known {
            tracing::warn!("{text}");
            self.logged = Some((text.to_owned(), Instant::now()));
        }
    }
}

/// By which families and ports the node can be reached on a local network, and at which addresses;
/// `None` where it isn't set up, is bound to loopback only, or the person doesn't want it.
fn wanted(inner: &Inner) -> Option<(BTreeMap<Family, u16>, BTreeSet<SocketAddr>)> {
    inner.keys()?;
    let snapshot = inner.store.read().ok()?;
    if !inner.in_use(&snapshot).is_ok_and(|links| links.lan) {
        return None;
    }
    let links = inner.links()?;
    let mut ports = BTreeMap::new();
    for addr in links.bound() {
        if address::kind(addr.ip()) != PathKind::Loopback {
            ports.entry(Family::of(addr.ip())).or_insert(addr.port());
        }
    }
    let is_local = |addr: &SocketAddr| address::kind(addr.ip()) == PathKind::Lan;
    let addrs = links.addrs().into_iter().filter(is_local).collect();
    (!ports.is_empty()).then_some((ports, addrs))
}

fn fresh_beacon(key: &BeaconKey) -> Beacon {
    let mut nonce = [0; NONCE_BYTES];
    files::fill_random(&mut nonce);
    key.beacon(nonce)
}

enum Ended {
    Stopped,
    Nowhere,
    /// Too much was announced by others.
    Flooded,
    Failed(String),
}

/// How a beacon came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To all, with every address of its sender.
    Announced,
    /// To us, from one address.
    Knocked,
}

/// The search while it runs.
struct Searching {
    inner: Arc<Inner>,
    lan: links::Lan,
    recogniser: Recogniser<Device>,
    /// What is announced: under which key, for which addresses.
    announced: Option<(BeaconKey, BTreeSet<SocketAddr>)>,
    /// When the next nonce is due.
    due: Instant,
    later: VecDeque<(Sighting, Way)>,
    began: Instant,
}

impl Searching {
    fn new(inner: Arc<Inner>, lan: links::Lan) -> Self {
        let now = Instant::now();
        Self {
            inner,
            lan,
            recogniser: Recogniser::default(),
            announced: None,
            due: now,
            later: VecDeque::new(),
            began: now,
        }
    }

    async fn run(&mut self, mut sightings: mpsc::Receiver<Sighting>) -> Ended {
        let inner = self.inner.clone();
        let Some((porch, mut knocks)) = inner.links().map(|links| links.porch()) else {
            return Ended::Nowhere;
        };
        inner.lan.lock().porch = Some(Arc::new(porch));
        self.learn_keys();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = inner.stop.cancelled() => return Ended::Stopped,
                () = inner.lan.changed.notified() => {
                    self.learn_keys();
                    answer_neighbours(&inner);
                }
                _ = look.tick() => {
                    match self.look().await {
                        Ok(true) => {}
                        Ok(false) => return Ended::Nowhere,
                        Err(error) => return Ended::Failed(error),
                    }
                    for (sighting, way) in std::mem::take(&mut self.later) {
                        self.consider(sighting, way);
                    }
                }
                sighting = sightings.recv() => match sighting {
                    Some(sighting) => self.consider(sighting, Way::Announced),
                    None if self.lan.is_flooded() => return Ended::Flooded,
                    None => return Ended::Failed("the search ended by itself".to_owned()),
                },
                Some(sighting) = knocks.recv() => self.consider(sighting, Way::Knocked),
            }
        }
    }

    fn learn_keys(&mut self) {
        let keys = self.inner.store.read();
        match keys.and_then(|snapshot| beacons::theirs(&snapshot)) {
            Ok(keys) => self.recogniser.set_keys(keys),
            Err(error) => tracing::warn!(%error, "could not read the keys of contacts' beacons"),
        }
    }

    /// Announces anew where that is due; false where there is no network any more.
    async fn look(&mut self) -> Result<bool, String> {
        let Some((ports, addrs)) = wanted(&self.inner) else {
            return Ok(false);
        };
        let key = beacons::own_or_made(&self.inner).await;
        let key = key.map_err(|error| error.to_string())?;
        let current = (key, addrs);
        if Instant::now() < self.due && self.announced.as_ref() == Some(&current) {
            return Ok(true);
        }
        let announcements: Vec<Announcement> = ports
            .into_iter()
            .map(|(family, port)| (fresh_beacon(&current.0), family, port))
            .collect();
        let announced = self.lan.announce(&announcements);
        announced.map_err(|error| error.to_string())?;
        let gone = |before: &BTreeSet<SocketAddr>| !before.is_subset(&current.1);
        if self
            .announced
            .as_ref()
            .is_some_and(|(_, addrs)| gone(addrs))
        {
            // We are the ones who moved: the contacts here are dialled from where we are now.
            self.redial(|_| true);
        }
        self.due = Instant::now() + Duration::from_millis(PERIOD_MS);
        self.announced = Some(current);
        Ok(true)
    }

    fn consider(&mut self, sighting: Sighting, way: Way) {
        // A clock that runs is all that the budget needs.
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match self.recogniser.recognise(&sighting.beacon, Millis(elapsed)) {
            Recognised::Stranger => {}
            Recognised::Busy if self.later.len() < LATER_MAX => {
                self.later.push_back((sighting, way));
            }
            Recognised::Busy => tracing::debug!("a beacon was dropped: too many came"),
            Recognised::Contact((contact, endpoint)) => {
                tracing::debug!(?contact, "a contact's beacon was heard");
                match (way, &sighting.addrs[..]) {
                    (Way::Knocked, [addr]) => self.inner.lan.note_at(endpoint, *addr),
                    _ => self.inner.lan.note(endpoint, sighting.addrs),
                }
                answer_neighbours(&self.inner);
                if self.inner.meetings().contains_key(&endpoint) {
                    let heard = self.inner.lan.addrs_of(endpoint);
                    let there = |ip| heard.iter().any(|addr| addr.ip() == ip);
                    self.redial(|meeting| {
                        meeting.endpoint == endpoint
                            && meeting.addr().is_some_and(|addr| !there(addr.ip()))
                    });
                } else {
                    self.inner.wake(contact);
                    self.inner.introductions.wake();
                }
            }
        }
    }

    /// Dials anew those met on this network whose connection leads nowhere any more.
    fn redial(&self, moved: impl Fn(&Meeting) -> bool) {
        let contacts: BTreeSet<IdentityId> = self
            .inner
            .meetings()
            .values()
            .filter(|meeting| meeting.link_kind() == Some(LinkKind::Lan) && moved(meeting))
            .map(|meeting| meeting.contact)
            .collect();
        for contact in contacts {
            self.inner.redial(contact);
        }
    }
}

/// The person says where a contact is. They are dialled there now and for the next half an hour, as
/// if their beacon had been heard.
pub(crate) fn told(
    inner: &Arc<Inner>,
    contact: IdentityId,
    devices: &[EndpointId],
    addrs: &[SocketAddr],
) {
    for device in devices {
        for addr in addrs {
            inner.lan.note_at(*device, *addr);
        }
    }
    answer_neighbours(inner);
    inner.wake(contact);
}

/// On local networks those are answered whose beacon was heard lately, and whoever comes from an
/// address where a contact was met.
fn answer_neighbours(inner: &Inner) {
    let contacts = inner.store.read().and_then(|snapshot| snapshot.contacts());
    let contacts = match contacts {
        Ok(contacts) => contacts,
        Err(error) => {
            tracing::warn!(%error, "could not read where contacts were met");
            return;
        }
    };
    let devices = contacts.iter().flat_map(|(_, row)| row.devices.values());
    let met = devices.flat_map(|device| device.addrs.iter().map(SocketAddr::ip));
    let ips: HashSet<IpAddr> = met.chain(inner.lan.heard_ips()).collect();
    inner.admission.set_neighbours(ips);
}
