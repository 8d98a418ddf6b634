//! Forums, blogs, their members and offers.

use engine::view;
use serde::Serialize;
use utoipa::ToSchema;

use super::Person;

/// A feed whose author signed two different entries at one place.
#[derive(Serialize, ToSchema)]
pub(crate) struct Fork {
    /// Whose.
    pub(crate) author: Person,
    /// The device.
    pub(crate) device: String,
    /// Entries before this one are kept.
    pub(crate) seq: u64,
}

/// A forum.
#[derive(Serialize, ToSchema)]
pub(crate) struct Forum {
    /// The space, the same on every node.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// What it is about.
    pub(crate) description: String,
    /// Who made it.
    pub(crate) creator: Person,
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

impl From<view::Fork> for Fork {
    fn from(fork: view::Fork) -> Self {
        Self {
            author: fork.author.into(),
            device: fork.device.to_string(),
            seq: fork.seq,
        }
    }
}

impl From<view::Forum> for Forum {
    fn from(forum: view::Forum) -> Self {
        Self {
            id: forum.id.to_string(),
            name: forum.name,
            description: forum.description,
            creator: forum.creator.into(),
            unread: forum.unread,
            threads: forum.threads,
            entries: forum.entries,
            arriving: forum.arriving,
            last_activity_ms: forum.last_activity_ms.map(|time| time.0),
            forks: forum.forks.into_iter().map(Fork::from).collect(),
        }
    }
}

/// Somebody in a space, and who let them in.
#[derive(Serialize, ToSchema)]
pub(crate) struct Member {
    /// Who.
    pub(crate) person: Person,
    /// Who let them in; null for the creator.
    pub(crate) admitted_by: Option<Person>,
    /// Steps from the creator.
    pub(crate) depth: u32,
    /// Entries of theirs that we hold.
    pub(crate) entries: u64,
    /// A contact to whom we offered the space and who hasn't answered.
    pub(crate) offered: bool,
}

impl From<view::Member> for Member {
    fn from(member: view::Member) -> Self {
        Self {
            person: member.person.into(),
            admitted_by: member.admitted_by.map(Person::from),
            depth: member.depth,
            entries: member.entries,
            offered: member.offered,
        }
    }
}

/// What a space is for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SpaceKind {
    /// Threads by all members.
    Forum,
    /// Articles by one person, comments by readers.
    Blog,
    /// Private messages of two people.
    Conversation,
    /// Threads by those whom its owner let in.
    Circle,
}

impl From<view::SpaceKind> for SpaceKind {
    fn from(kind: view::SpaceKind) -> Self {
        match kind {
            view::SpaceKind::Forum => Self::Forum,
            view::SpaceKind::Blog => Self::Blog,
            view::SpaceKind::Conversation => Self::Conversation,
            view::SpaceKind::Circle => Self::Circle,
        }
    }
}

/// An offer that waits for our answer.
#[derive(Serialize, ToSchema)]
pub(crate) struct Offer {
    /// Its local id.
    pub(crate) id: String,
    /// The space.
    pub(crate) space: String,
    /// Its kind.
    pub(crate) kind: SpaceKind,
    /// Its name.
    pub(crate) name: String,
    /// What it is about.
    pub(crate) description: String,
    /// Who made the space.
    pub(crate) creator: Person,
    /// Who offers it.
    pub(crate) from: Person,
    /// When it came.
    pub(crate) received_ms: u64,
}

impl From<view::Offer> for Offer {
    fn from(offer: view::Offer) -> Self {
        Self {
            id: offer.id,
            space: offer.space.to_string(),
            kind: offer.kind.into(),
            name: offer.name,
            description: offer.description,
            creator: offer.creator.into(),
            from: offer.from.into(),
            received_ms: offer.received_ms.0,
        }
    }
}

/// An offer that we made.
#[derive(Serialize, ToSchema)]
pub(crate) struct OfferMade {
    /// The space.
    pub(crate) space: String,
    /// To whom.
    pub(crate) contact: String,
    /// Always `waiting`: it goes out at the next meeting, and they answer or don't.
    pub(crate) state: &'static str,
}

/// A blog.
#[derive(Serialize, ToSchema)]
pub(crate) struct Blog {
    /// The space, the same on every node.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) author: Person,
    /// Ours.
    pub(crate) own: bool,
    /// Unread entries.
    pub(crate) unread: u64,
    /// Articles.
    pub(crate) articles: u64,
    /// Older entries that are known to exist and still arrive: newer ones came first.
    pub(crate) arriving: u64,
    /// Newest activity.
    pub(crate) last_activity_ms: Option<u64>,
}

impl From<view::Blog> for Blog {
    fn from(blog: view::Blog) -> Self {
        Self {
            id: blog.id.to_string(),
            name: blog.name,
            author: blog.author.into(),
            own: blog.own,
            unread: blog.unread,
            articles: blog.articles,
            arriving: blog.arriving,
            last_activity_ms: blog.last_activity_ms.map(|time| time.0),
        }
    }
}

/// The space that an accepted offer gave.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// The space; the other fields of a forum or blog follow where it stands already.
    pub(crate) id: String,
}
