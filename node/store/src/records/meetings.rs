//! Meetings that ended: when, how long, over what, how much went to and fro, and how they ended.
//!
//! A row is written once, at the end, in a transaction that is written anyway. It stays on this
//! machine. Each contact has its newest ones only. What a link's number means is the engine's.

use std::collections::BTreeSet;

use proto::{
    IdentityId, Millis,
    wire::{Reader, WireError, put_varint},
};

use super::{Kept, millis, put_millis};
use crate::{
    error::Result,
    keys::{Key, Prefixed, id_at, number, number_at},
    tables::{Source, Table},
    txn::Txn,
    view::View,
};

/// Meetings that are remembered with one contact: a few a day for two months, or a bad evening at
/// the edge of a Wi-Fi. With a thousand contacts some 20 MB.
pub const MEETINGS_PER_CONTACT_MAX: usize = 200;
/// Links in one row; each stands there once.
const LINKS_MAX: usize = 16;
/// Counts the meetings, so that a number is never used twice.
const NUMBERS: &str = "meetings";

/// How a meeting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetEnd {
    /// The connection broke off: out of range, asleep, or without power.
    Lost,
    /// The other side ended it in good order.
    Theirs,
    /// This side did.
    Ours,
    /// Another connection with the same device took its place.
    Replaced,
    /// The other side broke the protocol.
    Misbehaved,
    /// This node's disk failed or was full.
    Disk,
}

impl MetEnd {
    const ALL: [Self; 6] = [
        Self::Lost,
        Self::Theirs,
        Self::Ours,
        Self::Replaced,
        Self::Misbehaved,
        Self::Disk,
    ];
}

/// A meeting that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// With whom.
    pub contact: IdentityId,
    /// When it ended, by this machine's clock.
    pub ended: Millis,
    /// How long it lasted, in milliseconds, whatever happened to the clock meanwhile.
    pub lasted_ms: u64,
    /// Over which links, in the order in which they came into use, as the engine numbers them.
    pub links: Vec<u8>,
    /// Whether we called.
    pub dialed: bool,
    /// Entries received.
    pub entries_in: u64,
    /// Entries sent.
    pub entries_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// How it ended.
    pub end: MetEnd,
}

impl Kept for Met {
    type Key = u64;
    const TABLE: Table = Table::Meetings;

    fn key(key: &u64) -> Vec<u8> {
        key.to_be_bytes().to_vec()
    }

    fn key_from(bytes: &[u8]) -> u64 {
        number(bytes)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.contact.0);
        put_millis(out, &self.ended);
        put_varint(out, self.lasted_ms);
        put_varint(out, self.links.len() as u64);
        out.extend_from_slice(&self.links);
        out.push(u8::from(self.dialed));
        for count in [
            self.entries_in,
            self.entries_out,
            self.bytes_in,
            self.bytes_out,
        ] {
            put_varint(out, count);
        }
        let end = MetEnd::ALL.iter().position(|end| *end == self.end);
        out.push(end.and_then(|end| u8::try_from(end).ok()).unwrap_or(0));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            contact: IdentityId(reader.id()?),
            ended: millis(reader)?,
            lasted_ms: reader.varint()?,
            links: {
                let count = reader.length("links", LINKS_MAX)?;
                (0..count)
                    .map(|_| reader.u8())
                    .collect::<Result<_, WireError>>()?
            },
            dialed: reader.flag("dialed")?,
            entries_in: reader.varint()?,
            entries_out: reader.varint()?,
            bytes_in: reader.varint()?,
            bytes_out: reader.varint()?,
            end: MetEnd::ALL
                .get(usize::from(reader.u8()?))
                .copied()
                .ok_or(WireError::Value("end of a meeting"))?,
        })
    }
}

fn of_key(contact: &IdentityId, number: u64) -> Key {
    Key::new().bytes(&contact.0).u64(number)
}

impl<S: Source> View<S> {
    /// Meetings with a contact, or with all, newest first: those with a number below `before`, at
    /// most `limit`, each with its number.
    ///
    /// # Errors
    /// The database's.
    pub fn meetings(
        &self,
        of: Option<IdentityId>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Met)>> {
        let (table, prefix) = match &of {
            Some(contact) => (Table::MeetingsOf, Key::new().bytes(&contact.0)),
            None => (Table::Meetings, Key::new()),
        };
        let Some(last) = before.checked_sub(1) else {
            return Ok(Vec::new());
        };
        let (range, last) = (Prefixed::new(prefix.clone()), prefix.u64(last));
        let mut found = Vec::new();
        for row in self
            .0
            .rows(table, range.up_to(last.as_slice()))?
            .rev()
            .take(limit)
        {
            let key = row?.0;
            let key = key.value();
            let number = number_at(key, key.len().saturating_sub(8), 8);
            if let Some(met) = self.kept::<Met>(&number)? {
                found.push((number, met));
            }
        }
        Ok(found)
    }

    /// How many meetings there are, and how many of them only one of the two lists has.
    pub(crate) fn checked_meetings(&self) -> Result<(u64, u64)> {
        let rows = self.all_kept::<Met>()?;
        let kept: BTreeSet<_> = rows
            .iter()
            .map(|(number, met)| (met.contact, *number))
            .collect();
        let listed: BTreeSet<_> = self
            .collect(Table::MeetingsOf, Key::new())?
            .iter()
            .map(|(key, _)| (IdentityId(id_at(key, 0)), number_at(key, 32, 8)))
            .collect();
        let lost = kept.symmetric_difference(&listed).count();
        Ok((rows.len() as u64, lost as u64))
    }
}

impl Txn<'_> {
    /// Remembers a meeting, and forgets the oldest ones with this contact beyond
    /// [`MEETINGS_PER_CONTACT_MAX`].
    ///
    /// # Errors
    /// The database's.
    pub fn note_met(&mut self, met: &Met) -> Result<()> {
        let number = self.raise(NUMBERS, 1)?;
        self.put_kept(&number, met)?;
        let key = of_key(&met.contact, number);
        self.put(Table::MeetingsOf, key.as_slice(), &[])?;
        let of_contact = self.collect(Table::MeetingsOf, Key::new().bytes(&met.contact.0))?;
        let too_many = of_contact.len().saturating_sub(MEETINGS_PER_CONTACT_MAX);
        for (key, _) in of_contact.iter().take(too_many) {
            self.remove(Table::MeetingsOf, key)?;
            self.remove_kept::<Met>(&number_at(key, 32, 8))?;
        }
        Ok(())
    }

    /// Forgets the meetings with a contact, or all: how many there were.
    ///
    /// # Errors
    /// The database's.
    pub fn forget_meetings(&mut self, of: Option<IdentityId>) -> Result<u64> {
        let prefix = of.map_or_else(Key::new, |contact| Key::new().bytes(&contact.0));
        let listed = self.collect(Table::MeetingsOf, prefix)?;
        for (key, _) in &listed {
            self.remove(Table::MeetingsOf, key)?;
            self.remove_kept::<Met>(&number_at(key, 32, 8))?;
        }
        if !listed.is_empty() {
            self.note_removed()?;
        }
        Ok(listed.len() as u64)
    }
}
