//! Rules of a circle: what its owner decides, and that a member leaves or comes back.
//!
//! A rule is checked here for its form only. Whether it counts follows from all rules that are
//! held, see [`crate::circle`].

use crate::{
    admission::Certificate,
    cbor::MapWriter,
    ids::{DeviceId, EntryId, IdentityId, SpaceId},
    keys::{DeviceKey, Domain, Signature, verify},
    limits::{DEVICES_PER_IDENTITY_MAX, NAMED_MAX},
    verify::LastGood,
    wire::{Reader, WireError},
};

/// Bytes of a device with its last good entry and its signature.
const LAST_LEN: usize = 32 + 8 + 32 + 64;
/// Bytes of a device with a place.
const PLACE_LEN: usize = 32 + 8;

/// A rule of a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The hand-over by which the author is the owner; none for the creator and of members' rules.
    pub under: Option<EntryId>,
    /// What it does.
    pub action: Action,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ends a person's membership, for good.
    Remove(Box<Removal>),
    /// Nobody writes in the circle, or in one thread, any more.
    Close(Option<EntryId>),
    /// They do again.
    Reopen(Option<EntryId>),
    /// Somebody else is the owner from here on.
    HandOver(Box<HandOver>),
    /// A member leaves.
    Leave,
    /// One who left is back.
    Return,
}

/// A person stands in a list without being shown to who doesn't know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemberTag(pub [u8; 16]);

impl MemberTag {
    /// The tag of a person in a circle.
    #[must_use]
    pub fn of(space: SpaceId, identity: IdentityId) -> Self {
        let mut tag = [0; 16];
        blake3::Hasher::new_derive_key("waymeet 1 circle member")
            .update(&space.0)
            .update(&identity.0)
            .finalize_xof()
            .fill(&mut tag);
        Self(tag)
    }
}

/// Who is the owner next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// The next owner.
    pub to: IdentityId,
    /// Who was let in by then, those too who haven't answered; sorted.
    pub named: Vec<MemberTag>,
    /// Of the giver's other devices, up to which place they spoke as the owner's; sorted.
    pub others: Vec<(DeviceId, u64)>,
}

/// Where a removed person's feed ends: an entry that its device signed, since nothing that follows may
/// rest on another's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remains {
    /// The entry.
    pub last: LastGood,
    /// The device's signature of it.
    pub signature: Signature,
}

/// The end of a person's feeds in a circle, by a device of its owner. It can be checked without the
/// entry that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The hand-over by which its author is the owner.
    pub under: Option<EntryId>,
    /// The author and the device.
    pub by: Certificate,
    /// Its place in the device's feed.
    pub place: u64,
    /// Who is removed.
    pub identity: IdentityId,
    /// What remains of their feeds, by device; nothing of those that aren't named.
    pub feeds: Vec<(DeviceId, Remains)>,
    signature: Signature,
}

impl Removal {
    /// A device of the owner removes somebody.
    #[must_use]
    pub fn sign(
        key: &DeviceKey,
        space: SpaceId,
        by: (&Certificate, u64),
        under: Option<EntryId>,
        identity: IdentityId,
        mut feeds: Vec<(DeviceId, Remains)>,
    ) -> Self {
        feeds.sort_unstable_by_key(|(device, _)| *device);
        let mut removal = Self {
            under,
            by: by.0.clone(),
            place: by.1,
            identity,
            feeds,
            signature: Signature([0; 64]),
        };
        removal.signature = key.sign(Domain::Removal, &removal.payload(space));
        removal
    }

    fn payload(&self, space: SpaceId) -> Vec<u8> {
        [
            &space.0[..],
            &self.under.map_or([0; 32], |under| under.0),
            &self.by.identity.0,
            &self.by.device.0,
            &self.place.to_be_bytes(),
            &self.identity.0,
            &self.feed_bytes(),
        ]
        .concat()
    }

    fn feed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.feeds.len() * LAST_LEN);
        for (device, Remains { last, signature }) in &self.feeds {
            out.extend_from_slice(&device.0);
            out.extend_from_slice(&last.seq.to_be_bytes());
            out.extend_from_slice(&last.id.0);
            out.extend_from_slice(&signature.0);
        }
        out
    }

    /// Whether the device signed this for `space`, and each removed device the entry with which its feed
    /// ends. Whether it is the owner's is another question.
    #[must_use]
    pub fn holds(&self, space: SpaceId) -> bool {
        let signer = &self.by.device.0;
        let ends = self.feeds.iter().all(|(device, remains)| {
            let id = &remains.last.id.0;
            verify(&device.0, Domain::Entry, id, &remains.signature)
        });
        ends && verify(
            signer,
            Domain::Removal,
            &self.payload(space),
            &self.signature,
        )
    }

    /// What remains of a device's feed.
    #[must_use]
    pub fn last_good(&self, device: DeviceId) -> Option<LastGood> {
        let mut feeds = self.feeds.iter();
        let found = feeds.find(|(id, _)| *id == device);
        found.map(|(_, remains)| remains.last)
    }
}

impl Rule {
    /// The number of its action.
    #[must_use]
    pub const fn code(&self) -> u64 {
        match self.action {
            Action::Remove(_) => 1,
            Action::Close(_) => 2,
            Action::Reopen(_) => 3,
            Action::HandOver(_) => 4,
            Action::Leave => 5,
            Action::Return => 6,
        }
    }

    /// Whether it is a member's own word, which needs no owner.
    #[must_use]
    pub const fn is_members(&self) -> bool {
        matches!(self.action, Action::Leave | Action::Return)
    }

    /// A removal as a rule.
    #[must_use]
    pub fn removal(removal: Removal) -> Self {
        Self {
            under: removal.under,
            action: Action::Remove(Box::new(removal)),
        }
    }

    pub(super) fn encode(&self, map: &mut MapWriter) {
        if let Some(under) = self.under {
            map.bytes(1, &under.0);
        }
        map.uint(2, self.code());
        match &self.action {
            Action::Remove(removal) => {
                map.bytes(3, &removal.identity.0)
                    .bytes(4, &removal.feed_bytes())
                    .bytes(5, &removal.by.encode())
                    .uint(6, removal.place)
                    .bytes(7, &removal.signature.0);
            }
            Action::Close(thread) | Action::Reopen(thread) => {
                if let Some(thread) = thread {
                    map.bytes(3, &thread.0);
                }
            }
            Action::HandOver(hand_over) => {
                let named: Vec<u8> = hand_over.named.iter().flat_map(|tag| tag.0).collect();
                let others: Vec<u8> = hand_over
                    .others
                    .iter()
                    .flat_map(|(device, seq)| [&device.0[..], &seq.to_be_bytes()].concat())
                    .collect();
                map.bytes(3, &hand_over.to.0)
                    .bytes(4, &named)
                    .bytes(5, &others);
            }
            Action::Leave | Action::Return => {}
        }
    }
}

/// Parts of a removal as they stand in a body, but for what is read elsewhere.
pub(super) struct RemovalParts<'a> {
    pub(super) identity: IdentityId,
    pub(super) feeds: &'a [u8],
    pub(super) by: Certificate,
    pub(super) place: u64,
    pub(super) signature: Signature,
}

impl RemovalParts<'_> {
    pub(super) fn read(self, under: Option<EntryId>) -> Result<Removal, WireError> {
        let feeds = sorted(self.feeds, LAST_LEN, DEVICES_PER_IDENTITY_MAX, |reader| {
            let device = DeviceId(reader.id()?);
            let last = LastGood {
                seq: u64::from_be_bytes(reader.array()?),
                id: EntryId(reader.id()?),
            };
            let signature = Signature(reader.array()?);
            Ok((device, Remains { last, signature }))
        })?;
        if !feeds.is_sorted_by(|(one, _), (other, _)| one < other) {
            return Err(WireError::Value("feeds"));
        }
        Ok(Removal {
            under,
            by: self.by,
            place: self.place,
            identity: self.identity,
            feeds,
            signature: self.signature,
        })
    }
}

pub(super) fn read_hand_over(
    to: IdentityId,
    named: &[u8],
    others: &[u8],
) -> Result<HandOver, WireError> {
    let named = sorted(named, 16, NAMED_MAX, |reader| {
        Ok(MemberTag(reader.array()?))
    })?;
    let others = sorted(others, PLACE_LEN, DEVICES_PER_IDENTITY_MAX, |reader| {
        Ok((DeviceId(reader.id()?), u64::from_be_bytes(reader.array()?)))
    })?;
    let rising = named.is_sorted_by(|one, other| one < other)
        && others.is_sorted_by(|(one, _), (other, _)| one < other);
    if rising {
        Ok(HandOver { to, named, others })
    } else {
        Err(WireError::Value("a list"))
    }
}

/// Items of a fixed length.
fn sorted<T>(
    bytes: &[u8],
    len: usize,
    max: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    if !bytes.len().is_multiple_of(len) || bytes.len() / len > max {
        return Err(WireError::Value("a list"));
    }
    let mut reader = Reader::new(bytes);
    (0..bytes.len() / len).map(|_| read(&mut reader)).collect()
}

/// Whether an encoded body is a rule, as far as its first bytes say.
pub(crate) fn is_rule(body: &[u8]) -> bool {
    // A map of few keys, and key 0 with the kind in two bytes.
    body.get(1..4) == Some(&[0, 0x18, super::kind::RULE as u8])
}
