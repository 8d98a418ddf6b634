//! Introductions: those that we made between two contacts, and those that a contact made for us.

use proto::{
    IdentityId, Millis,
    beacon::BeaconKey,
    introduction::IntroductionId,
    wire::{Reader, WireError},
};

use super::{Kept, bytes, millis, put_millis, put_text, text};
use crate::{
    rows::{put_option, read_option},
    tables::Table,
};

/// What somebody said to an introduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Nothing yet.
    Nothing,
    /// Yes.
    Yes,
    /// Not now.
    No,
}

/// An introduction, under its number, or under another key where somebody else's with that number was
/// there before. Of one that we made, `by` is ourselves; of one that we got, `one` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// The number, where that isn't the key.
    pub number: Option<IntroductionId>,
    /// Who introduces.
    pub by: IdentityId,
    /// Who is introduced.
    pub one: IdentityId,
    /// To whom.
    pub other: IdentityId,
    /// The other's name, as the introducer wrote it.
    pub other_name: String,
    /// What the introducer says about it; may be empty.
    pub message: String,
    /// When it was made, or came.
    pub at: Millis,
    /// What the one said.
    pub one_says: Said,
    /// What the other said.
    pub other_says: Said,
    /// The other's card as it came with their yes, where that concerns us.
    pub card: Vec<u8>,
    /// The key of the other's beacons.
    pub beacon: Option<BeaconKey>,
    /// The two are contacts.
    pub done: bool,
}

fn said(reader: &mut Reader<'_>) -> Result<Said, WireError> {
    match reader.u8()? {
        0 => Ok(Said::Nothing),
        1 => Ok(Said::Yes),
        2 => Ok(Said::No),
        _ => Err(WireError::Value("answer")),
    }
}

const fn number(said: Said) -> u8 {
    match said {
        Said::Nothing => 0,
        Said::Yes => 1,
        Said::No => 2,
    }
}

impl Kept for Introduction {
    type Key = IntroductionId;
    const TABLE: Table = Table::Introductions;

    fn key(key: &IntroductionId) -> Vec<u8> {
        key.0.to_vec()
    }

    fn key_from(bytes: &[u8]) -> IntroductionId {
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(bytes) {
            *to = *from;
        }
        IntroductionId(id)
    }

    fn put(&self, out: &mut Vec<u8>) {
        for identity in [self.by, self.one, self.other] {
            out.extend_from_slice(&identity.0);
        }
        put_text(out, &self.other_name);
        put_text(out, &self.message);
        put_millis(out, &self.at);
        out.push(number(self.one_says));
        out.push(number(self.other_says));
        proto::wire::put_prefixed(out, &self.card);
        put_option(out, self.beacon.as_ref(), |out, key| {
            out.extend_from_slice(&key.0);
        });
        out.push(u8::from(self.done));
        if let Some(number) = self.number {
            out.extend_from_slice(&number.0);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut row = Self {
            number: None,
            by: IdentityId(reader.id()?),
            one: IdentityId(reader.id()?),
            other: IdentityId(reader.id()?),
            other_name: text(reader)?,
            message: text(reader)?,
            at: millis(reader)?,
            one_says: said(reader)?,
            other_says: said(reader)?,
            card: bytes(reader)?,
            beacon: read_option(reader, |reader| reader.id().map(BeaconKey))?,
            done: reader.flag("done")?,
        };
        if reader.remaining() > 0 {
            row.number = Some(IntroductionId(reader.array()?));
        }
        Ok(row)
    }
}
