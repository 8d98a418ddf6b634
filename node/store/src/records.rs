//! Plain rows that the engine keeps here: this device, settings, contacts, invites, offers.
//!
//! Each kind has a getter, a list, a put and a remove. Nothing here is derived from entries, and
//! this module decides nothing about what the rows mean.

mod beacons;
mod introductions;
mod letters;
mod meetings;
mod offers;
mod people;

use std::collections::BTreeSet;

use proto::{
    DeviceId, EndpointId, IdentityId, Millis, SpaceId,
    admission::Certificate,
    introduction::IntroductionId,
    seal::{PrekeyId, Tag},
    space::conversation_id,
    wire::{Reader, WireError, put_prefixed, put_varint},
};
use zeroize::Zeroizing;

use crate::{
    error::{Error, Result},
    keys::{Key, Prefixed, id_at, number},
    rows::read_u32,
    tables::{Source, Table},
    txn::Txn,
    view::View,
};

pub use beacons::Beacons;
pub use introductions::{Introduction, Said};
pub use letters::{Carried, Lines, Loose, Owed, OwnLetter, OwnPrekey, Receipted, TheirPrekey};
pub use meetings::{MEETINGS_PER_CONTACT_MAX, Met, MetEnd};
pub use offers::{Invite, Left, OfferIn, OfferOut, OfferState};
pub use people::{Contact, ContactDevice, ContactState, Trust};

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
    decode_with(R::TABLE, bytes, R::read)
}

fn decode_with<R>(
    table: Table,
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<R, WireError>,
) -> Result<R> {
    let mut reader = Reader::new(bytes);
    let record = match reader.u8() {
        Ok(RECORD_VERSION) => read(&mut reader),
        _ => Err(WireError::Value("record version")),
    };
    record
        .and_then(|record| reader.end().map(|()| record))
        .map_err(|_| Error::Corrupt {
            table: table.name(),
        })
}

/// Records may hold secrets, so their encoding is wiped after use.
fn encode<R: Kept>(record: &R) -> Zeroizing<Vec<u8>> {
    let mut out = Vec::with_capacity(512);
    out.push(RECORD_VERSION);
    record.put(&mut out);
    Zeroizing::new(out)
}

/// Reads a record and writes it again; `None` where it is refused.
pub(crate) fn again<R: Kept>(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = decode::<R>(bytes).ok()?;
    Some(encode(&record).to_vec())
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
    /// Keys of beacons between this device and a contact.
    Beacons [IdentityId]: beacons, all_beacons, put_beacons, remove_beacons;
    /// An introduction that we made or got.
    Introduction [IntroductionId]: introduction, introductions, put_introduction, remove_introduction;
    /// A key that we made for letters from a device.
    OwnPrekey [(DeviceId, PrekeyId)]: own_prekey, own_prekeys, put_own_prekey, remove_own_prekey;
    /// A key of a device for letters from us.
    TheirPrekey [(DeviceId, PrekeyId)]: their_prekey, their_prekeys, put_their_prekey, remove_their_prekey;
    /// Where the two lines between this device and another stand.
    Lines [DeviceId]: lines, all_lines, put_lines, remove_lines;
    /// A letter that we sealed, by the receiving device and its number.
    OwnLetter [(DeviceId, u64)]: own_letter, own_letters, put_own_letter, remove_own_letter;
    /// A letter that we carry.
    Carried [u64]: carried, all_carried, put_carried, remove_carried;
    /// What a receipt's hash leads to.
    Receipted [[u8; 32]]: receipted, all_receipted, put_receipted, remove_receipted;
    /// A receipt by its letter's tag.
    Owed [Tag]: owed, all_owed, put_owed, remove_owed;
    /// An entry that came in a letter, by its space, device and place.
    Loose [(SpaceId, DeviceId, u64)]: loose, all_loose, put_loose, remove_loose;
    /// A setting.
    Setting [String]: setting, settings, put_setting, remove_setting;
}

impl<S: Source> View<S> {
    /// This device; `None` before set-up. Costs a check of the certificate's two signatures.
    ///
    /// # Errors
    /// The database's.
    pub fn own_device(&self) -> Result<Option<OwnDevice>> {
        self.kept(&())
    }

    /// Who this node's person is, and their name; `None` before set-up. Every change and every page
    /// asks for it, so the certificate, which was checked before it was put, isn't checked again.
    ///
    /// # Errors
    /// The database's.
    pub fn own_person(&self) -> Result<Option<(IdentityId, String)>> {
        let read = |bytes: &[u8]| decode_with(OwnDevice::TABLE, bytes, OwnDevice::read_person);
        self.0
            .with(OwnDevice::TABLE, &OwnDevice::key(&()), read)?
            .transpose()
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

    /// Spaces that we keep from contacts, with each of these.
    ///
    /// # Errors
    /// The database's.
    pub fn exclusions(&self) -> Result<BTreeSet<(SpaceId, IdentityId)>> {
        let rows = self.collect(Table::Exclusions, Key::new())?;
        let pairs = rows.iter();
        Ok(pairs
            .map(|(key, _)| (SpaceId(id_at(key, 0)), IdentityId(id_at(key, 32))))
            .collect())
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
            // An endpoint is a contact's once it was met; until then it's a word, which changes nothing.
            if contact.state != ContactState::Ready
                && self
                    .contact_at(device.endpoint)?
                    .is_some_and(|other| other != *identity)
            {
                continue;
            }
            self.put(Table::Endpoints, &device.endpoint.0, &identity.0)?;
        }
        self.put_kept(identity, contact)
    }

    /// Forgets a contact with endpoints, offers, exclusions, quota, beacons, meetings and the name of
    /// the card.
    ///
    /// # Errors
    /// The database's.
    pub fn remove_contact(&mut self, identity: &IdentityId) -> Result<bool> {
        self.note_removed()?;
        self.forget_endpoints(identity)?;
        self.forget_name(*identity)?;
        self.forget_usage(identity)?;
        self.remove_beacons(identity)?;
        self.forget_meetings(Some(*identity))?;
        if let Some(known) = self.contact(identity)? {
            let devices: Vec<_> = known.devices.keys().copied().collect();
            self.forget_letters(*identity, &devices)?;
            if let Some(secret) = known.pair_secret {
                self.forget_loose(conversation_id(&secret.0))?;
            }
        }
        self.remove_all(Table::OffersOut, Key::new().bytes(&identity.0), usize::MAX)?;
        for (key, _) in self.collect(Table::Exclusions, Key::new())? {
            if key.get(32..) == Some(identity.0.as_slice()) {
                self.remove(Table::Exclusions, &key)?;
            }
        }
        for (id, introduction) in self.introductions()? {
            let Introduction { by, one, other, .. } = introduction;
            if [one, other].contains(identity) || by == *identity && !introduction.done {
                self.remove_introduction(&id)?;
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

impl OwnDevice {
    /// What [`Kept::read`] reads of the person, without a look at the signatures.
    fn read_person(reader: &mut Reader<'_>) -> Result<(IdentityId, String), WireError> {
        let certificate = reader.prefixed("certificate", Certificate::LEN)?;
        let identity = IdentityId(Reader::new(certificate).id()?);
        let name = text(reader)?;
        read_u32(reader)?;
        Ok((identity, name))
    }
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
