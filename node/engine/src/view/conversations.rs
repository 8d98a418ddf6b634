//! How a conversation is kept, and when its messages go.

use proto::Millis;

use super::Person;

/// When a message disappears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disappears {
    /// So many seconds after it was read; an own one, after it was delivered.
    pub lifetime_s: u32,
    /// At this time, where that has begun.
    pub at_ms: Option<Millis>,
}

/// A change of how a conversation is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConversationSetting {
    /// Messages disappear so many seconds after they were read; 0 where they stay from now on.
    pub lifetime_s: Option<u32>,
    /// Its author only took over what the other person had set.
    pub taken_over: bool,
    /// Whether its author wants both to tell each other what was read.
    pub receipts: Option<bool>,
}

/// How a conversation is kept now.
#[derive(Debug, Clone)]
pub struct Disappearing {
    /// Messages disappear so many seconds after they were read; 0 where they stay.
    pub lifetime_s: u32,
    /// Who set that; `None` where nobody ever did.
    pub set_by: Option<Person>,
    /// When, by the author's claim.
    pub set_ms: Option<Millis>,
}

/// Whether the two people of a conversation tell each other what was read: only where both want that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipts {
    /// We want that.
    pub ours: bool,
    /// The other person wants that.
    pub theirs: bool,
}

/// A change of how a conversation is kept; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keeping {
    /// Messages disappear so many seconds after they were read: 60 to 31,536,000, or 0 where they stay.
    pub lifetime_s: Option<u64>,
    /// Whether we want both to tell each other what was read.
    pub receipts: Option<bool>,
}
