//! Memory that all meetings of a node hold together because somebody is slow.
//!
//! Each meeting has bounds of its own, but a contact can have many devices, and a device several
//! connections. So what frames take, from being announced or queued until they are taken or
//! handed to QUIC, is also counted here over all meetings, and what QUIC holds for those who take
//! nothing. Above [`SHORT_BYTES`] each meeting gets
//! by with one frame on its way out. Above [`ROOM_BYTES_MAX`] the connection ends on which nothing
//! moved for the longest time: it can come back, and who reads and sends keeps their place. What a
//! frame is, and who is at the other end, isn't known here.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use iroh::endpoint::{VarInt, WeakConnectionHandle};
use tokio::time::Instant;

use crate::{CloseCode, Connection};

/// Bytes from which on meetings queue less: some eight meetings at full speed.
pub(crate) const SHORT_BYTES: usize = 24 * 1024 * 1024;
/// Bytes that meetings may hold; connections are ended above it. With what QUIC holds of 200
/// connections and the rest of a node it stays below 256 MB: `docs/THREATS.md` has the sum.
pub(crate) const ROOM_BYTES_MAX: usize = 40 * 1024 * 1024;
/// Bytes that a connection's sender holds until they are acknowledged. At a round trip of 100 ms
/// this carries some 25 Mbit/s. Whose writes don't go on is charged for it.
pub(crate) const SEND_WINDOW_BYTES: usize = 448 * 1024;
/// Who holds no more than this isn't ended for it: there is nothing to gain.
const SMALL_BYTES: usize = 64 * 1024;
/// Bytes of lanes that a meeting receives before it may get a large window: more than live
/// entries bring, less than a second of any catch-up that a window could slow down.
const LARGE_AFTER_BYTES: usize = 128 * 1024;
/// Meetings with a large window at once. They keep it, because what a peer has sent can't be
/// given back; one on which no entries came for [`LARGE_IDLE`] ends where another needs its place.
/// Others go on with the small one, slower over long distances.
pub(crate) const LARGE_WINDOWS_MAX: usize = 8;
/// A catch-up over the slowest link brings something within this time.
const LARGE_IDLE: Duration = Duration::from_secs(60);
/// Bytes of a large window: at a round trip of 100 ms this carries 42 Mbit/s.
pub(crate) const LARGE_WINDOW_BYTES: u32 = 512 * 1024;

/// A node's room; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Room(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    held: usize,
    next: u64,
    large: usize,
    accounts: BTreeMap<u64, Entry>,
}

struct Entry {
    held: usize,
    /// When a frame was last taken from it or handed on.
    moved: Instant,
    /// Has a large window, and when entries came last.
    large: Option<Instant>,
    conn: Option<WeakConnectionHandle>,
}

/// One meeting's part of the room, given back when it is dropped.
pub(crate) struct Account {
    room: Room,
    id: u64,
    received: AtomicUsize,
}

/// Bytes that are held until this is dropped.
pub(crate) struct Held {
    account: Arc<Account>,
    bytes: usize,
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens an account for a connection, which may be ended for it.
    pub(crate) fn open(&self, conn: &Connection) -> Arc<Account> {
        self.enter(Some(conn.raw().weak_handle()))
    }

    fn enter(&self, conn: Option<WeakConnectionHandle>) -> Arc<Account> {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        let entry = Entry {
            held: 0,
            moved: Instant::now(),
            large: None,
            conn,
        };
        state.accounts.insert(id, entry);
        drop(state);
        Arc::new(Account {
            room: self.clone(),
            id,
            received: AtomicUsize::new(0),
        })
    }

    /// Bytes held now.
    pub(crate) fn held(&self) -> usize {
        self.lock().held
    }

    /// Whether meetings should queue less.
    fn is_short(&self) -> bool {
        self.lock().held > SHORT_BYTES
    }
}

impl State {
    /// Takes the accounts off that moved longest ago, until the rest fits.
    fn make_room(&mut self) -> Vec<Entry> {
        let mut ended = Vec::new();
        while self.held > ROOM_BYTES_MAX {
            let worth = self
                .accounts
                .iter()
                .filter(|(_, entry)| entry.held > SMALL_BYTES);
            let Some(id) = worth
                .min_by_key(|(_, entry)| entry.moved)
                .map(|(id, _)| *id)
            else {
                break;
            };
            ended.extend(self.remove(id));
        }
        ended
    }

    /// The account with a large window that needed it longest ago, if that is long ago.
    fn idle_large(&self, now: Instant) -> Option<u64> {
        let large = self.accounts.iter();
        let (at, id) = large
            .filter_map(|(id, entry)| Some((entry.large?, *id)))
            .min()?;
        (now.saturating_duration_since(at) >= LARGE_IDLE).then_some(id)
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.accounts.remove(&id)?;
        self.held -= entry.held;
        self.large -= usize::from(entry.large.is_some());
        Some(entry)
    }
}

impl Account {
    /// Holds bytes; ends connections where that is too much for all.
    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        let ended = {
            let mut state = self.room.lock();
            if let Some(entry) = state.accounts.get_mut(&self.id) {
                if entry.held == 0 {
                    entry.moved = Instant::now();
                }
                entry.held += bytes;
                state.held += bytes;
            }
            state.make_room()
        };
        for entry in ended {
            entry.end();
        }
        Held {
            account: self.clone(),
            bytes,
        }
    }

    /// Whether this meeting should queue less.
    pub(crate) fn is_short(&self) -> bool {
        self.room.is_short()
    }

    /// Bytes of lanes came: a meeting that receives much gets a large window if there is one left.
    pub(crate) fn received(&self, bytes: usize, conn: &Connection) {
        let before = self.received.fetch_add(bytes, Ordering::Relaxed);
        let steps = |bytes: usize| bytes / LARGE_AFTER_BYTES;
        // Asked for again from time to time, and to show that entries come.
        if steps(before) != steps(before.wrapping_add(bytes)) && self.take_large() {
            conn.raw()
                .set_receive_window(VarInt::from_u32(LARGE_WINDOW_BYTES));
        }
    }

    /// Whether this meeting gets a large window now that it hadn't before.
    fn take_large(&self) -> bool {
        let ended = {
            let mut state = self.room.lock();
            let now = Instant::now();
            let Some(entry) = state.accounts.get_mut(&self.id) else {
                return false;
            };
            if entry.large.is_some() {
                entry.large = Some(now);
                return false;
            }
            let ended = if state.large < LARGE_WINDOWS_MAX {
                None
            } else if let Some(idle) = state.idle_large(now) {
                state.remove(idle)
            } else {
                return false;
            };
            if let Some(entry) = state.accounts.get_mut(&self.id) {
                entry.large = Some(now);
                state.large += 1;
            }
            ended
        };
        if let Some(entry) = ended {
            entry.end();
        }
        true
    }
}

impl Entry {
    fn end(self) {
        if let Some(conn) = self.conn.and_then(|conn| conn.upgrade()) {
            tracing::debug!("a meeting ended: memory is short and nothing moved on it");
            conn.close(CloseCode::Busy.varint(), b"");
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let ended = self.room.lock().remove(self.id);
        drop(ended);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.account.room.lock();
        // An account that was taken off has nothing left to give.
        if let Some(entry) = state.accounts.get_mut(&self.account.id) {
            entry.held -= self.bytes;
            entry.moved = Instant::now();
            state.held -= self.bytes;
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({} bytes held)", self.lock().held)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn what_is_held_comes_back_whatever_ends_first() {
        let room = Room::default();
        let one = room.enter(None);
        let frame = one.hold(MIB);
        let other = one.hold(10);
        assert_eq!(room.held(), MIB + 10);
        drop(frame);
        assert_eq!(room.held(), 10);
        drop(one);
        assert_eq!(room.held(), 10, "a frame keeps its account");
        drop(other);
        assert_eq!(room.held(), 0);
        assert!(room.lock().accounts.is_empty());
    }

    /// Many that hold a little each and don't move, and one that does: it stays.
    #[tokio::test(start_paused = true)]
    async fn over_the_bound_those_end_on_whom_nothing_moved() {
        let room = Room::default();
        let live = room.enter(None);
        let stalled: Vec<_> = (0..200).map(|_| room.enter(None)).collect();
        let mut frames = Vec::new();
        let mut most = 0;
        for account in &stalled {
            frames.push(account.hold(MIB));
            tokio::time::advance(std::time::Duration::from_millis(10)).await;
            drop(live.hold(MIB));
            most = most.max(room.held());
        }
        assert!(most <= ROOM_BYTES_MAX, "{most}");
        assert!(live.is_short());
        let state = room.lock();
        assert!(state.accounts.contains_key(&live.id));
        // The oldest went, the newest are there.
        assert!(!state.accounts.contains_key(&stalled[0].id));
        assert!(state.accounts.contains_key(&stalled[199].id));
        drop(state);
        drop(frames);
        assert_eq!(room.held(), 0);
        assert!(!live.is_short());
    }

    #[tokio::test(start_paused = true)]
    async fn small_ones_are_left_alone() {
        let room = Room::default();
        let accounts: Vec<_> = (0..2_000).map(|_| room.enter(None)).collect();
        let frames: Vec<_> = accounts.iter().map(|one| one.hold(SMALL_BYTES)).collect();
        assert_eq!(room.lock().accounts.len(), 2_000);
        drop(frames);
    }

    #[tokio::test(start_paused = true)]
    async fn large_windows_are_counted_and_come_back_with_their_meeting() {
        let room = Room::default();
        let mut accounts: Vec<_> = (0..LARGE_WINDOWS_MAX).map(|_| room.enter(None)).collect();
        assert!(accounts.iter().all(|account| account.take_large()));
        let late = room.enter(None);
        assert!(!late.take_large());
        accounts.pop();
        assert!(late.take_large());
    }

    /// Eight who once caught up and stay connected don't keep a ninth from it.
    #[tokio::test(start_paused = true)]
    async fn a_large_window_that_nobody_needs_ends_for_another() {
        let room = Room::default();
        let accounts: Vec<_> = (0..LARGE_WINDOWS_MAX).map(|_| room.enter(None)).collect();
        assert!(accounts.iter().all(|account| account.take_large()));
        tokio::time::advance(LARGE_IDLE).await;
        // All but one go on receiving.
        for account in &accounts[1..] {
            assert!(!account.take_large(), "it has one");
        }
        let late = room.enter(None);
        assert!(late.take_large());
        assert!(!room.lock().accounts.contains_key(&accounts[0].id));
        assert!(!room.enter(None).take_large(), "the others need theirs");
    }
}
