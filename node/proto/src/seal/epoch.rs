//! Keys that make secrets forgettable: what was written to a disk may stay there for years, but
//! without the key of its epoch it is noise, and that key stood in one small file.

use std::fmt;

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::prekey::{PrekeyId, PrekeySecret};
use crate::ids::DeviceId;

/// Wraps the secrets of prekeys. All of them are wrapped anew when it changes, and it is erased.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct EpochKey(pub [u8; 32]);

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochKey(..)")
    }
}

/// A secret under an epoch's key: 32 bytes and the 16 of its check.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Wrapped(pub [u8; 48]);

impl fmt::Debug for Wrapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wrapped(..)")
    }
}

impl EpochKey {
    /// A key for one secret only, so that one nonce serves: ChaCha20-Poly1305 (RFC 8439) never sees
    /// two texts under it, because a prekey's secret never changes.
    fn cipher(&self, sender: DeviceId, id: PrekeyId) -> (ChaCha20Poly1305, Vec<u8>) {
        let mut key = blake3::Hasher::new_derive_key("waymeet 1 prekey wrap");
        let place = [&sender.0[..], &id.0.to_be_bytes()].concat();
        key.update(&self.0).update(&place);
        let mut key = *key.finalize().as_bytes();
        let cipher = ChaCha20Poly1305::new(&key.into());
        key.zeroize();
        (cipher, place)
    }

    /// Wraps the secret of the key that has this number on the line from `sender`.
    #[must_use]
    pub fn wrap(&self, sender: DeviceId, id: PrekeyId, secret: &PrekeySecret) -> Option<Wrapped> {
        let (cipher, place) = self.cipher(sender, id);
        let payload = Payload {
            msg: &secret.0,
            aad: &place,
        };
        let bytes = cipher.encrypt(&Nonce::default(), payload).ok()?;
        bytes.try_into().ok().map(Wrapped)
    }

    /// The secret again; nothing where it was wrapped under another key or for another place.
    #[must_use]
    pub fn unwrap(
        &self,
        sender: DeviceId,
        id: PrekeyId,
        wrapped: &Wrapped,
    ) -> Option<PrekeySecret> {
        let (cipher, place) = self.cipher(sender, id);
        let payload = Payload {
            msg: &wrapped.0,
            aad: &place,
        };
        let mut bytes = cipher.decrypt(&Nonce::default(), payload).ok()?;
        let secret = bytes.as_slice().try_into().ok().map(PrekeySecret);
        bytes.zeroize();
        secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_back_under_its_key_at_its_place_only() {
        let (key, secret) = (EpochKey([1; 32]), PrekeySecret([2; 32]));
        let (ana, ben) = (DeviceId([3; 32]), DeviceId([4; 32]));
        let wrapped = key.wrap(ana, PrekeyId(5), &secret).unwrap();
        let back = key.unwrap(ana, PrekeyId(5), &wrapped).unwrap();
        assert_eq!(back.0, secret.0);
        assert!(key.unwrap(ben, PrekeyId(5), &wrapped).is_none());
        assert!(key.unwrap(ana, PrekeyId(6), &wrapped).is_none());
        assert!(
            EpochKey([7; 32])
                .unwrap(ana, PrekeyId(5), &wrapped)
                .is_none()
        );
        assert!(!format!("{key:?}{secret:?}{wrapped:?}").contains('2'));
    }
}
