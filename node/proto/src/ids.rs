//! Identifiers: 32 opaque bytes each, a type for each meaning.
//!
//! Their text form is unpadded base32 (RFC 4648 section 6) in lower case, 52 characters: safe in
//! a URL, in a file name and as a command's argument (it never begins with a dash).

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;

/// Bytes in every identifier.
pub const ID_LEN: usize = 32;

/// A text that is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an id of 52 characters a-z and 2-7, found {found:?}")]
pub struct ParseIdError {
    /// The start of what was given.
    pub found: String,
}

pub(crate) fn to_base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

pub(crate) fn from_base32(text: &str) -> Option<Vec<u8>> {
    BASE32_NOPAD
        .decode(text.to_ascii_uppercase().as_bytes())
        .ok()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; ID_LEN]);

        impl $name {
            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; ID_LEN] {
                &self.0
            }

            /// Reads an identifier from exactly [`ID_LEN`] bytes.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_base32(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = to_base32(&self.0);
                write!(f, "{}({})", stringify!($name), text.get(..8).unwrap_or(&text))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                from_base32(text)
                    .and_then(|bytes| Self::from_slice(&bytes))
                    .ok_or_else(|| ParseIdError { found: text.chars().take(60).collect() })
            }
        }
    };
}

id! {
    /// A person: the public half of their Ed25519 identity key.
    IdentityId
}
id! {
    /// One installation: the public half of the Ed25519 key that signs its entries.
    DeviceId
}
id! {
    /// What is dialled: the public half of a device's transport key. No entry contains it.
    EndpointId
}
id! {
    /// A replication scope: a forum, a blog, a conversation.
    SpaceId
}
id! {
    /// An entry: the BLAKE3 hash of its header.
    EntryId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_refuses_anything_else() {
        let id = EntryId([0xa7; 32]);
        assert_eq!(id.to_string().len(), 52);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "a", &id.to_string()[1..], "0123", &format!("{id}a")] {
            assert!(bad.parse::<EntryId>().is_err(), "{bad}");
        }
    }
}
