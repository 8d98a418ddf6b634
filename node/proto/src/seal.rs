//! Private messages that somebody else carries: an entry of a conversation, sealed to one device.
//!
//! HPKE (RFC 9180) in PSK mode, with X-Wing (draft-connolly-cfrg-xwing-kem: ML-KEM-768 and X25519),
//! HKDF-SHA-256 and ChaCha20-Poly1305. The key is one that the receiving device made for the sending
//! device and uses once; the pre-shared key comes from the pair's secret; both people, both devices,
//! the key's number, the letter's number and its expiry are bound to it; the author's signature is inside. So a
//! letter can be opened by one device, once, and nobody else can have written it.
//!
//! Enter at [`Line`], which is one direction between two devices, with [`Line::seal`] and [`Line::open`].
//! What stands outside a letter is an [`Envelope`]; a courier sees no more. This module keeps
//! nothing: which keys and numbers are used up is its caller's memory. Random bytes are arguments.

mod envelope;
mod epoch;
mod letter;
mod prekey;
#[cfg(test)]
mod tests;
mod window;

use hpke::{
    Deserializable as _, Kem as _, OpModeR, OpModeS, PskBundle, Serializable as _,
    aead::ChaCha20Poly1305, kdf::HkdfSha256, kem::XWing,
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use self::{
    envelope::{ENVELOPE_BYTES_MAX, Envelope, Outside, Tag},
    epoch::{EpochKey, Wrapped},
    letter::{Letter, Receipt},
    prekey::{LastResort, PREKEYS_MAX, Prekey, PrekeyBatch, PrekeyId, PrekeySecret},
    window::{WINDOW, Window},
};
use crate::{
    card::PairSecret,
    ids::{DeviceId, IdentityId, SpaceId},
};

/// Bytes of an encapsulated key: a ciphertext of ML-KEM-768 and a point of X25519.
pub(crate) const ENCAPSULATED_BYTES: usize = 1_120;
/// Bytes by which encryption makes a text longer.
pub(crate) const AEAD_TAG_BYTES: usize = 16;
/// Random bytes that sealing takes.
pub const SEAL_RANDOM_BYTES: usize = 64;

const INFO: &[u8] = b"waymeet/letter/1\0";
const PSK_ID: &[u8] = b"waymeet/letter/1";

/// Why something can't be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The receiving device's key is none.
    #[error("the receiving device's key is not valid")]
    Key,
    /// The entry isn't of this line's space and sender.
    #[error("the entry is not one of this line's")]
    NotOurs,
    /// The entry is longer than any body may be.
    #[error("the entry is too long")]
    TooLong,
}

/// Why a letter can't be opened. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not for this device, not from this sender, under another key, or changed on its way.
    #[error("the letter was not sealed for this device by this sender, or was changed")]
    Sealed,
    /// It opens, but what is inside is no entry of the sender's.
    #[error("the letter holds no valid entry of its sender")]
    Content,
}

/// A person and one of their devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party {
    /// The person.
    pub identity: IdentityId,
    /// The device.
    pub device: DeviceId,
}

/// Letters from one device to another: one direction, with the keys that belong to it.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Line {
    #[zeroize(skip)]
    from: Party,
    #[zeroize(skip)]
    to: Party,
    #[zeroize(skip)]
    space: SpaceId,
    psk: [u8; 32],
    tags: [u8; 32],
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({:?} to {:?})", self.from, self.to)
    }
}

impl Line {
    /// The line between two devices whose people share `secret`, for entries of `space`.
    #[must_use]
    pub fn new(secret: &PairSecret, from: Party, to: Party, space: SpaceId) -> Self {
        let mut tags = blake3::Hasher::new_derive_key("waymeet 1 letter tags");
        tags.update(&secret.0);
        for party in [from, to] {
            tags.update(&party.identity.0).update(&party.device.0);
        }
        Self {
            from,
            to,
            space,
            psk: blake3::derive_key("waymeet 1 letter psk", &secret.0),
            tags: *tags.finalize().as_bytes(),
        }
    }

    /// Who writes.
    #[must_use]
    pub const fn from(&self) -> Party {
        self.from
    }

    /// Who reads.
    #[must_use]
    pub const fn to(&self) -> Party {
        self.to
    }

    /// The tag of a letter by its number, and what hides its key's number.
    fn numbered(&self, number: u64) -> (Tag, [u8; 4]) {
        let mut out = [0; 20];
        blake3::Hasher::new_keyed(&self.tags)
            .update(&number.to_be_bytes())
            .finalize_xof()
            .fill(&mut out);
        let (mut tag, mut mask) = ([0; 16], [0; 4]);
        let (front, back) = out.split_at(16);
        tag.copy_from_slice(front);
        mask.copy_from_slice(back);
        (Tag(tag), mask)
    }

    /// The tag of the letter with this number.
    #[must_use]
    pub fn tag(&self, number: u64) -> Tag {
        self.numbered(number).0
    }

    /// The number of the receiving device's key, which stands masked outside.
    #[must_use]
    pub fn prekey_of(&self, outside: &Outside, number: u64) -> PrekeyId {
        self.masked(outside.prekey, number)
    }

    fn masked(&self, id: PrekeyId, number: u64) -> PrekeyId {
        let (_, mask) = self.numbered(number);
        PrekeyId(id.0 ^ u32::from_be_bytes(mask))
    }

    /// Domain, space, sender, receiver, the key's and the letter's number, expiry.
    fn info(&self, prekey: PrekeyId, number: u64, expires_day: u16) -> Vec<u8> {
        let mut info = INFO.to_vec();
        info.extend_from_slice(&self.space.0);
        for party in [self.from, self.to] {
            info.extend_from_slice(&party.identity.0);
            info.extend_from_slice(&party.device.0);
        }
        info.extend_from_slice(&prekey.0.to_be_bytes());
        info.extend_from_slice(&number.to_be_bytes());
        info.extend_from_slice(&expires_day.to_be_bytes());
        info
    }

    /// Seals a letter under a key of the receiving device that nothing else was sealed under,
    /// unless it is the last resort, with a number that no other letter of this line has.
    ///
    /// # Errors
    /// The key isn't valid, or the letter is too long.
    pub fn seal(
        &self,
        letter: &Letter,
        prekey: &Prekey,
        number: u64,
        expires_day: u16,
        random: Zeroizing<[u8; SEAL_RANDOM_BYTES]>,
    ) -> Result<Envelope, SealError> {
        let header = &letter.header;
        if header.space != self.space || header.device != self.from.device {
            return Err(SealError::NotOurs);
        }
        let content = letter.padded().ok_or(SealError::TooLong)?;
        let (tag, _) = self.numbered(number);
        let outside = Outside {
            tag,
            expires_day,
            receipt: letter.receipt.hash(),
            prekey: self.masked(prekey.id, number),
        };
        let mode = OpModeS::Psk(psk(&self.psk).ok_or(SealError::Key)?);
        let (encapsulated, ciphertext) =
            hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
                &mode,
                prekey.key(),
                &self.info(prekey.id, number, expires_day),
                &content,
                &outside.encode(),
                &mut Given { random, used: 0 },
            )
            .map_err(|_| SealError::Key)?;
        Ok(Envelope::new(
            outside,
            encapsulated.to_bytes().as_slice(),
            &ciphertext,
        ))
    }

    /// Opens a letter with the number that its tag has on this line, and the key that
    /// [`Line::prekey_of`] names. The entry inside is the sender's, signed.
    ///
    /// # Errors
    /// It isn't for this line, this number and this key, or was changed; nothing says which.
    pub fn open(
        &self,
        envelope: &Envelope,
        secret: &PrekeySecret,
        number: u64,
    ) -> Result<Letter, OpenError> {
        let outside = envelope.outside();
        let (tag, _) = self.numbered(number);
        if outside.tag != tag || prekey::is_of_low_order(envelope.encapsulated()) {
            return Err(OpenError::Sealed);
        }
        let prekey = self.masked(outside.prekey, number);
        let encapsulated = <XWing as hpke::Kem>::EncappedKey::from_bytes(envelope.encapsulated())
            .map_err(|_| OpenError::Sealed)?;
        let mode = OpModeR::Psk(psk(&self.psk).ok_or(OpenError::Sealed)?);
        let content = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
            &mode,
            &secret.key()?,
            &encapsulated,
            &self.info(prekey, number, outside.expires_day),
            envelope.ciphertext(),
            &outside.encode(),
        )
        .map(Zeroizing::new)
        .map_err(|_| OpenError::Sealed)?;
        Letter::read(&content, self.space, self.from.device)
            .filter(|letter| letter.receipt.hash() == outside.receipt)
            .ok_or(OpenError::Content)
    }
}

fn psk(bytes: &[u8; 32]) -> Option<PskBundle<'_>> {
    PskBundle::new(bytes, PSK_ID).ok()
}

/// The public half of 32 secret bytes.
fn public(secret: &<XWing as hpke::Kem>::PrivateKey) -> <XWing as hpke::Kem>::PublicKey {
    XWing::sk_to_pk(secret)
}

/// Random bytes that the caller drew, as the generator that HPKE asks. One encapsulation takes
/// exactly [`SEAL_RANDOM_BYTES`]; what would be asked beyond is made from them.
struct Given {
    random: Zeroizing<[u8; SEAL_RANDOM_BYTES]>,
    used: usize,
}

impl hpke::rand_core::TryRng for Given {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        let end = self.used.saturating_add(out.len());
        match self.random.get(self.used..end) {
            Some(given) => out.copy_from_slice(given),
            None => {
                let key = blake3::derive_key("waymeet 1 letter more randomness", &*self.random);
                blake3::Hasher::new_keyed(&key)
                    .update(&(self.used as u64).to_be_bytes())
                    .finalize_xof()
                    .fill(out);
            }
        }
        self.used = end;
        Ok(())
    }
}

impl hpke::rand_core::TryCryptoRng for Given {}
