//! People with keys made from a few bytes.

use crate::{
    admission::{Certificate, Role},
    keys::{DeviceKey, IdentityKey},
};

/// A person with one device.
#[derive(Clone)]
pub struct Person {
    /// Signs the certificate.
    pub identity: IdentityKey,
    /// Signs entries.
    pub device: DeviceKey,
    /// Of the device.
    pub certificate: Certificate,
}

impl Person {
    /// The person of a small number.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        Self::from_bytes([seed, 0, 0])
    }

    /// The person of a larger number.
    #[must_use]
    pub fn from_bytes(seed: [u8; 3]) -> Self {
        let identity = IdentityKey::from_seed(blake3::hash(&seed).as_bytes());
        let device = DeviceKey::from_seed(&blake3::derive_key("device", &seed));
        let certificate = Certificate::sign(&identity, &device, 1, Role::Main);
        Self {
            identity,
            device,
            certificate,
        }
    }
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Person").field(&self.identity.id()).finish()
    }
}
