//! Circles and their members.

use proto::{Millis, SpaceId};

use super::{Fork, Person};

/// What somebody is in a circle, in the order in which people are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CircleStanding {
    /// Owns it: invites, removes, closes.
    Owner,
    /// Is in it.
    Member,
    /// Was invited by us and hasn't answered.
    Invited,
    /// Left.
    Left,
    /// Was removed.
    Removed,
}

/// A circle.
#[derive(Debug, Clone)]
pub struct Circle {
    /// The space.
    pub id: SpaceId,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Who made it.
    pub creator: Person,
    /// Who owns it now.
    pub owner: Person,
    /// What we are in it: owner, member, or removed.
    pub standing: CircleStanding,
    /// Nobody writes in it any more.
    pub closed: bool,
    /// People in it, the owner and us included, as far as we know.
    pub members: u64,
    /// Unread entries.
    pub unread: u64,
    /// Threads.
    pub threads: u64,
    /// Entries held.
    pub entries: u64,
    /// Older entries that are known to exist and still arrive: newer ones came first.
    pub arriving: u64,
    /// Newest activity.
    pub last_activity_ms: Option<Millis>,
    /// Feeds whose author contradicted themselves.
    pub forks: Vec<Fork>,
}

/// Somebody who is or was in a circle, or is invited.
#[derive(Debug, Clone)]
pub struct CircleMember {
    /// Who. A stranger reaches us only through members who are our contacts.
    pub person: Person,
    /// Who let them in; `None` for the creator, and where nothing of theirs is held.
    pub let_in_by: Option<Person>,
    /// What they are in it.
    pub standing: CircleStanding,
    /// Entries of theirs that we hold.
    pub entries: u64,
}
