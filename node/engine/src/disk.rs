//! What the node does when the disk gets full or fails, and when it works again.
//!
//! With little room others' entries stay where they are: meetings go on and ask for nothing. With
//! none, or with a disk that fails, meetings end and none begins. The store finds out when that is
//! over, so nobody here tries again and again.

use std::sync::Arc;

use proto::{IdentityId, session::Fetch, space::SpaceKind};
use store::{Condition, Snapshot};

use crate::{
    event::EventKind,
    events::About,
    inner::Inner,
    view::{Disk, DiskState},
};

impl Inner {
    /// How the disk is.
    pub(crate) fn disk(&self) -> Disk {
        let (free_bytes, free_min_bytes) = self.store.room();
        Disk {
            state: match self.store.condition() {
                Condition::Fine => DiskState::Fine,
                Condition::Low => DiskState::Low,
                Condition::Full => DiskState::Full,
                Condition::Failing => DiskState::Failing,
            },
            free_bytes,
            free_min_bytes,
        }
    }

    /// Why no meeting can be held now.
    pub(crate) fn hindrance(&self) -> Option<&'static str> {
        match self.disk() {
            Disk {
                state: DiskState::Fine | DiskState::Low,
                ..
            } => None,
            disk => disk.advice(),
        }
    }

    /// What may be taken from a contact by the room on the disk and by what their quota leaves.
    pub(crate) fn fetch_from(
        &self,
        snapshot: &Snapshot,
        contact: IdentityId,
    ) -> Result<Fetch, store::Error> {
        if self.store.condition() != Condition::Fine {
            return Ok(Fetch::Nothing);
        }
        let usage = snapshot.usage(contact)?;
        Ok(if usage.has_room(SpaceKind::Forum) {
            Fetch::All
        } else if usage.has_room(SpaceKind::Conversation) {
            Fetch::Conversations
        } else {
            Fetch::Nothing
        })
    }
}

/// Tells everybody when the disk's state changes, until the node stops.
pub(crate) async fn attend(inner: Arc<Inner>) {
    let mut condition = inner.store.watch();
    loop {
        tokio::select! {
            changed = condition.changed() => if changed.is_err() {
                return;
            },
            () = inner.stop.cancelled() => return,
        }
        let now = *condition.borrow_and_update();
        match now {
            Condition::Fine => tracing::info!("the disk works and has room again"),
            Condition::Low => tracing::warn!("the disk is nearly full"),
            Condition::Full => tracing::error!("the disk is full"),
            Condition::Failing => tracing::error!("the disk fails"),
        }
        inner.events.emit(EventKind::Disk, About::default());
        // Running meetings ask for more or for less.
        inner.tell_audience();
        if now == Condition::Fine {
            inner.wake_all();
        }
    }
}
