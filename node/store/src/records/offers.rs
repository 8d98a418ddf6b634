//! Invites, offers of spaces, and spaces that were left.

use proto::{
    IdentityId, Millis, SpaceId,
    card::InviteSecret,
    limits::INVITE_USES_MAX,
    wire::{Reader, WireError, put_prefixed, put_varint},
};
use zeroize::Zeroizing;

use super::{Kept, Setting, bytes, millis, put_millis, put_text, text};
use crate::{
    keys::id_at,
    rows::{put_option, read_option, read_u32},
    tables::Table,
};

/// An invite that we made.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    /// Its one-time secret.
    pub secret: InviteSecret,
    /// The temporary endpoint's secret key, of an invite for many.
    pub endpoint_secret: Option<Zeroizing<[u8; 32]>>,
    /// The link.
    pub link: String,
    /// Uses allowed.
    pub uses: u32,
    /// Uses so far.
    pub used: u32,
    /// When it ends.
    pub expires: Millis,
    /// When it was made.
    pub created: Millis,
    /// A note to ourselves.
    pub note: String,
    /// Who used it.
    pub used_by: Vec<IdentityId>,
    /// Somebody else tried it after its last use.
    pub tried_again: bool,
    /// It was made while the internet link was off.
    pub local_only: bool,
}

impl std::fmt::Debug for Invite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invite")
            .field("uses", &self.uses)
            .field("used", &self.used)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Kept for Invite {
    type Key = String;
    const TABLE: Table = Table::Invites;

    fn key(key: &String) -> Vec<u8> {
        Setting::key(key)
    }

    fn key_from(bytes: &[u8]) -> String {
        Setting::key_from(bytes)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.secret.0);
        put_option(out, self.endpoint_secret.as_ref(), |out, secret| {
            out.extend_from_slice(secret.as_slice());
        });
        put_text(out, &self.link);
        put_varint(out, u64::from(self.uses));
        put_varint(out, u64::from(self.used));
        put_millis(out, &self.expires);
        put_millis(out, &self.created);
        put_text(out, &self.note);
        put_varint(out, self.used_by.len() as u64);
        for identity in &self.used_by {
            out.extend_from_slice(&identity.0);
        }
        out.push(u8::from(self.tried_again));
        out.push(u8::from(self.local_only));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            secret: InviteSecret(reader.array()?),
            endpoint_secret: read_option(reader, |reader| reader.id().map(Zeroizing::new))?,
            link: text(reader)?,
            uses: read_u32(reader)?,
            used: read_u32(reader)?,
            expires: millis(reader)?,
            created: millis(reader)?,
            note: text(reader)?,
            used_by: {
                let count = reader.length("used by", INVITE_USES_MAX as usize)?;
                (0..count)
                    .map(|_| reader.id().map(IdentityId))
                    .collect::<Result<_, _>>()?
            },
            tried_again: reader.flag("tried again")?,
            local_only: reader.flag("local only")?,
        })
    }
}

/// What we answered to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferState {
    /// Nothing yet.
    Waiting,
    /// No; kept so that it isn't shown again.
    Declined,
}

/// An offer that we got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferIn {
    /// The space's descriptor as encoded.
    pub descriptor: Vec<u8>,
    /// The chain that lets us write, as encoded.
    pub chain: Vec<u8>,
    /// Who offers it.
    pub from: IdentityId,
    /// When it came.
    pub received: Millis,
    /// Our answer.
    pub state: OfferState,
}

impl Kept for OfferIn {
    type Key = String;
    const TABLE: Table = Table::OffersIn;

    fn key(key: &String) -> Vec<u8> {
        Setting::key(key)
    }

    fn key_from(bytes: &[u8]) -> String {
        Setting::key_from(bytes)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_prefixed(out, &self.descriptor);
        put_prefixed(out, &self.chain);
        out.extend_from_slice(&self.from.0);
        put_millis(out, &self.received);
        out.push(u8::from(self.state == OfferState::Declined));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            descriptor: bytes(reader)?,
            chain: bytes(reader)?,
            from: IdentityId(reader.id()?),
            received: millis(reader)?,
            state: if reader.flag("declined")? {
                OfferState::Declined
            } else {
                OfferState::Waiting
            },
        })
    }
}

/// An offer that we made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferOut {
    /// The space's descriptor as encoded.
    pub descriptor: Vec<u8>,
    /// The chain that lets the contact write, as encoded.
    pub chain: Vec<u8>,
    /// Our count of changes when it was made.
    pub rev: u64,
}

impl Kept for OfferOut {
    type Key = (IdentityId, SpaceId);
    const TABLE: Table = Table::OffersOut;

    fn key((contact, space): &Self::Key) -> Vec<u8> {
        [contact.0, space.0].concat()
    }

    fn key_from(bytes: &[u8]) -> Self::Key {
        (IdentityId(id_at(bytes, 0)), SpaceId(id_at(bytes, 32)))
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_prefixed(out, &self.descriptor);
        put_prefixed(out, &self.chain);
        put_varint(out, self.rev);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            descriptor: bytes(reader)?,
            chain: bytes(reader)?,
            rev: reader.varint()?,
        })
    }
}

/// A space that we left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// When.
    pub at: Millis,
}

impl Kept for Left {
    type Key = SpaceId;
    const TABLE: Table = Table::Left;

    fn key(key: &SpaceId) -> Vec<u8> {
        key.0.to_vec()
    }

    fn key_from(bytes: &[u8]) -> SpaceId {
        SpaceId(id_at(bytes, 0))
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_millis(out, &self.at);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            at: millis(reader)?,
        })
    }
}
