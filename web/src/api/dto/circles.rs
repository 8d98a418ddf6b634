//! Circles and who is in them.

use engine::view;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Fork, Person};

/// What somebody is in a circle.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CircleStanding {
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

impl From<view::CircleStanding> for CircleStanding {
    fn from(standing: view::CircleStanding) -> Self {
        match standing {
            view::CircleStanding::Owner => Self::Owner,
            view::CircleStanding::Member => Self::Member,
            view::CircleStanding::Invited => Self::Invited,
            view::CircleStanding::Left => Self::Left,
            view::CircleStanding::Removed => Self::Removed,
        }
    }
}

/// A private group.
#[derive(Serialize, ToSchema)]
pub(crate) struct Circle {
    /// The space, the same on every node.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// What it is about.
    pub(crate) description: String,
    /// Who made it.
    pub(crate) creator: Person,
    /// Who owns it now.
    pub(crate) owner: Person,
    /// What we are in it: owner, member or removed.
    pub(crate) standing: CircleStanding,
    /// Nobody writes in it any more.
    pub(crate) closed: bool,
    /// People in it, the owner and us included, as far as we know.
    pub(crate) members: u64,
    /// Unread entries.
    pub(crate) unread: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Entries held.
    pub(crate) entries: u64,
    /// Older entries that are known to exist and still arrive: newer ones came first.
    pub(crate) arriving: u64,
    /// Newest activity.
    pub(crate) last_activity_ms: Option<u64>,
    /// Feeds whose author contradicted themselves.
    pub(crate) forks: Vec<Fork>,
}

impl From<view::Circle> for Circle {
    fn from(circle: view::Circle) -> Self {
        Self {
            id: circle.id.to_string(),
            name: circle.name,
            description: circle.description,
            creator: circle.creator.into(),
            owner: circle.owner.into(),
            standing: circle.standing.into(),
            closed: circle.closed,
            members: circle.members,
            unread: circle.unread,
            threads: circle.threads,
            entries: circle.entries,
            arriving: circle.arriving,
            last_activity_ms: circle.last_activity_ms.map(|time| time.0),
            forks: circle.forks.into_iter().map(Fork::from).collect(),
        }
    }
}

/// Somebody who is or was in a circle, or is invited.
#[derive(Serialize, ToSchema)]
pub(crate) struct CircleMember {
    /// Who. A stranger reaches us only through members who are our contacts.
    pub(crate) person: Person,
    /// Who let them in; null for the creator, and where nothing of theirs is held.
    pub(crate) let_in_by: Option<Person>,
    /// What they are in it.
    pub(crate) standing: CircleStanding,
    /// Entries of theirs that we hold.
    pub(crate) entries: u64,
}

impl From<view::CircleMember> for CircleMember {
    fn from(member: view::CircleMember) -> Self {
        Self {
            person: member.person.into(),
            let_in_by: member.let_in_by.map(Person::from),
            standing: member.standing.into(),
            entries: member.entries,
        }
    }
}
