//! Who takes the gossip connections that come in, by peer.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use iroh::endpoint::Connection;
use proto::EndpointId;
use tokio::sync::mpsc;

use crate::CloseCode;

/// Connections of one peer that its keeper has not taken up. It does so at once.
const INCOMING_MAX: usize = 4;

/// The register of pairs; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Pairs(Arc<Mutex<HashMap<EndpointId, Slot>>>);

enum Slot {
    /// A keeper takes them.
    Held {
        keeper: u64,
        incoming: mpsc::Sender<Connection>,
    },
    /// The peer was faster than our side of the meeting: its newest connection waits. Only
    /// permitted peers come this far, so there are at most as many as contacts' devices.
    Waiting(Connection),
}

impl Pairs {
    fn lock(&self) -> MutexGuard<'_, HashMap<EndpointId, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the caller the keeper of a peer, in place of any other.
    pub(super) fn register(&self, peer: EndpointId) -> Registration {
        let (incoming, receiver) = mpsc::channel(INCOMING_MAX);
        let mut slots = self.lock();
        let keeper = match slots.remove(&peer) {
            Some(Slot::Waiting(conn)) => {
                // The channel is new and empty.
                let _ = incoming.try_send(conn);
                0
            }
            Some(Slot::Held { keeper, .. }) => keeper.wrapping_add(1),
            None => 0,
        };
        slots.insert(peer, Slot::Held { keeper, incoming });
        drop(slots);
        Registration {
            pairs: self.clone(),
            peer,
            keeper,
            incoming: receiver,
        }
    }

    /// Hands an admitted connection to the peer's keeper, or lets it wait for one.
    pub(crate) fn arrived(&self, peer: EndpointId, conn: Connection) {
        let refused = {
            let mut slots = self.lock();
            slots.retain(
                |_, slot| !matches!(slot, Slot::Waiting(conn) if conn.close_reason().is_some()),
            );
            match slots.get(&peer) {
                Some(Slot::Held { incoming, .. }) => incoming
                    .try_send(conn)
                    .err()
                    .map(|error| (error.into_inner(), CloseCode::Busy)),
                Some(Slot::Waiting(_)) | None => match slots.insert(peer, Slot::Waiting(conn)) {
                    Some(Slot::Waiting(old)) => Some((old, CloseCode::Superseded)),
                    _ => None,
                },
            }
        };
        if let Some((conn, code)) = refused {
            conn.close(code.varint(), b"");
        }
    }

    fn unregister(&self, peer: EndpointId, of: u64) {
        let mut slots = self.lock();
        if matches!(slots.get(&peer), Some(Slot::Held { keeper, .. }) if *keeper == of) {
            slots.remove(&peer);
        }
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pairs({})", self.lock().len())
    }
}

/// A keeper's place in the register, given back on drop.
#[derive(Debug)]
pub(super) struct Registration {
    pairs: Pairs,
    peer: EndpointId,
    keeper: u64,
    pub(super) incoming: mpsc::Receiver<Connection>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.pairs.unregister(self.peer, self.keeper);
    }
}
