//! What two people nearby send each other, as bytes. A frame that is read is written back the same.

use crate::{
    beacon::BeaconKey,
    keys::Signature,
    limits::NAME_CHARS_MAX,
    wire::{Reader, WireError, put_prefixed},
};

/// Bytes of a name: a character takes four at most.
const NAME_BYTES_MAX: usize = NAME_CHARS_MAX * 4;

/// A frame: its type, one byte, then its fields. The numbers are apart from those of an invite's
/// exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// 16, the dialer: a name and what binds it to a nonce and a card that it doesn't show yet.
    Hello {
        /// The name that the person chose.
        name: String,
        /// Of nonce and sealed card, on this connection.
        commitment: [u8; 32],
    },
    /// 17, the acceptor: its name, its nonce, its sealed card.
    Answer {
        /// The name that the person chose.
        name: String,
        /// 32 random bytes.
        nonce: [u8; 32],
        /// A keyed hash of the card.
        sealed: [u8; 32],
    },
    /// 18, the dialer: what its hello was bound to.
    Opening {
        /// 32 random bytes.
        nonce: [u8; 32],
        /// A keyed hash of the card.
        sealed: [u8; 32],
    },
    /// 19: the person saw the same words and said yes.
    Accept,
    /// 20: the card and what it was sealed with.
    Card {
        /// The key of the hash.
        blind: [u8; 32],
        /// The endpoint's signature: the card doesn't name somebody else's.
        proof: Signature,
        /// The card as encoded for this connection.
        card: Vec<u8>,
    },
    /// 21: shows to somebody who has the same that a pair's secret is known already.
    Known([u8; 32]),
    /// 22: the contact is on the sender's disk, and the key of the sender's announcements is this.
    Kept(BeaconKey),
    /// 23: the person said no.
    Decline,
}

impl Frame {
    /// Type and fields.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { name, commitment } => {
                let mut out = vec![16];
                put_prefixed(&mut out, name.as_bytes());
                out.extend_from_slice(commitment);
                out
            }
            Self::Answer {
                name,
                nonce,
                sealed,
            } => {
                let mut out = vec![17];
                put_prefixed(&mut out, name.as_bytes());
                out.extend_from_slice(nonce);
                out.extend_from_slice(sealed);
                out
            }
            Self::Opening { nonce, sealed } => [&[18], &nonce[..], sealed].concat(),
            Self::Accept => vec![19],
            Self::Card { blind, proof, card } => [&[20], &blind[..], &proof.0, card].concat(),
            Self::Known(tag) => [&[21], &tag[..]].concat(),
            Self::Kept(beacon) => [&[22], &beacon.0[..]].concat(),
            Self::Decline => vec![23],
        }
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// Another type or a wrong layout.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let frame = match reader.u8()? {
            16 => Self::Hello {
                name: reader.text("name", NAME_BYTES_MAX)?.to_owned(),
                commitment: reader.array()?,
            },
            17 => Self::Answer {
                name: reader.text("name", NAME_BYTES_MAX)?.to_owned(),
                nonce: reader.array()?,
                sealed: reader.array()?,
            },
            18 => Self::Opening {
                nonce: reader.array()?,
                sealed: reader.array()?,
            },
            19 => Self::Accept,
            20 => Self::Card {
                blind: reader.array()?,
                proof: reader.signature()?,
                card: reader.rest().to_vec(),
            },
            21 => Self::Known(reader.array()?),
            22 => Self::Kept(BeaconKey(reader.array()?)),
            23 => Self::Decline,
            _ => return Err(WireError::Value("message type")),
        };
        reader.end()?;
        Ok(frame)
    }
}
