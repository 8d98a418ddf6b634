//! What happened, for live pages and for tools.

use proto::{IdentityId, Millis, SpaceId};

/// A place in the stream of events. Rises, also over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId(pub u64);

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its place.
    pub id: EventId,
    /// What.
    pub kind: EventKind,
    /// The entry, contact or offer that it is about, in text form.
    pub subject: Option<String>,
    /// The space that it is about.
    pub space: Option<SpaceId>,
    /// The thread, article or first entry that it belongs to, in text form.
    pub topic: Option<String>,
    /// The contact that it concerns.
    pub contact: Option<IdentityId>,
    /// When.
    pub at_ms: Millis,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// An entry was written, arrived, changed or is gone, durable by now.
    Entry,
    /// A contact or an invite changed.
    Contact,
    /// An offer came or was answered.
    Offer,
    /// A message's delivery changed.
    Delivery,
    /// A contact came or went.
    Presence,
    /// A meeting made progress.
    Sync,
    /// Somebody nearby was seen or decided, or meeting nearby was opened or closed.
    Nearby,
    /// The disk became full or nearly so, fails, or works again.
    Disk,
    /// The id that was asked for is too old: read everything anew.
    Reset,
}

impl EventKind {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Contact => "contact",
            Self::Offer => "offer",
            Self::Delivery => "delivery",
            Self::Presence => "presence",
            Self::Sync => "sync",
            Self::Nearby => "nearby",
            Self::Disk => "disk",
            Self::Reset => "reset",
        }
    }
}
