//! What only the two ends of one connection can compute: hashes keyed by its exporter.

use crate::{frame::TAG_LEN, ids::SpaceId, merkle::Hash};

/// The key of a session. Its hashes prove knowledge of a space to the other end and say nothing to
/// anybody else.
pub(crate) struct SessionKey([u8; 32]);

impl SessionKey {
    /// The key that both ends derive from the connection's exporter.
    pub(crate) fn new(exporter: &[u8; 32]) -> Self {
        Self(blake3::derive_key("waymeet 1 session", exporter))
    }

    /// What stands in a list of spaces for one of them. The role keeps an echo from proving
    /// anything, the generation keeps one list from being compared with another.
    pub(crate) fn tag(&self, by_dialer: bool, generation: u32, space: SpaceId) -> [u8; TAG_LEN] {
        let mut hasher = self.hasher(b"spaces");
        hasher
            .update(&[u8::from(by_dialer)])
            .update(&generation.to_be_bytes())
            .update(&space.0);
        start(&hasher)
    }

    /// What stands in a hello for a set of spaces, sorted.
    pub(crate) fn agreed<'s>(&self, spaces: impl Iterator<Item = &'s SpaceId>) -> [u8; 16] {
        let mut hasher = self.hasher(b"agreed");
        for space in spaces {
            hasher.update(&space.0);
        }
        start(&hasher)
    }

    /// What stands in a hello for what is held of these spaces, sorted.
    pub(crate) fn digest<'s>(&self, digests: impl Iterator<Item = (&'s SpaceId, Hash)>) -> Hash {
        let mut hasher = self.hasher(b"digest");
        for (space, digest) in digests {
            hasher.update(&space.0).update(&digest);
        }
        *hasher.finalize().as_bytes()
    }

    /// What begins every gossip message of a search.
    pub(crate) fn gossip(&self, generation: u32) -> [u8; 8] {
        let mut hasher = self.hasher(b"gossip");
        hasher.update(&generation.to_be_bytes());
        start(&hasher)
    }

    fn hasher(&self, label: &[u8; 6]) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(label);
        hasher
    }
}

fn start<const N: usize>(hasher: &blake3::Hasher) -> [u8; N] {
    let mut out = [0; N];
    hasher.finalize_xof().fill(&mut out);
    out
}
