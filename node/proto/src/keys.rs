//! Identity and device keys, and the one way to sign and check: Ed25519 over a domain tag and
//! the payload, verified strictly (RFC 8032; `verify_strict` also refuses weak keys and
//! non-canonical points, so that one signature has one meaning everywhere).

use std::fmt;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::ids::{DeviceId, EndpointId, IdentityId};

/// Bytes of a signature.
pub const SIGNATURE_LEN: usize = 64;

/// What a signature is about. Each tag ends with a NUL, so none is the beginning of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// An entry's id, by its device.
    Entry,
    /// A device certificate, by the identity.
    Device,
    /// A device certificate, by the device.
    Consent,
    /// An admission into a space, by the inviting device.
    Admission,
    /// The device's part of a contact card, by the device.
    Card,
    /// The end of a device, by the identity.
    Revocation,
    /// An article's content, by its device, so that it can be reblogged.
    Quote,
    /// That an endpoint belongs to a device, by the endpoint, on one connection.
    Endpoint,
    /// The end of a person's feeds in a circle, by a device of its owner.
    Removal,
    /// A key for letters that may be used more than once, by the receiving device.
    Prekey,
}

impl Domain {
    const fn tag(self) -> &'static [u8] {
        match self {
            Self::Entry => b"waymeet/entry/1\0",
            Self::Device => b"waymeet/device/1\0",
            Self::Consent => b"waymeet/consent/1\0",
            Self::Admission => b"waymeet/admission/1\0",
            Self::Card => b"waymeet/card/1\0",
            Self::Revocation => b"waymeet/revocation/1\0",
            Self::Quote => b"waymeet/quote/1\0",
            Self::Endpoint => b"waymeet/endpoint/1\0",
            Self::Removal => b"waymeet/removal/1\0",
            Self::Prekey => b"waymeet/prekey/1\0",
        }
    }

    fn message(self, payload: &[u8]) -> Vec<u8> {
        [self.tag(), payload].concat()
    }
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; SIGNATURE_LEN]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

/// Whether `signature` over `payload` under `domain` is `signer`'s.
#[must_use]
pub fn verify(signer: &[u8; 32], domain: Domain, payload: &[u8], signature: &Signature) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(signer) else {
        return false;
    };
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    key.verify_strict(&domain.message(payload), &signature)
        .is_ok()
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $id:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SigningKey);

        impl $name {
            /// The key that grows from 32 random bytes.
            #[must_use]
            pub fn from_seed(seed: &[u8; 32]) -> Self {
                Self(SigningKey::from_bytes(seed))
            }

            /// The 32 bytes to keep in a secret file.
            #[must_use]
            pub fn seed(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new(self.0.to_bytes())
            }

            /// The public half.
            #[must_use]
            pub fn id(&self) -> $id {
                $id(self.0.verifying_key().to_bytes())
            }

            /// Signs `payload` under `domain`.
            #[must_use]
            pub fn sign(&self, domain: Domain, payload: &[u8]) -> Signature {
                Signature(self.0.sign(&domain.message(payload)).to_bytes())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.id())
            }
        }
    };
}

key! {
    /// A person's secret. It signs device certificates and revocations, nothing else.
    IdentityKey, IdentityId
}
key! {
    /// A device's secret. It signs entries, admissions, removals from circles and the device's part of a contact card.
    DeviceKey, DeviceId
}
key! {
    /// What a device is dialled by. It proves itself in handshakes, and to people who are added nearby.
    EndpointKey, EndpointId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_domain_and_payload_only() {
        let key = DeviceKey::from_seed(&[7; 32]);
        let other = DeviceKey::from_seed(&[8; 32]);
        let signature = key.sign(Domain::Entry, b"payload");
        assert!(verify(&key.id().0, Domain::Entry, b"payload", &signature));
        assert!(!verify(&key.id().0, Domain::Card, b"payload", &signature));
        assert!(!verify(&key.id().0, Domain::Entry, b"payloae", &signature));
        assert!(!verify(
            &other.id().0,
            Domain::Entry,
            b"payload",
            &signature
        ));
    }

    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        let mut identity_element = [0; 32];
        identity_element[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!verify(
            &identity_element,
            Domain::Entry,
            b"x",
            &Signature(signature)
        ));
    }

    #[test]
    fn debug_output_has_no_secret() {
        let key = IdentityKey::from_seed(&[0x41; 32]);
        let shown = format!("{key:?} {:?}", key.sign(Domain::Device, b""));
        assert!(
            !shown.contains("65, 65") && !shown.contains("4141"),
            "{shown}"
        );
    }
}
