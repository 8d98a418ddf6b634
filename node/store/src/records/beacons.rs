//! What the beacons of a contact's devices are recognised by, and since when ours is owed to them.

use std::collections::BTreeMap;

use proto::{
    EndpointId, IdentityId,
    beacon::BeaconKey,
    limits::DEVICES_PER_IDENTITY_MAX,
    wire::{Reader, WireError, put_varint},
};

use super::Kept;
use crate::{keys::id_at, tables::Table};

/// Keys of beacons between this device and a contact.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beacons {
    /// Our count of changes under which our key is told: they know it once they have acknowledged that.
    pub told: u64,
    /// Their devices' keys, by endpoint.
    pub keys: BTreeMap<EndpointId, BeaconKey>,
}

impl Kept for Beacons {
    type Key = IdentityId;
    const TABLE: Table = Table::Beacons;

    fn key(key: &IdentityId) -> Vec<u8> {
        key.0.to_vec()
    }

    fn key_from(bytes: &[u8]) -> IdentityId {
        IdentityId(id_at(bytes, 0))
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.told);
        put_varint(out, self.keys.len() as u64);
        for (endpoint, key) in &self.keys {
            out.extend_from_slice(&endpoint.0);
            out.extend_from_slice(&key.0);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let told = reader.varint()?;
        let count = reader.length("keys", DEVICES_PER_IDENTITY_MAX)?;
        let keys = (0..count)
            .map(|_| Ok((EndpointId(reader.id()?), BeaconKey(reader.id()?))))
            .collect::<Result<_, _>>()?;
        Ok(Self { told, keys })
    }
}
