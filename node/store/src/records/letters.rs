//! Letters: keys for them, those that we sealed, those that we carry, receipts that we owe, and
//! entries that came in letters and don't join what is held yet.

use std::ops::{Bound, ControlFlow};

use proto::{
    DeviceId, EntryId, IdentityId, Millis, SpaceId,
    entry::Header,
    keys::Signature,
    run::BodyPart,
    seal::{Envelope, PrekeyId, Receipt, Tag, Window, Wrapped},
    wire::{Reader, WireError, put_prefixed, put_varint},
};

use super::{Kept, Setting, bytes, decode, millis, put_millis};
use crate::{
    error::Result,
    keys::{Key, Prefixed, id_at, number_at, u32_at},
    rows::{put_option, read_option, read_u32},
    tables::{Source, Table},
    txn::Txn,
    view::View,
};

/// A key that we made for letters from a device, by that device and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPrekey {
    /// Which of the epochs' keys its secret is wrapped by.
    pub epoch: u32,
    /// The secret.
    pub wrapped: Wrapped,
    /// When it was made.
    pub made: Millis,
    /// Of a last resort: the day from which on nothing is sealed under it.
    pub until_day: Option<u16>,
}

/// A key of a device for letters from us, by that device and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TheirPrekey {
    /// The key.
    pub key: Vec<u8>,
    /// Of a last resort: the day from which on nothing is sealed under it.
    pub until_day: Option<u16>,
}

/// Where the two lines between this device and another stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lines {
    /// The number of our next letter.
    pub next: u64,
    /// One more than the highest of our numbers that is known to have arrived.
    pub arrived: u64,
    /// What the other device was told of our next number.
    pub told: u64,
    /// What arrived here.
    pub window: Window,
    /// The number of the next key that we make.
    pub prekey: u32,
    /// Keys below this number are known to be kept there.
    pub prekeys_kept: u32,
    /// Keys of theirs below this number were had before, and are never taken again.
    pub had: u32,
}

/// A letter that we sealed, by the receiving device and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLetter {
    /// The conversation.
    pub space: SpaceId,
    /// The entry's place in our feed there.
    pub seq: u64,
    /// The day from which on nobody keeps it; `u16::MAX` where we didn't know the date.
    pub expires_day: u16,
    /// When it was sealed.
    pub sealed: Millis,
    /// Its receipt: ours too, so that who carries it can be told that it arrived another way.
    pub receipt: Receipt,
    /// Who carries it.
    pub carriers: Vec<IdentityId>,
    /// Its receiver has opened it.
    pub delivered: bool,
    /// The envelope; empty once nobody has to carry it any more.
    pub envelope: Vec<u8>,
}

/// A letter that we carry, by a number of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Who gave it to us.
    pub from: IdentityId,
    /// When.
    pub since: Millis,
    /// The envelope.
    pub envelope: Vec<u8>,
}

/// What a receipt's hash leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipted {
    /// A letter of ours: the receiving device and the number.
    Own(DeviceId, u64),
    /// A letter that we carry.
    Carried(u64),
}

/// The receipt of a letter that was opened here, or of which a carrier heard, by the letter's tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The receipt.
    pub receipt: Receipt,
    /// Who waits for it: the author, or who gave us the letter.
    pub to: IdentityId,
    /// That contact has it.
    pub told: bool,
    /// The letter was opened here, so others who carry it may ask for the receipt, too.
    pub opened: bool,
    /// When it came.
    pub since: Millis,
}

/// An entry that came in a letter and doesn't join what is held of its feed, by its place.
#[derive(Clone, PartialEq, Eq)]
pub struct Loose {
    /// Whose device it is.
    pub author: IdentityId,
    /// The entry before.
    pub backlink: EntryId,
    /// The author's claim of the time.
    pub created: Millis,
    /// The author's signature of the entry's id.
    pub signature: Signature,
    /// The body.
    pub body: Vec<u8>,
    /// When it came.
    pub received: Millis,
    /// Read here.
    pub read: bool,
}

impl Loose {
    /// Its header.
    #[must_use]
    pub fn header(&self, space: SpaceId, device: DeviceId, seq: u64) -> Header {
        let body = BodyPart::Present(&self.body);
        Header {
            space,
            device,
            seq,
            backlink: self.backlink,
            created: self.created,
            body_len: body.len(),
            body_hash: body.hash(),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self, space: SpaceId, device: DeviceId, seq: u64) -> EntryId {
        self.header(space, device, seq).id()
    }
}

impl std::fmt::Debug for Loose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loose(of {:?}, {} bytes)", self.author, self.body.len())
    }
}

fn numbered(device: &DeviceId, number: u64) -> Vec<u8> {
    Key::new().bytes(&device.0).u64(number).as_slice().to_vec()
}

fn prekey_key((device, id): &(DeviceId, PrekeyId)) -> Vec<u8> {
    Key::new().bytes(&device.0).u32(id.0).as_slice().to_vec()
}

fn prekey_of(bytes: &[u8]) -> (DeviceId, PrekeyId) {
    (DeviceId(id_at(bytes, 0)), PrekeyId(u32_at(bytes, 32)))
}

fn read_day(reader: &mut Reader<'_>) -> Result<Option<u16>, WireError> {
    read_option(reader, |reader| reader.array().map(u16::from_be_bytes))
}

fn put_day(out: &mut Vec<u8>, day: Option<u16>) {
    put_option(out, day.as_ref(), |out, day| {
        out.extend_from_slice(&day.to_be_bytes());
    });
}

impl Kept for OwnPrekey {
    type Key = (DeviceId, PrekeyId);
    const TABLE: Table = Table::OwnPrekeys;

    fn key(key: &Self::Key) -> Vec<u8> {
        prekey_key(key)
    }

    fn key_from(bytes: &[u8]) -> Self::Key {
        prekey_of(bytes)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.epoch));
        out.extend_from_slice(&self.wrapped.0);
        put_millis(out, &self.made);
        put_day(out, self.until_day);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            epoch: read_u32(reader)?,
            wrapped: Wrapped(reader.array()?),
            made: millis(reader)?,
            until_day: read_day(reader)?,
        })
    }
}

impl Kept for TheirPrekey {
    type Key = (DeviceId, PrekeyId);
    const TABLE: Table = Table::TheirPrekeys;

    fn key(key: &Self::Key) -> Vec<u8> {
        prekey_key(key)
    }

    fn key_from(bytes: &[u8]) -> Self::Key {
        prekey_of(bytes)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_prefixed(out, &self.key);
        put_day(out, self.until_day);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            key: bytes(reader)?,
            until_day: read_day(reader)?,
        })
    }
}

impl Kept for Lines {
    type Key = DeviceId;
    const TABLE: Table = Table::Lines;

    fn key(key: &DeviceId) -> Vec<u8> {
        key.0.to_vec()
    }

    fn key_from(bytes: &[u8]) -> DeviceId {
        DeviceId(id_at(bytes, 0))
    }

    fn put(&self, out: &mut Vec<u8>) {
        for number in [self.next, self.arrived, self.told, self.window.high] {
            put_varint(out, number);
        }
        out.extend_from_slice(&self.window.seen.to_be_bytes());
        put_varint(out, u64::from(self.prekey));
        put_varint(out, u64::from(self.prekeys_kept));
        put_varint(out, u64::from(self.had));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            next: reader.varint()?,
            arrived: reader.varint()?,
            told: reader.varint()?,
            window: Window {
                high: reader.varint()?,
                seen: reader.u64()?,
            },
            prekey: read_u32(reader)?,
            prekeys_kept: read_u32(reader)?,
            had: read_u32(reader)?,
        })
    }
}

impl Kept for OwnLetter {
    type Key = (DeviceId, u64);
    const TABLE: Table = Table::OwnLetters;

    fn key((device, number): &Self::Key) -> Vec<u8> {
        numbered(device, *number)
    }

    fn key_from(bytes: &[u8]) -> Self::Key {
        (DeviceId(id_at(bytes, 0)), number_at(bytes, 32, 8))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.space.0);
        put_varint(out, self.seq);
        out.extend_from_slice(&self.expires_day.to_be_bytes());
        put_millis(out, &self.sealed);
        out.extend_from_slice(&self.receipt.0);
        put_varint(out, self.carriers.len() as u64);
        out.extend(self.carriers.iter().flat_map(|carrier| carrier.0));
        out.push(u8::from(self.delivered));
        put_prefixed(out, &self.envelope);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            space: SpaceId(reader.id()?),
            seq: reader.varint()?,
            expires_day: u16::from_be_bytes(reader.array()?),
            sealed: millis(reader)?,
            receipt: Receipt(reader.array()?),
            carriers: {
                let count = reader.length("carriers", proto::limits::CONTACTS_MAX)?;
                (0..count)
                    .map(|_| reader.id().map(IdentityId))
                    .collect::<Result<_, _>>()?
            },
            delivered: reader.flag("delivered")?,
            envelope: envelope(reader)?,
        })
    }
}

fn envelope(reader: &mut Reader<'_>) -> Result<Vec<u8>, WireError> {
    let max = proto::seal::ENVELOPE_BYTES_MAX;
    Ok(reader.prefixed("envelope", max)?.to_vec())
}

impl Kept for Carried {
    type Key = u64;
    const TABLE: Table = Table::Carried;

    fn key(key: &u64) -> Vec<u8> {
        key.to_be_bytes().to_vec()
    }

    fn key_from(bytes: &[u8]) -> u64 {
        number_at(bytes, 0, 8)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.from.0);
        put_millis(out, &self.since);
        put_prefixed(out, &self.envelope);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            from: IdentityId(reader.id()?),
            since: millis(reader)?,
            envelope: envelope(reader)?,
        })
    }
}

impl Kept for Receipted {
    type Key = [u8; 32];
    const TABLE: Table = Table::Receipted;

    fn key(key: &[u8; 32]) -> Vec<u8> {
        key.to_vec()
    }

    fn key_from(bytes: &[u8]) -> [u8; 32] {
        id_at(bytes, 0)
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Own(device, number) => {
                out.push(0);
                out.extend_from_slice(&device.0);
                put_varint(out, *number);
            }
            Self::Carried(number) => {
                out.push(1);
                put_varint(out, *number);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match reader.u8()? {
            0 => Self::Own(DeviceId(reader.id()?), reader.varint()?),
            1 => Self::Carried(reader.varint()?),
            _ => return Err(WireError::Value("receipted")),
        })
    }
}

impl Kept for Owed {
    type Key = Tag;
    const TABLE: Table = Table::Owed;

    fn key(key: &Tag) -> Vec<u8> {
        key.0.to_vec()
    }

    fn key_from(bytes: &[u8]) -> Tag {
        Tag(bytes.first_chunk().copied().unwrap_or_default())
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.receipt.0);
        out.extend_from_slice(&self.to.0);
        out.push(u8::from(self.told));
        out.push(u8::from(self.opened));
        put_millis(out, &self.since);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            receipt: Receipt(reader.array()?),
            to: IdentityId(reader.id()?),
            told: reader.flag("told")?,
            opened: reader.flag("opened")?,
            since: millis(reader)?,
        })
    }
}

impl Kept for Loose {
    type Key = (SpaceId, DeviceId, u64);
    const TABLE: Table = Table::Loose;

    fn key((space, device, seq): &Self::Key) -> Vec<u8> {
        let key = Key::new().bytes(&space.0).bytes(&device.0).u64(*seq);
        key.as_slice().to_vec()
    }

    fn key_from(bytes: &[u8]) -> Self::Key {
        let (space, device) = (SpaceId(id_at(bytes, 0)), DeviceId(id_at(bytes, 32)));
        (space, device, number_at(bytes, 64, 8))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.author.0);
        out.extend_from_slice(&self.backlink.0);
        put_millis(out, &self.created);
        out.extend_from_slice(&self.signature.0);
        put_prefixed(out, &self.body);
        put_millis(out, &self.received);
        out.push(u8::from(self.read));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            author: IdentityId(reader.id()?),
            backlink: EntryId(reader.id()?),
            created: millis(reader)?,
            signature: reader.signature()?,
            body: reader
                .prefixed("body", proto::limits::BODY_BYTES_MAX)?
                .to_vec(),
            received: millis(reader)?,
            read: reader.flag("read")?,
        })
    }
}

impl<S: Source> View<S> {
    fn kept_under<R: Kept>(&self, prefix: Key) -> Result<Vec<(R::Key, R)>> {
        let range = Prefixed::new(prefix);
        self.0
            .rows(R::TABLE, range.bounds())?
            .map(|row| {
                let (key, value) = row?;
                Ok((R::key_from(key.value()), decode::<R>(value.value())?))
            })
            .collect()
    }

    /// Keys that we made for letters from a device.
    ///
    /// # Errors
    /// The database's.
    pub fn own_prekeys_for(&self, sender: DeviceId) -> Result<Vec<(PrekeyId, OwnPrekey)>> {
        let rows = self.kept_under::<OwnPrekey>(Key::new().bytes(&sender.0))?;
        Ok(rows.into_iter().map(|((_, id), row)| (id, row)).collect())
    }

    /// Keys of a device for letters from us.
    ///
    /// # Errors
    /// The database's.
    pub fn their_prekeys_of(&self, receiver: DeviceId) -> Result<Vec<(PrekeyId, TheirPrekey)>> {
        let rows = self.kept_under::<TheirPrekey>(Key::new().bytes(&receiver.0))?;
        Ok(rows.into_iter().map(|((_, id), row)| (id, row)).collect())
    }

    /// Letters that we sealed for a device.
    ///
    /// # Errors
    /// The database's.
    pub fn own_letters_to(&self, receiver: DeviceId) -> Result<Vec<(u64, OwnLetter)>> {
        let rows = self.kept_under::<OwnLetter>(Key::new().bytes(&receiver.0))?;
        Ok(rows
            .into_iter()
            .map(|((_, number), row)| (number, row))
            .collect())
    }

    /// Entries of a space that came in letters and don't join what is held.
    ///
    /// # Errors
    /// The database's.
    pub fn loose_in(&self, space: SpaceId) -> Result<Vec<(DeviceId, u64, Loose)>> {
        let rows = self.kept_under::<Loose>(Key::new().bytes(&space.0))?;
        Ok(rows
            .into_iter()
            .map(|((_, device, seq), row)| (device, seq, row))
            .collect())
    }

    /// Whether any entry came in a letter and doesn't join what is held.
    ///
    /// # Errors
    /// The database's.
    pub fn has_loose(&self) -> Result<bool> {
        let range = Prefixed::new(Key::new());
        let first = self.0.rows(Table::Loose, range.bounds())?.next();
        Ok(first.transpose()?.is_some())
    }

    /// Letters that we carry from a number on, in the order in which they came, one after the other.
    ///
    /// # Errors
    /// The database's.
    pub fn each_carried(
        &self,
        from: u64,
        mut visit: impl FnMut(u64, &Carried) -> ControlFlow<()>,
    ) -> Result<()> {
        let first = Carried::key(&from);
        let bounds = (Bound::Included(first.as_slice()), Bound::Unbounded);
        for row in self.0.rows(Table::Carried, bounds)? {
            let (key, value) = row?;
            let carried = decode::<Carried>(value.value())?;
            if visit(Carried::key_from(key.value()), &carried).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Counts letters that were carried; numbers never come again.
const CARRIED_COUNTER: &str = "carried";

/// Where it is noted that an entry came under a key of last resort.
fn weak_key(space: SpaceId, entry: Option<EntryId>) -> String {
    let entry = entry.map_or_else(String::new, |entry| entry.to_string());
    format!("last-resort/{space}/{entry}")
}

impl<S: Source> View<S> {
    /// Whether an entry came in a letter under a key of last resort, which may have been used before.
    ///
    /// # Errors
    /// The database's.
    pub fn is_weak(&self, space: SpaceId, entry: EntryId) -> Result<bool> {
        Ok(self.setting(&weak_key(space, Some(entry)))?.is_some())
    }
}

impl Txn<'_> {
    /// Notes that an entry came under a key of last resort.
    ///
    /// # Errors
    /// The database's.
    pub fn note_weak(&mut self, space: SpaceId, entry: EntryId) -> Result<()> {
        self.put_setting(&weak_key(space, Some(entry)), &Setting(Vec::new()))
    }

    /// Forgets what came to a conversation in letters.
    ///
    /// # Errors
    /// The database's.
    pub(super) fn forget_loose(&mut self, space: SpaceId) -> Result<()> {
        self.remove_all(Table::Loose, Key::new().bytes(&space.0), usize::MAX)?;
        let weak = Key::new().bytes(weak_key(space, None).as_bytes());
        self.remove_all(Table::Settings, weak, usize::MAX).map(drop)
    }

    /// The number of the next letter that we carry.
    ///
    /// # Errors
    /// The database's.
    pub fn next_carried(&mut self) -> Result<u64> {
        self.raise(CARRIED_COUNTER, 1)
    }

    /// Forgets everything about letters to and from a device of a contact, and what the contact gave us.
    ///
    /// # Errors
    /// The database's.
    pub fn forget_letters(&mut self, contact: IdentityId, devices: &[DeviceId]) -> Result<()> {
        for device in devices {
            for (number, letter) in self.own_letters_to(*device)? {
                self.remove_kept::<Receipted>(&letter.receipt.hash())?;
                self.remove_kept::<OwnLetter>(&(*device, number))?;
            }
            for table in [Table::OwnPrekeys, Table::TheirPrekeys, Table::Lines] {
                self.remove_all(table, Key::new().bytes(&device.0), usize::MAX)?;
            }
        }
        let mut given = Vec::new();
        self.each_carried(0, |number, carried| {
            if carried.from == contact {
                let envelope = Envelope::decode(&carried.envelope);
                given.push((number, envelope.ok().map(|e| e.outside().receipt)));
            }
            ControlFlow::Continue(())
        })?;
        for (number, receipt) in given {
            self.remove_kept::<Carried>(&number)?;
            if let Some(receipt) = receipt {
                self.remove_kept::<Receipted>(&receipt)?;
            }
        }
        for (tag, owed) in self.all_kept::<Owed>()? {
            if owed.to == contact {
                self.remove_kept::<Owed>(&tag)?;
            }
        }
        Ok(())
    }
}
