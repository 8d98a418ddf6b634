//! Spaces: what an id stands for, and who is who in it.

use crate::{
    cbor::{self, MapWriter, read_map},
    ids::{IdentityId, SpaceId},
    limits::{DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX},
    text,
};

/// What a space is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpaceKind {
    /// Threads by everybody who was let in.
    Forum,
    /// One person's articles, readers' comments.
    Blog,
    /// A private group, by its owner's invitation.
    Circle,
    /// Private messages of two people.
    Conversation,
    /// One person's own devices.
    Own,
}

impl SpaceKind {
    /// Its number in descriptors and on disk.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Forum => 1,
            Self::Blog => 2,
            Self::Circle => 3,
            Self::Conversation => 4,
            Self::Own => 5,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub const fn from_code(code: u64) -> Option<Self> {
        Some(match code {
            1 => Self::Forum,
            2 => Self::Blog,
            3 => Self::Circle,
            4 => Self::Conversation,
            5 => Self::Own,
            _ => return None,
        })
    }
}

/// What a forum's or a blog's id is the hash of. Whoever knows it, or the id, may read the space
/// from those who hold it.
#[derive(Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Forum, blog or circle.
    pub kind: SpaceKind,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Who made it: the root of its admissions and the owner of a blog.
    pub creator: IdentityId,
    /// Readers may offer it on to their contacts.
    pub onward: bool,
    /// 32 random bytes, so that the id can't be guessed from the rest.
    pub salt: [u8; 32],
}

impl std::fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Descriptor")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A descriptor that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// Not deterministic CBOR.
    #[error("the descriptor is not deterministic CBOR: {0}")]
    Encoding(#[from] cbor::CborError),
    /// A field is missing or of the wrong type.
    #[error("the descriptor's fields are not as expected")]
    Fields,
    /// A name or a description is too long or has control characters.
    #[error("the descriptor's name or description is too long or has control characters")]
    Text,
}

impl Descriptor {
    /// The deterministic encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        MapWriter::new()
            .uint(0, u64::from(self.kind.code()))
            .text(1, &self.name)
            .text(2, &self.description)
            .bytes(3, &self.creator.0)
            .uint(4, u64::from(self.onward))
            .bytes(5, &self.salt)
            .finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// See [`DescriptorError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DescriptorError> {
        cbor::check(bytes)?;
        let (mut kind, mut name, mut description, mut creator, mut onward, mut salt) =
            (None, None, None, None, None, None);
        read_map(bytes, |key, d| {
            match key {
                0 => kind = SpaceKind::from_code(d.u64()?),
                1 => name = Some(d.str()?.to_owned()),
                2 => description = Some(d.str()?.to_owned()),
                3 => creator = Some(IdentityId(cbor::id(d)?)),
                4 => onward = Some(d.u64()? == 1),
                5 => salt = Some(cbor::id(d)?),
                _ => return Ok(false),
            }
            Ok(true)
        })
        .map_err(|_| DescriptorError::Fields)?;
        let descriptor = (|| {
            Some(Self {
                kind: kind.filter(|kind| {
                    matches!(kind, SpaceKind::Forum | SpaceKind::Blog | SpaceKind::Circle)
                })?,
                name: name?,
                description: description?,
                creator: creator?,
                onward: onward?,
                salt: salt?,
            })
        })()
        .ok_or(DescriptorError::Fields)?;
        // A circle is by its owner's invitation only.
        if descriptor.encode() != bytes
            || (descriptor.kind == SpaceKind::Circle && descriptor.onward)
        {
            return Err(DescriptorError::Fields);
        }
        if !text::is_line(&descriptor.name, NAME_CHARS_MAX)
            || !text::is_text(&descriptor.description, DESCRIPTION_CHARS_MAX)
        {
            return Err(DescriptorError::Text);
        }
        Ok(descriptor)
    }

    /// The space's id: the hash of this descriptor under a key of its own.
    #[must_use]
    pub fn id(&self) -> SpaceId {
        SpaceId(blake3::derive_key("waymeet 1 space", &self.encode()))
    }
}

/// The conversation of two people who share `pair_secret`: both derive the same id.
#[must_use]
pub fn conversation_id(pair_secret: &[u8; 32]) -> SpaceId {
    SpaceId(blake3::derive_key("waymeet 1 conversation", pair_secret))
}

/// Who may write a feed in a space: what an entry is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// Whoever shows a chain of admissions from the creator.
    Admitted {
        /// Forum, blog or circle.
        kind: SpaceKind,
        /// The root of the chain.
        creator: IdentityId,
    },
    /// These two people.
    Pair([IdentityId; 2]),
    /// This person.
    Own(IdentityId),
}

/// A space as validation needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceContext {
    /// The space.
    pub id: SpaceId,
    /// Who may write.
    pub members: Membership,
}

impl SpaceContext {
    /// The context of a described space.
    #[must_use]
    pub fn described(descriptor: &Descriptor) -> Self {
        Self {
            id: descriptor.id(),
            members: Membership::Admitted {
                kind: descriptor.kind,
                creator: descriptor.creator,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> Descriptor {
        Descriptor {
            kind: SpaceKind::Forum,
            name: "Camp".into(),
            description: "Bikes and tents".into(),
            creator: IdentityId([1; 32]),
            onward: true,
            salt: [2; 32],
        }
    }

    #[test]
    fn the_id_depends_on_every_field() {
        let base = descriptor();
        let ids = [
            base.clone(),
            Descriptor {
                kind: SpaceKind::Blog,
                ..base.clone()
            },
            Descriptor {
                name: "Kamp".into(),
                ..base.clone()
            },
            Descriptor {
                description: String::new(),
                ..base.clone()
            },
            Descriptor {
                creator: IdentityId([3; 32]),
                ..base.clone()
            },
            Descriptor {
                onward: false,
                ..base.clone()
            },
            Descriptor {
                salt: [4; 32],
                ..base.clone()
            },
        ]
        .map(|d| d.id());
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }

    #[test]
    fn decoding_is_the_inverse_and_refuses_any_other_encoding() {
        let bytes = descriptor().encode();
        assert_eq!(Descriptor::decode(&bytes), Ok(descriptor()));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                if let Ok(other) = Descriptor::decode(&bad) {
                    assert_eq!(other.encode(), bad);
                    assert_ne!(other.id(), descriptor().id());
                }
            }
        }
        let long = Descriptor {
            name: "x".repeat(65),
            ..descriptor()
        };
        assert_eq!(
            Descriptor::decode(&long.encode()),
            Err(DescriptorError::Text)
        );
        let kind = Descriptor {
            kind: SpaceKind::Conversation,
            ..descriptor()
        };
        assert_eq!(
            Descriptor::decode(&kind.encode()),
            Err(DescriptorError::Fields)
        );
    }
}
