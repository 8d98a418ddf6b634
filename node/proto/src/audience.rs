//! Who may have what: the one pure rule, asked before anything about a space leaves this node.
//!
//! Nothing outside this module makes a [`Clearance`], and nothing about a space is sent without one.

use crate::{
    ids::{IdentityId, SpaceId},
    space::SpaceKind,
};

/// What the rule needs to know of a space that this node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceFacts {
    /// The space.
    pub id: SpaceId,
    /// Its kind.
    pub kind: SpaceKind,
    /// The other person of a conversation, the owner of an own space; else the creator.
    pub counterpart: IdentityId,
    /// Of a circle: we are in it ourselves, and weren't removed.
    pub member: bool,
}

/// What the rule needs to know of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContactFacts {
    /// Who.
    pub identity: IdentityId,
    /// Accepted by both sides.
    pub ready: bool,
    /// We excluded this contact from this space.
    pub excluded: bool,
    /// Of a circle: they are in it, or are invited by us, and neither were removed nor left.
    pub member: bool,
}

/// Permission to tell one contact about one space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clearance {
    space: SpaceId,
    contact: IdentityId,
}

impl Clearance {
    /// The space.
    #[must_use]
    pub const fn space(&self) -> SpaceId {
        self.space
    }

    /// The contact.
    #[must_use]
    pub const fn contact(&self) -> IdentityId {
        self.contact
    }
}

/// Whether a contact may receive a space that we hold.
///
/// Forums and blogs: every contact whom we didn't exclude and who shows that they know the space
/// (common spaces are found by keyed hashes, so an unknown space is never named to them).
/// Conversations: the other person only. Own spaces: the own identity only. Circles: members, as
/// long as we are one.
#[must_use]
pub fn clear(space: &SpaceFacts, contact: &ContactFacts) -> Option<Clearance> {
    let allowed = match space.kind {
        SpaceKind::Forum | SpaceKind::Blog => !contact.excluded,
        SpaceKind::Conversation | SpaceKind::Own => space.counterpart == contact.identity,
        SpaceKind::Circle => space.member && contact.member && !contact.excluded,
    };
    (contact.ready && allowed).then_some(Clearance {
        space: space.id,
        contact: contact.identity,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_rule() {
        let (ben, cem) = (IdentityId([2; 32]), IdentityId([3; 32]));
        for kind in [
            SpaceKind::Forum,
            SpaceKind::Blog,
            SpaceKind::Circle,
            SpaceKind::Conversation,
            SpaceKind::Own,
        ] {
            for counterpart in [ben, cem] {
                for bits in 0..16_u8 {
                    let [ready, excluded, inside, member] = [1, 2, 4, 8].map(|bit| bits & bit > 0);
                    let space = SpaceFacts {
                        id: SpaceId([1; 32]),
                        kind,
                        counterpart,
                        member: inside,
                    };
                    let contact = ContactFacts {
                        identity: ben,
                        ready,
                        excluded,
                        member,
                    };
                    let expected = ready
                        && match kind {
                            SpaceKind::Forum | SpaceKind::Blog => !excluded,
                            SpaceKind::Circle => inside && member && !excluded,
                            SpaceKind::Conversation | SpaceKind::Own => counterpart == ben,
                        };
                    assert_eq!(
                        clear(&space, &contact).is_some(),
                        expected,
                        "{space:?} {contact:?}"
                    );
                }
            }
        }
    }
}
