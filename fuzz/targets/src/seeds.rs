//! Good examples to begin from: the protocol's vectors, and scripts that each target writes itself.

use data_encoding::HEXLOWER;
use proto::{
    SpaceId,
    admission::{Certificate, Role},
    keys::{DeviceKey, IdentityKey},
};

const VECTORS: &str = include_str!("../../../docs/vectors.txt");

/// The exporter of the vectors' connection.
pub(crate) const EXPORTER: [u8; 32] = [0x41; 32];

/// A space that nothing describes.
pub(crate) const fn space() -> SpaceId {
    SpaceId([3; 32])
}

pub(crate) fn identity(seed: u8) -> IdentityKey {
    IdentityKey::from_seed(&[seed; 32])
}

pub(crate) fn device(seed: u8) -> DeviceKey {
    DeviceKey::from_seed(&[seed ^ 0x80; 32])
}

pub(crate) fn certificate(seed: u8) -> Certificate {
    Certificate::sign(&identity(seed), &device(seed), 1, Role::Main)
}

/// The vectors whose names begin so, with a byte before each that says what they are.
pub(crate) fn vectors(begin: &str, what: u8) -> impl Iterator<Item = Vec<u8>> + '_ {
    VECTORS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .filter(move |(name, _)| name.starts_with(begin))
        .map(move |(name, hex)| {
            let bytes = HEXLOWER.decode(hex.as_bytes());
            let bytes = bytes.unwrap_or_else(|error| panic!("{name}: {error}"));
            [&[what], &bytes[..]].concat()
        })
}
