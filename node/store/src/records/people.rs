//! Contacts and their devices.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use proto::{
    DeviceId, EndpointId, IdentityId, Millis, SpaceId,
    card::{PairSecret, put_addrs, read_addrs},
    limits::{DEVICES_PER_IDENTITY_MAX, SPACES_MAX},
    wire::{Reader, WireError, put_prefixed, put_varint},
};

use super::{Kept, bytes, millis, put_millis, put_text, text};
use crate::{
    keys::id_at,
    rows::{put_option, read_option},
    tables::Table,
};

/// How sure we are that a contact's key is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Added by a link; nobody compared anything.
    Unverified,
    /// A mutual contact introduced us.
    Introduced,
    /// Words compared.
    Words,
    /// Met face to face.
    Verified,
}

/// How far a contact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactState {
    /// We used their link and wait for their answer.
    Pending,
    /// They used our link and wait for our answer.
    Asks,
    /// A contact.
    Ready,
}

/// A contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// The name on their card.
    pub name: String,
    /// Our private name for them.
    pub nickname: Option<String>,
    /// How sure we are.
    pub trust: Trust,
    /// How far it is.
    pub state: ContactState,
    /// The pair's secret, once both know it.
    pub pair_secret: Option<PairSecret>,
    /// When they were added.
    pub added: Millis,
    /// When we met last.
    pub last_met: Option<Millis>,
    /// Over which link, as the engine numbers links.
    pub last_link: Option<u8>,
    /// A note to ourselves: of the invite that they used.
    pub note: String,
    /// The link that we used, as long as they are pending.
    pub link: Option<String>,
    /// Our count of changes to what we allow and offer them.
    pub my_rev: u64,
    /// Their count that we know.
    pub seen_rev: u64,
    /// Our count that they know.
    pub acked_rev: u64,
    /// Their devices.
    pub devices: BTreeMap<DeviceId, ContactDevice>,
}

/// A contact's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactDevice {
    /// What is dialled.
    pub endpoint: EndpointId,
    /// Where.
    pub addrs: Vec<SocketAddr>,
    /// A relay that reaches it.
    pub relay: Option<String>,
    /// Its certificate as encoded; checked when the card came.
    pub certificate: Vec<u8>,
    /// Spaces found common at the last meeting.
    pub agreed: BTreeSet<SpaceId>,
}

impl Kept for Contact {
    type Key = IdentityId;
    const TABLE: Table = Table::Contacts;

    fn key(key: &IdentityId) -> Vec<u8> {
        key.0.to_vec()
    }

    fn key_from(bytes: &[u8]) -> IdentityId {
        IdentityId(id_at(bytes, 0))
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        put_option(out, self.nickname.as_ref(), |out, text| put_text(out, text));
        out.push(match self.trust {
            Trust::Unverified => 0,
            Trust::Introduced => 1,
            Trust::Words => 2,
            Trust::Verified => 3,
        });
        out.push(match self.state {
            ContactState::Pending => 0,
            ContactState::Asks => 1,
            ContactState::Ready => 2,
        });
        put_option(out, self.pair_secret.as_ref(), |out, secret| {
            out.extend_from_slice(&secret.0);
        });
        put_millis(out, &self.added);
        put_option(out, self.last_met.as_ref(), put_millis);
        put_option(out, self.last_link.as_ref(), |out, link| out.push(*link));
        put_text(out, &self.note);
        put_option(out, self.link.as_ref(), |out, text| put_text(out, text));
        for rev in [self.my_rev, self.seen_rev, self.acked_rev] {
            put_varint(out, rev);
        }
        put_varint(out, self.devices.len() as u64);
        for (id, device) in &self.devices {
            out.extend_from_slice(&id.0);
            device.put(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut contact = Self {
            name: text(reader)?,
            nickname: read_option(reader, text)?,
            trust: match reader.u8()? {
                0 => Trust::Unverified,
                1 => Trust::Introduced,
                2 => Trust::Words,
                3 => Trust::Verified,
                _ => return Err(WireError::Value("trust")),
            },
            state: match reader.u8()? {
                0 => ContactState::Pending,
                1 => ContactState::Asks,
                2 => ContactState::Ready,
                _ => return Err(WireError::Value("contact state")),
            },
            pair_secret: read_option(reader, |reader| reader.id().map(PairSecret))?,
            added: millis(reader)?,
            last_met: read_option(reader, millis)?,
            last_link: read_option(reader, |reader| reader.u8())?,
            note: text(reader)?,
            link: read_option(reader, text)?,
            my_rev: reader.varint()?,
            seen_rev: reader.varint()?,
            acked_rev: reader.varint()?,
            devices: BTreeMap::new(),
        };
        for _ in 0..reader.length("devices", DEVICES_PER_IDENTITY_MAX)? {
            let id = DeviceId(reader.id()?);
            contact.devices.insert(id, ContactDevice::read(reader)?);
        }
        Ok(contact)
    }
}

impl ContactDevice {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.endpoint.0);
        put_addrs(out, &self.addrs);
        put_option(out, self.relay.as_ref(), |out, text| put_text(out, text));
        put_prefixed(out, &self.certificate);
        put_varint(out, self.agreed.len() as u64);
        for space in &self.agreed {
            out.extend_from_slice(&space.0);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            endpoint: EndpointId(reader.id()?),
            addrs: read_addrs(reader)?,
            relay: read_option(reader, text)?,
            certificate: bytes(reader)?,
            agreed: {
                let count = reader.length("agreed", SPACES_MAX)?;
                (0..count)
                    .map(|_| reader.id().map(SpaceId))
                    .collect::<Result<_, _>>()?
            },
        })
    }
}
