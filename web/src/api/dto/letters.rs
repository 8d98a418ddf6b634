//! What friends carry for each other.

use engine::view;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose letters a node carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhoseLetters {
    /// Nobody's.
    Nobody,
    /// Those of contacts whom the person has verified face to face.
    Verified,
    /// All contacts'.
    Contacts,
}

impl From<view::WhoseLetters> for WhoseLetters {
    fn from(whose: view::WhoseLetters) -> Self {
        match whose {
            view::WhoseLetters::Nobody => Self::Nobody,
            view::WhoseLetters::Verified => Self::Verified,
            view::WhoseLetters::Contacts => Self::Contacts,
        }
    }
}

impl From<WhoseLetters> for view::WhoseLetters {
    fn from(whose: WhoseLetters) -> Self {
        match whose {
            WhoseLetters::Nobody => Self::Nobody,
            WhoseLetters::Verified => Self::Verified,
            WhoseLetters::Contacts => Self::Contacts,
        }
    }
}

/// What this node carries for others, and others for it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Letters {
    /// Whose letters this node carries.
    pub(crate) carry: WhoseLetters,
    /// Letters that it carries now.
    pub(crate) carried: u64,
    /// Their bytes.
    pub(crate) carried_bytes: u64,
    /// Letters that it carries at most.
    pub(crate) carried_max: u64,
    /// Their bytes at most.
    pub(crate) carried_bytes_max: u64,
    /// Own messages that somebody carries.
    pub(crate) on_their_way: u64,
    /// Contacts to whom letters can be sealed: they have left keys here.
    pub(crate) keys_from: u64,
    /// Contacts who are given one letter at most.
    pub(crate) copies: u64,
    /// Days for which a letter is good.
    pub(crate) days: u64,
}

impl From<view::LettersStatus> for Letters {
    fn from(letters: view::LettersStatus) -> Self {
        Self {
            carry: letters.carry.into(),
            carried: letters.carried,
            carried_bytes: letters.carried_bytes,
            carried_max: letters.carried_max,
            carried_bytes_max: letters.carried_bytes_max,
            on_their_way: letters.on_their_way,
            keys_from: letters.keys_from,
            copies: letters.copies,
            days: letters.days,
        }
    }
}
