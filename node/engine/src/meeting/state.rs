//! What the rest of the node knows of a running meeting, and what it can tell it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use links::{CloseCode, CloseReason, Connection, Path, PathKind};
use proto::{DeviceId, EndpointId, IdentityId, Millis, SpaceId};
use store::MetEnd;
use tokio::{sync::Notify, time::Instant};

use super::{
    End,
    pace::{Pace, Told},
};
use crate::view::{Connected, Exchanged, LinkKind};

/// What other parts of the node tell a meeting.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    state: Mutex<Pending>,
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Feeds that grew or changed, and the first new entry.
    pub(super) feeds: BTreeMap<(SpaceId, DeviceId), u64>,
    pub(super) audience: bool,
    /// There may be letters to hand over.
    pub(super) letters: bool,
    /// A sign of life is wanted.
    pub(super) probe: bool,
    pub(super) end: Option<CloseCode>,
}

impl Notices {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn feed(&self, space: SpaceId, device: DeviceId, from: u64) {
        self.lock().feeds.entry((space, device)).or_insert(from);
        self.changed.notify_one();
    }

    pub(crate) fn audience(&self) {
        self.lock().audience = true;
        self.changed.notify_one();
    }

    pub(crate) fn letters(&self) {
        self.lock().letters = true;
        self.changed.notify_one();
    }

    /// Something is said that the other side has to acknowledge.
    pub(crate) fn probe(&self) {
        self.lock().probe = true;
        self.changed.notify_one();
    }

    /// Ends the meeting; false where that was told before.
    pub(crate) fn end(&self, code: CloseCode) -> bool {
        let first = self.lock().end.replace(code).is_none();
        self.changed.notify_one();
        first
    }

    pub(super) fn take(&self) -> Pending {
        std::mem::take(&mut self.lock())
    }
}

/// A running meeting.
#[derive(Debug)]
pub(crate) struct Meeting {
    pub(crate) contact: IdentityId,
    pub(crate) endpoint: EndpointId,
    pub(crate) conn: Connection,
    pub(crate) since: Instant,
    pub(crate) notices: Notices,
    /// The other side answered: until then the contact doesn't count as online.
    pub(super) confirmed: AtomicBool,
    /// It took the place of one in which the other side had answered.
    continues: AtomicBool,
    pub(crate) want: AtomicU64,
    /// Bytes that wait for the disk, and frontiers that are remembered.
    pub(super) waiting: AtomicUsize,
    pub(super) claims: AtomicUsize,
    route: Mutex<Route>,
    pace: Mutex<Pace>,
    pub(super) entries_in: AtomicU64,
    pub(super) entries_out: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
}

/// Where the path leads and led.
#[derive(Debug)]
struct Route {
    /// As seen last.
    path: Option<Path>,
    /// Since when over this link.
    since: Instant,
    /// Each link, in the order in which they came into use.
    links: Vec<LinkKind>,
}

impl Route {
    fn see(&mut self, path: Option<Path>) {
        let Some(path) = path else { return };
        let link = link_of(path.kind);
        if self.path.map(|path| path.kind) != Some(path.kind) {
            self.since = Instant::now();
        }
        if !self.links.contains(&link) {
            self.links.push(link);
        }
        self.path = Some(path);
    }
}

const fn link_of(kind: PathKind) -> LinkKind {
    match kind {
        PathKind::Loopback => LinkKind::Loopback,
        PathKind::Lan => LinkKind::Lan,
        PathKind::Internet => LinkKind::Internet,
        PathKind::Relay => LinkKind::Relay,
        PathKind::Bluetooth => LinkKind::Bluetooth,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meeting {
    pub(crate) fn new(contact: IdentityId, conn: Connection) -> Self {
        let since = Instant::now();
        let mut route = Route {
            path: None,
            since,
            links: Vec::new(),
        };
        route.see(conn.path());
        Self {
            contact,
            endpoint: conn.remote(),
            conn,
            route: Mutex::new(route),
            pace: Mutex::default(),
            since,
            notices: Notices::default(),
            confirmed: AtomicBool::new(false),
            continues: AtomicBool::new(false),
            want: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            claims: AtomicUsize::new(0),
            entries_in: AtomicU64::new(0),
            entries_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    /// Whether the other side answered.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Relaxed)
    }

    /// Whether the contact counts as online by it. Who was heard on another connection a moment ago
    /// doesn't go because a newer one takes its place.
    pub(crate) fn is_online(&self) -> bool {
        self.is_confirmed() || self.continues.load(Ordering::Relaxed)
    }

    /// Takes the place of another meeting with the same device.
    pub(crate) fn follows(&self, before: &Self) {
        self.continues.store(before.is_online(), Ordering::Relaxed);
    }

    /// Bytes that wait for the disk, and frontiers of the peer that are remembered.
    pub(crate) fn share(&self) -> (usize, usize) {
        let [waiting, claims] = [&self.waiting, &self.claims];
        (
            waiting.load(Ordering::Relaxed),
            claims.load(Ordering::Relaxed),
        )
    }

    /// The route with the path as it is now: the one used last where there is none any more.
    fn route(&self) -> MutexGuard<'_, Route> {
        let mut route = lock(&self.route);
        route.see(self.conn.path());
        route
    }

    /// The link in use, or the one used last.
    pub(crate) fn link_kind(&self) -> Option<LinkKind> {
        self.route().path.map(|path| link_of(path.kind))
    }

    /// For how long it has been over the link in use.
    pub(crate) fn on_link_for(&self) -> Duration {
        self.route().since.elapsed()
    }

    /// The address where the device was seen last.
    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        self.route().path.and_then(|path| path.remote)
    }

    /// Each link that was used, in the order in which they came into use.
    pub(crate) fn links_used(&self) -> Vec<LinkKind> {
        self.route().links.clone()
    }

    /// The connection as it is now, for the pages.
    pub(crate) fn connected(&self, now: Millis) -> Option<Connected> {
        let ago = |since: Instant| {
            let ago = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            Millis(now.0.saturating_sub(ago))
        };
        let route = self.route();
        let path = route.path?;
        Some(Connected {
            link: link_of(path.kind),
            link_since_ms: ago(route.since),
            since_ms: ago(self.since),
            rtt_us: u64::try_from(path.rtt.as_micros()).unwrap_or(u64::MAX),
            dialed: self.conn.dialed(),
            exchanged: self.exchanged(),
        })
    }

    pub(crate) fn exchanged(&self) -> Exchanged {
        Exchanged {
            entries_in: self.entries_in.load(Ordering::Relaxed),
            entries_out: self.entries_out.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }

    /// Notes how far catching up is.
    pub(super) fn note_pace(&self, want: u64) {
        let received = self.entries_in.load(Ordering::Relaxed);
        lock(&self.pace).look(received, want, Instant::now());
    }

    /// How fast catching up goes; nothing where it isn't worth a word.
    pub(crate) fn pace(&self) -> Option<Told> {
        let received = self.entries_in.load(Ordering::Relaxed);
        let want = self.want.load(Ordering::Relaxed);
        lock(&self.pace).told(received, want, Instant::now())
    }
}

/// How a meeting ended, for the history. `reason` is how the connection had ended by then.
pub(super) fn how(end: &End, reason: Option<&CloseReason>) -> MetEnd {
    match (end, reason) {
        (End::Misbehaved(_), _) => MetEnd::Misbehaved,
        (End::Store(_), _) => MetEnd::Disk,
        (End::Lost, _) => MetEnd::Lost,
        (End::Replaced, _) | (_, Some(CloseReason::Remote(CloseCode::Superseded))) => {
            MetEnd::Replaced
        }
        (End::Cut, _) | (End::Closed(_), Some(CloseReason::Local)) => MetEnd::Ours,
        (End::Closed(_), Some(CloseReason::Remote(_))) => MetEnd::Theirs,
        (End::Closed(_), _) => MetEnd::Lost,
    }
}
