//! What an entry is in its space: the same body means something in one kind of space only.

use proto::{
    DeviceId, EntryId, IdentityId,
    body::{Body, Genesis, Rule, Setting},
    space::SpaceKind,
};

use crate::work::Work;

/// The id that stands for the one topic of a conversation.
pub(crate) const CONVERSATION_ROOT: EntryId = EntryId([0; 32]);

/// What an entry does to what is shown.
#[derive(Debug)]
pub(crate) enum Role<'b> {
    /// Begins a topic.
    First,
    /// Stands in a topic.
    Item {
        root: EntryId,
        /// What it answers, where that isn't the topic's first entry.
        parent: Option<EntryId>,
    },
    Relation(Relation<'b>),
    Name(&'b str),
    Genesis(&'b Genesis<'b>),
    Revocation,
    /// A line in a conversation that says how it is kept.
    Setting(&'b Setting),
    Rule(&'b Rule),
    /// Read so far: a device and the place.
    Receipt(DeviceId, u64),
    /// Held and passed on, not shown.
    None,
}

/// An entry about another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation<'b> {
    Edit {
        target: EntryId,
    },
    Retract {
        target: EntryId,
    },
    Reaction {
        target: EntryId,
        emoji: &'b str,
        on: bool,
    },
}

impl Relation<'_> {
    pub(crate) const EDIT: u8 = 1;
    pub(crate) const RETRACT: u8 = 2;
    pub(crate) const REACTION: u8 = 3;

    pub(crate) const fn target(&self) -> EntryId {
        match self {
            Self::Edit { target } | Self::Retract { target } | Self::Reaction { target, .. } => {
                *target
            }
        }
    }

    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Edit { .. } => Self::EDIT,
            Self::Retract { .. } => Self::RETRACT,
            Self::Reaction { .. } => Self::REACTION,
        }
    }
}

impl Role<'_> {
    /// The first entry of the topic in which an entry with this id stands.
    pub(crate) fn root(&self, id: EntryId) -> Option<EntryId> {
        match self {
            Self::First => Some(id),
            Self::Item { root, .. } => Some(*root),
            Self::Setting(_) => Some(CONVERSATION_ROOT),
            _ => None,
        }
    }
}

impl Work {
    /// What an entry by `author` with this body is here.
    pub(crate) fn role<'b>(&self, author: Option<IdentityId>, body: &'b Body<'b>) -> Role<'b> {
        role_in(self.kind, self.creator(), author, body)
    }
}

/// What an entry with this body is in a space of this kind. A blog's articles are its owner's.
pub(crate) fn role_in<'b>(
    kind: SpaceKind,
    creator: Option<IdentityId>,
    author: Option<IdentityId>,
    body: &'b Body<'b>,
) -> Role<'b> {
    let answer = |answer: &proto::body::Answer<'_>| Role::Item {
        root: answer.root,
        parent: answer.parent.filter(|parent| *parent != answer.root),
    };
    match (body, kind) {
        (Body::Genesis(genesis), _) => Role::Genesis(genesis),
        (Body::Profile { name }, _) => Role::Name(name),
        (Body::Revocation(_), _) => Role::Revocation,
        (Body::Rule(rule), SpaceKind::Circle) => Role::Rule(rule),
        (Body::Edit { target, .. }, _) => Role::Relation(Relation::Edit { target: *target }),
        (Body::Retract { target }, _) => Role::Relation(Relation::Retract { target: *target }),
        (
            Body::Reaction {
                target, emoji, on, ..
            },
            _,
        ) => Role::Relation(Relation::Reaction {
            target: *target,
            emoji,
            on: *on,
        }),
        (Body::Thread { .. }, SpaceKind::Forum | SpaceKind::Circle) => Role::First,
        (Body::Reply(reply), SpaceKind::Forum | SpaceKind::Circle) => answer(reply),
        (Body::Article { .. } | Body::Reblog(_), SpaceKind::Blog)
            if author.is_some() && author == creator =>
        {
            Role::First
        }
        (Body::Comment(comment), SpaceKind::Blog) => answer(comment),
        (Body::Message { parent, .. }, SpaceKind::Conversation) => Role::Item {
            root: CONVERSATION_ROOT,
            parent: *parent,
        },
        (Body::Receipt { device, seq }, SpaceKind::Conversation) => Role::Receipt(*device, *seq),
        (Body::Setting(setting), SpaceKind::Conversation) => Role::Setting(setting),
        _ => Role::None,
    }
}
