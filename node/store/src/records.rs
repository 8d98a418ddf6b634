//! Plain rows that the engine keeps here: this device, settings, contacts, invites, offers.
//!
//! Each kind has a getter, a list, a put and a remove. Nothing here is derived from entries, and
//! this module decides nothing about what the rows mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use proto::{
    DeviceId, EndpointId, IdentityId, Millis, SpaceId,
    admission::Certificate,
    card::{InviteSecret, PairSecret, put_addrs, read_addrs},
    limits::{DEVICES_PER_IDENTITY_MAX, INVITE_USES_MAX, SPACES_MAX},
    wire::{Reader, WireError, put_prefixed, put_varint},
};
use zeroize::Zeroizing;

use crate::{
    error::{Error, Result},
    keys::{Key, Prefixed, id_at, number},
    rows::{put_option, read_option, read_u32},
    tables::{Source, Table},
    txn::Txn,
    view::View,
};

/// Bytes of any text or encoding in a record: a chain of admissions is the longest.
const FIELD_BYTES_MAX: usize = 64 * 1024;
/// The version of every record so far.
const RECORD_VERSION: u8 = 1;

/// A kind of record.
pub(crate) trait Kept: Sized {
    type Key;
    const TABLE: Table;
    fn key(key: &Self::Key) -> Vec<u8>;
    fn key_from(bytes: &[u8]) -> Self::Key;
    fn put(&self, out: &mut Vec<u8>);
    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError>;
}

fn decode<R: Kept>(bytes: &[u8]) -> Result<R> {
    let mut reader = Reader::new(bytes);
    let record = match reader.u8() {
        Ok(RECORD_VERSION) => R::read(&mut reader),
        _ => Err(WireError::Value("record version")),
    };
    record
        .and_then(|record| reader.end().map(|()| record))
        .map_err(|_| Error::Corrupt {
            table: R::TABLE.name(),
        })
}

/// Records may hold secrets, so their encoding is wiped after use.
fn encode<R: Kept>(record: &R) -> Zeroizing<Vec<u8>> {
    let mut out = Vec::with_capacity(512);
    out.push(RECORD_VERSION);
    record.put(&mut out);
    Zeroizing::new(out)
}

impl<S: Source> View<S> {
    pub(crate) fn kept<R: Kept>(&self, key: &R::Key) -> Result<Option<R>> {
        self.0
            .with(R::TABLE, &R::key(key), decode::<R>)?
            .transpose()
    }

    pub(crate) fn all_kept<R: Kept>(&self) -> Result<Vec<(R::Key, R)>> {
        let range = Prefixed::new(Key::new());
        self.0
            .rows(R::TABLE, range.bounds())?
            .map(|row| {
                let (key, value) = row?;
                Ok((R::key_from(key.value()), decode::<R>(value.value())?))
            })
            .collect()
    }
}

impl Txn<'_> {
    pub(crate) fn put_kept<R: Kept>(&mut self, key: &R::Key, record: &R) -> Result<()> {
        let value = encode(record);
        self.put(R::TABLE, &R::key(key), &value)
    }

    pub(crate) fn remove_kept<R: Kept>(&mut self, key: &R::Key) -> Result<bool> {
        self.remove(R::TABLE, &R::key(key))
    }
}

macro_rules! records {
    ($($(#[$doc:meta])* $record:ident [$key:ty]: $get:ident, $list:ident, $put:ident, $remove:ident;)*) => {
        impl<S: Source> View<S> {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// The database's.
                pub fn $get(&self, key: &$key) -> Result<Option<$record>> {
                    self.kept(key)
                }

                /// All of them, by key.
                ///
                /// # Errors
                /// The database's.
                pub fn $list(&self) -> Result<Vec<($key, $record)>> {
                    self.all_kept()
                }
            )*
        }
        records!(@write $($record [$key]: $put, $remove;)*);
    };
    (@write Contact [$ckey:ty]: $cput:ident, $cremove:ident; $($record:ident [$key:ty]: $put:ident, $remove:ident;)*) => {
        impl Txn<'_> {
            $(
                /// Keeps it under its key.
                ///
                /// # Errors
                /// The database's.
                pub fn $put(&mut self, key: &$key, record: &$record) -> Result<()> {
                    self.put_kept(key, record)
                }

                /// Forgets it; false where there was none.
                ///
                /// # Errors
                /// The database's.
                pub fn $remove(&mut self, key: &$key) -> Result<bool> {
                    self.remove_kept::<$record>(key)
                }
            )*
        }
    };
}

records! {
    /// A contact.
    Contact [IdentityId]: contact, contacts, put_contact, remove_contact;
    /// An invite that we made, by its local id.
    Invite [String]: invite, invites, put_invite, remove_invite;
    /// An offer that we got, by its local id.
    OfferIn [String]: offer_in, offers_in, put_offer_in, remove_offer_in;
    /// An offer that we made to a contact.
    OfferOut [(IdentityId, SpaceId)]: offer_out, offers_out, put_offer_out, remove_offer_out;
    /// A space that we left and that is not to be taken again by itself.
    Left [SpaceId]: left, all_left, put_left, remove_left;
    /// A setting.
    Setting [String]: setting, settings, put_setting, remove_setting;
}

impl<S: Source> View<S> {
    /// This device; `None` before set-up.
    ///
    /// # Errors
    /// The database's.
    pub fn own_device(&self) -> Result<Option<OwnDevice>> {
        self.kept(&())
    }

    /// The contact whose device answers at an endpoint.
    ///
    /// # Errors
    /// The database's.
    pub fn contact_at(&self, endpoint: EndpointId) -> Result<Option<IdentityId>> {
        self.0.with(Table::Endpoints, &endpoint.0, |value| {
            IdentityId(id_at(value, 0))
        })
    }

    /// Whether we keep a space from a contact.
    ///
    /// # Errors
    /// The database's.
    pub fn is_excluded(&self, space: SpaceId, contact: IdentityId) -> Result<bool> {
        let key = Key::new().bytes(&space.0).bytes(&contact.0);
        Ok(self
            .0
            .with(Table::Exclusions, key.as_slice(), |_| ())?
            .is_some())
    }

    /// Contacts from whom we keep a space.
    ///
    /// # Errors
    /// The database's.
    pub fn excluded(&self, space: SpaceId) -> Result<Vec<IdentityId>> {
        let rows = self.collect(Table::Exclusions, Key::new().bytes(&space.0))?;
        Ok(rows
            .iter()
            .map(|(key, _)| IdentityId(id_at(key, 32)))
            .collect())
    }

    /// A counter; 0 where it was never raised.
    ///
    /// # Errors
    /// The database's.
    pub fn counter(&self, name: &str) -> Result<u64> {
        Ok(self
            .0
            .with(Table::Counters, name.as_bytes(), number)?
            .unwrap_or(0))
    }
}

impl Txn<'_> {
    /// Keeps what this device is.
    ///
    /// # Errors
    /// The database's.
    pub fn put_own_device(&mut self, own: &OwnDevice) -> Result<()> {
        self.put_kept(&(), own)
    }

    /// Keeps a contact, and finds it by its devices' endpoints from now on.
    ///
    /// # Errors
    /// The database's.
    pub fn put_contact(&mut self, identity: &IdentityId, contact: &Contact) -> Result<()> {
        self.forget_endpoints(identity)?;
        for device in contact.devices.values() {
            self.put(Table::Endpoints, &device.endpoint.0, &identity.0)?;
        }
        self.put_kept(identity, contact)
    }

    /// Forgets a contact with endpoints, offers, exclusions and the name of the card.
    ///
    /// # Errors
    /// The database's.
    pub fn remove_contact(&mut self, identity: &IdentityId) -> Result<bool> {
        self.forget_endpoints(identity)?;
        self.forget_name(*identity)?;
        self.remove_all(Table::OffersOut, Key::new().bytes(&identity.0), usize::MAX)?;
        for (key, _) in self.collect(Table::Exclusions, Key::new())? {
            if key.get(32..) == Some(identity.0.as_slice()) {
                self.remove(Table::Exclusions, &key)?;
            }
        }
        for (id, offer) in self.offers_in()? {
            if offer.from == *identity {
                self.remove_offer_in(&id)?;
            }
        }
        self.remove_kept::<Contact>(identity)
    }

    fn forget_endpoints(&mut self, identity: &IdentityId) -> Result<()> {
        let Some(known) = self.contact(identity)? else {
            return Ok(());
        };
        for device in known.devices.values() {
            if self.contact_at(device.endpoint)? == Some(*identity) {
                self.remove(Table::Endpoints, &device.endpoint.0)?;
            }
        }
        Ok(())
    }

    /// Keeps a space from a contact, or no longer.
    ///
    /// # Errors
    /// The database's.
    pub fn exclude(&mut self, space: SpaceId, contact: IdentityId, excluded: bool) -> Result<()> {
        let key = Key::new().bytes(&space.0).bytes(&contact.0);
        if excluded {
            self.put(Table::Exclusions, key.as_slice(), &[])
        } else {
            self.remove(Table::Exclusions, key.as_slice()).map(drop)
        }
    }

    /// Raises a counter by `by`: its new value.
    ///
    /// # Errors
    /// The database's.
    pub fn raise(&mut self, name: &str, by: u64) -> Result<u64> {
        let value = self.counter(name)?.saturating_add(by);
        self.put(Table::Counters, name.as_bytes(), &value.to_be_bytes())?;
        Ok(value)
    }
}

/// This device. Its secrets are in files of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDevice {
    /// Identity, device and serial.
    pub certificate: Certificate,
    /// The person's name.
    pub name: String,
    /// The serial of the newest certificate that the identity signed.
    pub last_serial: u32,
}

impl Kept for OwnDevice {
    type Key = ();
    const TABLE: Table = Table::Own;

    fn key((): &()) -> Vec<u8> {
        b"own".to_vec()
    }

    fn key_from(_: &[u8]) {}

    fn put(&self, out: &mut Vec<u8>) {
        put_prefixed(out, &self.certificate.encode());
        put_prefixed(out, self.name.as_bytes());
        put_varint(out, u64::from(self.last_serial));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            certificate: Certificate::decode(reader.prefixed("certificate", Certificate::LEN)?)
                .map_err(|_| WireError::Value("certificate"))?,
            name: text(reader)?,
            last_serial: read_u32(reader)?,
        })
    }
}

fn text(reader: &mut Reader<'_>) -> Result<String, WireError> {
    reader.text("text", FIELD_BYTES_MAX).map(str::to_owned)
}

fn bytes(reader: &mut Reader<'_>) -> Result<Vec<u8>, WireError> {
    reader
        .prefixed("bytes", FIELD_BYTES_MAX)
        .map(<[u8]>::to_vec)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_prefixed(out, text.as_bytes());
}

fn put_millis(out: &mut Vec<u8>, at: &Millis) {
    put_varint(out, at.0);
}

fn millis(reader: &mut Reader<'_>) -> Result<Millis, WireError> {
    reader.varint().map(Millis)
}

/// A setting: bytes whose meaning is the engine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting(pub Vec<u8>);

impl Kept for Setting {
    type Key = String;
    const TABLE: Table = Table::Settings;

    fn key(key: &String) -> Vec<u8> {
        key.as_bytes().to_vec()
    }

    fn key_from(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_prefixed(out, &self.0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        bytes(reader).map(Self)
    }
}

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
