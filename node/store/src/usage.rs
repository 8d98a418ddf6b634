//! What came in through each contact: bytes that it takes here, and how many may.
//!
//! Whoever brings an entry first is charged for it, whoever wrote it; who brings it again isn't. A
//! contact is known by the connection's key, so nothing that a peer says moves a byte to another
//! account. The bytes are those of the entries and their rows, by a fixed measure, so that they
//! mean the same on every node. Leaving a space gives its part back. This module decides nothing
//! about what follows from a used-up quota beyond refusing the import.

use proto::{
    DeviceId, IdentityId, Millis, SpaceId,
    space::SpaceKind,
    verify::{Reject, VerifiedRun, VerifiedTail},
};

use crate::{
    error::{ImportError, Result},
    feeds::Imported,
    fill::Filled,
    keys::{Key, Prefixed, number},
    tables::{Source, Table},
    txn::Txn,
    view::View,
};

/// Bytes that may come in through one contact unless the person says otherwise: some five million
/// posts, more than a forum of a thousand people writes in a year, and a small part of any disk on
/// which this program makes sense.
pub const QUOTA_BYTES_DEFAULT: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes above the quota that private messages with the contact may take: a year of daily letters.
/// People must be able to write to each other what is wrong.
pub const CONVERSATION_RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// What an entry takes on the disk besides its body: its header in a segment, its rows in the index
/// and in a topic, and what the trees leave unused. Measured with bodies of 300 bytes, rounded up.
const ENTRY_BYTES: u64 = 128;
/// What a feed takes besides its entries: its head, its place in the tree, who let its author in.
const FEED_BYTES: u64 = 1024;

/// The row of all spaces together; spaces are numbered from 1.
const ALL_SPACES: u32 = 0;

/// What came in through a contact, and how much may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that came in and weren't given back.
    pub bytes: u64,
    /// How many may.
    pub limit: u64,
}

impl Usage {
    /// Whether entries of a space of this kind may still come in.
    #[must_use]
    pub const fn has_room(&self, kind: SpaceKind) -> bool {
        let reserve = match kind {
            SpaceKind::Conversation => CONVERSATION_RESERVE_BYTES,
            _ => 0,
        };
        self.bytes < self.limit.saturating_add(reserve)
    }
}

fn usage_key(space: u32, contact: &IdentityId) -> Key {
    Key::new().u32(space).bytes(&contact.0)
}

impl<S: Source> View<S> {
    /// What came in through a contact, over all spaces.
    ///
    /// # Errors
    /// The database's.
    pub fn usage(&self, contact: IdentityId) -> Result<Usage> {
        let limit = self.0.with(Table::Quotas, &contact.0, number)?;
        Ok(Usage {
            bytes: self.charged(ALL_SPACES, &contact)?,
            limit: limit.unwrap_or(QUOTA_BYTES_DEFAULT),
        })
    }

    /// Bytes of one space that came in through a contact; 0 for a space that isn't held.
    ///
    /// # Errors
    /// The database's.
    pub fn usage_in(&self, contact: IdentityId, space: SpaceId) -> Result<u64> {
        self.space_number(space)?
            .map_or(Ok(0), |number| self.charged(number, &contact))
    }

    fn charged(&self, space: u32, contact: &IdentityId) -> Result<u64> {
        let key = usage_key(space, contact);
        Ok(self
            .0
            .with(Table::Usage, key.as_slice(), number)?
            .unwrap_or(0))
    }
}

impl Txn<'_> {
    /// [`Self::import`] of what a contact brought, charged to them.
    ///
    /// # Errors
    /// As there, and [`Reject::OverQuota`].
    pub fn import_from(
        &mut self,
        contact: IdentityId,
        space: SpaceId,
        run: VerifiedRun,
        now: Millis,
    ) -> Result<Imported, ImportError> {
        self.check_room_of(contact, space)?;
        let start = run.start();
        let bytes: Vec<u64> = run
            .items()
            .iter()
            .map(|item| run.body_bytes(item).map_or(0, <[u8]>::len) as u64 + ENTRY_BYTES)
            .collect();
        let imported = self.import(space, run, now)?;
        // Not all of it is new: others may have brought the beginning, or a part above a gap.
        let mut charge = 0;
        for entry in &imported.entries {
            let at = usize::try_from(entry.seq.saturating_sub(start)).unwrap_or(usize::MAX);
            charge += bytes.get(at).copied().unwrap_or(0);
            if entry.seq == 0 {
                charge += FEED_BYTES;
            }
        }
        self.charge(contact, space, charge)?;
        Ok(imported)
    }

    /// [`Self::import_tail`] of what a contact brought, charged to them.
    ///
    /// # Errors
    /// As there, and [`Reject::OverQuota`].
    pub fn import_tail_from(
        &mut self,
        contact: IdentityId,
        space: SpaceId,
        tail: VerifiedTail,
        now: Millis,
    ) -> Result<Imported, ImportError> {
        self.check_room_of(contact, space)?;
        let sizes: Vec<(u64, u64)> = (tail.start()..)
            .zip(tail.items())
            .map(|(seq, item)| (seq, tail.body_bytes(item).map_or(0, <[u8]>::len) as u64))
            .collect();
        let imported = self.import_tail(space, tail, now)?;
        let new = |seq: u64| {
            let first = imported.entries.first().map_or(u64::MAX, |entry| entry.seq);
            let last = imported.entries.last().map_or(0, |entry| entry.seq);
            (first..=last).contains(&seq)
        };
        let new = sizes.iter().filter(|(seq, _)| new(*seq));
        let charge = new.map(|(_, bytes)| bytes + ENTRY_BYTES).sum();
        self.charge(contact, space, charge)?;
        Ok(imported)
    }

    /// [`Self::fill`] with what a contact brought, charged to them.
    ///
    /// # Errors
    /// As there, and [`Reject::OverQuota`].
    pub fn fill_from(
        &mut self,
        contact: IdentityId,
        space: SpaceId,
        place: (DeviceId, u64),
        body: &[u8],
        now: Millis,
    ) -> Result<Filled, ImportError> {
        self.check_room_of(contact, space)?;
        let filled = self.fill(space, place.0, place.1, body, now)?;
        if matches!(filled, Filled::Kept(_)) {
            self.charge(contact, space, body.len() as u64)?;
        }
        Ok(filled)
    }

    /// Sets how many bytes may come in through a contact; `None` for the default.
    ///
    /// # Errors
    /// The database's.
    pub fn set_quota(&mut self, contact: IdentityId, bytes: Option<u64>) -> Result<()> {
        match bytes {
            Some(bytes) => self.put(Table::Quotas, &contact.0, &bytes.to_be_bytes()),
            None => self.remove(Table::Quotas, &contact.0).map(drop),
        }
    }

    fn check_room_of(&self, contact: IdentityId, space: SpaceId) -> Result<(), ImportError> {
        let kind = self.space_row(self.known_space(space)?)?.kind;
        if self.usage(contact)?.has_room(kind) {
            Ok(())
        } else {
            Err(Reject::OverQuota.into())
        }
    }

    fn charge(&mut self, contact: IdentityId, space: SpaceId, bytes: u64) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        for number in [ALL_SPACES, self.known_space(space)?] {
            let charged = self.charged(number, &contact)?.saturating_add(bytes);
            self.put_charged(number, &contact, charged)?;
        }
        Ok(())
    }

    fn put_charged(&mut self, space: u32, contact: &IdentityId, bytes: u64) -> Result<()> {
        let key = usage_key(space, contact);
        if bytes == 0 {
            self.remove(Table::Usage, key.as_slice()).map(drop)
        } else {
            self.put(Table::Usage, key.as_slice(), &bytes.to_be_bytes())
        }
    }

    /// A space is left: gives its part back to everybody. One row a contact at most.
    pub(crate) fn give_back(&mut self, space: u32) -> Result<()> {
        for (key, value) in self.collect(Table::Usage, Key::new().u32(space))? {
            let contact = IdentityId(crate::keys::id_at(&key, 4));
            let rest = self
                .charged(ALL_SPACES, &contact)?
                .saturating_sub(number(&value));
            self.put_charged(ALL_SPACES, &contact, rest)?;
            self.remove(Table::Usage, &key)?;
        }
        Ok(())
    }

    /// A contact is removed: forgets the account. One row a space at most.
    pub(crate) fn forget_usage(&mut self, contact: &IdentityId) -> Result<()> {
        let mut keys = Vec::new();
        for row in self
            .0
            .rows(Table::Usage, Prefixed::new(Key::new()).bounds())?
        {
            let key = row?.0;
            if key.value().get(4..) == Some(contact.0.as_slice()) {
                keys.push(key.value().to_vec());
            }
        }
        for key in &keys {
            self.remove(Table::Usage, key)?;
        }
        self.set_quota(*contact, None)
    }
}
