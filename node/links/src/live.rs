//! The connections that are open, so that all with one remote can be cut at once.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use iroh::{
    TransportAddr,
    endpoint::{Connection, WeakConnectionHandle},
};
use iroh_base::CustomAddr;
use proto::EndpointId;

use crate::{CloseCode, Protocol, Side};

/// Connections of one remote for one protocol. Two happen when both dial at once, a third when a
/// restarted node's old one has not timed out; of more, the oldest is closed.
const PER_REMOTE_AND_PROTOCOL_MAX: usize = 4;

/// A handle on the register; clones share it. It keeps no connection alive.
#[derive(Clone, Default)]
pub(crate) struct Live(Arc<Mutex<Register>>);

#[derive(Default)]
pub(crate) struct Register {
    of: HashMap<EndpointId, VecDeque<Entry>>,
}

struct Entry {
    protocol: Protocol,
    side: Side,
    handle: WeakConnectionHandle,
}

impl Entry {
    fn open(&self) -> Option<Connection> {
        self.handle
            .upgrade()
            .filter(|conn| conn.close_reason().is_none())
    }
}

impl Live {
    /// The register, locked. A decision and the entry that follows from it happen under one
    /// lock, so that a cut can't fall between them.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Register> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes every connection with `remote` and says how many there were.
    pub(crate) fn cut(&self, remote: EndpointId, code: CloseCode) -> usize {
        let entries = self.lock().of.remove(&remote).unwrap_or_default();
        let open: Vec<_> = entries.iter().filter_map(Entry::open).collect();
        for conn in &open {
            conn.close(code.varint(), b"");
        }
        open.len()
    }

    /// The datagrams that each open connection with `remote` has received, by its stable id.
    pub(crate) fn heard(&self, remote: EndpointId) -> HashMap<usize, u64> {
        let open = self.lock().open(remote);
        open.iter()
            .map(|conn| (conn.stable_id(), datagrams(conn)))
            .collect()
    }

    /// Closes the connections with `remote` that received nothing since `before` was taken.
    pub(crate) fn cut_silent(&self, remote: EndpointId, before: &HashMap<usize, u64>) {
        let open = self.lock().open(remote);
        for conn in open {
            if before.get(&conn.stable_id()) == Some(&datagrams(&conn)) {
                conn.close(CloseCode::Superseded.varint(), b"");
            }
        }
    }

    /// Closes the connections whose only way is an address that leads nowhere any more.
    pub(crate) fn lost(&self, addr: &CustomAddr) {
        let lost: Vec<Connection> = {
            let register = self.lock();
            let open = register.of.values().flatten().filter_map(Entry::open);
            open.filter(|conn| {
                let paths = conn.paths();
                let mut paths = paths.iter().map(|path| path.remote_addr().clone());
                let only = paths.next();
                only == Some(TransportAddr::Custom(addr.clone())) && paths.next().is_none()
            })
            .collect()
        };
        for conn in lost {
            conn.close(CloseCode::Dropped.varint(), b"");
        }
    }

    /// Closes every connection.
    pub(crate) fn cut_all(&self, code: CloseCode) {
        let all = std::mem::take(&mut self.lock().of);
        for conn in all.values().flatten().filter_map(Entry::open) {
            conn.close(code.varint(), b"");
        }
    }
}

fn datagrams(conn: &Connection) -> u64 {
    conn.stats().udp_rx.datagrams
}

impl Register {
    fn open(&self, remote: EndpointId) -> Vec<Connection> {
        let entries = self.of.get(&remote).into_iter().flatten();
        entries.filter_map(Entry::open).collect()
    }

    /// Forgets what has ended and counts the incoming meets that are open.
    pub(crate) fn meets_open(&mut self) -> usize {
        let mut meets = 0;
        self.of.retain(|_, entries| {
            entries.retain(|entry| entry.open().is_some());
            meets += entries
                .iter()
                .filter(|e| e.protocol == Protocol::Meet && e.side == Side::Acceptor)
                .count();
            !entries.is_empty()
        });
        meets
    }

    pub(crate) fn open_with(&self, remote: EndpointId) -> Vec<Protocol> {
        let entries = self.of.get(&remote).into_iter().flatten();
        let open = entries.filter(|entry| entry.open().is_some());
        open.map(|entry| entry.protocol).collect()
    }

    /// Enters a connection. Returns the oldest one for the same purpose if there are too many,
    /// which the caller closes once it has released the lock.
    pub(crate) fn enter(
        &mut self,
        remote: EndpointId,
        protocol: Protocol,
        side: Side,
        conn: &Connection,
    ) -> Option<Connection> {
        let entries = self.of.entry(remote).or_default();
        entries.push_back(Entry {
            protocol,
            side,
            handle: conn.weak_handle(),
        });
        let same = entries.iter().filter(|e| e.protocol == protocol).count();
        if same <= PER_REMOTE_AND_PROTOCOL_MAX {
            return None;
        }
        let oldest = entries.iter().position(|e| e.protocol == protocol)?;
        entries.remove(oldest)?.open()
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({} remotes)", self.lock().of.len())
    }
}
