//! Meeting somebody nearby: a temporary endpoint that is there while the person asks for it, who
//! comes to it or is seen, and what the person says of their words.
//!
//! What two devices say to each other is [`proto::nearby`]'s. How they see each other is the
//! transport's, which calls [`saw`] and hands over connections: local networks here, Bluetooth in
//! `air`; what follows is in `talk`. Who is seen by both has one temporary endpoint, and stands once.
//! Nothing of the device that lasts is shown here, and its own endpoint stays as closed as it was.

mod air;
mod talk;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use self::air::{heard, salt};

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use links::{
    Arrival, CloseCode, Connection, EndpointSecret, Family, PathKind, Seen, TemporaryEndpoint,
    address,
};
use proto::{
    EndpointId, IdentityId, Millis,
    keys::EndpointKey,
    limits::ADDRS_MAX,
    nearby::{Announced, SALT_BYTES},
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    error::{Error, Result, invalid},
    event::EventKind,
    events::About,
    files,
    inner::Inner,
    view,
};

use self::{air::Air, talk::converse};

/// How long one is visible, in seconds, unless it is asked for less.
pub(crate) const OPEN_S: u64 = 120;
/// People that are listed in one opening, those who came twice counted twice: more than anybody
/// compares words with.
const PEOPLE_MAX: usize = 16;
/// Connections in one opening that didn't come to words. Who dials knows the words before it opens,
/// and could break off until words of two victims are the same: these and the listed ones are all
/// the tries that there are.
const UNOPENED_MAX: usize = 8;
/// Connections with one device in one opening: a Wi-Fi that fails once or twice.
const SESSIONS_PER_REMOTE_MAX: usize = 3;
/// Devices that are dialled in one opening. A flood of invented ones ends here.
const SEEN_MAX: usize = 64;
/// Between two tries to dial somebody who was seen; it doubles up to the second, until there is news.
const DIAL_AGAIN: Duration = Duration::from_secs(1);
const DIAL_AGAIN_MAX: Duration = Duration::from_secs(8);
/// How long it may take from a connection to the words.
const GREETING_WAIT: Duration = Duration::from_secs(10);
/// How long it may take from both people's yes to the contact.
const EXCHANGE_WAIT: Duration = Duration::from_secs(10);
/// Decisions that wait to be taken: a yes, and a no after it.
const SAID_MAX: usize = 2;
/// The label of the keying material that a session takes from its connection.
const EXPORTER_LABEL: &[u8] = b"waymeet/nearby/1";

/// What the node knows of meeting nearby.
#[derive(Default)]
pub(crate) struct Nearby {
    state: Mutex<State>,
    /// Held while it is being opened, so that two clicks open it once.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    opening: Option<Arc<Opening>>,
    /// Of this opening, or of the last.
    people: Vec<Person>,
    crowded: bool,
}

/// One time that it is open.
struct Opening {
    until: Millis,
    stop: CancellationToken,
    local: EndpointId,
    key: EndpointKey,
    endpoint: Mutex<Option<TemporaryEndpoint>>,
    tally: Mutex<Tally>,
    /// Where Bluetooth is used: what is announced, and who was heard.
    air: Option<Air>,
}

#[derive(Default)]
struct Tally {
    begun: usize,
    compared: usize,
    of: BTreeMap<EndpointId, Tries>,
}

#[derive(Default)]
struct Tries {
    begun: usize,
    live: bool,
    dialled: bool,
    /// Where the device was seen; each address family tells of its own.
    addrs: BTreeSet<SocketAddr>,
    /// There is one more address.
    news: Arc<Notify>,
}

impl Tries {
    /// Where to dial. A link-local address of IPv6 names its interface, which the transport loses on
    /// the way back; and it stays with such a one when a better one comes, so it is never tried.
    fn targets(&self) -> Vec<SocketAddr> {
        let leads_nowhere = |addr: &&SocketAddr| matches!(addr, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local());
        let addrs = self.addrs.iter().filter(|addr| !leads_nowhere(addr));
        addrs.copied().collect()
    }
}

struct Person {
    id: String,
    name: String,
    remote: EndpointId,
    words: [&'static str; 3],
    stage: Stage,
    say: mpsc::Sender<bool>,
}

#[derive(Debug, Clone)]
enum Stage {
    Comparing {
        we_accept: bool,
        they_accept: bool,
    },
    Done {
        contact: IdentityId,
        known: bool,
        confirmed: bool,
    },
    Ended(String),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Nearby {
    fn opening(&self) -> Option<Arc<Opening>> {
        lock(&self.state).opening.clone()
    }
}

// What the person does.

/// Opens it for so many seconds; where it is open nothing changes.
pub(crate) async fn open(inner: &Arc<Inner>, seconds: Option<u64>) -> Result<()> {
    inner.ready()?;
    let seconds = seconds.unwrap_or(OPEN_S);
    if !(1..=OPEN_S).contains(&seconds) {
        return Err(invalid(
            "seconds",
            &format!("expected 1 to {OPEN_S}, found {seconds}"),
        ));
    }
    let _turn = inner.nearby.turn.lock().await;
    if inner.nearby.opening().is_some() {
        return Ok(());
    }
    let (by_lan, by_air) = {
        let snapshot = inner.store.read()?;
        (
            inner.in_use(&snapshot)?.lan,
            inner.bluetooth_in_use(&snapshot)?,
        )
    };
    if !by_lan && !by_air {
        return Err(Error::Conflict {
            detail:
                "local networks and bluetooth are off: switch one of them on at Links to meet people nearby"
                    .into(),
        });
    }
    let closed = |detail: String| Error::Links { detail };
    let links = inner.links().ok_or_else(|| closed("they are off".into()))?;
    let seed = files::endpoint_seed(inner.data_dir()).map_err(|error| Error::Folder {
        detail: error.to_string(),
    })?;
    let secret = EndpointSecret::from_bytes(*files::random_seed());
    let opened = links.open_nearby(secret).await;
    let (endpoint, arrivals) = opened.map_err(|error| closed(error.to_string()))?;
    let announced = if by_lan {
        announced(&endpoint)
    } else {
        Vec::new()
    };
    // A node that is bound to loopback only has no network, and sends nothing.
    let heard = if announced.is_empty() {
        None
    } else {
        let heard = links::Nearby::open(endpoint.id(), &announced);
        Some(heard.map_err(|error| Error::Unreachable {
            detail: error.to_string(),
        })?)
    };
    let opening = Arc::new(Opening {
        until: clock::now().plus(seconds * 1_000),
        stop: inner.stop.child_token(),
        local: endpoint.id(),
        key: EndpointKey::from_seed(&seed),
        endpoint: Mutex::new(Some(endpoint)),
        tally: Mutex::default(),
        air: by_air.then(Air::new),
    });
    let found = by_air.then(|| air::open(inner, &opening));
    {
        let mut state = lock(&inner.nearby.state);
        state.people.clear();
        state.crowded = false;
        state.opening = Some(opening.clone());
    }
    let due = Instant::now() + Duration::from_secs(seconds);
    let seen = Seers { heard, found };
    let attending = attend(inner.clone(), opening, seen, arrivals, due);
    inner.tasks.spawn(attending);
    tell(inner, None);
    Ok(())
}

/// The temporary endpoint under a fresh name for each family by which a local network reaches it.
fn announced(endpoint: &TemporaryEndpoint) -> Vec<(Announced, Family, u16)> {
    let mut ports = BTreeMap::new();
    for addr in endpoint.bound() {
        if address::kind(addr.ip()) != PathKind::Loopback {
            ports.entry(Family::of(addr.ip())).or_insert(addr.port());
        }
    }
    let named = ports.into_iter().map(|(family, port)| {
        let mut salt = [0; SALT_BYTES];
        files::fill_random(&mut salt);
        let endpoint = endpoint.id();
        (Announced { salt, endpoint }, family, port)
    });
    named.collect()
}

/// Closes it: endpoint, service and connections end at once. What was agreed stays in the list.
pub(crate) fn close(inner: &Inner) {
    if let Some(opening) = inner.nearby.opening() {
        end(inner, &opening, "you closed it");
    }
}

fn end(inner: &Inner, opening: &Arc<Opening>, why: &str) {
    {
        let mut state = lock(&inner.nearby.state);
        let current = state.opening.as_ref();
        if !current.is_some_and(|current| Arc::ptr_eq(current, opening)) {
            return;
        }
        state.opening = None;
        for person in &mut state.people {
            if matches!(person.stage, Stage::Comparing { .. }) {
                person.stage = Stage::Ended(why.to_owned());
            }
        }
    }
    opening.stop.cancel();
    if opening.air.is_some() {
        air::close(inner);
    }
    tell(inner, None);
    let endpoint = lock(&opening.endpoint).take();
    if let Some(endpoint) = endpoint {
        // What is on its way out needs a moment; nothing comes in any more.
        inner.tasks.spawn(endpoint.close());
    }
}

/// Says yes or no to somebody's words. It counts for the words that were shown under this id, and
/// for no other try of the same device.
pub(crate) fn decide(inner: &Inner, id: &str, yes: bool) -> Result<()> {
    inner.ready()?;
    let mut refused = None;
    let opening = {
        let mut state = lock(&inner.nearby.state);
        let person = state.people.iter_mut().find(|person| person.id == id);
        let person = person.ok_or(Error::NotFound {
            what: "somebody nearby with this id",
        })?;
        match &mut person.stage {
            Stage::Comparing {
                we_accept: true, ..
            } if yes => {}
            Stage::Comparing { we_accept, .. } => {
                if person.say.try_send(yes).is_err() {
                    return Err(Error::Conflict {
                        detail: "the connection has ended: wait until they are listed again".into(),
                    });
                }
                if yes {
                    *we_accept = true;
                } else {
                    person.stage = Stage::Ended("you said no".into());
                    refused = Some(person.remote);
                }
            }
            Stage::Done { .. } | Stage::Ended(_) => {
                return Err(Error::Conflict {
                    detail: "there is nothing left to decide here".into(),
                });
            }
        }
        state.opening.clone()
    };
    if let (Some(remote), Some(opening)) = (refused, opening) {
        // A no is asked for once.
        let mut tally = lock(&opening.tally);
        tally.of.entry(remote).or_default().begun = SESSIONS_PER_REMOTE_MAX;
    }
    tell(inner, Some(id));
    Ok(())
}

/// All of it, for a page.
pub(crate) fn shown(inner: &Inner) -> view::Nearby {
    let has_network = inner.links().is_some_and(|links| {
        let mut addrs = links.addrs().into_iter();
        addrs.any(|addr| address::kind(addr.ip()) == PathKind::Lan)
    });
    let has_radio = inner.bluetooth.is_ready();
    let state = lock(&inner.nearby.state);
    let connecting = state.opening.as_ref().map_or(0, |opening| {
        let tally = lock(&opening.tally);
        let live = tally.of.values().filter(|tries| tries.live).count();
        let comparing = state
            .people
            .iter()
            .filter(|person| matches!(person.stage, Stage::Comparing { .. }));
        live.saturating_sub(comparing.count())
    });
    view::Nearby {
        until_ms: state.opening.as_ref().map(|opening| opening.until),
        has_network,
        has_radio,
        crowded: state.crowded,
        connecting: connecting as u64,
        people: state.people.iter().map(Person::shown).collect(),
    }
}

impl Person {
    fn shown(&self) -> view::NearbyPerson {
        view::NearbyPerson {
            id: self.id.clone(),
            name: self.name.clone(),
            words: self.words,
            stage: match &self.stage {
                Stage::Comparing {
                    we_accept,
                    they_accept,
                } => view::NearbyStage::Comparing {
                    we_accept: *we_accept,
                    they_accept: *they_accept,
                },
                Stage::Done {
                    contact,
                    known,
                    confirmed,
                } => view::NearbyStage::Done {
                    contact: *contact,
                    known: *known,
                    confirmed: *confirmed,
                },
                Stage::Ended(why) => view::NearbyStage::Ended(why.clone()),
            },
        }
    }
}

fn tell(inner: &Inner, person: Option<&str>) {
    let about = About {
        subject: person.map(str::to_owned),
        ..About::default()
    };
    inner.events.emit(EventKind::Nearby, about);
}

// While it is open.

/// Who tells of people nearby.
struct Seers {
    heard: Option<(links::Nearby, mpsc::Receiver<Seen>)>,
    /// To whose temporary endpoints channels lead.
    found: Option<mpsc::Receiver<EndpointId>>,
}

/// Takes who is seen and who comes, until the time is up or it is closed.
async fn attend(
    inner: Arc<Inner>,
    opening: Arc<Opening>,
    Seers { heard, mut found }: Seers,
    mut arrivals: mpsc::Receiver<Arrival>,
    due: Instant,
) {
    let (service, mut seen) = heard.unzip();
    loop {
        tokio::select! {
            () = opening.stop.cancelled() => break,
            () = sleep_until(due) => break,
            one = next(&mut seen) => saw(&inner, &opening, one),
            endpoint = next(&mut found) => {
                let addrs = Vec::new();
                saw(&inner, &opening, Seen { endpoint, addrs });
            }
            arrival = arrivals.recv() => match arrival {
                Some(Arrival::Meet(conn)) => arrived(&inner, &opening, conn),
                Some(Arrival::Sync(conn)) => conn.close(CloseCode::Refused, ""),
                None => break,
            },
        }
    }
    // First nobody is invited any more.
    drop(service);
    end(&inner, &opening, "the time was up");
}

/// The next that is seen; waits for ever where none can be.
async fn next<T>(seen: &mut Option<mpsc::Receiver<T>>) -> T {
    if let Some(seen) = seen
        && let Some(one) = seen.recv().await
    {
        return one;
    }
    std::future::pending().await
}

/// A device that wants to meet was seen: of the two the lower endpoint dials.
fn saw(inner: &Arc<Inner>, opening: &Arc<Opening>, seen: Seen) {
    if seen.endpoint <= opening.local {
        return;
    }
    {
        let mut tally = lock(&opening.tally);
        let known = tally.of.contains_key(&seen.endpoint);
        if !known && tally.of.len() >= SEEN_MAX {
            drop(tally);
            crowded(inner);
            return;
        }
        let tries = tally.of.entry(seen.endpoint).or_default();
        let known = tries.addrs.len();
        let room = ADDRS_MAX.saturating_sub(known);
        let by_air = seen.addrs.is_empty();
        tries.addrs.extend(seen.addrs.into_iter().take(room));
        if std::mem::replace(&mut tries.dialled, true) {
            if tries.addrs.len() > known || by_air {
                tries.news.notify_one();
            }
            return;
        }
    }
    let (inner, opening) = (inner.clone(), opening.clone());
    inner
        .clone()
        .tasks
        .spawn(async move { reach(inner, opening, seen.endpoint).await });
}

/// Dials a device until it answered often enough. Where no connection comes the address that leads to
/// it may not have been heard yet.
async fn reach(inner: Arc<Inner>, opening: Arc<Opening>, remote: EndpointId) {
    let (mut tried, mut pause) = (0, DIAL_AGAIN);
    while tried < SESSIONS_PER_REMOTE_MAX {
        let (addrs, news) = {
            let tally = lock(&opening.tally);
            let Some(tries) = tally.of.get(&remote) else {
                return;
            };
            (tries.targets(), tries.news.clone())
        };
        let dial = lock(&opening.endpoint)
            .as_ref()
            .map(|endpoint| endpoint.dial(remote, addrs));
        let Some(dial) = dial else { return };
        let dialled = tokio::select! {
            () = opening.stop.cancelled() => return,
            dialled = dial => dialled,
            // Nobody waits until an address is given up while there is another.
            () = news.notified() => continue,
        };
        match dialled {
            Ok(conn) => {
                tried += 1;
                if converse(&inner, &opening, conn).await {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "somebody nearby wasn't reached"),
        }
        tokio::select! {
            () = opening.stop.cancelled() => return,
            () = news.notified() => pause = DIAL_AGAIN,
            () = sleep(pause) => pause = (pause * 2).min(DIAL_AGAIN_MAX),
        }
    }
}

/// Somebody dialled the temporary endpoint.
fn arrived(inner: &Arc<Inner>, opening: &Arc<Opening>, conn: Connection) {
    // The lower one dials: who doesn't keep to it would get two tries.
    if conn.remote() >= opening.local {
        conn.close(CloseCode::Misbehaved, "");
        return;
    }
    let (inner, opening) = (inner.clone(), opening.clone());
    inner.clone().tasks.spawn(async move {
        converse(&inner, &opening, conn).await;
    });
}

fn crowded(inner: &Inner) {
    let news = !std::mem::replace(&mut lock(&inner.nearby.state).crowded, true);
    if news {
        tracing::info!("too many devices nearby try to connect; further ones are left out");
        tell(inner, None);
    }
}

impl Opening {
    /// Whether one more session with this device may begin.
    fn begin(&self, remote: EndpointId) -> bool {
        let mut tally = lock(&self.tally);
        let unopened = tally.begun.saturating_sub(tally.compared);
        if tally.compared >= PEOPLE_MAX || unopened >= UNOPENED_MAX {
            return false;
        }
        let tries = tally.of.entry(remote).or_default();
        if tries.live || tries.begun >= SESSIONS_PER_REMOTE_MAX {
            return false;
        }
        (tries.live, tries.begun) = (true, tries.begun + 1);
        tally.begun += 1;
        true
    }

    /// Whether one more may be listed.
    fn compare(&self) -> bool {
        let mut tally = lock(&self.tally);
        let room = tally.compared < PEOPLE_MAX;
        tally.compared += usize::from(room);
        room
    }

    fn ended(&self, remote: EndpointId) {
        if let Some(tries) = lock(&self.tally).of.get_mut(&remote) {
            tries.live = false;
        }
    }
}
