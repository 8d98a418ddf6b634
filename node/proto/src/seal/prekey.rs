//! Keys that a device makes for letters from one other device, each for one letter.

use std::fmt;

use hpke::{Deserializable as _, Serializable as _, kem::XWing};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{OpenError, Party, SealError, public};
use crate::{
    keys::{DeviceKey, Domain, Signature, verify},
    wire::{Reader, WireError, put_varint},
};

type PublicKey = <XWing as hpke::Kem>::PublicKey;
type PrivateKey = <XWing as hpke::Kem>::PrivateKey;

/// Bytes of a key: one of ML-KEM-768 and a point of X25519.
pub(super) const PUBLIC_BYTES: usize = 1_216;
/// Bytes of a point of X25519, the last of a key and of what is encapsulated.
const POINT_BYTES: usize = 32;
/// Keys that one device can leave with another: one for each number of a window.
pub const PREKEYS_MAX: usize = 64;

/// The number of a key on its line. A device gives each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrekeyId(pub u32);

/// The half that stays at the receiving device.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrekeySecret(pub [u8; 32]);

impl fmt::Debug for PrekeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrekeySecret(..)")
    }
}

impl PrekeySecret {
    pub(super) fn key(&self) -> Result<PrivateKey, OpenError> {
        PrivateKey::from_bytes(&self.0).map_err(|_| OpenError::Sealed)
    }

    /// The half that the sending device gets.
    #[must_use]
    pub fn public(&self, id: PrekeyId) -> Option<Prekey> {
        let key = public(&self.key().ok()?);
        Some(Prekey { id, key })
    }
}

/// The half that the sending device gets.
#[derive(Clone, PartialEq, Eq)]
pub struct Prekey {
    /// Its number.
    pub id: PrekeyId,
    key: PublicKey,
}

impl fmt::Debug for Prekey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prekey({})", self.id.0)
    }
}

impl Prekey {
    /// Reads the bytes of a key.
    ///
    /// # Errors
    /// A wrong length, a key of ML-KEM whose numbers aren't reduced (FIPS 203 section 7.2), or a point
    /// of low order, which would make that half of the secret known to everybody.
    pub fn new(id: PrekeyId, bytes: &[u8]) -> Result<Self, SealError> {
        let key = PublicKey::from_bytes(bytes).map_err(|_| SealError::Key)?;
        if is_of_low_order(bytes) {
            return Err(SealError::Key);
        }
        Ok(Self { id, key })
    }

    pub(super) const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The key's 1,216 bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.key.to_bytes().to_vec()
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.0.to_be_bytes());
        out.extend_from_slice(&self.key.to_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let id = PrekeyId(reader.u32()?);
        Self::new(id, reader.bytes(PUBLIC_BYTES)?).map_err(|_| WireError::Value("prekey"))
    }
}

/// The u-coordinates of the points of order 1, 2, 4 and 8 on Curve25519 and its twist, below 2^255 and
/// with what isn't reduced, little-endian (RFC 7748 section 6.1; the list is in "Curve25519: new
/// Diffie-Hellman speed records" under "validate"). The highest bit is ignored by X25519.
const LOW_ORDER: [[u8; POINT_BYTES]; 7] = [
    [0; POINT_BYTES],
    small(1),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    near_the_prime(0xec),
    near_the_prime(0xed),
    near_the_prime(0xee),
];

const fn small(value: u8) -> [u8; POINT_BYTES] {
    let mut out = [0; POINT_BYTES];
    out[0] = value;
    out
}

/// 2^255 - 256 + `low`: the prime is 2^255 - 19.
const fn near_the_prime(low: u8) -> [u8; POINT_BYTES] {
    let mut out = [0xff; POINT_BYTES];
    out[0] = low;
    out[POINT_BYTES - 1] = 0x7f;
    out
}

/// Whether the point at the end of a key, or of what is encapsulated, has a low order.
pub(super) fn is_of_low_order(bytes: &[u8]) -> bool {
    let Some(point) = bytes.last_chunk::<POINT_BYTES>() else {
        return true;
    };
    let mut point = *point;
    point[POINT_BYTES - 1] &= 0x7f;
    LOW_ORDER.contains(&point)
}

/// A key that may be used more than once, when there is no other: signed, and for some weeks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastResort {
    /// The key.
    pub prekey: Prekey,
    /// The day from 1970, UTC, from which on no letter may be sealed under it.
    pub until_day: u16,
    signature: Signature,
}

impl LastResort {
    /// Signs a key of `device`'s for letters from `sender`.
    #[must_use]
    pub fn sign(prekey: Prekey, until_day: u16, device: &DeviceKey, sender: Party) -> Self {
        let signature = device.sign(Domain::Prekey, &Self::signed(&prekey, until_day, sender));
        Self {
            prekey,
            until_day,
            signature,
        }
    }

    fn signed(prekey: &Prekey, until_day: u16, sender: Party) -> Vec<u8> {
        let mut out = [sender.identity.0, sender.device.0].concat();
        out.extend_from_slice(&until_day.to_be_bytes());
        prekey.put(&mut out);
        out
    }

    /// Whether `receiver`'s device signed it for letters from `sender`.
    #[must_use]
    pub fn is_from(&self, receiver: Party, sender: Party) -> bool {
        let signed = Self::signed(&self.prekey, self.until_day, sender);
        verify(&receiver.device.0, Domain::Prekey, &signed, &self.signature)
    }
}

/// Keys for letters from the device that gets them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrekeyBatch {
    /// Each for one letter.
    pub once: Vec<Prekey>,
    /// For when there is no other.
    pub last_resort: Option<LastResort>,
}

impl PrekeyBatch {
    /// Count varint, then number u32 and key for each; flag u8, then number, key, day u16, signature.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.once.len() as u64);
        for prekey in &self.once {
            prekey.put(&mut out);
        }
        out.push(u8::from(self.last_resort.is_some()));
        if let Some(last) = &self.last_resort {
            last.prekey.put(&mut out);
            out.extend_from_slice(&last.until_day.to_be_bytes());
            out.extend_from_slice(&last.signature.0);
        }
        out
    }

    /// Reads a batch. Signatures aren't checked here.
    ///
    /// # Errors
    /// More than [`PREKEYS_MAX`] keys, one that isn't valid, one number twice, or another layout.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let count = reader.length("prekeys", PREKEYS_MAX)?;
        let mut once: Vec<Prekey> = Vec::new();
        for _ in 0..count {
            let prekey = Prekey::read(&mut reader)?;
            if once.last().is_some_and(|last| last.id >= prekey.id) {
                return Err(WireError::Value("prekey"));
            }
            once.push(prekey);
        }
        let last_resort = if reader.flag("last resort")? {
            Some(LastResort {
                prekey: Prekey::read(&mut reader)?,
                until_day: u16::from_be_bytes(reader.array()?),
                signature: reader.signature()?,
            })
        } else {
            None
        };
        reader.end()?;
        Ok(Self { once, last_resort })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_low_order_are_refused_with_either_high_bit() {
        let good = PrekeySecret([7; 32]).public(PrekeyId(1)).unwrap().bytes();
        assert!(Prekey::new(PrekeyId(1), &good).is_ok());
        for point in LOW_ORDER {
            for high in [0, 0x80] {
                let mut bytes = good.clone();
                bytes.truncate(PUBLIC_BYTES - POINT_BYTES);
                bytes.extend_from_slice(&point);
                *bytes.last_mut().unwrap() |= high;
                assert_eq!(Prekey::new(PrekeyId(1), &bytes), Err(SealError::Key));
            }
        }
    }

    #[test]
    fn a_key_of_ml_kem_with_numbers_that_are_not_reduced_is_refused() {
        let mut bytes = PrekeySecret([7; 32]).public(PrekeyId(1)).unwrap().bytes();
        bytes[..3].fill(0xff);
        assert_eq!(Prekey::new(PrekeyId(1), &bytes), Err(SealError::Key));
        assert_eq!(Prekey::new(PrekeyId(1), &bytes[1..]), Err(SealError::Key));
    }

    #[test]
    fn a_batch_is_read_back_and_a_last_resort_stands_for_its_parties_only() {
        let device = DeviceKey::from_seed(&[1; 32]);
        let party = |n: u8| Party {
            identity: crate::IdentityId([n; 32]),
            device: device.id(),
        };
        let key = |n: u8| PrekeySecret([n; 32]).public(PrekeyId(n.into())).unwrap();
        let last = LastResort::sign(key(9), 20_000, &device, party(3));
        let batch = PrekeyBatch {
            once: vec![key(1), key(2)],
            last_resort: Some(last.clone()),
        };
        let bytes = batch.encode();
        assert_eq!(PrekeyBatch::decode(&bytes), Ok(batch));
        assert!(last.is_from(party(4), party(3)) && !last.is_from(party(4), party(5)));
        for len in 0..bytes.len() {
            assert!(PrekeyBatch::decode(&bytes[..len]).is_err(), "{len}");
        }
        let twice = PrekeyBatch {
            once: vec![key(1), key(1)],
            last_resort: None,
        };
        assert!(PrekeyBatch::decode(&twice.encode()).is_err());
    }
}
