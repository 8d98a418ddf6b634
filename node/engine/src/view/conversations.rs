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
